"""What is there to say about a configuration file? One finding per line that deserves it.

`load` stops at the first error; whoever mends a file wants all of them at once, so each entry is
read by itself here. Where PgBouncer 1.26.1 takes a line otherwise than we do, that is a finding
too: the file may have to serve both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from pgpool_lite.config import (
    Config,
    DatabaseSettings,
    Settings,
    load,
    parse_settings,
    settings_without_effect,
)
from pgpool_lite.config.databases import parse_database, parse_peer, parse_user
from pgpool_lite.config.effect import settings_of_no_concern
from pgpool_lite.config.ini import Located, Section, read_ini
from pgpool_lite.config.load import MAIN_SECTION, SECTIONS
from pgpool_lite.config.table import table_of
from pgpool_lite.errors import ConfigError

#: Settings and keys of [databases] that PgBouncer does not know; their sentences say so.
OUR_SETTINGS: Final = frozenset(
    key for key, entry in table_of(Settings).items() if "not one of PgBouncer's" in entry.doc
)
OUR_DATABASE_KEYS: Final = frozenset(
    key
    for key, entry in table_of(DatabaseSettings).items()
    if "not one of PgBouncer's" in entry.doc
)
#: Settings that PgBouncer reads as whole numbers, and we with fractions.
WHOLE_THERE: Final = frozenset({"query_wait_notify", "stats_period"})

_REFUSES: Final = "PgBouncer does not know {}, and does not start"


class Severity(StrEnum):
    """How bad is it?"""

    #: The pooler does not start with this file, and RELOAD keeps the old configuration.
    ERROR = "error"
    #: PgBouncer refuses this line, or takes it otherwise.
    PGBOUNCER = "pgbouncer"
    #: It does not do what one may expect.
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know about one line."""

    severity: Severity
    message: str
    file: Path
    #: None where it is about the whole file.
    line: int | None = None
    key: str = ""

    def __str__(self) -> str:
        """Return it as compilers write: file, line, severity, what is wrong."""
        place = f"{self.file}:{self.line}" if self.line else str(self.file)
        return f"{place}: {self.severity}: {self.key + ': ' if self.key else ''}{self.message}"


def examine(path: Path) -> tuple[Config | None, list[Finding]]:
    """Return the configuration, None where it cannot be used, and all there is to say about it."""
    try:
        sections = read_ini(path)
    except ConfigError as error:
        return None, [_from_error(error, path)]
    findings = [finding for section in sections for finding in _of_section(section, sections)]
    config = None
    try:
        config = load(path)
    except ConfigError as error:
        said = _from_error(error, path)
        if said not in findings:
            findings.append(said)
    return config, sorted(findings, key=lambda each: (str(each.file) != str(path), each.line or 0))


def _of_section(section: Section, sections: list[Section]) -> Iterator[Finding]:
    if section.name not in SECTIONS:
        return  # `load` says so
    counting = _entries_that_count(section.name, sections)
    read: dict[str, Callable[[Located], Iterable[str]]] = {
        MAIN_SECTION: _read_setting,
        "databases": _read_database,
        "users": _read_user,
        "peers": _read_peer,
    }
    for entry in section.entries:
        is_counting = counting.get(entry.key) is entry
        try:
            notes = list(read[section.name](entry))
        except ConfigError as error:
            yield _from_error(error, section.file, is_counting=is_counting)
            continue
        yield from _differences(section.name, entry)
        if is_counting:
            yield from (_finding(Severity.NOTE, note, entry) for note in notes)
        else:
            yield _finding(Severity.NOTE, "is set again below, which is what counts", entry)


def _entries_that_count(name: str, sections: list[Section]) -> dict[str, Located]:
    """Return the last entry of each key; of [pgbouncer], only the last section counts."""
    named = [section for section in sections if section.name == name]
    if name == MAIN_SECTION:
        named = named[-1:]
    return {entry.key: entry for section in named for entry in section.entries}


# --- what each kind of entry means to us: notes; ConfigError where it is wrong ---


def _read_setting(entry: Located) -> list[str]:
    settings, _ = parse_settings({entry.key: entry})
    sentences = [*settings_without_effect(settings), *settings_of_no_concern(settings)]
    return [_without_key(sentence, entry) for sentence in sentences]


def _read_database(entry: Located) -> list[str]:
    parse_database(entry)
    return []


def _read_user(entry: Located) -> list[str]:
    parse_user(entry)
    return []


def _read_peer(entry: Located) -> list[str]:
    parse_peer(entry)
    return []


def _without_key(sentence: str, entry: Located) -> str:
    return sentence.removeprefix(f"{entry.key} ")


# --- what it means to PgBouncer ---


def _differences(section: str, entry: Located) -> Iterator[Finding]:
    if section == MAIN_SECTION:
        if entry.key not in table_of(Settings):
            yield _finding(
                Severity.PGBOUNCER, f"is ignored; {_REFUSES.format('this setting')}", entry
            )
        elif entry.key in OUR_SETTINGS:
            yield _finding(Severity.PGBOUNCER, _REFUSES.format("this setting"), entry)
        elif entry.key in WHOLE_THERE and not float(entry.value).is_integer():
            yield _finding(
                Severity.PGBOUNCER, "PgBouncer wants a whole number, and does not start", entry
            )
    elif section == "databases":
        database = parse_database(entry)
        for key in sorted(OUR_DATABASE_KEYS):
            if getattr(database, key) is not None:
                yield _finding(Severity.PGBOUNCER, _REFUSES.format(f"the key {key}"), entry)


def _finding(severity: Severity, message: str, entry: Located) -> Finding:
    return Finding(severity, message, entry.file or Path(), entry.line, entry.key)


def _without_place(error: ConfigError) -> str:
    """Return the sentence alone; the finding says where."""
    message = error.message
    for place in (f"{error.file}:{error.line}: ", f"{error.file}: ", f"{error.key}: "):
        message = message.removeprefix(place)
    return message


def _from_error(error: ConfigError, path: Path, *, is_counting: bool = True) -> Finding:
    """Return what an error says; a line that is set again below stops PgBouncer only."""
    message = _without_place(error)
    severity = Severity.ERROR
    if not is_counting:
        severity = Severity.PGBOUNCER
        message = f"PgBouncer reads this line too, although it is set again below: {message}"
    return Finding(severity, message, error.file or path, error.line, error.key)
