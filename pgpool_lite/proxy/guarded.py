"""Connections whose messages are looked at one by one: disable_pqexec and max_packet_size.

With PgBouncer's defaults there is nothing to look for, and the usual connections are made. So
these two settings cost those nothing who do not use them; who does pays for a walk over the heads
of all messages. What is set holds for connections that are made from then on.

What other connections look for as well (`watched.py`) is built on these, with a guard or without.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pgpool_lite.config import Settings
from pgpool_lite.errors import ClientProtocolError, ServerProtocolError
from pgpool_lite.pool.pool import Pool
from pgpool_lite.proxy.client_connection import ClientConnection
from pgpool_lite.proxy.server_connection import ServerConnection
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.server import ServerSession
from pgpool_lite.wire import codes
from pgpool_lite.wire.guard import NOTHING, MessageGuard

if TYPE_CHECKING:
    from pgpool_lite.proxy.dispatcher import Dispatcher

#: The default of max_packet_size; no message that can be written down is longer.
UNLIMITED: Final = Settings().max_packet_size


class GuardedClientConnection(ClientConnection):
    """A client whose messages are looked at before anything else is done with them."""

    __slots__ = ("_guard",)

    def __init__(
        self,
        session: ClientSession,
        pool: Pool,
        transport: asyncio.Transport,
        dispatcher: Dispatcher,
    ) -> None:
        """Take over the socket of a client that has logged in."""
        super().__init__(session, pool, transport, dispatcher)
        settings = dispatcher.registry.config.settings
        forbidden = codes.QUERY if settings.disable_pqexec else NOTHING
        #: None where nothing is set.
        self._guard = (
            MessageGuard(settings.max_packet_size, forbidden) if guards_clients(settings) else None
        )

    def data_received(self, data: bytes) -> None:
        """Close a client that sends what is not allowed; pass on everything else."""
        begin = b"" if self._guard is None else self._guard.find_offence(data)
        if not begin:
            ClientConnection.data_received(self, data)
            return
        settings = self._dispatcher.registry.config.settings
        if begin[0] == codes.QUERY and settings.disable_pqexec:
            self._dispatcher.log.client(self.session, self.pool).error(
                'client used "Query" packet type'
            )
            self.refuse(
                ClientProtocolError(
                    "PQexec disallowed",
                    detail="Simple queries are switched off here (disable_pqexec).",
                    hint="Have the driver use the extended query protocol.",
                )
            )
        else:
            self.refuse(
                ClientProtocolError(
                    f"bad packet header: '{begin.hex()}'",
                    detail=f"A message may have {settings.max_packet_size} bytes"
                    " (max_packet_size).",
                )
            )


class GuardedServerConnection(ServerConnection):
    """A server whose messages are looked at before anything else is done with them."""

    __slots__ = ("_guard",)

    def __init__(
        self,
        session: ServerSession,
        pool: Pool,
        transport: asyncio.Transport,
        dispatcher: Dispatcher,
    ) -> None:
        """Take over the socket of a server that has let us in."""
        super().__init__(session, pool, transport, dispatcher)
        settings = dispatcher.registry.config.settings
        #: None where nothing is set.
        self._guard = MessageGuard(settings.max_packet_size) if guards_servers(settings) else None

    def data_received(self, data: bytes) -> None:
        """Close a server that sends what is too long; pass on everything else."""
        if self._guard is None or not self._guard.find_offence(data):
            ServerConnection.data_received(self, data)
            return
        limit = self._dispatcher.registry.config.settings.max_packet_size
        self._dispatcher.lose_server(
            self,
            ServerProtocolError(
                "bad pkt header", detail=f"A message may have {limit} bytes (max_packet_size)."
            ),
        )


def guards_clients(settings: Settings) -> bool:
    """Say whether there is something that clients must not send."""
    return settings.disable_pqexec or settings.max_packet_size < UNLIMITED


def guards_servers(settings: Settings) -> bool:
    """Say whether there is something that servers must not send."""
    return settings.max_packet_size < UNLIMITED


def client_connection_class(settings: Settings) -> type[ClientConnection]:
    """Return which connection a client gets that comes in now."""
    return GuardedClientConnection if guards_clients(settings) else ClientConnection


def server_connection_class(settings: Settings) -> type[ServerConnection]:
    """Return which connection a server gets that has logged in now."""
    return GuardedServerConnection if guards_servers(settings) else ServerConnection
