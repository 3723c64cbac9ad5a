"""Session and statement pooling: the server stays longer, or less long, than a transaction."""

from __future__ import annotations

from pgpool_lite.pooler import Pooler
from tests.conftest import MakePooler
from tests.integration.conftest import Connect
from tests.integration.watch import a_server_is_linked, clients_wait, no_server_is_linked
from tests.wire_client import SELECT_1, eventually
from tests.wire_messages import Bind, Execute, Parse, Query, Sync

NOT_IN_STATEMENT_MODE = "E FATAL 08P01 transaction blocks not allowed in statement pooling mode"


async def make_session_pooler(make_pooler: MakePooler) -> Pooler:
    """Start a pooler in session mode with a single server."""
    return await make_pooler(pool_size=1, pool_mode="session")


async def test_in_session_mode_a_client_keeps_its_server_until_it_leaves(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_session_pooler(make_pooler)
    a, b = await connect(pooler), await connect(pooler)
    await a.query("SELECT 1")
    await b.send(Query("SELECT 1"))
    await eventually(clients_wait(pooler, 1))
    assert await a.query("SELECT 1") == SELECT_1
    await eventually(a_server_is_linked(pooler))
    await a.close()
    assert await b.until_ready() == SELECT_1


async def test_in_session_mode_a_session_has_its_settings_statements_and_tables(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_session_pooler(make_pooler)
    client = await connect(pooler)
    await client.query("SET enable_seqscan TO off; CREATE TEMP TABLE mine AS SELECT 7 AS n")
    await client.send(Parse("SELECT n FROM mine", "s1"), Sync())
    assert await client.until_ready() == ["1", "Z I"]
    assert await client.value("SHOW enable_seqscan") == "off"
    await client.send(Bind(statement="s1"), Execute(), Sync())
    assert await client.until_ready() == ["2", "D 7", "C SELECT 1", "Z I"]


async def test_in_session_mode_the_next_client_finds_the_server_reset(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_session_pooler(make_pooler)
    a = await connect(pooler)
    await a.query("SET enable_seqscan TO off; CREATE TEMP TABLE mine ()")
    server = await a.value("SELECT pg_backend_pid()")
    await a.close()
    b = await connect(pooler)
    assert await b.value("SELECT pg_backend_pid()") == server
    assert await b.value("SHOW enable_seqscan") == "on"
    assert await b.value("SELECT to_regclass('mine') IS NULL") == "t"


async def test_in_session_mode_a_client_that_vanishes_in_a_transaction_costs_its_server(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_session_pooler(make_pooler)
    a, b = await connect(pooler), await connect(pooler)
    await a.query("BEGIN")
    server = await a.value("SELECT pg_backend_pid()")
    await b.send(Query("SELECT pg_backend_pid()"))
    await eventually(clients_wait(pooler, 1))
    await a.abort()
    assert (await b.until_ready())[1] != f"D {server}"


async def test_in_statement_mode_single_statements_work(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, pool_mode="statement")
    a, b = await connect(pooler), await connect(pooler)
    assert await a.query("SELECT 1") == SELECT_1
    assert await b.query("SELECT 1") == SELECT_1
    await a.send(Parse("SELECT 1"), Bind(), Execute(), Sync())
    assert await a.until_ready() == ["1", "2", "D 1", "C SELECT 1", "Z I"]
    await eventually(no_server_is_linked(pooler))


async def test_in_statement_mode_a_transaction_block_is_refused(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, pool_mode="statement")
    client, other = await connect(pooler), await connect(pooler)
    await client.send(Query("BEGIN"))
    assert (await client.until_closed())[-1] == NOT_IN_STATEMENT_MODE
    assert await other.query("SELECT 1") == SELECT_1
    await eventually(no_server_is_linked(pooler))


async def test_in_statement_mode_a_transaction_block_by_extended_query_is_refused(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, pool_mode="statement")
    client, other = await connect(pooler), await connect(pooler)
    await client.send(Parse("BEGIN"), Bind(), Execute(), Sync())
    assert (await client.until_closed())[-1] == NOT_IN_STATEMENT_MODE
    assert await other.query("SELECT 1") == SELECT_1
    await eventually(no_server_is_linked(pooler))
