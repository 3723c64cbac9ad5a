"""Which columns has each SHOW table, of which type, and where do its values come from?

Names, order and types are PgBouncer 1.26.1's. A table is data: its columns, each with the function
that reads its value off a row of `tables.py`, and the function that finds the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Final

from pgpool_lite.config import PeerSettings, config_rows
from pgpool_lite.console import leaks, links, memory, mends, show_stats, tables
from pgpool_lite.console.fields import (
    Field,
    Table,
    View,
    constant,
    field,
    named_fields,
    pair_fields,
    rest_us,
    table,
    time_text,
    whole_s,
)
from pgpool_lite.console.inventory import (
    DatabaseStatus,
    UserStatus,
    database_statuses,
    user_statuses,
)
from pgpool_lite.console.tables import ClientStatus, ConnectionStatus, PoolStatus, ServerStatus
from pgpool_lite.console.values import INT4, INT8, TEXT, Cell, column
from pgpool_lite.pool.names import HostName
from pgpool_lite.pool.peering import PeerPool, Stage
from pgpool_lite.session.states import ClientState
from pgpool_lite.wire.backend import Column

# --- SHOW POOLS, DATABASES, USERS ---


def _all_pools(view: View) -> list[PoolStatus]:
    console = tables.console_pool_status(len(view.console_clients))
    pools = [*tables.pool_statuses(view.registry, view.now), console]
    return sorted(pools, key=lambda pool: (pool.database, pool.user))


_POOL_FIELDS: Final[list[Field[PoolStatus]]] = [
    *named_fields(TEXT, "database", "user"),
    *named_fields(INT4, "cl_active", "cl_waiting", "cl_active_cancel_req", "cl_waiting_cancel_req"),
    *named_fields(INT4, "sv_active", "sv_active_cancel", "sv_being_canceled", "sv_idle", "sv_used"),
    *named_fields(INT4, "sv_tested", "sv_login"),
    field("maxwait", INT4, lambda pool: whole_s(pool.maxwait)),
    field("maxwait_us", INT4, lambda pool: rest_us(pool.maxwait)),
    *named_fields(TEXT, "pool_mode", "load_balance_hosts"),
]

_DATABASE_FIELDS: Final[list[Field[DatabaseStatus]]] = [
    *named_fields(TEXT, "name", "host"),
    *named_fields(INT4, "port"),
    *named_fields(TEXT, "database", "force_user"),
    *named_fields(INT4, "pool_size", "min_pool_size", "reserve_pool_size", "server_lifetime"),
    *named_fields(TEXT, "pool_mode", "load_balance_hosts"),
    *named_fields(INT4, "max_connections", "current_connections"),
    *named_fields(
        INT4, "max_client_connections", "current_client_connections", "paused", "disabled"
    ),
]


def _size_text(size: int | None) -> str:
    """Return a user's pool size as PgBouncer prints it: text of nine columns, or nothing."""
    return "" if size is None else f"{size:9d}"


_USER_FIELDS: Final[list[Field[UserStatus]]] = [
    *named_fields(TEXT, "name"),
    field("pool_size", TEXT, lambda user: _size_text(user.pool_size)),
    field("reserve_pool_size", TEXT, lambda user: _size_text(user.reserve_pool_size)),
    *named_fields(TEXT, "pool_mode"),
    *named_fields(INT4, "max_user_connections", "current_connections"),
    *named_fields(INT4, "max_user_client_connections", "current_client_connections"),
]


# --- SHOW CLIENTS, SERVERS, SOCKETS ---


def _all_clients(view: View) -> list[ClientStatus]:
    clients = tables.client_statuses(view.registry, view.now, view.wall_offset_s)
    console = [
        tables.console_client_status(client, view.wall_offset_s) for client in view.console_clients
    ]
    return sorted([*clients, *console], key=lambda client: client.database)


def _all_servers(view: View) -> list[ServerStatus]:
    return tables.server_statuses(view.registry, view.now, view.wall_offset_s)


def _kind(connection: ConnectionStatus) -> str:
    return "S" if isinstance(connection, ServerStatus) else "C"


_SOCKET_STATES: Final = {
    ("C", "idle"): "cl_active",
    ("S", "new"): "sv_login",
}


