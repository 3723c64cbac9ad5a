"""One client's socket from accept to welcome.

Drives a `ClientLogin`, asks the doorkeeper, waits for the pool's welcome if no server has logged in
yet, then hands the socket to a `ClientConnection` (or to the console) and is gone. Nothing of this
is on the hot path, and nothing of it stays in memory once the client is in.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from pgpool_lite.config import PoolMode
from pgpool_lite.errors import (
    AlreadyTold,
    ClientError,
    ClientProtocolError,
    LimitReached,
    LoginRejected,
)
from pgpool_lite.pool.applicants import Admission, Question
from pgpool_lite.pool.database import Database
from pgpool_lite.pool.mends import Mend
from pgpool_lite.pool.peering import mark
from pgpool_lite.pool.pool import Pool
from pgpool_lite.pool.registry import Registry
from pgpool_lite.pool.teaching import Scene, explain
from pgpool_lite.pool.welcomes import make_welcome
from pgpool_lite.proxy.anteroom import Anteroom
from pgpool_lite.proxy.dispatcher import Dispatcher, cached_failure
from pgpool_lite.proxy.keys import random_key
from pgpool_lite.proxy.logs import LOGGER, Stranger
from pgpool_lite.proxy.origins import origin_of
from pgpool_lite.proxy.secret_lookup import SecretLookup
from pgpool_lite.proxy.sockets import (
    as_protocol,
    hand_over,
    own_address,
    peer_address,
    peer_pid,
    tls_name,
)
from pgpool_lite.proxy.tls import ClientTls
from pgpool_lite.proxy.tls_transport import TlsTransport
from pgpool_lite.proxy.unlinked import Unlinked
from pgpool_lite.proxy.watched import make_connection
from pgpool_lite.session.auth_query import AuthQuery
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.client_login import ClientLogin, Step
from pgpool_lite.session.replication import Replication
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.states import ClientState
from pgpool_lite.session.tracking import session_class
from pgpool_lite.wire import backend

if TYPE_CHECKING:
    from pgpool_lite.proxy.runtime import Runtime

#: What a client may send beyond its login before it has been welcomed; libpq sends nothing.
EARLY_LIMIT = 65_536


class ClientLoginConnection(Unlinked):
    """Brings one client in. It looks like an `asyncio.Protocol`; see `sockets.Receiver`."""

    def __init__(self, runtime: Runtime, is_unix: bool = False) -> None:
        """Wait for a connection to be made, by a Unix socket or by TCP."""
        self._runtime = runtime
        self._dispatcher: Dispatcher = runtime.dispatcher
        self._anteroom: Anteroom = runtime.anteroom
        self._registry: Registry = runtime.registry
        self.is_unix = is_unix
        self._login: ClientLogin
        self._tls: ClientTls | None = None
        self._transport: asyncio.Transport
        self._admission: Admission | None = None
        #: Asks PostgreSQL for the user's secret; the login stands still meanwhile.
        self._lookup: SecretLookup | None = None
        self._session: ClientSession | None = None
        self._pool: Pool | None = None
        #: What a replication client asks for, None for a usual one.
        self._replication: Replication | None = None
        self._early = b""
        #: Its end has been noted, or it is somebody else's to note.
        self._is_gone = False
        #: Number of its process, where it comes by a Unix socket.
        self._peer_pid = 0
        self.id = self._registry.next_id()
        self.connected_at: float = runtime.clock()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the client."""
        return peer_address(self._transport)

    @property
    def own_address(self) -> tuple[str, int]:
        """Host and port of our end."""
        return own_address(self._transport)

    @property
    def tls(self) -> str:
        """Version and cipher of its TLS; "" without."""
        return tls_name(self._transport)

    # --- the socket ---

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin, unless there is no room for one more socket."""
        self._transport = transport
        self._peer_pid = peer_pid(transport) if self.is_unix else 0
        tls = self._tls = self._runtime.tls.client
        if tls is None:
            self._login = ClientLogin()
        else:
            self._login = ClientLogin(tls.offered(is_unix=self.is_unix), tls.channel_binding)
        refusal = self._anteroom.enter(self, transport, self._registry.config.settings)
        if refusal is not None:
            self.refuse(refusal)

    def data_received(self, data: bytes) -> None:
        """Take the login one read further."""
        if self._session is not None:
            self._keep_early(data)
            return
        try:
            step = self._login.receive(data)
            if step is Step.STARTUP:
                step = self._admit()
        except ClientError as error:
            self.refuse(error)
            return
        self._go_on_with(step)

    def eof_received(self) -> bool:
        """Take a half-closed connection for a closed one."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a client that gave up, or was refused; no news if it left nothing half said.

        The log says no such user only now: the time of one more line would tell before an answer.
        """
        is_news = self._session is not None or self._login.rest
        self._leave("client unexpected eof" if is_news else "")
        if self._session is not None:
            self._session.let_go()
        if self._admission is not None and self._admission.is_unknown_user:
            self._runtime.log.stranger(self._name()).info("no such user: %s", self._admission.user)

    # --- TLS ---

    def _encrypt(self) -> None:
        """Shake hands; what the client sends from now on comes decrypted."""
        assert self._tls is not None
        buffer = self._runtime.tls.buffer
        transport = TlsTransport(self._transport, self, self._tls.context, buffer)
        self._transport = transport
        transport.start(self._login.take_rest(), on_failure=self._tls_failed)

    def _tls_failed(self, reason: str) -> None:
        LOGGER.warning("TLS handshake error: handshake failed: %s", reason)
        self._leave("client unexpected eof")
        self._transport.close()

    # --- the steps ---

    def _admit(self) -> Step:
        startup = self._login.startup
        assert startup is not None
        runtime = self._runtime
        self._replication = Replication.asked_for(startup.parameters)
        answer = runtime.doorkeeper.admit(
            startup, origin_of(self._transport, is_unix=self.is_unix), runtime.clock()
        )
        if isinstance(answer, Question):
            self._look_up(answer)
            return Step.MORE
        return self._challenge(answer)

    def _look_up(self, question: Question) -> None:
        """Ask PostgreSQL for the user's secret, and go on with the login when it has answered."""
        pool = self._registry.pool_of(question.database, question.auth_user)
        query = AuthQuery(question.sql, question.applicant.user)
        on_answer = partial(self._looked_up, question)
        lookup = SecretLookup(query, pool, self._dispatcher, on_answer, self.refuse)
        self._lookup = lookup
        lookup.begin(self, self.id, self.connected_at)

    def _looked_up(self, question: Question, query: AuthQuery) -> None:
        self._lookup = None
        try:
            if query.failure:
                raise LoginRejected("bouncer config error", remark=query.failure)
            step = self._challenge(self._runtime.doorkeeper.resume(question, query.found))
        except ClientError as error:
            self.refuse(error)
            return
        self._go_on_with(step)

    def _challenge(self, admission: Admission) -> Step:
        self._admission = admission
        if self._registry.config.settings.log_connections:
            self._log_attempt(admission)
        self._login.challenge(admission.challenge)
        return self._login.receive(b"")

    def _log_attempt(self, admission: Admission) -> None:
        chorus = self._runtime.chorus
        if chorus is None or not chorus.is_internal(self._transport):
            names = admission.database.name, admission.user
            self._runtime.log.login_attempt(self._name(), *names, self.tls, self._replication)

    def _go_on_with(self, step: Step) -> None:
        if step is Step.AUTHENTICATED:
            self._authenticated()  # what is still to be said goes out with the welcome
            return
        self._send_answer()
        if step is Step.TLS:
            self._encrypt()
        elif step is Step.CANCEL:
            self._cancel()

    def _cancel(self) -> None:
        key = self._login.cancel_key
        assert key is not None
        self._is_gone = True
        self._anteroom.leave(self)
        self._runtime.connector.cancel(key, self._transport.close)

    def _authenticated(self) -> None:
        admission, runtime = self._admission, self._runtime
        assert admission is not None
        self._anteroom.proved(self)
        doorkeeper = runtime.doorkeeper
        doorkeeper.remember_proof(admission, self._login.scram_client_key)
        try:
            if not (admission.is_console or runtime.lets_in(is_local=self.is_unix)):
                raise LimitReached("pooler is shutting down")
            database = doorkeeper.let_in(admission, runtime.clock())
        except ClientError as error:
            self.refuse(error)
            return
        if admission.is_console:
            self._send_answer()
            self._anteroom.leave(self)
            runtime.open_console(self._transport, admission, self.id, self._login.rest)
        else:
            self._enter(admission, database)

    def _enter(self, admission: Admission, database: Database) -> None:
        """Make the client one of its pool's, and see that it is welcomed."""
        registry = self._registry
        is_new = database.name not in registry.databases
        pool = self._pool = registry.pool_for(database, admission.user)
        statements = pool.rules.statements if self._replication is None else None
        key = mark(random_key(), registry.config.settings.peer_id)
        session = session_class(statements)(self.id, key, admission.wishes, self.connected_at)
        session.user = admission.user
        session.peer_pid = self._peer_pid
        session.requested_at = self._runtime.clock()
        session.replication = self._replication
        session.attach(self, self._transport.write)
        self._session = session
        self._early = self._login.rest
        pool.add_client(session)
        if is_new:
            line = "registered new auto-database: %s"
            self._runtime.log.client(session, pool).info(line, pool.database.name)
        if self._replication is None and pool.welcome is not None:
            self._welcome(session, pool, pool.welcome)
        else:
            self._send_answer()
            self._await_welcome(pool)

    def _await_welcome(self, pool: Pool) -> None:
        """See that a server comes in that welcomes the client: the first, or its own."""
        dispatcher = self._dispatcher
        if (
            self._replication is None
            and pool.failure
            and pool.is_refused
            and not pool.has_usable_server
        ):
            self.refuse(cached_failure(pool))
            dispatcher.try_again(pool)
        else:
            dispatcher.replenish(pool)

    def _welcome(self, session: ClientSession, pool: Pool, reported: dict[str, str]) -> None:
        """Say to the client what the server said to us, and hand the socket over."""
        dispatcher, registry, rules = self._dispatcher, self._registry, pool.rules
        tracked, told, settings = registry.tracked, rules.told, registry.config.settings
        is_usual = session.replication is None
        try:
            if is_usual:
                welcome = pool.welcomes.find(tracked, reported, told, session.parameters)
            else:  # its wishes went to its server at the start
                told = (*told, ("pgbouncer.pool_mode", PoolMode.SESSION.value))
                welcome = make_welcome(tracked, reported, told, session.parameters)
        except ClientError as error:
            self.refuse(error)
            return
        session.is_proven = welcome.is_proven
        session.parameters = welcome.parameters
        if tracked.has_unreported(welcome.parameters):
            pool.leak_counters.mends.note(Mend.STARTUP, "", self._runtime.clock())
        self._anteroom.leave(self)
        registry.remember_key(pool, session)
        pool.admit(session)
        session.rewrites = is_usual and rules.statements is not None
        session.names_pass = is_usual and rules.names_pass
        connection = make_connection(session, pool, self._transport, dispatcher)
        hand_over(self._transport, connection)
        key = backend.backend_key_data(session.cancel_key)
        greeting = settings.login_notify_message
        notice = backend.notice_response(greeting) if greeting else b""
        parts = (self._login.answer, welcome.messages, key, notice, backend.READY_IDLE)
        self._transport.write(b"".join(parts))
        if self._early:
            connection.data_received(self._early)

    def _keep_early(self, data: bytes) -> None:
        self._early += data
        if len(self._early) > EARLY_LIMIT:
            self.refuse(ClientProtocolError("client sends data although its login is not over"))

    def _send_answer(self) -> None:
        if self._login.answer:
            self._transport.write(self._login.answer)
            self._login.answer = b""

    # --- what others want of a client in LOGIN ---

    def go_on(self, server: ServerSession) -> None:
        """Welcome the client: a server has logged in."""
        session, pool, dedication = self._session, self._pool, server.dedication
        assert session is not None
        assert pool is not None
        if dedication is None:
            pool.counters.wait_time += self._runtime.clock() - session.requested_at
        reported = pool.welcome if dedication is None else dedication.welcome
        assert reported is not None
        self._welcome(session, pool, reported)

    def refuse(self, error: ClientError) -> None:
        """Tell the client why, once the log has it for who looks there then, and close it."""
        runtime, name, pool = self._runtime, self._name(), self._pool
        scene = Scene(runtime.settings, pool, self._session, runtime.clock(), name)
        if error.remark:
            runtime.log.stranger(name).error("%s", error.remark)
        self._leave(error.message)
        if not self._transport.is_closing():
            runtime.log.stranger_said_no(name, error)
            self._send_answer()
            if not isinstance(error, AlreadyTold):
                self._transport.write(backend.error_response(explain(error, scene)))
        self._transport.close()

    def login_timed_out(self) -> None:
        """Close a client that has not proved itself within client_login_timeout.

        Who has, and waits for a server to come in, is the pool's to look after.
        """
        if self._session is None:
            self.refuse(LimitReached("client_login_timeout"))

    def _leave(self, reason: str) -> None:
        if self._is_gone:
            return
        self._is_gone = True
        self._anteroom.leave(self)
        if self._lookup is not None:
            self._lookup.leave()
        session, pool, log = self._session, self._pool, self._runtime.log
        now = self._runtime.clock()
        if session is None or pool is None:
            if reason:
                log.stranger_closed(self._name(), reason, now - self.connected_at)
        elif session.state is ClientState.LOGIN:
            pool.remove_client(session)
            if session.replication is not None:
                self._dispatcher.forsake(session, pool)
            if self._registry.config.settings.log_disconnections:
                log.client_closed(session, pool, reason, now)

    def _name(self) -> Stranger:
        """Return what the log calls a client that has not come in."""
        startup = self._login.startup
        said = startup.parameters if startup is not None else {}
        user, database = said.get("user", ""), said.get("database", "")
        names = database or user or "(nodb)", user or "(nouser)"
        return Stranger(self.id, *names, self.address, self._peer_pid)


def newcomer(runtime: Runtime, is_unix: bool) -> asyncio.Protocol:
    """Return what talks to somebody who has just come, by a Unix socket or not."""
    return as_protocol(ClientLoginConnection(runtime, is_unix))
