"""Limits in time: each ends one client with its own sentence and leaves the others alone."""

from __future__ import annotations

import pytest

from pgpool_lite.pooler import Pooler
from tests.conftest import MakePooler
from tests.integration.conftest import Connect
from tests.integration.watch import no_server_is_linked
from tests.wire_client import SELECT_1, WireClient, eventually
from tests.wire_messages import Bind, Execute, Flush, Parse, Query

# Short for a person, long for the machine: nothing else in these tests takes that long.
SOON_S = 0.3
SLEEP = Query("SELECT pg_sleep(60)")
# A message that no pooler collects before it passes it on.
LARGE = Query("SELECT length('" + "x" * 4_000_000 + "')")


async def assert_ended(client: WireClient, sentence: str) -> None:
    """Check that `client` is told `sentence`, and nothing after it."""
    transcript = await client.until_closed()
    assert transcript[-1:] == [f"E FATAL 08P01 {sentence}"], transcript


async def assert_pool_works(pooler: Pooler, connect: Connect) -> None:
    """Check that no server is held any more and that a new client is served."""
    await eventually(no_server_is_linked(pooler))
    client = await connect(pooler)
    assert await client.query("SELECT 1") == SELECT_1


async def test_query_wait_timeout_ends_a_client_that_waits_too_long(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, query_wait_timeout=SOON_S)
    a, b = await connect(pooler), await connect(pooler)
    await a.query("BEGIN")
    await b.send(Query("SELECT 1"))
    assert await b.until_closed() == ["E FATAL 08P01 query_wait_timeout"]
    assert await a.query("COMMIT") == ["C COMMIT", "Z I"]
    await assert_pool_works(pooler, connect)


async def test_idle_transaction_timeout_ends_a_client_that_forgets_its_transaction(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, idle_transaction_timeout=SOON_S)
    client, other = await connect(pooler), await connect(pooler)
    await client.query("BEGIN")
    await other.send(Query("SELECT 1"))
    await assert_ended(client, "idle transaction timeout")
    assert await other.until_ready() == SELECT_1
    await assert_pool_works(pooler, connect)


async def test_idle_transaction_timeout_ends_a_client_stuck_in_the_middle_of_a_large_message(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, idle_transaction_timeout=SOON_S)
    client = await connect(pooler)
    await client.query("BEGIN")
    await client.send(LARGE[:2_000_000])
    await assert_ended(client, "idle transaction timeout")
    await assert_pool_works(pooler, connect)


TAKING_LONG = {
    "a query": SLEEP,
    "the middle of a large message": LARGE[:2_000_000],
    "an open segment": Parse("SELECT 1") + Bind() + Execute() + Flush(),
}


@pytest.mark.parametrize("said", TAKING_LONG.values(), ids=TAKING_LONG.keys())
async def test_query_timeout_ends_a_client_whose_query_takes_too_long(
    make_pooler: MakePooler, connect: Connect, said: bytes
) -> None:
    pooler = await make_pooler(pool_size=1, query_timeout=SOON_S)
    client = await connect(pooler)
    await client.send(said)
    await assert_ended(client, "query timeout")
    await assert_pool_works(pooler, connect)


async def test_query_timeout_counts_the_time_spent_waiting_for_a_server(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, query_timeout=SOON_S)
    a, b = await connect(pooler), await connect(pooler)
    await a.query("BEGIN")
    await b.send(Query("SELECT 1"))
    assert await b.until_closed() == ["E FATAL 08P01 query_timeout"]
    assert await a.query("COMMIT") == ["C COMMIT", "Z I"]


async def test_a_transaction_without_a_query_is_no_business_of_query_timeout(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=2, query_timeout=SOON_S)
    client, other = await connect(pooler), await connect(pooler)
    await client.query("BEGIN")
    # The other client's query outlives the timeout, so the first one's silence has done so too.
    await other.send(SLEEP)
    await assert_ended(other, "query timeout")
    assert await client.query("COMMIT") == ["C COMMIT", "Z I"]


async def test_transaction_timeout_ends_a_client_even_while_it_works(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, transaction_timeout=SOON_S)
    client = await connect(pooler)
    await client.query("BEGIN")
    await client.send(SLEEP)
    await assert_ended(client, "transaction timeout")
    await assert_pool_works(pooler, connect)


async def test_client_idle_timeout_ends_a_client_that_does_nothing(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, client_idle_timeout=SOON_S)
    client = await connect(pooler)
    assert await client.until_closed() == ["E FATAL 08P01 client_idle_timeout"]
    await assert_pool_works(pooler, connect)
