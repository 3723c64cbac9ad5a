"""What does a Cluster do around PostgreSQL's programs? Shell scripts stand in for those."""

from __future__ import annotations

import tempfile
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from pgpool_lite.dev import cluster as cluster_module
from pgpool_lite.dev.account import Account
from pgpool_lite.dev.binaries import Binaries
from pgpool_lite.dev.cluster import Cluster
from pgpool_lite.errors import ConfigError, ServerError

# initdb and pg_ctl without a server: `up` in the data folder stands for a running one, and the
# calls are written to `calls` beside the programs.
INITDB = """
echo "initdb $*" >> "${0%/*}/calls"
for option; do case $option in --pgdata=*) mkdir -p "${option#*=}";; esac; done
"""
PG_CTL = """
echo "pg_ctl $*" >> "${0%/*}/calls"
for option; do
    case $option in --pgdata=*) data=${option#*=};; --log=*) log=${option#*=};; esac
done
case $1 in
start)
    if [ -e "${0%/*}/failure" ]; then
        mv "${0%/*}/failure" "$log"
        echo "pg_ctl: could not start server"
        exit 1
    fi
    : > "$data/up" ;;
stop)
    if [ -e "${0%/*}/stubborn" ]; then case "$*" in *--mode=fast*) exit 1;; esac; fi
    rm "$data/up" 2> /dev/null ;;
status)
    [ -e "$data/up" ] || exit 3 ;;
esac
"""


class Programs:
    """The stand-ins, and what they were called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.write("initdb", INITDB)
        self.write("pg_ctl", PG_CTL)
        self.binaries = Binaries(folder, "18.4", "system")

    def write(self, name: str, body: str) -> None:
        (self.folder / name).write_text(f"#!/bin/sh\n{body}")
        (self.folder / name).chmod(0o755)

    def fail_once(self, log: str) -> None:
        """Let the next start fail with this in the server's log."""
        (self.folder / "failure").write_text(log)

    def linger(self) -> None:
        """Let a fast shutdown fail."""
        (self.folder / "stubborn").touch()

    def calls(self, program: str) -> list[str]:
        lines = (self.folder / "calls").read_text().splitlines()
        return [line for line in lines if line.startswith(program)]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that clusters make their own folders in."""
    folder = tmp_path / "t"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(cluster_module, "LONGEST_TEMPORARY_FOLDER", 1000)
    return folder


@pytest.fixture
def programs(tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    monkeypatch.setattr(cluster_module, "choose_account", lambda _: Account("ourselves"))
    return Programs(tmp_path / "bin")


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A data folder that holds a cluster of PostgreSQL 18."""
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "PG_VERSION").write_text("18\n")
    return folder


def test_dsn_names_user_database_and_password(programs: Programs) -> None:
    cluster = Cluster(programs.binaries)

    assert cluster.dsn() == "postgresql://postgres@127.0.0.1:0/postgres"
    assert cluster.dsn("alice", "app", "p@ss/word") == (
        "postgresql://alice:p%40ss%2Fword@127.0.0.1:0/app"
    )


def test_before_the_start_the_log_is_empty(programs: Programs) -> None:
    assert Cluster(programs.binaries).log_text() == ""


def test_stop_without_start_does_nothing(programs: Programs) -> None:
    Cluster(programs.binaries).stop()

    assert not (programs.folder / "calls").exists()


def test_without_programs_those_of_the_machine_are_looked_for(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "find_binaries", lambda: programs.binaries)

    assert Cluster().binaries is programs.binaries


def test_a_throw_away_cluster_is_made_without_care_and_leaves_nothing(
    programs: Programs, temporary: Path
) -> None:
    with Cluster(programs.binaries) as cluster:
        assert cluster.data.parent == cluster.socket_dir
        assert list(temporary.iterdir()) == [cluster.socket_dir]

    (initdb,) = programs.calls("initdb")
    start, stop = programs.calls("pg_ctl")
    assert "--no-sync" in initdb
    assert "--fsync=off --synchronous_commit=off --full_page_writes=off" in start
    assert "--mode=fast" in stop
    assert list(temporary.iterdir()) == []


def test_settings_and_hba_lines_come_before_our_own(programs: Programs) -> None:
    chosen = {"fsync": "on", "application_name": "it's"}
    hba = ["host all alice 127.0.0.1/32 scram-sha-256"]

    with Cluster(programs.binaries, max_connections=7, settings=chosen, hba=hba) as cluster:
        rules = (cluster.socket_dir / "hba.conf").read_text().splitlines()

    (start, _) = programs.calls("pg_ctl")
    assert "--max_connections=7" in start
    assert "--fsync=on" in start
    assert "--fsync=off" not in start
    assert """'--application_name=it'"'"'s'""" in start
    assert rules[:2] == [hba[0], "local all all trust"]


