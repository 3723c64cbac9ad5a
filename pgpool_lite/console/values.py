"""How do the values in the console's answers look on the wire, in text and in binary?

PgBouncer's console knows four types and sends text only. Drivers that work with the extended
protocol ask for binary (asyncpg always does), so each type has both forms. Binary forms are those
of PostgreSQL's int4send, int8send, textsend and numeric_send.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Final

from pgpool_lite.wire import codes
from pgpool_lite.wire.backend import Column
from pgpool_lite.wire.frontend import encode, encode_string

Cell = str | int | None

#: Type oids of PostgreSQL's pg_type.
INT8: Final = 20
INT4: Final = 23
TEXT: Final = 25
NUMERIC: Final = 1700
#: What RowDescription says about a type's size; -1 is "varies".
SIZES: Final = {INT8: 8, INT4: 4, TEXT: -1, NUMERIC: -1}

#: Format codes of Bind and RowDescription.
TEXT_FORMAT: Final = 0
BINARY_FORMAT: Final = 1

_INT16: Final = Struct("!h")
_INT32: Final = Struct("!i")
_INT64: Final = Struct("!q")
_FIELD: Final = Struct("!ihihih")  # table, column, type oid, type size, modifier, format
_NUMERIC_HEAD: Final = Struct("!hhHh")  # digit count, weight of the first, sign, digits behind "."

_NUMERIC_BASE: Final = 10_000
_NUMERIC_NEGATIVE: Final = 0x4000


def column(name: str, type_oid: int) -> Column:
    """Return a column of one of the four types."""
    return Column(name, type_oid, SIZES[type_oid])


def row_description(columns: Sequence[Column], formats: Sequence[int]) -> bytes:
    """Return RowDescription for columns that are sent in these formats."""
    fields = b"".join(
        encode_string(column.name)
        + _FIELD.pack(0, 0, column.type_oid, column.type_size, -1, format_code)
        for column, format_code in zip(columns, formats, strict=True)
    )
    return encode(codes.ROW_DESCRIPTION, _INT16.pack(len(columns)) + fields)


def encode_cell(cell: Cell, type_oid: int, format_code: int) -> bytes | None:
    """Return a value of a DataRow; None is NULL."""
    if cell is None:
        return None
    if isinstance(cell, str):
        return cell.encode("utf-8", "surrogateescape")
    if format_code == TEXT_FORMAT:
        return b"%d" % cell
    if type_oid == INT4:
        return _INT32.pack(cell)
    if type_oid == INT8:
        return _INT64.pack(cell)
    return _encode_numeric(cell)


def rows_as_json(columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> str:
    """Return a table as a JSON array of objects; bytes that are no UTF-8 become U+FFFD."""
    names = [column.name for column in columns]
    return json.dumps([dict(zip(names, map(_json_cell, row), strict=True)) for row in rows])


def _json_cell(cell: Cell) -> Cell:
    if isinstance(cell, str):
        return cell.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return int(cell) if cell is not None else None  # a flag is 0 or 1, as in the table


def _encode_numeric(number: int) -> bytes:
    """Return a whole number as numeric_send writes it: base 10000, no zeros at the end."""
    digits: list[int] = []
    rest = abs(number)
    while rest:
        rest, digit = divmod(rest, _NUMERIC_BASE)
        digits.insert(0, digit)
    weight = max(len(digits) - 1, 0)
    while digits and digits[-1] == 0:
        digits.pop()
    sign = _NUMERIC_NEGATIVE if number < 0 else 0
    head = _NUMERIC_HEAD.pack(len(digits), weight, sign, 0)
    return head + b"".join(_INT16.pack(digit) for digit in digits)
