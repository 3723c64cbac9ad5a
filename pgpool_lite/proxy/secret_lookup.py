"""How is PostgreSQL asked for a user's secret while its client logs in? As a client of a pool.

To the pool of auth_user a lookup is one more client: it waits its turn, may wait too long, is told
when no server can be had, and gives its server back. But it sends a question of ours, and the
session parameters of the client behind it are never applied.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from pgpool_lite.errors import ClientError, LimitReached, LoginRejected, ServerError
from pgpool_lite.pool.pool import Pool
from pgpool_lite.proxy.unlinked import Unlinked
from pgpool_lite.session.auth_query import AuthQuery
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.connection import Connection
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.states import ClientState
from pgpool_lite.wire.frontend import CancelKey

if TYPE_CHECKING:
    from pgpool_lite.proxy.dispatcher import Dispatcher

#: Never told to anybody.
_NO_KEY = CancelKey(0, b"")


class SecretLookup(Unlinked):
    """Asks one question for one client; lives from `begin` until it calls back, or `leave`."""

    def __init__(
        self,
        query: AuthQuery,
        pool: Pool,
        dispatcher: Dispatcher,
        on_answer: Callable[[AuthQuery], None],
        on_refusal: Callable[[ClientError], None],
    ) -> None:
        """Ask nothing yet. One of the two callbacks is called once, unless `leave` comes first."""
        self._query = query
        self.pool = pool
        self._dispatcher = dispatcher
        self._on_answer = on_answer
        self._on_refusal = on_refusal
        self.session: ClientSession
        self._client: Connection
        self._is_asked = False
        self._is_over = False

    def begin(self, client: Connection, client_id: int, connected_at: float) -> None:
        """Ask on behalf of `client` as soon as there is a server."""
        self._client = client
        values = self._dispatcher.registry.tracked.values_of({})
        session = self.session = ClientSession(client_id, _NO_KEY, values, connected_at)
        session.attach(self, self._take)
        session.user = self.pool.user
        session.state = ClientState.ACTIVE  # it needs no welcome
        session.is_leaving = True  # in session mode, too, the server is given back at once
        session.receive(self._query.question)
        self.pool.add_client(session)
        server = self.pool.link(session, self._dispatcher.clock())
        if server is not None:
            self.go_on(server)
        else:
            self._dispatcher.client_waits(self)

    def leave(self) -> None:
        """Stop asking. A server in the middle of its answer is closed."""
        if not self._is_over:
            self._is_over = True
            self._dispatcher.part(self.session, self.pool)

    # --- what the pool's machinery wants of a client ---

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the client that logs in."""
        return self._client.address

    @property
    def own_address(self) -> tuple[str, int]:
        """Host and port of our end."""
        return self._client.own_address

    @property
    def tls(self) -> str:
        """Version and cipher of the client's TLS; "" without."""
        return self._client.tls

    def go_on(self, server: ServerSession) -> None:
        """Ask: there is a server."""
        self._is_asked = True
        server.relay(server.adopt(self.session) + self._query.question)

    def send_held(self, server: ServerSession) -> None:
        """Do nothing: nothing is held back for the sake of parameters, which are all reset."""

    def _take(self, data: bytes) -> None:
        """Take a part of the answer, or the notice that we are queued, which nobody needs.

        The pair is parted when this returns, so what follows is done in the loop's next round.
        """
        if not self._is_asked:
            return
        loop = asyncio.get_running_loop()
        try:
            self._query.receive(data)
        except ServerError as error:
            loop.call_soon(self.refuse, error)
            return
        if self._query.is_done:
            loop.call_soon(self._answer)

    def refuse(self, error: ClientError | ServerError) -> None:
        """Pass on why there is no answer; what a server said or did is for the log only."""
        if self._is_over:
            return
        self.leave()
        if not isinstance(error, LoginRejected | LimitReached) and self._is_asked:
            error = LoginRejected("bouncer config error", remark=error.message)
        assert isinstance(error, ClientError)
        self._on_refusal(error)

    def _answer(self) -> None:
        if not self._is_over:
            self.leave()
            self._on_answer(self._query)

    def follow_rules(self) -> bool:
        """Say that new rules hold already: no statement of a lookup has a name."""
        return True

    def pause_reading(self) -> None:
        """Do nothing: all that is to be sent is sent already."""

    def resume_reading(self) -> None:
        """Reverse `pause_reading`."""
