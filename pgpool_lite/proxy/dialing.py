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
        at = endpoint.socket_path if endpoint.is_unix else (endpoint.address, endpoint.port)
        await loop.sock_connect(own_socket, at)
    except BaseException:
        own_socket.close()
        raise
    return await _hand_over(own_socket, make_protocol)


async def _hand_over(
    own_socket: socket.socket, make_protocol: Callable[[], P]
) -> tuple[asyncio.Transport, P]:
    """Give a connected socket to the event loop, which closes it from now on, whatever happens.

    uvloop closes the descriptor alone when the transport is closed before this returns (the server
    hung up, the connection is not wanted any more). The socket object must forget its number then:
    it would close it once more when it is collected, and by then that is somebody else's.
    """
    loop = asyncio.get_running_loop()
    is_asyncios_own = isinstance(loop, asyncio.BaseEventLoop)  # it closes the object itself
    try:
        if own_socket.family == socket.AF_UNIX:
            pair = await loop.create_unix_connection(make_protocol, sock=own_socket)
        else:
            pair = await loop.create_connection(make_protocol, sock=own_socket)
    except BaseException:
        if not is_asyncios_own:
            own_socket.detach()
        raise
    if pair[0].is_closing() and not is_asyncios_own:
        own_socket.detach()
    return pair
