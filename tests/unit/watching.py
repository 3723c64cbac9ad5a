"""A world whose connections are watched: session_leaks in one of its modes, with one pool.

Sentences say who speaks: `ask` has a client say something and the server that it then has answer.
"""

from __future__ import annotations

from dataclasses import replace

from pgpool_lite.config import PoolMode, SessionLeaks, Settings
from pgpool_lite.proxy.client_connection import ClientConnection
from pgpool_lite.proxy.server_connection import ServerConnection
from pgpool_lite.proxy.watched import client_class, server_class
from pgpool_lite.session.ledger import Entry
from tests.console_client import split
from tests.unit.pairs import WELCOME
from tests.unit.world import World, transport_of
from tests.wire_messages import CommandComplete, Query, ReadyForQuery


class Watched:
    """A pool, its clients and its servers, all of them watched."""

    def __init__(
        self, mode: SessionLeaks = SessionLeaks.WARN, *, rewrites: bool = False, **settings: object
    ) -> None:
        """Begin with nobody; `settings` may ask for guarded connections."""
        self.world = World(PoolMode.TRANSACTION, session_leaks=mode)
        self.pool = self.world.pool
        self._rewrites = rewrites
        config = self.world.registry.config
        self._settings: Settings = replace(config.settings, **settings)  # type: ignore[arg-type]
        self.world.registry.config = replace(config, settings=self._settings)

    def add_client(self) -> ClientConnection:
        """Bring a client in."""
        usual = self.world.add_client(WELCOME, rewrites=self._rewrites)
        make = client_class(self._settings, self.pool)
        return make(usual.session, self.pool, usual.transport, self.world.dispatcher)

    def add_server(self) -> ServerConnection:
        """Bring a server in that has logged in; whoever waits gets it."""
        self.world._open_server(self.pool)
        usual = self.world.logging_in.pop(0)
        make = server_class(self._settings, self.pool)
        connection = make(usual.session, self.pool, usual.transport, self.world.dispatcher)
        self.world.dispatcher.server_ready(connection.session, self.pool)
        return connection

    def ask(
        self, client: ClientConnection, *messages: bytes | str, answer: bytes | None = None
    ) -> list[str]:
        """Have a client say this in one read, and its server answer; return what it hears."""
        client.data_received(b"".join(_message(each) for each in messages))
        server = client.session.server
        if server is not None:
            connection = server.connection
            assert isinstance(connection, ServerConnection)
            connection.data_received(answer or CommandComplete("SET") + ReadyForQuery())
        return heard(client)

    def entries(self, server: ServerConnection) -> list[Entry]:
        """Return what stands on a server."""
        ledger = server.session.ledger
        return list(ledger.entries.values()) if ledger is not None else []

    def names(self, server: ServerConnection) -> list[str]:
        """Return the names of what stands on a server."""
        return [entry.leak.name for entry in self.entries(server)]


def _message(each: bytes | str) -> bytes:
    return Query(each) if isinstance(each, str) else each


def heard(client: ClientConnection) -> list[str]:
    """Return what a client has been told since this was asked last."""
    return [str(message) for message in split(transport_of(client).take())]
