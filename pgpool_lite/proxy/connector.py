"""How is a connection to PostgreSQL opened? For a pool that wants one, or to cancel a query.

The only place besides start and shutdown where something is awaited. One task opens one
connection; what it learns goes to the dispatcher, and the socket to a `ServerConnection`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING

from pgpool_lite.errors import ServerError, ServerLoginFailed
from pgpool_lite.pool.cancel import CancelRequest, is_full_of_requests
from pgpool_lite.pool.hosts import needs_look_up
from pgpool_lite.pool.peering import with_all_hops
from pgpool_lite.pool.pool import Pool
from pgpool_lite.proxy.dialing import dial
from pgpool_lite.proxy.negotiation import Conversation, Negotiation
from pgpool_lite.proxy.resolver import Resolver
from pgpool_lite.proxy.sockets import channel_binding, hand_over, own_address, tls_name
from pgpool_lite.proxy.watched import server_class
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.endpoint import Endpoint
from pgpool_lite.session.replication import Dedication, ReplicationKind
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.server_login import ServerLogin
from pgpool_lite.session.statements import ServerStatements
from pgpool_lite.session.states import ClientState, ServerState
from pgpool_lite.wire.frontend import CancelKey, encode_cancel_request

if TYPE_CHECKING:
    from pgpool_lite.proxy.runtime import Runtime

#: Where Debian's PostgreSQL listens, for a database without a host when we have no directory.
DEFAULT_SOCKET_DIR = "/var/run/postgresql"


class Connector:
    """Opens connections to servers. Owned by the runtime."""

    def __init__(self, runtime: Runtime) -> None:
        """Open nothing yet."""
        self._runtime = runtime
        self._tasks: set[asyncio.Task[None]] = set()
        self._resolver = Resolver(runtime.registry, lambda: runtime.settings, runtime.clock)

    # --- servers ---

    def open_server(self, pool: Pool, dedicated_to: ClientSession | None = None) -> None:
        """Begin to open a server connection for a pool, or for one replication client of it."""
        runtime = self._runtime
        now = runtime.clock()
        registry = runtime.registry
        books = ServerStatements(registry.statements)
        server = ServerSession(registry.next_id(), registry.tracked, books, now)
        if dedicated_to is not None and dedicated_to.replication is not None:
            server.dedication = Dedication(dedicated_to, dedicated_to.replication)
        connection = ServerLoginConnection(runtime, pool, server)
        server.attach(connection, connection.relay)
        pool.add_server(server, now)
        self._spawn(self._open(pool, server, connection))

    async def _open(
        self, pool: Pool, server: ServerSession, connection: ServerLoginConnection
    ) -> None:
        limit = self._runtime.settings.server_connect_timeout or None
        try:
            async with asyncio.timeout(limit):
                await self._connect(pool, server, connection)
                await connection.finished
        except TimeoutError:
            # PgBouncer's words: the first for who answers and then falls silent.
            sentence = "connect timeout" if connection.is_connected else "connect failed"
            self._fail(pool, server, ServerLoginFailed(sentence))
        except ServerError as error:
            self._fail(pool, server, error)

    async def _connect(
        self, pool: Pool, server: ServerSession, connection: ServerLoginConnection
    ) -> None:
        """Connect to the host whose turn it is, at the first of its addresses that answers.

        Raises ServerLoginFailed.
        """
        settings = self._runtime.settings
        refusal: OSError | None = None
        for endpoint in await self._endpoints(pool):
            server.endpoint = endpoint
            try:
                await dial(endpoint, settings, partial(self._negotiate, pool, endpoint, connection))
            except OSError as error:
                refusal = error
            else:
                return
        if refusal is None:
            raise ServerLoginFailed("server DNS lookup failed")
        raise ServerLoginFailed("connect failed", detail=str(refusal))

    async def _endpoints(self, pool: Pool) -> list[Endpoint]:
        """Return all places where a new connection of this pool may lead, the best first."""
        database = pool.database.settings
        host = pool.rotation.next_host(database, has_failed=bool(pool.failure))
        host = host or self._runtime.settings.unix_socket_dir or DEFAULT_SOCKET_DIR
        addresses = await self._resolver.addresses(host) if needs_look_up(host) else (host,)
        return [Endpoint(host, address, database.port) for address in addresses]

    def _fail(self, pool: Pool, server: ServerSession, error: ServerError) -> None:
        if server.state is ServerState.LOGIN:
            self._runtime.dispatcher.login_failed(server, pool, error)

    def _negotiate(self, pool: Pool, endpoint: Endpoint, conversation: Conversation) -> Negotiation:
        """Return what settles TLS with a server of the pool before the conversation begins."""
        tls = self._runtime.tls
        wanted = tls.towards(pool.database.settings)
        return Negotiation(conversation, wanted, endpoint.host, tls.buffer)

    # --- cancel requests ---

    def cancel(self, key: CancelKey, hang_up: Callable[[], None]) -> None:
        """Pass a CancelRequest on to the server that runs the query, if one does, or to a peer.

        Nothing is ever answered to a CancelRequest: `hang_up` closes its connection when
        PostgreSQL has taken it, and at once if there is nothing to cancel.
        """
        runtime = self._runtime
        if runtime.peers.is_elsewhere(key):
            runtime.peers.pass_on(key, hang_up)
            return
        if runtime.settings.peer_id:
            key = with_all_hops(key)
        found = runtime.registry.find_by_key(key)
        server = found[1].server if found is not None else None
        if found is None or server is None or is_full_of_requests(found[0]):
            hang_up()
            return
        request = CancelRequest(found[0], server, hang_up, runtime.clock())
        if request.may_begin():
            request.begin()  # now, before the server can be released to another client
            self._spawn(self._carry(request))

    async def _carry(self, request: CancelRequest) -> None:
        """Carry one request to PostgreSQL, then those that waited for it."""
        runtime, pool, server = self._runtime, request.pool, request.server
        transport: asyncio.Transport | None = None
        try:
            async with asyncio.timeout(runtime.settings.cancel_wait_timeout or None):
                assert server.endpoint is not None
                carrier = CancelCarrier(server.cancel_key)
                begin = partial(self._negotiate, pool, server.endpoint, carrier)
                transport, _ = await dial(server.endpoint, runtime.settings, begin)
                await carrier.closed
        except (TimeoutError, OSError, ServerError) as error:
            # It may still strike: the server must not get another client.
            server.close_reason = server.close_reason or "cancel request without an answer"
            reason = str(error) or "cancel_wait_timeout"
            runtime.log.server(server, pool).warning("cancel request failed: %s", reason)
            if isinstance(error, TimeoutError):
                runtime.log.cancel_given_up(pool, runtime.clock() - request.requested_at)
        finally:
            if transport is not None:
                transport.close()
            before = server.state
            next_client = request.end(runtime.clock())
            if next_client is not None or server.state is not before:
                runtime.dispatcher.follow_up(server, pool, next_client)
        for waiting in list(pool.cancel_requests[ClientState.WAITING_CANCEL]):
            if waiting.has_lost_its_point():
                waiting.end(runtime.clock())
            elif waiting.may_begin():
                waiting.begin()
                self._spawn(self._carry(waiting))
                return

    # --- tasks ---

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run `work` and keep it from being collected; see `close`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up everything that is being opened or canceled."""
        for pool in self._runtime.registry.pools.values():
            for request in list(pool.cancel_requests[ClientState.WAITING_CANCEL]):
                request.end(self._runtime.clock())
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._resolver.close()


