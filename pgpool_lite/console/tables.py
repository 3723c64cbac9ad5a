"""What goes on in this pooler? One function and one frozen dataclass per kind of thing.

The Python API hands these rows out as they are; `show.py` prints the same rows as SHOW tables, so
a figure is worked out in one place. Fields are named as SHOW names its columns. Nothing is kept:
each call looks at the registry as it is now, and a list's length is the figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pgpool_lite.config import DatabaseSettings
from pgpool_lite.console.clients import ConsoleClient
from pgpool_lite.pool.database import Database
from pgpool_lite.pool.pool import Pool
from pgpool_lite.pool.registry import CONSOLE, Registry
from pgpool_lite.pool.stats import Averages, Counters, Stats, average, microseconds
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.replication import Replication
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.states import ClientState, ServerState
from pgpool_lite.version import PGBOUNCER_VERSION, __version__
from pgpool_lite.wire.framing import COMPILED

#: SHOW VERSION, and the first line of `--version`: tools compare the two. Some take the second
#: word, others the first three numbers they find, for PgBouncer's version.
VERSION_TEXT: Final = f"PgBouncer {PGBOUNCER_VERSION} compatible: pgpool_lite {__version__}, " + (
    "compiled" if COMPILED else "interpreted"
)

#: What PgBouncer shows as pool_mode of the console.
CONSOLE_MODE: Final = "statement"

# A client in LOGIN is past its password and waits for the first server, so it is shown as waiting.
_CLIENT_LISTS: Final = (
    (ClientState.ACTIVE, "active"),
    (ClientState.WAITING, "waiting"),
    (ClientState.LOGIN, "waiting"),
)
_SERVER_LISTS: Final = (
    (ServerState.ACTIVE, "active"),
    (ServerState.IDLE, "idle"),
    (ServerState.USED, "used"),
    (ServerState.TESTED, "tested"),
    (ServerState.LOGIN, "new"),
    (ServerState.BEING_CANCELED, "being_canceled"),
)


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """One (database, user): how many connections are in which state."""

    database: str
    user: str
    cl_active: int
    cl_waiting: int
    cl_active_cancel_req: int
    cl_waiting_cancel_req: int
    sv_active: int
    sv_active_cancel: int
    sv_being_canceled: int
    sv_idle: int
    sv_used: int
    sv_tested: int
    sv_login: int
    #: Seconds that the client which waits longest has waited.
    maxwait: float
    pool_mode: str
    #: None unless the database has several hosts.
    load_balance_hosts: str | None


@dataclass(frozen=True, slots=True)
class ConnectionStatus:
    """What clients and servers have in common."""

    id: int
    user: str
    database: str
    #: What is replicated: none, logical or physical.
    replication: str
    #: In PgBouncer's words: idle, active, waiting; for servers also used, tested, new, ...
    state: str
    addr: str
    port: int
    local_addr: str
    local_port: int
    connect_time: datetime
    request_time: datetime
    #: Seconds since the client asked for what it has not been given yet.
    wait: float
    close_needed: bool
    #: Number of the connection it is linked to.
    link: int | None
    #: PostgreSQL's process id; 0 for clients.
    remote_pid: int
    application_name: str
    #: Version and cipher, as in TLSv1.3/TLS_AES_256_GCM_SHA384; "" without TLS.
    tls: str
    #: How many it has prepared; for a server, how many we have prepared on it.
    prepared_statements: int
    #: Bytes read and kept, and bytes still to come of a message that has begun.
    buffered: int
    body_left: int


@dataclass(frozen=True, slots=True)
class ClientStatus(ConnectionStatus):
    """One connection from an application to us."""


@dataclass(frozen=True, slots=True)
class ServerStatus(ConnectionStatus):
    """One connection from us to PostgreSQL."""


@dataclass(frozen=True, slots=True)
class DatabaseStats:
    """What has passed through one database. Bytes are clients' bytes, times are microseconds."""

    database: str
    server_assignment_count: int
    xact_count: int
    query_count: int
    bytes_received: int
    bytes_sent: int
    xact_time: int
    query_time: int
    wait_time: int
    client_parse_count: int
    server_parse_count: int
    bind_count: int
    client_login_count: int
    #: Per second, or microseconds per event for times.
    averages: Averages


