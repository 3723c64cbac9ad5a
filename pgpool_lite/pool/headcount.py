"""How many clients and servers are there in the name of one database, or of one user?

PgBouncer's limits beyond a pool's own size count over pools: max_db_connections and its kin those
of one database, max_user_connections and its kin those of one user. So each database and each
user has a `Headcount`, which the movers of `roster.Roster` keep (and the console, which has no
pool); a limit is compared with it and nothing is ever counted again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgpool_lite.pool.pool import Pool


class Headcount:
    """The connections of one database, or of one user, over all pools."""

    __slots__ = ("client_count", "limit_name", "pools", "server_count", "starving")

    def __init__(self, limit_name: str = "") -> None:
        """Begin with nobody. The servers are limited by the setting of that name."""
        self.limit_name = limit_name
        #: Clients that have proved themselves, from then until they are closed.
        self.client_count = 0
        #: Servers of every state, those being opened too.
        self.server_count = 0
        #: Pools whose servers are counted here: an idle one of theirs may have to give way.
        self.pools: dict[Pool, None] = {}
        #: Pools that want a server and find neither room here nor an idle server to take the
        #: place of, longest first. While there are any, servers that come free are closed.
        self.starving: dict[Pool, None] = {}

    @property
    def is_empty(self) -> bool:
        """Nobody is counted here, and no pool belongs here."""
        return not (self.client_count or self.server_count or self.pools)

    def note_starving(self, pool: Pool, is_starving: bool) -> None:
        """Note whether `pool` waits for room; the others look out for it as long as one does."""
        if (pool in self.starving) is is_starving:
            return
        was_quiet = not self.starving
        if is_starving:
            self.starving[pool] = None
        else:
            del self.starving[pool]
        if was_quiet or not self.starving:
            for each in self.pools:
                each.look_out()


class Census:
    """The headcounts of all users, and of everybody. Owned by the registry.

    That of a database belongs to its `Database`.
    """

    def __init__(self) -> None:
        """Begin with nobody."""
        self.everybody = Headcount()
        self._users: dict[str, Headcount] = {}

    def of_user(self, user: str) -> Headcount:
        """Return the headcount of a user, made if need be."""
        theirs = self._users.get(user)
        if theirs is None:  # or `setdefault` would make one each time
            theirs = self._users[user] = Headcount("max_user_connections")
        return theirs

    def client_came(self, database: Headcount, user: str) -> None:
        """Count a client that has proved to be `user`."""
        theirs = self.of_user(user)
        self.everybody.client_count += 1  # one by one: a loop has Python make a tuple, and undo it
        database.client_count += 1
        theirs.client_count += 1

    def client_left(self, database: Headcount, user: str) -> None:
        """Reverse `client_came`; a user of whom nothing is left is forgotten."""
        theirs = self._users[user]
        self.everybody.client_count -= 1
        database.client_count -= 1
        theirs.client_count -= 1
        self.forget_if_empty(user)

    def forget_if_empty(self, user: str) -> None:
        """Forget a user of whom nothing is left: who may come by any name must not fill memory."""
        theirs = self._users.get(user)
        if theirs is not None and theirs.is_empty:
            del self._users[user]

    @property
    def users(self) -> Iterable[str]:
        """The users who have connections or pools."""
        return self._users

    def clients_of(self, user: str) -> int:
        """Return how many clients a user has; one we know nothing of has none."""
        theirs = self._users.get(user)
        return theirs.client_count if theirs is not None else 0

    def servers_of(self, user: str) -> int:
        """Return how many servers are open in a user's name."""
        theirs = self._users.get(user)
        return theirs.server_count if theirs is not None else 0
