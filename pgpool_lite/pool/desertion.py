"""Which pools and databases has nobody used for so long that they are forgotten?

PgBouncer's pool_idle_timeout and autodb_idle_timeout. Asked with every sweep, for there is no
moment at which a pool becomes deserted that would not cost something each time it is left; so
being deserted is noted by the first sweep that finds nobody there.

auth_query is asked for strangers, by whatever name they call a database. What they made up goes as
soon as its failure need not be remembered any more, or they could fill memory.
"""

from __future__ import annotations

from collections.abc import Iterator

from pgpool_lite.pool.database import Database
from pgpool_lite.pool.pool import Pool
from pgpool_lite.pool.registry import Registry


def deserted_pools(registry: Registry, now: float) -> Iterator[tuple[Pool, float]]:
    """Yield the pools in which nobody was for pool_idle_timeout, and for how many seconds.

    A pool that is kept at min_pool_size even without clients is never forgotten.
    """
    limit = registry.config.settings.pool_idle_timeout
    if not limit:
        return
    for pool in list(registry.pools.values()):
        idle_s = _note(pool, pool.is_deserted, now)
        if idle_s > limit and not (pool.rules.min_pool_size and pool.rules.has_forced_user):
            yield pool, idle_s


def deserted_databases(registry: Registry, now: float) -> Iterator[Database]:
    """Yield the databases made from `*` that nobody has used for autodb_idle_timeout.

    One at which no server has ever let us in goes after server_login_retry already.
    """
    settings = registry.config.settings
    limit = settings.autodb_idle_timeout
    if not limit:
        return
    for database in list(registry.databases.values()):
        if not database.is_auto or database.is_paused:
            continue
        count = database.headcount
        idle_s = _note(database, not (count.client_count or count.server_count), now)
        if idle_s > (limit if database.was_reached else min(limit, settings.server_login_retry)):
            yield database


def _note(place: Pool | Database, is_deserted: bool, now: float) -> float:
    """Note whether a place is deserted, and return for how many seconds it has been."""
    if not is_deserted:
        place.deserted_since = None
        return 0.0
    if place.deserted_since is None:
        place.deserted_since = now
    return now - place.deserted_since
