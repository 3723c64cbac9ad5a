"""What follows from what happened on a connection? Acts on the pool's decisions.

The pool says who goes on and what became of a server; sessions say what is wrong. Here that turns
into writes, closes and log lines. Every way in which a connection ends leads through
`refuse_client`, `client_left` or `lose_server`, so this is the one place where errors become an
ErrorResponse and a line in the log.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pgpool_lite.errors import (
    AlreadyTold,
    ClientError,
    LimitReached,
    LoginRejected,
    ServerAtFault,
    ServerError,
    ServerProtocolError,
    ServerRefusedLogin,
)
from pgpool_lite.pool import maintenance, opening
from pgpool_lite.pool.failures import hint_for_failure
from pgpool_lite.pool.maintenance import (
    CloseClient,
    CloseServer,
    DropCancel,
    NotifyClient,
)
from pgpool_lite.pool.opening import Evict
from pgpool_lite.pool.pool import Pool
from pgpool_lite.pool.registry import Registry
from pgpool_lite.pool.teaching import NO_SERVER_YET, Scene, explain
from pgpool_lite.proxy import watched
from pgpool_lite.proxy.client_connection import ClientConnection
from pgpool_lite.proxy.lingering import Lingering
from pgpool_lite.proxy.logs import ConnectionLog
from pgpool_lite.proxy.server_connection import ServerConnection
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.states import ClientState, ServerState
from pgpool_lite.wire.backend import error_response, notice_response
from pgpool_lite.wire.frontend import TERMINATE

if TYPE_CHECKING:
    from pgpool_lite.proxy.secret_lookup import SecretLookup

# As globals of this module: looked up in their Enum, two states cost a wait 1,800 instructions.
_IDLE: Final = ServerState.IDLE
_USED: Final = ServerState.USED
_CLIENT_CLOSED: Final = ClientState.CLOSED


class Dispatcher:
    """Carries out what pools decide. Owned by the runtime, known to every connection."""

    def __init__(self, registry: Registry, clock: Callable[[], float], log: ConnectionLog) -> None:
        """Act on the pools of `registry`."""
        self.registry = registry
        self.clock = clock
        self.log = log
        #: Sockets that are closed but for their last bytes.
        self.lingering = Lingering()
        #: Opens a server connection for a pool, or for one replication client; set by the runtime.
        self.open_server: Callable[[Pool, ClientSession | None], None]
        #: Called whenever a connection has ended: somebody may wait for the last one.
        self.on_change: Callable[[], None] = lambda: None
        #: Set while shutting down: no client may begin to wait any more.
        self.is_draining = False
        #: Set when everything is closed: nothing may be opened any more.
        self.is_stopping = False

    # --- the usual way of things ---

    def answered(self, server: ServerSession, client: ClientSession, pool: Pool) -> None:
        """Note that a client has all the answers it is owed, and goes on with its server."""
        now = self.clock()
        server.requested_at = now
        if client.query_started_at:
            pool.counters.query_time += now - client.query_started_at
            client.query_started_at = 0.0

    def release(self, server: ServerSession, pool: Pool) -> None:
        """Part a settled pair, and do what follows from that."""
        server.connection.resume_reading()  # it may have been stopped for this client
        if server.is_congested:
            server.close_reason = "server does not read what was sent to it"
        next_client = pool.release(server, self.clock())
        if next_client is not None or server.state is not _IDLE:
            self.follow_up(server, pool, next_client)

    def follow_up(
        self, server: ServerSession, pool: Pool, next_client: ClientSession | None
    ) -> None:
        """Do what the server's new state asks for."""
        if next_client is not None:
            next_client.connection.go_on(server)
        elif server.state is ServerState.TESTED:
            sql = pool.rules.reset_query if server.errand is None else server.errand.sql
            self.ask(server, sql, "reset query failed")
        elif server.state is ServerState.USED:
            self._check_stale(pool)
        elif server.state is ServerState.CLOSED:
            self._close_socket(server, pool, server.close_reason)
            self._room_is_made(pool)

    def own_query_done(self, connection: ServerConnection) -> None:
        """Take a server back whose check, reset or connect query has been answered."""
        server, pool, now = connection.session, connection.pool, self.clock()
        if server.state is ServerState.LOGIN:
            if server.own_refusal:
                self.log.connect_query_refused(server, pool)
            self.server_ready(server, pool)
        else:
            self.follow_up(server, pool, pool.server_usable(server, now))

    def ask(self, server: ServerSession, sql: str, failure: str) -> None:
        """Send a query of our own; `failure` is what the log reads when it is refused."""
        server.requested_at = self.clock()
        server.relay(server.ask(sql, failure))

    def client_waits(self, connection: ClientConnection | SecretLookup) -> None:
        """See that a client which found no idle server gets one, or an answer."""
        pool = connection.pool
        if self.is_draining:
            connection.refuse(LimitReached("server shutting down"))
        elif pool.failure and not pool.has_usable_server:
            connection.refuse(cached_failure(pool))
            self.try_again(pool)
        else:
            if pool.servers[_USED]:
                self._check_stale(pool)
            # A pool that starves is asked again when there is room.
            if pool.starves_in is None and not pool.has_its_due():
                self.replenish(pool)

    def try_again(self, pool: Pool) -> None:
        """Open a server for a pool that could not get one, though the last client is refused.

        Nobody is left to wait for it, so nothing else would ever find out that it can be had.
        """
        self.replenish(pool, is_asked=True)

    def replenish(self, pool: Pool, *, is_asked: bool = False) -> None:
        """Open a server if the pool needs one and there is room, or room can be made.

        `is_asked`: it needs one, whoever waits.
        """
        if self.is_stopping:
            return
        step = opening.next_step(pool, self.clock(), is_asked=is_asked)
        while isinstance(step, Evict):
            step.pool.remove_server(step.server)
            self._close_socket(step.server, step.pool, step.reason)
            step = opening.next_step(pool, self.clock(), is_asked=is_asked)
        if step is None:
            return
        if step.reserve_for is not None:
            self.log.client(step.reserve_for, pool).warning("taking connection from reserve_pool")
        self.open_server(pool, step.dedicated_to)

    def _room_is_made(self, pool: Pool) -> None:
        """Let another server be opened in place of one that is closed, here or where one lacks."""
        self.replenish(pool)
        self._feed_starving(pool)

    def _feed_starving(self, pool: Pool) -> None:
        """Have the pools go on that wait for a server of this one to be closed."""
        for each in pool.headcounts:
            for starving in list(each.starving):
                self.replenish(starving)
                if starving in each.starving:
                    break  # those behind it would not find room either

    # --- servers come ---

    def server_ready(self, server: ServerSession, pool: Pool) -> None:
        """Take in a server whose login (and connect_query) is done."""
        if server.dedication is not None:
            client = pool.dedicated_logged_in(server)
            self.follow_up(server, pool, client)
        else:
            next_client = pool.server_logged_in(server, self.clock())
            self.follow_up(server, pool, next_client)  # first, for who is welcomed may have it next
            for client in list(pool.clients[ClientState.LOGIN]):
                if client.replication is None:
                    client.connection.go_on(server)
        self.replenish(pool)

    def login_failed(self, server: ServerSession, pool: Pool, error: ServerError) -> None:
        """Give up an attempt to open a server; tell those who wait if PostgreSQL said no."""
        self.log.login_failed(server, pool, error)
        if server.dedication is not None and isinstance(error, ServerRefusedLogin):
            self._replication_refused(server, pool, error)
            return
        self.log.server_closed(server, pool, error.message, self.clock())
        is_refusal = isinstance(error, ServerRefusedLogin)
        pool.login_failed(server, error.message, is_refusal=is_refusal)
        server.connection.close()
        if is_refusal and not pool.has_lasting_server:
            refusal = _passed_on(error, pool)
            waiting = (ClientState.WAITING, ClientState.LOGIN)
            for client in [client for state in waiting for client in pool.clients[state]]:
                client.connection.refuse(refusal)
        self._feed_starving(pool)
        self.on_change()

    def _replication_refused(self, server: ServerSession, pool: Pool, error: ServerError) -> None:
        """Give up a replication client that PostgreSQL refuses.

        That says nothing about others: a role, or a line of pg_hba.conf, may be for them only.
        """
        assert server.dedication is not None
        pool.remove_server(server)
        self._close_socket(server, pool, "login failed")
        refusal = LoginRejected(
            "login failed", detail=f"PostgreSQL refuses replication: {error.message}"
        )
        server.dedication.client.connection.refuse(refusal)
        self._room_is_made(pool)

    def forsake(self, client: ClientSession, pool: Pool) -> None:
        """Give up the server that is being opened for a replication client, which has left."""
        for server in list(pool.servers[ServerState.LOGIN]):
            if server.dedication is not None and server.dedication.client is client:
                self.close_server(server, pool, ServerError("replication client disconnected"))

    # --- clients go ---

    def refuse_client(self, connection: ClientConnection, error: ClientError) -> None:
        """Tell a client why it is closed, and close it."""
        if connection.session.state is ClientState.CLOSED:
            return
        self.log.client_said_no(connection.session, connection.pool, error)
        server = connection.session.server
        may_speak = not (isinstance(error, AlreadyTold) or (server and server.is_mid_answer()))
        farewell = b""
        if may_speak:
            farewell = error_response(explain(error, self._scene(connection)))
        self.client_left(connection, error.message, farewell)

    def _notify(self, client: ClientSession, pool: Pool) -> None:
        """Tell a client that it is queued, and behind whom."""
        scene = Scene(self.registry.config.settings, pool, client, self.clock())
        notice = explain(LimitReached(NO_SERVER_YET), scene)
        client.relay(notice_response(notice.message, notice.detail, notice.hint))

    def _scene(self, connection: ClientConnection) -> Scene:
        """Return where an error is sent, for whoever explains it."""
        settings = self.registry.config.settings
        return Scene(settings, connection.pool, connection.session, self.clock())

    def client_left(self, connection: ClientConnection, reason: str, farewell: bytes = b"") -> None:
        """Forget a client; what it leaves behind on its server decides about the server.

        `farewell` is what it is still told; the log says so first, for whoever looks there then.
        """
        client, pool = connection.session, connection.pool
        if client.state is _CLIENT_CLOSED:
            return
        now = self.clock()
        if self.registry.config.settings.log_disconnections:
            self.log.client_closed(client, pool, reason, now)
        if farewell:
            connection.transport.write(farewell)
        self.registry.forget_key(client)
        self.part(client, pool)
        if client.is_congested:
            connection.transport.abort()  # it would never read what it is still to be sent
        else:
            self.lingering.close(connection.transport, now)
        self.on_change()

    def part(self, client: ClientSession, pool: Pool) -> None:
        """Take a client out of its pool, and release its server, or close what is not settled."""
        client.is_leaving = True
        server = client.server
        if server is not None and server.is_settled():
            self.release(server, pool)
        abandoned = pool.remove_client(client)
        if abandoned is not None:
            pool.remove_server(abandoned)
            reason = "client disconnect while server was not ready"
            self._close_socket(abandoned, pool, reason, client)
            self._room_is_made(pool)

    # --- servers go ---

    def lose_server(self, connection: ServerConnection, error: ServerError) -> None:
        """Close a server that broke, and tell the client that was linked to it."""
        server, pool = connection.session, connection.pool
        if server.state is ServerState.LOGIN:
            self.login_failed(server, pool, error)  # in its connect_query
        elif server.state is not ServerState.CLOSED:
            self.close_server(server, pool, error)

    def close_server(self, server: ServerSession, pool: Pool, error: ServerError) -> None:
        """Close a server of any state for a reason that its client is told."""
        if server.state is ServerState.LOGIN:
            pool.remove_server(server)  # its login has not failed, it is not wanted any more
            self._close_socket(server, pool, error.message)
            return
        client = pool.remove_server(server)
        if error.detail:
            self.log.server(server, pool).warning("%s: %s", error.message, error.detail)
        self._close_socket(server, pool, error.message, client)
        if client is not None:
            told = {"sqlstate": error.sqlstate, "detail": error.detail, "hint": error.hint}
            client.connection.refuse(_kind_for(server, error)(error.message, **told))
        self._room_is_made(pool)

    def _close_socket(
        self, server: ServerSession, pool: Pool, reason: str, client: ClientSession | None = None
    ) -> None:
        """Say goodbye to a server that `client` was linked to, and close its socket.

        Behind half a message a Terminate would be taken for the rest of it: five bytes that make a
        whole Query of one that was never sent to its end.
        """
        self.log.server_closed(server, pool, reason, self.clock())
        if client is None or not client.body_left:
            server.relay(TERMINATE)
        server.connection.close()
        self.on_change()

    def renew(self, client: ClientConnection, *, is_at_rest: bool) -> bool:
        """Have a client watched as its pool's rules are now; False: not now (`watched.renew`)."""
        return watched.renew(client, self, is_at_rest=is_at_rest)

    # --- the sweep ---

    def sweep(self) -> None:
        """Do what is due in every pool, and with sockets that are being closed."""
        for pool in list(self.registry.pools.values()):
            self.sweep_pool(pool)
        self.lingering.sweep(self.clock())

    def sweep_pool(self, pool: Pool) -> None:
        """Do what is due in one pool, and open a server if one is wanted."""
        for action in maintenance.sweep(pool, self.clock()):
            if isinstance(action, CloseServer):
                if action.server.state is not ServerState.CLOSED:
                    self.close_server(action.server, pool, ServerError(action.reason))
            elif isinstance(action, CloseClient):
                action.client.connection.refuse(action.error)
            elif isinstance(action, NotifyClient):
                self._notify(action.client, pool)
            elif isinstance(action, DropCancel):
                self.log.cancel_given_up(pool, self.clock() - action.request.requested_at)
                action.request.end(self.clock())
        if pool.lagging:
            pool.lead_clients()
        self._check_stale(pool)
        self._serve_waiting(pool)
        self.replenish(pool)

    def _check_stale(self, pool: Pool) -> None:
        """Check servers that have been idle for long, as many as clients wait for."""
        for server in maintenance.stale_servers(pool):
            pool.begin_test(server)
            self.ask(server, pool.rules.check_query or "", "test query failed")

    def _serve_waiting(self, pool: Pool) -> None:
        """Link those who wait to idle servers: after RESUME there may be both."""
        while not pool.database.is_paused and pool.clients[ClientState.WAITING]:
            server = pool.idle_server()
            if server is None:
                return
            self.follow_up(server, pool, pool.reuse(server, self.clock()))


def _passed_on(error: ServerError, pool: Pool) -> LoginRejected:
    """Return PostgreSQL's refusal of our login, for a client: its words, and whom it said no to."""
    whom = f"PostgreSQL said so to the pooler's login for {pool.database.name}/{pool.user}."
    return LoginRejected(
        error.message,
        sqlstate=error.sqlstate,
        detail=f"{error.detail} {whom}".strip(),
        hint=error.hint or hint_for_failure(error.message),
    )


def _kind_for(server: ServerSession, error: ServerError) -> type[ClientError]:
    """Return as what a client is told why it has lost its server."""
    if server.has_said_fatal or server.is_mid_answer():
        return AlreadyTold
    return ServerAtFault if isinstance(error, ServerProtocolError) else ClientError


def cached_failure(pool: Pool) -> LimitReached:
    """Return what a client is told while no server can be had: PgBouncer's cached error."""
    return LimitReached(
        f"server login has been failing, cached error: {pool.failure} (server_login_retry)",
        detail=f"No connection to the server of database {pool.database.name} could be opened.",
    )
