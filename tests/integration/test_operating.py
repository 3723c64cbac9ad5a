"""Operating a pooler: signals that end it, and the console's commands on a real connection."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from pgpool_lite.dev.cluster import Cluster
from tests.integration.conftest import Connect
from tests.integration.serving import ANYWHERE, Serve, Serving, write_ini
from tests.wire_client import SELECT_1, WireClient, eventually
from tests.wire_messages import Query

SHUTTING_DOWN = "E FATAL 08P01 server shutting down"
KILLED = "E FATAL 08P01 admin forced disconnect"
BACKEND_PID = "SELECT pg_backend_pid()"


@pytest.fixture
async def serving(serve: Serve, postgres: Cluster) -> Serving:
    """A pooler process with one server."""
    to = postgres.dsn(dbname="app")
    return await serve("--to", to, "--listen", ANYWHERE, "--pool-size", "1")


@pytest.fixture
async def console(serving: Serving, connect: Connect) -> WireClient:
    return await connect(serving, database="pgbouncer")


@pytest.fixture
async def client(serving: Serving, connect: Connect) -> WireClient:
    client = await connect(serving)
    assert await client.query("SELECT 1") == SELECT_1
    return client


async def rows(console: WireClient, command: str) -> list[dict[str, str]]:
    """Return the rows of a SHOW command by their columns' names."""
    columns, *lines = [line[2:] for line in await console.query(command) if line[0] in "TD"]
    return [dict(zip(columns.split(","), line.split("|"), strict=True)) for line in lines]


def waits(console: WireClient, count: int) -> Callable[[], Awaitable[bool]]:
    """Return the condition that `count` clients wait for a server."""

    async def look() -> bool:
        pools = await rows(console, "SHOW POOLS")
        return sum(int(pool["cl_waiting"]) for pool in pools) == count

    return look


# --- signals ---


async def test_sigterm_stops_listening_and_waits_for_clients(
    serving: Serving, client: WireClient
) -> None:
    serving.send_signal(signal.SIGTERM)
    await serving.says("got SIGTERM, shutting down, waiting for all clients disconnect")

    await eventually(serving.is_not_listening)
    assert await client.query("SELECT 1") == SELECT_1
    assert serving.is_running
    await client.close()
    assert await serving.exit_code() == 0


async def test_sigint_waits_for_transactions_and_for_nobody_else(
    serving: Serving, client: WireClient, connect: Connect
) -> None:
    idle, waiting = await connect(serving), await connect(serving)
    console = await connect(serving, database="pgbouncer")
    await client.query("BEGIN")
    await waiting.send(Query("SELECT 1"))
    await eventually(waits(console, 1))

    serving.send_signal(signal.SIGINT)

    assert await waiting.until_closed() == [SHUTTING_DOWN]
    await eventually(serving.is_not_listening)
    assert await client.query("SELECT 1") == [*SELECT_1[:-1], "Z T"]
    assert serving.is_running
    assert await client.query("COMMIT") == ["C COMMIT", "Z I"]
    assert await idle.until_closed() == [SHUTTING_DOWN]
    assert await client.until_closed() == [SHUTTING_DOWN]
    assert await serving.exit_code() == 0


async def test_a_client_that_comes_back_with_a_query_after_sigint_is_refused(
    serving: Serving, client: WireClient, connect: Connect
) -> None:
    idle = await connect(serving)
    await client.query("BEGIN")

    serving.send_signal(signal.SIGINT)
    await serving.says("got SIGINT")
    await idle.send(Query("SELECT 1"))

    assert await idle.until_closed() == [SHUTTING_DOWN]
    assert await client.query("COMMIT") == ["C COMMIT", "Z I"]
    assert await serving.exit_code() == 0


