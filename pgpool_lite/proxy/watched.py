"""Connections whose clients are watched for what they leave on servers: session_leaks.

The usual connections know nothing of it; a client changes its connection when that changes. Where a
pool has session_leaks, its clients and servers get these, which look at a read before the usual
ones do: `Watch` at what a client says, `Evidence` at what a server answers, and at that only while
it is open what has become of something.

Where a NOTICE stands: in front of the read in which its transaction ends, if that begins at a
message, else behind the next read that ends at one. So it comes before the ReadyForQuery that the
client waits for, and never inside a message. With most clients it is the first of the answer.

`data_received` of the base class is called by the class's name: in the interpreter super() costs
half a microsecond, which is what a harmless text costs to look at.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pgpool_lite.config import SessionLeaks, Settings
from pgpool_lite.pool import following, leaks
from pgpool_lite.pool.pool import Pool
from pgpool_lite.proxy.client_connection import ClientConnection
from pgpool_lite.proxy.guarded import (
    GuardedClientConnection,
    GuardedServerConnection,
    client_connection_class,
    server_connection_class,
)
from pgpool_lite.proxy.server_connection import ServerConnection
from pgpool_lite.proxy.sockets import hand_over
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.evidence import Effect
from pgpool_lite.session.leak_words import (
    leak_notice,
    refusal,
    stray_unlock_notice,
    tell_victim,
    what,
)
from pgpool_lite.session.refusing import RefusingWatch
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.states import ClientState
from pgpool_lite.session.watch import Watch
from pgpool_lite.wire import backend, codes
from pgpool_lite.wire.framing import message_end

if TYPE_CHECKING:
    from pgpool_lite.proxy.dispatcher import Dispatcher

#: What is kept of a read of a client that waits, to name what it said once it has a server.
SAID_LIMIT: Final = 1024
#: Of what a server says it has on it no more is read; a ledger holds less.
ANSWER_LIMIT: Final = 1_048_576

#: As a global of this module: a look into an Enum costs 600 instructions.
_OFF: Final = SessionLeaks.OFF


class Lookout:
    """What watched connections do besides. Owned by one of them."""

    __slots__ = ("_answer", "_dispatcher", "_pool")

    def __init__(self, pool: Pool, dispatcher: Dispatcher) -> None:
        """Look out in one pool."""
        #: What a server has answered so far to the question what stands on it.
        self._answer = b""
        self._pool = pool
        self._dispatcher = dispatcher

    def watch(self, session: ClientSession) -> Watch:
        """Have a client watched from now on."""
        refuses = self._pool.rules.session_leaks is SessionLeaks.ERROR
        kind = RefusingWatch if refuses else Watch
        session.watch = watch = kind(session, self._dispatcher.registry.tracked)
        return watch

    # --- around a read of a client ---

    def say_no(self, watch: Watch, client: ClientSession) -> None:
        """Send the answers to what was refused; count and log that."""
        self._pool.leak_counters.refusal_count += len(watch.refused)
        for leak in watch.refused:
            self._dispatcher.log.client_said_no(client, self._pool, refusal(leak))
        watch.refused.clear()
        reply, watch.reply = watch.reply, b""
        if reply:
            client.relay(reply)

    def behind(
        self, watch: Watch, client: ClientSession, server: ServerSession | None, data: bytes
    ) -> None:
        """See whether a client finds something on the server that it has got, if it has."""
        if server is None:
            watch.said = data[:SAID_LIMIT]
        elif server.ledger is not None and server.ledger.unnoticed:
            self._find_victim(watch, client, server, data)

    def linked(self, watch: Watch, client: ClientSession, server: ServerSession) -> None:
        """See whether a client that has waited finds something on its server."""
        said, watch.said = watch.said, b""
        if server.ledger is not None and server.ledger.unnoticed:
            self._find_victim(watch, client, server, said)

    def _find_victim(
        self, watch: Watch, client: ClientSession, server: ServerSession, data: bytes
    ) -> None:
        """Note what a client is the first to find; log it, once per rule and client."""
        now = self._dispatcher.clock()
        for entry in leaks.notice_victim(server, self._pool, watch, data, now):
            rule = entry.leak.rule.id
            if f"victim of {rule}" not in watch.told:
                watch.told.add(f"victim of {rule}")
                log = self._dispatcher.log.client(client, self._pool)
                log.warning("session_leaks: %s %s", rule, tell_victim(entry, now))

    # --- around a read of a server ---

    def ahead(
        self, watch: Watch, client: ClientSession, server: ServerSession, data: bytes
    ) -> None:
        """Look at an answer before it is passed on."""
        self._enter(watch, client, server, watch.evidence.hear(server, data))
        if watch.evidence.has_stray_unlock:
            watch.evidence.has_stray_unlock = False
            self._tell_of_unlock(watch, client, server)
        self._deliver(watch, client, server)

    def answered(self, watch: Watch, client: ClientSession, server: ServerSession) -> None:
        """See what is left to be done once an answer has been passed on."""
        self._enter(watch, client, server, watch.leftover())
        self._deliver(watch, client, server)
        watch.listen_on()
        self.ask_settings(watch, client, server)

    def _enter(
        self,
        watch: Watch,
        client: ClientSession,
        server: ServerSession,
        effects: list[Effect],
        *,
        follows: bool = True,
    ) -> None:
        """Note what a client has done to its server; tell it and the log, once per rule.

        `follows`: what it has set goes with it, where that is wanted and can be done.
        """
        if not effects:
            return
        pool, mode, now = self._pool, self._pool.rules.session_leaks, self._dispatcher.clock()
        for leak, effect in leaks.enter(server, pool, watch, effects, now, follows=follows):
            watch.notices += leak_notice(leak, mode)
            log = self._dispatcher.log.client(client, self._pool)
            log.warning("session_leaks: %s %s, `%s`", leak.rule.id, what(leak), effect.statement)

    def _tell_of_unlock(self, watch: Watch, client: ClientSession, server: ServerSession) -> None:
        """Name both sides of a lock on one server whose unlock has reached another."""
        found = leaks.lock_elsewhere(self._pool, client.id)
        there = _name(found[0]) if found is not None else ""
        holder = found[1] if found is not None else None
        now = self._dispatcher.clock()
        watch.notices += stray_unlock_notice(_name(server), holder, there, now)

    def _deliver(self, watch: Watch, client: ClientSession, server: ServerSession) -> None:
        """Send notices, unless a message is half sent."""
        if watch.notices and not server.is_mid_answer() and client.state is not ClientState.CLOSED:
            notices, watch.notices = watch.notices, b""
            client.relay(notices)

    # --- around a read of a server that is asked what a SET has set ---

    def ask_settings(self, watch: Watch, client: ClientSession, server: ServerSession) -> None:
        """Ask a server what its client has set, as soon as it owes nothing."""
        ledger = server.ledger
        if ledger is None or not ledger.is_following or server.client is not client:
            return
        watch.is_listening = True
        if ledger.unread and not ledger.asked and server.is_settled() and not client.raw_waits:
            self._dispatcher.ask(server, following.question(ledger), "cannot ask for settings")

    def hear_settings(self, client: ClientSession, server: ServerSession, data: bytes) -> bool:
        """Take a read before the session does; say whether it ends the answer about settings."""
        ledger = server.ledger
        if ledger is None or not ledger.asked:
            return False
        self._answer += data
        end = _own_end(self._answer)
        if not end:
            return False
        answer, self._answer = self._answer[:end], b""
        watch, now = client.watch, self._dispatcher.clock()
        left = following.take_answer(server, self._pool, read_cells(answer), now)
        if left and watch is not None:
            self._enter(watch, client, server, left, follows=False)
        return True

    def settings_known(self, client: ClientSession, server: ServerSession) -> None:
        """Let a client go on whose settings are known, once its session has taken the answer."""
        ledger = server.ledger
        if server.client is not client or ledger is None or ledger.is_following:
            return
        if ledger.is_clean:
            server.ledger = None
        self._pool.apply_rules(server)
        if server.is_settled() and not client.raw_waits:
            self._dispatcher.release(server, self._pool)

    # --- before a read of a server that answers to us ---

    def asked(self, server: ServerSession, data: bytes) -> None:
        """Take what a server says of what stands on it, for its ledger and the log."""
        errand = server.errand
        if errand is None or errand.suspect is None:
            return
        if len(self._answer) < ANSWER_LIMIT:
            self._answer += data
        if not data.endswith(backend.READY_IDLE):
            return
        answer, self._answer = self._answer, b""
        log = self._dispatcher.log.server(server, self._pool)
        for leak in leaks.verify(server, self._pool, errand.suspect, read_rows(answer)):
            log.warning(
                "session_leaks: %s %s was found here after %s",
                *(leak.rule.id, what(leak), errand.suspect.name),
            )


def read_rows(data: bytes) -> list[tuple[str, str, str]]:
    """Return the rows of an answer to `leaks.VERIFICATION`, as far as they are there whole."""
    return [(kind, name, value or "") for kind, name, value in read_cells(data)]


def read_cells(data: bytes) -> list[tuple[str, str, str | None]]:
    """Return rows of kind, name and value, which may be NULL, as far as they are there whole."""
    rows: list[tuple[str, str, str | None]] = []
    pos = 0
    while len(data) - pos >= codes.HEADER_SIZE:
        after = message_end(data, pos)
        if not pos < after <= len(data):
            break
        if data[pos] == codes.DATA_ROW:
            cells = backend.decode_data_row(data[pos + codes.HEADER_SIZE : after])
            kind, name = ((cell or b"").decode("utf-8", "replace") for cell in cells[:2])
            value = cells[2]
            rows.append((kind, name, None if value is None else value.decode("utf-8", "replace")))
        pos = after
    return rows


def _own_end(data: bytes) -> int:
    """Return where the first ReadyForQuery ends, 0 while it has not come."""
    pos = 0
    while len(data) - pos >= codes.HEADER_SIZE:
        after = message_end(data, pos)
        if not pos < after <= len(data):
            return 0
        if data[pos] == codes.READY_FOR_QUERY:
            return after
        pos = after
    return 0


def _name(server: ServerSession) -> str:
    return f"server connection S-0x{server.id:x} (PostgreSQL pid {server.cancel_key.pid})"


class WatchedClientConnection(GuardedClientConnection):
    """A client whose statements are looked at, and whose messages may be guarded as well."""

    __slots__ = ("_lookout", "_watch")

    def __init__(
        self,
        session: ClientSession,
        pool: Pool,
        transport: asyncio.Transport,
        dispatcher: Dispatcher,
    ) -> None:
        """Take over the socket of a client that has logged in."""
        super().__init__(session, pool, transport, dispatcher)
        self._lookout = Lookout(pool, dispatcher)
        self._watch = self._lookout.watch(session)

    def take_over(self, watch: Watch) -> None:
        """Go on with what another connection's watch knows of the client."""
        self._watch.take_over(watch)

    def data_received(self, data: bytes) -> None:
        """Look at a read, pass on what may pass of it, and see whether it finds something."""
        watch = self._watch
        data = watch.look(data)
        if watch.reply or watch.refused:
            self._lookout.say_no(watch, self.session)
        if data:
            GuardedClientConnection.data_received(self, data)
            server = self.session.server
            if server is None or server.ledger is not None:
                self._lookout.behind(watch, self.session, server, data)

    def go_on(self, server: ServerSession) -> None:
        """Send what the client asked for while it waited, and see whether it finds something."""
        super().go_on(server)
        self._lookout.linked(self._watch, self.session, server)


