"""CancelRequest: it stops the query of the client whose key it carries, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from pgpool_lite.pool import cancel
from pgpool_lite.pooler import Pooler
from tests.conftest import MakePooler
from tests.fake_postgres import FakePostgres, FakeSession, answer, answered_by
from tests.integration.conftest import Address, Connect, OpenClient
from tests.integration.watch import clients_wait, no_server_is_linked
from tests.wire_client import SELECT_1, WireClient, eventually
from tests.wire_messages import CancelRequest, Query

RUNNING = "N NOTICE 00000 running"
CANCELED = ["E ERROR 57014 canceling statement due to user request", "Z I"]
# Tells that it runs, then waits until `direct` unlocks; PostgreSQL sends a notice at once.
WAIT = "DO $$ BEGIN RAISE NOTICE 'running'; PERFORM pg_advisory_xact_lock(9); END $$"


@pytest.fixture
async def direct(postgres: Address, connect: Connect) -> AsyncIterator[WireClient]:
    """A connection to PostgreSQL itself that holds the lock WAIT waits for."""
    direct = await connect(postgres)
    await direct.query("SELECT pg_advisory_lock(9)")
    yield direct
    await direct.query("SELECT pg_advisory_unlock_all()")


async def unlock(direct: WireClient) -> None:
    """Let WAIT go on."""
    await direct.query("SELECT pg_advisory_unlock(9)")


@pytest.fixture
async def fake() -> AsyncIterator[FakePostgres]:
    """A PostgreSQL that answers a query only when it has been canceled."""

    async def answer_when_canceled(session: FakeSession) -> None:
        while (await session.receive())[0] == "Q":
            await eventually(lambda: bool(server.cancels))
            await session.send(answer(session))

    async with FakePostgres(answer_when_canceled) as server:
        yield server


async def test_a_running_query_is_canceled(
    pooler: Pooler, direct: WireClient, connect: Connect, open_client: OpenClient
) -> None:
    client, canceler = await connect(pooler), await open_client(pooler)
    await client.send(Query(WAIT))
    assert await client.lines(1) == [RUNNING]
    await canceler.send(client.cancel_request())
    assert await client.until_ready() == CANCELED
    assert await canceler.until_closed() == []
    assert await client.query("SELECT 1") == SELECT_1


async def test_a_query_in_a_transaction_is_canceled_and_the_transaction_fails(
    pooler: Pooler, direct: WireClient, connect: Connect, open_client: OpenClient
) -> None:
    client, canceler = await connect(pooler), await open_client(pooler)
    await client.query("BEGIN")
    await client.send(Query(WAIT))
    assert await client.lines(1) == [RUNNING]
    await canceler.send(client.cancel_request())
    assert await client.until_ready() == [CANCELED[0], "Z E"]
    assert await client.query("ROLLBACK") == ["C ROLLBACK", "Z I"]
    await eventually(no_server_is_linked(pooler))


async def test_a_cancel_with_a_wrong_secret_harms_nobody(
    pooler: Pooler, direct: WireClient, connect: Connect, open_client: OpenClient
) -> None:
    client, canceler = await connect(pooler), await open_client(pooler)
    await client.send(Query(WAIT))
    assert await client.lines(1) == [RUNNING]
    await canceler.send(CancelRequest(client.process_id, client.secret_key ^ 1))
    assert await canceler.until_closed() == []
    await unlock(direct)
    assert await client.until_ready() == ["C DO", "Z I"]


async def test_a_cancel_with_the_key_of_nobody_harms_nobody(
    pooler: Pooler, connect: Connect, open_client: OpenClient
) -> None:
    client, canceler = await connect(pooler), await open_client(pooler)
    await canceler.send(CancelRequest(0, 0))
    assert await canceler.until_closed() == []
    assert await client.query("SELECT 1") == SELECT_1


async def test_a_cancel_that_comes_when_its_query_is_done_does_not_hit_the_next_client(
    pooler: Pooler, direct: WireClient, connect: Connect, open_client: OpenClient
) -> None:
    done, running, canceler = (
        await connect(pooler),
        await connect(pooler),
        await open_client(pooler),
    )
    await done.query("SELECT 1")
    await running.send(Query(WAIT))
    assert await running.lines(1) == [RUNNING]
    await canceler.send(done.cancel_request())
    assert await canceler.until_closed() == []
    await unlock(direct)
    assert await running.until_ready() == ["C DO", "Z I"]


async def test_a_cancel_of_a_client_that_left_does_not_hit_the_next_client(
    pooler: Pooler, direct: WireClient, connect: Connect, open_client: OpenClient
) -> None:
    left, running = await connect(pooler), await connect(pooler)
    canceler = await open_client(pooler)
    await left.query("SELECT 1")
    await left.close()
    await running.send(Query(WAIT))
    assert await running.lines(1) == [RUNNING]
    await canceler.send(left.cancel_request())
    assert await canceler.until_closed() == []
    await unlock(direct)
    assert await running.until_ready() == ["C DO", "Z I"]


async def test_a_cancel_reaches_the_server_with_the_key_of_the_server(
    fake: FakePostgres, make_pooler: MakePooler, connect: Connect, open_client: OpenClient
) -> None:
    pooler = await make_pooler(to=fake.url, pool_size=1)
    client, canceler = await connect(pooler), await open_client(pooler)
    await client.send(Query("SELECT"))
    await eventually(lambda: fake.question_count == 1)
    await canceler.send(client.cancel_request())
    assert await client.until_ready() == answered_by(1)
    assert fake.cancels == [(4001, 1001)]


async def test_a_server_with_a_cancel_in_flight_is_not_given_to_the_next_client(
    fake: FakePostgres, make_pooler: MakePooler, connect: Connect, open_client: OpenClient
) -> None:
    # Otherwise a cancel that PostgreSQL handles late stops somebody else's query.
    pooler = await make_pooler(to=fake.url, pool_size=1)
    client, other, canceler = (
        await connect(pooler),
        await connect(pooler),
        await open_client(pooler),
    )
    fake.may_end_cancels.clear()
    await client.send(Query("SELECT"))
    await eventually(lambda: fake.question_count == 1)
    await canceler.send(client.cancel_request())
    assert await client.until_ready() == answered_by(1)
    await other.send(Query("SELECT"))
    await eventually(clients_wait(pooler, 1))
    assert fake.question_count == 1
    fake.may_end_cancels.set()
    assert await other.until_ready() == answered_by(1)


async def test_of_too_many_requests_for_a_query_the_last_are_hung_up_on(
    fake: FakePostgres,
    make_pooler: MakePooler,
    connect: Connect,
    open_client: OpenClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each request has a descriptor until its turn comes, and one key is enough for any number of
    them: somebody inside could keep newcomers out.
    """
    monkeypatch.setattr(cancel, "MAX_WAITING", 2)
    pooler = await make_pooler(to=fake.url, pool_size=1)
    client = await connect(pooler)
    fake.may_end_cancels.clear()
    await client.send(Query("SELECT"))
    await eventually(lambda: fake.question_count == 1)
    cancelers = [await open_client(pooler) for _ in range(4)]
    for canceler in cancelers:
        await canceler.send(client.cancel_request())

    assert await cancelers[-1].until_closed() == []

    fake.may_end_cancels.set()
    assert await client.until_ready() == answered_by(1)
    for canceler in cancelers:
        assert await canceler.until_closed() == []