# --- pools ---


def sorted_pools(registry: Registry) -> list[Pool]:
    """Return all pools in the order in which PgBouncer shows them."""
    return [pool for _, pool in sorted(registry.pools.items())]


def pool_statuses(registry: Registry, now: float) -> list[PoolStatus]:
    """Return one row per pool; the console is no pool."""
    return [_pool_status(pool, now) for pool in sorted_pools(registry)]


def console_pool_status(client_count: int) -> PoolStatus:
    """Return the row under which PgBouncer shows the console's clients."""
    no_others = (0,) * 10
    return PoolStatus(CONSOLE, CONSOLE, client_count, *no_others, 0.0, CONSOLE_MODE, None)


def _pool_status(pool: Pool, now: float) -> PoolStatus:
    clients, cancels, servers = pool.clients, pool.cancel_requests, pool.servers
    arriving = clients[ClientState.LOGIN]
    arriving_since = min((client.connected_at for client in arriving), default=now)
    active_cancels = len(cancels[ClientState.ACTIVE_CANCEL])
    return PoolStatus(
        database=pool.database.name,
        user=pool.user,
        cl_active=len(clients[ClientState.ACTIVE]),
        cl_waiting=len(clients[ClientState.WAITING]) + len(arriving),
        cl_active_cancel_req=active_cancels,
        cl_waiting_cancel_req=len(cancels[ClientState.WAITING_CANCEL]),
        sv_active=len(servers[ServerState.ACTIVE]),
        sv_active_cancel=active_cancels,  # one connection carries each of these requests
        sv_being_canceled=len(servers[ServerState.BEING_CANCELED]),
        sv_idle=len(servers[ServerState.IDLE]),
        sv_used=len(servers[ServerState.USED]),
        sv_tested=len(servers[ServerState.TESTED]),
        sv_login=len(servers[ServerState.LOGIN]),
        maxwait=max(pool.oldest_wait_s(now), now - arriving_since),
        pool_mode=pool.rules.mode.value,
        load_balance_hosts=load_balance_hosts(pool.database.settings),
    )


def load_balance_hosts(settings: DatabaseSettings) -> str | None:
    """Return how the hosts of a database take turns; None unless it has several."""
    return settings.load_balance_hosts.value if len(settings.hosts) > 1 else None


# --- clients and servers ---


def client_statuses(
    registry: Registry, now: float, wall_offset_s: float = 0.0
) -> list[ClientStatus]:
    """Return one row per client of a pool.

    `wall_offset_s` is what must be added to the runtime's clock to get Unix time.
    """
    return [
        _client_status(client, state, pool, registry, now, wall_offset_s)
        for pool in sorted_pools(registry)
        for list_name, state in _CLIENT_LISTS
        for client in pool.clients[list_name]
    ]


def _client_status(
    client: ClientSession,
    state: str,
    pool: Pool,
    registry: Registry,
    now: float,
    wall_offset_s: float,
) -> ClientStatus:
    addr, port = client.connection.address
    local_addr, local_port = client.connection.own_address
    return ClientStatus(
        id=client.id,
        user=client.user or pool.user,
        database=pool.database.name,
        replication=replication_kind(client.replication),
        state="idle" if state == "active" and client.server is None else state,
        addr=addr,
        port=port,
        local_addr=local_addr,
        local_port=local_port,
        connect_time=wall_time(client.connected_at + wall_offset_s),
        request_time=wall_time(client.requested_at + wall_offset_s),
        wait=_wait_s(client, now),
        close_needed=False,
        link=client.server.id if client.server is not None else None,
        remote_pid=client.peer_pid,
        application_name=registry.tracked.named(client.parameters).get("application_name", ""),
        tls=client.connection.tls,
        prepared_statements=len(client.rewriter.book.names) if client.rewriter else 0,
        buffered=len(client.tail),
        body_left=client.body_left,
    )


def replication_kind(replication: Replication | None) -> str:
    """Return what is replicated, in PgBouncer's words."""
    return "none" if replication is None else replication.kind.value


