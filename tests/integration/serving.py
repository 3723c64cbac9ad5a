"""`pgpool-lite serve` as an operator has it: a process with arguments, a log and an end."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

from pgpool_lite.dev.cluster import Cluster
from tests.wire_client import PATIENCE_S, eventually

COMMAND = (sys.executable, "-m", "pgpool_lite")
IS_UP = "process up"
# Tests may run as root, which a pooler with a file refuses to do unless it is told to.
AS_IS = ("-u", "root") if os.geteuid() == 0 else ()
# The kernel chooses the port.
ANYWHERE = "127.0.0.1:0"


class Serve(Protocol):
    """Start `pgpool-lite serve` with these arguments and wait until it is up."""

    async def __call__(
        self, *arguments: str | Path, prepare: Callable[[], None] | None = None
    ) -> Serving: ...


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=20
    )


class Serving:
    """One pooler process. It listens at a port that the kernel chose, and says so in its log."""

    host = "127.0.0.1"

    def __init__(self, process: asyncio.subprocess.Process, log_file: Path) -> None:
        self._process = process
        self._log_file = log_file

    @classmethod
    async def start(
        cls,
        arguments: Sequence[str | Path],
        log_file: Path,
        prepare: Callable[[], None] | None = None,
    ) -> Serving:
        """Start the process; `prepare` runs in it before the program does."""
        with log_file.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *COMMAND, "serve", *AS_IS, *map(str, arguments), stderr=log, preexec_fn=prepare
            )
        return cls(process, log_file)

    @property
    def log(self) -> str:
        """What the process has written to stderr."""
        return self._log_file.read_text()

    @property
    def port(self) -> int:
        """Where it listens for TCP clients."""
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", self.log)
        assert found, self.log
        return int(found[1])

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.returncode is None

    def url(self, database: str = "app", user: str = "postgres") -> str:
        """Return the URL for a driver."""
        return f"postgresql://{user}@{self.host}:{self.port}/{database}"

    async def says(self, text: str) -> None:
        """Wait until the log has this text."""
        await eventually(lambda: self._has_said(text))

    def _has_said(self, text: str) -> bool:
        said = text in self.log
        assert said or self.is_running, f"ended without {text!r}:\n{self.log}"
        return said

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self._process.send_signal(number)

    async def is_listening(self) -> bool:
        """Tell whether the process accepts connections."""
        try:
            _, writer = await asyncio.open_connection(self.host, self.port)
        except ConnectionError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    async def is_not_listening(self) -> bool:
        """Tell whether the process turns connections away."""
        return not await self.is_listening()

    async def exit_code(self) -> int:
        """Wait for the end of the process."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._process.wait()

    async def kill(self) -> None:
        """End the process by force, unless it has ended."""
        if self.is_running:
            self._process.kill()
        await self.exit_code()

    def memory_kb(self, what: str) -> int:
        """Return VmRSS (resident now) or VmHWM (the most there ever was)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"{what}:\s+(\d+) kB", status)
        assert found, status
        return int(found[1])

    @property
    def descriptor_count(self) -> int:
        """How many files and sockets the process has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


@asynccontextmanager
async def pooler_processes(folder: Path) -> AsyncIterator[Serve]:
    """Start pooler processes that write to `folder`; they are killed at the end."""
    numbers = itertools.count()
    async with AsyncExitStack() as processes:

        async def serve(
            *arguments: str | Path, prepare: Callable[[], None] | None = None
        ) -> Serving:
            log_file = folder / f"stderr-{next(numbers)}"
            serving = await Serving.start(arguments, log_file, prepare)
            processes.push_async_callback(serving.kill)
            await serving.says(IS_UP)
            return serving

        yield serve


def write_ini(folder: Path, postgres: Cluster, *settings: str, **secrets: str) -> Path:
    """Write a pgbouncer.ini for the database app, and a userlist.txt; only postgres is trusted."""
    userlist = folder / "userlist.txt"
    secrets = {"postgres": "", **secrets}
    userlist.write_text("".join(f'"{user}" "{secret}"\n' for user, secret in secrets.items()))
    lines = (
        "[databases]",
        f"app = host={postgres.host} port={postgres.port}",
        "[pgbouncer]",
        "listen_addr = 127.0.0.1",
        "listen_port = 0",
        "unix_socket_dir =",
        "pool_mode = transaction",
        "admin_users = postgres",
        "auth_type = trust",
        f"auth_file = {userlist}",
        *settings,
    )
    ini = folder / "pgbouncer.ini"
    ini.write_text("\n".join(lines) + "\n")
    return ini
