"""`workers`: several processes that a client, an operator and a signal take for one."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
from functools import partial
from pathlib import Path

import psycopg
import pytest

from pgpool_lite.dev.cluster import Cluster
from tests.integration.conftest import Connect, OpenClient
from tests.integration.serving import AS_IS, Serve, Serving, run, write_ini
from tests.wire_client import SELECT_1, WireClient, eventually
from tests.wire_messages import Query

IS_UP = re.compile(r"worker (\d+) up \[(\d+)\]")
CLIENTS = 8


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number: int = taken.getsockname()[1]
    return number


@pytest.fixture
def ini(tmp_path: Path, postgres: Cluster, port: int) -> Path:
    return write(tmp_path, postgres, port)


def write(folder: Path, postgres: Cluster, port: int, *settings: str) -> Path:
    """Write the configuration of a crew of two."""
    return write_ini(
        *(folder, postgres, f"listen_port = {port}", f"unix_socket_dir = {folder}"),
        *("workers = 2", "default_pool_size = 8", f"pidfile = {folder / 'pid'}", *settings),
    )


@pytest.fixture
async def serving(serve: Serve, ini: Path) -> Serving:
    """A crew of two processes."""
    serving = await serve(ini)
    await serving.says("process up: 2 workers")
    return serving


def members(serving: Serving) -> dict[int, int]:
    """Return the processes of a crew by their place; of two in one place the later counts."""
    return {int(place): int(pid) for place, pid in IS_UP.findall(serving.log)}


@pytest.fixture
async def clients(serving: Serving, connect: Connect) -> list[WireClient]:
    """Clients of which each process has some: more are opened until that is so."""
    clients = [await connect(serving) for _ in range(CLIENTS)]
    while len({client.process_id >> 16 & 0xFF for client in clients}) < 2:
        clients.append(await connect(serving))
    return clients


@pytest.fixture
async def console(serving: Serving, connect: Connect) -> WireClient:
    return await connect(serving, database="pgbouncer")


async def rows(console: WireClient, command: str) -> list[dict[str, str]]:
    """Return the rows of a SHOW command by their columns' names."""
    columns, *lines = [line[2:] for line in await console.query(command) if line[0] in "TD"]
    return [dict(zip(columns.split(","), line.split("|"), strict=True)) for line in lines]


# --- one console ---


async def test_show_tells_of_all_processes(clients: list[WireClient], console: WireClient) -> None:
    for client in clients:
        assert await client.query("SELECT 1") == SELECT_1

    (pool,) = [row for row in await rows(console, "SHOW POOLS") if row["database"] == "app"]
    shown = await rows(console, "SHOW CLIENTS")
    (stats,) = [row for row in await rows(console, "SHOW STATS") if row["database"] == "app"]
    config = {row["key"]: row["value"] for row in await rows(console, "SHOW CONFIG")}
    assert int(pool["cl_active"]) == len(clients)
    assert len(shown) == len(clients) + 1
    assert len({row["id"] for row in shown}) == len(shown)
    assert int(stats["total_query_count"]) == len(clients)
    assert (config["default_pool_size"], config["max_client_conn"]) == ("8", "100")


@pytest.mark.usefixtures("clients")
async def test_a_table_is_json_and_binary_as_well(serving: Serving) -> None:
    async with await psycopg.AsyncConnection.connect(
        serving.url("pgbouncer"), autocommit=True
    ) as connection:
        as_json = await connection.execute("SHOW LISTS JSON")
        row = await as_json.fetchone()
        cursor = connection.cursor(binary=True)
        await cursor.execute("SHOW LISTS")
        lists: dict[str, int] = dict(await cursor.fetchall())

    assert row is not None
    assert lists["used_clients"] > CLIENTS
    assert {each["list"]: each["items"] for each in json.loads(row[0])} == lists


