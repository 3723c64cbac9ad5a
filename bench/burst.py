"""What happens to many short-lived clients that come at once, and to PostgreSQL meanwhile?

Each client does what a serverless function does: connect, work a little, run a short transaction,
work and ask again, disconnect. `storm.py` says how many and through what; one superuser connection
that was there before them counts the server connections. Needs asyncpg.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import asyncpg

from bench.postgres import Database

# The same figures in every storm, so that both see the same clients.
SEED = 5432

BURST_S = 1.0
TRANSACTIONS = 5
THINK_S = (0.1, 0.3)

# Far above what any client should need: it ends a hang.
CLIENT_TIMEOUT_S = 60.0

SAMPLE_EVERY_S = 0.02
# The sampler looks on for a moment, so that the picture shows what stays open.
AFTERMATH_S = 0.7

COUNT_CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True, slots=True)
class ClientPlan:
    """When one client comes, and how long it thinks before each of its transactions."""

    start_at_s: float
    thinks_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ClientResult:
    """What became of one client; `error` is empty when it got all it asked for."""

    ended_at_s: float
    error: str


@dataclass(frozen=True, slots=True)
class Sample:
    """How many server connections PostgreSQL had at one instant."""

    at_s: float
    connections: int


@dataclass(frozen=True, slots=True)
class Storm:
    """One burst, as its clients and the sampler saw it; instants count from its start."""

    results: Sequence[ClientResult]
    samples: Sequence[Sample]

    @property
    def failures(self) -> list[ClientResult]:
        """The clients that did not get what they asked for."""
        return [result for result in self.results if result.error]

    @property
    def peak(self) -> int:
        """The most server connections seen at once."""
        return max(sample.connections for sample in self.samples)

    @property
    def took_s(self) -> float:
        """How long it took until the last client was done."""
        return max(result.ended_at_s for result in self.results)


@dataclass(frozen=True, slots=True)
class Figures:
    """What both storms have in common; the table and the picture name them."""

    clients: int
    max_connections: int
    reserved_connections: int
    pool_size: int
    pooler: str


def plan_clients(count: int, seed: int = SEED) -> list[ClientPlan]:
    """Draw when each client comes and how long it thinks; the same seed draws the same storm."""
    draw = random.Random(seed)
    starts = sorted(draw.uniform(0.0, BURST_S) for _ in range(count))
    return [
        ClientPlan(start, tuple(draw.uniform(*THINK_S) for _ in range(TRANSACTIONS)))
        for start in starts
    ]


async def run_storm(
    plans: Sequence[ClientPlan], application: Database, superuser: Database
) -> Storm:
    """Let all clients loose on one database and sample PostgreSQL until they are done."""
    monitor = await _connect(superuser)
    loop = asyncio.get_running_loop()
    start = loop.time()

    def now() -> float:
        return loop.time() - start

    try:
        done = asyncio.Event()
        sampling = asyncio.create_task(_sample(monitor, now, done))
        results = await asyncio.gather(*(_run_client(plan, application, now) for plan in plans))
        done.set()
        return Storm(results, await sampling)
    finally:
        monitor.terminate()  # close() would wait for a sample that Ctrl-C has interrupted


async def _connect(database: Database) -> asyncpg.Connection:
    return await asyncpg.connect(
        host=database.host,
        port=database.port,
        user=database.user,
        password=database.password or None,
        database=database.name,
        ssl=False,
        timeout=CLIENT_TIMEOUT_S,
    )


async def _sample(
    monitor: asyncpg.Connection, now: Callable[[], float], done: asyncio.Event
) -> list[Sample]:
    samples: list[Sample] = []
    ends_at_s = float("inf")
    while now() < ends_at_s:
        samples.append(Sample(now(), int(await monitor.fetchval(COUNT_CONNECTIONS))))
        await asyncio.sleep(SAMPLE_EVERY_S)
        if done.is_set() and ends_at_s == float("inf"):
            ends_at_s = now() + AFTERMATH_S
    return samples


async def _run_client(
    plan: ClientPlan, database: Database, now: Callable[[], float]
) -> ClientResult:
    await asyncio.sleep(plan.start_at_s)
    try:
        async with asyncio.timeout(CLIENT_TIMEOUT_S):
            await _be_a_function(plan, database)
    except asyncpg.PostgresError as error:
        return ClientResult(now(), f"{error.sqlstate} {error}")
    except (OSError, asyncpg.InterfaceError) as error:
        return ClientResult(now(), f"{type(error).__name__} {error}".strip())
    return ClientResult(now(), "")


async def _be_a_function(plan: ClientPlan, database: Database) -> None:
    connection = await _connect(database)
    try:
        for think_s in plan.thinks_s:
            await asyncio.sleep(think_s)
            async with connection.transaction():
                await connection.execute("SELECT now()")
                await connection.fetchval("SELECT count(*) FROM pg_class WHERE relkind = 'r'")
                await connection.fetchval("SELECT sum(n) FROM generate_series(1, $1::int) n", 100)
    finally:
        await connection.close()