def test_a_kept_data_folder_is_made_with_care_and_stays(
    programs: Programs, tmp_path: Path, temporary: Path
) -> None:
    data = tmp_path / "new" / "data"

    with Cluster(programs.binaries, data=data) as cluster:
        assert cluster.data == data

    (initdb,) = programs.calls("initdb")
    assert "--no-sync" not in initdb
    assert "--fsync" not in programs.calls("pg_ctl")[0]
    assert data.is_dir()
    assert list(temporary.iterdir()) == []


def test_a_kept_data_folder_that_holds_a_cluster_is_used_again(
    programs: Programs, kept: Path
) -> None:
    with Cluster(programs.binaries, data=kept):
        assert programs.calls("initdb") == []


def test_a_kept_data_folder_of_another_version_is_refused(programs: Programs, kept: Path) -> None:
    (kept / "PG_VERSION").write_text("16\n")

    with pytest.raises(ConfigError, match=r"holds a cluster of PostgreSQL 16, .* PostgreSQL 18\.4"):
        Cluster(programs.binaries, data=kept).start()


def test_a_kept_data_folder_in_use_is_refused_and_its_server_left_alone(
    programs: Programs, kept: Path, temporary: Path
) -> None:
    (kept / "up").touch()
    (kept / "postmaster.pid").write_text("4711\n/somewhere\n")

    with pytest.raises(ConfigError, match=r"in use by a running PostgreSQL \(process 4711\)"):
        Cluster(programs.binaries, data=kept).start()

    assert (kept / "up").exists()
    assert list(temporary.iterdir()) == []


def test_a_folder_of_other_things_is_refused(programs: Programs, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not empty and holds no PostgreSQL cluster"):
        Cluster(programs.binaries, data=tmp_path).start()


def test_a_file_in_place_of_the_folder_is_refused(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match="file is not a folder"):
        Cluster(programs.binaries, data=tmp_path / "file").start()


def test_a_failing_initdb_is_shown_in_its_own_words(programs: Programs, temporary: Path) -> None:
    programs.write("initdb", "echo 'initdb: error: disk full' >&2; exit 1")

    with pytest.raises(ServerError, match=r"initdb made no cluster \(.*\):\ninitdb: error: disk"):
        Cluster(programs.binaries).start()

    assert list(temporary.iterdir()) == []


def test_a_failing_start_is_shown_with_the_log(programs: Programs, temporary: Path) -> None:
    programs.fail_once("FATAL:  could not map shared memory\n")

    with pytest.raises(ServerError) as caught:
        Cluster(programs.binaries).start()

    assert caught.value.message == (
        f"PostgreSQL did not start ({programs.folder}):\n"
        "pg_ctl: could not start server\nFATAL:  could not map shared memory"
    )
    assert list(temporary.iterdir()) == []


def test_a_failure_as_another_user_names_that_user(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Account, "own", lambda *_: None)
    monkeypatch.setattr(Account, "run", lambda *_: CompletedProcess([], 1, "oops"))
    monkeypatch.setattr(cluster_module, "bring_within_reach", lambda found, *_: found)
    monkeypatch.setattr(cluster_module, "choose_account", lambda _: Account("lent", 4711, 4711))

    with pytest.raises(ServerError, match="as user lent"):
        Cluster(programs.binaries).start()


def test_a_port_that_is_taken_meanwhile_is_replaced(programs: Programs) -> None:
    programs.fail_once("FATAL:  could not create any TCP/IP sockets\n")

    with Cluster(programs.binaries) as cluster:
        first, second, *_ = programs.calls("pg_ctl start")

    assert f"--port={cluster.port} " not in first
    assert f"--port={cluster.port} " in second


def test_when_every_port_is_taken_it_gives_up(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "PORT_ATTEMPTS", 1)
    programs.fail_once("FATAL:  could not create any TCP/IP sockets\n")

    with pytest.raises(ServerError, match="any TCP/IP sockets"):
        Cluster(programs.binaries).start()


def test_a_server_that_lingers_is_stopped_by_force(programs: Programs) -> None:
    programs.linger()

    with Cluster(programs.binaries):
        pass

    assert "--mode=immediate" in programs.calls("pg_ctl")[-1]


def test_a_restart_keeps_port_and_data(programs: Programs) -> None:
    with Cluster(programs.binaries) as cluster:
        cluster.restart("immediate")

    start, stop, again, _ = programs.calls("pg_ctl")
    assert "--mode=immediate" in stop
    assert again == start


def test_an_exception_inside_the_block_stops_the_server_too(
    programs: Programs, temporary: Path
) -> None:
    with pytest.raises(KeyboardInterrupt), Cluster(programs.binaries):
        raise KeyboardInterrupt

    assert list(temporary.iterdir()) == []


def test_a_temporary_folder_too_deep_for_a_socket_is_not_used(
    programs: Programs, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "LONGEST_TEMPORARY_FOLDER", 3)

    with Cluster(programs.binaries) as cluster:
        assert cluster.socket_dir.parent == Path("/tmp")
