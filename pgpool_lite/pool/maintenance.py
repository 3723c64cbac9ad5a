"""What is due now? Timeouts, checks and retirements of one pool, three times a second.

No query sets a timer. A sweep asks of each list the question that belongs to its state, and
returns what to do; the runtime does it. A sweep costs something per connection it looks at, so a
timeout that is switched off is not looked for, and of the waiting clients, who stand in the order
in which they came, only those that have waited too long are touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from math import inf

from pgpool_lite.errors import LimitReached
from pgpool_lite.pool.cancel import CancelRequest
from pgpool_lite.pool.pool import CLOSE_NEEDED, Pool
from pgpool_lite.pool.rules import PoolRules
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.statement_head import KEPT_SIZE
from pgpool_lite.session.states import ClientState, ServerState

#: Seconds between two sweeps; PgBouncer's janitor has the same rhythm.
SWEEP_INTERVAL_S = 0.333

#: A check or reset query that takes longer than this has failed. PgBouncer knows no such limit; a
#: server that went silent would count against pool_size for ever.
TEST_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True)
class CloseServer:
    """Close a server connection; a client linked to it is told the same reason."""

    server: ServerSession
    reason: str


@dataclass(frozen=True, slots=True)
class CloseClient:
    """Close a client's connection with an error."""

    client: ClientSession
    error: LimitReached


@dataclass(frozen=True, slots=True)
class NotifyClient:
    """Tell a client that it is queued; PgBouncer's query_wait_notify."""

    client: ClientSession


@dataclass(frozen=True, slots=True)
class DropCancel:
    """Give up a cancel request whose turn never came."""

    request: CancelRequest


Action = CloseServer | CloseClient | NotifyClient | DropCancel


def sweep(pool: Pool, now: float) -> list[Action]:
    """Return everything that is due in `pool` at the instant `now`."""
    _let_go_of_reads(pool)
    return [
        *_idle_servers(pool, now),
        *_surplus_servers(pool),
        *_obsolete_servers(pool),
        *_linked_servers(pool, now),
        *_tested_servers(pool, now),
        *_waiting_clients(pool, now),
        *_arriving_clients(pool, now),
        *_idle_clients(pool, now),
        *_cancel_requests(pool, now),
    ]


def _let_go_of_reads(pool: Pool) -> None:
    """Keep no more of what servers were asked than somebody may look at."""
    for state in (ServerState.USED, ServerState.IDLE):
        for server in pool.servers[state]:
            server.asked = b""
    for server in pool.servers[ServerState.ACTIVE]:
        if len(server.asked) > KEPT_SIZE:
            server.asked = server.asked[:KEPT_SIZE]


def _idle_servers(pool: Pool, now: float) -> Iterator[Action]:
    """Close servers that nobody needs any more; let others grow stale."""
    rules = pool.rules
    minimum = rules.min_pool_size
    count = pool.connected_count
    for state in (ServerState.USED, ServerState.IDLE):
        for server in list(pool.servers[state]):
            idle_s = now - server.released_at
            too_idle = 0 < rules.server_idle_timeout_s < idle_s
            if server.close_reason:
                yield CloseServer(server, _words_for(server.close_reason))
            elif pool.database.is_paused:
                yield CloseServer(server, "pause mode")
            elif too_idle and count > minimum:
                count -= 1
                yield CloseServer(server, "server idle timeout")
            elif pool.is_life_over(server, now):
                pool.last_lifetime_close_at = now
                yield CloseServer(server, "server lifetime over")
            elif state is ServerState.IDLE and _needs_check(rules, idle_s):
                pool.grow_stale(server)


def _needs_check(rules: PoolRules, idle_s: float) -> bool:
    return rules.check_query is not None and idle_s > rules.check_delay_s


def _words_for(close_reason: str) -> str:
    """Return how PgBouncer says why a server that nobody uses is closed."""
    return "database configuration changed" if close_reason == CLOSE_NEEDED else close_reason


def stale_servers(pool: Pool) -> list[ServerSession]:
    """Return the servers that must be checked because clients wait, and they were idle for long."""
    testing = len(pool.servers[ServerState.TESTED])
    wanted = len(pool.clients[ClientState.WAITING]) - testing
    if wanted <= 0:
        return []
    usable = (server for server in pool.servers[ServerState.USED] if not server.close_reason)
    return list(islice(usable, wanted))


def _surplus_servers(pool: Pool) -> Iterator[Action]:
    """Close idle servers beyond pool_size, after a RELOAD made it smaller."""
    rules = pool.rules
    room = rules.pool_size + rules.reserve_size
    surplus = pool.connected_count - room if rules.pool_size else 0
    unlinked = [*pool.servers[ServerState.USED], *pool.servers[ServerState.IDLE]]
    for server in unlinked[: max(surplus, 0)]:
        yield CloseServer(server, "too many servers in the pool")