class ServerLoginConnection(Conversation):
    """One server's socket from connect to the end of its login; a `ServerConnection` follows."""

    def __init__(self, runtime: Runtime, pool: Pool, server: ServerSession) -> None:
        """Wait for the connection to be made."""
        self._runtime = runtime
        self._pool = pool
        self._server = server
        self._login = ServerLogin(runtime.registry.credentials_for(pool, server.dedication))
        self._transport: asyncio.Transport | None = None
        #: Done when the login is, or has failed.
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the server, as configured while nothing better is known."""
        endpoint = self._server.endpoint
        if endpoint is not None:
            return endpoint.shown
        settings = self._pool.database.settings
        return settings.host or "unix", settings.port

    @property
    def is_connected(self) -> bool:
        """There has been a connection: it is, or was, somebody there."""
        return self._transport is not None

    @property
    def own_address(self) -> tuple[str, int]:
        """Host and port of our end, unknown while there is no connection."""
        return own_address(self._transport) if self._transport is not None else ("", 0)

    @property
    def tls(self) -> str:
        """Version and cipher of its TLS; "" without."""
        return tls_name(self._transport)

    # A stream socket always comes with a Transport; uvloop's does not say so by its class.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take note of the socket."""
        if self.finished.done():  # closed while it was connecting
            transport.abort()
            return
        self._transport = transport
        self._runtime.log.server_opened(self._server, self._pool, own_address(transport))

    def begin(self, transport: asyncio.Transport) -> None:
        """Introduce ourselves."""
        self._transport = transport
        if self.tls:
            self._runtime.log.tls_established(self._server, self._pool)
        transport.write(self._login.start(channel_binding(transport)))

    def fail(self, error: ServerError) -> None:
        """Give up a server that does not agree with us about TLS."""
        self._finish(error)

    def data_received(self, data: bytes) -> None:
        """Take the login one read further."""
        assert self._transport is not None
        if self.finished.done():
            return
        try:
            answer = self._login.receive(data)
        except ServerError as error:
            self._finish(error)
            return
        if answer:
            self._transport.write(answer)
        if self._login.is_ready:
            self._hand_over(self._transport)

    def _hand_over(self, transport: asyncio.Transport) -> None:
        login, pool, server = self._login, self._pool, self._server
        pool.database.was_reached = True
        if server.dedication is None:
            pool.welcome = login.parameters
        else:
            server.dedication.welcome = login.parameters
        server.logged_in(
            login.cancel_key, self._runtime.registry.tracked.values_of(login.parameters)
        )
        make = server_class(self._runtime.settings, pool)
        connection = make(server, pool, transport, self._runtime.dispatcher)
        hand_over(transport, connection)
        self._finish(None)
        if login.rest:
            connection.data_received(login.rest)  # while it can only be taken for what it is: ours
            if server.state is not ServerState.LOGIN:
                return  # it said what nobody had asked for
        connect_query = pool.database.settings.connect_query
        if connect_query and not speaks_no_sql(server):
            self._runtime.dispatcher.ask(server, connect_query, "connect query failed")
        else:
            self._runtime.dispatcher.server_ready(server, pool)

    def _finish(self, error: ServerError | None) -> None:
        if self.finished.done():
            return
        if error is None:
            self.finished.set_result(None)
        else:
            self.finished.set_exception(error)
            self.finished.exception()  # whoever opens this connection may have given up already

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the server hung up during the login."""
        self._finish(ServerLoginFailed("server conn crashed?"))

    def close(self) -> None:
        """Close the socket, or see that it is closed as soon as there is one."""
        self._finish(ServerLoginFailed("closed"))
        if self._transport is not None:
            self._transport.close()

    def relay(self, data: bytes) -> None:
        """Write to the server, if it is there."""
        if self._transport is not None:
            self._transport.write(data)

    def pause_reading(self) -> None:
        """Never called: a server in LOGIN is not linked."""
        raise AssertionError("a server in LOGIN is not linked")

    def resume_reading(self) -> None:
        """Never called: a server in LOGIN is not linked."""
        raise AssertionError("a server in LOGIN is not linked")


def speaks_no_sql(server: ServerSession) -> bool:
    """Say whether a server serves physical replication: it belongs to no database."""
    dedication = server.dedication
    return dedication is not None and dedication.replication.kind is ReplicationKind.PHYSICAL


class CancelCarrier(Conversation):
    """A connection that carries one CancelRequest; PostgreSQL closes it when that has struck.

    It is as encrypted as the server that is meant: the key in it is worth a secret.
    """

    def __init__(self, key: CancelKey) -> None:
        """Wait for the end."""
        self._key = key
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def begin(self, transport: asyncio.Transport) -> None:
        """Say whose query it is about."""
        transport.write(encode_cancel_request(self._key))

    def fail(self, error: ServerError) -> None:
        """Note that there is no way to say it."""
        if not self.closed.done():
            self.closed.set_exception(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        if not self.closed.done():
            self.closed.set_result(None)
