"""A migration behind a prepared statement, with retry_stale_plans: who can be spared the error is.

PostgreSQL says "cached plan must not change result type" to a statement whose columns have changed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from psycopg import AsyncConnection

from pgpool_lite.pooler import Pooler
from tests.conftest import MakePooler
from tests.integration.conftest import Address, Connect
from tests.wire_client import WireClient
from tests.wire_messages import Bind, DescribePortal, Execute, Parse, Query, Sync

STALE = "E ERROR 0A000 cached plan must not change result type"
BEFORE = ["2", "T a", "D 1", "C SELECT 1", "Z I"]
AFTER = ["2", "T a,b", "D 1|2", "C SELECT 1", "Z I"]
PREPARED = "SELECT count(*) FROM pg_prepared_statements"
RUN = Bind(statement="all") + DescribePortal() + Execute() + Sync()
RUN_BLIND = Bind(statement="all") + Execute() + Sync()


@pytest.fixture
async def pooler(make_pooler: MakePooler) -> Pooler:
    return await make_pooler(pool_size=1, retry_stale_plans="1", admin_users="postgres")


@pytest.fixture
async def direct(postgres: Address, connect: Connect) -> AsyncIterator[WireClient]:
    """Migrates, past the pooler."""
    client = await connect(postgres)
    await client.query("CREATE TABLE migrated AS SELECT 1 AS a")
    yield client
    await client.query("DROP TABLE IF EXISTS migrated")


@pytest.fixture
async def client(pooler: Pooler, direct: WireClient, connect: Connect) -> WireClient:
    """Has prepared what the migration will change."""
    return await prepared(pooler, connect)


async def prepared(pooler: Pooler, connect: Connect, **wishes: str) -> WireClient:
    client = await connect(pooler, **wishes)
    await client.send(Parse("TABLE migrated", "all"), Sync())
    assert await client.until_ready() == ["1", "Z I"]
    return client


async def ask(client: WireClient, *messages: bytes) -> list[str]:
    await client.send(*messages)
    return await client.until_ready()


async def migrate(direct: WireClient) -> None:
    await direct.query("ALTER TABLE migrated ADD COLUMN b int DEFAULT 2")


async def mends(connect: Connect, pooler: Pooler) -> list[str]:
    """Return how often SHOW MENDS has a stale plan, of each pool that has."""
    console = await connect(pooler, database="pgbouncer")
    rows = [row[2:].split("|") for row in await console.query("SHOW MENDS") if row[0] == "D"]
    return [row[4] for row in rows if row[2] == "stale plan"]


async def test_who_asks_for_the_columns_with_the_rows_notices_nothing(
    client: WireClient, direct: WireClient, pooler: Pooler, connect: Connect
) -> None:
    assert await ask(client, RUN) == BEFORE
    await migrate(direct)

    assert await ask(client, RUN) == AFTER
    assert await ask(client, RUN) == AFTER
    assert await client.value(PREPARED) == "1"
    assert await mends(connect, pooler) == ["1"]


async def test_it_does_not_matter_whose_plan_was_stale(
    client: WireClient, direct: WireClient, pooler: Pooler, connect: Connect
) -> None:
    other = await prepared(pooler, connect)
    assert await ask(client, RUN) == await ask(other, RUN) == BEFORE
    await migrate(direct)

    assert await ask(other, RUN) == await ask(client, RUN) == AFTER
    assert await mends(connect, pooler) == ["1"]


async def test_the_answer_may_come_behind_those_to_the_pooler(
    pooler: Pooler, direct: WireClient, client: WireClient, connect: Connect
) -> None:
    other = await prepared(pooler, connect, timezone="Asia/Tokyo")
    assert await ask(client, RUN) == BEFORE
    await migrate(direct)

    assert await ask(other, RUN) == AFTER  # its time zone is set in front, in the same write
    assert await other.value("SHOW timezone") == "Asia/Tokyo"
    assert await mends(connect, pooler) == ["1"]


async def test_who_has_the_columns_from_before_is_told(
    client: WireClient, direct: WireClient, pooler: Pooler, connect: Connect
) -> None:
    assert await ask(client, RUN) == BEFORE
    await migrate(direct)

    assert await ask(client, RUN_BLIND) == [STALE, "Z I"]
    assert await ask(client, RUN) == AFTER
    assert await mends(connect, pooler) == []


async def test_in_a_transaction_the_error_is_the_clients(
    client: WireClient, direct: WireClient
) -> None:
    assert await ask(client, RUN) == BEFORE
    await client.query("BEGIN")
    await migrate(direct)

    assert await ask(client, RUN) == [STALE, "Z E"]
    assert await client.query("ROLLBACK") == ["C ROLLBACK", "Z I"]
    assert await ask(client, RUN) == AFTER


async def test_with_more_in_flight_the_error_is_the_clients(
    client: WireClient, direct: WireClient
) -> None:
    assert await ask(client, RUN) == BEFORE
    await migrate(direct)

    await client.send(RUN, Query("SELECT 1"))

    assert await client.until_ready() == [STALE, "Z I"]
    assert (await client.until_ready())[-1] == "Z I"
    assert await ask(client, RUN) == AFTER


async def test_what_cannot_be_prepared_any_more_fails_in_postgresqls_words(
    client: WireClient, direct: WireClient
) -> None:
    await ask(client, Parse("SELECT a FROM migrated", "one"), Sync())
    run = Bind(statement="one") + DescribePortal() + Execute() + Sync()
    assert await ask(client, run) == BEFORE
    await direct.query("ALTER TABLE migrated ALTER COLUMN a TYPE text")
    assert await ask(client, run) == BEFORE
    await direct.query("DROP TABLE migrated")

    assert await ask(client, run) == ['E ERROR 42P01 relation "migrated" does not exist', "Z I"]
    assert await client.value("SELECT 1") == "1"


async def test_without_the_setting_it_fails_once(
    make_pooler: MakePooler, direct: WireClient, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1)
    client = await prepared(pooler, connect)
    assert await ask(client, RUN) == BEFORE
    await migrate(direct)

    assert await ask(client, RUN) == [STALE, "Z I"]
    assert await ask(client, RUN) == AFTER


async def test_psycopg_notices_nothing(make_pooler: MakePooler, direct: WireClient) -> None:
    pooler = await make_pooler(profile="transparent", pool_size=1)
    async with await AsyncConnection.connect(
        pooler.dsn, autocommit=True, prepare_threshold=0
    ) as connection:
        assert await (await connection.execute("TABLE migrated")).fetchone() == (1,)
        await migrate(direct)
        assert await (await connection.execute("TABLE migrated")).fetchone() == (1, 2)


async def test_asyncpg_is_told_and_prepares_anew_by_itself(
    make_pooler: MakePooler, direct: WireClient
) -> None:
    pooler = await make_pooler(profile="transparent", pool_size=1)
    connection = await asyncpg.connect(pooler.dsn)
    assert tuple(await connection.fetchrow("TABLE migrated")) == (1,)
    await migrate(direct)
    assert tuple(await connection.fetchrow("TABLE migrated")) == (1, 2)
    await connection.close()
