"""A pooler without sockets, tasks or time: real connections on fake transports.

`World` is what the runtime builds, as far as two sockets' callbacks can reach it. A test pushes
bytes into `connection.data_received` and reads what was written from the transports.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from pgpool_lite.config import Config, DatabaseSettings, PoolMode, Settings
from pgpool_lite.pool.pool import Pool
from pgpool_lite.pool.registry import Registry
from pgpool_lite.proxy.client_connection import ClientConnection
from pgpool_lite.proxy.dispatcher import Dispatcher
from pgpool_lite.proxy.logs import ConnectionLog
from pgpool_lite.proxy.server_connection import ServerConnection
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.replication import Dedication
from pgpool_lite.session.rewriter import Rewriter
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.statements import ServerStatements
from pgpool_lite.wire.frontend import CancelKey
from tests.unit.pairs import WELCOME


class FakeTransport(asyncio.Transport):
    """A socket that takes everything and sends nothing; each write is kept as the object it was."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 5432)})
        self.writes: list[bytes] = []
        self.taken = 0
        #: Bytes that the peer has not taken, as a test wishes.
        self.unsent = 0
        self.is_aborted = False
        self._is_reading = True
        self._is_closing = False

    @property
    def written(self) -> bytes:
        return b"".join(self.writes)

    def take(self, size: int | None = None) -> bytes:
        """Return what has been written and not yet taken, up to `size` bytes."""
        data = self.written[self.taken :][:size]
        self.taken += len(data)
        return data

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Take another one: tests call what the session names as its connection."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert isinstance(data, bytes)
        self.writes.append(data)

    def pause_reading(self) -> None:
        assert not self._is_closing
        self._is_reading = False

    def resume_reading(self) -> None:
        assert not self._is_closing
        self._is_reading = True

    def is_reading(self) -> bool:
        return self._is_reading and not self._is_closing

    def is_closing(self) -> bool:
        return self._is_closing

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.is_aborted = True
        self.close()

    def close(self) -> None:
        self._is_closing = True


class FakeClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class World:
    """One pool with its dispatcher, and a way to bring clients and servers in."""

    def __init__(self, mode: PoolMode = PoolMode.TRANSACTION, **rules: object) -> None:
        """Make an empty pool; `rules` are rules by name."""
        self.clock = FakeClock()
        settings = Settings(log_connections=False, log_disconnections=False, pool_mode=mode)
        settings = replace(settings, log_pooler_errors=False)
        config = Config(settings=settings, databases={"app": DatabaseSettings(name="app")})
        self.registry = Registry(config, self.clock())
        log = ConnectionLog(lambda: settings)
        self.dispatcher = Dispatcher(self.registry, self.clock, log)
        self.dispatcher.open_server = self._open_server
        database = self.registry.find_database("app", self.clock())
        self.pool: Pool = self.registry.pool_for(database, "alice")
        self.pool.set_rules(replace(self.pool.rules, **rules))  # type: ignore[arg-type]  # by name
        self.pool.welcome = dict(WELCOME)
        #: Servers that the pool has asked for, and whose login is not over yet.
        self.logging_in: list[ServerConnection] = []

    def add_pool(self, user: str) -> Pool:
        """Make a pool of another user in the same database, with the same rules."""
        pool = self.registry.pool_for(self.pool.database, user)
        pool.set_rules(self.pool.rules)
        pool.welcome = dict(WELCOME)
        return pool

    def add_client(
        self,
        parameters: Mapping[str, str] = WELCOME,
        *,
        is_proven: bool = True,
        rewrites: bool = False,
        pool: Pool | None = None,
    ) -> ClientConnection:
        """Bring a client in that has been welcomed with these parameter values.

        `rewrites`: its named prepared statements are mapped, otherwise they pass as they are.
        """
        pool = pool or self.pool
        number = self.registry.next_id()
        values = self.registry.tracked.values_of(dict(parameters))
        session = ClientSession(number, CancelKey(number, b"key!"), values, self.clock())
        session.is_proven = is_proven
        pool.add_client(session)
        self.registry.remember_key(pool, session)
        pool.admit(session)
        session.rewrites = rewrites
        if rewrites:
            assert pool.rules.statements is not None
            session.rewriter = Rewriter(
                session, self.registry.statements, pool.rules.statements, pool.counters
            )
        return ClientConnection(session, pool, FakeTransport(), self.dispatcher)

    def add_server(self, parameters: Mapping[str, str] = WELCOME) -> ServerConnection:
        """Bring a server in that has logged in; whoever waits gets it."""
        self._open_server(self.pool, None, parameters)
        return self.finish_login()

    def finish_login(self) -> ServerConnection:
        """Let the oldest login that is under way succeed."""
        connection = self.logging_in.pop(0)
        self.dispatcher.server_ready(connection.session, connection.pool)
        return connection

    def _open_server(
        self,
        pool: Pool,
        dedicated_to: ClientSession | None = None,
        parameters: Mapping[str, str] = WELCOME,
    ) -> None:
        tracked = self.registry.tracked
        books = ServerStatements(self.registry.statements)
        server = ServerSession(self.registry.next_id(), tracked, books, self.clock())
        if dedicated_to is not None and dedicated_to.replication is not None:
            server.dedication = Dedication(dedicated_to, dedicated_to.replication)
        pool.add_server(server, self.clock())
        connection = ServerConnection(server, pool, FakeTransport(), self.dispatcher)
        server.logged_in(CancelKey(server.id, b"key?"), tracked.values_of(dict(parameters)))
        self.logging_in.append(connection)


def state_of(connection: ClientConnection | ServerConnection) -> str:
    """Return the name of a connection's state now."""
    return connection.session.state.name


def transport_of(connection: ClientConnection | ServerConnection) -> FakeTransport:
    """Return the fake transport under a connection."""
    assert isinstance(connection.transport, FakeTransport)
    return connection.transport
