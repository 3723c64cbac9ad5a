"""Messages of any size pass through, and the pooler's memory does not grow with them.

Memory is that of a whole process, so these tests run the pooler as one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import pytest

from tests.integration.conftest import Address, Connect
from tests.integration.serving import ANYWHERE, Serve, Serving
from tests.wire_client import SELECT_1, WireClient, eventually
from tests.wire_messages import Bind, Execute, Parse, Query, Sync

MEGABYTE = 1_000_000
# What a pooler may hold on the way: a few reads of the socket, and a few writes not yet sent.
MAY_GROW_KB = 16 * 1024


def stops_falling(measure: Callable[[], int]) -> Callable[[], bool]:
    """Return the condition that `measure` has not fallen in a hundred looks in a row."""
    seen: deque[int] = deque(maxlen=100)

    def is_steady() -> bool:
        seen.append(measure())
        return len(seen) == seen.maxlen and seen[0] == seen[-1] > 0

    return is_steady


@pytest.fixture
async def process(postgres: Address, serve: Serve) -> Serving:
    """A pooler process with a single server in front of the real PostgreSQL."""
    to = f"postgresql://postgres@{postgres.host}:{postgres.port}/app"
    return await serve("--to", to, "--listen", ANYWHERE, "--pool-size", "1")


@pytest.fixture
async def client(process: Serving, connect: Connect) -> WireClient:
    """A client that has been served once, so that the pooler's memory is what it is at work."""
    client = await connect(process)
    assert await client.query("SELECT 1") == SELECT_1
    return client


async def test_a_row_of_200_megabytes_streams_through(process: Serving, client: WireClient) -> None:
    before = process.memory_kb("VmHWM")
    await client.send(Query(f"SELECT repeat('x', {200 * MEGABYTE})"))
    assert await client.lines(1) == ["T repeat"]
    # The body of a DataRow: the number of columns, the length of the only one, and its value.
    assert await client.skip_message() == ("D", 2 + 4 + 200 * MEGABYTE)
    assert await client.until_ready() == ["C SELECT 1", "Z I"]
    assert process.memory_kb("VmHWM") - before < MAY_GROW_KB


async def test_the_values_of_a_bind_of_50_megabytes_stream_to_a_server_that_lacks_its_statement(
    process: Serving, connect: Connect
) -> None:
    client, other = await connect(process), await connect(process)
    await client.send(Parse("SELECT length($1)", "a", 25), Sync())
    assert await client.until_ready() == ["1", "Z I"]
    await other.query("DEALLOCATE ALL")  # frees the server of what the client has prepared
    before_kb = process.memory_kb("VmHWM")
    value = "x" * MEGABYTE * 50
    await client.send(Bind(value, statement="a"), Execute(), Sync())
    assert await client.until_ready() == ["2", f"D {50 * MEGABYTE}", "C SELECT 1", "Z I"]
    assert process.memory_kb("VmHWM") - before_kb < MAY_GROW_KB


async def test_a_query_of_50_megabytes_streams_through(
    process: Serving, client: WireClient
) -> None:
    before = process.memory_kb("VmHWM")
    assert await client.value(f"SELECT length('{'x' * 50 * MEGABYTE}')") == str(50 * MEGABYTE)
    assert process.memory_kb("VmHWM") - before < MAY_GROW_KB


async def test_a_parameter_of_1_megabyte_passes(client: WireClient) -> None:
    await client.send(Parse("SELECT length($1)"), Bind("x" * MEGABYTE), Execute(), Sync())
    assert await client.until_ready() == ["1", "2", f"D {MEGABYTE}", "C SELECT 1", "Z I"]


async def test_a_parameter_of_50_megabytes_streams_through(
    process: Serving, client: WireClient
) -> None:
    before = process.memory_kb("VmHWM")
    value = "x" * 50 * MEGABYTE
    await client.send(Parse("SELECT length($1)"), Bind(value), Execute(), Sync())
    assert await client.until_ready() == ["1", "2", f"D {50 * MEGABYTE}", "C SELECT 1", "Z I"]
    assert process.memory_kb("VmHWM") - before < MAY_GROW_KB


async def test_a_million_small_rows_stream_through(process: Serving, client: WireClient) -> None:
    before = process.memory_kb("VmHWM")
    await client.send(Query("SELECT n FROM generate_series(1, 1000000) n"))
    assert await client.lines(1) == ["T n"]
    assert await client.skip_rows() == 1_000_000
    assert await client.until_ready() == ["C SELECT 1000000", "Z I"]
    assert process.memory_kb("VmHWM") - before < MAY_GROW_KB


async def test_a_client_that_does_not_read_holds_its_server_back(
    process: Serving, client: WireClient, postgres: Address, connect: Connect
) -> None:
    direct = await connect(postgres)
    pid = await client.value("SELECT pg_backend_pid()")
    before = process.memory_kb("VmHWM")

    async def is_held_back() -> bool:
        sql = f"SELECT wait_event FROM pg_stat_activity WHERE pid = {pid}"
        return await direct.value(sql) == "ClientWrite"

    await client.send(Query(f"SELECT repeat('x', {100 * MEGABYTE})"))
    await eventually(is_held_back)
    assert process.memory_kb("VmHWM") - before < MAY_GROW_KB
    assert await client.lines(1) == ["T repeat"]
    assert await client.skip_message() == ("D", 2 + 4 + 100 * MEGABYTE)
    assert await client.until_ready() == ["C SELECT 1", "Z I"]
    assert process.memory_kb("VmHWM") - before < MAY_GROW_KB


async def test_a_server_that_does_not_read_holds_its_client_back(
    process: Serving, client: WireClient, postgres: Address, connect: Connect
) -> None:
    direct = await connect(postgres)
    await direct.query("SELECT pg_advisory_lock(11)")
    before = process.memory_kb("VmHWM")
    # PostgreSQL reads the second query only when the first one is done.
    await client.send(Query("SELECT pg_advisory_xact_lock(11)"))
    large = Query(f"SELECT length('{'x' * 50 * MEGABYTE}')")
    sending = asyncio.create_task(client.send(large))
    await eventually(stops_falling(lambda: client.unsent_size))
    assert not sending.done()
    await direct.query("SELECT pg_advisory_unlock(11)")
    await sending
    transcript = await client.until_ready(times=2)
    assert transcript[-3:] == [f"D {50 * MEGABYTE}", "C SELECT 1", "Z I"]
    assert process.memory_kb("VmHWM") - before < MAY_GROW_KB
