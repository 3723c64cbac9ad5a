"""How is a line of an HBA or ident file cut into words? As PgBouncer 1.26.1 cuts it.

    host  "my db",other  all  10.0.0.0/8  md5   # a comment

Words are set apart by blanks, a comma is a word of its own, `""` inside quotes is one quote, and
`#` starts a comment anywhere outside of quotes. A quoted word is a name and never a keyword.
`hba.py` and `ident.py` read their lines through `Words`; nothing here knows what a word means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from pgpool_lite.config.ini import ReadText
from pgpool_lite.errors import ConfigError

# What C's isspace() takes for a blank.
_BLANKS: Final = r" \t\n\r\v\f"
_WORD = re.compile(
    rf'[{_BLANKS}]*(?:(?P<comma>,)|"(?P<quoted>(?:[^"]|"")*+)"|(?P<bare>[^{_BLANKS},#"]+)|(?P<end>#.*|\Z))',
    re.DOTALL,
)


class Word(NamedTuple):
    """One word of a line; `is_quoted` words are never keywords."""

    text: str
    is_quoted: bool = False


COMMA: Final = Word(",")


class Words:
    """The words of one line, taken one by one."""

    def __init__(self, line: str) -> None:
        """Cut the line; raises ValueError when a quoted word has no end."""
        self._words = split_words(line)
        self._pos = 0

    @property
    def next(self) -> Word | None:
        """The word that `take` would return, None at the end of the line."""
        return self._words[self._pos] if self._pos < len(self._words) else None

    def take(self, what: str) -> Word:
        """Return the next word; raises ValueError where there is none, or a comma."""
        word = self.next
        if word is None or word == COMMA:
            raise ValueError(f"expected {what}")
        self._pos += 1
        return word

    def skip(self, keyword: str) -> bool:
        """Pass over the next word if it is this one, unquoted; say whether it was."""
        found = self.next == Word(keyword)
        self._pos += found
        return found

    def end(self) -> None:
        """Raise ValueError unless the line ends here."""
        if self.next is not None:
            raise ValueError("unsupported parameters at the end of the line")


def split_words(line: str) -> list[Word]:
    """Return the words of a line without its comment."""
    words: list[Word] = []
    pos = 0
    while True:
        match = _WORD.match(line, pos)
        if match is None:
            raise ValueError("expected a closing double quote")
        if match["end"] is not None:
            return words
        if match["quoted"] is not None:
            words.append(Word(match["quoted"].replace('""', '"'), is_quoted=True))
        else:
            words.append(Word(match["comma"] or match["bare"]))
        pos = match.end()


def read_lines(path: Path, read: ReadText) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file with their numbers; ConfigError if it cannot be read."""
    yield from enumerate(read(path).split("\n"), start=1)


class BadLines:
    """The lines of one file that could not be read; all of them are told at once."""

    def __init__(self, kind: str, file: Path) -> None:
        """Know of no bad line yet; `kind` is hba or ident, as PgBouncer's log lines say."""
        self._kind = kind
        self._file = file
        self._found: list[tuple[int, str]] = []

    def note(self, line: int, reason: str) -> None:
        """Remember a bad line."""
        self._found.append((line, reason))

    def raise_if_any(self) -> None:
        """Raise ConfigError that names every bad line, if there is one."""
        if not self._found:
            return
        sentences = [
            f"could not parse {self._kind} config line {line}: {reason}"
            for line, reason in self._found
        ]
        raise ConfigError("; ".join(sentences), file=self._file, line=self._found[0][0])
