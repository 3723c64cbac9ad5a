"""What PgBouncer's console does not have, or has of other stuff: LINKS, MEM, JSON."""

from __future__ import annotations

import json

import pytest

from pgpool_lite.console.fields import Table
from pgpool_lite.console.show import TABLES
from pgpool_lite.console.values import INT4, TEXT, column, rows_as_json
from pgpool_lite.wire import codes
from tests.console_client import Console
from tests.wire_messages import BackendMessage, Query


def show(console: Console, what: str) -> list[str]:
    return console.rows(Query(f"SHOW {what}"))


def only_value(messages: list[BackendMessage]) -> bytes:
    """Return the value of the one row with one column, however long it is."""
    (row,) = [each.body for each in messages if each.type == "D"]
    return row[6:]  # a count of columns, and the value's length


# --- SHOW LINKS ---


def test_a_link_names_both_ends_and_tells_how_long_it_works() -> None:
    console = Console(pool_mode="transaction")
    pool = console.add_pool()
    server = console.add_server(pool, pid=4711)
    client = console.add_client(pool, application_name="web")
    pool.link(client, console.now)
    server.asked = Query("UPDATE orders\n  SET paid = true")
    console.now += 1.5

    assert show(console, "LINKS") == [
        f"app|ann|{client.id}|10.0.0.7|40000|web|{server.id}|4711|active|2026-11-21 19:00:00 UTC|"
        "1500000|1500000|UPDATE orders SET paid = true|0"
    ]


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (codes.STATUS_IDLE, "idle"),
        (codes.STATUS_IN_BLOCK, "idle in transaction"),
        (codes.STATUS_FAILED, "idle in transaction (aborted)"),
    ],
)
def test_an_answered_link_is_in_the_state_that_pg_stat_activity_shows(
    status: int, state: str
) -> None:
    console = Console()
    pool = console.add_pool()
    server = console.add_server(pool)
    client = console.add_client(pool)
    pool.link(client, console.now)
    client.query_started_at = 0.0
    server.status = status

    row = show(console, "LINKS")[0].split("|")

    assert (row[8], row[11]) == (state, "0")


def test_between_two_transactions_of_a_session_a_link_is_as_old_as_its_last_request() -> None:
    console = Console()
    pool = console.add_pool()
    console.add_server(pool)
    client = console.add_client(pool)
    pool.link(client, console.now)
    client.query_started_at = client.xact_started_at = 0.0
    client.requested_at = console.now + 60

    assert show(console, "LINKS")[0].split("|")[9:11] == ["2026-11-21 19:01:00 UTC", "0"]


def test_who_holds_no_server_is_in_no_link() -> None:
    console = Console()
    pool = console.add_pool()
    console.add_server(pool)
    console.add_client(pool)

    assert show(console, "LINKS") == []


def test_a_server_that_is_being_checked_is_in_no_link() -> None:
    console = Console()
    pool = console.add_pool()
    server = console.add_server(pool)
    client = console.add_client(pool)
    pool.link(client, console.now)
    server.client = None

    assert show(console, "LINKS") == []


# --- SHOW MEM ---


def test_mem_counts_what_is_there_under_pgbouncers_names() -> None:
    console = Console(secrets={"ann": "x", "bob": "y"})
    pool = console.add_pool()
    console.add_server(pool)
    console.add_client(pool)
    console.add_client(pool)

    rows = [row.split("|") for row in show(console, "MEM")]

    assert {name: int(used) for name, _, used, _, _ in rows} == {
        "user_cache": 0,
        "credentials_cache": 2,
        "db_cache": 2,
        "peer_cache": 0,
        "peer_pool_cache": 0,
        "pool_cache": 1,
        "outstanding_request_cache": 0,
        "server_cache": 1,
        "client_cache": 2,
        "iobuf_cache": 0,
        "var_list_cache": 0,
        "server_prepared_statement_cache": 0,
    }
    assert [int(total) for _, _, _, _, total in rows] == [
        int(size) * int(used) for _, size, used, _, _ in rows
    ]


# --- JSON ---


@pytest.mark.parametrize("what", sorted(TABLES))
def test_every_table_can_be_had_as_json(what: str) -> None:
    console = Console(pool_mode="transaction")
    pool = console.add_pool()
    console.add_server(pool)
    pool.link(console.add_client(pool), console.now)
    table: Table = TABLES[what]
    names = [each.name for each in table.columns]

    messages = console.hears(Query(f"SHOW {what} JSON"))

    assert [str(each) for each in messages if each.type != "D"] == ["T json", "C SHOW", "Z I"]
    assert [list(row) for row in json.loads(only_value(messages))] == [names] * len(
        show(console, what)
    )


def test_json_has_numbers_texts_and_null() -> None:
    app = json.loads(only_value(Console().hears(Query("SHOW databases json"))))[0]

    assert (app["name"], app["port"], app["host"], app["paused"]) == ("app", 5432, None, 0)


def test_json_replaces_what_is_no_utf_8() -> None:
    columns = [column("name", TEXT), column("size", INT4)]

    assert json.loads(rows_as_json(columns, [("\udcff", 1)])) == [{"name": "�", "size": 1}]


def test_what_drivers_ask_for_can_be_had_as_json_too() -> None:
    assert show(Console(), "datestyle json") == ['[{"datestyle": "ISO"}]']