class WatchedServerConnection(GuardedServerConnection):
    """A server that is looked at while its client has something open; it may be guarded too."""

    __slots__ = ("_lookout",)

    def __init__(
        self,
        session: ServerSession,
        pool: Pool,
        transport: asyncio.Transport,
        dispatcher: Dispatcher,
    ) -> None:
        """Take over the socket of a server that has let us in."""
        super().__init__(session, pool, transport, dispatcher)
        self._lookout = Lookout(pool, dispatcher)

    def data_received(self, data: bytes) -> None:
        """Look at an answer where that is wanted, and pass it on."""
        client = self.session.client
        watch = client.watch if client is not None else None
        if client is None or watch is None or not watch.is_listening:
            if client is None and self.session.errand is not None:
                self._lookout.asked(self.session, data)
            GuardedServerConnection.data_received(self, data)
            return
        is_known = self._lookout.hear_settings(client, self.session, data)
        self._lookout.ahead(watch, client, self.session, data)
        GuardedServerConnection.data_received(self, data)
        if is_known:
            self._lookout.settings_known(client, self.session)
        self._lookout.answered(watch, client, self.session)


def make_connection(
    session: ClientSession, pool: Pool, transport: asyncio.Transport, dispatcher: Dispatcher
) -> ClientConnection:
    """Return the connection that a client gets which has logged in."""
    settings, is_usual = dispatcher.registry.config.settings, session.replication is None
    kind = client_class(settings, pool, is_watched=is_usual)
    return kind(session, pool, transport, dispatcher)


