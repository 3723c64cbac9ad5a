"""What is a SHOW table made of? Columns, each with the function that reads it off a typed row.

`show.py` and `show_stats.py` put tables together from these parts; nothing here knows a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Final, Generic, TypeVar

from pgpool_lite.console.clients import ConsoleClient
from pgpool_lite.console.values import TEXT, Cell, column
from pgpool_lite.pool.registry import Registry
from pgpool_lite.wire.backend import Column

T = TypeVar("T")

_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class View:
    """One moment, seen from the console: everything a table may show."""

    registry: Registry
    console_clients: Sequence[ConsoleClient]
    now: float
    #: What must be added to `now` to get Unix time.
    wall_offset_s: float
    is_paused: bool


@dataclass(frozen=True, slots=True)
class Table:
    """One SHOW table: its columns, and its rows at one moment."""

    columns: tuple[Column, ...]
    rows: Callable[[View], list[tuple[Cell, ...]]]


@dataclass(frozen=True, slots=True)
class Field(Generic[T]):
    """One column, and how its value is read off a row."""

    column: Column
    read: Callable[[T], Cell]


def table(fields: Sequence[Field[T]], find: Callable[[View], Iterable[T]]) -> Table:
    """Return the table of these columns over the rows that `find` finds."""

    def rows(view: View) -> list[tuple[Cell, ...]]:
        return [tuple(field.read(row) for field in fields) for row in find(view)]

    return Table(tuple(field.column for field in fields), rows)


def field(name: str, type_oid: int, read: Callable[[T], Cell]) -> Field[T]:
    """Return a column whose value `read` works out."""
    return Field(column(name, type_oid), read)


def named_fields(type_oid: int, *names: str) -> list[Field[T]]:
    """Return columns of one type that are named as the attributes they show."""
    return [field(name, type_oid, attrgetter(name)) for name in names]


def pair_fields(names: tuple[str, str], value_type: int) -> list[Field[tuple[str, Cell]]]:
    """Return the two columns of a table of names and values."""
    return [
        field(names[0], TEXT, lambda row: row[0]),
        field(names[1], value_type, lambda row: row[1]),
    ]


def constant(value: Cell) -> Callable[[object], Cell]:
    """Return the reader of a column that has one value in every row."""
    return lambda row: value


def whole_s(seconds: float) -> int:
    """Return the seconds of a time that is shown in two columns."""
    return int(seconds)


def rest_us(seconds: float) -> int:
    """Return the microseconds that belong in the second of the two."""
    return int(seconds * _SECOND_US) % _SECOND_US


def time_text(instant: datetime) -> str:
    """Return an instant as PgBouncer shows it."""
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"
