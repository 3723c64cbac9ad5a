"""Who closes the socket of a connection to a server, and that nobody closes it twice."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings

from pgpool_lite.config import Settings
from pgpool_lite.proxy.dialing import dial
from pgpool_lite.session.endpoint import Endpoint


class Unwanted(asyncio.Protocol):
    """A connection that was given up before it was made."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


async def test_the_socket_of_a_connection_closed_as_it_is_made_is_not_closed_once_more() -> None:
    # A server was killed while it was being connected. uvloop closed its descriptor, but the socket
    # object kept the number and closed it again when it was collected: by then it was the number of
    # a client that had just come. Python warns of an object that still has a number then.
    with socket.create_server(("127.0.0.1", 0)) as listening:
        endpoint = Endpoint("", "127.0.0.1", listening.getsockname()[1])
        transport, _ = await dial(endpoint, Settings(), Unwanted)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")

            del transport
            gc.collect()

    assert [str(each.message) for each in warned] == []
