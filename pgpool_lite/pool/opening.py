"""May a pool open one more server, and which server must give way for it?

`next_step` is PgBouncer's launch_new_connection as a question. A pool opens one server at a time,
and waits after a failed login; it opens one for clients that wait, up to its pool_size, then from
its reserve; or to have min_pool_size of them. A replication client needs one of its own, for which
an idle one of the pool gives way. Beyond that count the limits of its database and of
its user, over all pools. When one of these is reached, the server that has been idle for longest
in any pool it holds for gives way, but only to clients that wait.

Nothing is opened or closed here. The runtime does the step and asks again, until it is told to
open, or None.
"""

from __future__ import annotations

from dataclasses import dataclass

from pgpool_lite.pool.headcount import Headcount
from pgpool_lite.pool.pool import EVICTED_FOR, Pool
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.states import ClientState, ServerState


@dataclass(frozen=True, slots=True)
class Open:
    """Open a server."""

    #: The client that the reserve is used for.
    reserve_for: ClientSession | None = None
    #: The replication client that it is for alone.
    dedicated_to: ClientSession | None = None


@dataclass(frozen=True, slots=True)
class Evict:
    """Close a server, which nobody uses, of this pool: its room is needed."""

    pool: Pool
    server: ServerSession
    #: PgBouncer's words for it.
    reason: str


def next_step(pool: Pool, now: float, *, is_asked: bool = False) -> Open | Evict | None:
    """Return what is to be done next so that `pool` has the servers that it needs; None: nothing.

    A pool that has to wait for room is noted in the headcount that is full, so that the servers
    which come free there are closed; whoever closes one asks again for those noted. `is_asked`:
    the pool needs a server although nobody waits for it.
    """
    step, full = None, None
    if is_asked or not pool.has_its_due():
        step, full = _decide(pool, now, is_asked)
    if full is not pool.starves_in:
        pool.starve(full)
    return step


def _may_try(pool: Pool, now: float) -> bool:
    """Say whether a login may be begun at all: one at a time, and not too soon after a failure."""
    if pool.servers[ServerState.LOGIN] or pool.database.is_paused or pool.is_disbanded:
        return False
    return not pool.failure or now - pool.login_began_at >= pool.rules.login_retry_s


def _decide(pool: Pool, now: float, is_asked: bool) -> tuple[Open | Evict | None, Headcount | None]:
    """Return the next step, and the headcount in which there is no room if that is why not."""
    if not _may_try(pool, now):
        return None, None
    replicating = _oldest_replicating(pool)
    if replicating is not None and _is_full(pool):
        idle = next(iter(pool.servers[ServerState.IDLE]), None)
        pool.squeeze(idle is None)
        if idle is not None:
            return Evict(pool, idle, EVICTED_FOR + "pool_size"), None
        replicating = None  # the next server that comes free makes room
    else:
        pool.squeeze(False)
    if replicating is None and not (is_asked or _serves_too_few(pool)):
        return _top_up(pool), None
    step = Open(dedicated_to=replicating)
    if replicating is None and _is_full(pool) and not _lacks_welcome(pool):
        client = _reserve_is_due_to(pool, now)
        if client is None:
            return None, None
        step = Open(reserve_for=client)
    full = _full_headcount(pool)
    if full is None:
        return step, None
    is_first_in_line = pool.starves_in is not full or next(iter(full.starving)) is pool
    victim = _idle_for_longest(full) if is_first_in_line else None
    return victim, full if victim is None else None


def _serves_too_few(pool: Pool) -> bool:
    """Say whether clients wait for more than what is being made ready for them."""
    if _lacks_welcome(pool):
        return True
    on_the_way = len(pool.servers[ServerState.TESTED]) + len(pool.servers[ServerState.USED])
    return len(pool.clients[ClientState.WAITING]) > on_the_way


def _lacks_welcome(pool: Pool) -> bool:
    """Say whether clients cannot come in before a server is ready, whatever pool_size is.

    They may know by now what it would say: it has logged in, and then died of its connect_query.
    """
    return any(client.replication is None for client in pool.clients[ClientState.LOGIN])


def _oldest_replicating(pool: Pool) -> ClientSession | None:
    """Return the replication client that has waited longest for a server of its own."""
    arriving = pool.clients[ClientState.LOGIN]
    return next((client for client in arriving if client.replication is not None), None)


def _top_up(pool: Pool) -> Open | None:
    """Have min_pool_size kept, where that costs nobody else anything."""
    rules = pool.rules
    if pool.server_count >= rules.min_pool_size or _is_full(pool):
        return None
    if not (rules.has_forced_user or pool.client_count):
        return None
    if _full_headcount(pool) is not None or any(each.starving for each in pool.headcounts):
        return None
    return Open()


def _is_full(pool: Pool) -> bool:
    return 0 < pool.rules.pool_size <= pool.server_count


def _reserve_is_due_to(pool: Pool, now: float) -> ClientSession | None:
    """Return the client that has waited so long that a server of the reserve is opened for it."""
    rules = pool.rules
    client = pool.oldest_waiting()
    if client is None or not rules.reserve_timeout_s:
        return None
    is_left = pool.server_count < rules.pool_size + rules.reserve_size
    has_waited = now - client.waiting_since >= rules.reserve_timeout_s
    return client if is_left and has_waited else None


def _full_headcount(pool: Pool) -> Headcount | None:
    """Return the first of the pool's headcounts in which there is no room for one more server."""
    rules = pool.rules
    limits = (rules.max_db_connections, rules.max_user_connections)
    for each, limit in zip(pool.headcounts, limits, strict=True):
        if 0 < limit <= each.server_count:
            return each
    return None


def _idle_for_longest(headcount: Headcount) -> Evict | None:
    """Return which of a headcount's servers gives way: nobody uses it, and longest so."""
    reason = EVICTED_FOR + headcount.limit_name
    candidates = (
        Evict(pool, next(iter(pool.servers[state])), reason)
        for pool in headcount.pools
        for state in _STATES_THAT_GIVE_WAY[pool.is_waited_for]
        if pool.servers[state]
    )
    return min(candidates, key=lambda each: each.server.released_at, default=None)


#: The states whose oldest server may be taken from a pool, by whether clients wait there: those
#: will soon get what is USED or TESTED now.
_STATES_THAT_GIVE_WAY = {
    True: (ServerState.IDLE,),
    False: (ServerState.IDLE, ServerState.USED, ServerState.TESTED),
}
