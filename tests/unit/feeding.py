"""How can the same bytes arrive? Every way in which a socket may cut them.

TCP keeps the order of bytes and nothing else, so whatever takes reads must come to the same end
however they were cut. `feed_every_way` says so for one stream; scanner, login and session tests
all use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

#: What stands behind the bytes when nobody says otherwise: a message that fits either direction.
COPY_DATA = b"d\0\0\0\x0brow\t 1\n"


def ways(data: bytes) -> Iterator[list[bytes]]:
    """Yield `data` byte by byte, and split in two at every offset."""
    yield [data[pos : pos + 1] for pos in range(len(data))]
    for pos in range(1, len(data)):
        yield [data[:pos], data[pos:]]


def feed_every_way(
    receive: Callable[[Sequence[bytes]], T], conversation: bytes, then: bytes = COPY_DATA
) -> T:
    """Return what `receive` makes of the conversation, having seen that no cut changes it.

    `receive` takes the reads of one connection, into something fresh each time, and returns all
    that can be seen of them afterwards. `then` is a next message: its head, of every length, comes
    along with the conversation, and its rest in a read of its own. b"" leaves that out.
    """
    whole = receive([conversation])
    for reads in ways(conversation):
        assert receive(reads) == whole, f"cut as {[len(read) for read in reads]}"
    if then:
        whole_and_next = receive([conversation + then])
        for head in range(1, len(then)):
            reads = [conversation + then[:head], then[head:]]
            assert receive(reads) == whole_and_next, f"with {head} bytes of the next message"
    return whole
