"""Many clients at once: nobody sees foreign data, and a restart of PostgreSQL is survived."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial

import asyncpg
import psycopg
import pytest

from pgpool_lite.dev.binaries import Binaries
from pgpool_lite.dev.cluster import Cluster
from pgpool_lite.pooler import Pooler
from tests.conftest import MakePooler
from tests.integration.conftest import Connect
from tests.integration.watch import linked_servers, no_server_is_linked, waiting_clients
from tests.wire_client import SELECT_1, WireClient, eventually
from tests.wire_messages import BackendMessage, Query

SERVERS = 5
# Together 1,000; the drivers cost more time than the client that was written for these tests.
WIRE_CLIENTS, ASYNCPG_CLIENTS, PSYCOPG_CLIENTS = 700, 200, 100
CROWD = WIRE_CLIENTS + ASYNCPG_CLIENTS + PSYCOPG_CLIENTS
SHORT_LIVED = 200
# Those who write while PostgreSQL restarts, and those who look on.
WRITERS, BYSTANDERS = 20, 10
# Both ends of a thousand connections are in this process.
DESCRIPTORS = 4096

# Lives as long as the transaction: on another server, or in another's transaction, it differs.
REMEMBER = "SELECT set_config('crowd.member', '{0}', true)"
RECALL = "SELECT current_setting('crowd.member') || repeat('.', {0} * 7)"
OWN = "SELECT 'client {0}' || repeat('.', {0} * 7)"

# PostgreSQL's last words and the pooler's are two answers to one query: psycopg's InternalError.
CONNECTION_ENDED = (psycopg.OperationalError, psycopg.InternalError)

Ask = Callable[[str], Awaitable[object]]


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Let this process open as many sockets as a crowd needs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, DESCRIPTORS)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
async def small_postgres(postgres_binaries: Binaries) -> AsyncIterator[Cluster]:
    """A PostgreSQL of the test's own, which takes 20 connections."""
    cluster = Cluster(postgres_binaries, max_connections=20)
    await asyncio.to_thread(cluster.start)
    yield cluster
    await asyncio.to_thread(cluster.stop)


async def in_crowd(number: int, ask: Ask, all_are_here: asyncio.Barrier) -> None:
    """Ask for what only this client can be answered, once everybody has logged in."""
    await all_are_here.wait()
    await ask("BEGIN")
    await ask(REMEMBER.format(number))
    recalled = await ask(RECALL.format(number))
    await ask("COMMIT")
    assert recalled == str(number) + "." * (number * 7)
    assert await ask(OWN.format(number)) == f"client {number}" + "." * (number * 7)


async def by_wire(pooler: Pooler, all_are_here: asyncio.Barrier, number: int) -> None:
    async with await WireClient.open(pooler.host, pooler.port) as client:
        await client.login()

        async def ask(sql: str) -> object:
            await client.send(Query(sql))
            return first_value(await client.messages_until_ready())

        await in_crowd(number, ask, all_are_here)


def first_value(answer: list[BackendMessage]) -> str | None:
    """Return the only column of the first row: it follows the count of columns and its length."""
    assert not [message for message in answer if message.type == "E"], answer
    rows = [message.body[6:].decode() for message in answer if message.type == "D"]
    return rows[0] if rows else None


async def by_asyncpg(pooler: Pooler, all_are_here: asyncio.Barrier, number: int) -> None:
    connection = await asyncpg.connect(pooler.dsn)
    await in_crowd(number, connection.fetchval, all_are_here)
    await connection.close()


async def by_psycopg(pooler: Pooler, all_are_here: asyncio.Barrier, number: int) -> None:
    connect = psycopg.AsyncConnection.connect
    async with await connect(pooler.dsn, autocommit=True) as connection:

        async def ask(sql: str) -> object:
            cursor = await connection.execute(sql.encode())
            row = await cursor.fetchone() if cursor.description else None
            return row and row[0]

        await in_crowd(number, ask, all_are_here)


