"""How do clients get to us? Listening sockets, and the room between accept and welcome.

The doorway holds the clients that have not logged in yet. It closes those that take longer than
client_login_timeout, and turns people away while there are nearly no file descriptors left: then
the next accept would fail, servers could not be opened, and those who are inside would suffer.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pgpool_lite.config import Settings
from pgpool_lite.errors import ConfigError, LimitReached
from pgpool_lite.proxy.logs import LOGGER
from pgpool_lite.proxy.sockets import keep_alive

if TYPE_CHECKING:
    from pgpool_lite.proxy.client_login import ClientLoginConnection

#: File descriptors kept for servers, cancel requests, the log, and what a host program opens.
RESERVED_DESCRIPTORS = 24


class Doorway:
    """Listens, and keeps those who have not come in yet. Owned by the runtime."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Listen nowhere yet."""
        self._clock = clock
        self._servers: list[asyncio.Server] = []
        self._socket_paths: list[Path] = []
        self._arriving: dict[ClientLoginConnection, float] = {}
        self._descriptor_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._was_full = False
        #: Where TCP clients reach us: host and port of the first listening socket.
        self.address: tuple[str, int] | None = None

    async def open(
        self, settings: Settings, make_client: Callable[[], ClientLoginConnection]
    ) -> None:
        """Listen where the settings say; raises ConfigError naming the address that cannot be."""
        loop = asyncio.get_running_loop()
        for host in settings.listen_addr:
            try:
                server = await loop.create_server(
                    make_client,
                    None if host == "*" else host,
                    settings.listen_port,
                    backlog=settings.listen_backlog,
                )
            except OSError as error:
                raise ConfigError(
                    f"cannot listen on {host}:{settings.listen_port}: {_reason(error)}"
                ) from error
            self._servers.append(server)
            for listening in server.sockets:
                name = listening.getsockname()
                self.address = self.address or (name[0], name[1])
                LOGGER.info("listening on %s:%s", name[0], name[1])
        if settings.unix_socket_dir:
            await self._open_unix(settings, make_client)

    async def _open_unix(
        self, settings: Settings, make_client: Callable[[], ClientLoginConnection]
    ) -> None:
        port = self.address[1] if self.address else settings.listen_port
        path = Path(settings.unix_socket_dir) / f".s.PGSQL.{port}"
        _remove_stale(path)
        try:
            server = await asyncio.get_running_loop().create_unix_server(
                make_client, str(path), backlog=settings.listen_backlog
            )
            os.chmod(path, settings.unix_socket_mode)
        except OSError as error:
            raise ConfigError(f"cannot listen on unix:{path}: {_reason(error)}") from error
        self._servers.append(server)
        self._socket_paths.append(path)
        LOGGER.info("listening on unix:%s", path)

    def close(self) -> None:
        """Stop listening: new connections are refused by the kernel."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for path in self._socket_paths:
            path.unlink(missing_ok=True)
        self._socket_paths.clear()

    def enter(
        self, client: ClientLoginConnection, transport: asyncio.Transport, settings: Settings
    ) -> LimitReached | None:
        """Take note of a new connection; return why there is no room for it, if so."""
        self._arriving[client] = self._clock()
        keep_alive(transport, settings)
        descriptor = transport.get_extra_info("socket").fileno()
        # The kernel gives the lowest free number, so a high one tells that few are left.
        is_full = descriptor >= self._descriptor_limit - RESERVED_DESCRIPTORS
        if is_full and not self._was_full:
            LOGGER.error(
                "out of file descriptors (limit %d): new clients are refused until some leave",
                self._descriptor_limit,
            )
        self._was_full = is_full
        if not is_full:
            return None
        return LimitReached(
            "no more connections allowed (file descriptors)",
            hint="Raise the limit of open files (ulimit -n) for the pooler.",
        )

    def leave(self, client: ClientLoginConnection) -> None:
        """Forget a connection that has logged in or gone."""
        self._arriving.pop(client, None)

    def sweep(self, login_timeout_s: float) -> None:
        """Close connections that take too long to log in; they stand here in order of arrival."""
        if not login_timeout_s:
            return
        now = self._clock()
        for client, since in list(self._arriving.items()):
            if now - since <= login_timeout_s:
                break
            client.login_timed_out()

    def turn_away(self, error: LimitReached) -> None:
        """Refuse everybody who has not come in yet."""
        for client in list(self._arriving):
            client.refuse(error)


def _reason(error: OSError) -> str:
    """Return the system's words alone; event loops put the address around them once more."""
    return os.strerror(error.errno) if error.errno else str(error)


def _remove_stale(path: Path) -> None:
    """Remove a unix socket that nobody listens on any more; raise ConfigError if somebody does."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise ConfigError(f"cannot listen on unix:{path}: another process listens there")


def raise_descriptor_limit() -> None:
    """Allow this process as many open files as the system lets it have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
