"""What is left behind by very many clients that come and go, or all come at once?"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

from pgpool_lite.dev.cluster import Cluster
from tests.integration.serving import ANYWHERE, Serve, Serving
from tests.wire_client import SELECT_1, ConnectionLost, WireClient, eventually

# So many clients keep both ends busy.
AT_ONCE = 20
# As many come at once as the kernel lets wait at a door.
CROWD = 500
# What a process may keep that has just served: its allocator's, not ours.
MAY_KEEP_KB = 4096


async def start(serve: Serve, postgres: Cluster, *settings: str) -> Serving:
    """Start a pooler with two servers that logs no comings and goings."""
    quiet = ("log_connections=0", "log_disconnections=0", "max_client_conn=2000", *settings)
    chosen = [argument for setting in quiet for argument in ("--set", setting)]
    to = postgres.dsn(dbname="app")
    return await serve("--to", to, "--listen", ANYWHERE, "--pool-size", "2", *chosen)


async def come_and_go(serve: Serve, postgres: Cluster, count: int) -> str:
    """Connect, ask and leave `count` times; see that descriptors and memory are as before."""
    serving = await start(serve, postgres)
    await _cycle(serving, 20 * AT_ONCE)  # pays for what is allocated once
    before, before_kb = serving.descriptor_count, serving.memory_kb("VmRSS")
    began_at = time.monotonic()
    await _cycle(serving, count)
    elapsed_s = time.monotonic() - began_at
    await eventually(lambda: serving.descriptor_count <= before)
    after_kb = serving.memory_kb("VmRSS")
    assert after_kb - before_kb < MAY_KEEP_KB, (before_kb, after_kb)
    return (
        f"{count} cycles in {elapsed_s:.0f} s: descriptors {before} before,"
        f" {serving.descriptor_count} after; memory {before_kb} kB before, {after_kb} kB after"
    )


async def _cycle(serving: Serving, count: int) -> None:
    async def cycle() -> None:
        for _ in range(count // AT_ONCE):
            async with await WireClient.open(serving.host, serving.port) as client:
                await client.login()
                assert await client.query("SELECT 1") == SELECT_1

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(cycle())


async def burst(serve: Serve, postgres: Cluster, count: int) -> str:
    """Have `count` clients connect, some hundreds at a time; each must be served or told no."""
    serving = await start(serve, postgres)
    before = serving.descriptor_count
    served = refused = 0
    began_at = time.monotonic()
    for begin in range(0, count, CROWD):
        async with AsyncExitStack() as guests:
            answers = await asyncio.gather(
                *[_knock(serving, guests) for _ in range(min(CROWD, count - begin))]
            )
        served += sum(answers)
        refused += len(answers) - sum(answers)
    elapsed_s = time.monotonic() - began_at
    await eventually(lambda: serving.descriptor_count <= before + 2)
    return (
        f"{count} connects, {CROWD} at a time, in {elapsed_s:.0f} s: {served} served,"
        f" {refused} told no; descriptors {before} before, {serving.descriptor_count} after"
    )


async def _knock(serving: Serving, guests: AsyncExitStack) -> bool:
    client = await WireClient.open(serving.host, serving.port)
    guests.push_async_callback(client.abort)
    try:
        await client.login()
        return await client.query("SELECT 1") == SELECT_1
    except ConnectionLost:
        return False
