"""Which string literals of a program look like SQL? For `pgpool-lite lint`; a guess, on bytes.

A program is cut into comments, literals and all else by one pattern per language; no grammar is
known. Literals that are only joined, as in `"CREATE TEMP TABLE t (a int) " "ON COMMIT DROP"`, are
one text. Texts keep their places: what is not SQL between them is blanked, byte by byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Text:
    """An SQL text in a file: its bytes, and where the first one stands."""

    sql: bytes
    start: int


@dataclass(frozen=True, slots=True)
class Language:
    """How a family of languages writes comments and literals."""

    #: Comments in the groups `hash` and `slashes`; literals with their text in the last group.
    pattern: re.Pattern[bytes]
    #: What may stand between two literals that are one.
    joint: re.Pattern[bytes]


def _language(*alternatives: bytes, joint: bytes) -> Language:
    return Language(
        re.compile(b"|".join(alternatives), re.DOTALL | re.MULTILINE),
        re.compile(rb"(?:\s|" + joint + rb"|" + _ANY_COMMENT + rb")*"),
    )


_HASH: Final = rb"(?P<hash>\#[^\n]*)"
_SLASHES: Final = rb"(?P<slashes>//[^\n]*|/\*.*?(?:\*/|\Z))"
_ANY_COMMENT: Final = rb"//[^\n]*|\#[^\n]*"


def _literal(name: str, opening: bytes, inside: bytes, closing: bytes) -> bytes:
    """Return the pattern of one kind of literal, with its text in the group `name`."""
    return rb"%b(?P<%b>%b)%b" % (opening, name.encode(), inside, closing)


_LINE = rb"(?:\\.|[^%b\\\n])*"
_LINES = rb"(?:\\.|[^%b\\])*"
_DOUBLE_LINE: Final = _literal("double", b'"', _LINE % b'"', b'"')
_SINGLE_LINE: Final = _literal("single", b"'", _LINE % b"'", b"'")
_DOUBLE: Final = _literal("double", b'"', _LINES % b'"', b'"')
_SINGLE: Final = _literal("single", b"'", _LINES % b"'", b"'")
_TRIPLE_DOUBLE: Final = _literal("tripledouble", b'"""', rb"(?:\\.|[^\\])*?", b'"""')
_TRIPLE_SINGLE: Final = _literal("triplesingle", b"'''", rb"(?:\\.|[^\\])*?", b"'''")
_BACKTICK: Final = _literal("backtick", b"`", _LINES % b"`", b"`")

PYTHON: Final = _language(
    _HASH,
    _TRIPLE_DOUBLE,
    _TRIPLE_SINGLE,
    _DOUBLE_LINE,
    _SINGLE_LINE,
    joint=rb"[+\\]|\b[rbfuRBFU]{1,2}",
)
JAVASCRIPT: Final = _language(_SLASHES, _BACKTICK, _DOUBLE_LINE, _SINGLE_LINE, joint=rb"\+")
GO: Final = _language(
    _SLASHES, _literal("raw", b"`", rb"[^`]*", b"`"), _DOUBLE_LINE, _SINGLE_LINE, joint=rb"\+"
)
JAVA: Final = _language(_SLASHES, _TRIPLE_DOUBLE, _DOUBLE_LINE, _SINGLE_LINE, joint=rb"\+")
RUBY: Final = _language(
    rb"<<[~-]?(?P<quote>['\"]?)(?P<end>[A-Z]\w*)(?P=quote)[^\n]*\n(?P<heredoc>.*?)^\s*(?P=end)\b",
    _HASH,
    _DOUBLE,
    _SINGLE,
    joint=rb"[+\\]",
)
PHP: Final = _language(
    rb"<<<[ \t]*(?P<quote>['\"]?)(?P<end>\w+)(?P=quote)\r?\n(?P<heredoc>.*?)^\s*(?P=end)\b",
    _SLASHES,
    _HASH,
    _DOUBLE,
    _SINGLE,
    joint=rb"\.",
)

LANGUAGES: Final = {
    **dict.fromkeys((".py", ".pyi"), PYTHON),
    **dict.fromkeys((".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts"), JAVASCRIPT),
    ".go": GO,
    **dict.fromkeys((".java", ".kt", ".scala"), JAVA),
    **dict.fromkeys((".rb", ".rake"), RUBY),
    ".php": PHP,
}

# What a text begins with that may be SQL and break a rule. English begins with some of these words
# too: they count in capitals only, SET also in front of a name that looks like a setting's.
_LOOKS_LIKE_SQL: Final = re.compile(
    rb"""(?>(?:\s|--[^\n]*+|/\*.*?\*/|\()*)(?:
      (?i:select|with|insert|update|delete|values|merge|explain)\b
    | (?i:create\s+(?:or\s+replace\s+)?(?:(?:local|global)\s+)?temp(?:orary)?\b)
    | (?i:create\s+table\s+(?:if\s+not\s+exists\s+)?pg_temp\b)
    | (?i:declare\s+[^\s]+\s+[\w\s]*cursor\b)
    | (?i:begin|start\s+transaction)\s*;
    | (?i:set\s+(?:session\s+|local\s+)?(?:role|time\s+zone|session\s+authorization)\s+\S)
    | (?i:set\s+session\s+characteristics\b)
    | SET\s+(?:SESSION\s+|LOCAL\s+)?\S+\s*(?:=|TO\b|to\b)
    | set\s+(?:session\s+|local\s+)?\w*[_.]\w+\s*(?:=|to\b)
    | (?i:discard\s+all\s*(?:;|\Z))
    | LISTEN\s+\S+\s*(?:;|\Z)
    | LOAD\s+'
    | PREPARE\s+\S+\s*(?:\([^)]*\)\s*)?(?:AS|as)\b
    )""",
    re.VERBOSE | re.DOTALL,
)


def sql_texts(source: bytes, language: Language) -> Iterator[Text]:
    """Yield the texts in a program that look like SQL, in order."""
    literals = [found for found in language.pattern.finditer(source) if _has_text(found)]
    at = 0
    while at < len(literals):
        start = _span(literals[at])[0]
        parts = [_blanked(literals[at])]
        while at + 1 < len(literals):
            between = source[literals[at].end() : literals[at + 1].start()]
            if not language.joint.fullmatch(between):
                break
            gap = source[_span(literals[at])[1] : _span(literals[at + 1])[0]]
            parts += (re.sub(rb"[^\n]", b" ", gap), _blanked(literals[at + 1]))
            at += 1
        at += 1
        sql = b"".join(parts)
        if _LOOKS_LIKE_SQL.match(sql):
            yield Text(sql, start)


def _has_text(found: re.Match[bytes]) -> bool:
    return found.lastgroup not in ("hash", "slashes")


def _span(literal: re.Match[bytes]) -> tuple[int, int]:
    """Return where the literal's text stands, without its quotes."""
    return literal.span(literal.lastgroup or 0)


# An escape is two bytes of source; the places of all others stay as they are.
_ESCAPE: Final = re.compile(rb"\\(.)", re.DOTALL)
_BLANK_ESCAPES: Final = b"ntrbfv\r\n0"


def _blanked(literal: re.Match[bytes]) -> bytes:
    """Return a literal's text with its escapes blanked."""
    text = literal[literal.lastgroup or 0]
    if literal.lastgroup == "raw":  # a backslash is a backslash
        return text
    return _ESCAPE.sub(lambda found: b"  " if found[1] in _BLANK_ESCAPES else b" " + found[1], text)
