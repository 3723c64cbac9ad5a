"""Monitoring that was made for PgBouncer: what prometheus-community's pgbouncer_exporter asks.

It sends simple queries, finds columns by name, takes labels from texts and whole numbers, and
values from anything that reads as a number. `reserve_pool` and `requests`, which it also looks for,
are not among PgBouncer 1.26.1's columns either.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.conftest import MakePooler

Rows = list[dict[str, object]]

LABELS = {
    "databases": ("name", "host", "port", "database", "force_user", "pool_mode"),
    "stats_totals": ("database",),
    "pools": ("database", "user"),
}
VALUES = {
    "databases": ("pool_size", "max_connections", "current_connections", "paused", "disabled"),
    "stats_totals": (
        *("query_count", "query_time", "bytes_received", "bytes_sent", "wait_time", "xact_count"),
        *("xact_time", "client_parse_count", "server_parse_count", "bind_count"),
    ),
    "pools": (
        *("cl_active", "cl_active_cancel_req", "cl_waiting", "cl_waiting_cancel_req"),
        *("sv_active", "sv_active_cancel", "sv_being_canceled", "sv_idle", "sv_used"),
        *("sv_tested", "sv_login", "maxwait"),
    ),
}
LISTS = {
    *("databases", "users", "pools", "free_clients", "used_clients", "login_clients"),
    *("free_servers", "used_servers", "dns_names", "dns_zones", "dns_queries"),
}

Console = psycopg.AsyncConnection[dict[str, object]]


@pytest.fixture
async def console(make_pooler: MakePooler) -> AsyncIterator[Console]:
    """A console whose pooler has served one query."""
    pooler = await make_pooler()
    async with await psycopg.AsyncConnection.connect(pooler.dsn, autocommit=True) as client:
        await client.execute("SELECT 1")
        async with await psycopg.AsyncConnection.connect(
            pooler.console_dsn, autocommit=True, row_factory=dict_row
        ) as console:
            yield console


async def ask(console: Console, query: str) -> Rows:
    """Return the rows of a simple query."""
    async with psycopg.AsyncClientCursor(console) as cursor:
        await cursor.execute(query)
        return await cursor.fetchall()


@pytest.mark.parametrize("table", sorted(LABELS))
async def test_labels_and_values_are_found_by_their_columns_names(
    console: Console, table: str
) -> None:
    rows = await ask(console, f"SHOW {table};")

    labels = [row[name] for row in rows for name in LABELS[table]]
    assert {type(label) for label in labels} <= {str, int, type(None)}
    values = [float(str(row[name])) for row in rows for name in VALUES[table]]
    assert len(values) == len(rows) * len(VALUES[table])
    assert {"app", "pgbouncer"} <= set(labels)


async def test_lists_are_names_and_numbers(console: Console) -> None:
    rows = await ask(console, "SHOW LISTS;")

    lists = {row["list"]: float(str(row["items"])) for row in rows}
    assert lists.keys() >= LISTS
    assert (lists["databases"], lists["used_servers"]) == (2, 1)


async def test_two_limits_are_read_from_config(console: Console) -> None:
    rows = await ask(console, "SHOW CONFIG;")

    assert [list(row) for row in rows[:1]] == [["key", "value", "default", "changeable"]]
    config = {row["key"]: row["value"] for row in rows}
    assert (config["max_client_conn"], config["max_user_connections"]) == ("100", "0")


async def test_the_version_begins_as_pgbouncers(console: Console) -> None:
    ((version,),) = [row.values() for row in await ask(console, "SHOW VERSION;")]

    assert str(version).split(" ")[:2] == ["PgBouncer", "1.26.1"]
    assert re.findall(r"\d+\.\d+\.\d+", str(version))[0] == "1.26.1"
