"""The promises under random traffic: three clients, two servers, cuts anywhere, at any moment.

Each client also has a PostgreSQL of its own that it speaks to directly, a `ModelPostgres`; what
comes through the pooler must be byte for byte what that one says. The machine's rules are what can
happen to sockets: bytes come, in any portions, ends break, time passes, cancels are under way.
"""

from __future__ import annotations

from hypothesis import Phase, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pgpool_lite.pool.cancel import CancelRequest
from pgpool_lite.proxy.client_connection import ClientConnection
from pgpool_lite.proxy.server_connection import ServerConnection
from pgpool_lite.session.meaning import HOLD_LIMIT
from pgpool_lite.session.refusals import StatementRules
from pgpool_lite.session.states import ClientState, ServerState
from tests.unit.model_postgres import BAD_ROW, ModelPostgres
from tests.unit.pairs import WELCOME
from tests.unit.pool.helpers import check
from tests.unit.world import World, transport_of
from tests.wire_messages import (
    Bind,
    CloseStatement,
    CopyData,
    CopyDone,
    CopyFail,
    DescribePortal,
    DescribeStatement,
    Execute,
    Flush,
    Parse,
    Query,
    Sync,
    Terminate,
    message,
)

NOTIFICATION = message("A", b"\0\0\0\7channel\0payload\0")
CLIENTS = 3
SERVERS = 2

EVERYTHING = 1_000_000
PORTION = st.sampled_from([1, 4, 5, 6, 11, 30, EVERYTHING])
#: A failing run is shown as it was found: to make it shorter takes minutes.
NO_SHRINK = (Phase.explicit, Phase.reuse, Phase.generate)

WHO = st.integers(0, CLIENTS - 1)
WHICH = st.integers(0, SERVERS - 1)


class ModelClient:
    """One client's end: what it has said, what it should hear, and where its bytes are."""

    def __init__(self, world: World, number: int, *, rewrites: bool) -> None:
        self.parameters = {
            **WELCOME,
            "application_name": f"client {number}",
            "TimeZone": ("UTC", "Asia/Tokyo")[number % 2],
        }
        self.connection: ClientConnection = world.add_client(
            self.parameters, is_proven=number == 0, rewrites=rewrites
        )
        self.direct = ModelPostgres(self.parameters)
        self.number = number
        self.said_count = 0
        #: Said, but still on the wire to the pooler.
        self.outgoing = b""
        self.expected = b""
        #: Its server was made to break, so it may have been told of an error.
        self.is_excused = False
        self.has_left = False

    @property
    def is_alive(self) -> bool:
        return self.connection.session.state is not ClientState.CLOSED

    @property
    def heard(self) -> bytes:
        """What came through the pooler, without what an idle server's notifications left."""
        heard = transport_of(self.connection).written.replace(NOTIFICATION, b"")
        # Of one that is still arriving, the beginning is heard already.
        begun = (n for n in range(len(NOTIFICATION) - 1, 0, -1) if heard.endswith(NOTIFICATION[:n]))
        return heard[: len(heard) - next(begun, 0)]

    def say(self, data: bytes) -> None:
        self.outgoing += data
        self.expected += self.direct.receive(data)

    def choices(self) -> list[bytes]:
        """Return what a sane client may say now, each as one piece."""
        self.said_count += 1
        token = f"client {self.number} says {self.said_count}"
        batch = Parse(token) + Bind() + DescribePortal() + Execute()
        copy = Parse("COPY") + Bind() + Execute()
        if self.direct.copying:
            ends = [CopyDone(), CopyFail("no")]
            if self.direct.copying == "extended":
                ends = [end + Sync() for end in ends]
            return [CopyData(b"row\n"), CopyData(BAD_ROW), CopyData(BAD_ROW) + ends[0], *ends]
        if self.direct.may_have_late_copy and self.heard != self.expected:
            # It has not heard yet that its COPY failed, so it goes on with that.
            return [CopyData(b"late\n"), CopyDone() + Sync() * self.direct.is_skipping]
        if self.direct.is_skipping:
            return [batch, Flush(), Sync(), batch + Sync(), Query(token)]
        said = [Query(token), batch + Sync(), batch + Flush(), batch, Sync(), Query("COPY")]
        said += [copy + Sync(), copy + Flush(), Query("FAIL"), Query(""), Query("SHOW TimeZone")]
        said += [Parse("FAIL") + Bind() + Execute() + Sync(), Query("SHOW application_name")]
        said += [Query("x" * (HOLD_LIMIT + 9)), Query("FAIL COPY") + CopyData(b"1\n") + CopyDone()]
        said += [Query("COPY") + CopyData(b"row\n") + CopyDone(), copy + CopyDone() + Sync()]
        if self.connection.session.rewriter is not None:
            said += self._choices_with_names(token)
        if self.direct.may_have_late_copy and not self.direct.is_unsynced:
            said += [CopyData(b"late\n"), CopyDone(), CopyData(b"late\n") + CopyDone()]
        if self.direct.status == "I":
            said += [Query("BEGIN"), Query("SET application_name='new name'")]
        else:
            said += [Query("COMMIT"), Query("ROLLBACK")]
        return said

    def _choices_with_names(self, token: str) -> list[bytes]:
        """Return batches that prepare a statement by name, or use one of those that there are."""
        name = f"s{self.said_count}"
        said = [Parse("shared", name) + Sync(), Parse(token, name) + Flush()]
        said.append(Parse(token, name) + DescribeStatement(name) + Sync())
        said.append(Parse("shared", name) + Bind(statement=name) + Execute() + Sync())
        for known in [known for known in self.direct.statements if known][-3:]:
            said += [
                Bind(statement=known) + Execute() + Sync(),
                Bind(statement=known) + Execute() + Flush(),
                DescribeStatement(known) + Sync(),
                CloseStatement(known) + Sync(),
            ]
        return said

    def finish(self) -> None:
        """Say what ends everything that is open."""
        if self.direct.copying:
            self.say(CopyDone())
        if self.direct.is_unsynced or self.direct.is_skipping:
            self.say(Sync())
        if self.direct.status != "I":
            self.say(Query("ROLLBACK"))


