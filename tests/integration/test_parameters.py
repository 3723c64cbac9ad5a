"""Tracked parameters follow a client from server to server, and reach no other client."""

from __future__ import annotations

import pytest

from pgpool_lite.pooler import Pooler
from tests.conftest import MakePooler
from tests.integration.conftest import Address, Connect, OpenClient
from tests.integration.watch import no_server_is_linked
from tests.wire_client import SELECT_1, WireClient, eventually
from tests.wire_messages import Query, StartupMessage

SERVER = "SELECT pg_backend_pid()"

# Name, a value that is not the default one, and how PostgreSQL shows it.
CHANGES = [
    ("TimeZone", "Asia/Tokyo", "Asia/Tokyo"),
    ("application_name", "it's me", "it's me"),
    ("client_encoding", "latin1", "LATIN1"),
    ("DateStyle", "german", "German, DMY"),
    ("standard_conforming_strings", "off", "off"),
    ("IntervalStyle", "iso_8601", "iso_8601"),
]
every_tracked_parameter = pytest.mark.parametrize(
    ("name", "value", "shown"), CHANGES, ids=[name for name, _, _ in CHANGES]
)


def quote(value: str) -> str:
    """Return `value` as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


@pytest.fixture
async def two_servers(make_pooler: MakePooler) -> Pooler:
    """A pooler that opens a second server as soon as the first one is taken."""
    return await make_pooler(pool_size=2)


async def take_server(client: WireClient) -> str:
    """Keep a server by a transaction; return which."""
    await client.query("BEGIN")
    return await client.value(SERVER)


@every_tracked_parameter
async def test_a_parameter_set_on_one_server_holds_on_the_next(
    two_servers: Pooler, connect: Connect, name: str, value: str, shown: str
) -> None:
    client, other = await connect(two_servers), await connect(two_servers)
    assert await client.query(f"SET {name} TO {quote(value)}") == [
        "C SET",
        f"S {name}={shown}",
        "Z I",
    ]
    first = await client.value(SERVER)
    assert await take_server(other) == first
    assert await client.value(SERVER) != first
    assert await client.value(f"SHOW {name}") == shown


@every_tracked_parameter
async def test_a_parameter_set_by_one_client_does_not_reach_another_on_the_same_server(
    pooler: Pooler, connect: Connect, name: str, value: str, shown: str
) -> None:
    client, other = await connect(pooler), await connect(pooler)
    before = await other.value(f"SHOW {name}")
    await client.query(f"SET {name} TO {quote(value)}")
    assert await other.value(f"SHOW {name}") == before != shown
    assert await client.value(f"SHOW {name}") == shown


@every_tracked_parameter
async def test_a_parameter_given_at_start_holds_on_every_server(
    two_servers: Pooler, connect: Connect, name: str, value: str, shown: str
) -> None:
    client, other = await connect(two_servers, **{name: value}), await connect(two_servers)
    first = await client.value(SERVER)
    assert await client.value(f"SHOW {name}") == shown
    assert await take_server(other) == first
    assert await client.value(f"SHOW {name}") == shown


async def test_a_parameter_of_a_client_that_left_is_gone_with_it(
    pooler: Pooler, postgres: Address, connect: Connect
) -> None:
    direct = await connect(postgres)
    client = await connect(pooler)
    await client.query("SET TimeZone TO 'Asia/Tokyo'")
    await client.close()
    other = await connect(pooler)
    assert await other.value("SHOW TimeZone") == direct.parameters["TimeZone"]
    assert other.parameters["TimeZone"] == direct.parameters["TimeZone"]


async def test_a_parameter_set_in_a_transaction_that_is_rolled_back_is_as_before(
    two_servers: Pooler, connect: Connect
) -> None:
    client, other = await connect(two_servers), await connect(two_servers)
    before = client.parameters["TimeZone"]
    await client.query("BEGIN")
    await client.query("SET TimeZone TO 'Asia/Tokyo'")
    assert await client.query("ROLLBACK") == ["C ROLLBACK", f"S TimeZone={before}", "Z I"]
    await take_server(other)
    assert await client.value("SHOW TimeZone") == before


async def test_a_parameter_that_is_reset_is_as_before_on_every_server(
    two_servers: Pooler, connect: Connect
) -> None:
    client, other = await connect(two_servers), await connect(two_servers)
    before = client.parameters["DateStyle"]
    await client.query("SET DateStyle TO german")
    await client.query("RESET DateStyle")
    await take_server(other)
    assert await client.value("SHOW DateStyle") == before


async def test_a_value_that_postgresql_refuses_ends_its_client_and_harms_nobody(
    pooler: Pooler, connect: Connect, open_client: OpenClient
) -> None:
    other = await connect(pooler)
    client = await open_client(pooler)
    await client.send(
        StartupMessage({"user": "postgres", "database": "app", "TimeZone": "Nowhere/Land"}),
        Query("SELECT 1"),
    )
    transcript = await client.until_closed()
    assert next(line for line in transcript if line.startswith(("E", "D"))).startswith("E ")
    assert await other.query("SELECT 1") == SELECT_1
    await eventually(no_server_is_linked(pooler))
