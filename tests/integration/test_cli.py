"""The command line: arguments, configuration files, and what it says when something is wrong."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path

import psycopg
import pytest

from pgpool_lite.console.tables import VERSION_TEXT
from pgpool_lite.dev.cluster import Cluster
from tests.integration.conftest import Connect
from tests.integration.serving import (
    ANYWHERE,
    Serve,
    Serving,
    run,
    write_ini,
)
from tests.wire_client import SELECT_1, eventually

# The first line that `write_ini` adds for a test.
FIRST_LINE = 11
ROLES = ["alice", "bob", "carol"]

# 2026-11-21 20:15:02.031 UTC [4711] LOG C-0x2a: app/alice@127.0.0.1:50508 login attempt: ...
LOG_LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC \[(?P<pid>\d+)\] (?P<level>[A-Z]+) (?P<text>.+)"
)
CLIENT_LINE = re.compile(r"C-0x[0-9a-f]+: app/postgres@127\.0\.0\.1:\d+ ")
SERVER_LINE = re.compile(r"S-0x[0-9a-f]+: app/postgres@127\.0\.0\.1:\d+ ")


def sockets_in(folder: Path) -> list[str]:
    """Return the names of the Unix sockets there."""
    return [path.name for path in folder.iterdir() if path.is_socket()]


async def ask(url: str, sql: str) -> object:
    """Return the first value that a driver is answered."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        row = await (await connection.execute(sql.encode())).fetchone()
        return row and row[0]


async def setting(serving: Serving, connect: Connect, key: str) -> str:
    """Return what SHOW CONFIG says of a setting."""
    async with await connect(serving, database="pgbouncer") as console:
        (row,) = [row for row in await console.query("SHOW CONFIG") if row.startswith(f"D {key}|")]
    return row.split("|")[1]


# --- without a pooler ---


def test_help_names_the_commands_and_shows_examples() -> None:
    answer = run("--help")

    assert (answer.returncode, answer.stderr) == (0, "")
    assert re.findall(r"^ +(pgpool-lite \w+)", answer.stdout, re.MULTILINE) == [
        "pgpool-lite dev",
        "pgpool-lite serve",
        "pgpool-lite serve",
        "pgpool-lite check",
        "pgpool-lite show",
        "pgpool-lite lint",
        "pgpool-lite doctor",
    ]


@pytest.mark.parametrize("arguments", [["serv"], ["serve", "--pool-size", "many"]])
def test_wrong_arguments_are_answered_by_the_usage(arguments: list[str]) -> None:
    answer = run(*arguments)

    assert answer.returncode == 2
    assert answer.stderr.startswith("usage: ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "name a configuration file, or a server with --to (and not both)"),
        (["--to", "postgresql://h", "--listen", "6543"], "--listen wants HOST:PORT, not '6543'"),
        (
            ["--to", "postgresql://h", "--set", "pool_mod=session"],
            "pool_mod: unknown setting; did you mean pool_mode?",
        ),
        (["nowhere.ini"], "nowhere.ini: cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(arguments: list[str], sentence: str) -> None:
    answer = run("serve", *arguments)

    assert answer.returncode == 1
    assert answer.stderr.startswith(f"pgpool-lite: {sentence}"), answer.stderr
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("default_pool_size = many", "default_pool_size: "),
        ("nonsense", "expected 'key = value', '[section]', '%include file' or a comment"),
    ],
)
def test_a_bad_configuration_is_said_with_file_line_and_key(
    tmp_path: Path, postgres: Cluster, line: str, sentence: str
) -> None:
    ini = write_ini(tmp_path, postgres, line)

    answer = run("serve", ini)

    assert answer.returncode == 1
    assert answer.stderr.startswith(f"pgpool-lite: {ini}:{FIRST_LINE}: {sentence}"), answer.stderr
    assert answer.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        answer = run("serve", "--to", "postgresql://postgres@127.0.0.1/app", "--listen", listen)

    assert answer.returncode == 1
    assert answer.stderr.startswith(f"pgpool-lite: cannot listen on {listen}: ")
    assert answer.stderr.lower().endswith("address already in use\n")
    assert answer.stderr.count("\n") == 1


# --- serving ---


async def test_serve_to_a_url(serve: Serve, postgres: Cluster) -> None:
    serving = await serve("--to", postgres.dsn(dbname="app"), "--listen", ANYWHERE)

    assert await ask(serving.url(), "SELECT current_database()") == "app"
    assert await ask(serving.url("postgres"), "SELECT current_database()") == "postgres"


async def test_arguments_become_settings(serve: Serve, postgres: Cluster, connect: Connect) -> None:
    more = ("--pool-size", "7", "--pool-mode", "session", "--set", "query_timeout=45")
    serving = await serve("--to", postgres.dsn(dbname="app"), "--listen", ANYWHERE, *more)

    keys = ("default_pool_size", "pool_mode", "query_timeout")
    values = [await setting(serving, connect, key) for key in keys]
    assert values == ["7", "session", "45"]


async def test_the_version_is_the_one_that_the_console_shows(
    serve: Serve, postgres: Cluster, connect: Connect
) -> None:
    serving = await serve("--to", postgres.dsn(dbname="app"), "--listen", ANYWHERE)
    console = await connect(serving, database="pgbouncer")

    assert run("--version").stdout == f"{await console.value('SHOW VERSION')}\n"