def _wait_s(client: ClientSession, now: float) -> float:
    """Return since when a client has been without its answer, in a queue or from a server."""
    if client.state is ClientState.LOGIN:
        return now - client.connected_at
    since = client.waiting_since or client.query_started_at
    return now - since if since else 0.0


def console_client_status(client: ConsoleClient, wall_offset_s: float) -> ClientStatus:
    """Return the row of a client of the console."""
    return ClientStatus(
        id=client.id,
        user=client.user,
        database=CONSOLE,
        replication=replication_kind(None),
        state="idle",  # as PgBouncer has it: never linked
        addr=client.address[0],
        port=client.address[1],
        local_addr=client.own_address[0],
        local_port=client.own_address[1],
        connect_time=wall_time(client.connected_at + wall_offset_s),
        request_time=wall_time(client.requested_at + wall_offset_s),
        wait=0.0,
        close_needed=False,
        link=None,
        remote_pid=client.peer_pid,
        application_name=client.application_name,
        tls=client.tls,
        prepared_statements=0,
        buffered=client.message_size,
        body_left=0,
    )


def server_statuses(
    registry: Registry, now: float, wall_offset_s: float = 0.0
) -> list[ServerStatus]:
    """Return one row per server; see `client_statuses`."""
    return [
        _server_status(server, state, pool, registry, wall_offset_s)
        for pool in sorted_pools(registry)
        for list_name, state in _SERVER_LISTS
        for server in pool.servers[list_name]
    ]


def _server_status(
    server: ServerSession, state: str, pool: Pool, registry: Registry, wall_offset_s: float
) -> ServerStatus:
    addr, port = server.connection.address
    local_addr, local_port = server.connection.own_address
    return ServerStatus(
        id=server.id,
        user=pool.user,
        database=pool.database.name,
        replication=replication_kind(server.dedication.replication if server.dedication else None),
        state=state,
        addr=addr,
        port=port,
        local_addr=local_addr,
        local_port=local_port,
        connect_time=wall_time(server.connected_at + wall_offset_s),
        request_time=wall_time(server.requested_at + wall_offset_s),
        wait=0.0,
        close_needed=bool(server.close_reason),
        link=server.client.id if server.client is not None else None,
        remote_pid=server.cancel_key.pid,
        application_name=registry.tracked.named(server.parameters).get("application_name", ""),
        tls=server.connection.tls,
        prepared_statements=len(server.statements.held),
        buffered=len(server.tail),
        body_left=server.body_left,
    )


def wall_time(unix_s: float) -> datetime:
    """Return Unix time as an instant."""
    return datetime.fromtimestamp(unix_s, UTC)


# --- statistics ---


def database_stats(registry: Registry, now: float | None = None) -> list[DatabaseStats]:
    """Return one row per database, the console's too.

    Averages are those of the last whole stats_period; with `now`, what a database has done since
    the start counts until its first period is over.
    """
    return [_database_stats(database, now) for database in all_databases(registry)]


def all_databases(registry: Registry) -> list[Database]:
    """Return all databases by name, the console too."""
    return sorted((*registry.databases.values(), registry.console), key=lambda each: each.name)


def _database_stats(database: Database, now: float | None) -> DatabaseStats:
    totals = database.stats.now
    return DatabaseStats(
        database=database.name,
        server_assignment_count=totals.server_assignment_count,
        xact_count=totals.xact_count,
        query_count=totals.query_count,
        bytes_received=totals.bytes_received,
        bytes_sent=totals.bytes_sent,
        xact_time=microseconds(totals.xact_time),
        query_time=microseconds(totals.query_time),
        wait_time=microseconds(totals.wait_time),
        client_parse_count=totals.client_parse_count,
        server_parse_count=totals.server_parse_count,
        bind_count=totals.bind_count,
        client_login_count=totals.client_login_count,
        averages=_averages(database.stats, now),
    )


def _averages(stats: Stats, now: float | None) -> Averages:
    """Return the last period's averages; before there is one with traffic, those of this one."""
    if now is None or stats.start_of_period != Counters():
        return stats.averages
    elapsed_s = now - stats.period_started_at
    return average(stats.start_of_period, stats.now, elapsed_s) if elapsed_s > 0 else Averages()
