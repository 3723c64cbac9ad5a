"""What is measured: PostgreSQL itself, PgBouncer before it, and pgpool_lite before it.

Each target is a context that yields a running `Target` and leaves no process behind, or raises
LeftOut with the reason when it cannot run here. Both poolers get the same pool size, the same
client limit, the same door for their clients and no lines about them, so that only the relaying
differs.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from bench.builds import ROOT, Build
from bench.doors import Door
from bench.errors import LeftOut
from bench.postgres import Database
from bench.processes import Child, running

HOST = "127.0.0.1"
START_TIMEOUT_S = 15.0

# PgBouncer refuses to run as root; these users exist where it is installed, and nearly everywhere.
UNPRIVILEGED_USERS = ("postgres", "nobody")

# The first PgBouncer that keeps named prepared statements; older ones do not know the setting.
PREPARED_STATEMENTS_SINCE = (1, 21)


# What neither pooler writes: lines about every connection cost more than the connection.
QUIET = ("log_connections", "log_disconnections", "log_stats")


@dataclass(frozen=True, slots=True)
class Target:
    """One row of the tables: where to connect, and the process whose CPU counts."""

    name: str
    version: str
    command: str
    database: Database
    child: Child | None
    # Resident memory in KB when nobody had connected yet; None without a pooler.
    at_rest_kb: int | None = None
    # Whether clients can outnumber the connections to PostgreSQL.
    is_pooler: bool = True
    door: Door = Door.OPEN

    def cpu_s(self) -> float | None:
        """Return the pooler's CPU seconds so far; None without a pooler or where unreadable."""
        return None if self.child is None else self.child.cpu_s()

    def resident_kb(self) -> int | None:
        """Return the pooler's resident memory now, in KB; None where there is nothing to read."""
        return None if self.child is None else self.child.resident_kb()


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """What both poolers are told alike."""

    pool_size: int
    max_client_conn: int
    door: Door = Door.OPEN
    # What pgpool_lite does about session state; "" as by default, and PgBouncer has no such thing.
    session_leaks: str = ""


@contextmanager
def direct(database: Database, server_version: str) -> Iterator[Target]:
    """Yield PostgreSQL without a pooler."""
    yield Target("direct", server_version, "", database, None, is_pooler=False)


@contextmanager
def floor(database: Database) -> Iterator[Target]:
    """Run a loop that only forwards before the database: the least that a relay can cost."""
    port = find_free_port()
    command = [sys.executable, "-m", "bench.floor", str(port), database.host, str(database.port)]
    shown = "python -m bench.floor"
    with (
        tempfile.TemporaryDirectory() as folder,
        running(command, log=Path(folder, "log"), directory=ROOT) as child,
    ):
        forwarded = database.at(HOST, port)
        target = Target("floor", "(no pooling)", shown, forwarded, child, is_pooler=False)
        yield _await_listening(target, child)


@contextmanager
def pgpool_lite(
    database: Database, settings: PoolSettings, build: Build, workers: int = 1
) -> Iterator[Target]:
    """Run a build of this project before the database, as so many processes."""
    port = find_free_port()
    with tempfile.TemporaryDirectory() as folder:
        door = settings.door.build(Path(folder))
        told = serve_arguments(database, settings, port, door, workers)
        command = [*build.command(), *told]
        name = build.name if workers == 1 else f"{build.name} x{workers}"
        log = Path(folder, "pgpool_lite.log")
        with running(command, log=log, directory=build.folder) as child:
            pooled = settings.door.enter(database.at(HOST, port))
            shown = " ".join(command).replace(database.url(), "postgresql://...")
            if settings.session_leaks:
                name += f", session_leaks = {settings.session_leaks}"
            target = Target(name, build.version(), shown, pooled, child, door=settings.door)
            yield _await_listening(target, child)


def serve_arguments(
    database: Database,
    settings: PoolSettings,
    port: int,
    door: Mapping[str, str],
    workers: int = 1,
) -> list[str]:
    """Return what pgpool_lite is told: PgBouncer's settings, said in its own way.

    Several workers share out what they are allowed, but the kernel does not deal clients evenly:
    each of them may have all.
    """
    leaks = settings.session_leaks
    return [
        *("serve", "--to", database.url(), "--listen", f"{HOST}:{port}"),
        *("--pool-size", str(settings.pool_size)),
        *("--set", f"max_client_conn={settings.max_client_conn * workers}"),
        *(("--workers", str(workers)) if workers > 1 else ()),
        *(word for name in QUIET for word in ("--set", f"{name}=0")),
        *(word for name, value in door.items() for word in ("--set", f"{name}={value}")),
        *(("--set", f"session_leaks={leaks}") if leaks else ()),
    ]


