"""How is a configuration file cut into sections and entries? As PgBouncer 1.26.1 cuts it.

`load.py` calls `read_ini` once per file. This module knows the dialect and nothing of what a
section or a key means:

    ; a comment, and so is a line that starts with #     only at the start of a line
    [section]                                            may appear again
      key = value, to the end of the line ; all of it    blanks around are dropped, case is kept
    'a key with blanks' = value
    %include other.ini                                   relative to the working directory

An included file continues the section it is included from, and the section it ends in goes on in
the file that includes it. Which entry of two with one key counts is for the caller to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pgpool_lite.errors import ConfigError

# What C's isspace() takes for a blank; str.strip() alone would also eat U+00A0 and its kin.
_BLANKS = " \t\n\r\v\f"

# PgBouncer's MAX_INCLUDE: a file may be this many %includes away from the first one.
MAX_INCLUDE_DEPTH = 10

_INCLUDE = re.compile(r"%include[ \t](?P<name>.*)", re.DOTALL)
_HEADER = re.compile(r"\[(?P<name>[^\]]*)\]")
_ENTRY = re.compile(
    r"(?:'(?P<quoted>[^']+)'|(?P<bare>[A-Za-z0-9_.*-]+))[ \t]*=(?P<value>.*)", re.DOTALL
)

ReadText = Callable[[Path], str]


class Located(NamedTuple):
    """One `key = value`, and where it stands."""

    key: str
    value: str
    file: Path | None = None
    line: int | None = None

    def __repr__(self) -> str:
        """Leave the value out, which may hold a password."""
        return f"Located({self.key!r}, at {self.file}:{self.line})"


@dataclass(frozen=True, slots=True)
class Section:
    """What stands between one `[name]` and the next; `file` and `line` are those of the header."""

    name: str
    file: Path
    line: int
    entries: list[Located] = field(default_factory=list)


def read_text(path: Path) -> str:
    """Return the file's text; bytes that are no UTF-8 survive as surrogates, as secrets may.

    Raises ConfigError where it cannot be read, or is no text: no name and no path has a zero byte.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=path) from error
    zero = raw.find(b"\0")
    if zero >= 0:
        line = raw.count(b"\n", 0, zero) + 1
        raise ConfigError("contains a zero byte; expected text in UTF-8", file=path, line=line)
    return raw.decode("utf-8", errors="surrogateescape")


def read_ini(path: Path, read: ReadText = read_text) -> list[Section]:
    """Read the file and all it includes; return the sections in the order of their headers."""
    reader = _Reader(read)
    reader.read_file(path, ())
    return reader.sections


class _Reader:
    """The walk over one file and its includes; lives for one call of `read_ini`."""

    def __init__(self, read: ReadText) -> None:
        # How a path becomes text; tests pass a dictionary's lookup.
        self.read = read
        # Every section met so far; the last one is open.
        self.sections: list[Section] = []

    def read_file(self, path: Path, including: tuple[Path, ...]) -> None:
        """Read one file; `including` are the files on the way to it, the first one first."""
        for number, line in enumerate(self.read(path).split("\n"), start=1):
            rest = line.lstrip(_BLANKS)
            include = _INCLUDE.match(rest)
            if include:
                self.include(include["name"].strip(_BLANKS), path, number, (*including, path))
            else:
                self.read_line(rest, path, number)

    def include(self, name: str, file: Path, line: int, including: tuple[Path, ...]) -> None:
        """Read the file named by an `%include` at `file`:`line`, unless it never ends."""
        path = Path(name)
        if any(_is_same(path, earlier) for earlier in including):
            chain = " -> ".join(str(each) for each in (*including, path))
            raise ConfigError(f"a file includes itself: {chain}", file=file, line=line)
        if len(including) > MAX_INCLUDE_DEPTH:
            message = f"%include is nested more than {MAX_INCLUDE_DEPTH} files deep"
            raise ConfigError(message, file=file, line=line)
        if not name:
            raise ConfigError("expected a file name after %include", file=file, line=line)
        try:
            self.read_file(path, including)
        except ConfigError as error:
            if error.line is not None:
                raise
            # The included file itself cannot be read: the line to mend is the %include.
            raise ConfigError(f"%include {error}", file=file, line=line) from error

    def read_line(self, rest: str, file: Path, line: int) -> None:
        """Take headers off the front of a line, then the one entry that may follow them."""
        while header := _HEADER.match(rest):
            self.sections.append(Section(header["name"], file, line))
            rest = rest[header.end() :].lstrip(_BLANKS)
        if not rest or rest[0] in ";#":
            return
        entry = _ENTRY.match(rest)
        if entry is None:
            raise ConfigError(_explain(rest), file=file, line=line)
        key, value = entry["quoted"] or entry["bare"], entry["value"].strip(_BLANKS)
        if not self.sections:
            message = "stands before the first section; expected [pgbouncer] or another above it"
            raise ConfigError(message, file=file, line=line, key=key)
        self.sections[-1].entries.append(Located(key, value, file, line))


def _is_same(path: Path, other: Path) -> bool:
    """Say whether two names lead to one file; a name that leads nowhere is found out by reading."""
    try:
        return path.resolve() == other.resolve()
    except (OSError, RuntimeError):  # links in a circle
        return False


def _explain(rest: str) -> str:
    """Say what is wrong with a line that is no entry, without repeating what may be a secret."""
    if rest[0] == "[":
        return "expected ']' at the end of the section's name"
    if rest[0] == '"':
        return "expected single quotes around a name with other characters than A-Z a-z 0-9 _.-*"
    if rest.startswith("%include"):
        return "expected a blank and a file name after %include"
    return "expected 'key = value', '[section]', '%include file' or a comment"