@pytest.mark.parametrize(
    "numbers",
    [
        [signal.SIGQUIT],
        [signal.SIGTERM, signal.SIGTERM],
        [signal.SIGINT, signal.SIGINT],
        [signal.SIGTERM, signal.SIGINT],
    ],
    ids=lambda numbers: "-".join(number.name for number in numbers),
)
async def test_sigquit_or_a_second_signal_ends_at_once(
    serving: Serving, client: WireClient, numbers: list[signal.Signals]
) -> None:
    await client.query("BEGIN")

    # One after the other: the kernel may merge or reorder signals that are pending together.
    for number in numbers:
        serving.send_signal(number)
        await serving.says(f"got {number.name}")

    assert await client.until_closed() == []
    assert await serving.exit_code() == 0


# --- shutdown by command ---


async def test_shutdown_ends_at_once(
    serving: Serving, client: WireClient, console: WireClient
) -> None:
    await client.query("BEGIN")

    await console.send(Query("SHUTDOWN"))

    assert await console.until_closed() == []
    assert await client.until_closed() == [SHUTTING_DOWN]
    assert await serving.exit_code() == 0


async def test_shutdown_wait_for_clients_ends_when_the_last_one_leaves(
    serving: Serving, client: WireClient, console: WireClient
) -> None:
    assert await console.query("SHUTDOWN WAIT_FOR_CLIENTS") == ["C SHUTDOWN", "Z I"]

    await eventually(serving.is_not_listening)
    assert await client.query("SELECT 1") == SELECT_1
    await client.close()
    assert await serving.exit_code() == 0


async def test_shutdown_wait_for_servers_ends_with_the_last_transaction(
    serving: Serving, client: WireClient, console: WireClient
) -> None:
    await client.query("BEGIN")

    assert await console.query("SHUTDOWN WAIT_FOR_SERVERS") == ["C SHUTDOWN", "Z I"]

    assert await client.query("SELECT 1") == [*SELECT_1[:-1], "Z T"]
    assert await client.query("COMMIT") == ["C COMMIT", "Z I"]
    assert await serving.exit_code() == 0


# --- pausing ---


async def test_pause_is_answered_when_the_transaction_ends(
    serving: Serving, client: WireClient, console: WireClient, connect: Connect
) -> None:
    other_console = await connect(serving, database="pgbouncer")
    await client.query("BEGIN")

    await console.send(Query("PAUSE"))
    answer = asyncio.create_task(console.until_ready())

    # Two round trips: an answer that was given at once would be here by then.
    assert await other_console.query("PAUSE app") == ["E ERROR 08P01 already paused", "Z I"]
    assert await client.query("SELECT 1") == [*SELECT_1[:-1], "Z T"]
    assert not answer.done()
    await client.query("COMMIT")
    assert await answer == ["C PAUSE", "Z I"]
    await eventually(has_no_servers(other_console))


def has_no_servers(console: WireClient) -> Callable[[], Awaitable[bool]]:
    """Return the condition that every server is closed."""

    async def look() -> bool:
        return await rows(console, "SHOW SERVERS") == []

    return look


async def test_clients_that_wait_during_a_pause_go_on_after_resume(
    serving: Serving, client: WireClient, console: WireClient, connect: Connect
) -> None:
    other = await connect(serving)
    assert await console.query("PAUSE") == ["C PAUSE", "Z I"]
    for waiting in (client, other):
        await waiting.send(Query("SELECT 1"))
    await eventually(waits(console, 2))

    assert await console.query("RESUME") == ["C RESUME", "Z I"]

    assert await client.until_ready() == SELECT_1
    assert await other.until_ready() == SELECT_1


async def test_a_database_is_paused_and_resumed_by_name(
    client: WireClient, console: WireClient
) -> None:
    assert await console.query("PAUSE app") == ["C PAUSE", "Z I"]
    await client.send(Query("SELECT 1"))
    await eventually(waits(console, 1))
    assert await console.query("RESUME app") == ["C RESUME", "Z I"]
    assert await client.until_ready() == SELECT_1


async def test_a_pause_that_resume_ends_is_answered_by_an_error(
    serving: Serving, client: WireClient, console: WireClient, connect: Connect
) -> None:
    other_console = await connect(serving, database="pgbouncer")
    await client.query("BEGIN")
    await console.send(Query("PAUSE"))
    await eventually(pause_is_wanted(other_console))

    assert await other_console.query("RESUME") == ["C RESUME", "Z I"]

    error, ready = await console.until_ready()
    assert "PAUSE was ended by RESUME" in error
    assert ready == "Z I"
    assert await client.query("COMMIT") == ["C COMMIT", "Z I"]
    assert await client.query("SELECT 1") == SELECT_1


