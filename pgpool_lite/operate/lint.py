"""`pgpool-lite lint FILE|DIR...`: what in SQL files and programs breaks in transaction mode.

Exit code 0 where nothing was found, 1 where something was, 2 for wrong arguments and files that
cannot be read.
"""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pgpool_lite.diagnose.leaks import Leak, effects_of, is_followed, leaks_in_script
from pgpool_lite.diagnose.rules import RULES
from pgpool_lite.operate.lint_report import REPORTS, Finding
from pgpool_lite.operate.literals import LANGUAGES, sql_texts
from pgpool_lite.operate.scripts import sql_of_script

SCRIPTS: Final = frozenset({".sql", ".psql", ".pgsql", ".ddl"})
STDIN: Final = "-"

# Not looked into when a folder is given; nor is what begins with a dot, nor a virtual environment.
_FOREIGN: Final = frozenset({"node_modules", "__pycache__", "site-packages"})

_IDS: Final = frozenset(each.id for each in RULES)


class _WrongArguments(Exception):
    """A sentence for stderr, and exit code 2."""


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which findings count."""

    ids: frozenset[str]
    single_transaction: bool


def run_lint(options: Namespace) -> int:
    """Print what was found in the format that was asked for; return the exit code."""
    try:
        choice = _Choice(_chosen(options.select, options.ignore), options.single_transaction)
        files = list(_files(options.paths))
        findings = [finding for file in files for finding in _lint_file(file, choice)]
    except _WrongArguments as error:
        print(f"pgpool-lite lint: {error}", file=sys.stderr)
        return 2
    for line in REPORTS[options.format](findings):
        print(line)
    if options.format == "text":
        print(f"{_count(findings, 'finding')} in {_count(files, 'file')}", file=sys.stderr)
    return 1 if findings else 0


def _count(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _chosen(select: Sequence[str], ignore: Sequence[str]) -> frozenset[str]:
    """Return the rules that count; both lists may have commas in them."""
    selected = {id for words in select for id in words.upper().split(",")}
    ignored = {id for words in ignore for id in words.upper().split(",")}
    for unknown in sorted((selected | ignored) - _IDS):
        raise _WrongArguments(f"no rule {unknown!r}: there are {RULES[0].id} to {RULES[-1].id}")
    return frozenset((selected or _IDS) - ignored)


# --- files ---


def _files(paths: Iterable[str]) -> Iterator[Path]:
    """Yield the files that were named, and those below folders whose suffix is known."""
    for path in map(Path, paths):
        if path.is_dir():
            yield from _below(path)
        elif path.exists() or str(path) == STDIN:
            yield path
        else:
            raise _WrongArguments(f"no such file or folder: {path}")


def _below(folder: Path) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise _WrongArguments(f"cannot read {folder}: {error.strerror}") from None
    for entry in entries:
        if entry.name.startswith(".") or entry.is_symlink():
            continue
        if entry.is_dir():
            if entry.name not in _FOREIGN and not (entry / "pyvenv.cfg").exists():
                yield from _below(entry)
        elif entry.suffix.lower() in SCRIPTS or entry.suffix.lower() in LANGUAGES:
            yield entry


def _read(path: Path) -> bytes:
    """Return a file's bytes without a byte order mark, UTF-16 as UTF-8."""
    try:
        data = sys.stdin.buffer.read() if str(path) == STDIN else path.read_bytes()
    except OSError as error:
        raise _WrongArguments(f"cannot read {path}: {error.strerror}") from None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace").encode()
    return data.removeprefix(b"\xef\xbb\xbf")


# --- findings ---


def _lint_file(path: Path, choice: _Choice) -> Iterator[Finding]:
    data = _read(path)
    lines = _Lines(data)
    for offset, leak in _leaks(path, data, choice):
        if leak.rule.id in choice.ids and not is_followed(leak):
            line, column = lines.place(offset)
            if not lines.is_ignored(line, leak.rule.id):
                yield Finding(str(path), line, column, leak)


def _leaks(path: Path, data: bytes, choice: _Choice) -> Iterator[tuple[int, Leak]]:
    """Yield what breaks a rule, each with its place in the file."""
    language = LANGUAGES.get(path.suffix.lower())
    if language is None:
        script = sql_of_script(data)
        for leak in leaks_in_script(script, single_transaction=choice.single_transaction):
            yield leak.offset, leak
        return
    for text in sql_texts(data, language):
        # Nobody knows what the program did before, in this transaction or out of one.
        for leak in effects_of(text.sql, in_transaction=True)[0]:
            yield text.place(leak.offset), leak


# In a comment of any language, in the line of a finding or the one above; or for the whole file.
_IGNORE: Final = re.compile(rb"pgpool-lite:\s*ignore(?P<file>-file)?(?P<ids>(?:[\s,]+PL[0-9]{3})*)")


class _Lines:
    """Where the lines of one file are, and which rules their comments switch off."""

    __slots__ = ("_data", "_ignored", "_starts")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._starts = [0, *(found.end() for found in re.finditer(rb"\n", data))]
        # Line 0 stands for the whole file.
        self._ignored: dict[int, frozenset[str]] = {}
        for found in _IGNORE.finditer(data):
            ids = frozenset(re.findall(r"PL[0-9]{3}", found["ids"].decode())) or _IDS
            line = 0 if found["file"] else self._line(found.start())
            self._ignored[line] = self._ignored.get(line, frozenset()) | ids

    def place(self, offset: int) -> tuple[int, int]:
        """Return line and column of a byte, from 1; columns count characters."""
        line = self._line(offset)
        before = self._data[self._starts[line - 1] : offset]
        return line, len(before.decode("utf-8", "replace")) + 1

    def is_ignored(self, line: int, id: str) -> bool:
        """Say whether a comment switches a rule off for a line."""
        return any(id in self._ignored.get(at, ()) for at in (0, line - 1, line))

    def _line(self, offset: int) -> int:
        return bisect_right(self._starts, offset)
