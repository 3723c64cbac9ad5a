"""Does an SQL text prepare, execute or deallocate a statement by name? A look at its head.

Asked only where sql_prepared_statements = track. No more than `HEAD_LIMIT` bytes are looked at:
white space, comments, one word, and behind DEALLOCATE a name. Names are folded as PostgreSQL folds
them (documentation, "Lexical Structure": Identifiers and Key Words).
"""

from __future__ import annotations

import re
from typing import Final

#: A DEALLOCATE that does not end within so many bytes is not looked for.
HEAD_LIMIT: Final = 1024

PREPARE: Final = "PREPARE"
EXECUTE: Final = "EXECUTE"
DEALLOCATE: Final = "DEALLOCATE"

# Nested comments are left to PostgreSQL: such a text is not recognised. Each character fits one
# alternative only, so a text that does not match is given up after one look at each of its bytes;
# possessive quantifiers would say the same, but Python 3.11.2 takes them wrong around look-aheads.
_SPACE = rb"(?:[ \t\n\r\f\v]|--[^\n\r\0]*(?:[\n\r]|\Z)|/\*(?:[^*/\0]|\*(?!/)|/(?!\*))*\*/)*"
_WORD_ENDS = rb"(?![\w$\x80-\xff])"
_NAME = rb"(\"(?:[^\"]|\"\")+\"|[A-Za-z_\x80-\xff][\w$\x80-\xff]*)"

_WORD = re.compile(
    _SPACE
    + rb"(PREPARE(?!"  # PREPARE TRANSACTION is about transactions
    + _SPACE
    + rb"TRANSACTION"
    + _WORD_ENDS
    + rb")|EXECUTE|DEALLOCATE)"
    + _WORD_ENDS,
    re.IGNORECASE,
)
_DEALLOCATE = re.compile(
    _SPACE
    + rb"DEALLOCATE"
    + _WORD_ENDS
    + _SPACE
    + rb"(?:PREPARE"
    + _WORD_ENDS
    + _SPACE
    + rb")?"
    + _NAME
    + _SPACE
    + rb"(?:;"
    + _SPACE
    + rb")*",
    re.IGNORECASE,
)


def word(data: bytes, start: int) -> str:
    """Return PREPARE, EXECUTE or DEALLOCATE if the text at `start` begins with it, else ""."""
    found = _WORD.match(data, start, start + HEAD_LIMIT)
    return found[1].decode().upper() if found else ""


def deallocated(data: bytes, start: int = 0) -> bytes | None:
    """Return which statement the text at `start`, up to a zero byte, deallocates.

    None: it is not one DEALLOCATE of one name, and nothing else.
    """
    end = data.find(0, start, start + HEAD_LIMIT)
    found = _DEALLOCATE.fullmatch(data, start, end) if end >= 0 else None
    if found is None:
        return None
    name: bytes = found[1]
    if name.startswith(b'"'):
        return name[1:-1].replace(b'""', b'"')
    name = name.lower()
    return None if name == b"all" else name
