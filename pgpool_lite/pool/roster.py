"""Which connections does a pool have, and what is each of them doing?

A `Roster` is the lists of one pool: being in a list *is* being in that state. `_move` and
`_move_client` take a connection from one to another, look every move up in `session.states`, and
keep the headcounts of the pool's database and users. Who goes where, and why, is decided in
`pool.Pool`, which is a roster with a policy.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from pgpool_lite.pool.headcount import Census, Headcount
from pgpool_lite.pool.line import Line
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.states import CLIENT_MOVES, SERVER_MOVES, ClientState, ServerState

if TYPE_CHECKING:
    from pgpool_lite.pool.cancel import CancelRequest
    from pgpool_lite.pool.database import Database

#: A dict forgets any member at once.
ServerList = dict[ServerSession, None]
ClientList = dict[ClientSession, None]

# As globals of this module: a look into an Enum costs 600 instructions.
_OPENING: Final = ServerState.LOGIN
_IDLE: Final = ServerState.IDLE
_ACTIVE: Final = ServerState.ACTIVE
_CLIENT_LOGIN: Final = ClientState.LOGIN
_CLIENT_ACTIVE: Final = ClientState.ACTIVE
_CLIENT_WAITING: Final = ClientState.WAITING
_CLIENT_CLOSED: Final = ClientState.CLOSED
_AT_WORK: Final = frozenset({_IDLE, _ACTIVE})

_Member = TypeVar("_Member", bound=ClientSession | ServerSession)


class Roster:
    """The connections of one (database, user), by state."""

    def __init__(self, database: Database, user: str, census: Census | None = None) -> None:
        """Begin with nobody. A pool outside of a registry has a census of its own."""
        self.database = database
        self.user = user
        self._census = census or Census()
        #: Where this pool's servers are counted: in its database, and in the user they log in as.
        self.headcounts: tuple[Headcount, Headcount] = (
            database.headcount,
            self._census.of_user(user),
        )
        # --- lists, one per state ---
        #: Those in IDLE, the one that was released last at the end: last in, first out.
        self._idle: list[ServerSession] = []
        # Those in IDLE or ACTIVE. Between these two every query moves a server, so which of them
        # it is in is told by its state, and by `_idle`, alone.
        self._at_work: ServerList = {}
        self._others: dict[ServerState, ServerList] = {
            state: {}
            for state in ServerState
            if state not in _AT_WORK and state is not ServerState.CLOSED
        }
        self.servers: dict[ServerState, Collection[ServerSession]] = {
            _IDLE: self._idle,
            _ACTIVE: Rest(self._at_work, self._idle, _ACTIVE),
            **self._others,
        }
        #: Server connections of every state, those being opened too. Asked for whenever a client
        #: has to wait, so it is kept beside the lists.
        self.server_count = 0
        self._arriving: ClientList = {}
        # Those in ACTIVE or WAITING; as with servers, which of them is told by the state and by
        # `_waiting` alone.
        self._welcomed: ClientList = {}
        self._waiting = Line()
        self.clients: dict[ClientState, Collection[ClientSession]] = {
            ClientState.LOGIN: self._arriving,
            _CLIENT_ACTIVE: Rest(self._welcomed, self._waiting, _CLIENT_ACTIVE),
            _CLIENT_WAITING: self._waiting,
        }
        self.cancel_requests: dict[ClientState, OrderedDict[CancelRequest, None]] = {
            ClientState.WAITING_CANCEL: OrderedDict(),
            ClientState.ACTIVE_CANCEL: OrderedDict(),
        }

    # --- figures ---

    @property
    def connected_count(self) -> int:
        """Server connections that are logged in."""
        return self.server_count - len(self.servers[_OPENING])

    @property
    def client_count(self) -> int:
        """Clients of every state."""
        return sum(map(len, self.clients.values()))

    @property
    def is_deserted(self) -> bool:
        """No client, no server and no cancel request is here."""
        return not (
            self.server_count or self.client_count or any(map(len, self.cancel_requests.values()))
        )

    @property
    def has_usable_server(self) -> bool:
        """Some server is logged in: a failing login is not the end of the world."""
        return self.connected_count > 0

    @property
    def has_lasting_server(self) -> bool:
        """Some server is logged in and will serve others after its client: it is not retired."""
        return any(
            not server.close_reason
            for state, servers in self.servers.items()
            if state is not _OPENING
            for server in servers
        )

    @property
    def is_waited_for(self) -> bool:
        """Some client waits for a server, or for the welcome of the first."""
        return self._waiting.first is not None or bool(self._arriving)

    def idle_server(self) -> ServerSession | None:
        """Return the server that `link` would give next, if any."""
        return self._idle[-1] if self._idle else None

    def oldest_waiting(self) -> ClientSession | None:
        """Return the client that has waited longest for a server, if any waits."""
        return self._waiting.first

    def oldest_wait_s(self, now: float) -> float:
        """Return for how long the oldest waiting client has waited."""
        oldest = self.oldest_waiting()
        return now - oldest.waiting_since if oldest is not None else 0.0

    # --- who comes ---

    def add_client(self, client: ClientSession) -> None:
        """Take in an authenticated client, in LOGIN until the welcome is known, or else ACTIVE."""
        (self._arriving if client.state is _CLIENT_LOGIN else self._welcomed)[client] = None
        self._census.client_came(self.database.headcount, client.user)

    def _add_server(self, server: ServerSession) -> None:
        self._others[_OPENING][server] = None
        self.server_count += 1
        for each in self.headcounts:
            each.server_count += 1

    # --- who leaves ---

    def remove_server(self, server: ServerSession) -> ClientSession | None:
        """Forget a server that is closed; return the client that was linked to it."""
        client = server.client
        if client is not None:
            client.server = None
            server.client = None
        if server.state is not ServerState.CLOSED:
            self._move(server, ServerState.CLOSED)
        return client

    def remove_client(self, client: ClientSession) -> ServerSession | None:
        """Forget a client that leaves; return the server still linked to it, which is not settled.

        A settled server (session mode) is to be given to `release` before; what comes back here
        has a transaction or a query open and must be closed.
        """
        server = client.server
        client.server = None
        if server is not None:
            server.client = None
        if client.state is not _CLIENT_CLOSED:
            self._move_client(client, _CLIENT_CLOSED)
        return server

    # --- the movers ---

    def _move(self, server: ServerSession, state: ServerState) -> None:
        old = server.state
        if state not in SERVER_MOVES[old]:
            raise AssertionError(f"a server cannot go from {old.name} to {state.name}")
        if old is _IDLE:
            self._idle.remove(server)
        del (self._at_work if old in _AT_WORK else self._others[old])[server]
        server.state = state
        if state is _IDLE:
            self._idle.append(server)
        if state is not ServerState.CLOSED:
            (self._at_work if state in _AT_WORK else self._others[state])[server] = None
            return
        server.statements.clear()
        self.server_count -= 1
        for each in self.headcounts:
            each.server_count -= 1
        self._census.forget_if_empty(self.user)

    # In a busy pool every query waits, so these two moves are made by hand.

    def _queue(self, client: ClientSession) -> None:
        """Move a client from ACTIVE to the end of those who wait."""
        if client.state is not _CLIENT_ACTIVE:
            raise AssertionError(f"a client cannot go from {client.state.name} to WAITING")
        client.state = _CLIENT_WAITING
        self._waiting.join(client)

    def _unqueue(self, client: ClientSession) -> None:
        """Move a client that waits back to ACTIVE."""
        self._waiting.leave(client)
        client.state = _CLIENT_ACTIVE

    def _move_client(self, client: ClientSession, state: ClientState) -> None:
        old = client.state
        if state not in CLIENT_MOVES[old]:
            raise AssertionError(f"a client cannot go from {old.name} to {state.name}")
        if old is _CLIENT_WAITING:
            self._waiting.leave(client)
        del (self._arriving if old is _CLIENT_LOGIN else self._welcomed)[client]
        client.state = state
        if state is not _CLIENT_CLOSED:
            self._welcomed[client] = None
            return
        if client.rewriter is not None:
            client.rewriter.book.clear()
        self._census.client_left(self.database.headcount, client.user)


class Rest(Generic[_Member]):
    """Those of a list that are in one state: all but the members of another list."""

    def __init__(
        self,
        everybody: dict[_Member, None],
        others: Collection[_Member],
        state: ClientState | ServerState,
    ) -> None:
        """Look at these lists, which the roster keeps; `state` tells whose members are whose."""
        self._everybody = everybody
        self._others = others
        self._state = state

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._everybody) - len(self._others)

    def __iter__(self) -> Iterator[_Member]:
        """Go over them, in the order in which they came."""
        return iter([each for each in self._everybody if each.state is self._state])

    def __contains__(self, member: object) -> bool:
        """Say whether a connection is one of them."""
        return member in self._everybody and member not in self._others