def renew(old: ClientConnection, dispatcher: Dispatcher, *, is_at_rest: bool) -> bool:
    """Give a client the connection that it would get now, if its pool watches otherwise.

    False: not now, for it is not at rest, or its watch is not. What is known of it stays known.
    """
    session, pool, watch = old.session, old.pool, old.session.watch
    mode = pool.rules.session_leaks
    refuses = mode is SessionLeaks.ERROR
    if (mode is _OFF and watch is None) or (
        mode is not _OFF and watch is not None and isinstance(watch, RefusingWatch) is refuses
    ):
        return True
    if not is_at_rest or session.is_congested or not (watch is None or watch.is_at_rest):
        return False
    kind = client_class(dispatcher.registry.config.settings, pool)
    new = kind(session, pool, old.transport, dispatcher)
    hand_over(old.transport, new)
    if not isinstance(new, WatchedClientConnection):
        session.watch = None
    elif watch is not None:
        new.take_over(watch)
    return True


def client_class(
    settings: Settings, pool: Pool, *, is_watched: bool = True
) -> type[ClientConnection]:
    """Return which connection a client of a pool gets that comes in now.

    `is_watched`: where the pool wants it; a replication client has its server to itself.
    """
    if pool.rules.session_leaks is _OFF or not is_watched:
        return client_connection_class(settings)
    return WatchedClientConnection


def server_class(settings: Settings, pool: Pool) -> type[ServerConnection]:
    """Return which connection a server of a pool gets that has logged in now."""
    if pool.rules.session_leaks is _OFF:
        return server_connection_class(settings)
    return WatchedServerConnection
