"""A console without sockets: what a client says to a `ConsoleSession`, as lines of a transcript.

    console = Console(databases={"app": DatabaseSettings(name="app")})
    assert console.says(Query("PAUSE app")) == ["C PAUSE", "Z I"]

`RecordingControls` stands for the runtime and writes down what commands ask of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pgpool_lite.config import Config, DatabaseSettings, UserSettings, from_keywords
from pgpool_lite.console.answers import CommandError
from pgpool_lite.console.clients import ConsoleClient
from pgpool_lite.console.commands import Request
from pgpool_lite.console.controls import ShutdownMode
from pgpool_lite.console.fields import View
from pgpool_lite.console.session import ConsoleSession
from pgpool_lite.errors import ClientError, ConfigError
from pgpool_lite.pool.database import Database
from pgpool_lite.pool.pool import Pool
from pgpool_lite.pool.registry import Registry
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.statements import ServerStatements
from pgpool_lite.wire.frontend import CancelKey
from tests.wire_messages import BackendMessage

#: The registry's clock begins here; added to it, this many seconds give 2026-11-21 19:00:00 UTC.
START = 100.0
WALL_OFFSET_S = 1_795_287_600.0 - START


class RecordingControls:
    """Writes down every effect; what is asked of it is answered from plain attributes."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.is_globally_paused = False
        self.is_shutting_down = False
        #: Whether a pause or WAIT_CLOSE is complete at once.
        self.is_settled = True
        self.failure: ConfigError | None = None
        self.known_clients: set[int] = set()

    def reload(self) -> None:
        self._raise_failure()
        self.done.append("reload")

    def set_setting(self, key: str, text: str) -> str:
        self._raise_failure()
        self.done.append(f"set {key}={text}")
        return f"{key} can be changed by a restart only" if key == "listen_port" else ""

    def pause(self, database: Database | None) -> None:
        self._mark_paused(database, is_paused=True)
        self._note("pause", database)

    def resume(self, database: Database | None) -> None:
        self._mark_paused(database, is_paused=False)
        self._note("resume", database)

    def is_paused(self, database: Database | None) -> bool:
        wanted = self.is_globally_paused if database is None else database.is_paused_by_name
        return wanted and self.is_settled

    def reconnect(self, database: Database | None) -> None:
        self._note("reconnect", database)

    def is_closed(self, database: Database | None) -> bool:
        return self.is_settled

    def kill(self, database: Database | None) -> None:
        self._note("kill", database)

    def kill_client(self, client_id: int) -> bool:
        self.done.append(f"kill_client {client_id}")
        return client_id in self.known_clients

    def disable(self, database: Database) -> None:
        self._note("disable", database)

    def enable(self, database: Database) -> None:
        self._note("enable", database)

    def shut_down(self, mode: ShutdownMode) -> None:
        self.done.append(f"shut_down {mode.name}")

    def _note(self, command: str, database: Database | None) -> None:
        self.done.append(f"{command} {database.name if database is not None else '(all)'}")

    def _mark_paused(self, database: Database | None, *, is_paused: bool) -> None:
        if database is None:
            self.is_globally_paused = is_paused
        else:
            database.is_paused = database.is_paused_by_name = is_paused

    def _raise_failure(self) -> None:
        if self.failure is not None:
            raise self.failure


@dataclass(eq=False)
class Side:
    """A connection that nobody hears: it has an address, and remembers why it was refused."""

    address: tuple[str, int] = ("10.0.0.7", 40_000)
    own_address: tuple[str, int] = ("", 0)
    tls: str = ""
    refusals: list[str] = field(default_factory=list)

    def write(self, data: bytes) -> None:
        """Send nothing."""

    def pause_reading(self) -> None:
        """Read nothing anyway."""

    def resume_reading(self) -> None:
        """Read nothing anyway."""

    def go_on(self, server: ServerSession) -> None:
        """Have nothing to say."""

    def send_held(self, server: ServerSession) -> None:
        """Hold nothing."""

    def look_again(self) -> None:
        """Wait for nothing."""

    def follow_rules(self) -> bool:
        """Prepare nothing."""
        return True

    def close(self) -> None:
        """Be closed already."""

    def refuse(self, error: ClientError) -> None:
        self.refusals.append(error.message)


