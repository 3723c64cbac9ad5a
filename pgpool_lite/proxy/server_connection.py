"""One server's socket after its login. HOT: hops 4 and 5 of every query (docs/design/one-query.md).

HOT rule: `data_received` and `relay` are one call each per read; one read causes one write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pgpool_lite.errors import ServerError
from pgpool_lite.pool.pool import Pool
from pgpool_lite.proxy.sockets import own_address, peer_address, tls_name
from pgpool_lite.session.client import CUT, RELAY, SETTLED, ClientSession
from pgpool_lite.session.own_queries import OWN_DONE
from pgpool_lite.session.server import ANSWERED, ServerSession
from pgpool_lite.session.states import ServerState

if TYPE_CHECKING:
    from pgpool_lite.proxy.dispatcher import Dispatcher

#: The whole answer to a client that asked for one thing.
_USUAL: Final = RELAY | ANSWERED | SETTLED
_IDLE: Final = ServerState.IDLE


class ServerConnection:
    """Passes a server's bytes to the client that is linked to it."""

    __slots__ = (
        "_clock",
        "_counters",
        "_dispatcher",
        "_stopped",
        "pool",
        "session",
        "transport",
    )

    def __init__(
        self,
        session: ServerSession,
        pool: Pool,
        transport: asyncio.Transport,
        dispatcher: Dispatcher,
    ) -> None:
        """Take over the socket of a server that has let us in."""
        self.session = session
        self.pool = pool
        self.transport = transport
        self._counters = pool.counters
        self._dispatcher = dispatcher
        self._clock: Callable[[], float] = dispatcher.clock
        #: Which client was stopped because the server does not take what is sent to it.
        self._stopped: ClientSession | None = None
        session.attach(self, transport.write)

    # --- hop 5: from the server ---

    def data_received(self, data: bytes) -> None:
        """Pass replies on, and see whether the client has all that it is owed."""
        session = self.session
        client = session.client
        try:
            verdict = session.receive(data)
        except ServerError as error:
            self._dispatcher.lose_server(self, error)
            return
        if client is None:
            if verdict & OWN_DONE:
                self._dispatcher.own_query_done(self)
        elif verdict == _USUAL and not client.raw_waits:
            self._counters.bytes_sent += len(data)
            client.relay(data)
            if client.is_congested or session.is_congested:
                self._dispatcher.release(session, self.pool)
                return
            next_client = self.pool.release(session, self._clock())
            if next_client is not None or session.state is not _IDLE:
                self._dispatcher.follow_up(session, self.pool, next_client)
        else:
            self._pass(data, verdict, client)

    def _pass(self, data: bytes, verdict: int, client: ClientSession) -> None:
        """Do what any verdict asks for."""
        session = self.session
        if verdict & CUT:
            data = session.cut
        if data:
            self._counters.bytes_sent += len(data)
            client.relay(data)
        if session.has_said_fatal:  # nothing may follow, and nobody need wait for the end
            self._dispatcher.lose_server(self, ServerError(session.close_reason))
            return
        if verdict & OWN_DONE:
            client.connection.send_held(session)
            if session.client is not client:
                return  # what was held was the client's end, and so the server's
        if verdict & SETTLED:
            self._dispatcher.release(session, self.pool)
        elif verdict & ANSWERED:
            self._dispatcher.answered(session, client, self.pool)
        if client.raw_waits:
            client.connection.look_again()

    # --- flow ---

    def pause_writing(self) -> None:
        """Stop the client: the server does not take what it sends."""
        self.session.is_congested = True
        self._stopped = self.session.client
        if self._stopped is not None:
            self._stopped.connection.pause_reading()

    def resume_writing(self) -> None:
        """Let the client send again, be it still linked or not."""
        self.session.is_congested = False
        stopped, self._stopped = self._stopped, None
        if stopped is not None:
            stopped.connection.resume_reading()

    def pause_reading(self) -> None:
        """Take nothing more from the server."""
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on taking from the server."""
        if not self.transport.is_closing() and not self.transport.is_reading():
            self.transport.resume_reading()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the other end."""
        endpoint = self.session.endpoint
        return peer_address(self.transport) if endpoint is None else endpoint.shown

    @property
    def own_address(self) -> tuple[str, int]:
        """Host and port of our end."""
        return own_address(self.transport)

    @property
    def tls(self) -> str:
        """Version and cipher of its TLS; "" without."""
        return tls_name(self.transport)

    # --- the end ---

    def close(self) -> None:
        """Close the socket once everything written has gone out."""
        self._dispatcher.lingering.close(self.transport, self._clock())

    def eof_received(self) -> bool:
        """Take a half-closed connection for a closed one."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Clear up after a server that went away."""
        self._dispatcher.lingering.forget(self.transport)
        self.resume_writing()
        self._dispatcher.lose_server(self, ServerError("server conn crashed?"))
