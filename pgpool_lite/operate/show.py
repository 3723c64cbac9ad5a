"""`pgpool-lite show WHAT`: one table of a running pooler's console, to read or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from pgpool_lite.config import DatabaseSettings, parse_url
from pgpool_lite.console.values import Cell, rows_as_json
from pgpool_lite.operate.console_client import Console
from pgpool_lite.operate.dialogue import Reply
from pgpool_lite.pool.registry import CONSOLE
from pgpool_lite.wire.backend import Column

#: Where PgBouncer listens unless told otherwise; whoever runs the pooler needs no password there.
DEFAULT_TARGET = DatabaseSettings(name=CONSOLE, host="/tmp", port=6432, user=CONSOLE)


def run_show(what: str, url: str | None, *, as_json: bool) -> int:
    """Print what the console shows; raises PgPoolLiteError when it cannot be had."""
    target = parse_url(url)[0] if url else DEFAULT_TARGET
    with Console(target) as console:
        reply = console.ask(f"SHOW {what}")
    print("\n".join(_as_json(reply) if as_json else _as_text(reply)))
    return 0


def _as_json(reply: Reply) -> Iterator[str]:
    yield json.dumps(json.loads(rows_as_json(reply.columns, reply.rows)), indent=2)


def _as_text(reply: Reply) -> Iterator[str]:
    yield from reply.notices
    if not reply.columns:
        return
    shown = [[_text(cell) for cell in row] for row in reply.rows]
    widths = [
        max(len(cell) for cell in (column.name, *(row[index] for row in shown)))
        for index, column in enumerate(reply.columns)
    ]
    yield _join([column.name for column in reply.columns], widths, reply.columns)
    for row in shown:
        yield _join(row, widths, reply.columns)


def _join(cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    """Return one line: numbers to the right of their column, texts to the left."""
    aligned = (
        cell.rjust(width) if column.type_size > 0 else cell.ljust(width)
        for cell, width, column in zip(cells, widths, columns, strict=True)
    )
    return "  ".join(aligned).rstrip()


def _text(cell: Cell) -> str:
    return "" if cell is None else str(cell)