async def test_a_command_reaches_all_processes(
    clients: list[WireClient], console: WireClient
) -> None:
    assert await console.query("PAUSE") == ["C PAUSE", "Z I"]
    for client in clients:
        await client.send(Query("SELECT 1"))

    async def all_wait() -> bool:
        pools = await rows(console, "SHOW POOLS")
        return sum(int(pool["cl_waiting"]) for pool in pools) == len(clients)

    await eventually(all_wait)
    assert await console.query("RESUME") == ["C RESUME", "Z I"]
    for client in clients:
        assert await client.until_ready() == SELECT_1


async def test_a_limit_holds_for_all_together(
    serving: Serving, clients: list[WireClient], console: WireClient
) -> None:
    assert await console.query("SET default_pool_size = 2") == ["C SET default_pool_size=2", "Z I"]
    for client in clients:
        await client.send(Query("SELECT pg_sleep(0.01)"))
    for client in clients:
        await client.until_ready()

    assert len(await rows(console, "SHOW SERVERS")) == 2
    config = {row["key"]: row["value"] for row in await rows(console, "SHOW CONFIG")}
    assert config["default_pool_size"] == "2"
    answer = await console.query("SET default_pool_size = 1")
    assert answer[0].startswith("E ERROR")


async def test_any_client_can_be_killed_by_its_number(
    clients: list[WireClient], console: WireClient
) -> None:
    for row in await rows(console, "SHOW CLIENTS"):
        if row["database"] == "app":
            assert await console.query(f"KILL_CLIENT {row['id']}") == ["C KILL_CLIENT", "Z I"]

    for client in clients:
        assert await client.until_closed() == ["E FATAL 08P01 admin forced disconnect"]
    assert (await console.query("KILL_CLIENT 999999"))[0] == "E ERROR 08P01 client not found"


async def test_who_may_only_look_commands_no_process(
    serve: Serve, tmp_path: Path, postgres: Cluster, port: int, connect: Connect
) -> None:
    ini = write(tmp_path, postgres, port, "stats_users = alice", "auth_type = any")
    ini.write_text(ini.read_text().replace("app = ", "app = user=postgres "))
    serving = await serve(ini)
    looker = await connect(serving, user="alice", database="pgbouncer")

    assert (await looker.query("PAUSE"))[0] == "E ERROR 08P01 admin access needed"
    assert len(await rows(looker, "SHOW CLIENTS")) == 1


async def test_the_unix_socket_is_everybodys(serving: Serving, tmp_path: Path, port: int) -> None:
    url = f"postgresql://pgbouncer@/pgbouncer?host={tmp_path}&port={port}"
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        (row,) = await (await connection.execute("SHOW VERSION")).fetchall()

    assert "pgpool_lite" in row[0]


# --- clients ---


async def cancels(
    client: WireClient, answer: asyncio.Task[list[str]], serving: Serving, open_client: OpenClient
) -> bool:
    """Ask for the end of a client's query; say whether it has come."""
    canceler = await open_client(serving)
    await canceler.send(client.cancel_request())
    await canceler.until_closed()
    return answer.done()


async def test_a_cancel_request_finds_its_client_in_any_process(
    clients: list[WireClient], serving: Serving, open_client: OpenClient
) -> None:
    for client in clients:
        await client.send(Query("SELECT pg_sleep(60)"))
        answer = asyncio.create_task(client.until_ready())
        # Again and again by way of whichever process: until it runs there is nothing to cancel.
        await eventually(partial(cancels, client, answer, serving, open_client))
        assert "canceling statement due to user request" in str(await answer)


# --- processes ---


async def test_a_process_that_dies_is_replaced(
    serving: Serving, clients: list[WireClient], connect: Connect
) -> None:
    before = members(serving)

    os.kill(before[1], signal.SIGKILL)
    await serving.says(f"worker 1 [{before[1]}] ended by signal 9, starting another")
    await eventually(lambda: members(serving)[1] != before[1])

    assert members(serving)[2] == before[2]
    for _ in range(CLIENTS):
        assert await (await connect(serving)).query("SELECT 1") == SELECT_1


