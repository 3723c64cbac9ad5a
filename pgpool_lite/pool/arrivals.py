"""Who has connected and not proved yet who it is, and who must give way to a newcomer?

max_pending_logins bounds them in all, max_pending_logins_per_address those of one address. At the
bound the one goes that has been at it for longest: a login takes moments, so that one is most
likely somebody who means to fill the room. Were newcomers refused, that would be all it takes to
keep everybody out for client_login_timeout.

Asked in the anteroom, for clients of the network only: the Unix socket is left for the operator.
"""

from __future__ import annotations

from typing import Generic, TypeVar

C = TypeVar("C")


class Arrivals(Generic[C]):
    """Those who have not proved themselves, in the order in which they came."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._addresses: dict[C, str] = {}
        self._by_address: dict[str, dict[C, None]] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._addresses)

    def add(self, client: C, address: str, limit: int, address_limit: int) -> tuple[C, str] | None:
        """Take in a client; return who must give way, and by which setting. A limit of 0 is none.

        Whoever gives way is still here: the caller closes it and calls `remove`.
        """
        neighbours = self._by_address.setdefault(address, {})
        neighbours[client] = None
        self._addresses[client] = address
        if 0 < address_limit < len(neighbours):
            return next(iter(neighbours)), "max_pending_logins_per_address"
        if 0 < limit < len(self._addresses):
            return next(iter(self._addresses)), "max_pending_logins"
        return None

    def remove(self, client: C) -> None:
        """Forget a client that has proved itself or gone; one that is not here is no matter."""
        address = self._addresses.pop(client, None)
        if address is None:
            return
        neighbours = self._by_address[address]
        del neighbours[client]
        if not neighbours:
            del self._by_address[address]
