"""A pooler process whose surroundings fail: disk, memory, signals, files; and what it keeps."""

from __future__ import annotations

import os
import resource
import signal
import struct
from functools import partial
from pathlib import Path

import pytest

from pgpool_lite.dev.cluster import Cluster
from tests.integration.serving import ANYWHERE, Serve, Serving, write_ini
from tests.reliability.cycles import burst, come_and_go
from tests.wire_client import SELECT_1, WireClient, eventually
from tests.wire_messages import Query, StartupMessage

# What the process may have of addresses, beyond what it needs to start.
FEW_MEGABYTES = 700
# PostgreSQL hangs up on a byte more than MaxAllocSize.
GIGABYTE = (1 << 30) - 1000
BURST, CYCLES = 600, 600
BROKEN = ("pool_mode = broken", "[databases", "default_pool_size = many")


@pytest.fixture
def ini(tmp_path: Path, honest_postgres: Cluster) -> Path:
    return write_ini(tmp_path, honest_postgres, "default_pool_size = 1")


def write_more(ini: Path, *lines: str) -> str:
    """Add lines to a file; return what it was."""
    before = ini.read_text()
    ini.write_text("\n".join([before, *lines, ""]))
    return before


def write_again(ini: Path, text: str) -> None:
    """Put a file back to what it was."""
    ini.write_text(text)


def has_complained(serving: Serving, times: int) -> bool:
    """Say whether so many errors stand in the log."""
    return serving.log.count("ERROR") >= times


async def serves(serving: Serving) -> bool:
    """Say whether a newcomer is served."""
    async with await WireClient.open(serving.host, serving.port) as client:
        await client.login()
        return await client.query("SELECT 1") == SELECT_1


async def test_a_log_on_a_full_disk_costs_nobody_anything(
    serve: Serve, tmp_path: Path, honest_postgres: Cluster
) -> None:
    """Every line fails with ENOSPC; what is said on stderr still comes."""
    ini = write_ini(tmp_path, honest_postgres, "logfile = /dev/full", "log_connections = 1")
    serving = await serve(ini)

    for _ in range(20):
        assert await serves(serving)

    assert serving.is_running


def allow_little_memory() -> None:
    size = FEW_MEGABYTES << 20
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


async def test_a_message_that_claims_a_gigabyte_is_streamed_and_costs_no_memory(
    serve: Serve, honest_postgres: Cluster
) -> None:
    to = honest_postgres.dsn(dbname="app")
    serving = await serve("--to", to, "--listen", ANYWHERE, prepare=allow_little_memory)
    before = serving.memory_kb("VmHWM")
    async with await WireClient.open(serving.host, serving.port) as client:
        await client.login()
        await client.send(b"Q" + struct.pack("!i", GIGABYTE) + b"SELECT '" + b"x" * (8 << 20))
        assert await serves(serving)
        await client.abort()

    assert await serves(serving)
    assert serving.memory_kb("VmHWM") - before < 32 << 10


async def test_a_startup_message_that_claims_a_gigabyte_is_refused(
    serve: Serve, honest_postgres: Cluster
) -> None:
    to = honest_postgres.dsn(dbname="app")
    serving = await serve("--to", to, "--listen", ANYWHERE, prepare=allow_little_memory)
    async with await WireClient.open(serving.host, serving.port) as client:
        await client.send(struct.pack("!ii", GIGABYTE, 3 << 16))

        assert [line[:8] for line in await client.until_closed()] == ["E FATAL "]

    assert await serves(serving)


async def test_a_pooler_that_stood_still_goes_on_where_it_was(serve: Serve, ini: Path) -> None:
    serving = await serve(ini)
    async with await WireClient.open(serving.host, serving.port) as client:
        await client.login()
        await client.query("BEGIN")
        for number in range(5):
            serving.send_signal(signal.SIGSTOP)
            await client.send(Query(f"SELECT 'query {number}'"))
            serving.send_signal(signal.SIGCONT)

            assert (await client.until_ready())[1] == f"D query {number}"
        assert await client.query("COMMIT") == ["C COMMIT", "Z I"]


