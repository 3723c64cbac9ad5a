"""What the console's commands do: pause, resume, reconnect, kill, and changes of settings.

Mixed into `Runtime`, which is what the console knows as its `Controls`. A `Database` of None
stands for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pgpool_lite.config import with_setting
from pgpool_lite.errors import ClientError, ServerError
from pgpool_lite.pool.database import Database
from pgpool_lite.pool.pool import Pool
from pgpool_lite.pool.registry import Registry
from pgpool_lite.proxy.dispatcher import Dispatcher
from pgpool_lite.proxy.logs import LOGGER, set_verbosity
from pgpool_lite.session.states import ServerState

#: States in which a server works for somebody.
_WORKING = (ServerState.ACTIVE, ServerState.TESTED, ServerState.BEING_CANCELED)


class Administration:
    """The part of a runtime that operators command."""

    registry: Registry
    dispatcher: Dispatcher

    @property
    def is_globally_paused(self) -> bool:
        """PAUSE without a database is in force."""
        return self.registry.is_paused

    # --- pausing ---

    def pause(self, database: Database | None) -> None:
        """Link no more clients, and close servers as they come free."""
        if database is None:
            self.registry.is_paused = True
        for each in self._databases(database):
            each.is_paused = True
        self.dispatcher.sweep()

    def resume(self, database: Database | None) -> None:
        """Reverse `pause`, and serve those who have waited."""
        if database is None:
            self.registry.is_paused = False
        for each in self._databases(database):
            each.is_paused = False
        self.dispatcher.sweep()

    def is_paused(self, database: Database | None) -> bool:
        """Say whether a pause is complete: no client is linked any more."""
        return not self.is_working(database)

    def is_working(self, database: Database | None) -> bool:
        """Say whether some server of `database` works for a client, or is being cleaned up."""
        return any(pool.servers[state] for pool in self._pools(database) for state in _WORKING)

    # --- replacing and closing ---

    def reconnect(self, database: Database | None) -> None:
        """Replace every server connection once it is free."""
        self.registry.retire_servers(database, "close_needed")
        self.dispatcher.sweep()

    def is_closed(self, database: Database | None) -> bool:
        """Say whether all servers that `reconnect` or a reload retired are closed."""
        return not any(
            server.close_reason
            for pool in self._pools(database)
            for servers in pool.servers.values()
            for server in servers
        )

    def kill(self, database: Database | None) -> None:
        """Close all clients and servers at once, and stay paused."""
        for each in self._databases(database):
            each.is_paused = True
        for pool in self._pools(database):
            for clients in pool.clients.values():
                for client in list(clients):
                    client.connection.refuse(ClientError("admin forced disconnect"))
            for servers in pool.servers.values():
                for server in list(servers):
                    error = ServerError("admin forced disconnect")
                    self.dispatcher.close_server(server, pool, error)

    def kill_client(self, client_id: int) -> bool:
        """Close one client; say whether there was one of that number."""
        for _, client in self.registry.clients():
            if client.id == client_id:
                client.connection.refuse(ClientError("admin forced disconnect"))
                return True
        return False

    # --- doors ---

    def disable(self, database: Database) -> None:
        """Refuse new clients."""
        database.is_disabled = True

    def enable(self, database: Database) -> None:
        """Reverse `disable`."""
        database.is_disabled = False

    # --- settings ---

    def set_setting(self, key: str, text: str) -> None:
        """Change one setting until the next reload; raises ConfigError when that cannot be."""
        config = self.registry.config
        settings = with_setting(config.settings, key, text)
        self.registry.change_settings(replace(config, settings=settings))
        set_verbosity(settings.verbose)
        LOGGER.info("%s is set to %s on the console", key, text)

    # --- whom a command means ---

    def _databases(self, database: Database | None) -> list[Database]:
        return [database] if database is not None else list(self.registry.databases.values())

    def _pools(self, database: Database | None) -> Iterator[Pool]:
        for pool in list(self.registry.pools.values()):
            if database is None or pool.database is database:
                yield pool
