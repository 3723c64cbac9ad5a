"""SHOW STATS, STATS_TOTALS, STATS_AVERAGES and TOTALS: the same counters under four sets of names.

The names are PgBouncer's, which calls one counter `bytes_received`, `total_received`, `avg_recv`
and `total_client_bytes`; the tables below say which where.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Final

from pgpool_lite.console.fields import Field, Table, View, field, named_fields, pair_fields, table
from pgpool_lite.console.tables import DatabaseStats, database_stats
from pgpool_lite.console.values import NUMERIC, TEXT, Cell
from pgpool_lite.pool.registry import CONSOLE
from pgpool_lite.pool.stats import COUNTER_NAMES

# What SHOW STATS and SHOW TOTALS call counters otherwise than SHOW STATS_TOTALS does.
_STATS_TOTAL_NAMES: Final = {"bytes_received": "total_received", "bytes_sent": "total_sent"}
_STATS_AVERAGE_NAMES: Final = {"bytes_received": "avg_recv", "bytes_sent": "avg_sent"}
_TOTALS_NAMES: Final = {
    "bytes_received": "client_bytes",
    "bytes_sent": "server_bytes",
    "client_parse_count": "ps_client_parse_count",
    "server_parse_count": "ps_server_parse_count",
    "bind_count": "ps_bind_count",
}
# The counters whose average has a prefix in SHOW STATS_AVERAGES; the others' have none.
_PREFIXED_AVERAGES: Final = frozenset(
    {"client_parse_count", "server_parse_count", "bind_count", "client_login_count"}
)
# An average time is per event, so averages of several databases weigh by how many events each had.
_EVENTS_OF_TIMES: Final = {
    "xact_time": "xact_count",
    "query_time": "query_count",
    "wait_time": "server_assignment_count",
}


def _all_stats(view: View) -> list[DatabaseStats]:
    """Return the databases that somebody has used, as PgBouncer does; and the console."""
    used = {database for database, _ in view.registry.pools} | {CONSOLE}
    return [each for each in database_stats(view.registry, view.now) if each.database in used]


def _average_field(shown_as: str, counter: str) -> Field[DatabaseStats]:
    return field(shown_as, NUMERIC, attrgetter(f"averages.{counter}"))


_DATABASE: Final[list[Field[DatabaseStats]]] = named_fields(TEXT, "database")
_STATS_TOTALS: Final[list[Field[DatabaseStats]]] = [
    field(_STATS_TOTAL_NAMES.get(name, f"total_{name}"), NUMERIC, attrgetter(name))
    for name in COUNTER_NAMES
]
_STATS_AVERAGES: Final = [
    _average_field(_STATS_AVERAGE_NAMES.get(name, f"avg_{name}"), name) for name in COUNTER_NAMES
]
_BARE_AVERAGES: Final = [
    _average_field(f"avg_{name}" if name in _PREFIXED_AVERAGES else name, name)
    for name in COUNTER_NAMES
]


def _totals(view: View) -> Iterator[tuple[str, Cell]]:
    stats = _all_stats(view)
    for name in COUNTER_NAMES:
        yield f"total_{_TOTALS_NAMES.get(name, name)}", sum(_values(stats, name))
    for name in COUNTER_NAMES:
        yield f"avg_{_TOTALS_NAMES.get(name, name)}", _common_average(stats, name)


def _common_average(stats: Sequence[DatabaseStats], name: str) -> int:
    averages = _values(stats, f"averages.{name}")
    if name not in _EVENTS_OF_TIMES:
        return sum(averages)
    events = _values(stats, _EVENTS_OF_TIMES[name])
    weighed = sum(each * count for each, count in zip(averages, events, strict=True))
    return weighed // sum(events) if sum(events) else 0


def _values(stats: Sequence[DatabaseStats], name: str) -> list[int]:
    return [int(attrgetter(name)(each)) for each in stats]


STATS: Final[Table] = table([*_DATABASE, *_STATS_TOTALS, *_STATS_AVERAGES], _all_stats)
STATS_TOTALS: Final[Table] = table([*_DATABASE, *named_fields(NUMERIC, *COUNTER_NAMES)], _all_stats)
STATS_AVERAGES: Final[Table] = table([*_DATABASE, *_BARE_AVERAGES], _all_stats)
TOTALS: Final[Table] = table(pair_fields(("name", "value"), NUMERIC), _totals)
