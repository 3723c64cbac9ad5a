"""How cheap could a relay on this event loop be? One that only forwards.

`python -m bench.floor PORT HOST SERVER_PORT` gives each client a server connection of its own and
looks at no byte: what a pooler costs above it is what pooling costs. Run by `targets.floor`.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop


class Side(asyncio.Protocol):
    """One of two connections that get each other's bytes; made for a client, or for its server."""

    def __init__(self, client: Side | None = None) -> None:
        """Start as a client without a server, or as the server connection of a client."""
        # The other side's transport, once there is one.
        self.peer: asyncio.Transport | None = None
        self._client = client
        # What a client said before it had a server.
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keep the transport; as a server connection, pair both."""
        self.transport = transport
        if self._client is not None:
            if self._client.transport.is_closing():  # it left meanwhile
                transport.abort()
                return
            self.peer = self._client.transport
            self._client.peer = transport
            transport.writelines(self._client._early)

    def data_received(self, data: bytes) -> None:
        """Write to the other side what was read from this one."""
        if self.peer is None:
            self._early.append(data)
        else:
            self.peer.write(data)

    def pause_writing(self) -> None:
        """Stop reading what cannot be written."""
        if self.peer is not None:
            self.peer.pause_reading()

    def resume_writing(self) -> None:
        """Go on reading."""
        if self.peer is not None:
            self.peer.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """Close the other side too."""
        if self.peer is not None:
            self.peer.close()


async def serve(port: int, server_host: str, server_port: int) -> None:
    """Forward until killed."""
    loop = asyncio.get_running_loop()
    connecting: set[asyncio.Task[None]] = set()

    def accept() -> Side:
        client = Side()
        task = loop.create_task(connect(client))
        connecting.add(task)
        task.add_done_callback(connecting.discard)
        return client

    async def connect(client: Side) -> None:
        try:
            await loop.create_connection(lambda: Side(client), server_host, server_port)
        except OSError:
            client.transport.close()

    listener = await loop.create_server(accept, "127.0.0.1", port)
    await listener.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
