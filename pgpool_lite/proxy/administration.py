"""What the console's commands do: pause, resume, reconnect, kill, and changes of settings.

Mixed into `Runtime`, which is what the console knows as its `Controls`. A `Database` of None
stands for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pgpool_lite.config import with_setting
from pgpool_lite.config.place import SHARED, Place
from pgpool_lite.errors import ClientError, ConfigError, ServerError
from pgpool_lite.pool.database import Database
from pgpool_lite.pool.pool import Pool
from pgpool_lite.pool.registry import Registry
from pgpool_lite.proxy.dispatcher import Dispatcher
from pgpool_lite.proxy.doorway import Doorway
from pgpool_lite.proxy.logs import LOGGER, set_verbosity
from pgpool_lite.proxy.tls import Tls
from pgpool_lite.session.states import ServerState

#: States in which a server works for somebody.
_WORKING = (ServerState.ACTIVE, ServerState.TESTED, ServerState.BEING_CANCELED)


class Administration:
    """The part of a runtime that operators command."""

    registry: Registry
    place: Place | None
    dispatcher: Dispatcher
    doorway: Doorway
    tls: Tls

    @property
    def is_globally_paused(self) -> bool:
        """PAUSE without a database is in force."""
        return self.registry.is_paused

    # --- pausing ---

    def pause(self, database: Database | None) -> None:
        """Link no more clients, and close servers as they come free."""
        if database is None:
            self.registry.pause_all()
        else:
            database.is_paused = database.is_paused_by_name = True
        self.dispatcher.sweep()

    def resume(self, database: Database | None) -> None:
        """Reverse `pause`, and serve those who have waited. What was named stays paused else."""
        if database is None:
            self.registry.resume_all()
        else:
            database.is_paused_by_name = False
            database.is_paused = self.registry.is_paused
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
        self.registry.retire_servers(database)
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
        """Close all clients and servers at once, and stay paused.

        Without a name that is every database which has a pool.
        """
        if database is not None:
            database.is_paused = database.is_paused_by_name = True
        for pool in self._pools(database):
            pool.database.is_paused = pool.database.is_paused_by_name = True
            for clients in pool.clients.values():
                for client in list(clients):
                    client.connection.refuse(ClientError("database removed"))
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

    def set_setting(self, key: str, text: str) -> str:
        """Change one setting until the next reload; return what is to be told about it, if so.

        Only a start can change some; raises ConfigError for another key or a bad value.
        """
        config = self.registry.config
        settings = with_setting(config.settings, key, text)
        if settings is None:
            return f"{key} can be changed by a restart only"
        if self.place is not None:
            settings = self.place.share_out(settings, "", {key} & set(SHARED))
        self.registry.change_settings(replace(config, settings=settings))
        self.doorway.follow(settings)
        set_verbosity(settings.verbose)
        LOGGER.info("%s is set to %s on the console", key, text)
        return self._apply_tls() if "_tls" in key else ""

    def _apply_tls(self) -> str:
        """Put TLS settings in force, unless they do not fit together yet: SET takes one by one."""
        try:
            is_other_tls = self.tls.apply(self.registry.config)
        except ConfigError as error:
            LOGGER.error("%s", error.message)
            return "TLS settings could not be applied, still using old configuration"
        if is_other_tls:
            self.registry.retire_servers(None)
            self.dispatcher.sweep()
        return ""

    # --- whom a command means ---

    def _pools(self, database: Database | None) -> Iterator[Pool]:
        for pool in list(self.registry.pools.values()):
            if database is None or pool.database is database:
                yield pool
