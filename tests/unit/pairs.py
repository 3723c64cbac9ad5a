"""A client and a server session, paired without a socket: what session and pool tests start from.

A `FakeConnection` stands where a socket would be and writes down what it is told. A `Pair` carries
bytes between two sessions as `proxy` does, so a test can be written as a conversation:

    pair.client(Query("BEGIN")).server(CommandComplete("BEGIN"), ReadyForQuery("T"))
"""

from __future__ import annotations

from collections.abc import Mapping

from pgpool_lite.errors import ClientError
from pgpool_lite.session.client import CUT, RELAY, ClientSession
from pgpool_lite.session.entries import IS_REQUEST
from pgpool_lite.session.parameters import TrackedParameters
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.statements import ServerStatements, StatementRegistry
from pgpool_lite.session.states import ClientState, ServerState
from pgpool_lite.wire.frontend import CancelKey

TRACKED = TrackedParameters()

#: What a PostgreSQL says of itself in its welcome, as far as it is tracked.
WELCOME = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "TimeZone": "UTC",
    "IntervalStyle": "postgres",
    "standard_conforming_strings": "on",
    "application_name": "",
}


class FakeConnection:
    """Stands for a client's or a server's socket; everything done to it can be read afterwards."""

    @property
    def own_address(self) -> tuple[str, int]:
        return "127.0.0.1", 6543

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_reading = True
        self.is_closed = False
        self.went_on: list[ServerSession] = []
        self.refusals: list[ClientError] = []

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", 5432

    @property
    def tls(self) -> str:
        return ""

    @property
    def received(self) -> bytes:
        """Everything written so far."""
        return b"".join(self.written)

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def go_on(self, server: ServerSession) -> None:
        self.went_on.append(server)

    def send_held(self, server: ServerSession) -> None:
        raise AssertionError("these tests hold nothing back")

    def look_again(self) -> None:
        raise AssertionError("nothing waits for the rewriter here")

    def follow_rules(self) -> bool:
        raise AssertionError("these tests keep the rules of statements")

    def refuse(self, error: ClientError) -> None:
        self.refusals.append(error)

    def close(self) -> None:
        self.is_closed = True


def make_client(
    session_id: int = 1,
    parameters: Mapping[str, str] = WELCOME,
    *,
    state: ClientState = ClientState.ACTIVE,
    now: float = 0.0,
) -> ClientSession:
    """Return a client that has logged in and asks for nothing."""
    key = CancelKey(session_id, b"none")
    session = ClientSession(session_id, key, TRACKED.values_of(dict(parameters)), now)
    connection = FakeConnection()
    session.attach(connection, connection.write)
    session.state = state
    return session


def make_server(
    session_id: int = 101, parameters: Mapping[str, str] = WELCOME, *, now: float = 0.0
) -> ServerSession:
    """Return a server whose login is over; its state is still LOGIN, as Pool wants it."""
    session = ServerSession(session_id, TRACKED, ServerStatements(StatementRegistry()), now)
    connection = FakeConnection()
    session.attach(connection, connection.write)
    session.logged_in(CancelKey(session_id, b"none"), TRACKED.values_of(dict(parameters)))
    return session


def owe(client: ClientSession, entries: bytes) -> None:
    """Have a client be owed these, as its session keeps them."""
    is_single = len(entries) == 1 and IS_REQUEST[entries[0]] and not client.unsynced
    if is_single:
        client.single = entries[0]
    else:
        client.owed += entries


def owed_by(client: ClientSession) -> bytes:
    """Return what a client is owed, wherever its session keeps it."""
    return bytes([client.single] if client.single else client.owed)


def link(client: ClientSession, server: ServerSession) -> None:
    """Link two sessions as Pool would."""
    client.server, server.client = server, client
    client.state, server.state = ClientState.ACTIVE, ServerState.ACTIVE


class Pair:
    """A client linked to a server; carries their bytes and keeps what arrived at either end."""

    def __init__(self) -> None:
        self.client_session = make_client()
        self.server_session = make_server()
        link(self.client_session, self.server_session)
        self.at_server = b""
        self.at_client = b""
        self.verdict = 0

    def client(self, *messages: bytes) -> Pair:
        """Let the client say this in one read."""
        data = b"".join(messages)
        self.verdict = self.client_session.receive(data)
        self.at_server += self.client_session.cut if self.verdict & CUT else data
        return self

    def server(self, *messages: bytes) -> Pair:
        """Let the server say this in one read."""
        data = b"".join(messages)
        self.verdict = self.server_session.receive(data)
        self.at_client += data if self.verdict & RELAY else self.server_session.cut
        return self

    @property
    def is_settled(self) -> bool:
        return self.server_session.is_settled()

    @property
    def owed(self) -> str:
        """Types of the requests that are not answered."""
        return owed_by(self.client_session).decode()