async def test_a_backend_that_stands_still_is_given_up_and_its_descriptor_with_it(
    serve: Serve, tmp_path: Path, honest_postgres: Cluster
) -> None:
    """Nothing that is sent to it goes out any more; it is closed all the same, and replaced."""
    ini = write_ini(tmp_path, honest_postgres, "default_pool_size = 1", "query_timeout = 1")
    serving = await serve(ini)
    assert await serves(serving)
    before = serving.descriptor_count
    async with await WireClient.open(serving.host, serving.port) as client:
        await client.login()
        pid = int(await client.value("SELECT pg_backend_pid()"))
        signal_backend(pid, signal.SIGSTOP)
        try:
            await client.send(Query("SELECT 'never'"))
            assert (await client.until_closed())[-1].startswith("E FATAL 08P01 query timeout")
            assert await serves(serving)
            await eventually(lambda: serving.descriptor_count <= before)
        finally:
            signal_backend(pid, signal.SIGCONT)


def signal_backend(pid: int, number: signal.Signals) -> None:
    """Send a signal to a backend of the test's own PostgreSQL."""

    os.kill(pid, number)


async def test_a_backend_that_is_killed_costs_who_was_linked_and_the_rest_wait(
    serve: Serve, ini: Path, honest_postgres: Cluster
) -> None:
    """PostgreSQL then ends all its backends, and takes nobody in until it has recovered."""
    write_more(ini, "server_login_retry = 0.1")
    serving = await serve(ini)
    async with (
        await WireClient.open(serving.host, serving.port) as linked,
        await WireClient.open(serving.host, serving.port) as idle,
    ):
        await idle.login()
        await linked.login()
        await linked.query("BEGIN")
        signal_backend(int(await linked.value("SELECT pg_backend_pid()")), signal.SIGKILL)

        assert (await linked.until_closed())[-1].startswith("E FATAL")
        await eventually(lambda: serves_again(serving))
        assert await idle.query("SELECT 1") == SELECT_1


async def serves_again(serving: Serving) -> bool:
    """Say whether a newcomer is served by now, who may be told that logins have been failing."""
    async with await WireClient.open(serving.host, serving.port) as client:
        await client.send(StartupMessage({"user": "postgres", "database": "app"}))
        if (await client.until_closed_or(["Z I"]))[-1] != "Z I":
            return False
        return await client.query("SELECT 1") == SELECT_1


async def test_sighup_with_a_broken_file_changes_nothing_and_says_why(
    serve: Serve, ini: Path
) -> None:
    serving = await serve(ini)
    async with await WireClient.open(serving.host, serving.port) as client:
        await client.login()
        await client.query("BEGIN")
        for number, broken in enumerate(BROKEN, 1):
            before = write_more(ini, broken)
            serving.send_signal(signal.SIGHUP)
            await eventually(partial(has_complained, serving, number))
            write_again(ini, before)
        assert await client.query("COMMIT") == ["C COMMIT", "Z I"]
    assert await serves(serving)


async def test_clients_that_never_finish_a_message_cost_nobody_a_server(
    serve: Serve, ini: Path
) -> None:
    serving = await serve(ini)
    stuck = []
    for size in (1, 4, 5, 6, 20):
        client = await WireClient.open(serving.host, serving.port)
        await client.login()
        await client.send(Query("SELECT 'never to its end'")[:size])
        stuck.append(client)

    assert await serves(serving)
    for client in stuck:
        await client.abort()


async def test_a_burst_of_connects_is_served(
    serve: Serve, honest_postgres: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = await burst(serve, honest_postgres, BURST)

    with capsys.disabled():
        print(f"\n  [{figures}]", end="")
    assert f" {BURST} served, 0 told no" in figures


async def test_clients_that_come_and_go_leave_nothing_in_the_process(
    serve: Serve, honest_postgres: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = await come_and_go(serve, honest_postgres, CYCLES)

    with capsys.disabled():
        print(f"\n  [{figures}]", end="")
    assert "descriptors" in figures
