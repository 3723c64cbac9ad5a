"""SHOW LINKS: which client holds which server, since when, and what is it doing with it?

Not one of PgBouncer's tables: there, one reads it out of SHOW CLIENTS and SHOW SERVERS by pointers.
`query` is the head of what the client last asked, without passwords (`session/statement_head.py`);
`server_pid` finds the whole of it in pg_stat_activity.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pgpool_lite.console.fields import Field, Table, View, field, named_fields, table, time_text
from pgpool_lite.console.tables import sorted_pools, wall_time
from pgpool_lite.console.values import INT4, INT8, TEXT
from pgpool_lite.pool.leaks import is_pinned
from pgpool_lite.pool.pool import Pool
from pgpool_lite.pool.stats import microseconds
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.statement_head import last_statement
from pgpool_lite.session.states import ServerState
from pgpool_lite.wire import codes

#: PostgreSQL's own words in pg_stat_activity, by what the last ReadyForQuery said.
_STATES: Final = {
    codes.STATUS_IDLE: "idle",
    codes.STATUS_IN_BLOCK: "idle in transaction",
    codes.STATUS_FAILED: "idle in transaction (aborted)",
}


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """One client and the server it holds."""

    database: str
    user: str
    client_id: int
    client_addr: str
    client_port: int
    application_name: str
    server_id: int
    server_pid: int
    #: As in pg_stat_activity: active while an answer is owed.
    state: str
    #: When the transaction began; between two, in session mode, when the client last asked.
    since: datetime
    #: Microseconds of this transaction, and of the query that is not answered; 0 for none.
    xact_us: int
    query_us: int
    #: The head of the statement that is being answered, or was answered last.
    query: str
    #: It keeps the server until it leaves, because of what it has left there.
    pinned: bool


def _links(view: View) -> Iterator[LinkStatus]:
    for pool in sorted_pools(view.registry):
        for server in pool.servers[ServerState.ACTIVE]:
            if server.client is not None:
                yield _link(pool, server, server.client, view)


def _link(pool: Pool, server: ServerSession, client: ClientSession, view: View) -> LinkStatus:
    began_at, asked_at = client.xact_started_at, client.query_started_at
    address, port = client.connection.address
    parameters = view.registry.tracked.named(client.parameters)
    return LinkStatus(
        database=pool.database.name,
        user=client.user or pool.user,
        client_id=client.id,
        client_addr=address,
        client_port=port,
        application_name=parameters.get("application_name", ""),
        server_id=server.id,
        server_pid=min(server.cancel_key.pid, 2**31 - 1),
        state="active" if asked_at else _STATES.get(server.status, "active"),
        since=wall_time((began_at or client.requested_at) + view.wall_offset_s),
        xact_us=microseconds(view.now - began_at) if began_at else 0,
        query_us=microseconds(view.now - asked_at) if asked_at else 0,
        query=last_statement(server),
        pinned=is_pinned(server, pool.rules),
    )


_FIELDS: Final[list[Field[LinkStatus]]] = [
    *named_fields(TEXT, "database", "user"),
    *named_fields(INT4, "client_id"),
    *named_fields(TEXT, "client_addr"),
    *named_fields(INT4, "client_port"),
    *named_fields(TEXT, "application_name"),
    *named_fields(INT4, "server_id", "server_pid"),
    *named_fields(TEXT, "state"),
    field("since", TEXT, lambda link: time_text(link.since)),
    *named_fields(INT8, "xact_us", "query_us"),
    *named_fields(TEXT, "query"),
    *named_fields(INT4, "pinned"),
]

LINKS: Final[Table] = table(_FIELDS, _links)
