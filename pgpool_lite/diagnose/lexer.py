"""The words of an SQL text: tokens and statements, from a bounded head of its bytes.

Total and linear: every byte string has tokens, each byte is looked at a bounded number of times,
and no more than `HEAD_LIMIT` of them. What is no SQL gives tokens that mean nothing to anybody.
Knows PostgreSQL's lexical structure (documentation, "Lexical Structure") with
standard_conforming_strings on, and nothing of what a statement means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

#: So many bytes of a text are looked at: a statement tells what it is at its beginning.
HEAD_LIMIT: Final = 65_536


class TokenKind(Enum):
    """What a token is; white space and comments are none."""

    WORD = "word"  # a keyword or an unquoted identifier, folded to lower case
    NAME = "name"  # a quoted identifier, without its quotes
    STRING = "string"  # a constant in single quotes or between dollar quotes, without these
    NUMBER = "number"
    PARAMETER = "parameter"  # $1
    SYMBOL = "symbol"  # one byte of anything else


class Token(NamedTuple):
    """One token, and where it stands in the text. A tuple, for there are many."""

    kind: TokenKind
    text: bytes
    start: int
    end: int

    def is_word(self, *words: bytes) -> bool:
        """Say whether this is one of these keywords, given in lower case."""
        return self.kind is TokenKind.WORD and self.text in words

    def is_symbol(self, symbol: bytes) -> bool:
        """Say whether this is that one byte outside of words, strings and comments."""
        return self.kind is TokenKind.SYMBOL and self.text == symbol


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a text: its tokens, at least one, without the semicolon behind it."""

    tokens: tuple[Token, ...]

    @property
    def start(self) -> int:
        """Where its first word stands in the text."""
        return self.tokens[0].start

    @property
    def end(self) -> int:
        """Where its last word ends."""
        return self.tokens[-1].end


# Each alternative consumes at least one byte and never gives any back. An unterminated constant
# reaches to the end of the text.
_TOKEN = re.compile(
    rb"""
    (?P<space>[ \t\n\r\f\v]++ | --[^\n\r]*+)
    | (?P<comment>/\*)
    | (?P<escaped>[eE]'[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+(?:'|\\?\Z))
    | (?P<string>(?:[bBnNxX]|[uU]&)?'[^']*+(?:''[^']*+)*+(?:'|\Z))
    | (?P<name>(?:[uU]&)?"[^"]*+(?:""[^"]*+)*+(?:"|\Z))
    | (?P<word>[A-Za-z_\x80-\xff][\w$\x80-\xff]*+)
    | (?P<parameter>\$[0-9]++)
    | (?P<dollar>\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*+)?\$)
    | (?P<number>\.?[0-9][\w.]*+)
    | (?P<symbol>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(rb"/\*|\*/")
_ESCAPE = re.compile(rb"\\(.)|''", re.DOTALL)


def tokens(sql: bytes, limit: int = HEAD_LIMIT) -> Iterator[Token]:
    """Yield the tokens of the text's first `limit` bytes, in order."""
    sql = sql[:limit]
    pos = 0
    while found := _TOKEN.match(sql, pos):
        start, pos = found.span()
        sort, text = found.lastgroup, found[0]
        if sort == "word":
            yield Token(TokenKind.WORD, text.lower(), start, pos)
        elif sort == "symbol":
            yield Token(TokenKind.SYMBOL, text, start, pos)
        elif sort == "comment":
            pos = _end_of_comment(sql, pos)
        elif sort == "string":
            yield Token(TokenKind.STRING, _unquoted(text, b"'"), start, pos)
        elif sort == "name":
            yield Token(TokenKind.NAME, _unquoted(text, b'"'), start, pos)
        elif sort == "escaped":
            yield Token(TokenKind.STRING, _ESCAPE.sub(_unescape, text[2:-1]), start, pos)
        elif sort == "dollar":
            end = sql.find(text, pos)
            body = sql[pos:] if end < 0 else sql[pos:end]
            pos = len(sql) if end < 0 else end + len(text)
            yield Token(TokenKind.STRING, body, start, pos)
        elif sort == "number":
            yield Token(TokenKind.NUMBER, text, start, pos)
        elif sort == "parameter":
            yield Token(TokenKind.PARAMETER, text, start, pos)


def _end_of_comment(sql: bytes, pos: int) -> int:
    """Return where the comment ends whose /* ends at `pos`. They nest."""
    depth = 1
    for edge in _COMMENT_EDGE.finditer(sql, pos):
        depth += 1 if edge[0] == b"/*" else -1
        if depth == 0:
            return edge.end()
    return len(sql)


def _unquoted(text: bytes, quote: bytes) -> bytes:
    """Return what stands between quotes, behind a prefix or none; the last quote may be missing."""
    body = text[text.index(quote) + 1 :]
    return body.removesuffix(quote).replace(quote * 2, quote)


def _unescape(found: re.Match[bytes]) -> bytes:
    return found[1] or b"'"


def statements(sql: bytes, limit: int = HEAD_LIMIT) -> Iterator[Statement]:
    """Yield the statements of the text's first `limit` bytes; empty ones are none.

    A semicolon in parentheses (CREATE RULE) or in the BEGIN ATOMIC body of a function ends nothing,
    as in psql.
    """
    gathered: list[Token] = []
    parentheses = 0
    bodies = 0
    for token in tokens(sql, limit):
        if token.is_symbol(b";") and parentheses == 0 and bodies == 0:
            if gathered:
                yield Statement(tuple(gathered))
            gathered = []
            continue
        gathered.append(token)
        if token.kind is TokenKind.SYMBOL:
            parentheses = max(0, parentheses + _PARENTHESES.get(token.text, 0))
        elif token.kind is TokenKind.WORD and token.text in _BODIES:
            bodies = _body_depth(gathered, bodies)
    if gathered:
        yield Statement(tuple(gathered))


_PARENTHESES: Final = {b"(": 1, b")": -1}
_BODIES: Final = frozenset({b"atomic", b"case", b"end"})


def _body_depth(gathered: list[Token], depth: int) -> int:
    """Return how many BEGIN ATOMIC and CASE are open behind the last word of a statement."""
    word = gathered[-1]
    if word.is_word(b"end"):
        return max(0, depth - 1)
    if word.is_word(b"case"):
        return depth + 1 if depth else 0
    begins = len(gathered) > 1 and gathered[-2].is_word(b"begin")
    return depth + 1 if begins and gathered[0].is_word(b"create") else depth
