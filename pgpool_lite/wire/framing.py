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
from typing import Final

from pgpool_lite.wire.codes import HEADER_SIZE

#: This very module was compiled (hatch_build.py), and its neighbours with it.
COMPILED: Final = not __file__.endswith(".py")

_LENGTH: Final = Struct("!i").unpack_from


def scan(data: bytes, pos: int, interest: bytes) -> int:
    """Return the offset of the first message that needs attention, or where the last one ends.

    `interest` has 256 bytes, one per message type. 0: skip it. 1: it needs attention. Any other
    value: it needs attention if that byte is the last one of its body before the closing zero.
    """
    last_header = len(data) - HEADER_SIZE
    length_at = _LENGTH
    while pos <= last_header:
        wanted = interest[data[pos]]
        if wanted == 1:
            return pos
        if COMPILED:  # a few instructions, where the interpreter is faster with one call
            high, low = data[pos + 1] << 8 | data[pos + 2], data[pos + 3] << 8 | data[pos + 4]
            length = high << 16 | low if high < 0x8000 else -1
        else:
            (length,) = length_at(data, pos + 1)
        if length < 4:
            return pos
        if wanted and (pos + length >= len(data) or data[pos + length - 1] == wanted):
            return pos
        pos += 1 + length
    return pos


def message_end(data: bytes, pos: int) -> int:
    """Return where the message whose whole header is at `pos` ends, or -1: impossible length."""
    (length,) = _LENGTH(data, pos + 1)
    return pos + 1 + int(length) if length >= 4 else -1


def interest_in(*types: int) -> bytes:
    """Return the 256-byte table that makes `scan` stop at the given message types."""
    table = bytearray(256)
    for message_type in types:
        table[message_type] = 1
    return bytes(table)
