"""How do clients get to us? Listening sockets, and who takes them over when we stop listening."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from pgpool_lite.config import Settings
from pgpool_lite.errors import ConfigError
from pgpool_lite.proxy import handover
from pgpool_lite.proxy.logs import LOGGER, place
from pgpool_lite.proxy.sockets import defer_accept, tune_listening

#: Makes what talks to a newcomer, who has come by a Unix socket or not.
MakeClient = Callable[[bool], asyncio.Protocol]


class Doorway:
    """Listens. Owned by the runtime."""

    def __init__(self) -> None:
        """Listen nowhere yet."""
        #: Listening servers; those on Unix sockets stay for the console during a shutdown.
        self._tcp_servers: list[asyncio.Server] = []
        self._unix_servers: list[asyncio.Server] = []
        #: Our Unix socket's file, and its number: another process may have put its own there.
        self._socket_file: tuple[Path, int] | None = None
        self._make_client: MakeClient
        #: Whether our network sockets are ours alone, while others may share their port.
        self._shares_port = False
        #: The next step of a handover, None while there is none.
        self._handover: asyncio.TimerHandle | None = None
        #: Connections that were accepted when listening ended, on their way in.
        self._last_ones: set[asyncio.Task[object]] = set()
        #: Where TCP clients reach us: host and port of the first listening socket.
        self.address: tuple[str, int] | None = None

    async def open(
        self,
        settings: Settings,
        make_client: MakeClient,
        passed: Sequence[socket.socket] = (),
        shared: Sequence[socket.socket] = (),
    ) -> None:
        """Listen where the settings say, or on sockets that a service manager has passed on.

        `shared` sockets, which other processes accept from as well, come on top. Of several
        addresses those that work are enough, as in PgBouncer; raises ConfigError naming the first
        address if none does.
        """
        self._make_client = make_client
        self._shares_port = settings.so_reuseport and not passed
        await self._adopt(shared, settings, make_client)
        if passed:
            if settings.listen_addr:
                LOGGER.warning("sockets passed from service manager, listen_addr ignored")
            await self._adopt(passed, settings, make_client)
            return
        failures: list[ConfigError] = []
        for host in () if self._tcp_servers else settings.listen_addr:
            try:
                await self._open_tcp(host, settings, make_client)
            except ConfigError as error:
                failures.append(error)
        if failures and not self._tcp_servers:
            raise failures[0]
        for failure in failures:
            LOGGER.warning("%s", failure.message)
        if settings.unix_socket_dir:
            await self._open_unix(settings, make_client)
        if not self._tcp_servers and not self._unix_servers:
            raise ConfigError("nowhere to listen on", key="listen_addr")

    async def _open_tcp(self, host: str, settings: Settings, make_client: MakeClient) -> None:
        try:
            server = await asyncio.get_running_loop().create_server(
                partial(make_client, False),
                None if host == "*" else host,
                settings.listen_port,
                backlog=settings.listen_backlog,
                reuse_port=settings.so_reuseport or None,
            )
        except (OSError, UnicodeError) as error:  # the latter for what IDNA cannot write
            raise ConfigError(
                f"cannot listen on {host}:{settings.listen_port}: {_reason(error)}"
            ) from error
        self._take(server, settings)

    async def _adopt(
        self,
        sockets: Sequence[socket.socket],
        settings: Settings,
        make_client: MakeClient,
    ) -> None:
        loop, backlog = asyncio.get_running_loop(), settings.listen_backlog
        for each in sockets:
            if each.family == socket.AF_UNIX:
                make = partial(make_client, True)
                server = await loop.create_unix_server(make, sock=each, backlog=backlog)
                self._unix_servers.append(server)
                LOGGER.info("socket passed on to this process: unix:%s", each.getsockname())
            else:
                make = partial(make_client, False)
                server = await loop.create_server(make, sock=each, backlog=backlog)
                self._take(server, settings)

    def _take(self, server: asyncio.Server, settings: Settings) -> None:
        self._tcp_servers.append(server)
        for listening in server.sockets:
            _prepare(listening, settings)
            name = listening.getsockname()
            self.address = self.address or (name[0], name[1])
            LOGGER.info("listening on %s", place(name[:2]))

    async def _open_unix(self, settings: Settings, make_client: MakeClient) -> None:
        port = self.address[1] if self.address else settings.listen_port
        address = unix_address(settings.unix_socket_dir, port)
        shown = address.replace("\0", "@")
        if is_listened_on(address):
            raise ConfigError(f"cannot listen on unix:{shown}: another process listens there")
        try:
            # A file that a killed process left is replaced by the loop.
            server = await asyncio.get_running_loop().create_unix_server(
                partial(make_client, True), address, backlog=settings.listen_backlog
            )
            self._unix_servers.append(server)
            if not address.startswith("\0"):
                self._socket_file = claim_socket_file(Path(address), settings)
        except (OSError, LookupError) as error:
            raise ConfigError(f"cannot listen on unix:{shown}: {_reason(error)}") from error
        LOGGER.info("listening on unix:%s", shown)

    def hand_over(self) -> None:
        """Stop listening on the network, in favour of other processes that share the port.

        Those whom the kernel has let in already are clients too, and so is who comes meanwhile. It
        takes a moment where the port may be shared, `is_closing` until then; else, and for sockets
        that a service manager has passed on and goes on holding, none.
        """
        if self._handover is not None:
            return
        if not (self._tcp_servers and self._shares_port and handover.is_possible()):
            self.close_tcp(lets_in=True)
            return
        ports = set()
        for listening in self._duplicates():
            with listening:
                handover.let_in_the_silent(listening)
                ports.add(listening.getsockname()[1])
        if any(map(handover.is_half_way, ports)):
            self._handover = asyncio.get_running_loop().call_later(
                handover.ANSWER_S, self._drop_newcomers
            )
        else:
            self._drop_newcomers()

    def _drop_newcomers(self) -> None:
        """Leave newcomers to the other processes, and close when handshakes are through."""
        for listening in self._duplicates():
            with listening:
                try:
                    handover.drop_newcomers(listening)
                except OSError as error:
                    LOGGER.warning("newcomers cannot be left to other processes: %s", error)
        self._handover = asyncio.get_running_loop().call_later(
            handover.OPENING_S, partial(self.close_tcp, lets_in=True)
        )

    def _duplicates(self) -> list[socket.socket]:
        """Return the listening sockets under other descriptors, for the caller to close."""
        return [
            socket.socket(fileno=os.dup(each.fileno()))
            for server in self._tcp_servers
            for each in server.sockets
        ]

    def close_tcp(self, *, lets_in: bool = False) -> None:
        """Stop listening on the network at once; the console can still be reached by Unix socket.

        `lets_in`: those whom the kernel has let in already are clients too. It would reset their
        connections, although another process may listen there now.
        """
        if self._handover is not None:
            self._handover.cancel()
            self._handover = None
        last_looks = self._duplicates()
        for server in self._tcp_servers:
            server.close()
        self._tcp_servers.clear()
        for listening in last_looks:
            with listening:
                if lets_in:
                    self._accept_last_ones(listening)

    def _accept_last_ones(self, listening: socket.socket) -> None:
        """Take in everybody who waits at a socket that is about to be closed."""
        loop = asyncio.get_running_loop()
        listening.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                client_socket, _ = listening.accept()
                coming = loop.connect_accepted_socket(
                    partial(self._make_client, False), client_socket
                )
                task: asyncio.Task[object] = loop.create_task(coming)
                self._last_ones.add(task)
                task.add_done_callback(self._last_ones.discard)

    @property
    def is_closing(self) -> bool:
        """Listening is about to end, or some that were accepted then have not arrived yet."""
        return self._handover is not None or bool(self._last_ones)

    def follow(self, settings: Settings) -> None:
        """Have the listening sockets follow changed settings, those that begin with tcp_."""
        if self._handover is not None:
            return
        for server in self._tcp_servers:
            for listening in server.sockets:
                _prepare(listening, settings)

    def close(self) -> None:
        """Stop listening: new connections are refused by the kernel."""
        self.close_tcp()
        for server in self._unix_servers:
            server.close()
        self._unix_servers.clear()
        if self._socket_file is not None:
            release_socket_file(*self._socket_file)
            self._socket_file = None


def unix_address(folder: str, port: int) -> str:
    """Return where the Unix socket of that port is; "" if there is none.

    A folder that begins with @ stands for the abstract name space, unix(7): no file, and an
    address that begins with a zero byte.
    """
    if not folder:
        return ""
    address = f"{folder}/.s.PGSQL.{port}"
    return "\0" + address[1:] if address.startswith("@") else address


def claim_socket_file(path: Path, settings: Settings) -> tuple[Path, int]:
    """Say who may use our Unix socket; return its file and the number that tells it from another.

    Raises OSError, or LookupError for a group that does not exist.
    """
    if settings.unix_socket_group:
        shutil.chown(path, group=settings.unix_socket_group)
    path.chmod(settings.unix_socket_mode)
    return path, path.stat().st_ino


def release_socket_file(path: Path, number: int) -> None:
    """Remove the file of our Unix socket, unless another process has put its own there."""
    with suppress(OSError):
        if path.stat().st_ino == number:
            path.unlink()


def is_listened_on(address: str) -> bool:
    """Say whether some process answers at a Unix socket; a file alone may be left by a dead one."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(address)
        except OSError:
            return False
    return True


def _prepare(listening: socket.socket, settings: Settings) -> None:
    """Have a listening TCP socket do what the settings ask of it and of those who come by it."""
    defer_accept(listening, settings)
    try:
        tune_listening(listening, settings)
    except OSError as error:
        LOGGER.warning("clients' sockets cannot be tuned: %s", error)


def _reason(error: Exception) -> str:
    """Return the system's words alone; event loops put the address around them once more."""
    if isinstance(error, UnicodeError):
        return "not a host's name"
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number else str(error)


def raise_descriptor_limit() -> None:
    """Allow this process as many open files as the system lets it have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
