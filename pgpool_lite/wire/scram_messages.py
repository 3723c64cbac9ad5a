"""How are SCRAM's messages read, and in which order may they come? For both halves, in `scram`.

Whoever reads a message says whom to blame, by the error to raise, where it is not as it must be.
RFC 5802, section 5.1.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from typing import Final

from pgpool_lite.errors import PgPoolLiteError

# Both nonces together are 48 characters between libpq and PostgreSQL. PgBouncer has room for some
# 450, and overran its buffer when a server sent more (CVE-2026-6665).
MAX_NONCE_LENGTH = 512
# Room for the longest nonce twice over; what is longer is no message of this exchange.
MAX_MESSAGE_LENGTH = 2048

_EQUALS: Final = ord("=")
_CONTROL_CHARACTER = re.compile(rb"[\x00-\x1f\x7f]")
_PRINTABLE = re.compile(rb"[\x21-\x2b\x2d-\x7e]+")

Blame = Callable[[str], PgPoolLiteError]


class Shape:
    """Which attributes a message has, and in which order."""

    def __init__(self, whole: bytes) -> None:
        """Take a pattern for the whole of it, whose groups are values.

        In it `@` stands for a value, and `*` for any further attributes, but for a proof and for
        those that whoever does not know them must refuse.
        """
        value = rb"[^,\x00-\x1f\x7f]*"
        further = rb"(?:,[A-Za-ln-oq-z]=" + value + rb")*"
        self.whole = re.compile(whole.replace(b"*", further).replace(b"@", b"=(" + value + b")"))


CLIENT_FIRST: Final = Shape(b"n@,r@*")
CLIENT_FINAL: Final = Shape(b"c@,r@*,p@")
SERVER_FIRST: Final = Shape(b"r@,s@,i@")
SERVER_FINAL: Final = Shape(b"[ve]@")


class Turns:
    """Which message of an exchange comes next; owned by one half, and lives as long."""

    def __init__(self, blame: Blame, *names: str) -> None:
        """Expect messages of these names, one after the other."""
        self._blame = blame
        # What is still to come, in order; nothing while a message is handled, and after an error.
        self._left = names
        # What is to come when the message at hand has been handled.
        self._then: tuple[str, ...] = ()

    def take(self, name: str) -> None:
        """Begin to handle message `name`, if it is next."""
        left, self._left = self._left, ()
        if not left or left[0] != name:
            expected = left[0] if left else "nothing, the exchange is over"
            raise self._blame(f"SCRAM message out of order: got {name}, expected {expected}")
        self._then = left[1:]

    def pass_on(self) -> None:
        """Have the next one come: this one has been handled without an error."""
        self._left = self._then


def read_values(message: bytes, shape: Shape, title: str, blame: Blame) -> tuple[bytes, ...]:
    """Return the values of a message that has the shape, but for those of further attributes.

    One pattern tells, a third of what looking at each attribute takes.
    """
    if len(message) > MAX_MESSAGE_LENGTH:
        raise blame(f"SCRAM {title} has {len(message)} bytes, at most {MAX_MESSAGE_LENGTH} allowed")
    found = shape.whole.fullmatch(message)
    if found is None:
        raise blame(_find_fault(message, title))
    return found.groups()


def _find_fault(message: bytes, title: str) -> str:
    """Return what is wrong with a message that has not the shape it must have."""
    if _CONTROL_CHARACTER.search(message):
        return f"malformed SCRAM {title} (control character)"
    letters = ""
    for text in message.split(b","):
        letter = chr(text[0]) if len(text) > 1 and text[1] == _EQUALS else ""
        if not (letter.isascii() and letter.isalpha()):
            return f"malformed SCRAM {title} (expected letter=value, separated by commas)"
        letters += letter
    if "m" in letters:
        # RFC 5802 section 5.1: "m" marks extensions that whoever does not know them must refuse.
        return f"SCRAM {title} requires an extension that is not supported"
    return f"malformed SCRAM {title} (unexpected or missing attributes: {letters})"


def check_nonce(nonce: bytes, blame: Blame) -> None:
    """Refuse a nonce that is too long, empty or not printable."""
    if len(nonce) > MAX_NONCE_LENGTH:
        raise blame(f"SCRAM nonce has {len(nonce)} bytes, at most {MAX_NONCE_LENGTH} allowed")
    if not _PRINTABLE.fullmatch(nonce):
        raise blame("SCRAM nonce is empty or not printable")


def decode_base64(text: bytes, blame: Blame, title: str) -> bytes:
    """Decode, and refuse every spelling but the one that encoding the result gives."""
    try:
        decoded = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        decoded = b""
    if not decoded or encode_base64(decoded) != text:
        raise blame(f"{title} is not valid base64")
    return decoded


def encode_base64(data: bytes) -> bytes:
    """Encode, without a line's end."""
    return binascii.b2a_base64(data, newline=False)
