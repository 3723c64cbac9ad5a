"""The pooler as a process among others: its pidfile, its place, its background, its replacement."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import psycopg
import pytest

from pgpool_lite.dev.cluster import Cluster
from tests.integration.conftest import Connect
from tests.integration.serving import (
    AS_IS,
    IS_UP,
    Serve,
    run,
    write_ini,
)
from tests.wire_client import SELECT_1, eventually
from tests.wire_messages import Query


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number: int = taken.getsockname()[1]
    return number


@pytest.fixture
def ini(tmp_path: Path, postgres: Cluster, port: int) -> Path:
    """A configuration with all that makes one process findable."""
    return write_ini(
        *(tmp_path, postgres, f"listen_port = {port}", f"unix_socket_dir = {tmp_path}"),
        *(f"pidfile = {tmp_path / 'pid'}", f"logfile = {tmp_path / 'log'}"),
    )


async def ask(folder: Path, port: int, sql: str, database: str = "app") -> object:
    """Return the first value that is answered through the Unix socket in `folder`."""
    user = "pgbouncer" if database == "pgbouncer" else "postgres"
    url = f"postgresql://{user}@/{database}?host={folder}&port={port}"
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        cursor = await connection.execute(sql.encode())
        row = await cursor.fetchone() if cursor.description else None
        return row and row[0]


# --- the pidfile ---


async def test_the_pidfile_names_the_process_while_it_lives(
    serve: Serve, ini: Path, tmp_path: Path
) -> None:
    serving = await serve(ini)

    assert (tmp_path / "pid").read_text() == f"{serving.pid}\n"
    serving.send_signal(signal.SIGTERM)
    assert await serving.exit_code() == 0
    assert not (tmp_path / "pid").exists()


async def test_a_second_process_is_refused_and_leaves_the_first_alone(
    serve: Serve, ini: Path, tmp_path: Path, port: int
) -> None:
    await serve(ini)

    second = run("serve", *AS_IS, "-q", ini)

    assert second.returncode == 1
    assert "unix socket is in use, cannot continue" in second.stderr
    assert await ask(tmp_path, port, "SELECT 1") == 1
    assert "FATAL unix_socket_dir: unix socket is in use" in (tmp_path / "log").read_text()


async def test_what_a_killed_process_left_does_not_matter(
    serve: Serve, ini: Path, tmp_path: Path, port: int
) -> None:
    killed = await serve(ini)
    await killed.kill()
    assert (tmp_path / f".s.PGSQL.{port}").is_socket()

    await serve(ini)

    assert await ask(tmp_path, port, "SELECT 1") == 1


# --- in the background ---


async def test_a_daemon_leaves_its_terminal_and_is_found_by_its_pidfile(
    ini: Path, tmp_path: Path, port: int
) -> None:
    started = run(*AS_IS, "-d", ini)

    assert (started.returncode, started.stdout, started.stderr) == (0, "", "")
    log = tmp_path / "log"
    await eventually(lambda: log.exists() and IS_UP in log.read_text())
    number = int((tmp_path / "pid").read_text())
    assert os.getsid(number) not in (number, os.getsid(0))
    assert await ask(tmp_path, port, "SELECT 1") == 1
    os.kill(number, signal.SIGTERM)
    await eventually(lambda: not (tmp_path / "pid").exists())


@pytest.mark.parametrize("missing", ["pidfile", "logfile"])
def test_a_daemon_has_to_be_found_and_heard(ini: Path, missing: str) -> None:
    answer = run(*AS_IS, "-d", ini, "--set", f"{missing}=")

    assert answer.returncode == 1
    assert answer.stderr.startswith(f"pgpool-lite: {missing}: daemon needs {missing}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
def test_root_is_refused_as_pgbouncer_refuses_it(ini: Path) -> None:
    answer = run("serve", ini)

    assert answer.returncode == 1
    assert "the pooler should not run as root" in answer.stderr


# --- where it listens ---


async def test_an_abstract_unix_socket_needs_no_file(
    serve: Serve, tmp_path: Path, postgres: Cluster, port: int
) -> None:
    name = f"@pgpool-lite-{port}"
    await serve(write_ini(tmp_path, postgres, f"listen_port = {port}", f"unix_socket_dir = {name}"))

    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"\0{name[1:]}/.s.PGSQL.{port}")


async def test_of_several_addresses_one_that_works_is_enough(
    serve: Serve, tmp_path: Path, postgres: Cluster, connect: Connect
) -> None:
    ini = write_ini(tmp_path, postgres, "listen_addr = 192.0.2.1, 127.0.0.1")

    serving = await serve(ini)

    assert "WARNING cannot listen on 192.0.2.1:0: " in serving.log
    assert await (await connect(serving)).query("SELECT 1") == SELECT_1


async def test_sockets_of_the_service_manager_are_used(
    serve: Serve, tmp_path: Path, postgres: Cluster
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as passed:
        port: int = passed.getsockname()[1]

        def pass_on() -> None:
            os.dup2(passed.fileno(), 3)
            os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")

        ini = write_ini(tmp_path, postgres, "listen_addr =")
        serving = await serve(ini, prepare=pass_on)

        assert serving.port == port
        url = serving.url()
        async with await psycopg.AsyncConnection.connect(url) as connection:
            assert await (await connection.execute("SELECT 1")).fetchone() == (1,)


# --- signals ---


async def test_sigusr1_pauses_and_sigusr2_resumes(
    serve: Serve, ini: Path, connect: Connect
) -> None:
    serving = await serve(ini)
    client = await connect(serving)

    serving.send_signal(signal.SIGUSR2)
    await serving.says("got SIGUSR2, but not paused")
    serving.send_signal(signal.SIGUSR1)
    await serving.says("got SIGUSR1, pausing all activity")
    serving.send_signal(signal.SIGUSR1)
    await serving.says("got SIGUSR1, but already paused")
    await client.send(Query("SELECT 1"))
    serving.send_signal(signal.SIGUSR2)
    await serving.says("got SIGUSR2, continuing from PAUSE")

    assert await client.until_ready() == SELECT_1


async def test_a_shutdown_that_waits_leaves_the_unix_socket_to_the_console(
    serve: Serve, ini: Path, tmp_path: Path, port: int, connect: Connect
) -> None:
    serving = await serve(ini)
    client = await connect(serving)

    await ask(tmp_path, port, "SHUTDOWN WAIT_FOR_CLIENTS", "pgbouncer")
    await eventually(serving.is_not_listening)
    serving.send_signal(signal.SIGUSR2)
    await serving.says("got SIGUSR2 while shutting down, ignoring")

    assert "pgpool_lite" in str(await ask(tmp_path, port, "SHOW VERSION", "pgbouncer"))
    with pytest.raises(psycopg.OperationalError, match="pooler is shutting down"):
        await ask(tmp_path, port, "SELECT 1")
    with pytest.raises(psycopg.errors.ProtocolViolation, match="pooler is shutting down"):
        await ask(tmp_path, port, "RESUME", "pgbouncer")
    await client.close()
    await serving.says("client connections dropped, exiting")
    assert await serving.exit_code() == 0


async def test_reload_on_the_console_opens_a_rotated_log_again(
    serve: Serve, ini: Path, tmp_path: Path, port: int
) -> None:
    await serve(ini)
    (tmp_path / "log").rename(tmp_path / "log.1")

    await ask(tmp_path, port, "RELOAD", "pgbouncer")
    await ask(tmp_path, port, "SELECT 1")

    assert "login attempt: db=app" in (tmp_path / "log").read_text()


async def test_the_service_manager_is_told_of_start_reload_and_end(
    serve: Serve, ini: Path, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        told: list[str] = []

        def hears(word: str) -> bool:
            try:
                told.append(manager.recv(100).decode())
            except BlockingIOError:
                return False
            return told[-1].startswith(word)

        address = str(tmp_path / "notify")
        serving = await serve(ini, prepare=lambda: os.environ.update(NOTIFY_SOCKET=address))
        await eventually(lambda: hears("READY=1"))
        serving.send_signal(signal.SIGHUP)
        await eventually(lambda: hears("RELOADING=1"))
        await eventually(lambda: hears("READY=1"))
        serving.send_signal(signal.SIGTERM)
        await eventually(lambda: hears("STOPPING=1"))


# --- the replacement ---


async def test_reboot_takes_port_and_socket_over_and_the_old_process_drains(
    serve: Serve, ini: Path, tmp_path: Path, port: int, connect: Connect
) -> None:
    old = await serve(ini)
    client = await connect(old)
    await client.query("BEGIN")

    new = await serve("--reboot", ini)

    assert await (await connect(new)).query("SELECT 1") == SELECT_1
    assert await client.query("COMMIT") == ["C COMMIT", "Z I"]
    assert old.is_running
    await client.close()
    assert await old.exit_code() == 0
    # What is left of it took nothing from the new one.
    assert (tmp_path / "pid").read_text() == f"{new.pid}\n"
    assert await ask(tmp_path, port, "SELECT 1") == 1


async def test_reboot_without_an_old_process_is_a_start(serve: Serve, ini: Path) -> None:
    serving = await serve("-R", ini)

    assert "old process not found, try to continue normally" in serving.log


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        ("", "cannot reboot if unix dir not configured"),
        ("@pool", "cannot reboot with abstract Unix socket"),
    ],
)
def test_reboot_needs_a_unix_socket(ini: Path, folder: str, sentence: str) -> None:
    answer = run("serve", *AS_IS, "-q", "-R", ini, "--set", f"unix_socket_dir={folder}")

    assert answer.returncode == 1
    assert sentence in answer.stderr
