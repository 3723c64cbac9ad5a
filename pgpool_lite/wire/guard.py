"""Is every message of this stream allowed through? For those who set a limit; nobody else pays.

A `MessageGuard` sees each read of one direction of one connection before anybody else does, and
looks at the head of every message: at its type, where one is forbidden, and at its size. It knows
nothing of what messages mean. PostgreSQL documentation: "Message Formats".
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from pgpool_lite.wire import codes

#: Bytes of an offending message that are shown: its head, and what stands there of its body.
SHOWN: Final = 8
#: A type that no message has.
NOTHING: Final = -1

_LENGTH: Final = Struct("!i").unpack_from
#: The length counts itself, so nothing shorter can be.
_LENGTH_SIZE: Final = 4


class MessageGuard:
    """Where one stream of messages stands, and what it must not contain."""

    __slots__ = ("_forbidden", "_head", "_left", "_max_size")

    def __init__(self, max_size: int, forbidden: int = NOTHING) -> None:
        """Allow messages of `max_size` bytes, type and length included, but not of one type."""
        self._max_size = max_size
        self._forbidden = forbidden
        #: Bytes still to come of the message that has been let through.
        self._left = 0
        #: Start of a head that has not arrived whole.
        self._head = b""

    def find_offence(self, data: bytes) -> bytes:
        """Return how the first message begins that is not allowed, b"" if all are.

        `data` is the next read of the stream. What begins so has at least its whole head. After an
        offence the guard is of no further use.
        """
        pos = self._left
        if self._head:
            data = self._head + data
            self._head = b""
        end = len(data)
        while end - pos >= codes.HEADER_SIZE:
            (length,) = _LENGTH(data, pos + 1)
            size = 1 + length
            if length < _LENGTH_SIZE or size > self._max_size or data[pos] == self._forbidden:
                return data[pos : pos + SHOWN]
            pos += size
        self._left = max(pos - end, 0)
        if pos < end:
            self._head = data[pos:]
        return b""
