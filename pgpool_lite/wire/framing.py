"""Where does each message begin? HOT: runs over every byte that passes, in both directions.

HOT rule: ints and offsets only. No slice, no object and no call for a message that is skipped.

A read from a socket ends anywhere, so `data` looks like one of these when `scan` starts at `pos`:

      pos                                         len(data)
       |T len body.....|D len body....|Z len body|              returns len(data)
       |T len body.....|D len bo                 |. . . .|      returns the D message's end, beyond
       |T len body.....|D le                     |              returns the start of the D
       |T len body.....|Z len body|                             returns the start of the Z, if Z is
                                                                of interest to the caller

so the answer is one number: beyond the data, that many bytes of a dull body are still to come; at
the end, all is told; before the end, the caller must look: fewer than five bytes are left, or the
message at that offset is one it asked for, or its length is impossible.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from pgpool_lite.wire.codes import HEADER_SIZE

if TYPE_CHECKING:
    from mypy_extensions import i64  # for mypyc alone: its own whole numbers, never Python's

#: This very module was compiled (hatch_build.py), and its neighbours with it.
COMPILED: Final = not __file__.endswith(".py")

#: A length is a signed Int32; what looks larger is negative.
MAX_LENGTH: Final = 0x7FFFFFFF

_LENGTH: Final = Struct("!i").unpack_from


def scan(data: bytes, pos: int, interest: bytes) -> int:
    """Return the offset of the first message that needs attention, or where the last one ends.

    `interest` has 256 bytes, one per message type. 0: skip it. 1: it needs attention. Any other
    value: it needs attention if that byte is the last one of its body before the closing zero.
    """
    start: i64 = pos
    size: i64 = len(data)
    last_header: i64 = size - HEADER_SIZE
    length: i64
    length_at = _LENGTH
    while start <= last_header:
        wanted: i64 = interest[data[start]]
        if COMPILED:  # a few instructions, where the interpreter is faster with one call
            length = data[start + 1]
            length = (length << 8 | data[start + 2]) << 8 | data[start + 3]
            length = length << 8 | data[start + 4]
            if length > MAX_LENGTH:
                break
        else:
            (length,) = length_at(data, start + 1)
        if length < 4 or (
            wanted and (wanted == 1 or start + length >= size or data[start + length - 1] == wanted)
        ):
            break
        start += 1 + length
    return start


def message_end(data: bytes, pos: int) -> int:
    """Return where the message whose whole header is at `pos` ends, or -1: impossible length."""
    length: i64
    if not COMPILED:
        (length,) = _LENGTH(data, pos + 1)
        return pos + 1 + length if length >= 4 else -1
    start: i64 = pos
    length = data[start + 1]
    length = (length << 8 | data[start + 2]) << 8 | data[start + 3]
    length = length << 8 | data[start + 4]
    return start + 1 + length if 4 <= length <= MAX_LENGTH else -1


def find_zero(data: bytes, pos: int) -> int:
    """Return where the first zero byte at or behind `pos` stands, -1 if there is none."""
    if not COMPILED:
        return data.find(0, pos)
    start: i64 = pos
    size: i64 = len(data)
    while start < size:
        if data[start] == 0:
            return start
        start += 1
    return -1


def interest_in(*types: int) -> bytes:
    """Return the 256-byte table that makes `scan` stop at the given message types."""
    table = bytearray(256)
    for message_type in types:
        table[message_type] = 1
    return bytes(table)
