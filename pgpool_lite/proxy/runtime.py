"""One running pooler, from start to stop. Reads top to bottom like a story.

`Runtime` wires the parts together and owns them all: the registry of pools, the doorway where
clients arrive, the connector that opens servers, the dispatcher that acts on what the pools decide,
and the two timers. It runs inside whatever event loop it is started in; signals and the choice of
the loop belong to the command line.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from pgpool_lite.config import Config, Settings, load, reload_settings
from pgpool_lite.config.place import Place
from pgpool_lite.console.controls import ShutdownMode
from pgpool_lite.errors import AlreadyTold, ClientError, LimitReached, ServerError
from pgpool_lite.pool.admission import Doorkeeper
from pgpool_lite.pool.applicants import Admission
from pgpool_lite.pool.desertion import deserted_databases, deserted_pools
from pgpool_lite.pool.maintenance import SWEEP_INTERVAL_S
from pgpool_lite.pool.pool import Pool
from pgpool_lite.pool.registry import Registry
from pgpool_lite.pool.rules import min_pool_size
from pgpool_lite.proxy.administration import Administration
from pgpool_lite.proxy.anteroom import Anteroom
from pgpool_lite.proxy.chorus import Chorus
from pgpool_lite.proxy.client_login import newcomer
from pgpool_lite.proxy.connector import Connector
from pgpool_lite.proxy.console_connection import ConsoleConnection
from pgpool_lite.proxy.dispatcher import Dispatcher
from pgpool_lite.proxy.doorway import Doorway
from pgpool_lite.proxy.health import HealthPort
from pgpool_lite.proxy.logs import LOGGER, ConnectionLog
from pgpool_lite.proxy.peers import Peers
from pgpool_lite.proxy.sockets import system_user_name
from pgpool_lite.proxy.tls import Tls
from pgpool_lite.session.states import ClientState

#: Whose last connection ends a shutdown that waits.
_AWAITED = {ShutdownMode.WAIT_FOR_CLIENTS: "client", ShutdownMode.WAIT_FOR_SERVERS: "server"}

_DROPPING = "dropping database '%s' as it does not exist anymore or inactive auto-database"


class Runtime(Administration):
    """A pooler that runs: everything that lives from `start` to `stop`."""

    def __init__(
        self,
        config: Config,
        clock: Callable[[], float] = time.monotonic,
        overrides: Mapping[str, object] | None = None,
        place: Place | None = None,
    ) -> None:
        """Prepare to run `config`; nothing is opened yet.

        `overrides` are settings that win over the file, at RELOAD too: the command line's. `place`
        is this process's among several that serve `config` together. Raises ConfigError where it
        cannot be shared out among them.
        """
        self._overrides = dict(overrides or {})
        self.place = place
        self.clock = clock
        self.registry = Registry(place.adapt(config) if place else config, clock())
        self.doorkeeper = Doorkeeper(self.registry, system_user_name)
        self.log = ConnectionLog(lambda: self.settings)
        self.dispatcher = Dispatcher(self.registry, clock, self.log)
        self.doorway = Doorway()
        self.anteroom = Anteroom(clock)
        self.tls = Tls()
        self.health = HealthPort(self)
        self.connector = Connector(self)
        self.peers = Peers(self)
        self.dispatcher.open_server = self.connector.open_server
        self.dispatcher.on_change = self._changed
        self.chorus: Chorus | None = None
        if place is not None:
            self.registry.number_from(place.peer_id, place.count)
            self.chorus = Chorus(place, self.settings.listen_port, self._recheck)
        #: Consoles that wait for PAUSE or the like to be done.
        self.console_waiters: set[ConsoleConnection] = set()
        #: All consoles; they are no clients of a pool, and are closed last.
        self.consoles: set[ConsoleConnection] = set()
        #: How the pooler is being shut down, None while it is not.
        self.shutdown_mode: ShutdownMode | None = None
        #: Called after every attempt to reload: the command line opens the log again.
        self.on_reload: Callable[[], None] = lambda: None
        #: What clients hear at the end.
        self._goodbye: ClientError = LimitReached("server shutting down")
        #: Set when nothing is left to wait for.
        self.stopped = asyncio.Event()
        self._timers: list[asyncio.TimerHandle] = []
        self._recheck_is_due = False

    @property
    def settings(self) -> Settings:
        """The [pgbouncer] section in force; RELOAD and SET replace it."""
        return self.registry.config.settings

    @property
    def is_shutting_down(self) -> bool:
        """A shutdown has begun."""
        return self.shutdown_mode is not None

    def lets_in(self, *, is_local: bool) -> bool:
        """Say whether a client may come in now: in a shutdown, who came before listening ended.

        Only Unix sockets are listened on then, for the console.
        """
        mode = self.shutdown_mode
        return mode is None or (mode is ShutdownMode.WAIT_FOR_CLIENTS and not is_local)

    # --- start ---

    async def start(
        self, passed: Sequence[socket.socket] = (), shared: Sequence[socket.socket] = ()
    ) -> None:
        """Listen for clients, on `passed` sockets if there are any, and keep house from now on.

        On `shared` sockets other processes listen as well.

        Raises ConfigError when an address cannot be listened on, or TLS cannot be set up; nothing
        is left open then.
        """
        self.tls.apply(self.registry.config)
        try:
            await self.doorway.open(self.settings, partial(newcomer, self), passed, shared)
            await self.health.open(self.settings)
        except BaseException:
            self.health.close()
            self.doorway.close()
            raise
        self._sweep()
        self._end_stats_period(log=False)
        self._tell_of(self.registry.config)

    def open_console(
        self, transport: asyncio.Transport, admission: Admission, client_id: int, rest: bytes
    ) -> None:
        """Give an authenticated client the admin console."""
        ConsoleConnection(self, transport, admission, client_id, rest)

    # --- the timers ---

    def _sweep(self) -> None:
        """Look for what is due, three times a second."""
        self._again(SWEEP_INTERVAL_S, self._sweep)
        self.anteroom.sweep(self.settings.client_login_timeout)
        self._open_forced_pools()
        self.dispatcher.sweep()
        self._forget_deserted()
        self.peers.sweep()
        self._recheck()

    def _open_forced_pools(self) -> None:
        """Make the pools that min_pool_size wants even before a client has come."""
        for database in list(self.registry.databases.values()):
            user = database.settings.user
            if user is None or database.is_auto:
                continue
            if min_pool_size(self.settings, database.settings):
                self.registry.pool_of(database, user)

    def _forget_deserted(self) -> None:
        """Forget pools and automatic databases that nobody has used for long."""
        now = self.clock()
        for pool, idle_s in deserted_pools(self.registry, now):
            self.log.pool_forgotten(pool, idle_s)
            self.registry.drop_pool(pool)
        for database in deserted_databases(self.registry, now):
            LOGGER.warning(_DROPPING, database.name)
            self.registry.drop_database(database)

    def _end_stats_period(self, *, log: bool = True) -> None:
        """Make averages, and log them, once per stats_period."""
        self._again(self.settings.stats_period, self._end_stats_period)
        now = self.clock()
        for database in (*self.registry.databases.values(), self.registry.console):
            database.stats.end_period(now)
        if log and self.settings.log_stats:
            self.log.stats(
                [database.stats.averages for database in self.registry.databases.values()]
            )

    def _again(self, delay_s: float, callback: Callable[[], None]) -> None:
        now = asyncio.get_running_loop().time()
        self._timers = [timer for timer in self._timers if timer.when() > now]
        self._timers.append(asyncio.get_running_loop().call_later(delay_s, callback))

    # --- waiting for something to be over ---

    def _changed(self) -> None:
        """Note that a connection has ended; those who wait for that are asked again soon."""
        if not self._recheck_is_due and (self.console_waiters or self.shutdown_mode):
            self._recheck_is_due = True
            asyncio.get_running_loop().call_soon(self._recheck)

    def _recheck(self) -> None:
        self._recheck_is_due = False
        for console in list(self.console_waiters):
            console.recheck()
        if self.shutdown_mode is None or self.stopped.is_set():
            return
        if self._is_drained(self.shutdown_mode):
            if self.shutdown_mode is not ShutdownMode.IMMEDIATE:
                LOGGER.info("%s connections dropped, exiting", _AWAITED[self.shutdown_mode])
            self.stopped.set()

    def _is_drained(self, mode: ShutdownMode) -> bool:
        if mode is ShutdownMode.WAIT_FOR_CLIENTS:
            is_awaited = self.doorway.is_closing or self.anteroom.is_awaited
            return not (self.registry.client_count or is_awaited)
        if mode is ShutdownMode.WAIT_FOR_SERVERS:
            return not self.is_working(None)
        return True

    # --- configuration ---

    def reload(self) -> None:
        """Read the configuration file again, all or nothing; raises ConfigError."""
        try:
            self._read_again()
        finally:
            self.on_reload()
        self.dispatcher.sweep()

    def _read_again(self) -> None:
        config = self.registry.config
        if config.path is not None:
            fresh = load(config.path, self._overrides)
            if self.place is not None:
                fresh = self.place.adapt(fresh)
            settings, kept = reload_settings(config.settings, fresh.settings)
            for key in kept:  # PgBouncer says nothing at all: files change for the next start too
                LOGGER.debug("%s can be changed by a restart only", key)
            self._tell_of(fresh, config)
            config = replace(fresh, settings=settings)
        is_other_tls = self.tls.apply(config)
        for pool in self.registry.reload(config, self.clock()):
            LOGGER.warning(_DROPPING, pool.database.name)
            self._close_pool(pool, LimitReached("database removed"))
        self.doorway.follow(self.settings)
        if is_other_tls:
            self.registry.retire_servers(None)

    def _tell_of(self, config: Config, before: Config | None = None) -> None:
        """Log what is to be said about a configuration and was not said about the one before."""
        for warning in config.warnings:
            if before is None or warning not in before.warnings:
                LOGGER.warning("%s", warning)
        for remark in config.remarks:
            if before is None or remark not in before.remarks:
                LOGGER.debug("%s", remark)

    # --- shutdown ---

    def shut_down(self, mode: ShutdownMode) -> None:
        """Stop listening, and end: at once, or when the last client or transaction is through.

        Meanwhile the console can be reached by the Unix socket; others are turned away there.
        """
        self.shutdown_mode = mode
        if mode is ShutdownMode.WAIT_FOR_CLIENTS:
            self.doorway.hand_over()
        else:
            self.doorway.close_tcp()
        if mode is ShutdownMode.WAIT_FOR_SERVERS:
            self.dispatcher.is_draining = True
            self.registry.pause_all()  # who wants a server now is refused, not linked
            self.anteroom.turn_away(self._goodbye)
            for _, client in list(self.registry.clients()):
                if client.state is ClientState.WAITING:
                    client.connection.refuse(self._goodbye)
        self._changed()

    def hang_up(self) -> None:
        """End at once and without a word to clients, as PgBouncer's fast exit does."""
        self._goodbye = AlreadyTold(self._goodbye.message)
        self.shut_down(ShutdownMode.IMMEDIATE)

    async def stop(self) -> None:
        """Close everything at once and leave nothing behind."""
        self.shutdown_mode = ShutdownMode.IMMEDIATE
        self.dispatcher.is_draining = self.dispatcher.is_stopping = True
        for timer in self._timers:
            timer.cancel()
        self.health.close()
        self.doorway.close()
        self.anteroom.turn_away(self._goodbye)
        await self.peers.close()
        if self.chorus is not None:
            await self.chorus.close()
        await self.connector.close()
        for pool in list(self.registry.pools.values()):
            self._close_pool(pool, self._goodbye)
        for console in list(self.consoles):
            console.close()
        self.stopped.set()
        # Transports close in the loop's next rounds; a caller may end the loop right after us.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.dispatcher.lingering.abort_all()
        await asyncio.sleep(0)

    def _close_pool(self, pool: Pool, goodbye: ClientError) -> None:
        for clients in pool.clients.values():
            for client in list(clients):
                client.connection.refuse(goodbye)
        for servers in pool.servers.values():
            for server in list(servers):
                self.dispatcher.close_server(server, pool, ServerError(goodbye.message))