def pause_is_wanted(console: WireClient) -> Callable[[], Awaitable[bool]]:
    """Return the condition that a PAUSE has been received."""

    async def look() -> bool:
        state = {row["key"]: row["value"] for row in await rows(console, "SHOW STATE")}
        return state["paused"] == "yes"

    return look


# --- replacing, closing, reloading ---


async def test_reconnect_replaces_a_server_when_its_transaction_is_over(
    client: WireClient, console: WireClient
) -> None:
    await client.query("BEGIN")
    before = await client.value(BACKEND_PID)

    assert await console.query("RECONNECT") == ["C RECONNECT", "Z I"]

    assert await client.value(BACKEND_PID) == before
    await client.query("COMMIT")
    assert await console.query("WAIT_CLOSE") == ["C WAIT_CLOSE", "Z I"]
    assert await client.value(BACKEND_PID) != before


async def test_kill_closes_all_and_resume_lets_them_come_again(
    serving: Serving, client: WireClient, console: WireClient, connect: Connect
) -> None:
    idle = await connect(serving)
    await client.query("BEGIN")

    assert await console.query("KILL app") == ["C KILL", "Z I"]

    removed = ["E FATAL 08P01 database removed"]
    assert await client.until_closed() == removed
    assert await idle.until_closed() == removed
    again = await connect(serving)
    await again.send(Query("SELECT 1"))
    await eventually(waits(console, 1))
    assert await console.query("RESUME app") == ["C RESUME", "Z I"]
    assert await again.until_ready() == SELECT_1


async def test_cve_2026_6667_kill_client_by_a_stats_user_closes_nobody(
    serve: Serve, tmp_path: Path, postgres: Cluster, connect: Connect
) -> None:
    """PgBouncer before 1.25.2 let everybody on the console kill clients, stats_users too."""
    serving = await serve(write_ini(tmp_path, postgres, "stats_users = watcher", watcher=""))
    client = await connect(serving)
    watcher = await connect(serving, "watcher", "pgbouncer")
    ids = [row["id"] for row in await rows(watcher, "SHOW CLIENTS")]

    answers = [await watcher.query(f"KILL_CLIENT {each}") for each in ids]

    assert answers == [["E ERROR 08P01 admin access needed", "Z I"]] * 2
    assert await client.query("SELECT 1") == SELECT_1


async def test_kill_client_closes_one(
    serving: Serving, client: WireClient, console: WireClient, connect: Connect
) -> None:
    victim = await connect(serving, application_name="victim")
    clients = await rows(console, "SHOW CLIENTS")
    (number,) = [row["id"] for row in clients if row["application_name"] == "victim"]

    assert await console.query(f"KILL_CLIENT {number}") == ["C KILL_CLIENT", "Z I"]

    assert await victim.until_closed() == [KILLED]
    assert await client.query("SELECT 1") == SELECT_1


async def test_reload_by_command_reads_the_file_again_or_says_what_is_wrong(
    serve: Serve, tmp_path: Path, postgres: Cluster, connect: Connect
) -> None:
    serving = await serve(write_ini(tmp_path, postgres))
    console = await connect(serving, database="pgbouncer")
    client = await connect(serving)

    write_ini(tmp_path, postgres, "query_timeout = 9")
    assert await console.query("RELOAD") == ["C RELOAD", "Z I"]
    write_ini(tmp_path, postgres, "query_timeout = ten")
    assert await console.query("RELOAD") == [
        "E ERROR F0000 RELOAD failed, see logs for additional details",
        "Z I",
    ]

    config = {row["key"]: row["value"] for row in await rows(console, "SHOW CONFIG")}
    assert config["query_timeout"] == "9"
    assert await client.query("SELECT 1") == SELECT_1
