"""Who has the server, from when to when: the boundaries of a transaction with a pool of one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from pgpool_lite.pooler import Pooler
from tests.integration.conftest import Address, Connect
from tests.integration.watch import (
    a_server_is_linked,
    clients_wait,
    linked_servers,
    no_server_is_linked,
)
from tests.wire_client import SELECT_1, WireClient, eventually
from tests.wire_messages import Bind, Execute, Parse, Query, Sync

SERVER = "SELECT pg_backend_pid()"


@pytest.fixture
async def direct(postgres: Address, connect: Connect) -> AsyncIterator[WireClient]:
    """A connection to PostgreSQL itself, with an empty table `kept` and a sequence `turns`."""
    direct = await connect(postgres)
    await direct.query("DROP TABLE IF EXISTS kept; CREATE TABLE kept (n int)")
    await direct.query("DROP SEQUENCE IF EXISTS turns; CREATE SEQUENCE turns")
    yield direct
    await direct.query("DROP TABLE kept; DROP SEQUENCE turns")


@pytest.fixture
async def a(pooler: Pooler, connect: Connect) -> WireClient:
    """The client that comes first."""
    return await connect(pooler)


@pytest.fixture
async def b(pooler: Pooler, connect: Connect) -> WireClient:
    """The client that comes second."""
    return await connect(pooler)


async def test_two_clients_take_turns_on_one_server(a: WireClient, b: WireClient) -> None:
    server = await a.value(SERVER)
    assert await b.value(SERVER) == server
    assert await a.value(SERVER) == server


async def test_a_client_waits_while_another_is_in_a_transaction_and_is_served_after_commit(
    pooler: Pooler, a: WireClient, b: WireClient
) -> None:
    await a.query("BEGIN")
    server = await a.value(SERVER)
    await b.send(Query(SERVER))
    await eventually(clients_wait(pooler, 1))
    assert await a.value(SERVER) == server
    assert await a.query("COMMIT") == ["C COMMIT", "Z I"]
    assert await b.until_ready() == ["T pg_backend_pid", f"D {server}", "C SELECT 1", "Z I"]
    await eventually(no_server_is_linked(pooler))


async def test_a_failed_transaction_keeps_its_server_until_it_is_rolled_back(
    pooler: Pooler, a: WireClient, b: WireClient
) -> None:
    await a.query("BEGIN")
    await a.query("SELECT nonsense")
    await b.send(Query("SELECT 1"))
    await eventually(clients_wait(pooler, 1))
    assert await a.query("ROLLBACK") == ["C ROLLBACK", "Z I"]
    assert await b.until_ready() == SELECT_1


async def test_a_waiting_client_may_send_its_whole_pipeline_ahead(
    pooler: Pooler, a: WireClient, b: WireClient
) -> None:
    await a.query("BEGIN")
    await b.send(Query("SELECT 1"), Parse("SELECT 2"), Bind(), Execute(), Sync())
    await eventually(clients_wait(pooler, 1))
    await b.send(Query("SELECT 1"))
    await a.query("COMMIT")
    assert await b.until_ready(times=3) == [
        *SELECT_1,
        "1",
        "2",
        "D 2",
        "C SELECT 1",
        "Z I",
        *SELECT_1,
    ]


async def test_a_half_sent_query_does_not_take_a_server(
    pooler: Pooler, a: WireClient, b: WireClient
) -> None:
    message = Query("SELECT 1")
    await a.send(message[:-3])
    assert await b.query("SELECT 1") == SELECT_1
    assert await b.query("SELECT 1") == SELECT_1
    assert linked_servers(pooler) == 0
    await a.send(message[-3:])
    assert await a.until_ready() == SELECT_1


async def test_a_half_sent_header_does_not_take_a_server(
    pooler: Pooler, a: WireClient, b: WireClient
) -> None:
    message = Query("SELECT 1")
    await a.send(message[:3])
    assert await b.query("SELECT 1") == SELECT_1
    assert await b.query("SELECT 1") == SELECT_1
    assert linked_servers(pooler) == 0
    await a.send(message[3:])
    assert await a.until_ready() == SELECT_1


async def test_a_half_sent_second_query_does_not_hold_the_server_of_the_first(
    pooler: Pooler, a: WireClient, b: WireClient
) -> None:
    message = Query("SELECT 1")
    await a.send(message + message[:-3])
    assert await a.until_ready() == SELECT_1
    assert await b.query("SELECT 1") == SELECT_1
    await a.send(message[-3:])
    assert await a.until_ready() == SELECT_1


async def test_the_second_of_two_queries_sent_together_is_answered_in_its_own_right(
    pooler: Pooler, a: WireClient, b: WireClient
) -> None:
    await a.query("BEGIN")
    await a.send(Query("COMMIT"), Query("SELECT 1"))
    await b.send(Query("SELECT 1"))
    assert await a.until_ready(times=2) == ["C COMMIT", "Z I", *SELECT_1]
    assert await b.until_ready() == SELECT_1


# Clients that leave


async def test_a_client_that_vanishes_in_a_transaction_costs_its_server_only(
    pooler: Pooler, direct: WireClient, a: WireClient, b: WireClient
) -> None:
    await a.query("BEGIN; INSERT INTO kept VALUES (1)")
    server = await a.value(SERVER)
    await b.send(Query(SERVER))
    await eventually(clients_wait(pooler, 1))
    await a.abort()
    _, row, *rest = await b.until_ready()
    assert row != f"D {server}"
    assert rest == ["C SELECT 1", "Z I"]
    assert await direct.value("SELECT count(*) FROM kept") == "0"
    await eventually(no_server_is_linked(pooler))


async def test_a_client_that_says_goodbye_in_a_transaction_costs_its_server_only(
    direct: WireClient, a: WireClient, b: WireClient
) -> None:
    await a.query("BEGIN; INSERT INTO kept VALUES (1)")
    server = await a.value(SERVER)
    await a.close()
    assert await b.value(SERVER) != server
    assert await direct.value("SELECT count(*) FROM kept") == "0"


async def test_a_client_that_vanishes_in_a_query_costs_its_server_only(
    pooler: Pooler, direct: WireClient, a: WireClient, b: WireClient
) -> None:
    # The lock keeps the query from ending before its client leaves.
    await direct.query("SELECT pg_advisory_lock(7)")
    await a.send(Query("SELECT pg_advisory_xact_lock(7)"))
    await eventually(a_server_is_linked(pooler))
    await a.abort()
    assert await b.query("SELECT 1") == SELECT_1
    await direct.query("SELECT pg_advisory_unlock(7)")
    await eventually(no_server_is_linked(pooler))


async def test_a_client_that_vanishes_between_transactions_costs_nothing(
    a: WireClient, b: WireClient
) -> None:
    server = await a.value(SERVER)
    await a.abort()
    assert await b.value(SERVER) == server


async def test_a_client_that_vanishes_in_an_open_segment_costs_its_server_only(
    direct: WireClient, a: WireClient, b: WireClient
) -> None:
    server = await a.value(SERVER)
    await a.send(Parse("INSERT INTO kept VALUES (1)"), Bind(), Execute(), Query("")[:3])
    await a.abort()
    assert await b.value(SERVER) != server
    assert await direct.value("SELECT count(*) FROM kept") == "0"


# The queue


async def test_waiting_clients_are_served_in_the_order_they_came(
    pooler: Pooler, direct: WireClient, a: WireClient, connect: Connect
) -> None:
    first, second, third = [await connect(pooler) for _ in range(3)]
    await a.query("BEGIN")
    await third.send(Query("SELECT nextval('turns')"))
    await eventually(clients_wait(pooler, 1))
    await first.send(Query("SELECT nextval('turns')"))
    await eventually(clients_wait(pooler, 2))
    await second.send(Query("SELECT nextval('turns')"))
    await eventually(clients_wait(pooler, 3))
    await a.query("COMMIT")
    assert (await third.until_ready())[1] == "D 1"
    assert (await first.until_ready())[1] == "D 2"
    assert (await second.until_ready())[1] == "D 3"


async def test_a_client_with_more_to_say_queues_behind_those_who_wait(
    pooler: Pooler, direct: WireClient, a: WireClient, b: WireClient
) -> None:
    await a.query("BEGIN")
    await b.send(Query("SELECT nextval('turns')"))
    await eventually(clients_wait(pooler, 1))
    await a.query("COMMIT")
    assert await a.value("SELECT nextval('turns')") == "2"
    assert (await b.until_ready())[1] == "D 1"


async def test_a_waiting_client_that_leaves_holds_nobody_up(
    pooler: Pooler, a: WireClient, b: WireClient, connect: Connect
) -> None:
    c = await connect(pooler)
    await a.query("BEGIN")
    await b.send(Query("SELECT 1"))
    await eventually(clients_wait(pooler, 1))
    await c.send(Query("SELECT 1"))
    await eventually(clients_wait(pooler, 2))
    await b.close()
    await a.query("COMMIT")
    assert await c.until_ready() == SELECT_1
    await eventually(no_server_is_linked(pooler))
    assert await a.query("SELECT 1") == SELECT_1


async def test_a_waiting_client_that_vanishes_is_passed_over(
    pooler: Pooler, direct: WireClient, a: WireClient, b: WireClient, connect: Connect
) -> None:
    c = await connect(pooler)
    await a.query("BEGIN")
    await b.send(Query("SELECT nextval('turns')"))
    await eventually(clients_wait(pooler, 1))
    await c.send(Query("SELECT nextval('turns')"))
    await eventually(clients_wait(pooler, 2))
    await b.abort()
    await eventually(clients_wait(pooler, 1))
    await a.query("COMMIT")
    assert (await c.until_ready())[1] == "D 1"
    await eventually(no_server_is_linked(pooler))
    assert await a.query("SELECT 1") == SELECT_1


async def test_when_all_waiting_clients_vanish_the_server_is_free_for_the_next(
    pooler: Pooler, a: WireClient, b: WireClient, connect: Connect
) -> None:
    c = await connect(pooler)
    await a.query("BEGIN")
    await b.send(Query("SELECT 1"))
    await eventually(clients_wait(pooler, 1))
    await b.abort()
    await eventually(clients_wait(pooler, 0))
    await a.query("COMMIT")
    await eventually(no_server_is_linked(pooler))
    assert await c.query("SELECT 1") == SELECT_1