async def test_1000_clients_on_5_servers_each_see_their_own_data_only(
    many_descriptors: None, make_pooler: MakePooler
) -> None:
    pooler = await make_pooler(pool_size=SERVERS, max_client_conn=CROWD)
    all_are_here = asyncio.Barrier(CROWD)
    kinds = [by_wire] * WIRE_CLIENTS + [by_asyncpg] * ASYNCPG_CLIENTS
    kinds += [by_psycopg] * PSYCOPG_CLIENTS

    async with asyncio.TaskGroup() as clients:
        for number, kind in enumerate(kinds):
            clients.create_task(kind(pooler, all_are_here, number))

    await eventually(lambda: pooler.clients() == [])
    assert linked_servers(pooler) == 0
    assert len(pooler.servers()) == SERVERS
    assert pooler.stats()["app"].xact_count == CROWD * 2


async def test_200_short_lived_clients_do_not_notice_that_postgresql_takes_20(
    small_postgres: Cluster, make_pooler: MakePooler
) -> None:
    pooler = await make_pooler(small_postgres.dsn(), pool_size=SERVERS, max_client_conn=SHORT_LIVED)

    async def live_shortly(number: int) -> None:
        connection = await asyncpg.connect(pooler.dsn)
        assert await connection.fetchval("SELECT $1::int", number) == number
        await connection.close()

    async with asyncio.TaskGroup() as clients:
        for number in range(SHORT_LIVED):
            clients.create_task(live_shortly(number))

    assert len(pooler.servers()) <= SERVERS
    assert pooler.stats()["postgres"].client_login_count == SHORT_LIVED


class Writer:
    """Inserts a row per transaction, and comes again whenever its connection ends."""

    def __init__(self, pooler: Pooler, number: int) -> None:
        self._pooler = pooler
        self._number = number
        self._round = 0
        self._is_told_to_stop = False
        # Of transactions that COMMIT confirmed.
        self.confirmed: list[tuple[int, int]] = []

    async def write(self) -> None:
        """Work until told to stop."""
        while not self._is_told_to_stop:
            try:
                async with await psycopg.AsyncConnection.connect(self._pooler.dsn) as connection:
                    await self._write_on(connection)
            except CONNECTION_ENDED:
                # As an application would: come again.
                await asyncio.sleep(0)

    async def _write_on(self, connection: psycopg.AsyncConnection) -> None:
        while not self._is_told_to_stop:
            self._round += 1
            row = (self._number, self._round)
            async with connection.transaction():
                await connection.execute("INSERT INTO written VALUES (%s, %s)", row)
            self.confirmed.append(row)

    def stop(self) -> None:
        """Have `write` end after the transaction under way."""
        self._is_told_to_stop = True


async def rows_written(cluster: Cluster) -> list[tuple[int, int]]:
    async with await psycopg.AsyncConnection.connect(cluster.dsn()) as connection:
        cursor = await connection.execute("SELECT writer, round FROM written")
        return [(int(row[0]), int(row[1])) for row in await cursor.fetchall()]


async def all_write_more(writers: list[Writer]) -> None:
    """Wait until each writer has confirmed another transaction."""
    before = [len(writer.confirmed) for writer in writers]
    after = partial(zip, writers, before, strict=True)
    await eventually(lambda: all(len(writer.confirmed) > count for writer, count in after()))


async def test_when_postgresql_restarts_under_load_only_transactions_in_flight_fail(
    small_postgres: Cluster, make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(small_postgres.dsn(), pool_size=SERVERS, server_login_retry=0.1)
    async with await psycopg.AsyncConnection.connect(pooler.dsn) as connection:
        await connection.execute("CREATE TABLE written (writer int, round int)")
    bystanders = [await connect(pooler, database="postgres") for _ in range(BYSTANDERS)]
    in_flight = await connect(pooler, database="postgres")
    await in_flight.query("BEGIN")
    writers = [Writer(pooler, number) for number in range(WRITERS)]

    async with asyncio.TaskGroup() as work:
        for writer in writers:
            work.create_task(writer.write())
        await all_write_more(writers)
        await asyncio.to_thread(small_postgres.restart, "fast")
        await all_write_more(writers)
        for writer in writers:
            writer.stop()

    assert (await in_flight.until_closed())[:1] == [
        "E FATAL 57P01 terminating connection due to administrator command"
    ]
    for bystander in bystanders:
        assert await bystander.query("SELECT 1") == SELECT_1
    written = await rows_written(small_postgres)
    assert len(written) == len(set(written))
    assert {row for writer in writers for row in writer.confirmed} <= set(written)
    await eventually(no_server_is_linked(pooler))
    assert waiting_clients(pooler) == 0
    assert len(pooler.servers()) <= SERVERS
