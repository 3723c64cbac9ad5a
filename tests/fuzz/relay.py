"""A pooler of three clients and two servers, all of whom may lie. One input is one run.

The first byte chooses the rules, and then each byte is something that happens, with the bytes
behind it as its words. Words are well-formed messages by number, or any bytes at all; a server can
also answer as it should. So a mutation of an input is another story, not only another typing error.
"""

from __future__ import annotations

from typing import Final

from pgpool_lite.config import PoolMode
from pgpool_lite.errors import LimitReached, ServerLoginFailed, ServerRefusedLogin
from pgpool_lite.pool.cancel import CancelRequest
from pgpool_lite.proxy.client_connection import HELD_LIMIT, ClientConnection
from pgpool_lite.proxy.server_connection import ServerConnection
from pgpool_lite.session import interest, meaning, outstanding
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.entries import IS_UNSENT
from pgpool_lite.session.refusals import MAX_CLIENT_BYTES, StatementRules
from pgpool_lite.session.renaming import MAX_NAMES, MAX_PARSE
from pgpool_lite.session.states import ClientState, ServerState
from pgpool_lite.session.tracking import MAX_PORTALS, TrackingRewriter, session_class
from pgpool_lite.wire.frontend import CancelKey
from tests.unit.pairs import WELCOME, owed_by
from tests.unit.pool.helpers import check
from tests.unit.world import FakeTransport, World, transport_of
from tests.wire_messages import (
    Bind,
    ClosePortal,
    CloseStatement,
    CommandComplete,
    CopyData,
    CopyDone,
    CopyFail,
    DataRow,
    DescribePortal,
    DescribeStatement,
    ErrorResponse,
    Execute,
    Flush,
    FunctionCall,
    ParameterStatus,
    Parse,
    Query,
    ReadyForQuery,
    RowDescription,
    Sync,
    Terminate,
    message,
)

#: More than one read of a socket brings.
READ: Final = 262_144

CLIENT_WORDS: Final = (
    *(Query("SELECT 1"), Query("BEGIN"), Query(""), Query("DEALLOCATE a"), Query("EXECUTE a")),
    *(Query('DEALLOCATE "b"'), Query("DEALLOCATE ALL"), Query("COPY t FROM STDIN")),
    *(Parse("SELECT 1"), Parse("SELECT 1", "a"), Parse("SELECT 2", "b"), Parse("SELECT 1", "c")),
    *(Parse("DEALLOCATE a"), Parse("DEALLOCATE b", "d"), Parse("PREPARE x AS SELECT 1")),
    *(Bind(), Bind(statement="a"), Bind(statement="b"), Bind(statement="c"), Bind(statement="d")),
    *(Bind(statement="nobody"), Bind(statement="PGBOUNCER_1"), Bind(statement="d", portal="p")),
    *(DescribePortal(), DescribeStatement(), DescribeStatement("a"), DescribeStatement("zz")),
    *(Execute(), Execute("p"), CloseStatement(""), CloseStatement("a"), CloseStatement("b")),
    *(ClosePortal("p"), Sync(), Sync(), Sync(), Flush(), Terminate(), FunctionCall(1)),
    *(CopyData(b"row"), CopyDone(), CopyFail("no"), Parse("x" * 20_000, "a"), Query("x" * 17_000)),
    Bind() + Execute() + Sync(),
    Bind(statement="a") + Execute() + Sync(),
    Parse("SELECT 1") + Bind() + Execute() + Sync(),
)
SERVER_WORDS: Final = (
    *(ReadyForQuery("I"), ReadyForQuery("T"), ReadyForQuery("E"), ReadyForQuery("?")),
    *map(message, "123nsI"),
    *(message("G", b"\0\0\0"), message("H", b"\0\0\0"), message("W", b"\0\0\0"), message("c")),
    *(RowDescription("x"), DataRow("1"), CopyData(b"row"), message("t", b"\0\0")),
    *(CommandComplete("SELECT 1"), CommandComplete("DEALLOCATE ALL"), CommandComplete("COPY 1")),
    *(ErrorResponse("no"), ErrorResponse("gone", severity="FATAL", sqlstate="57P01")),
    ErrorResponse('prepared statement "a" does not exist', sqlstate="26000"),
    ErrorResponse("cached plan must not change result type", sqlstate="0A000"),
    *(ParameterStatus("TimeZone", "Mars"), ParameterStatus("x", "y"), message("N", b"\0")),
    *(message("A", b"\0\0\0\1c\0p\0"), message("S", b"broken"), message("v"), message("R")),
)
MODES: Final = (PoolMode.TRANSACTION, PoolMode.SESSION, PoolMode.STATEMENT, PoolMode.TRANSACTION)
RULES: Final = (
    None,
    StatementRules(limit=2, answers_like_postgres=True),
    StatementRules(limit=2, tracks_sql=True, answers_like_postgres=True),
    StatementRules(rejects=True),
)
PAUSES_S: Final = (0.3, 31.0, 700.0, 4000.0)
#: What the rightful answer to each entry of `owed` ends in.
ANSWERS: Final = {
    **dict.fromkeys(b"PnpQ?", b""),
    **dict.fromkeys(b"Pnp", message("1")),
    **dict.fromkeys(b"Bb?", message("2")),
    **dict.fromkeys(b"Ck", message("3")),
    **dict.fromkeys(b"D", message("n")),
    **dict.fromkeys(b"Ex", CommandComplete("SELECT 0")),
    **dict.fromkeys(b"SQFs", ReadyForQuery("I")),
    ord("!"): ErrorResponse("no such statement", sqlstate="26000"),
}