def _socket_state(connection: ConnectionStatus) -> str:
    kind = _kind(connection)
    usual = f"{'sv' if kind == 'S' else 'cl'}_{connection.state}"
    return _SOCKET_STATES.get((kind, connection.state), usual)


def _connection_fields(
    state: Callable[[ConnectionStatus], Cell],
) -> list[Field[ConnectionStatus]]:
    return [
        field("type", TEXT, _kind),
        *named_fields(TEXT, "user", "database", "replication"),
        field("state", TEXT, state),
        *named_fields(TEXT, "addr"),
        *named_fields(INT4, "port"),
        *named_fields(TEXT, "local_addr"),
        *named_fields(INT4, "local_port"),
        field("connect_time", TEXT, lambda row: time_text(row.connect_time)),
        field("request_time", TEXT, lambda row: time_text(row.request_time)),
        field("wait", INT4, lambda row: whole_s(row.wait)),
        field("wait_us", INT4, lambda row: rest_us(row.wait)),
        *named_fields(INT4, "close_needed"),
        field("ptr", TEXT, lambda row: f"0x{row.id:x}"),
        field("link", TEXT, lambda row: "" if row.link is None else f"0x{row.link:x}"),
        # A pid is an unsigned number on the wire, and the type of this column is not.
        field("remote_pid", INT4, lambda row: min(row.remote_pid, 2**31 - 1)),
        *named_fields(TEXT, "tls", "application_name"),
        field("prepared_statements", INT4, attrgetter("prepared_statements")),
        *named_fields(INT4, "id"),
    ]


_CONNECTION_FIELDS: Final = _connection_fields(attrgetter("state"))
_SOCKET_FIELDS: Final = [
    *_connection_fields(_socket_state),
    field("recv_pos", INT4, attrgetter("buffered")),
    field("pkt_pos", INT4, constant(0)),
    field("pkt_remain", INT4, attrgetter("body_left")),
    field("send_pos", INT4, constant(0)),
    field("send_remain", INT4, constant(0)),
    field("pkt_avail", INT4, attrgetter("buffered")),
    field("send_avail", INT4, constant(0)),
]


def _all_sockets(view: View) -> list[ConnectionStatus]:
    return sorted([*_all_clients(view), *_all_servers(view)], key=lambda row: row.database)


def _active_sockets(view: View) -> list[ConnectionStatus]:
    return [row for row in _all_sockets(view) if row.buffered or row.body_left]


# --- the rest ---


def _address_text(address: str) -> str:
    """Return an address as PgBouncer shows it among a name's: with a port, which is always 0."""
    return f"[{address}]:0" if ":" in address else f"{address}:0"


_HOST_NAME_FIELDS: Final[list[Field[HostName]]] = [
    field("hostname", TEXT, attrgetter("name")),
    field("ttl", INT8, lambda host: whole_s(host.ttl_s)),
    field("addrs", TEXT, lambda host: ",".join(map(_address_text, host.addresses))),
]


def _lists(view: View) -> list[tuple[str, Cell]]:
    registry = view.registry
    pools = registry.pools.values()
    arriving = sum(len(pool.clients[ClientState.LOGIN]) for pool in pools)
    return [
        ("databases", len(registry.databases) + 1),
        ("users", len(user_statuses(registry))),
        ("peers", len(registry.config.peers)),
        ("pools", len(pools) + 1),
        ("peer_pools", len(registry.peer_pools)),
        # Free ones are PgBouncer's slabs, which keep memory for connections to come.
        ("free_clients", 0),
        ("used_clients", registry.client_count + len(view.console_clients)),
        ("login_clients", arriving),
        ("free_servers", 0),
        ("used_servers", sum(pool.server_count for pool in pools)),
        ("dns_names", len(registry.names.names(view.now))),
        ("dns_zones", len(registry.names.zones())),
        ("dns_queries", len(registry.names.under_way)),
        ("dns_pending", 0),
    ]


def _state(view: View) -> list[tuple[str, Cell]]:
    paused = view.is_paused
    return [("active", "no" if paused else "yes"), ("paused", "yes" if paused else "no")]


