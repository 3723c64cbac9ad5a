"""Three clients and two servers on fake sockets, and what each of them should see.

Each client also has a PostgreSQL of its own that it speaks to directly, a `ModelPostgres`; what
comes through the pooler must be byte for byte what that one says. Two things may differ. A
ReadyForQuery may be missing that answers a Sync of which nobody outside knows whether a COPY that
failed had read it. And where it cannot be told what becomes of a message behind such a Sync, the
client may be given up.

`Traffic` moves bytes and looks at the promises; its owners draw what happens when.
"""

from __future__ import annotations

from random import Random

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

GIVEN_UP = b"COPY failed with more requests in flight behind it"
COPIES = ("COPY", "COPY", "COPY VIEW", "COPY CHECKED", "FAIL COPY")
COPY_TEXTS = (
    *COPIES,
    "COPY;COPY",
    "COPY;one",
    "one;COPY",
    "COPY VIEW;COPY",
    "COPY;FAIL",
    "COPY OUT",
)
ROW = CopyData(b"row\n")


def run(text: str) -> bytes:
    """Return the messages of a segment that runs `text`, without its Sync."""
    return Parse(text) + Bind() + Execute()


#: What copies are made of, in any order.
WILD = (
    *[ROW, CopyData(BAD_ROW), CopyDone(), CopyDone(), CopyFail("no")] * 2,
    *[Sync(), Sync(), Flush()] * 2,
    *map(run, COPIES),
    *map(Query, COPY_TEXTS),
    run("one"),
    Query("one"),
    run("FAIL"),
)


class Expected:
    """What a client should hear, in pieces of which some may be missing."""

    def __init__(self) -> None:
        self._pieces: list[tuple[bytes, bool]] = [(b"", False)]

    def add(self, said: bytes, doubtful_ends: list[int]) -> None:
        """Add what the client's own PostgreSQL has said."""
        start = 0
        for end in doubtful_ends:
            size = len(said[start:end]) - len(b"Z....I")
            self._add(said[start : start + size])
            self._pieces += [(said[start + size : end], True), (b"", False)]
            start = end
        self._add(said[start:])

    def _add(self, data: bytes) -> None:
        piece, _ = self._pieces[-1]
        self._pieces[-1] = (piece + data, False)

    def begins_with(self, heard: bytes) -> bool:
        """Say whether a client may have heard this so far."""
        return self._match(heard)[0]

    def is_all(self, heard: bytes) -> bool:
        """Say whether there is no more to hear."""
        return self._match(heard)[1]

    def is_every_word(self, heard: bytes) -> bool:
        """Say whether everything has been heard, also what may be missing."""
        return heard == b"".join(piece for piece, _ in self._pieces)

    def _match(self, heard: bytes) -> tuple[bool, bool]:
        places = {0}
        is_prefix = False
        for piece, may_be_missing in self._pieces:
            is_prefix = is_prefix or any(piece.startswith(heard[place:]) for place in places)
            after = {p + len(piece) for p in places if heard.startswith(piece, p)}
            places = after | places if may_be_missing else after
        return is_prefix or len(heard) in places, len(heard) in places


