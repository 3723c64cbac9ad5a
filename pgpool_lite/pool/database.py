"""One database as clients name it: where it is, whether it is open, what went through it."""

from __future__ import annotations

from pgpool_lite.config import DatabaseSettings
from pgpool_lite.pool.headcount import Headcount
from pgpool_lite.pool.stats import Stats


class Database:
    """A line of [databases], or one made from `*`. Owned by the registry."""

    def __init__(self, settings: DatabaseSettings, now: float, *, is_auto: bool = False) -> None:
        """Open a database that nobody has used yet."""
        #: Replaced on RELOAD.
        self.settings = settings
        #: Made from `*` because a client asked for it; not in the file.
        self.is_auto = is_auto
        #: No client is linked, servers are closed as they come free: PAUSE of this database, or of
        #: all of them.
        self.is_paused = False
        #: PAUSE or KILL named this database: RESUME without a name leaves it paused.
        self.is_paused_by_name = False
        #: DISABLE: new clients are refused.
        self.is_disabled = False
        #: A server has let us in here at least once.
        self.was_reached = False
        self.stats = Stats(now)
        self.headcount = Headcount("max_db_connections")
        #: Since when a sweep has found nobody here; None while there is somebody.
        self.deserted_since: float | None = None

    @property
    def name(self) -> str:
        """The name that clients use."""
        return self.settings.name
