"""The room between accept and welcome: who has come and is not in yet?

Those who take longer than client_login_timeout are closed, and people are turned away while there
are nearly no file descriptors left: then the next accept would fail, servers could not be opened,
and those who are inside would suffer.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pgpool_lite.config import Settings
from pgpool_lite.errors import ClientError, LimitReached
from pgpool_lite.pool.arrivals import Arrivals
from pgpool_lite.proxy.logs import LOGGER
from pgpool_lite.proxy.sockets import set_buffers

if TYPE_CHECKING:
    from pgpool_lite.proxy.client_login import ClientLoginConnection

#: File descriptors kept for servers, cancel requests, the log, and what a host program opens.
RESERVED_DESCRIPTORS: Final = 24
#: Of so many newcomers one has its descriptor looked at, as long as there is room. uvloop makes a
#: socket object for that, with a system call: 5,000 instructions, of some 80,000 for a login.
LOOK_EVERY: Final = 8


class Anteroom:
    """Keeps those who have not come in yet. Owned by the runtime."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin with nobody."""
        self._clock = clock
        #: When each of them came, in order of arrival.
        self._arriving: dict[ClientLoginConnection, float] = {}
        #: Of these, who came by network and has proved nothing yet.
        self._unproven: Arrivals[ClientLoginConnection] = Arrivals()
        self._descriptor_limit: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._was_full = False
        #: So many newcomers, less one, are let by before the next is looked at.
        self._unseen_count = 0

    @property
    def is_awaited(self) -> bool:
        """Somebody who came from the network is still on the way in."""
        return any(not client.is_unix for client in self._arriving)

    def enter(
        self, client: ClientLoginConnection, transport: asyncio.Transport, settings: Settings
    ) -> LimitReached | None:
        """Take note of a new connection; return why there is no room for it, if so."""
        self._arriving[client] = client.connected_at
        self._unseen_count -= 1
        if self._unseen_count <= 0 or settings.tcp_socket_buffer:
            refusal = self._look_at(transport.get_extra_info("socket"), settings)
            if refusal is not None:
                return refusal
        self._make_room(client, settings)
        return None

    def _look_at(self, client_socket: socket.socket, settings: Settings) -> LimitReached | None:
        """See whether a client's socket tells that there is no room; give it its buffers."""
        try:
            set_buffers(client_socket, settings)
        except OSError as error:
            LOGGER.warning("a client's socket cannot be tuned: %s", error)
        # The kernel gives the lowest free number, so a high one tells that few are left.
        is_full = client_socket.fileno() >= self._descriptor_limit - RESERVED_DESCRIPTORS
        if is_full and not self._was_full:
            LOGGER.error(
                "out of file descriptors (limit %d): new clients are refused until some leave",
                self._descriptor_limit,
            )
        self._was_full = is_full
        self._unseen_count = 0 if is_full else LOOK_EVERY
        if not is_full:
            return None
        return LimitReached(
            "no more connections allowed (file descriptors)",
            hint="Raise the limit of open files (ulimit -n) for the pooler.",
        )

    def _make_room(self, client: ClientLoginConnection, settings: Settings) -> None:
        """Have the oldest login give way if there are too many."""
        limit, address_limit = settings.max_pending_logins, settings.max_pending_logins_per_address
        if not (limit or address_limit) or client.is_unix:
            return
        found = self._unproven.add(client, client.address[0], limit, address_limit)
        if found is not None:
            oldest, setting = found
            oldest.refuse(LimitReached(f"too many logins at a time ({setting})"))

    def proved(self, client: ClientLoginConnection) -> None:
        """Note that a connection has proved who it is; a server may be all that it waits for."""
        self._unproven.remove(client)

    def leave(self, client: ClientLoginConnection) -> None:
        """Forget a connection that has logged in or gone."""
        self._arriving.pop(client, None)
        self._unproven.remove(client)

    def sweep(self, login_timeout_s: float) -> None:
        """Close connections that take too long to log in; they stand here in order of arrival."""
        if not login_timeout_s:
            return
        now = self._clock()
        for client, since in list(self._arriving.items()):
            if now - since <= login_timeout_s:
                break
            client.login_timed_out()

    def turn_away(self, error: ClientError) -> None:
        """Refuse everybody who has not come in yet."""
        for client in list(self._arriving):
            client.refuse(error)
