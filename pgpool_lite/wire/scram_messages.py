"""How are SCRAM's messages read, and in which order may they come? For both halves, in `scram`.

Whoever reads a message says whom to blame, by the error to raise, where it is not as it must be.
RFC 5802, section 5.1.
"""

from __future__ import annotations

import string
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from typing import Final

from pgpool_lite.errors import PgPoolLiteError

# Both nonces together are 48 characters between libpq and PostgreSQL. PgBouncer has room for some
# 450, and overran its buffer when a server sent more (CVE-2026-6665).
MAX_NONCE_LENGTH = 512
# Room for the longest nonce twice over; what is longer is no message of this exchange.
MAX_MESSAGE_LENGTH = 2048

_EQUALS: Final = ord("=")

# Tables for `bytes.translate` that change whatever may not be there. To be told what to leave out
# instead, it sets up a table each time, for 2,500 instructions.
_VALUES: Final = bytes(each if each >= 0x20 and each != 0x7F else ord("a") for each in range(256))
_NONCES: Final = bytes(
    each if 0x21 <= each < 0x7F and each != ord(",") else ord("a") for each in range(256)
)
#: Letters of attributes where others may stand: not the proof, and not "m", which must be refused.
_OTHERS: Final = bytes(
    each if each in string.ascii_letters.encode() and each not in b"mp" else ord("a")
    for each in range(256)
)

Blame = Callable[[str], PgPoolLiteError]


class Shape:
    """Which attributes a message has, and in which order."""

    def __init__(self, first: bytes, last: bytes = b"", *, is_open: bool = False) -> None:
        """Take the letters it begins and ends with; others may stand between if it `is_open`."""
        self._usual = first + last
        self._first = first
        self._last = last
        self._is_open = is_open

    def takes(self, letters: bytes) -> bool:
        """Say whether a message may have attributes of these letters."""
        if letters == self._usual:
            return True
        # The length comes first: mypyc knows no slice that ends before it begins.
        if not self._is_open or len(letters) < len(self._usual):
            return False
        others = letters[len(self._first) : len(letters) - len(self._last)]
        is_framed = letters == self._first + others + self._last
        return is_framed and others.translate(_OTHERS) == others

    def known(self, attributes: list[bytes]) -> list[bytes]:
        """Leave the others out."""
        if len(attributes) == len(self._usual):
            return attributes
        end = len(attributes) - len(self._last)
        return attributes[: len(self._first)] + attributes[end:]


CLIENT_FIRST: Final = Shape(b"nr", is_open=True)
CLIENT_FINAL: Final = Shape(b"cr", b"p", is_open=True)
SERVER_FIRST: Final = Shape(b"rsi")
SERVER_FINAL: Final = Shape(b"v")
SERVER_ERROR: Final = Shape(b"e")


class Turns:
    """Which message of an exchange comes next; owned by one half, and lives as long."""

    def __init__(self, blame: Blame, *names: str) -> None:
        """Expect messages of these names, one after the other."""
        self._blame = blame
        self._names = names
        # Which of them is to come: none of them while a message is handled, and after an error.
        self._next = 0
        # Which is to come when the message at hand has been handled.
        self._then = 0

    def take(self, name: str) -> None:
        """Begin to handle message `name`, if it is next."""
        names, pos = self._names, self._next
        self._next = len(names)
        if pos == len(names) or names[pos] != name:
            expected = names[pos] if pos < len(names) else "nothing, the exchange is over"
            raise self._blame(f"SCRAM message out of order: got {name}, expected {expected}")
        self._then = pos + 1

    def pass_on(self) -> None:
        """Have the next one come: this one has been handled without an error."""
        self._next = self._then


def read_values(message: bytes, shape: Shape, title: str, blame: Blame) -> list[bytes]:
    """Return the values of a message that has the shape, but for those of other attributes."""
    if len(message) > MAX_MESSAGE_LENGTH:
        raise blame(f"SCRAM {title} has {len(message)} bytes, at most {MAX_MESSAGE_LENGTH} allowed")
    attributes = message.split(b",")
    letters = b"".join([text[:1] for text in attributes if _is_attribute(text)])
    if (
        len(letters) < len(attributes)
        or not shape.takes(letters)
        or message.translate(_VALUES) != message
    ):
        raise blame(_find_fault(message, letters, title))
    return [text[2:] for text in shape.known(attributes)]


def _is_attribute(text: bytes) -> bool:
    return len(text) > 1 and text[1] == _EQUALS


def _find_fault(message: bytes, letters: bytes, title: str) -> str:
    """Return what is wrong with a message that has not the shape it must have."""
    if message.translate(_VALUES) != message:
        return f"malformed SCRAM {title} (control character)"
    if len(letters) <= message.count(b",") or not letters.isalpha():
        return f"malformed SCRAM {title} (expected letter=value, separated by commas)"
    if b"m" in letters:
        # RFC 5802 section 5.1: "m" marks extensions that whoever does not know them must refuse.
        return f"SCRAM {title} requires an extension that is not supported"
    return f"malformed SCRAM {title} (unexpected or missing attributes: {letters.decode()})"


def check_nonce(nonce: bytes, blame: Blame) -> None:
    """Refuse a nonce that is too long, empty or not printable."""
    if len(nonce) > MAX_NONCE_LENGTH:
        raise blame(f"SCRAM nonce has {len(nonce)} bytes, at most {MAX_NONCE_LENGTH} allowed")
    if not nonce or nonce.translate(_NONCES) != nonce:
        raise blame("SCRAM nonce is empty or not printable")


def decode_base64(text: bytes, blame: Blame, title: str) -> bytes:
    """Decode, and refuse every spelling but the one that encoding the result gives."""
    try:
        decoded = a2b_base64(text, strict_mode=True)
    except ValueError:
        decoded = b""
    if not decoded or encode_base64(decoded) != text:
        raise blame(f"{title} is not valid base64")
    return decoded


def encode_base64(data: bytes) -> bytes:
    """Encode, without a line's end."""
    return b2a_base64(data, newline=False)
