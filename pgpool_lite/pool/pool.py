"""Who of one (database, user) is linked to whom? `link` and `release` decide it. HOT.

HOT rule: `link` and `release` take one server from the end of a list and put one there, whatever
the pool's size, and call nothing that could wait.

A `Pool` is a `Roster` with a policy. The roster's movers take connections from list to list; only
the hot pair does the same by hand, between IDLE and ACTIVE. Policy is two lines, both in
`_hand_over` and `link`: the idle server that was released last goes out first, and the client that
waits longest is served first. Whether one more server may be opened is `opening`'s business.

The pool decides and never acts: it returns who is to go on, and leaves in a server's `state` what
has become of it. Opening, sending and closing are the runtime's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pgpool_lite.config import PoolMode, SessionLeaks
from pgpool_lite.pool import leaks
from pgpool_lite.pool.headcount import Census, Headcount
from pgpool_lite.pool.hosts import HostRotation
from pgpool_lite.pool.roster import Roster
from pgpool_lite.pool.rules import PoolRules
from pgpool_lite.pool.welcomes import Welcomes
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.states import ClientState, ServerState

if TYPE_CHECKING:
    from pgpool_lite.pool.database import Database

# Members as module globals: looking one up in its Enum class costs as much as a dict operation.
_IDLE: Final = ServerState.IDLE
_ACTIVE: Final = ServerState.ACTIVE
_TESTED: Final = ServerState.TESTED
_BEING_CANCELED: Final = ServerState.BEING_CANCELED
_CLOSED: Final = ServerState.CLOSED
_CLIENT_ACTIVE: Final = ClientState.ACTIVE
_USED: Final = ServerState.USED
_SESSION: Final = PoolMode.SESSION
_OFF: Final = SessionLeaks.OFF

#: Why a server is closed when it comes free, if what it connects to has changed.
CLOSE_NEEDED: Final = "close_needed"
#: Why a server is closed whose room is needed; the limit that is reached comes behind.
EVICTED_FOR: Final = "evicted for "


class Pool(Roster):
    """All connections of one (database, user). Owned by the registry."""

    def __init__(
        self, database: Database, user: str, rules: PoolRules, census: Census | None = None
    ) -> None:
        """Make an empty pool; nothing is opened until somebody waits."""
        super().__init__(database, user, census)
        self.rules = rules
        #: Clients in the middle of something, who do not follow the rules of statements yet.
        self.lagging: list[ClientSession] = []
        #: Nothing stands between a settled answer and the next client: the usual transaction pool.
        self._is_plain = False
        self.counters = database.stats.now
        self.leak_counters = leaks.LeakCounters()
        # --- what is known of the server ---
        #: Which of the database's hosts comes next.
        self.rotation = HostRotation()
        #: ParameterStatus values of the last login; None until there was one.
        self.welcome: dict[str, str] | None = None
        #: What clients are told of it.
        self.welcomes = Welcomes()
        #: Why the last attempt to log in failed, "" if it did not; and when it began.
        self.failure = ""
        self.is_refused = False  # that was PostgreSQL's answer
        self.login_began_at = float("-inf")
        self.last_lifetime_close_at = float("-inf")
        # --- among other pools ---
        #: Since when a sweep has found nobody here; None while there is somebody.
        self.deserted_since: float | None = None
        #: A replication client waits for room here: the next server that comes free makes it.
        self.is_squeezed = False
        #: Where it waits for room for a server, if it does.
        self.starves_in: Headcount | None = None
        #: Its database is gone, or it was idle for long: nothing is opened for it any more.
        self.is_disbanded = False
        for each in self.headcounts:
            each.pools[self] = None
        self.set_rules(rules)

    def disband(self) -> None:
        """Leave the other pools; whoever is still here is to be closed."""
        self.is_disbanded = True
        self.starve(None)
        for each in self.headcounts:
            each.pools.pop(self, None)
        self._census.forget_if_empty(self.user)

    def set_rules(self, rules: PoolRules) -> None:
        """Follow new rules from now on, after a RELOAD."""
        known = (self.rules.statements, self.rules.session_leaks)
        if (rules.statements, rules.session_leaks) != known:
            self.lagging = list(self._welcomed)
        if (rules.session_leaks is _OFF) is not (self.rules.session_leaks is _OFF):
            self.retire(CLOSE_NEEDED)  # those that log in from now on are watched, or not
        self.rules = rules
        self.look_out()
        self.lead_clients()
        for servers in self.servers.values():
            for server in servers:
                self.apply_rules(server)

    def look_out(self) -> None:
        """Resolve whether a release needs care: the rules, or who starves, have changed."""
        rules = self.rules
        self._is_plain = (
            rules.mode is not _SESSION
            and not rules.reset_query
            and not (rules.checks_every_use or rules.verifies_leaks)
            and not self.is_squeezed
            and not any(each.starving for each in self.headcounts)
        )

    def has_its_due(self) -> bool:
        """Recognise the usual busy pool at a glance: full, without a reserve, nobody arriving."""
        return (
            0 < self.rules.pool_size <= self.server_count
            and not self.rules.reserve_size
            and not self._arriving
            and not self.is_squeezed
        )

    def squeeze(self, is_squeezed: bool) -> None:
        """Have the next server that comes free closed, or no longer."""
        if is_squeezed is not self.is_squeezed:
            self.is_squeezed = is_squeezed
            self.look_out()

    def starve(self, full: Headcount | None) -> None:
        """Note where the pool waits for room for a server; None: nowhere any more."""
        if self.starves_in is not None:
            self.starves_in.note_starving(self, False)
        self.starves_in = full
        if full is not None:
            full.note_starving(self, True)

    def lead_clients(self) -> None:
        """Have clients treat prepared statements by the rules, as far as they can by now."""
        self.lagging = [
            client
            for client in self.lagging
            if client.state is not ClientState.CLOSED and not client.connection.follow_rules()
        ]

    def apply_rules(self, server: ServerSession) -> None:
        """Have a server follow the rules."""
        rules, is_own = self.rules, server.dedication is not None
        server.retires_at = server.connected_at + rules.server_lifetime_s
        if is_own or leaks.needs_care(server, rules):
            server.retires_at = float("-inf")  # so that every release is looked at with care
        server.keeps_client = is_own or rules.mode is _SESSION or leaks.is_pinned(server, rules)
        server.forbids_blocks = rules.mode is PoolMode.STATEMENT and not is_own
        server.teaches = rules.teaches or is_own

    # --- the hot pair ---

    def link(self, client: ClientSession, now: float) -> ServerSession | None:
        """Give `client` an idle server, or let it wait: then None.

        The caller has seen that the client is not linked and has something to send.
        """
        idle = self._idle
        if not idle or self.database.is_paused:
            self._queue(client)
            client.waiting_since = now
            return None
        server = idle.pop(0) if self.rules.round_robin else idle.pop()
        server.state = _ACTIVE
        server.client = client
        client.server = server
        server.requested_at = now
        client.requested_at = client.query_started_at = client.xact_started_at = now
        counters = self.counters
        counters.server_assignment_count += 1
        counters.query_count += 1
        counters.xact_count += 1
        return server

    def release(self, server: ServerSession, now: float) -> ClientSession | None:
        """End a settled pairing; return the waiting client that is linked to the server now.

        The server's state tells what became of it: ACTIVE again (a client is returned), IDLE,
        TESTED (its reset query must be sent), USED (it must be checked before its next client),
        BEING_CANCELED, or CLOSED (close it; `close_reason` says why). In session mode nothing
        happens before the client leaves.
        """
        client = server.client
        if client is not None and client.xact_started_at:
            counters = self.counters
            counters.xact_time += now - client.xact_started_at
            client.xact_started_at = 0.0
            if client.query_started_at:
                counters.query_time += now - client.query_started_at
                client.query_started_at = 0.0
            client.requested_at = now
        if (
            self._is_plain
            and now < server.retires_at
            and not (server.close_reason or server.cancels_in_flight or self.database.is_paused)
        ):
            if client is not None:
                client.server = None
                server.client = None
            server.released_at = now
            if self._waiting.first is not None:
                return self._hand_over(server, now)
            server.state = _IDLE
            self._idle.append(server)
            return None
        return self._release_carefully(server, now)

    def _release_carefully(self, server: ServerSession, now: float) -> ClientSession | None:
        """Release a server that something is to be asked of, or that may not be used again."""
        client = server.client
        if server.keeps_client and client is not None and not client.is_leaving:
            return None
        if client is not None:
            client.server = None
            server.client = None
        server.released_at = now
        leaks.set_errand(server, client, self)
        if self._must_close(server, now):
            self._move(server, _CLOSED)
            return None
        if server.cancels_in_flight:
            self._move(server, _BEING_CANCELED)
            return None
        if self.rules.reset_query or server.errand:
            self._move(server, _TESTED)
            return None
        if self.rules.checks_every_use:
            self._move(server, _USED)
            return None
        return self._hand_over(server, now)

    def _hand_over(self, server: ServerSession, now: float) -> ClientSession | None:
        """Link a usable server to the oldest waiting client, which is returned; else it is idle."""
        client = self._waiting.first
        if client is None:
            self._move(server, _IDLE)
            return None
        self._unqueue(client)
        client.waiting_since, waited_s = 0.0, now - client.waiting_since
        if server.state is not _ACTIVE:
            self._move(server, _ACTIVE)
        server.client = client
        client.server = server
        server.requested_at = now
        client.requested_at = client.query_started_at = client.xact_started_at = now
        counters = self.counters
        counters.wait_time += waited_s
        counters.server_assignment_count += 1
        counters.query_count += 1
        counters.xact_count += 1
        return client

    def _must_close(self, server: ServerSession, now: float) -> bool:
        if not server.close_reason and server.dedication is not None:
            server.close_reason = "replication client was closed"
        if not server.close_reason and self.is_life_over(server, now):
            server.close_reason = "server lifetime over"
            self.last_lifetime_close_at = now
        if not server.close_reason and self.database.is_paused:
            server.close_reason = "pause mode"
        if not server.close_reason:
            server.close_reason = self._give_way()
        return bool(server.close_reason)

    def _give_way(self) -> str:
        """Return why the room of a server is needed, "" if it is not.

        It may be for a replication client; or for another pool, if nobody here waits for a server.
        """
        if self.is_squeezed:
            return EVICTED_FOR + "pool_size"
        if not self._waiting:
            for each in self.headcounts:
                if any(other.is_waited_for for other in each.starving):
                    return EVICTED_FOR + each.limit_name
        return ""

    # --- servers come and go ---

    def add_server(self, server: ServerSession, now: float) -> None:
        """Take in a connection that is about to be opened."""
        self._add_server(server)
        self.apply_rules(server)
        self.login_began_at = now

    def server_logged_in(self, server: ServerSession, now: float) -> ClientSession | None:
        """Note that a server is ready for use; return the waiting client that gets it."""
        self.failure = ""
        server.released_at = now
        self._move(server, _IDLE)
        is_wanted = bool(self._waiting) or not self._give_way()
        if server.close_reason or self.database.is_paused or not is_wanted:
            return self.reuse(server, now)
        # Not too old for its first client, were server_lifetime 0: that means "use once".
        return self._hand_over(server, now) if self._waiting else None

    def dedicated_logged_in(self, server: ServerSession) -> ClientSession | None:
        """Link a server to the replication client that it was opened for, and return that.

        None: the client has left, or the server may not be used; close it, `close_reason` says why.
        """
        assert server.dedication is not None
        client = server.dedication.client
        self.failure = ""
        self._move(server, _IDLE)
        if client.state is not ClientState.LOGIN:
            server.close_reason = server.close_reason or "replication client disconnected"
        elif self.database.is_paused:
            server.close_reason = server.close_reason or "pause mode"
        if server.close_reason:
            self._move(server, _CLOSED)
            return None
        self._move(server, _ACTIVE)
        server.client = client
        client.server = server
        self.counters.server_assignment_count += 1
        return client

    def server_usable(self, server: ServerSession, now: float) -> ClientSession | None:
        """Note that a server's reset or check query succeeded, or its last cancel is through."""
        if server.state is _TESTED and leaks.has_more_to_do(server, self, now):
            return None
        if server.state is _BEING_CANCELED and (self.rules.reset_query or server.errand):
            self._move(server, _TESTED)
            return None
        if server.state is _BEING_CANCELED and self.rules.checks_every_use:
            self._move(server, _USED)
            return None
        self._move(server, _IDLE)
        return self.reuse(server, now)

    def reuse(self, server: ServerSession, now: float) -> ClientSession | None:
        """Give an idle server to the oldest waiting client, which is returned, if there is one."""
        if self._must_close(server, now):
            self._move(server, _CLOSED)
            return None
        if not self._waiting:
            return None
        return self._hand_over(server, now)

    def retire(
        self, reason: str, concerns: Callable[[ServerSession], bool] = lambda server: True
    ) -> None:
        """Have servers closed once they are not linked; from now on none of them is.

        Whatever kept servers from being opened may be over too: the next one is tried at once.
        """
        self.failure = ""
        for servers in self.servers.values():
            for server in filter(concerns, list(servers)):
                server.close_reason = server.close_reason or reason
                if server.state is _IDLE:
                    self._move(server, _USED)  # where `link` does not look

    def begin_test(self, server: ServerSession) -> None:
        """Note that a check query is about to be sent to a USED server."""
        self._move(server, _TESTED)

    def grow_stale(self, server: ServerSession) -> None:
        """Note that a server has been idle for so long that it must be checked before use."""
        self._move(server, _USED)

    def login_failed(self, server: ServerSession, reason: str, *, is_refusal: bool = False) -> None:
        """Note that an attempt to open a server failed; nobody tries again for a while.

        `is_refusal`: PostgreSQL is there, and said no.
        """
        self.failure, self.is_refused = reason, is_refusal
        self.remove_server(server)

    # --- clients come and go ---

    def admit(self, client: ClientSession) -> None:
        """Note that a client has been welcomed."""
        self._move_client(client, _CLIENT_ACTIVE)
        self.counters.client_login_count += 1

    def is_life_over(self, server: ServerSession, now: float) -> bool:
        """Say whether a server is too old; they retire one by one, spread over a lifetime."""
        if now < server.retires_at:
            return False
        rules = self.rules
        spread = rules.server_lifetime_s / rules.pool_size if rules.pool_size else 0.0
        return now - self.last_lifetime_close_at >= spread
