"""Which string literals of a program look like SQL? For `pgpool-lite lint`; a guess, on bytes.

A program is cut into comments, literals and all else by one pattern per language; no grammar is
known. Literals that are only joined, as in `"CREATE TEMP TABLE t (a int) " "ON COMMIT DROP"`, are
one text.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Text:
    """An SQL text in a program, without quotes and escapes."""

    sql: bytes
    #: Offsets in the text, each with that in the program; what follows moves along with it.
    _places: tuple[tuple[int, int], ...]

    def place(self, offset: int) -> int:
        """Return where in the program a byte of the text stands."""
        at, source = self._places[bisect_right(self._places, (offset, sys.maxsize)) - 1]
        return source + offset - at


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
        # Atomic: what does not fit is given up at once.
        re.compile(rb"(?>(?:\s|" + joint + rb"|" + _ANY_COMMENT + rb")*)"),
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
    | (?i:set\s+(?:session\s+|local\s+)?time\s+zone\s+\S)
    | (?i:set\s+(?:(?:session\s+|local\s+)?role|session\s+authorization)
        \s+(?:"[^"]+"|[^\s;]+)\s*(?:;|\Z))
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
        joined = [literals[at]]
        at += 1
        while at < len(literals) and language.joint.fullmatch(
            source, joined[-1].end(), literals[at].start()
        ):
            joined.append(literals[at])
            at += 1
        text = _text_of(joined)
        if _LOOKS_LIKE_SQL.match(text.sql):
            yield text


def _has_text(found: re.Match[bytes]) -> bool:
    return found.lastgroup not in ("hash", "slashes")


_ESCAPE: Final = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPED: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"\n": b"", b"0": b" "}


def _text_of(literals: list[re.Match[bytes]]) -> Text:
    """Return what literals say together. In a raw one a backslash is a backslash."""
    sql = bytearray()
    places = []
    for literal in literals:
        kind = literal.lastgroup or 0
        start, text, pos = literal.start(kind), literal[kind], 0
        for escape in () if kind == "raw" else _ESCAPE.finditer(text):
            places += [(len(sql), start + pos)]
            sql += text[pos : escape.start()]
            places += [(len(sql), start + escape.start())]
            sql += _ESCAPED.get(escape[1], escape[1])
            pos = escape.end()
        places += [(len(sql), start + pos)]
        sql += text[pos:]
    return Text(bytes(sql), tuple(places))
