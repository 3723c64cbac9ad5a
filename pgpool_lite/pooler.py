"""The pooler inside a program or a test: `async with Pooler(url) as pooler`.

    async with Pooler("postgresql://postgres@127.0.0.1/app", pool_size=5) as pooler:
        connection = await asyncpg.connect(pooler.dsn)

It runs in the caller's event loop and ends with the block. It is the same `Runtime` that the
command line runs, so what a test sees is what runs in front of a database.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from types import TracebackType
from urllib.parse import quote

from pgpool_lite.config import Config, config_for_url, with_keywords
from pgpool_lite.console.tables import (
    ClientStatus,
    DatabaseStats,
    PoolStatus,
    ServerStatus,
    client_statuses,
    database_stats,
    pool_statuses,
    server_statuses,
)
from pgpool_lite.errors import ConfigError
from pgpool_lite.pool.registry import CONSOLE
from pgpool_lite.proxy.runtime import Runtime


class Pooler:
    """A transaction-mode pooler in front of one PostgreSQL, or of what a `Config` names."""

    def __init__(
        self,
        to: str | Config,
        *,
        host: str | None = None,
        port: int | None = None,
        **settings: object,
    ) -> None:
        """Prepare a pooler; nothing is opened before `start`.

        `to` is the server's postgresql:// URL, or a configuration as `load` returns it. Settings
        have PgBouncer's names, and `pool_size` stands for `default_pool_size`. Of a URL the
        pooler listens on a free port of 127.0.0.1 unless `host` and `port` say otherwise.
        Raises ConfigError.
        """
        if "pool_size" in settings:
            settings["default_pool_size"] = settings.pop("pool_size")
        if isinstance(to, Config):
            if "profile" in settings:
                raise ConfigError("it belongs to where the configuration is made", key="profile")
            self._config = replace(to, settings=with_keywords(to.settings, settings))
            listening = {"listen_addr": host, "listen_port": port}
        else:
            defaults = {"unix_socket_dir": ""}
            self._config = config_for_url(to, **{**defaults, **settings})
            listening = {"listen_addr": host or "127.0.0.1", "listen_port": port or 0}
        chosen = {key: value for key, value in listening.items() if value is not None}
        self._config = replace(self._config, settings=with_keywords(self._config.settings, chosen))
        if self._config.settings.workers > 1:
            raise ConfigError("they are processes of `pgpool-lite serve`", key="workers")
        self._runtime: Runtime | None = None
        #: Ends the pooler when somebody shuts it down on its console.
        self._obeying: asyncio.Task[None] | None = None
        #: Set while it does not run.
        self._ended = asyncio.Event()
        self._ended.set()

    async def __aenter__(self) -> Pooler:
        """Start it."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop it at once; see `stop`."""
        await self.stop()

    async def start(self) -> None:
        """Listen for clients; raises ConfigError when that is not possible."""
        runtime = Runtime(self._config)
        await runtime.start()
        self._runtime = runtime
        self._ended.clear()
        self._obeying = asyncio.get_running_loop().create_task(self._obey_shutdown(runtime))

    async def stop(self) -> None:
        """Close all clients and servers, and listen no more. Stopping twice does no harm."""
        if self._runtime is not None:
            runtime, self._runtime = self._runtime, None
            await runtime.stop()
            self._ended.set()
        if self._obeying is not None and self._obeying is not asyncio.current_task():
            await self._obeying

    async def wait_until_stopped(self) -> None:
        """Return when it has ended: by `stop`, or because the console said SHUTDOWN."""
        await self._ended.wait()

    async def _obey_shutdown(self, runtime: Runtime) -> None:
        await runtime.stopped.wait()
        await self.stop()

    @property
    def runtime(self) -> Runtime:
        """What runs; raises RuntimeError before `start` and after `stop`."""
        if self._runtime is None:
            raise RuntimeError("the pooler is not running: use `async with`, or start() it")
        return self._runtime

    # --- where it is ---

    @property
    def host(self) -> str:
        """The address it listens on; a client on this machine can connect to it."""
        address = self.runtime.doorway.address
        if address is None:
            return self._config.settings.unix_socket_dir
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address[0], address[0])

    @property
    def port(self) -> int:
        """The port it listens on."""
        address = self.runtime.doorway.address
        return address[1] if address is not None else self._config.settings.listen_port

    @property
    def dsn(self) -> str:
        """URL of the pooled database: for the driver, in place of the server's own."""
        return self._url(next(iter(self._config.databases), "postgres"))

    @property
    def console_dsn(self) -> str:
        """URL of the admin console."""
        return self._url(CONSOLE)

    def _url(self, database: str) -> str:
        settings = next(iter(self._config.databases.values()), None)
        user = (settings.user if settings else None) or "postgres"
        secret = self._config.secrets.get(user)
        account = quote(user, safe="") + (f":{quote(secret, safe='')}" if secret else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"postgresql://{account}@{host}:{self.port}/{quote(database, safe='')}"

    # --- what goes on ---

    def pools(self) -> list[PoolStatus]:
        """Return what SHOW POOLS shows, without the console's own line."""
        return pool_statuses(self.runtime.registry, self.runtime.clock())

    def clients(self) -> list[ClientStatus]:
        """Return what SHOW CLIENTS shows, without console sessions."""
        return client_statuses(self.runtime.registry, self.runtime.clock(), self._wall_offset_s())

    def servers(self) -> list[ServerStatus]:
        """Return what SHOW SERVERS shows."""
        return server_statuses(self.runtime.registry, self.runtime.clock(), self._wall_offset_s())

    def stats(self) -> dict[str, DatabaseStats]:
        """Return what SHOW STATS shows, by database."""
        return {stats.database: stats for stats in database_stats(self.runtime.registry)}

    def _wall_offset_s(self) -> float:
        """Return what turns an instant of the runtime's clock into Unix time."""
        return time.time() - self.runtime.clock()
