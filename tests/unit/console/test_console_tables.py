"""SHOW tables: PgBouncer 1.26.1's columns and types, and rows that tell what is there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgpool_lite.config import DatabaseSettings, PeerSettings, PoolMode, UserSettings
from pgpool_lite.console.show import TABLES
from pgpool_lite.console.tables import VERSION_TEXT, client_statuses, pool_statuses
from pgpool_lite.session.states import ServerState
from pgpool_lite.version import __version__
from pgpool_lite.wire.framing import COMPILED
from tests.console_client import Console
from tests.wire_messages import Query

LETTERS = {25: "s", 23: "i", 20: "q", 1700: "N"}

SOCKET = (
    "type:s user:s database:s replication:s state:s addr:s port:i local_addr:s local_port:i "
    "connect_time:s request_time:s wait:i wait_us:i close_needed:i ptr:s link:s remote_pid:i tls:s "
    "application_name:s prepared_statements:i id:i"
)
BUFFERS = " recv_pos:i pkt_pos:i pkt_remain:i send_pos:i send_remain:i pkt_avail:i send_avail:i"

# Recorded from PgBouncer 1.26.1: s text, i int4, q int8, N numeric.
COLUMNS = {
    "active_sockets": SOCKET + BUFFERS,
    "clients": SOCKET,
    "config": "key:s value:s default:s changeable:s",
    "databases": (
        "name:s host:s port:i database:s force_user:s pool_size:i min_pool_size:i "
        "reserve_pool_size:i server_lifetime:i pool_mode:s load_balance_hosts:s max_connections:i "
        "current_connections:i max_client_connections:i current_client_connections:i paused:i "
        "disabled:i"
    ),
    "dns_hosts": "hostname:s ttl:q addrs:s",
    "dns_zones": "zonename:s serial:q count:i",
    "lists": "list:s items:i",
    "mem": "name:s size:i used:i free:i memtotal:i",
    "peer_pools": (
        "peer_id:i cl_active_cancel_req:i cl_waiting_cancel_req:i sv_active_cancel:i sv_login:i"
    ),
    "peers": "peer_id:i host:s port:i pool_size:i",
    "pools": (
        "database:s user:s cl_active:i cl_waiting:i cl_active_cancel_req:i cl_waiting_cancel_req:i "
        "sv_active:i sv_active_cancel:i sv_being_canceled:i sv_idle:i sv_used:i sv_tested:i "
        "sv_login:i maxwait:i maxwait_us:i pool_mode:s load_balance_hosts:s"
    ),
    "servers": SOCKET,
    "sockets": SOCKET + BUFFERS,
    "state": "key:s value:s",
    "stats": (
        "database:s total_server_assignment_count:N total_xact_count:N total_query_count:N "
        "total_received:N total_sent:N total_xact_time:N total_query_time:N total_wait_time:N "
        "total_client_parse_count:N total_server_parse_count:N total_bind_count:N "
        "total_client_login_count:N avg_server_assignment_count:N avg_xact_count:N "
        "avg_query_count:N avg_recv:N avg_sent:N avg_xact_time:N avg_query_time:N avg_wait_time:N "
        "avg_client_parse_count:N avg_server_parse_count:N avg_bind_count:N "
        "avg_client_login_count:N"
    ),
    "stats_averages": (
        "database:s server_assignment_count:N xact_count:N query_count:N bytes_received:N "
        "bytes_sent:N xact_time:N query_time:N wait_time:N avg_client_parse_count:N "
        "avg_server_parse_count:N avg_bind_count:N avg_client_login_count:N"
    ),
    "stats_totals": (
        "database:s server_assignment_count:N xact_count:N query_count:N bytes_received:N "
        "bytes_sent:N xact_time:N query_time:N wait_time:N client_parse_count:N "
        "server_parse_count:N bind_count:N client_login_count:N"
    ),
    "totals": "name:s value:N",
    "users": (
        "name:s pool_size:s reserve_pool_size:s pool_mode:s max_user_connections:i "
        "current_connections:i max_user_client_connections:i current_client_connections:i"
    ),
    "version": "version:s",
}


def show(console: Console, what: str) -> list[str]:
    return console.rows(Query(f"SHOW {what}"))


@pytest.mark.parametrize("what", sorted(COLUMNS))
def test_columns_have_pgbouncers_names_and_types(what: str) -> None:
    columns = TABLES[what].columns

    assert " ".join(f"{each.name}:{LETTERS[each.type_oid]}" for each in columns) == COLUMNS[what]


def test_links_leaks_and_prepared_statements_are_the_tables_that_pgbouncer_lacks() -> None:
    ours = {"leak_totals", "leaks", "links", "mends", "pins", "prepared_statements"}
    assert set(TABLES) - set(COLUMNS) == ours
    assert set(COLUMNS) <= set(TABLES)


@pytest.mark.parametrize("what", sorted(COLUMNS))
def test_every_row_has_a_value_for_every_column(what: str) -> None:
    console = Console()
    pool = console.add_pool()
    console.add_client(pool)
    console.add_server(pool)

    messages = console.hears(Query(f"SHOW {what}"))

    widths = {int.from_bytes(each.body[:2], "big") for each in messages if each.type in "TD"}
    assert len(widths) == 1


def test_version_names_the_pgbouncer_that_we_equal_and_us() -> None:
    build = "compiled" if COMPILED else "interpreted"
    assert show(Console(), "VERSION") == [
        f"PgBouncer 1.26.1 compatible: pgpool_lite {__version__}, {build}"
    ]
    assert show(Console(), "version;")[0] == VERSION_TEXT


# --- pools ---


def test_the_console_is_a_line_of_its_own_among_the_pools() -> None:
    assert show(Console(), "POOLS") == [
        "pgbouncer|pgbouncer|1|0|0|0|0|0|0|0|0|0|0|0|0|statement|NULL"
    ]


def test_a_pool_counts_its_connections_by_state() -> None:
    console = Console(pool_mode="transaction")
    pool = console.add_pool()
    console.add_server(pool)
    console.add_server(pool, is_ready=False)
    linked, waiting = console.add_client(pool), console.add_client(pool)
    assert pool.link(linked, console.now) is not None
    assert pool.link(waiting, console.now) is None
    console.now += 2.25

    assert show(console, "POOLS")[0] == ("app|ann|1|1|0|0|1|0|0|0|0|0|1|2|250000|transaction|NULL")


def test_a_client_that_waits_for_the_first_server_counts_as_waiting() -> None:
    console = Console()
    console.add_client(console.add_pool(), is_welcome=False)
    console.now += 1.5

    (status,) = pool_statuses(console.registry, console.now)

    assert (status.cl_active, status.cl_waiting, status.maxwait) == (0, 1, 1.5)
    assert "|waiting|" in show(console, "CLIENTS")[0]


def test_pools_stand_in_the_order_of_their_names() -> None:
    console = Console(databases={name: DatabaseSettings(name=name) for name in ("zoo", "app")})
    for database, user in (("zoo", "ann"), ("app", "bob"), ("app", "ann")):
        console.add_pool(database, user)

    names = [row.split("|")[:2] for row in show(console, "POOLS")]

    assert names == [["app", "ann"], ["app", "bob"], ["pgbouncer", "pgbouncer"], ["zoo", "ann"]]


# --- connections ---


def test_clients_are_idle_active_or_waiting() -> None:
    console = Console()
    pool = console.add_pool()
    console.add_server(pool)
    active, waiting = console.add_client(pool), console.add_client(pool)
    console.add_client(pool)
    pool.link(active, console.now)
    pool.link(waiting, console.now)

    statuses = client_statuses(console.registry, console.now)

    assert sorted(status.state for status in statuses) == ["active", "idle", "waiting"]


def test_a_client_is_shown_as_pgbouncer_shows_it() -> None:
    console = Console()
    pool = console.add_pool()
    server = console.add_server(pool)
    client = console.add_client(pool, application_name="web")
    pool.link(client, console.now)
    client.query_started_at = console.now
    console.now += 1.5

    assert show(console, "CLIENTS")[0] == (
        "C|ann|app|none|active|10.0.0.7|40000||0|2026-11-21 19:00:00 UTC|2026-11-21 19:00:00 UTC|"
        f"1|500000|0|0x{client.id:x}|0x{server.id:x}|0||web|0|{client.id}"
    )


def test_the_console_client_is_shown_too() -> None:
    assert show(Console(), "CLIENTS") == [
        "C|root|pgbouncer|none|idle|10.0.0.9|50508|10.0.0.1|6432|"
        "2026-11-21 19:00:00 UTC|2026-11-21 19:00:00 UTC|0|0|0|0x1||0||psql|0|1"
    ]


def test_a_server_is_shown_with_its_pid_and_its_clients_number() -> None:
    console = Console()
    pool = console.add_pool()
    server = console.add_server(pool, pid=4711)
    client = console.add_client(pool)
    pool.link(client, console.now)
    server.close_reason = "database configuration changed"

    assert show(console, "SERVERS") == [
        "S|ann|app|none|active|10.0.0.2|5432||0|2026-11-21 19:00:00 UTC|2026-11-21 19:00:00 UTC|"
        f"0|0|1|0x{server.id:x}|0x{client.id:x}|4711||app/1|0|{server.id}"
    ]


def test_a_server_that_logs_in_is_new_and_one_that_aged_is_used() -> None:
    console = Console()
    pool = console.add_pool()
    pool.grow_stale(console.add_server(pool))
    console.add_server(pool, is_ready=False)

    assert [row.split("|")[4] for row in show(console, "SERVERS")] == ["used", "new"]
    assert [row.split("|")[4] for row in show(console, "SOCKETS")] == [
        "sv_used",
        "sv_login",
        "cl_active",
    ]


def test_a_pid_above_two_billion_does_not_break_the_answer() -> None:
    console = Console()
    console.add_server(console.add_pool(), pid=2**32 - 1)

    assert f"|{2**31 - 1}|" in show(console, "SERVERS")[0]


def test_active_sockets_are_those_with_bytes_in_hand() -> None:
    console = Console()
    pool = console.add_pool()
    console.add_client(pool)
    console.add_client(pool).tail = b"Q\0\0"

    rows = [row.split("|") for row in show(console, "ACTIVE_SOCKETS")]

    # The asking console itself has its query in hand, as in PgBouncer.
    assert [(row[2], row[21], row[26]) for row in rows] == [
        ("app", "3", "3"),
        ("pgbouncer", "25", "25"),
    ]


# --- databases and users ---


def test_databases_show_what_holds_for_them() -> None:
    console = Console(
        databases={
            "two": DatabaseSettings(
                name="two",
                host="a.example,b.example",
                dbname="x",
                pool_mode=PoolMode.SESSION,
                pool_size=7,
            ),
            "app": DatabaseSettings(name="app", dbname="app", user="postgres"),
        },
        max_db_connections=9,
    )
    console.add_server(console.add_pool("app"))
    console.registry.databases["two"].is_disabled = True

    assert show(console, "DATABASES") == [
        "app|NULL|5432|app|postgres|20|0|0|3600|NULL|NULL|9|1|0|0|0|0",
        "pgbouncer|NULL|6432|pgbouncer|pgbouncer|2|0|0|3600|statement|NULL|9|0|0|1|0|0",
        "two|a.example,b.example|5432|x|NULL|7|0|0|3600|session|round-robin|9|0|0|0|0|1",
    ]


def test_users_come_from_the_file_the_users_section_and_the_databases() -> None:
    console = Console(
        databases={"app": DatabaseSettings(name="app", user="postgres")},
        users={"ann": UserSettings(name="ann", pool_size=5, pool_mode=PoolMode.SESSION)},
        secrets={"bob": "x", "root": ""},
        max_user_client_connections=3,
    )
    console.add_client(console.add_pool("app"))

    assert show(console, "USERS") == [
        "ann|        5||session|0|0|3|0",
        "bob|||NULL|0|0|3|0",
        "pgbouncer|||NULL|0|0|3|0",
        "postgres|||NULL|0|0|3|1",
        "root|||NULL|0|0|3|1",
    ]


# --- the rest ---


def test_lists_count_what_the_other_tables_show() -> None:
    console = Console(secrets={"root": ""})
    pool = console.add_pool()
    console.add_client(pool, is_welcome=False)
    console.add_server(pool)

    assert " ".join(show(console, "LISTS")) == (
        "databases|2 users|3 peers|0 pools|2 peer_pools|0 free_clients|0 used_clients|2 "
        "login_clients|1 free_servers|0 used_servers|1 dns_names|0 dns_zones|0 dns_queries|0 "
        "dns_pending|0"
    )


def test_state_tells_whether_everything_is_paused() -> None:
    console = Console()
    assert show(console, "STATE") == ["active|yes", "paused|no"]

    console.controls.is_globally_paused = True
    assert show(console, "STATE") == ["active|no", "paused|yes"]


def test_config_shows_values_and_defaults() -> None:
    rows = show(Console(default_pool_size=7), "CONFIG")

    assert "default_pool_size|7|20|yes" in rows
    assert "listen_port|6432|6432|no" in rows


def test_peers_show_what_holds_for_them() -> None:
    console = Console(default_pool_size=7)
    peers = {
        1: PeerSettings(peer_id=1, host="/run/one"),
        2: PeerSettings(peer_id=2, host="/run/two", port=6433, pool_size=3),
    }
    console.registry.config = replace(console.registry.config, peers=peers)

    assert show(console, "PEERS") == ["1|/run/one|6432|7", "2|/run/two|6433|3"]


@pytest.mark.parametrize("what", ["PEER_POOLS", "PEERS", "DNS_HOSTS", "DNS_ZONES"])
def test_what_we_do_not_have_is_an_empty_table(what: str) -> None:
    console = Console()
    columns = ",".join(pair.split(":")[0] for pair in COLUMNS[what.lower()].split())

    assert console.says(Query(f"SHOW {what}")) == [f"T {columns}", "C SHOW", "Z I"]


def test_being_canceled_servers_have_a_state_of_their_own() -> None:
    console = Console(pool_mode="transaction")
    pool = console.add_pool()
    server = console.add_server(pool)
    client = console.add_client(pool)
    pool.link(client, console.now)
    server.cancels_in_flight = 1
    pool.release(server, console.now)
    assert server.state is ServerState.BEING_CANCELED

    (status,) = pool_statuses(console.registry, console.now)

    assert (status.sv_being_canceled, status.sv_idle) == (1, 0)
    assert "|being_canceled|" in show(console, "SERVERS")[0]
