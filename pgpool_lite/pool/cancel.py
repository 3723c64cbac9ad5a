"""Whose query does a CancelRequest mean, and may the server be reused meanwhile?

A CancelRequest comes on a connection of its own and names a client by key. If that client is
linked to a server, another connection carries the server's key to PostgreSQL. PostgreSQL does not
say which query it interrupts: whatever runs when the signal arrives. So from the moment a cancel
is under way its server is not given to another client; released, it stays in BEING_CANCELED until
PostgreSQL has closed the connection that carried the request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pgpool_lite.pool.pool import Pool
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.states import CLIENT_MOVES, ClientState, ServerState

#: Requests that may wait in one pool. Who runs a query may send any number for it, and each has a
#: connection until its turn comes, or cancel_wait_timeout.
MAX_WAITING: Final = 1_000


def is_full_of_requests(pool: Pool) -> bool:
    """Say whether so many requests wait for their turn in a pool that no more can be taken."""
    return len(pool.cancel_requests[ClientState.WAITING_CANCEL]) >= MAX_WAITING


class CancelRequest:
    """One request, from its packet to the end of its forwarding. Listed in its pool meanwhile."""

    __slots__ = ("_client", "_hang_up", "pool", "requested_at", "server", "state")

    def __init__(
        self, pool: Pool, server: ServerSession, hang_up: Callable[[], None], now: float
    ) -> None:
        """Note that what `server` runs for its client is to be canceled.

        `hang_up` closes the requester's connection.
        """
        self.pool = pool
        self.server = server
        self._client = server.client
        self._hang_up = hang_up
        self.requested_at = now
        self.state = ClientState.LOGIN
        self._move(ClientState.WAITING_CANCEL)

    def may_begin(self) -> bool:
        """Say whether one more connection for cancels may be opened: pool_size at a time."""
        limit = max(self.pool.rules.pool_size, 1)
        return len(self.pool.cancel_requests[ClientState.ACTIVE_CANCEL]) < limit

    def has_lost_its_point(self) -> bool:
        """Say whether the query that was meant is over: its server has left its client."""
        return self.server.client is None or self.server.client is not self._client

    def begin(self) -> None:
        """Forbid that the server is reused: from here on the request may strike."""
        self.server.cancels_in_flight += 1
        self._move(ClientState.ACTIVE_CANCEL)

    def end(self, now: float) -> ClientSession | None:
        """Note that the request is through, or given up; return who is linked to its server now."""
        was_active = self.state is ClientState.ACTIVE_CANCEL
        self._move(ClientState.CLOSED)
        self._hang_up()
        server = self.server
        if was_active:
            server.cancels_in_flight -= 1
            if server.state is ServerState.BEING_CANCELED and not server.cancels_in_flight:
                return self.pool.server_usable(server, now)
        return None

    def _move(self, state: ClientState) -> None:
        if state not in CLIENT_MOVES[self.state]:
            raise AssertionError(f"a cancel request cannot go to {state.name}")
        lists = self.pool.cancel_requests
        if self.state in lists:
            del lists[self.state][self]
        self.state = state
        if state in lists:
            lists[state][self] = None
