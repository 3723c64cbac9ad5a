"""SHOW LEAKS, PINS and LEAK_TOTALS: what stands on which server, by whom, and who was its victim?

Not PgBouncer's tables; they are empty where session_leaks is off. LEAKS has what stands on servers
now, so what is taken back or cleaned is gone from it, and so is what was on a closed server.
LEAK_TOTALS counts since the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pgpool_lite.console.fields import Field, Table, View, field, named_fields, table, time_text
from pgpool_lite.console.tables import sorted_pools, wall_time
from pgpool_lite.console.values import INT4, INT8, TEXT, Cell
from pgpool_lite.pool.leaks import is_pinned
from pgpool_lite.pool.pool import Pool
from pgpool_lite.pool.stats import microseconds
from pgpool_lite.session.leak_words import what
from pgpool_lite.session.ledger import NAME_LIMIT, Entry, Ledger, Party
from pgpool_lite.session.parameters import APPLICATION_NAME
from pgpool_lite.session.server import ServerSession

_MAX_PID: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class LeakStatus:
    """One thing that stands on a server."""

    pool: Pool
    server: ServerSession
    entry: Entry
    #: What must be added to an instant to get Unix time.
    wall_offset_s: float


@dataclass(frozen=True, slots=True)
class PinStatus:
    """One client that keeps its server because of what it has left there."""

    database: str
    user: str
    client_id: int
    client_addr: str
    client_port: int
    application_name: str
    server_id: int
    server_pid: int
    #: What it has left first: the reason.
    rule: str
    leak: str
    statement: str
    since: datetime


@dataclass(frozen=True, slots=True)
class LeakTotals:
    """What has come of session_leaks in one pool."""

    database: str
    user: str
    leaks: int
    victims: int
    refusals: int
    pins: int
    resets: int
    #: Microseconds for which servers were cleaned.
    reset_us: int
    #: Leaks that were not noted: too many at once.
    dropped: int


def _servers(view: View) -> Iterator[tuple[Pool, ServerSession, Ledger]]:
    for pool in sorted_pools(view.registry):
        for servers in pool.servers.values():
            for server in servers:
                if server.ledger is not None:
                    yield pool, server, server.ledger


def _leaks(view: View) -> Iterator[LeakStatus]:
    for pool, server, ledger in _servers(view):
        for entry in ledger.entries.values():
            yield LeakStatus(pool, server, entry, view.wall_offset_s)


def _pins(view: View) -> Iterator[PinStatus]:
    for pool, server, ledger in _servers(view):
        client = server.client
        if client is None or not (ledger.stands and is_pinned(server, pool.rules)):
            continue
        first = next(iter(ledger.entries.values()), None)
        address, port = client.connection.address
        yield PinStatus(
            database=pool.database.name,
            user=client.user or pool.user,
            client_id=client.id,
            client_addr=address,
            client_port=port,
            application_name=client.parameters[APPLICATION_NAME] or "",
            server_id=server.id,
            server_pid=_pid(server),
            rule=first.leak.rule.id if first is not None else "",
            leak=what(first.leak) if first is not None else "",
            statement=first.culprit.statement if first is not None else "",
            since=wall_time(
                (first.culprit.at if first is not None else view.now) + view.wall_offset_s
            ),
        )


def _totals(view: View) -> Iterator[LeakTotals]:
    for pool in sorted_pools(view.registry):
        counters = pool.leak_counters
        yield LeakTotals(
            database=pool.database.name,
            user=pool.user,
            leaks=counters.leak_count,
            victims=counters.victim_count,
            refusals=counters.refusal_count,
            pins=counters.pin_count,
            resets=counters.reset_count,
            reset_us=microseconds(counters.reset_time),
            dropped=counters.dropped_count,
        )


def _pid(server: ServerSession) -> int:
    return min(server.cancel_key.pid, _MAX_PID)  # unsigned on the wire, the column is not


def _of_victim(read: Callable[[Party], Cell]) -> Callable[[LeakStatus], Cell]:
    """Return the reader of a column about the victim, NULL while there is none."""

    def read_victim(row: LeakStatus) -> Cell:
        victim = row.entry.victim
        return None if victim is None else read(victim)

    return read_victim


def _victim_time(row: LeakStatus) -> Cell:
    victim = row.entry.victim
    return None if victim is None else time_text(wall_time(victim.at + row.wall_offset_s))


_LEAK_FIELDS: Final[list[Field[LeakStatus]]] = [
    field("database", TEXT, lambda row: row.pool.database.name),
    field("user", TEXT, lambda row: row.entry.culprit.user or row.pool.user),
    field("server_id", INT4, lambda row: row.server.id),
    field("server_pid", INT4, lambda row: _pid(row.server)),
    field("rule", TEXT, lambda row: row.entry.leak.rule.id),
    field("kind", TEXT, lambda row: row.entry.leak.rule.kind.value),
    field("name", TEXT, lambda row: row.entry.leak.name[:NAME_LIMIT]),
    field("value", TEXT, lambda row: row.entry.leak.value[:NAME_LIMIT]),
    field("count", INT4, lambda row: row.entry.count),
    field("client_id", INT4, lambda row: row.entry.culprit.client_id),
    field("client_addr", TEXT, lambda row: row.entry.culprit.address),
    field("client_port", INT4, lambda row: row.entry.culprit.port),
    field("application_name", TEXT, lambda row: row.entry.culprit.application_name),
    field("tags", TEXT, lambda row: row.entry.culprit.tags),
    field("statement", TEXT, lambda row: row.entry.culprit.statement),
    field(
        "since", TEXT, lambda row: time_text(wall_time(row.entry.culprit.at + row.wall_offset_s))
    ),
    field("victim_id", INT4, _of_victim(lambda victim: victim.client_id)),
    field("victim_addr", TEXT, _of_victim(lambda victim: victim.address)),
    field("victim_port", INT4, _of_victim(lambda victim: victim.port)),
    field("victim_application_name", TEXT, _of_victim(lambda victim: victim.application_name)),
    field("victim_tags", TEXT, _of_victim(lambda victim: victim.tags)),
    field("victim_statement", TEXT, _of_victim(lambda victim: victim.statement)),
    field("victim_since", TEXT, _victim_time),
]

_PIN_FIELDS: Final[list[Field[PinStatus]]] = [
    *named_fields(TEXT, "database", "user"),
    *named_fields(INT4, "client_id"),
    *named_fields(TEXT, "client_addr"),
    *named_fields(INT4, "client_port"),
    *named_fields(TEXT, "application_name"),
    *named_fields(INT4, "server_id", "server_pid"),
    *named_fields(TEXT, "rule", "leak", "statement"),
    field("since", TEXT, lambda pin: time_text(pin.since)),
]

_TOTAL_FIELDS: Final[list[Field[LeakTotals]]] = [
    *named_fields(TEXT, "database", "user"),
    *named_fields(INT8, "leaks", "victims", "refusals", "pins", "resets", "reset_us", "dropped"),
]

LEAKS: Final[Table] = table(_LEAK_FIELDS, _leaks)
PINS: Final[Table] = table(_PIN_FIELDS, _pins)
LEAK_TOTALS: Final[Table] = table(_TOTAL_FIELDS, _totals)