def _prepared_statements(view: View) -> list[tuple[Cell, ...]]:
    return [
        (
            statement.name.decode(),
            statement.text,
            ", ".join(map(str, statement.type_oids)),
            statement.client_count,
            statement.server_count,
            statement.hits,
            statement.misses,
        )
        for statement in view.registry.statements.statements()
    ]


def _peer_pool_size(peer: PeerSettings, view: View) -> int:
    own, common = peer.pool_size, view.registry.config.settings.default_pool_size
    return common if own is None else own


def _peers(view: View) -> list[tuple[Cell, ...]]:
    return [
        (peer.peer_id, peer.host, peer.port, _peer_pool_size(peer, view))
        for _, peer in sorted(view.registry.config.peers.items())
    ]


# A request on its way is carried by one connection, so both are counted once.
_PEER_POOL_FIELDS: Final[list[Field[PeerPool]]] = [
    *named_fields(INT4, "peer_id"),
    field("cl_active_cancel_req", INT4, lambda pool: pool.count(Stage.ACTIVE)),
    field(
        "cl_waiting_cancel_req",
        INT4,
        lambda pool: pool.count(Stage.WAITING) + pool.count(Stage.CONNECTING),
    ),
    field("sv_active_cancel", INT4, lambda pool: pool.count(Stage.ACTIVE)),
    field("sv_login", INT4, lambda pool: pool.count(Stage.CONNECTING)),
]


def _peer_pools(view: View) -> list[PeerPool]:
    return [pool for _, pool in sorted(view.registry.peer_pools.items())]


def _columns(type_oid: int, *names: str) -> tuple[Column, ...]:
    return tuple(column(name, type_oid) for name in names)


#: Every table by the word behind SHOW.
TABLES: Final[dict[str, Table]] = {
    "active_sockets": table(_SOCKET_FIELDS, _active_sockets),
    "clients": table(_CONNECTION_FIELDS, _all_clients),
    "config": table(
        named_fields(TEXT, "key", "value", "default", "changeable"),
        lambda view: config_rows(view.registry.config.settings),
    ),
    "databases": table(
        _DATABASE_FIELDS,
        lambda view: database_statuses(view.registry),
    ),
    "dns_hosts": table(_HOST_NAME_FIELDS, lambda view: view.registry.names.names(view.now)),
    "dns_zones": Table(
        (*_columns(TEXT, "zonename"), *_columns(INT8, "serial"), *_columns(INT4, "count")),
        # The operating system does not tell a zone's serial; 0 is PgBouncer's word for that.
        lambda view: [(zone, 0, count) for zone, count in view.registry.names.zones().items()],
    ),
    # None of PgBouncer's: what stands on servers, and who holds which of them.
    "leak_totals": leaks.LEAK_TOTALS,
    "leaks": leaks.LEAKS,
    "links": links.LINKS,
    "lists": table(pair_fields(("list", "items"), INT4), _lists),
    "mem": memory.MEM,
    "mends": mends.MENDS,
    "pins": leaks.PINS,
    "peer_pools": table(_PEER_POOL_FIELDS, _peer_pools),
    "peers": Table(
        (*_columns(INT4, "peer_id"), *_columns(TEXT, "host"), *_columns(INT4, "port", "pool_size")),
        _peers,
    ),
    "pools": table(_POOL_FIELDS, _all_pools),
    # Not one of PgBouncer's: what clients have prepared by name, each text once.
    "prepared_statements": Table(
        (
            *_columns(TEXT, "name", "query", "type_oids"),
            *_columns(INT4, "clients", "servers"),
            *_columns(INT8, "hits", "misses"),
        ),
        _prepared_statements,
    ),
    "servers": table(_CONNECTION_FIELDS, _all_servers),
    "sockets": table(_SOCKET_FIELDS, _all_sockets),
    "state": table(pair_fields(("key", "value"), TEXT), _state),
    "stats": show_stats.STATS,
    "stats_averages": show_stats.STATS_AVERAGES,
    "stats_totals": show_stats.STATS_TOTALS,
    "totals": show_stats.TOTALS,
    "users": table(_USER_FIELDS, lambda view: user_statuses(view.registry)),
    "version": Table(_columns(TEXT, "version"), lambda view: [(tables.VERSION_TEXT,)]),
}