@pytest.mark.parametrize("auth_type", ["md5", "scram-sha-256", "plain"])
async def test_serve_a_file_with_passwords_in_userlist_txt(
    serve: Serve, tmp_path: Path, postgres: Cluster, auth_type: str
) -> None:
    passwords = {role: f"{role}-secret" for role in ROLES}
    ini = write_ini(tmp_path, postgres, f"auth_type = {auth_type}", **passwords)
    serving = await serve(ini)

    urls = [serving.url(user=f"{role}:{role}-secret") for role in ROLES]
    assert [await ask(url, "SELECT current_user") for url in urls] == ROLES
    for stranger in ("alice:wrong", "bob:alice-secret", "nobody:alice-secret"):
        with pytest.raises(psycopg.OperationalError, match=r"(password|SASL) authentication fail"):
            await ask(serving.url(user=stranger), "SELECT 1")


@pytest.mark.parametrize(("auth_type", "user"), [("md5", "bob"), ("scram-sha-256", "alice")])
async def test_serve_a_file_with_postgresqls_own_secrets_in_userlist_txt(
    serve: Serve, tmp_path: Path, postgres: Cluster, auth_type: str, user: str
) -> None:
    sql = f"SELECT rolpassword FROM pg_authid WHERE rolname = '{user}'"
    secrets = {user: str(await ask(postgres.dsn(), sql))}
    serving = await serve(write_ini(tmp_path, postgres, f"auth_type = {auth_type}", **secrets))

    assert await ask(serving.url(user=f"{user}:{user}-secret"), "SELECT current_user") == user


async def test_serve_a_file_through_a_unix_socket(
    serve: Serve, tmp_path: Path, postgres: Cluster
) -> None:
    serving = await serve(write_ini(tmp_path, postgres, f"unix_socket_dir = {tmp_path}"))

    url = f"postgresql://postgres@/app?host={tmp_path}&port={serving.port}"
    assert sockets_in(tmp_path) == [f".s.PGSQL.{serving.port}"]
    assert await ask(url, "SELECT 1") == 1
    console = f"postgresql://pgbouncer@/pgbouncer?host={tmp_path}&port={serving.port}"
    assert await ask(console, "SHOW VERSION") == VERSION_TEXT
    serving.send_signal(signal.SIGQUIT)
    assert await serving.exit_code() == 0
    assert sockets_in(tmp_path) == []


async def test_the_log_is_written_as_pgbouncer_writes_it(
    serve: Serve, tmp_path: Path, postgres: Cluster
) -> None:
    log = tmp_path / "pooler.log"
    serving = await serve(write_ini(tmp_path, postgres, f"logfile = {log}"))

    await ask(serving.url(), "SELECT 1")
    await eventually(lambda: "closing because: client close request" in log.read_text())
    lines = [LOG_LINE.fullmatch(line) for line in log.read_text().splitlines()]
    assert log.read_text() == serving.log
    assert {line and line["pid"] for line in lines} == {str(serving.pid)}
    assert {line and line["level"] for line in lines} == {"LOG"}
    texts = [line["text"] for line in lines if line]
    beginnings = (CLIENT_LINE, SERVER_LINE)
    client, server = ([text for text in texts if each.match(text)] for each in beginnings)
    assert client[0].endswith("login attempt: db=app user=postgres tls=no replication=no")
    assert client[-1].endswith("closing because: client close request (age=0s)")
    assert "new connection to server (from 127.0.0.1:" in server[0]


async def test_a_key_that_nobody_knows_is_warned_of_by_its_nearest_name(
    serve: Serve, tmp_path: Path, postgres: Cluster
) -> None:
    ini = write_ini(tmp_path, postgres, "defalt_pool_size = 3")

    serving = await serve(ini)

    warnings = [line for line in serving.log.splitlines() if " WARNING " in line]
    sentence = "unknown setting; did you mean default_pool_size?; ignored"
    assert [line.split(" WARNING ")[1] for line in warnings] == [
        f"{ini}:{FIRST_LINE}: defalt_pool_size: {sentence}"
    ]


async def test_a_quiet_pooler_logs_to_its_file_only(tmp_path: Path, postgres: Cluster) -> None:
    log = tmp_path / "pooler.log"
    ini = write_ini(tmp_path, postgres, f"logfile = {log}")

    serving = await Serving.start((ini, "--quiet"), tmp_path / "stderr")
    await eventually(lambda: log.exists() and "process up" in log.read_text())
    serving.send_signal(signal.SIGTERM)

    assert (await serving.exit_code(), serving.log) == (0, "")


# --- reloading ---


async def test_sighup_reloads_the_file(
    serve: Serve, tmp_path: Path, postgres: Cluster, connect: Connect
) -> None:
    serving = await serve(write_ini(tmp_path, postgres))
    client = await connect(serving)
    write_ini(tmp_path, postgres, "default_pool_size = 3")

    serving.send_signal(signal.SIGHUP)
    await serving.says("got SIGHUP, re-reading config")

    assert await setting(serving, connect, "default_pool_size") == "3"
    assert await client.query("SELECT 1") == SELECT_1


async def test_a_broken_file_changes_nothing_at_sighup(
    serve: Serve, tmp_path: Path, postgres: Cluster, connect: Connect
) -> None:
    serving = await serve(write_ini(tmp_path, postgres))
    client = await connect(serving)
    broken = write_ini(tmp_path, postgres, "query_timeout = 9", "nonsense")

    serving.send_signal(signal.SIGHUP)
    await serving.says("the old configuration stays in force")

    assert f" ERROR {broken}:{FIRST_LINE + 1}: " in serving.log
    assert await setting(serving, connect, "query_timeout") == "0"
    assert await client.query("SELECT 1") == SELECT_1
    assert await (await connect(serving)).query("SELECT 1") == SELECT_1
