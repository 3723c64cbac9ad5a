"""How long may a socket that is being closed wait for a peer that does not read?

A transport that is closed goes on until everything written has gone out. A peer that has stopped
reading, be it a client or a server, never lets that happen; its connection is in no list any more
and counts against no limit, and its file descriptor would stay for as long as the peer likes. So
what is closed with something unsent is left here, and a sweep cuts off what is overdue.
"""

from __future__ import annotations

import asyncio
from typing import Final

#: Seconds for what is unsent to go out; PgBouncer gives it none.
LINGER_LIMIT_S: Final = 10.0


class Lingering:
    """The sockets that are closed but for their last bytes. Owned by the dispatcher."""

    def __init__(self) -> None:
        """Wait for nobody yet."""
        # Since when each of them lingers, oldest first.
        self._since: dict[asyncio.Transport, float] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._since)

    def close(self, transport: asyncio.Transport, now: float) -> None:
        """Close a socket once everything written has gone out, or at the latest when it is due."""
        if transport.get_write_buffer_size():
            self._since.setdefault(transport, now)
        transport.close()

    def forget(self, transport: asyncio.Transport) -> None:
        """Take note that a socket is closed."""
        self._since.pop(transport, None)

    def sweep(self, now: float) -> None:
        """Cut off those that have lingered for too long."""
        for transport, since in list(self._since.items()):
            if now - since <= LINGER_LIMIT_S:
                return
            del self._since[transport]
            transport.abort()

    def abort_all(self) -> None:
        """Cut off all of them: the pooler stops."""
        for transport in self._since:
            transport.abort()
        self._since.clear()