@contextmanager
def pgbouncer(database: Database, settings: PoolSettings, program: str | None) -> Iterator[Target]:
    """Run the real PgBouncer before the database; raise LeftOut where there is none."""
    path = find_pgbouncer(program)
    if path is None:
        raise LeftOut("pgbouncer is not found: name it with --pgbouncer PATH")
    number = pgbouncer_version(path)
    port = find_free_port()
    run_as = choose_user() if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory() as folder:
        ini = Path(folder, "pgbouncer.ini")
        lines = pgbouncer_settings(settings, port, number, settings.door.build(Path(folder)))
        text = ["[databases]", database_line(database), "[pgbouncer]", *lines, ""]
        ini.write_text("\n".join(text), encoding="utf-8")
        _hand_over(Path(folder), run_as)
        with running([path, str(ini)], log=Path(folder, "log"), run_as=run_as) as child:
            shown = f"{path} pgbouncer.ini  # {'; '.join(lines)}"
            pooled = settings.door.enter(database.at(HOST, port))
            target = Target("pgbouncer", number, shown, pooled, child, door=settings.door)
            yield _await_listening(target, child)


def pgbouncer_settings(
    settings: PoolSettings, port: int, number: str, door: Mapping[str, str]
) -> list[str]:
    """Return PgBouncer's settings: transaction mode, quiet, nobody asked unless the door asks."""
    lines = [
        f"listen_addr = {HOST}",
        f"listen_port = {port}",
        "unix_socket_dir =",
        "pool_mode = transaction",
        f"default_pool_size = {settings.pool_size}",
        f"max_client_conn = {settings.max_client_conn}",
        *(f"{name} = 0" for name in QUIET),
        *(f"{name} = {value}" for name, value in {"auth_type": "any", **door}.items()),
    ]
    if _as_numbers(number) >= PREPARED_STATEMENTS_SINCE:
        lines.append("max_prepared_statements = 200")
    return lines


def database_line(database: Database) -> str:
    """Return the line of PgBouncer's ini file that says where PostgreSQL is.

    With auth_type=any its user and password serve every client. Its name is `*` because only that
    one needs no quoting, whatever it stands for; an empty password is left out because PgBouncer
    takes it for a syntax error.
    """
    password = f" password={_quote(database.password)}" if database.password else ""
    return (
        f"* = host={_quote(database.host)} port={database.port} dbname={_quote(database.name)}"
        f" user={_quote(database.user)}{password}"
    )


def find_pgbouncer(program: str | None) -> str | None:
    """Return where PgBouncer is: as told, on the PATH, or where Debian puts it."""
    if program is not None:
        return shutil.which(program)
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")


def pgbouncer_version(path: str) -> str:
    """Ask PgBouncer for its version number; "unknown" when it does not say."""
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"PgBouncer (\d+\.\d+\S*)", done.stdout)
    return found[1] if found else "unknown"


def find_free_port() -> int:
    """Return a TCP port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    assert isinstance(port, int)
    return port


def choose_user() -> str:
    """Return the first unprivileged user that exists on this machine."""
    for name in UNPRIVILEGED_USERS:
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise LeftOut("pgbouncer refuses to run as root, and there is no user to run it as")


def _hand_over(folder: Path, run_as: str | None) -> None:
    """Let the unprivileged user read the settings, which may hold a password, and nobody else."""
    for path in folder.iterdir():
        path.chmod(0o600)
    if run_as is not None:
        user = pwd.getpwnam(run_as)
        for path in (folder, *folder.iterdir()):
            os.chown(path, user.pw_uid, user.pw_gid)


def _await_listening(target: Target, child: Child) -> Target:
    """Return the target once its port accepts, with the memory it takes then.

    Raises LeftOut when it ends or takes too long.
    """
    address = (target.database.host, target.database.port)
    deadline = time.monotonic() + START_TIMEOUT_S
    while child.is_running and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(address, timeout=1.0):
            return replace(target, at_rest_kb=child.resident_kb())
        time.sleep(0.02)
    raise LeftOut(f"{target.name} does not start: {child.last_words()}")


def _quote(text: str) -> str:
    """Quote a value of PgBouncer's ini file."""
    return "'" + text.replace("'", "''") + "'"


def _as_numbers(number: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", number))