async def test_all_end_with_their_leader(serving: Serving) -> None:
    pids = members(serving).values()

    await serving.kill()

    await eventually(lambda: not any(lives(pid) for pid in pids))


def lives(pid: int) -> bool:
    """Say whether a process runs; one that nobody has asked for its end does not."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("number", "is_waiting"), [(signal.SIGTERM, True), (signal.SIGQUIT, False)]
)
async def test_a_signal_to_the_leader_is_one_to_all(
    serving: Serving,
    clients: list[WireClient],
    tmp_path: Path,
    number: signal.Signals,
    is_waiting: bool,
) -> None:
    assert (tmp_path / "pid").read_text() == f"{serving.pid}\n"

    serving.send_signal(number)

    if is_waiting:
        await eventually(serving.is_not_listening)
        for client in clients:
            assert await client.query("SELECT 1") == SELECT_1
            await client.close()
    for client in clients:
        assert await client.until_closed() == [] if not is_waiting else True
    assert await serving.exit_code() == 0
    assert not (tmp_path / "pid").exists()


@pytest.mark.parametrize("command", ["SHUTDOWN", "SHUTDOWN WAIT_FOR_CLIENTS"])
async def test_shutdown_on_the_console_ends_all(
    serving: Serving, clients: list[WireClient], console: WireClient, command: str
) -> None:
    await console.send(Query(command))
    if command == "SHUTDOWN":
        assert await console.until_closed() == []
    else:
        assert await console.until_ready() == ["C SHUTDOWN", "Z I"]
        for client in clients:
            await client.close()

    assert await serving.exit_code() == 0


async def test_sighup_reloads_all_and_reload_says_what_is_wrong(
    serving: Serving, tmp_path: Path, postgres: Cluster, port: int, console: WireClient
) -> None:
    write(tmp_path, postgres, port, "query_timeout = 9", "default_pool_size = 6")
    serving.send_signal(signal.SIGHUP)

    async def shows(key: str, value: str) -> bool:
        config = {row["key"]: row["value"] for row in await rows(console, "SHOW CONFIG")}
        return config[key] == value

    await eventually(lambda: shows("default_pool_size", "6"))
    assert await shows("query_timeout", "9")
    write(tmp_path, postgres, port, "default_pool_size = 1")
    assert (await console.query("RELOAD"))[0].startswith("E ERROR F0000 RELOAD failed")
    assert await shows("default_pool_size", "6")


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("default_pool_size=1", "default_pool_size: 1 cannot be shared out among 2 workers"),
        ("listen_port=0", "workers: they need one port for all: set listen_port"),
    ],
)
def test_what_a_crew_cannot_serve_is_said_at_once(ini: Path, setting: str, sentence: str) -> None:
    answer = run("serve", *AS_IS, "-q", ini, "--set", setting)

    assert answer.returncode == 1
    assert sentence in answer.stderr


async def test_a_port_that_is_taken_ends_the_whole_crew(ini: Path, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        answer = run("serve", *AS_IS, "-q", ini)

    assert answer.returncode == 1
    assert f"pgpool-lite: cannot listen on 127.0.0.1:{port}" in answer.stderr


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    "line",
    ["listen_addr = \udce9toile", "unix_socket_dir = /nowhere/\udce9", "health_listen = a\udce9:1"],
    ids=["address", "unix socket", "health port"],
)
def test_a_name_that_is_no_utf_8_is_refused_in_a_sentence(ini: Path, line: str, count: int) -> None:
    # Such a byte goes through Python's strings as a lone surrogate. The resolver's IDNA raised a
    # UnicodeError, and a worker died of a traceback where its reason should have been told.
    lines = [line, f"workers = {count}", ""]
    ini.write_bytes(ini.read_bytes() + "\n".join(lines).encode(errors="surrogateescape"))

    answer = run("serve", *AS_IS, "-q", ini)

    assert answer.returncode == 1
    assert re.search(r"^pgpool-lite: .*cannot listen on .*\\udce9", answer.stderr, re.MULTILINE)
    assert "Traceback" not in answer.stderr
