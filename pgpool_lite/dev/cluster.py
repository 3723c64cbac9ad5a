"""One PostgreSQL server of our own: initdb, start, stop, and nothing left behind.

Made by the command and by the test fixture, used as a context manager. It listens on 127.0.0.1 at
a free port and on a Unix socket. Everything here blocks: asynchronous code runs it in a thread.
What it must not know: poolers, terminals, tests.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from subprocess import CompletedProcess
from types import TracebackType
from typing import Literal
from urllib.parse import quote

from pgpool_lite.dev.account import Account, bring_within_reach, choose_account
from pgpool_lite.dev.binaries import Binaries, find_binaries, server_locale
from pgpool_lite.dev.guard import guard
from pgpool_lite.errors import ConfigError, ServerError

ShutdownMode = Literal["smart", "fast", "immediate"]

SUPERUSER = "postgres"

# The path of a Unix socket ends at 103 bytes on macOS and 107 on Linux; ".s.PGSQL.65535" takes 15
# with its slash, "pgpool-lite-" and the random part 21.
LONGEST_TEMPORARY_FOLDER = 103 - 15 - 21

# A fast shutdown only has to end sessions and write a checkpoint.
STOP_TIMEOUT_S = 20

# Between choosing a free port and listening on it another process can take it.
PORT_ATTEMPTS = 5
PORT_TAKEN = "could not create any TCP/IP sockets"

# Data that nobody keeps need not survive a crash of the machine.
THROW_AWAY_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}

TRUST_LOOPBACK = (
    "local all all trust",
    "host all all 127.0.0.1/32 trust",
    "local replication all trust",
    "host replication all 127.0.0.1/32 trust",
)


class Cluster:
    """A PostgreSQL server that lives from `start` to `stop`, or for the length of a `with`.

    Owned by whoever made it. A stopped cluster can be started again: a throw-away one is then a
    new and empty one, one with `data` continues.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        binaries: Binaries | None = None,
        *,
        data: Path | None = None,
        max_connections: int = 100,
        settings: Mapping[str, str] | None = None,
        hba: Sequence[str] = (),
    ) -> None:
        """Keep the choices; nothing is started. Raises ConfigError if no programs are found.

        Without `data` the data is thrown away at the end. `settings` are postgresql.conf's, by
        name, and win over our own. `hba` lines come before the one that trusts the loopback.
        """
        # As given; fixed.
        self.kept_data = data.absolute() if data is not None else None
        self._found = binaries or find_binaries()
        self._settings = {"max_connections": str(max_connections), **(settings or {})}
        self._hba = tuple(hba)
        # Set by each start.
        self.port = 0
        self._account = Account("")
        self._folder = Path()
        # What runs the server: the programs found, or a copy of them within the account's reach.
        self.binaries = self._found
        # What stop has to undo, latest first; empty while not running.
        self._undo = ExitStack()

    def __enter__(self) -> Cluster:
        """Start the server."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the server and remove what was made."""
        self.stop()

    @property
    def socket_dir(self) -> Path:
        """The folder of the Unix socket; it is also where the log and throw-away data are."""
        return self._folder

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.kept_data or self._folder / "data"

    def dsn(
        self, user: str = SUPERUSER, dbname: str = "postgres", password: str | None = None
    ) -> str:
        """Return a postgresql:// URL of the server's TCP port."""
        secret = "" if password is None else f":{quote(password, safe='')}"
        return (
            f"postgresql://{quote(user, safe='')}{secret}@{self.host}:{self.port}"
            f"/{quote(dbname, safe='')}"
        )

    def log_text(self) -> str:
        """Return what the server has logged since it started."""
        log = self._folder / "log"
        return log.read_text(errors="replace") if log.exists() else ""

    def start(self) -> None:
        """Make the data folder if need be, start the server, and return when it takes clients.

        Raises ConfigError for a data folder that cannot be used, ServerError with the log for a
        server that does not start; then nothing is left behind.
        """
        with ExitStack() as undo:
            self._account = choose_account(self.kept_data)
            self._folder = self._make_folder()
            undo.callback(shutil.rmtree, self._folder)
            undo.enter_context(guard(self.data, self._folder))
            self.binaries = bring_within_reach(self._found, self._account, self._folder)
            self._prepare_data()
            self._write_hba()
            # First the way back: a Ctrl-C may come between pg_ctl's start and its answer.
            undo.callback(self._stop_server, "fast")
            self._start_server()
            self._undo = undo.pop_all()

    def stop(self) -> None:
        """Shut the server down, by force if it lingers, and remove everything but kept data."""
        self._undo.close()

    def restart(self, mode: ShutdownMode = "fast") -> None:
        """Shut the server down in this mode and start it again: same port, same data."""
        self._stop_server(mode)
        self._run_server()

    def _make_folder(self) -> Path:
        parent = tempfile.gettempdir()
        if len(os.fsencode(parent)) > LONGEST_TEMPORARY_FOLDER or self._account.uid is not None:
            # Too deep for a Unix socket, or perhaps in root's own home.
            parent = "/tmp"
        folder = Path(tempfile.mkdtemp(prefix="pgpool-lite-", dir=parent))
        self._account.own(folder)
        return folder

    def _prepare_data(self) -> None:
        if self.kept_data is None:
            self._initdb("--no-sync")
        elif (self.kept_data / "PG_VERSION").exists():
            self._check_reusable(self.kept_data)
        else:
            self._make_kept_data(self.kept_data)

    def _make_kept_data(self, data: Path) -> None:
        if data.exists() and not data.is_dir():
            raise ConfigError(f"{data} is not a folder: PostgreSQL cannot keep its data there")
        if data.exists() and any(data.iterdir()):
            raise ConfigError(
                f"{data} is not empty and holds no PostgreSQL cluster: choose another folder"
            )
        data.mkdir(parents=True, exist_ok=True)
        self._account.own(data)
        self._initdb()

    def _check_reusable(self, data: Path) -> None:
        major = (data / "PG_VERSION").read_text().strip()
        if major != str(self.binaries.major):
            raise ConfigError(
                f"{data} holds a cluster of PostgreSQL {major}, and the programs found are of "
                f"PostgreSQL {self.binaries.version}: choose another folder or other programs"
            )
        status = self._pg_ctl("status")
        if status.returncode == 0:
            pid = (data / "postmaster.pid").read_text().split()[0]
            raise ConfigError(
                f"{data} is in use by a running PostgreSQL (process {pid}): stop that one first"
            )

    def _initdb(self, *options: str) -> None:
        answer = self._account.run(
            [
                self.binaries.program("initdb"),
                f"--pgdata={self.data}",
                f"--username={SUPERUSER}",
                "--auth=trust",
                "--encoding=UTF8",
                f"--locale={server_locale()}",
                *options,
            ],
            self._folder,
        )
        if answer.returncode != 0:
            raise ServerError(self._failure("initdb made no cluster", answer.stdout))

    def _write_hba(self) -> None:
        # In our folder: a kept data folder keeps its own pg_hba.conf untouched.
        hba = self._folder / "hba.conf"
        hba.write_text("\n".join([*self._hba, *TRUST_LOOPBACK, ""]))
        self._account.own(hba)

    def _start_server(self) -> None:
        attempts_left = PORT_ATTEMPTS
        while True:
            attempts_left -= 1
            self.port = _find_free_port(self.host)
            try:
                self._run_server()
                return
            except ServerError as error:
                if PORT_TAKEN not in error.message or attempts_left == 0:
                    raise

    def _run_server(self) -> None:
        answer = self._pg_ctl(
            "start", "--wait", f"--log={self._folder / 'log'}", f"--options={self._options()}"
        )
        if answer.returncode != 0:
            raise ServerError(
                self._failure("PostgreSQL did not start", answer.stdout, self.log_text())
            )

    def _options(self) -> str:
        """Return the server's options as one string for the shell that pg_ctl starts it with."""
        settings = {
            "listen_addresses": self.host,
            "port": str(self.port),
            "unix_socket_directories": str(self._folder),
            "hba_file": str(self._folder / "hba.conf"),
            "logging_collector": "off",
            "log_destination": "stderr",
            **({} if self.kept_data else THROW_AWAY_SETTINGS),
            **self._settings,
        }
        return " ".join(shlex.quote(f"--{name}={value}") for name, value in settings.items())

    def _stop_server(self, mode: ShutdownMode) -> None:
        answer = self._pg_ctl("stop", "--wait", f"--mode={mode}", f"--timeout={STOP_TIMEOUT_S}")
        if answer.returncode != 0 and self._pg_ctl("status").returncode == 0:
            self._pg_ctl("stop", "--wait", "--mode=immediate")

    def _pg_ctl(self, action: str, *options: str) -> CompletedProcess[str]:
        return self._account.run(
            [self.binaries.program("pg_ctl"), action, f"--pgdata={self.data}", *options],
            self._folder,
        )

    def _failure(self, sentence: str, *outputs: str) -> str:
        said = "\n".join(text.strip() for text in outputs if text.strip())
        who = "" if self._account.uid is None else f" as user {self._account.name}"
        return f"{sentence} ({self.binaries.path}{who}):\n{said}"


def _find_free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
