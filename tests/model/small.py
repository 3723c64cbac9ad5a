"""A few clients and servers on fake sockets, as a machine: what can happen now, and what it does.

Real pools, sessions, connections and dispatcher; only sockets, logins and the clock are made up.
Every query carries a token, and a server answers each with its token, so that a client can tell
whose answer it has heard. `key` describes a state up to names: two states with one key have the
same future, whoever is called first.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from math import floor
from typing import Final, NoReturn

from pgpool_lite.config import PoolMode
from pgpool_lite.errors import (
    ClientError,
    LimitReached,
    ServerLoginFailed,
    ServerRefusedLogin,
)
from pgpool_lite.pool.cancel import CancelRequest
from pgpool_lite.pool.pool import Pool
from pgpool_lite.proxy.client_connection import ClientConnection
from pgpool_lite.proxy.server_connection import ServerConnection
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.replication import Replication, ReplicationKind
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.states import ClientState, ServerState
from pgpool_lite.wire.frontend import CancelKey
from tests.unit.pairs import WELCOME
from tests.unit.pool.helpers import check
from tests.unit.world import FakeTransport, World, transport_of
from tests.wire_messages import CommandComplete, DataRow, Query, ReadyForQuery

#: Seconds of one tick; all limits of the rules are a few of these.
TICK_S: Final = 10.0
#: Ages beyond this many ticks are all one.
OLD: Final = 4
TOKYO: Final = {**WELCOME, "TimeZone": "Asia/Tokyo"}

Event = tuple[str, int]


@dataclass(frozen=True)
class Setting:
    """What is explored: rules of the pools, how many there are, and what may happen besides."""

    name: str
    rules: Mapping[str, object]
    mode: PoolMode = PoolMode.TRANSACTION
    pools: int = 1
    #: Operators and cancels only where they are what is looked for: each makes many more states.
    also: tuple[str, ...] = ()


class Arriving:
    """A client that has proved who it is, and waits for the welcome of a server."""

    address = own_address = ("127.0.0.1", 5432)
    tls = ""

    def __init__(self, session: ClientSession, pool: Pool, world: World) -> None:
        self.session, self.pool, self._world = session, pool, world
        self.transport = FakeTransport()
        session.attach(self, self.transport.write)
        pool.add_client(session)
        if session.replication is None and pool.welcome is not None:
            self._welcome()
        elif pool.failure and pool.is_refused and not pool.has_usable_server:
            self.refuse(LimitReached("cached error"))
            world.dispatcher.try_again(pool)
        else:
            world.dispatcher.replenish(pool)

    def _welcome(self) -> None:
        self.pool.admit(self.session)
        ClientConnection(self.session, self.pool, self.transport, self._world.dispatcher)

    def go_on(self, server: ServerSession) -> None:
        self._welcome()

    def _never(self, *_: object) -> NoReturn:
        raise AssertionError("a client in LOGIN is not linked")

    # It may not inherit from the compiled class that says so.
    send_held = look_again = follow_rules = pause_reading = resume_reading = _never

    def refuse(self, error: ClientError) -> None:
        self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport.close()
        if self.session.state is ClientState.LOGIN:
            self.pool.remove_client(self.session)
            if self.session.replication is not None:
                self._world.dispatcher.forsake(self.session, self.pool)


@dataclass
class Client:
    """One end of a client: what it asked and has not been answered yet."""

    session: ClientSession
    transport: FakeTransport
    asked: list[str] = field(default_factory=list)
    asked_count: int = 0
    heard_size: int = 0

    @property
    def connection(self) -> ClientConnection | Arriving:
        """What holds its socket now."""
        connection = self.session.connection
        assert isinstance(connection, ClientConnection | Arriving)
        return connection


@dataclass
class Server:
    """One end of a server: the queries that reached it and are not answered."""

    connection: ServerConnection
    queries: list[str] = field(default_factory=list)

    @property
    def session(self) -> ServerSession:
        return self.connection.session

    def read(self) -> None:
        """Take what has arrived: nothing but Query messages is ever sent in these stories."""
        data = transport_of(self.connection).take()
        while data.startswith(b"Q"):
            size = 1 + int.from_bytes(data[1:5], "big")
            self.queries.append(data[5 : size - 1].decode())
            data = data[size:]
        assert data in (b"", b"X\0\0\0\4"), data


class Small:
    """All of it. Made anew for each path of events, which always leads to the same state."""

    def __init__(self, setting: Setting, clients: int = 3) -> None:
        self.setting = setting
        rules = {"pool_size": 2, "query_wait_timeout_s": 0.0, "query_wait_notify_s": 0.0}
        rules |= {"server_lifetime_s": 1e9, "server_idle_timeout_s": 0.0, "login_retry_s": TICK_S}
        self.world = World(setting.mode, **{**rules, **setting.rules})
        self.pools: list[Pool] = [self.world.pool]
        for number in range(1, setting.pools):
            self.pools.append(self.world.add_pool(f"user {number}"))
        if "arrival" in setting.also:
            self.pools[0].welcome = None
        self.clients: list[Client | None] = [self._come(slot) for slot in range(clients)]
        self.servers: list[Server] = []
        self.cancels: list[CancelRequest] = []
        self.paused = False

    def _come(self, slot: int) -> Client:
        """Bring a client in; the last one has a parameter that no server has accepted yet."""
        is_other = slot % 3 == 2
        world = self.world
        number = world.registry.next_id()
        values = world.registry.tracked.values_of(TOKYO if is_other else WELCOME)
        session = ClientSession(number, CancelKey(number, b"key!"), values, world.clock())
        session.is_proven = not is_other
        if "replication" in self.setting.also and slot == 1:
            session.replication = Replication(ReplicationKind.LOGICAL)
        arriving = Arriving(session, self.pools[slot % len(self.pools)], world)
        return Client(session, arriving.transport)

    # --- what can happen ---

    def events(self) -> list[Event]:
        """Return everything that can happen now."""
        found: list[Event] = []
        for slot, client in enumerate(self.clients):
            if client is None:
                found.append(("comes", slot))
                continue
            found.append(("leaves", slot))
            if not client.asked and client.session.state is ClientState.ACTIVE:
                found.append(("asks", slot))
            if "cancel" in self.setting.also and client.session.server and not self.cancels:
                found.append(("cancels", slot))
        for number, server in enumerate(self.servers):
            found.append(("breaks", number))
            if server.queries:
                found.append(("answers", number))
                if server.queries[0].startswith("token"):
                    found.append(("answers in a block", number))
        if self.cancels:
            found.append(("cancel is through", 0))
        if self.world.logging_in:
            found += [("logs in", 0), ("fails to log in", 0), ("is refused", 0)]
        if "time" in self.setting.also:
            found.append(("time passes", 0))
        if "pause" in self.setting.also:
            found.append(("resume" if self.paused else "pause", 0))
        if "reconnect" in self.setting.also and self.servers:
            found.append(("reconnect", 0))
        return found

    def do(self, event: Event) -> None:
        """Let one thing happen, and what follows from it."""
        name, number = event
        steps: dict[str, Callable[[int], None]] = {
            "comes": self._comes,
            "leaves": self._leaves,
            "asks": self._asks,
            "cancels": self._cancels,
            "cancel is through": self._cancel_is_through,
            "answers": lambda which: self._answers(which, "I"),
            "answers in a block": lambda which: self._answers(which, "T"),
            "breaks": self._breaks,
            "logs in": self._logs_in,
            "fails to log in": lambda _: self._fails(ServerLoginFailed("no answer")),
            "is refused": lambda _: self._fails(ServerRefusedLogin("no such role")),
            "time passes": self._time_passes,
            "pause": lambda _: self._pause(True),
            "resume": lambda _: self._pause(False),
            "reconnect": self._reconnect,
        }
        steps[name](number)
        self._settle()

    def _comes(self, slot: int) -> None:
        self.clients[slot] = self._come(slot)

    def _leaves(self, slot: int) -> None:
        client = self.clients[slot]
        assert client is not None
        client.connection.connection_lost(None)

    def _asks(self, slot: int) -> None:
        client = self.clients[slot]
        assert client is not None
        client.asked_count += 1
        token = f"token {client.session.id}.{client.asked_count}"
        client.asked.append(token)
        connection = client.connection
        assert isinstance(connection, ClientConnection)
        connection.data_received(Query(token))

    def _cancels(self, slot: int) -> None:
        client = self.clients[slot]
        assert client is not None
        server = client.session.server
        assert server is not None
        pool = client.connection.pool
        request = CancelRequest(pool, server, lambda: None, self.world.clock())
        request.begin()
        self.cancels.append(request)

    def _cancel_is_through(self, _: int) -> None:
        request = self.cancels.pop(0)
        before = request.server.state
        next_client = request.end(self.world.clock())
        if next_client is not None or request.server.state is not before:
            self.world.dispatcher.follow_up(request.server, request.pool, next_client)

    def _answers(self, number: int, status: str) -> None:
        server = self.servers[number]
        query = server.queries.pop(0)
        row = DataRow(query) if query.startswith("token") else b""
        server.connection.data_received(row + CommandComplete("OK") + ReadyForQuery(status))

    def _breaks(self, number: int) -> None:
        server = self.servers[number]
        transport_of(server.connection).close()
        server.connection.connection_lost(None)

    def _logs_in(self, _: int) -> None:
        self.world.logging_in[0].pool.welcome = dict(WELCOME)
        self.servers.append(Server(self.world.finish_login()))

    def _fails(self, error: ServerLoginFailed) -> None:
        login = self.world.logging_in.pop(0)
        self.world.dispatcher.login_failed(login.session, login.pool, error)

    def _time_passes(self, _: int) -> None:
        self.world.clock.now += TICK_S
        self.world.dispatcher.sweep()

    def _pause(self, is_paused: bool) -> None:
        self.paused = is_paused
        (self.world.registry.pause_all if is_paused else self.world.registry.resume_all)()
        self.world.dispatcher.sweep()

    def _reconnect(self, _: int) -> None:
        self.world.registry.retire_servers(None)
        self.world.dispatcher.sweep()

    def _settle(self) -> None:
        """Let bytes arrive, and forget who has gone."""
        self.world.logging_in = [
            each for each in self.world.logging_in if each.session.state is ServerState.LOGIN
        ]
        for server in self.servers:
            server.read()
        self.servers = [
            each for each in self.servers if each.session.state is not ServerState.CLOSED
        ]
        for slot, client in enumerate(self.clients):
            if client is not None and self._hears(client):
                self.clients[slot] = None

    def _hears(self, client: Client) -> bool:
        """See that a client heard its own answers in order; say whether it was its end."""
        # The last words of a pooler may quote what the holders of servers asked.
        said = client.transport.written.partition(b"SFATAL")[0]
        while (start := said.find(b"token", client.heard_size)) >= 0:
            token = client.asked.pop(0)
            assert said.startswith(token.encode(), start), f"{token}: another's answer"
            client.heard_size = start + len(token)
        return client.session.state is ClientState.CLOSED

    # --- what must hold ---

    def check(self, *, is_reloaded: bool = False) -> None:
        """Assert the promises of the house that can be seen in one state.

        After a reload there may be more servers than there may be from now on.
        """
        for pool in self.pools:
            check(pool)
            assert pool.server_count == sum(map(len, pool.servers.values()))
            rules = pool.rules
            assert is_reloaded or pool.server_count <= max(rules.pool_size + rules.reserve_size, 1)
            assert len(pool.servers[ServerState.LOGIN]) <= 1
            for server in pool.servers[ServerState.IDLE]:
                assert (server.swallowing, server.cancels_in_flight) == (0, 0)
                assert not server.close_reason
            idle = list(pool.servers[ServerState.IDLE])
            if idle and not pool.database.is_paused:
                assert not pool.clients[ClientState.WAITING], "waits beside an idle server"
        known = {
            each for pool in self.pools for servers in pool.servers.values() for each in servers
        }
        for end in self.servers:
            assert end.session in known
            if end.session.state in (ServerState.IDLE, ServerState.USED):
                assert not end.queries, "idle, and still has to answer"
        headcount = self.pools[0].database.headcount
        assert headcount.server_count == sum(pool.server_count for pool in self.pools)
        assert headcount.client_count == sum(pool.client_count for pool in self.pools)
        assert headcount.client_count == sum(client is not None for client in self.clients)
        limit = self.pools[0].rules.max_db_connections
        assert is_reloaded or not limit or headcount.server_count <= limit

    def finish(self, *, is_reloaded: bool = False) -> None:
        """Let all go well from here on: everybody is served, and nothing is left when they go."""
        if self.paused:
            self.do(("resume", 0))
        for _ in range(100):
            event = next((each for each in self._good_events()), None)
            if event is None:
                break
            self.do(event)
            self.check(is_reloaded=is_reloaded)
        assert not self._is_waited(), "never served"
        for slot, client in enumerate(self.clients):
            if client is not None:
                self.do(("leaves", slot))
        self.check(is_reloaded=is_reloaded)
        for pool in self.pools:
            assert not pool.servers[ServerState.ACTIVE], "linked to nobody"
            assert not pool.clients[ClientState.WAITING]

    def _good_events(self) -> list[Event]:
        """Return what should happen next if all goes well."""
        events = [each for each in self.events() if each[0] in ("cancel is through", "logs in")]
        events += [each for each in self.events() if each[0] == "answers"]
        if not events and self._is_waited():
            # Somebody sits in a transaction, or a failed login is to be tried again.
            for slot, client in enumerate(self.clients):
                if client is not None and client.session.server is not None and not client.asked:
                    stays = client.session.replication or self.setting.mode is PoolMode.SESSION
                    return [("leaves" if stays else "asks", slot)]
            return [("time passes", 0)]
        return events

    def _is_waited(self) -> bool:
        """Say whether somebody waits for an answer, or to be welcomed."""
        clients = [client for client in self.clients if client is not None]
        return any(each.asked or each.session.state is ClientState.LOGIN for each in clients)

    # --- what a state is ---

    def key(self) -> Hashable:
        """Describe the state, without names."""
        world, now = self.world, self.world.clock()
        return (
            self.paused,
            tuple(self._pool_key(pool, now) for pool in self.pools),
            tuple(sorted(slot % 3 for slot, each in enumerate(self.clients) if each is None)),
            len(world.logging_in) and self.pools.index(world.logging_in[0].pool),
            tuple(
                (self._server_key(each.server, now), each.has_lost_its_point())
                for each in self.cancels
            ),
        )

    def _pool_key(self, pool: Pool, now: float) -> Hashable:
        return (
            bool(pool.failure) and (pool.is_refused, _age(now - pool.login_began_at)),
            pool.is_squeezed,
            pool.starves_in is not None,
            tuple(
                tuple(self._server_key(server, now) for server in servers)
                if state in (ServerState.IDLE, ServerState.USED)
                else tuple(sorted(repr(self._server_key(server, now)) for server in servers))
                for state, servers in pool.servers.items()
            ),
            pool.welcome is None,
            tuple(self._client_key(client, now) for client in pool.clients[ClientState.LOGIN]),
            tuple(self._client_key(client, now) for client in pool.clients[ClientState.WAITING]),
            tuple(
                sorted(
                    repr(self._client_key(client, now))
                    for client in pool.clients[ClientState.ACTIVE]
                    if client.server is None
                )
            ),
        )

    def _server_key(self, server: ServerSession, now: float) -> Hashable:
        end = next((each for each in self.servers if each.session is server), None)
        queries = [query.partition(" ")[0] for query in end.queries] if end else []
        return (
            server.state.value,
            tuple(queries),
            server.status,
            server.swallowing,
            server.cancels_in_flight,
            bool(server.close_reason),
            server.dedication is not None and server.dedication.client.state.value,
            server.parameters == self.world.registry.tracked.values_of(TOKYO),
            _age(now - server.released_at),
            _age(server.retires_at - now),
            _age(now - server.requested_at),
            self._client_key(server.client, now) if server.client is not None else None,
        )

    def _client_key(self, client: ClientSession, now: float) -> Hashable:
        return (
            bytes(client.owed),
            client.single,
            client.replication is not None,
            client.is_proven,
            client.parameters == self.world.registry.tracked.values_of(TOKYO),
            client.state is ClientState.WAITING and _age(now - client.waiting_since),
            bool(client.query_started_at) and _age(now - client.query_started_at),
            _age(now - client.requested_at),
        )


def _age(seconds: float) -> int:
    """Return an age in ticks; what is far away is all one."""
    return floor(max(min(seconds / TICK_S, OLD), -OLD))
