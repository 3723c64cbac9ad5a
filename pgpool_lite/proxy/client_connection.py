"""One client's socket after its login. HOT: hops 1 and 6 of every query (docs/design/one-query.md).

HOT rule: `data_received` and `relay` are one call each per read; one read causes one write.

Reading goes on while the client waits for a server, so that a client that leaves is noticed at
once; what it sends meanwhile is kept in `_held`, up to a limit, beyond which its reading pauses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pgpool_lite.errors import ClientError
from pgpool_lite.pool.mends import Mend
from pgpool_lite.pool.pool import Pool
from pgpool_lite.proxy.sockets import own_address, peer_address, tls_name
from pgpool_lite.session.client import CUT, RELAY, REWRITE, SETTLED, ClientSession
from pgpool_lite.session.refusals import StatementRules
from pgpool_lite.session.rewriter import Rewriter
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.tracking import make_rewriter

if TYPE_CHECKING:
    from pgpool_lite.proxy.dispatcher import Dispatcher

#: A waiting client may send this much before it is made to stop. The socket holds the rest.
HELD_LIMIT: Final = 262_144


class ClientConnection:
    """Passes a client's bytes to the server it is linked to, and the answers back."""

    __slots__ = (
        "_clock",
        "_counters",
        "_dispatcher",
        "_held",
        "_is_paused",
        "_is_plain",
        "_is_unbegun",
        "_raw",
        "pool",
        "session",
        "transport",
    )

    def __init__(
        self,
        session: ClientSession,
        pool: Pool,
        transport: asyncio.Transport,
        dispatcher: Dispatcher,
    ) -> None:
        """Take over the socket of a client that has logged in."""
        self.session = session
        self.pool = pool
        self.transport = transport
        self._dispatcher = dispatcher
        self._clock: Callable[[], float] = dispatcher.clock
        self._counters = pool.counters
        #: Bytes for a server that is still to come, or still to accept the session parameters.
        self._held = b""
        #: Reads that came meanwhile and that only the rewriter may look at, with a server at hand.
        self._raw = b""
        self._is_paused = False  # its reading; to ask the transport would cost two calls per wait
        #: Linked, but nothing has been sent to the server yet: its parameters are still another's.
        self._is_unbegun = False
        #: A pairing begins with nothing but the client's bytes, if the parameters agree.
        self._is_plain = session.rewrites
        session.attach(self, transport.write)

    # --- hop 1: from the client ---

    def data_received(self, data: bytes) -> None:
        """Count what the client asks for and pass it on, or have it wait for a server."""
        session = self.session
        self._counters.bytes_received += len(data)
        try:
            verdict = session.receive(data)
        except ClientError as error:
            self._dispatcher.refuse_client(self, error)
            return
        if verdict == RELAY and session.server is None and not self._held:
            server = self.pool.link(session, self._clock())
            if server is not None and session.parameters is server.parameters and self._is_plain:
                server.asked = data
                server.relay(data)
            else:
                self._begin_or_wait(server, data)
        elif verdict == RELAY:
            self._pass(data)
        elif verdict == REWRITE:
            self._rewrite_and_pass(data)
        else:
            self._pass_cut(data, verdict)

    def _begin_or_wait(self, server: ServerSession | None, data: bytes) -> None:
        """Begin a pairing with these bytes, or wait with them for a server."""
        if server is None:
            self._hold(data)
            self._dispatcher.client_waits(self)
        else:
            self._begin(server, data)

    def _pass(self, data: bytes) -> None:
        """Pass on what has been looked at, or keep it while the client waits or is prepared."""
        server = self.session.server
        if self._held:
            self._hold(data)
        elif server is None:
            self._begin_or_wait(self.pool.link(self.session, self._clock()), data)
        else:
            self._pass_linked(server, data)

    def _pass_linked(self, server: ServerSession, data: bytes) -> None:
        """Pass on what belongs to a pairing under way."""
        session = self.session
        if self._is_unbegun:
            self._begin(server, data)
            return
        if not session.query_started_at and (session.single or session.owed or session.unsynced):
            self._begin_query(server, data)
        server.relay(data)

    def _pass_cut(self, data: bytes, verdict: int) -> None:
        """Pass on a read that is not to be relayed as it came; part if that settles the pair."""
        session = self.session
        if verdict & CUT:
            data = session.cut
        if data:
            self._pass(data)
        if session.is_leaving:
            self._dispatcher.client_left(self, "client close request")
        elif verdict & SETTLED and session.server is not None:
            self._dispatcher.release(session.server, self.pool)

    # --- named prepared statements ---

    def _rewrite_and_pass(self, data: bytes) -> None:
        """Pass on a read that may name prepared statements; that takes a server to look at."""
        session = self.session
        if self._held or self._raw:
            self._hold_raw(data)
            return
        rewriter = session.rewriter or self._make_rewriter()
        server = session.server
        is_new = server is None
        try:
            if server is None:
                data = rewriter.first_request(data)
                if data:
                    server = self.pool.link(session, self._clock())
            if server is not None and data:
                data = rewriter.rewrite(data, server)
        except ClientError as error:
            self._dispatcher.refuse_client(self, error)
            return
        if server is not None:
            self._pass_rewritten(server, data, is_new=is_new)
        elif data:
            self._hold_raw(data)
            self._dispatcher.client_waits(self)
        elif session.is_leaving:
            self._dispatcher.client_left(self, "client close request")

    def _make_rewriter(self) -> Rewriter:
        """Make the client's rewriter: it has named its first statement."""
        rules = self.pool.rules.statements or StatementRules()
        registry = self._dispatcher.registry.statements
        mends, clock = self.pool.leak_counters.mends, self._clock
        tell = mends.noter(Mend.DEALLOCATE, clock), mends.noter(Mend.STALE_PLAN, clock)
        return make_rewriter(self.session, registry, rules, self._counters, *tell)

    def _pass_rewritten(self, server: ServerSession, data: bytes, *, is_new: bool) -> None:
        """Send what the rewriter made of a read, and the answers that it made up."""
        session = self.session
        rewriter = session.rewriter
        assert rewriter is not None
        if is_new and data and self._is_plain and session.parameters is server.parameters:
            server.asked = data
            server.relay(data)
        else:
            if is_new:
                self._is_unbegun = True
                server.asked = b""  # it was another client's
            if data:
                self._pass_linked(server, data)
        if (
            rewriter.left
            or rewriter.reply
            or session.is_leaving
            or not (session.single or session.owed)
        ):
            self._finish_rewriting(server, rewriter)

    def _finish_rewriting(self, server: ServerSession, rewriter: Rewriter) -> None:
        """Do what else the rewriter's look at a read asks for."""
        if rewriter.left:
            left, rewriter.left = rewriter.left, b""
            self._hold_raw(left)
        if rewriter.reply:
            reply, rewriter.reply = rewriter.reply, b""
            self.session.relay(reply)
        if self.session.is_leaving:
            self._dispatcher.client_left(self, "client close request")
        elif server.is_settled():
            self._is_unbegun = False
            self._dispatcher.release(server, self.pool)

    def follow_rules(self) -> bool:
        """Follow the pool's new rules for statements and leaks; False: not now, but ask again.

        Names begin to be rewritten, and a client to be watched, only while nothing is in flight.
        """
        session, rules = self.session, self.pool.rules
        if session.replication is not None:
            return True  # its server is its own
        rewriter = session.rewriter
        held = session.tail or self._held or self._raw
        is_at_rest = session.server is None and not (held or session.body_left)
        if (rules.statements is not None) is session.rewrites:
            if rewriter is not None and rules.statements is not None:
                rewriter.follow(rules.statements)
        elif is_at_rest:
            if rewriter is not None:
                rewriter.book.clear()
                session.rewriter = None
            session.rewrites = rules.statements is not None
            session.names_pass = rules.names_pass
            self._is_plain = session.rewrites and not self.session.is_congested
        else:
            return False
        return self._dispatcher.renew(self, is_at_rest=is_at_rest)

    def look_again(self) -> None:
        """Go on with a read that waited for answers, if they are there."""
        rewriter = self.session.rewriter
        if rewriter is not None and self._raw and rewriter.may_go_on():
            raw, self._raw = self._raw, b""
            self.session.raw_waits = False
            self.resume_reading()
            self._rewrite_and_pass(raw)

    def _hold_raw(self, data: bytes) -> None:
        """Keep a read that the rewriter cannot look at yet."""
        self._raw = self._raw + data  # `+=` has Python look for what adding means: 130 instructions
        self.session.raw_waits = True
        if len(self._raw) > HELD_LIMIT:
            self.pause_reading()

    # --- linking ---

    def _begin(self, server: ServerSession, data: bytes) -> None:
        """Send the first bytes of a pairing, the client's session parameters in front."""
        session = self.session
        self._is_unbegun = False
        server.asked = data
        if not session.rewrites:
            server.statements.unnamed = None  # whoever's it was, it may be replaced unseen
        if self.session.is_congested:
            server.connection.pause_reading()
        if session.parameters is not server.parameters and session.parameters != server.parameters:
            data = self._prepare(server, data)
        server.relay(data)

    def _prepare(self, server: ServerSession, data: bytes) -> bytes:
        """Return `data` with a SET of the client's parameters in front.

        A value that no server has accepted yet might be refused, and then the client's own query
        must not have run: the SET goes alone, and `data` is kept until it has been answered.
        """
        session = self.session
        tracked, wanted = server.tracked, session.parameters
        may_fail = not session.is_proven and tracked.may_fail(wanted, server.parameters)
        prefix = server.adopt(session)
        if may_fail and prefix:
            self._held = data  # until `send_held`
            return prefix
        return prefix + data

    def _begin_query(self, server: ServerSession, data: bytes) -> None:
        """Note a further query of a pairing; `Pool.link` has noted the first."""
        session = self.session
        now = self._clock()
        session.query_started_at = session.requested_at = server.requested_at = now
        server.asked = data
        self._counters.query_count += 1
        if not session.xact_started_at:  # session pooling: the pairing outlives the transaction
            session.xact_started_at = now
            self._counters.xact_count += 1

    def _hold(self, data: bytes) -> None:
        self._held = self._held + data
        if len(self._held) > HELD_LIMIT:
            self.pause_reading()

    def go_on(self, server: ServerSession) -> None:
        """Send what the client asked for while it waited: it is linked to `server` now."""
        data, raw = self._take_held()
        if raw:
            self._rewrite_held(server, data, raw, is_new=True)
        else:
            self._begin(server, data)

    def send_held(self, server: ServerSession) -> None:
        """Send what was held back until `server` had accepted the client's parameters."""
        data, raw = self._take_held()
        if raw:
            self._rewrite_held(server, data, raw, is_new=False)
        elif data:
            server.relay(data)

    def _take_held(self) -> tuple[bytes, bytes]:
        """Return what is held, looked at and not yet looked at; it is held no longer."""
        data, raw = self._held, self._raw
        self._held = self._raw = b""
        self.session.raw_waits = False
        self.resume_reading()
        return data, raw

    def _rewrite_held(
        self, server: ServerSession, data: bytes, raw: bytes, *, is_new: bool
    ) -> None:
        """Send what was held: first what has been looked at, then what the rewriter makes of it."""
        rewriter = self.session.rewriter or self._make_rewriter()
        try:
            rewritten = rewriter.rewrite(raw, server)
        except ClientError as error:
            self._dispatcher.refuse_client(self, error)
        else:
            self._pass_rewritten(server, data + rewritten, is_new=is_new)

    # --- flow ---

    def pause_writing(self) -> None:
        """Stop the server, and the client's own requests: this client does not read its answers."""
        self.session.is_congested = True
        self._is_plain = False
        self.pause_reading()
        if self.session.server is not None:
            self.session.server.connection.pause_reading()

    def resume_writing(self) -> None:
        """Let both flow again."""
        self.session.is_congested = False
        self._is_plain = self.session.rewrites
        self.resume_reading()
        if self.session.server is not None:
            self.session.server.connection.resume_reading()

    def pause_reading(self) -> None:
        """Take nothing more from the client."""
        if not self.transport.is_closing():
            self._is_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on taking from the client, if nothing stands in the way any more."""
        if not self._is_paused or self.session.is_congested:
            return
        server = self.session.server
        is_stopped = len(self._held) + len(self._raw) > HELD_LIMIT or (
            server is not None and server.is_congested
        )
        if not (is_stopped or self.transport.is_closing()):
            self._is_paused = False
            self.transport.resume_reading()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the other end."""
        return peer_address(self.transport)

    @property
    def own_address(self) -> tuple[str, int]:
        """Host and port of our end."""
        return own_address(self.transport)

    @property
    def tls(self) -> str:
        """Version and cipher of its TLS; "" without."""
        return tls_name(self.transport)

    # --- the end ---

    def refuse(self, error: ClientError) -> None:
        """Tell the client why it is closed, and close it."""
        self._dispatcher.refuse_client(self, error)

    def eof_received(self) -> bool:
        """Take a half-closed connection for a closed one, as PgBouncer does."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Clear up after a client that went without saying Terminate."""
        self._dispatcher.lingering.forget(self.transport)
        self._dispatcher.client_left(self, "client unexpected eof")
        self.session.let_go()
