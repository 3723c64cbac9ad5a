"""How is a socket to a server opened? For logins and for cancel requests alike."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import TypeVar

from pgpool_lite.config import Settings
from pgpool_lite.proxy.sockets import tune
from pgpool_lite.session.endpoint import Endpoint

P = TypeVar("P", bound=asyncio.BaseProtocol)


async def dial(
    endpoint: Endpoint, settings: Settings, make_protocol: Callable[[], P]
) -> tuple[asyncio.Transport, P]:
    """Connect to one address, by TCP or through a Unix socket.

    The socket is tuned before it connects: the window of a TCP connection is agreed on then. Raises
    OSError.
    """
    loop = asyncio.get_running_loop()
    is_ipv6 = ":" in endpoint.address
    family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
    own_socket = socket.socket(socket.AF_UNIX if endpoint.is_unix else family)
    try:
        own_socket.setblocking(False)
        tune(own_socket, settings)
        if endpoint.is_unix:
            await loop.sock_connect(own_socket, endpoint.socket_path)
            return await loop.create_unix_connection(make_protocol, sock=own_socket)
        await loop.sock_connect(own_socket, (endpoint.address, endpoint.port))
        return await loop.create_connection(make_protocol, sock=own_socket)
    except BaseException:
        own_socket.close()
        raise
