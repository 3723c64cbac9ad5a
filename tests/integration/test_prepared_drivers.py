"""Drivers with their default settings: many connections, three servers, no error, no foreign row.

Each driver prepares statements by habits of its own: under names, after the fifth run, without a
name and bound only after a Sync. None is told that a pooler stands in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import asyncpg
import pg8000.native
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from pgpool_lite.pooler import Pooler
from tests.conftest import MakePooler

SERVERS = 3
CONNECTIONS = 50
# By each connection, in each of eight ways: 12,000 together.
STATEMENTS = 30

Worker = Callable[[int], Awaitable[None]]


@pytest.fixture
async def pooler(make_pooler: MakePooler) -> Pooler:
    """A pooler with default settings, but for its size."""
    return await make_pooler(pool_size=SERVERS)


async def run_all(pooler: Pooler, work: Worker) -> None:
    """Have all workers work at once, and see that the servers sufficed."""
    async with asyncio.timeout(60), asyncio.TaskGroup() as workers:
        for number in range(CONNECTIONS):
            workers.create_task(_as_coroutine(work, number))
    assert 0 < len(pooler.servers()) <= SERVERS


async def _as_coroutine(work: Worker, number: int) -> None:
    await work(number)


def own_sql(worker: int, round_number: int, parameter: str) -> str:
    """Return a text that is the worker's own, or every second time the same for all."""
    owner = f"of worker {worker}" if round_number % 2 else "of everyone"
    return f"SELECT {parameter} AS number, '{owner}' AS owner"


def check(row: Iterable[object] | None, worker: int, round_number: int) -> None:
    """See that a row is what `own_sql` asked for."""
    owner = f"of worker {worker}" if round_number % 2 else "of everyone"
    assert row is not None
    assert list(row) == [worker * 1000 + round_number, owner]


async def test_asyncpg(pooler: Pooler) -> None:
    async def work(worker: int) -> None:
        connection = await asyncpg.connect(pooler.dsn)
        for n in range(STATEMENTS):
            row = await connection.fetchrow(own_sql(worker, n, "$1::int"), worker * 1000 + n)
            check(row, worker, n)
        await connection.close()

    await run_all(pooler, work)


async def test_asyncpg_in_transactions(pooler: Pooler) -> None:
    async def work(worker: int) -> None:
        connection = await asyncpg.connect(pooler.dsn)
        for first in range(0, STATEMENTS, 3):
            async with connection.transaction():
                for n in range(first, first + 3):
                    sql = own_sql(worker, n, "$1::int")
                    check(await connection.fetchrow(sql, worker * 1000 + n), worker, n)
        await connection.close()

    await run_all(pooler, work)


@pytest.mark.parametrize("threshold", [0, 5])
async def test_psycopg(pooler: Pooler, threshold: int) -> None:
    async def work(worker: int) -> None:
        async with await psycopg.AsyncConnection.connect(
            pooler.dsn, autocommit=True, prepare_threshold=threshold
        ) as connection:
            for n in range(STATEMENTS):
                cursor = await connection.execute(
                    own_sql(worker, n, "%s::int"), (worker * 1000 + n,)
                )
                check(await cursor.fetchone(), worker, n)

    await run_all(pooler, work)


async def test_psycopg_in_pipeline_mode(pooler: Pooler) -> None:
    async def work(worker: int) -> None:
        async with await psycopg.AsyncConnection.connect(
            pooler.dsn, autocommit=True, prepare_threshold=0
        ) as connection:
            for first in range(0, STATEMENTS, 10):
                async with connection.pipeline():
                    cursors = [
                        await connection.execute(
                            own_sql(worker, n, "%s::int"), (worker * 1000 + n,)
                        )
                        for n in range(first, first + 10)
                    ]
                for n, cursor in enumerate(cursors, first):
                    check(await cursor.fetchone(), worker, n)

    await run_all(pooler, work)


async def test_pg8000(pooler: Pooler) -> None:
    def work_in_thread(worker: int) -> None:
        connection = pg8000.native.Connection(
            "postgres", host=pooler.host, port=pooler.port, database="app"
        )
        for n in range(STATEMENTS):
            (row,) = connection.run(own_sql(worker, n, "cast(:n as int)"), n=worker * 1000 + n)
            check(row, worker, n)
        connection.close()

    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        await run_all(pooler, lambda worker: loop.run_in_executor(threads, work_in_thread, worker))


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_sqlalchemy(pooler: Pooler, driver: str) -> None:
    url = pooler.dsn.replace("postgresql://", f"postgresql+{driver}://")
    engine = create_async_engine(url, pool_size=CONNECTIONS, max_overflow=0)
    try:
        await run_all(pooler, lambda worker: _use(engine, worker))
    finally:
        await engine.dispose()


async def _use(engine: AsyncEngine, worker: int) -> None:
    for first in range(0, STATEMENTS, 5):
        async with engine.begin() as connection:
            for n in range(first, first + 5):
                result = await connection.execute(
                    text(own_sql(worker, n, "cast(:n as int)")), {"n": worker * 1000 + n}
                )
                check(result.one(), worker, n)