def ends_in_a_message(heard: bytes) -> bool:
    """Say whether the last message has not come to its end."""
    pos = 0
    while pos + 5 <= len(heard):
        pos += 1 + int.from_bytes(heard[pos + 1 : pos + 5], "big")
    return pos != len(heard)


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
        self.expected = Expected()
        #: Its server was made to break, so it may have been told of an error.
        self.is_excused = False
        self.has_left = False

    @property
    def is_alive(self) -> bool:
        return self.connection.session.state is not ClientState.CLOSED

    @property
    def may_speak(self) -> bool:
        """It has neither left nor been closed, nor has its own PostgreSQL closed it."""
        return not (self.has_left or self.direct.is_gone) and (self.is_alive or self.is_excused)

    @property
    def heard(self) -> bytes:
        """What came through the pooler, without what an idle server's notifications left."""
        heard = transport_of(self.connection).written.replace(NOTIFICATION, b"")
        # Of one that is still arriving, the beginning is heard already.
        begun = (n for n in range(len(NOTIFICATION) - 1, 0, -1) if heard.endswith(NOTIFICATION[:n]))
        return heard[: len(heard) - next(begun, 0)]

    @property
    def has_heard_all(self) -> bool:
        """Everything that its own PostgreSQL has said has come through the pooler."""
        return self.expected.is_all(self.heard)

    def say(self, data: bytes) -> None:
        self.outgoing += data
        if self.direct.may_have_late_copy and self.expected.is_every_word(self.heard):
            self.direct.client_knows()
        said = self.direct.receive(data)
        self.expected.add(said, self.direct.doubtful_ends)

    def check(self) -> None:
        """See that it has heard nothing but what it should, and is not closed for no reason."""
        if self.is_excused and not self.is_alive:
            return
        heard, is_given_up = self.heard, False
        may_be_given_up = self.direct.is_ambiguous or self.direct.is_gone
        if not self.is_alive and GIVEN_UP in heard:
            is_given_up = may_be_given_up
            heard = heard[: heard.rfind(b"SFATAL", 0, heard.find(GIVEN_UP)) - 5]
        elif not self.is_alive and ends_in_a_message(heard):
            is_given_up = may_be_given_up  # nothing more can be said then
        assert self.expected.begins_with(heard), self.number
        if not (self.is_alive or self.has_left or is_given_up):
            assert self.direct.is_gone, "refused for no reason"
            assert self.expected.is_all(heard), "closed before the last word"

    # --- what it may say now, each as one piece ---

    def choices(self) -> list[bytes]:
        """Return what a sane client may say now."""
        self.said_count += 1
        token = f"client {self.number} says {self.said_count}"
        batch = Parse(token) + Bind() + DescribePortal() + Execute()
        if self.direct.copying:
            return self._choices_in_copy()
        if self.direct.may_have_late_copy and not self.has_heard_all:
            # It has not heard yet that its COPY failed, so it goes on with that.
            return [CopyData(b"late\n"), CopyDone() + Sync() * self.direct.is_skipping]
        if self.direct.is_skipping:
            return [batch, Flush(), Sync(), batch + Sync(), Query(token)]
        said = [Query(token), batch + Sync(), batch + Flush(), batch, Sync(), Query("FAIL")]
        said += [Query(""), Query("SHOW TimeZone"), Query("SHOW application_name")]
        said += [run("FAIL") + Sync(), Query("x" * (HOLD_LIMIT + 9))]
        said += self._choices_of_copies()
        if self.connection.session.rewriter is not None:
            said += self._choices_with_names(token)
        if self.direct.may_have_late_copy and not self.direct.is_unsynced:
            said += [CopyData(b"late\n"), CopyDone(), CopyData(b"late\n") + CopyDone()]
        if self.direct.status == "I":
            said += [Query("BEGIN"), Query("SET application_name='new name'")]
        else:
            said += [Query("COMMIT"), Query("ROLLBACK")]
        return said

    def _choices_of_copies(self) -> list[bytes]:
        said = [Query(text) for text in COPY_TEXTS] + [run(text) + Sync() for text in COPIES]
        said += [run("COPY") + Flush(), Query("FAIL COPY") + ROW + CopyDone()]
        said += [Query("COPY") + ROW + CopyDone(), run("COPY") + CopyDone() + Sync()]
        return said

    def _choices_in_copy(self) -> list[bytes]:
        ends = [CopyDone(), CopyFail("no")]
        said = [ROW, CopyData(BAD_ROW), Flush()]
        if self.direct.copying == "extended":
            said += [CopyDone(), Sync(), CopyDone() + Sync() + Query("behind"), run("in it")]
            said += [CopyDone() + Sync() + run("behind") + Sync()]
            ends = [end + Sync() for end in ends]
        return [*said, CopyData(BAD_ROW) + ends[0], *ends, *ends]

    def _choices_with_names(self, token: str) -> list[bytes]:
        """Return batches that prepare a statement by name, or use one of those that there are."""
        name = f"s{self.said_count}"
        said = [Parse("shared", name) + Sync(), Parse(token, name) + Flush()]
        said.append(Parse(token, name) + DescribeStatement(name) + Sync())
        said.append(Parse("shared", name) + Bind(statement=name) + Execute() + Sync())
        said.append(Parse("COPY", name) + Bind(statement=name) + Execute() + Sync())
        for known in [known for known in self.direct.statements if known][-3:]:
            said += [
                Bind(statement=known) + Execute() + Sync(),
                Bind(statement=known) + Execute() + Flush(),
                CloseStatement(known) + Sync(),
            ]
            if "COPY" not in self.direct.statements[known]:
                said.append(DescribeStatement(known) + Sync())
        return said

    def wild(self, random: Random) -> bytes:
        """Return what hardly any client says: copies and what is around them, in any order."""
        return b"".join(random.choices(WILD, k=random.randint(1, 6)))

    def finish(self) -> None:
        """Say what ends everything that is open."""
        while self.direct.copying:
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