def run(data: bytes) -> None:
    """Let everything happen that `data` says, and see that nobody is the worse for it."""
    Story(data).play()


class Story:
    """One run."""

    def __init__(self, data: bytes) -> None:
        rules, self._data, self._pos = data[0] if data else 0, data, 1
        self.statements = RULES[rules >> 2 & 3]
        self.world = World(
            MODES[rules & 3],
            pool_size=2,
            reserve_size=rules >> 4 & 1,
            server_lifetime_s=0.0 if rules & 32 else 3600.0,
            statements=self.statements,
            reset_query="DISCARD ALL" if rules & 128 else "",
        )
        self.clients = [self._new_client() for _ in range(3)]
        self.servers: list[ServerConnection] = []
        self.cancels: list[CancelRequest] = []
        self.last_said = b""

    def _new_client(self) -> ClientConnection:
        """Bring in a client as a login does, with parameters of its own."""
        world, pool = self.world, self.world.pool
        number = world.registry.next_id()
        parameters = {**WELCOME, "TimeZone": ("UTC", "Mars")[number % 2]}
        values = world.registry.tracked.values_of(parameters)
        session: ClientSession = session_class(self.statements)(
            number, CancelKey(number, b"key!"), values, world.clock()
        )
        session.is_proven = bool(number % 3)
        session.rewrites = self.statements is not None
        session.names_pass = pool.rules.names_pass
        pool.add_client(session)
        world.registry.remember_key(pool, session)
        pool.admit(session)
        return ClientConnection(session, pool, FakeTransport(), world.dispatcher)

    # --- what the input says ---

    def play(self) -> None:
        while self._pos < len(self._data):
            happens = self._byte()
            who = happens >> 3
            (
                self._client_says_a_word,
                self._client_says_anything,
                self._server_says_a_word,
                self._server_says_anything,
                self._server_answers,
                self._time_passes,
                self._something_breaks,
                self._pooler_is_told,
            )[happens & 7](who)
            self._check()
        self._end()

    def _byte(self) -> int:
        self._pos += 1
        return self._data[self._pos - 1] if self._pos <= len(self._data) else 0

    def _chunk(self) -> bytes:
        size = self._byte()
        if size == 255:  # the same again, often: what piles up shows
            return (self.last_said * 50)[:READ]
        chunk = self._data[self._pos : self._pos + size]
        self._pos += size
        self.last_said = chunk[:1000]
        return chunk

    def _client_says_a_word(self, who: int) -> None:
        self.last_said = CLIENT_WORDS[self._byte() % len(CLIENT_WORDS)]
        self._client_says(who, self.last_said)

    def _client_says_anything(self, who: int) -> None:
        self._client_says(who, self._chunk())

    def _client_says(self, who: int, data: bytes) -> None:
        number = who % len(self.clients)
        if transport_of(self.clients[number]).is_closing():
            self.clients[number] = self._new_client()
        client = self.clients[number]
        if data and transport_of(client).is_reading():
            client.data_received(data)

    def _server(self, who: int) -> ServerConnection | None:
        self.servers = [each for each in self.servers if not transport_of(each).is_closing()]
        return self.servers[who % len(self.servers)] if self.servers else None

    def _server_says_a_word(self, who: int) -> None:
        self._server_says(who, SERVER_WORDS[self._byte() % len(SERVER_WORDS)])

    def _server_says_anything(self, who: int) -> None:
        self._server_says(who, self._chunk())

    def _server_says(self, who: int, data: bytes) -> None:
        server = self._server(who)
        if server is not None and data and transport_of(server).is_reading():
            server.data_received(data)

    def _server_answers(self, who: int) -> None:
        """Let a server log in that was asked for; else have one say what it should."""
        if self.world.logging_in:
            self.servers.append(self.world.finish_login())
            return
        server = self._server(who)
        if server is None:
            return
        answer = ReadyForQuery("I") * server.session.swallowing
        client = server.session.client
        for entry in owed_by(client)[:50] if client is not None else b"":
            answer += b"" if IS_UNSENT[entry] else ANSWERS.get(entry, b"")
        self._server_says(who, answer)

    def _time_passes(self, who: int) -> None:
        self.world.clock.now += PAUSES_S[who % len(PAUSES_S)]
        self.world.dispatcher.sweep()

    def _something_breaks(self, who: int) -> None:
        client, server = self.clients[who % 3], self._server(who >> 2)
        kind = who >> 3
        if kind == 0 and not transport_of(client).is_closing():
            client.connection_lost(None)
            transport_of(client).close()
        elif kind == 1 and server is not None:
            transport_of(server).close()
            server.connection_lost(None)
        elif kind == 2 and not transport_of(client).is_closing():
            (client.resume_writing if client.session.is_congested else client.pause_writing)()
        elif server is not None:
            (server.resume_writing if server.session.is_congested else server.pause_writing)()

    def _pooler_is_told(self, who: int) -> None:
        world, pool = self.world, self.world.pool
        database, now = pool.database, world.clock()
        kind = who % 8
        if kind == 0:
            database.is_paused = not database.is_paused
            world.dispatcher.sweep()
        elif kind == 1:
            pool.retire("obsolete connection")
        elif kind == 2:
            pool.set_rules(pool.rules)
        elif kind == 3:
            server = self.clients[who >> 3].session.server if who >> 3 < 3 else None
            if server is not None:
                request = CancelRequest(pool, server, lambda: None, now)
                request.begin()
                self.cancels.append(request)
        elif kind == 4 and self.cancels:
            self._end_cancel()
        elif kind == 5 and world.logging_in:
            login = world.logging_in.pop(0)
            kinds = (ServerLoginFailed, ServerRefusedLogin)
            world.dispatcher.login_failed(login.session, pool, kinds[who >> 3 & 1]("no"))
        elif kind == 6 and who >> 3 < 3:
            client = self.clients[who >> 3]
            if not transport_of(client).is_closing():
                client.refuse(LimitReached("killed"))

    def _end_cancel(self) -> None:
        request = self.cancels.pop(0)
        before = request.server.state
        next_client = request.end(self.world.clock())
        if next_client is not None or request.server.state is not before:
            self.world.dispatcher.follow_up(request.server, self.world.pool, next_client)

    # --- what must hold ---

    def _check(self) -> None:
        pool = self.world.pool
        check(pool)
        assert pool.server_count == sum(map(len, pool.servers.values())) <= 2 + 1
        assert pool.database.headcount.server_count == pool.server_count
        assert pool.database.headcount.client_count == pool.client_count
        for server in pool.servers[ServerState.IDLE]:
            assert (server.swallowing, server.cancels_in_flight) == (0, 0)
            assert server.status == ord("I")
        for client in self.clients:
            if client.session.state is not ClientState.CLOSED:
                check_kept(client)
        for end in (each for each in self.servers if not transport_of(each).is_closing()):
            assert len(end.session.tail) <= interest.HOLD_LIMIT + READ
            assert len(end.session.statements.held) <= 2 + MAX_PORTALS

    def _end(self) -> None:
        """Let everybody go: nothing and nobody may be left."""
        for client in self.clients:
            if not transport_of(client).is_closing():
                client.connection_lost(None)
        while self.cancels:
            self._end_cancel()
        pool, world = self.world.pool, self.world
        while world.logging_in:
            world.finish_login()
        self._check()
        assert not pool.client_count
        assert not pool.servers[ServerState.ACTIVE]
        for servers in pool.servers.values():
            for server in list(servers):
                pool.remove_server(server)
        assert not pool.server_count
        assert not len(world.registry.statements)


def check_kept(client: ClientConnection) -> None:
    """Assert that what is kept of one client is bounded by the constants that say so."""
    session = client.session
    held = max(meaning.HOLD_LIMIT, MAX_NAMES, MAX_PARSE)
    assert len(session.tail) <= held + READ
    assert len(session.owed) <= meaning.MAX_OWED + READ
    assert len(client._held) + len(client._raw) <= 2 * HELD_LIMIT + READ
    rewriter = session.rewriter
    if rewriter is None:
        return
    assert len(rewriter.left) == 0
    assert rewriter.book.size <= MAX_CLIENT_BYTES
    assert (
        not isinstance(rewriter, TrackingRewriter)
        or len(rewriter._tracking._portals) <= MAX_PORTALS
    )
    assert len(rewriter._outstanding._undo) <= outstanding.MAX_CHANGES + READ
