"""What the pooler may use: memory per client, memory for who does not read, file descriptors."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sys
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from contextlib import AsyncExitStack
from operator import le

import pytest

from pgpool_lite.dev.cluster import Cluster
from pgpool_lite.pooler import Pooler
from pgpool_lite.proxy.anteroom import RESERVED_DESCRIPTORS
from pgpool_lite.session.client import ClientSession
from tests.conftest import MakePooler
from tests.integration.conftest import Connect
from tests.integration.serving import ANYWHERE, Serve, Serving
from tests.wire_client import SELECT_1, WireClient, eventually
from tests.wire_messages import Query, StartupMessage

# The crowd comes in two halves: the first pays for what is allocated once.
IDLE_CLIENTS = 2000
# Beyond what a connection costs that the event loop holds for a protocol which does nothing.
MAY_COST_BYTES = 2048
# What may be on the way between PostgreSQL and a client that does not read.
MAY_GROW_KB = 16 * 1024
# For `ulimit -n`, and far more connections than that allows.
FEW_DESCRIPTORS, FLOOD = 64, 200
# By as many clients at once as keep both ends busy.
CYCLES, AT_ONCE = 3000, 20

# Accepts and does nothing; says how much memory it has whenever it is sent a line.
BARE_SERVER = """
import asyncio, re, sys, uvloop
from pathlib import Path

class Nothing(asyncio.Protocol):
    __slots__ = ("transport",)
    def connection_made(self, transport):
        self.transport = transport

async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Nothing, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        status = Path("/proc/self/status").read_text()
        print(re.search(r"VmRSS:\\s+(\\d+) kB", status)[1], flush=True)

uvloop.run(main())
"""

NO_ROOM = "E FATAL 08P01 no more connections allowed (file descriptors)"


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Let this process open a socket for each client."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, IDLE_CLIENTS * 2)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
async def serving(serve: Serve, postgres: Cluster) -> Serving:
    """A pooler process with two servers, which takes everybody and logs no comings and goings."""
    settings = ("max_client_conn=5000", "log_connections=0", "log_disconnections=0")
    chosen = [argument for setting in settings for argument in ("--set", setting)]
    to = postgres.dsn(dbname="app")
    return await serve("--to", to, "--listen", ANYWHERE, "--pool-size", "2", *chosen)


# --- memory ---


async def come_and_stay(serving: Serving, count: int, guests: AsyncExitStack) -> list[WireClient]:
    """Bring in clients that have been served once; they leave when `guests` is closed."""
    clients: list[WireClient] = []

    async def come() -> None:
        for _ in range(count // AT_ONCE):
            client = await WireClient.open(serving.host, serving.port)
            guests.push_async_callback(client.abort)
            await client.login()
            assert await client.query("SELECT 1") == SELECT_1
            clients.append(client)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(come())
    return clients


async def bytes_per_bare_connection() -> float:
    """Return what one connection costs the event loop alone."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", BARE_SERVER), stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    resident_kb: list[int] = []
    async with AsyncExitStack() as guests:
        for count in (200, IDLE_CLIENTS):
            for _ in range(count):
                client = await WireClient.open("127.0.0.1", port)
                guests.push_async_callback(client.abort)
            process.stdin.write(b"how much?\n")
            resident_kb.append(int(await process.stdout.readline()))
    process.stdin.close()
    await process.wait()
    return (resident_kb[1] - resident_kb[0]) * 1024 / IDLE_CLIENTS


async def test_an_idle_client_costs_little_memory(
    many_descriptors: None, serving: Serving, capsys: pytest.CaptureFixture[str]
) -> None:
    async with AsyncExitStack() as guests:
        # The first ones pay for what is allocated once.
        await come_and_stay(serving, 200, guests)
        before = serving.memory_kb("VmRSS")
        clients = await come_and_stay(serving, IDLE_CLIENTS, guests)
        bytes_per_client = (serving.memory_kb("VmRSS") - before) * 1024 / len(clients)

        assert await clients[0].query("SELECT 1") == SELECT_1
    bare = await bytes_per_bare_connection()
    with capsys.disabled():
        print(f" [{bytes_per_client:.0f} bytes per idle client, {bare:.0f} of them bare]", end="")
    assert bytes_per_client - bare <= MAY_COST_BYTES