def _obsolete_servers(pool: Pool) -> Iterator[Action]:
    """Close servers that RECONNECT or a RELOAD made obsolete in the midst of a session.

    Those of replication clients always, for these may never come to an end.
    """
    closes_fast = pool.rules.closes_fast
    for server in list(pool.servers[ServerState.ACTIVE]):
        if server.close_reason and (
            server.dedication is not None or (closes_fast and server.is_settled())
        ):
            yield CloseServer(server, _words_for(server.close_reason))


def _linked_servers(pool: Pool, now: float) -> Iterator[Action]:
    """Find queries that run too long, and clients that sit on a server without using it.

    Whose turn it is decides which clock runs: the server's while it owes an answer and has the
    whole request, else the client's, be it idle in a transaction or stuck in half a message.
    """
    rules = pool.rules
    if not (
        rules.query_timeout_s or rules.idle_transaction_timeout_s or rules.transaction_timeout_s
    ):
        return
    for server in list(pool.servers[ServerState.ACTIVE]):
        client = server.client
        if client is None or server.is_settled():
            continue
        query_s = now - client.query_started_at if client.query_started_at else 0.0
        clients_turn = not (client.single or client.owed) or client.body_left > 0
        idle_s = now - max(client.requested_at, server.requested_at)
        transaction_s = now - client.xact_started_at if client.xact_started_at else 0.0
        if 0 < rules.query_timeout_s < query_s:
            yield CloseServer(server, "query timeout")
        elif clients_turn and 0 < rules.idle_transaction_timeout_s < idle_s:
            yield CloseServer(server, "idle transaction timeout")
        elif 0 < rules.transaction_timeout_s < transaction_s:
            yield CloseServer(server, "transaction timeout")


def _tested_servers(pool: Pool, now: float) -> Iterator[Action]:
    """Find servers that do not answer a check, reset or connect query."""
    connecting = [server for server in pool.servers[ServerState.LOGIN] if server.swallowing]
    for server in [*pool.servers[ServerState.TESTED], *connecting]:
        if now - server.requested_at > TEST_LIMIT_S:
            yield CloseServer(server, f"{server.own_failure} (no answer)")


def _waiting_clients(pool: Pool, now: float) -> Iterator[Action]:
    """Find clients that have waited too long for a server, oldest first."""
    rules = pool.rules
    limits = (rules.query_wait_notify_s, rules.waiting_query_timeout_s, rules.query_wait_timeout_s)
    all_limits = (*limits, *rules.own_query_wait_timeouts_s.values())
    shortest = min((limit for limit in all_limits if limit > 0), default=inf)
    for client in pool.clients[ClientState.WAITING]:
        waited_s = now - client.waiting_since
        if waited_s <= shortest:
            return  # nor has anybody behind this one
        sentence = _overdue(client, waited_s, rules)
        if sentence:
            yield CloseClient(client, LimitReached(sentence))
        elif (
            0 < rules.query_wait_notify_s < waited_s and client.notified_of != client.waiting_since
        ):
            client.notified_of = client.waiting_since
            yield NotifyClient(client)


def _overdue(client: ClientSession, waited_s: float, rules: PoolRules) -> str:
    """Return why a client must not wait for a server any longer, "" while it may."""
    if 0 < rules.waiting_query_timeout_s < waited_s:
        return "query_timeout"
    limit = rules.own_query_wait_timeouts_s.get(client.user, rules.query_wait_timeout_s)
    return "query_wait_timeout" if 0 < limit < waited_s else ""


def _arriving_clients(pool: Pool, now: float) -> Iterator[Action]:
    """Find clients that have proved who they are, but whose welcome no server has given yet."""
    rules = pool.rules
    for client in list(pool.clients[ClientState.LOGIN]):
        waited_s = now - client.connected_at
        sentence = _overdue(client, waited_s, rules)
        if sentence:
            yield CloseClient(client, LimitReached(sentence))
        elif 0 < rules.client_login_timeout_s < waited_s and client.replication is None:
            yield CloseClient(client, LimitReached("client_login_timeout (server down)"))


def _idle_clients(pool: Pool, now: float) -> Iterator[Action]:
    """Find clients that have asked for nothing for too long."""
    limit, own_limits = pool.rules.client_idle_timeout_s, pool.rules.own_client_idle_timeouts_s
    if not (limit or own_limits):
        return
    for client in list(pool.clients[ClientState.ACTIVE]):
        idle_s = now - client.requested_at
        if client.server is None and 0 < own_limits.get(client.user, limit) < idle_s:
            yield CloseClient(client, LimitReached("client_idle_timeout"))


def _cancel_requests(pool: Pool, now: float) -> Iterator[Action]:
    """Find cancel requests that wait for their turn for too long."""
    limit = pool.rules.cancel_wait_timeout_s
    for request in list(pool.cancel_requests[ClientState.WAITING_CANCEL]):
        if 0 < limit < now - request.requested_at:
            yield DropCancel(request)