class Console:
    """A registry, controls, and one console client that talks to them."""

    def __init__(
        self,
        *,
        databases: Mapping[str, DatabaseSettings] | None = None,
        fallback: DatabaseSettings | None = None,
        users: Mapping[str, UserSettings] | None = None,
        secrets: Mapping[str, str] | None = None,
        is_admin: bool = True,
        **settings: object,
    ) -> None:
        config = Config(
            settings=from_keywords(**settings),
            databases={"app": DatabaseSettings(name="app")} if databases is None else databases,
            fallback=fallback,
            users=users or {},
            secrets=secrets or {},
        )
        self.registry = Registry(config, START)
        self.controls = RecordingControls()
        self.now = START
        self.is_admin = is_admin
        self.side = Side()
        self.refusals: list[CommandError] = []
        self.client = ConsoleClient(
            id=self.registry.next_id(),
            user="root",
            application_name="psql",
            address=("10.0.0.9", 50_508),
            own_address=("10.0.0.1", 6432),
            connection=self.side,
            connected_at=START,
            requested_at=START,
        )
        self.registry.census.client_came(self.registry.console.headcount, self.client.user)
        self.session = ConsoleSession(
            self.client,
            self.registry.console.stats.now,
            self._make_request,
            self.refusals.append,
        )

    def says(self, *messages: bytes) -> list[str]:
        """Return the transcript of what the client is answered to these messages."""
        return [str(message) for message in self.hears(*messages)]

    def hears(self, *messages: bytes) -> list[BackendMessage]:
        """Return the messages that the client is answered."""
        self.session.receive(b"".join(messages))
        return self.goes_on()

    def goes_on(self) -> list[BackendMessage]:
        """Return what the session has to say now."""
        data = b""
        while (answer := self.session.answer()) is not None:
            data += answer
        return split(data)

    def rows(self, *messages: bytes) -> list[str]:
        """Return only the rows of an answer, values joined by bars."""
        return [str(each).removeprefix("D ") for each in self.hears(*messages) if each.type == "D"]

    def add_pool(self, database: str = "app", user: str = "ann") -> Pool:
        """Return a pool of the registry."""
        return self.registry.pool_for(self.registry.find_database(database, self.now), user)

    def add_client(
        self, pool: Pool, *, is_welcome: bool = True, **parameters: str
    ) -> ClientSession:
        """Return a client that has logged in to a pool, as far as the first server lets it."""
        client = ClientSession(
            self.registry.next_id(),
            CancelKey(1, b"abcd"),
            self.registry.tracked.values_of(parameters),
            self.now,
        )
        side = Side()
        client.attach(side, side.write)
        client.user = pool.user
        pool.add_client(client)
        if is_welcome:
            pool.admit(client)
        return client

    def add_server(self, pool: Pool, *, is_ready: bool = True, pid: int = 4711) -> ServerSession:
        """Return a server of a pool, idle once it is ready."""
        server = ServerSession(
            self.registry.next_id(),
            self.registry.tracked,
            ServerStatements(self.registry.statements),
            self.now,
        )
        side = Side(("10.0.0.2", 5432))
        server.attach(side, side.write)
        pool.add_server(server, self.now)
        if is_ready:
            values = self.registry.tracked.values_of({"application_name": "app/1"})
            server.logged_in(CancelKey(pid, b"abcd"), values)
            pool.server_logged_in(server, self.now)
        return server

    def _make_request(self) -> Request:
        view = View(
            self.registry,
            [self.client],
            self.now,
            WALL_OFFSET_S,
            self.controls.is_globally_paused,
        )
        return Request(self.controls, view, self.is_admin)


def split(data: bytes) -> list[BackendMessage]:
    """Return the backend messages in `data`, which must end with the last of them."""
    messages: list[BackendMessage] = []
    while data:
        end = 1 + int.from_bytes(data[1:5], "big")
        messages.append(BackendMessage(chr(data[0]), data[5:end]))
        assert len(data) >= end
        data = data[end:]
    return messages