async def test_a_client_that_never_reads_costs_little_memory_and_holds_nobody_up(
    serving: Serving, postgres: Cluster, connect: Connect
) -> None:
    deaf, other, direct = await connect(serving), await connect(serving), await connect(postgres)
    pid = await deaf.value("SELECT pg_backend_pid()")
    before = serving.memory_kb("VmHWM")

    async def is_held_back() -> bool:
        sql = f"SELECT wait_event FROM pg_stat_activity WHERE pid = {pid}"
        return await direct.value(sql) == "ClientWrite"

    await deaf.send(Query("SELECT repeat('x', 1000) FROM generate_series(1, 200000)"))
    await eventually(is_held_back)

    # As many megabytes as the deaf one refuses, for one who takes them.
    await other.send(Query("SELECT repeat('y', 1000) FROM generate_series(1, 200000)"))
    assert await other.lines(1) == ["T repeat"]
    assert await other.skip_rows() == 200_000
    assert await other.until_ready() == ["C SELECT 200000", "Z I"]
    assert await is_held_back()
    assert serving.memory_kb("VmHWM") - before < MAY_GROW_KB
    await deaf.abort()
    assert await other.query("SELECT 1") == SELECT_1


# --- file descriptors ---


def allow_few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW_DESCRIPTORS, FEW_DESCRIPTORS))


async def knock(serving: Serving, guests: AsyncExitStack) -> str:
    """Come as a client that stays; return the last line of what it is answered."""
    client = await WireClient.open(serving.host, serving.port)
    guests.push_async_callback(client.abort)
    await client.send(StartupMessage({"user": "postgres", "database": "app"}))
    return (await client.until_closed_or(["Z I"]))[-1]


async def test_a_flood_of_connections_is_refused_clearly_and_survived(
    serve: Serve, postgres: Cluster, connect: Connect
) -> None:
    to = postgres.dsn(dbname="app")
    arguments = ("--to", to, "--listen", ANYWHERE, "--pool-size", "2")
    serving = await serve(*arguments, prepare=allow_few_descriptors)
    inside = await connect(serving)

    async with AsyncExitStack() as guests:
        knocks = [knock(serving, guests) for _ in range(FLOOD)]
        answers = await asyncio.gather(*knocks)
        assert await inside.query("SELECT 1") == SELECT_1

    assert set(answers) == {"Z I", NO_ROOM}
    assert serving.log.count("out of file descriptors") == 1
    # The pooler has room again once it has noticed that they left, which takes it a few reads.
    await eventually(lambda: serving.descriptor_count < FEW_DESCRIPTORS - RESERVED_DESCRIPTORS)
    newcomer = await connect(serving)
    assert await newcomer.query("SELECT 1") == SELECT_1
    assert serving.is_running


async def test_cycles_of_connecting_asking_and_leaving_leave_nothing_behind(
    make_pooler: MakePooler,
) -> None:
    pooler = await make_pooler(pool_size=2, max_client_conn=AT_ONCE * 2)
    # What stays open is open from now on: the servers.
    await come_and_go(pooler, AT_ONCE * 2)
    await eventually(lambda: pooler.clients() == [])
    before = held()

    await come_and_go(pooler, CYCLES)

    await eventually(lambda: pooler.clients() == [])
    await eventually(lambda: all(map(le, held(), before)))  # what came before may have ended
    assert pooler.stats()["app"].client_login_count == CYCLES + AT_ONCE * 2


def held() -> tuple[int, int, int]:
    """Return how many descriptors, tasks and sessions of clients there are in this process."""
    descriptors = len(os.listdir("/proc/self/fd"))
    gc.collect()
    sessions = sum(isinstance(each, ClientSession) for each in gc.get_objects())
    return descriptors, len(asyncio.all_tasks()), sessions


async def come_and_go(pooler: Pooler, count: int) -> None:
    """Connect, ask and leave that often, some at a time."""

    async def cycle() -> None:
        for _ in range(count // AT_ONCE):
            async with await WireClient.open(pooler.host, pooler.port) as client:
                await client.login()
                assert await client.query("SELECT 1") == SELECT_1

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(cycle())
