"""How does a process take the place of one that runs? PgBouncer's -R, without passing descriptors.

The two meet at the Unix socket, as PgBouncer's do. The old process is told to wait for its clients
and stops listening, with so_reuseport when nobody is on the way to it any more; the new one listens
instead, and the old one ends when its last client has left. PgBouncer hands over the clients'
sockets, too, so that the old process is gone within a moment; what that needs of TLS and SCRAM
makes PgBouncer itself call it deprecated.
"""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import BinaryIO

from pgpool_lite.config import Settings
from pgpool_lite.errors import ConfigError
from pgpool_lite.pool.registry import CONSOLE
from pgpool_lite.proxy.doorway import is_listened_on, unix_address
from pgpool_lite.proxy.logs import LOGGER
from pgpool_lite.wire import codes
from pgpool_lite.wire.framing import message_end
from pgpool_lite.wire.frontend import encode_query, encode_startup

#: The console answers SHUTDOWN WAIT_FOR_CLIENTS at once; an answer that takes longer never comes.
_PATIENCE_S = 10.0
_SHUTDOWN = "SHUTDOWN WAIT_FOR_CLIENTS"
_EVERYWHERE = {"*": ("0.0.0.0", "::")}


def refuse_neighbour(settings: Settings) -> None:
    """Raise ConfigError if another process has our Unix socket; called before going to the
    background, where nobody would read it.
    """
    address = unix_address(settings.unix_socket_dir, settings.listen_port)
    if address and is_listened_on(address):
        raise ConfigError(
            "unix socket is in use, cannot continue: end the process that listens there,"
            " or take its place by --reboot",
            key="unix_socket_dir",
        )


def listen_early(settings: Settings) -> list[socket.socket]:
    """Listen where another process still does, so that nobody finds the port closed in between.

    Only with so_reuseport, and where all addresses are numbers; else nowhere. Of several processes
    each listens for itself, later.
    """
    wants_it = settings.so_reuseport and settings.listen_port and settings.workers == 1
    hosts = [each for host in settings.listen_addr for each in _EVERYWHERE.get(host, (host,))]
    with ExitStack() as early:
        try:
            sockets = [early.enter_context(_listen(each, settings)) for each in hosts if wants_it]
        except (OSError, ValueError):
            return []
        early.pop_all()
        return sockets


def _listen(host: str, settings: Settings) -> socket.socket:
    """Listen on one address that another process listens on; raises OSError or ValueError."""
    is_ipv6 = ip_address(host).version == 6
    listening = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET)
    try:
        if is_ipv6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind((host, settings.listen_port))
        listening.listen(settings.listen_backlog)
    except OSError:
        listening.close()
        raise
    return listening


def take_over(settings: Settings) -> bool:
    """Have the process at our Unix socket stop listening; say whether there was one.

    Raises ConfigError where that is not possible.
    """
    folder = settings.unix_socket_dir
    if not folder:
        raise ConfigError("cannot reboot if unix dir not configured", key="unix_socket_dir")
    if folder.startswith("@"):
        raise ConfigError("cannot reboot with abstract Unix socket", key="unix_socket_dir")
    address = unix_address(folder, settings.listen_port)
    if not is_listened_on(address):
        return False
    LOGGER.info("sending %s;", _SHUTDOWN)
    try:
        with socket.socket(socket.AF_UNIX) as console:
            console.settimeout(_PATIENCE_S)
            console.connect(address)
            _shut_down(console)
    except OSError as error:
        raise ConfigError(f"takeover failed: {error}") from None
    # Its console would answer there still: the place is ours now, and it knows its own file.
    with suppress(FileNotFoundError):
        Path(address).unlink()
    LOGGER.info("old process waits for its clients, resuming work")
    return True


def _shut_down(console: socket.socket) -> None:
    """Log in, give the command, and wait until it is done; raises OSError or ConfigError."""
    with console.makefile("rb") as answers:
        console.sendall(encode_startup({"user": CONSOLE, "database": CONSOLE}))
        if not _read_until_ready(answers):
            raise ConfigError("takeover failed: the process that runs hung up")
        console.sendall(encode_query(_SHUTDOWN))
        # One without clients ends as soon as it is told, with or without a last word.
        with suppress(ConnectionError):
            _read_until_ready(answers)


def _read_until_ready(answers: BinaryIO) -> bool:
    """Read up to ReadyForQuery; say whether it came. Raises ConfigError for an error."""
    message_type = 0
    while message_type != codes.READY_FOR_QUERY:
        header = answers.read(codes.HEADER_SIZE)
        if len(header) < codes.HEADER_SIZE:
            return False
        answers.read(message_end(header, 0) - codes.HEADER_SIZE)
        message_type = header[0]
        if message_type == codes.ERROR_RESPONSE:
            raise ConfigError(
                f"takeover failed: the process that runs refuses {_SHUTDOWN}; it has to"
                " run as the same user, and to know that command"
            )
    return True