class ModelServer:
    """One server's end."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.postgres = ModelPostgres(WELCOME)
        #: Said, but still on the wire to the pooler.
        self.outgoing = b""

    def read(self, size: int) -> bool:
        data = transport_of(self.connection).take(size)
        self.outgoing += self.postgres.receive(data)
        return bool(data)


class Traffic(RuleBasedStateMachine):
    """What can happen to three clients and two servers."""

    #: Whether named prepared statements are mapped, which changes the way of every batch.
    rewrites = False

    def __init__(self) -> None:
        super().__init__()
        # So few statements per server that they drive each other out.
        statements = StatementRules(rejects=False, limit=2, answers_like_postgres=True)
        self.world = World(
            pool_size=SERVERS,
            query_wait_timeout_s=0.0,
            query_wait_notify_s=0.0,
            statements=statements,
        )
        self.clients = [
            ModelClient(self.world, number, rewrites=self.rewrites) for number in range(CLIENTS)
        ]
        self.servers: list[ModelServer] = []
        self.cancels: list[CancelRequest] = []

    # --- bytes ---

    @rule(who=WHO, data=st.data(), is_delivered=st.booleans())
    def a_client_says_something(self, who: int, data: st.DataObject, is_delivered: bool) -> None:
        client = self.clients[who]
        if not client.has_left:
            choices = client.choices()
            said = choices[data.draw(st.integers(0, len(choices) - 1))]
            note(f"client {who} says {said[:90]!r}")
            client.say(said)
            self._deliver(client, EVERYTHING if is_delivered else 0)

    @rule(who=WHO, size=PORTION)
    def bytes_of_a_client_arrive(self, who: int, size: int) -> None:
        self._deliver(self.clients[who], size)

    @rule(which=WHICH, read=PORTION, answer=PORTION)
    def a_server_reads_and_its_bytes_arrive(self, which: int, read: int, answer: int) -> None:
        for server in self.servers[which : which + 1]:
            server.read(read)
            self._answer(server, answer)

    @rule()
    def everything_arrives(self) -> None:
        for _ in range(3):
            self._anything_moves()

    def _deliver(self, client: ModelClient, size: int) -> bool:
        data = client.outgoing[:size]
        if not data or not transport_of(client.connection).is_reading():
            return False
        client.outgoing = client.outgoing[size:]
        client.connection.data_received(data)
        return True

    def _answer(self, server: ModelServer, size: int) -> bool:
        data = server.outgoing[:size]
        if not data or not transport_of(server.connection).is_reading():
            return False
        server.outgoing = server.outgoing[size:]
        server.connection.data_received(data)
        return True

    # --- what happens once in a while ---

    @rule(data=st.data(), who=WHO)
    def something_happens(self, data: st.DataObject, who: int) -> None:
        happenings = [
            self._client_reads_or_does_not,
            self._client_leaves,
            self._cancel_begins,
            self._time_passes,
            self._idle_server_has_a_notification,
            self._server_breaks,
        ]
        data.draw(st.sampled_from(happenings))(who)

    def _client_reads_or_does_not(self, who: int) -> None:
        client = self.clients[who]
        if client.is_alive and client.connection.is_congested:
            client.connection.resume_writing()
        elif client.is_alive:
            client.connection.pause_writing()

    def _client_leaves(self, who: int) -> None:
        """Only the last one leaves, sometimes without a word."""
        client = self.clients[-1]
        if client.has_left:
            return
        client.has_left = True
        if who:
            client.outgoing += Terminate()
        else:
            client.connection.connection_lost(None)

    def _cancel_begins(self, who: int) -> None:
        """Note a cancel under way; it is through when everything has arrived."""
        server = self.clients[who].connection.session.server
        if server is not None:
            now = self.world.clock()
            request = CancelRequest(self.world.pool, server, lambda: None, now)
            request.begin()
            self.cancels.append(request)

    def _time_passes(self, who: int) -> None:
        self.world.clock.now += (0.3, 31.0, 700.0)[who]
        self.world.dispatcher.sweep()

    def _idle_server_has_a_notification(self, who: int) -> None:
        for server in self.servers:
            if server.connection.session.state is ServerState.IDLE:
                server.outgoing += NOTIFICATION

    def _server_breaks(self, who: int) -> None:
        for server in self.servers[who : who + 1]:
            for client in self.clients:
                if client.connection.session is server.connection.session.client:
                    client.is_excused = True
            server.connection.connection_lost(None)

    # --- the promises ---

    @invariant()
    def promise_1_a_server_is_linked_to_at_most_one_client(self) -> None:
        check(self.world.pool)
        self.servers = [
            server
            for server in self.servers
            if server.connection.session.state is not ServerState.CLOSED
        ]
        assert self.world.pool.server_count <= SERVERS

    @invariant()
    def promise_2_an_idle_server_owes_nothing(self) -> None:
        for server in self.servers:
            if server.connection.session.state is ServerState.IDLE:
                server.read(EVERYTHING)
                assert NOTIFICATION.endswith(server.outgoing.replace(NOTIFICATION, b""))
                assert (server.postgres.status, server.postgres.copying) == ("I", "")
                assert not server.postgres.is_unsynced
                assert not server.postgres.has_half_a_message
                assert not server.connection.session.cancels_in_flight

    @invariant()
    def promise_3_every_reply_reaches_its_owner_in_order_and_unchanged(self) -> None:
        for client in self.clients:
            if client.is_excused and not client.is_alive:
                continue
            assert client.expected.startswith(client.heard), client.number
            assert client.is_alive or client.has_left, "refused for no reason"

    @invariant()
    def promise_4_what_is_kept_of_a_stream_is_bounded(self) -> None:
        for client in self.clients:
            assert len(client.connection.session.tail) <= HOLD_LIMIT + 1
        for server in self.servers:
            assert len(server.connection.session.tail) <= len(NOTIFICATION) + 200

    @invariant()
    def promise_6_a_client_that_left_has_no_server(self) -> None:
        for client in self.clients:
            if not client.is_alive:
                assert client.connection.session.server is None

    def teardown(self) -> None:
        """Let everybody finish: all answers arrive, and no server stays linked."""
        for client in self.clients:
            if client.is_alive and client.connection.is_congested:
                client.connection.resume_writing()
            if not client.has_left:
                client.finish()
        while self._anything_moves():
            pass
        for client in self.clients:
            if client.is_alive and not client.has_left:
                assert client.heard == client.expected
                server = client.connection.session.server
                assert server is None or server.close_reason
        check(self.world.pool)

    def _anything_moves(self) -> bool:
        moves = [self._deliver(client, EVERYTHING) for client in self.clients]
        if self.world.logging_in:
            self.servers.append(ModelServer(self.world.finish_login()))
            moves.append(True)
        moves += [server.read(EVERYTHING) for server in self.servers]
        moves += [self._answer(server, EVERYTHING) for server in self.servers]
        if self.cancels:
            request = self.cancels.pop(0)
            next_client = request.end(self.world.clock())
            self.world.dispatcher.follow_up(request.server, self.world.pool, next_client)
            moves.append(True)
        if not any(moves) and self.world.pool.oldest_wait_s(self.world.clock()):
            waiting = len(self.world.pool.clients[ClientState.WAITING])
            self._time_passes(0)
            moves.append(len(self.world.pool.clients[ClientState.WAITING]) < waiting)
        return any(moves)


class RewrittenTraffic(Traffic):
    """The same, while every batch is looked at for named prepared statements."""

    rewrites = True


Traffic.TestCase.settings = settings(
    max_examples=100, stateful_step_count=50, deadline=None, phases=NO_SHRINK
)
RewrittenTraffic.TestCase.settings = Traffic.TestCase.settings
TestTraffic = Traffic.TestCase
TestRewrittenTraffic = RewrittenTraffic.TestCase