class Traffic:
    """Three clients, two servers, and the bytes between them."""

    def __init__(self, *, rewrites: bool) -> None:
        """Bring the clients in; servers come when they are asked for.

        `rewrites`: named prepared statements are mapped, which changes the way of every batch.
        """
        # So few statements per server that they drive each other out.
        statements = StatementRules(rejects=False, limit=2, answers_like_postgres=True)
        self.world = World(
            pool_size=SERVERS,
            query_wait_timeout_s=0.0,
            query_wait_notify_s=0.0,
            statements=statements,
        )
        self.clients = [
            ModelClient(self.world, number, rewrites=rewrites) for number in range(CLIENTS)
        ]
        self.servers: list[ModelServer] = []
        self.cancels: list[CancelRequest] = []

    # --- bytes ---

    def deliver(self, client: ModelClient, size: int) -> bool:
        data = client.outgoing[:size]
        if not data or not transport_of(client.connection).is_reading():
            return False
        client.outgoing = client.outgoing[size:]
        client.connection.data_received(data)
        return True

    def answer(self, server: ModelServer, size: int) -> bool:
        data = server.outgoing[:size]
        if not data or not transport_of(server.connection).is_reading():
            return False
        server.outgoing = server.outgoing[size:]
        server.connection.data_received(data)
        if server.postgres.is_gone and not server.outgoing:
            server.connection.connection_lost(None)
        return True

    def anything_moves(self) -> bool:
        """Let everything that is on the wire arrive; say whether there was something."""
        moves = [self.deliver(client, EVERYTHING) for client in self.clients]
        if self.world.logging_in:
            self.servers.append(ModelServer(self.world.finish_login()))
            moves.append(True)
        moves += [server.read(EVERYTHING) for server in self.servers]
        moves += [self.answer(server, EVERYTHING) for server in self.servers]
        if self.cancels:
            request = self.cancels.pop(0)
            next_client = request.end(self.world.clock())
            self.world.dispatcher.follow_up(request.server, self.world.pool, next_client)
            moves.append(True)
        if not any(moves) and self.world.pool.oldest_wait_s(self.world.clock()):
            waiting = len(self.world.pool.clients[ClientState.WAITING])
            self.time_passes(0)
            moves.append(len(self.world.pool.clients[ClientState.WAITING]) < waiting)
        return any(moves)

    def finish(self) -> None:
        """Let everybody finish: all answers arrive, and no server stays linked."""
        for client in self.clients:
            if client.is_alive and client.connection.session.is_congested:
                client.connection.resume_writing()
            if client.may_speak:
                client.finish()
        while self.anything_moves():
            self.forget_closed_servers()
        for client in self.clients:
            client.check()
            if client.is_alive and not client.has_left:
                assert client.has_heard_all, client.number
                assert client.connection.session.server is None
        check(self.world.pool)

    # --- what happens once in a while ---

    def client_reads_or_does_not(self, who: int) -> None:
        client = self.clients[who]
        if client.is_alive and client.connection.session.is_congested:
            client.connection.resume_writing()
        elif client.is_alive:
            client.connection.pause_writing()

    def client_leaves(self, who: int) -> None:
        """Only the last one leaves, sometimes without a word."""
        client = self.clients[-1]
        if client.has_left:
            return
        client.has_left = True
        if who:
            client.outgoing += Terminate()
        else:
            client.connection.connection_lost(None)

    def cancel_begins(self, who: int) -> None:
        """Note a cancel under way; it is through when everything has arrived."""
        server = self.clients[who].connection.session.server
        if server is not None:
            now = self.world.clock()
            request = CancelRequest(self.world.pool, server, lambda: None, now)
            request.begin()
            self.cancels.append(request)

    def time_passes(self, who: int) -> None:
        self.world.clock.now += (0.3, 31.0, 700.0)[who]
        self.world.dispatcher.sweep()

    def idle_server_has_a_notification(self, who: int) -> None:
        for server in self.servers:
            if server.connection.session.state is ServerState.IDLE:
                server.outgoing += NOTIFICATION

    def server_breaks(self, who: int) -> None:
        for server in self.servers[who : who + 1]:
            for client in self.clients:
                if client.connection.session is server.connection.session.client:
                    client.is_excused = True
            server.connection.connection_lost(None)

    # --- the promises ---

    def forget_closed_servers(self) -> None:
        self.servers = [
            server
            for server in self.servers
            if server.connection.session.state is not ServerState.CLOSED
        ]

    def check_servers(self) -> None:
        """See that who is linked to whom is in order, and that an idle server owes nothing."""
        check(self.world.pool)
        self.forget_closed_servers()
        assert self.world.pool.server_count <= SERVERS
        for server in self.servers:
            if server.connection.session.state is ServerState.IDLE:
                server.read(EVERYTHING)
                assert NOTIFICATION.endswith(server.outgoing.replace(NOTIFICATION, b""))
                assert (server.postgres.status, server.postgres.copying) == ("I", "")
                assert not server.postgres.is_unsynced
                assert not server.postgres.is_skipping
                assert not server.postgres.has_half_a_message
                assert not server.connection.session.cancels_in_flight

    def check_memory(self) -> None:
        """See that what is kept of a stream is bounded."""
        for client in self.clients:
            assert len(client.connection.session.tail) <= HOLD_LIMIT + 1
        for server in self.servers:
            assert len(server.connection.session.tail) <= len(NOTIFICATION) + 200
