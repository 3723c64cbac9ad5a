"""Which databases, users and pools are there? The one object that knows them all.

The runtime owns one `Registry`. It makes pools when clients ask for them, keeps every client
findable by its cancel key, hands out ids, and swaps the configuration on RELOAD. What a client
must prove to come in is `admission`'s business.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pgpool_lite.config import Config, DatabaseSettings, PoolMode, UserSettings
from pgpool_lite.errors import LoginRejected
from pgpool_lite.pool.database import Database
from pgpool_lite.pool.headcount import Census
from pgpool_lite.pool.names import NameCache
from pgpool_lite.pool.peering import PeerPool
from pgpool_lite.pool.pool import CLOSE_NEEDED, Pool
from pgpool_lite.pool.rules import PoolRules, resolve
from pgpool_lite.pool.secrets import Secrets
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.following import FollowedParameters
from pgpool_lite.session.parameters import TrackedParameters
from pgpool_lite.session.replication import Dedication
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.server_login import ServerCredentials
from pgpool_lite.session.statements import StatementRegistry
from pgpool_lite.wire.frontend import CancelKey

#: The database that is the admin console; no server knows it.
CONSOLE = "pgbouncer"


class Registry:
    """All databases, pools and clients of one running pooler."""

    def __init__(self, config: Config, now: float) -> None:
        """Know the databases of `config`; there are no pools yet."""
        self.config = config
        self.started_at = now
        follows = config.settings.follow_unreported_parameters
        kind = FollowedParameters if follows else TrackedParameters
        self.tracked = kind(config.settings.track_extra_parameters)
        self.databases: dict[str, Database] = {
            name: Database(settings, now) for name, settings in config.databases.items()
        }
        #: The console is a database too: it has statistics and a line in SHOW DATABASES.
        self.console = Database(DatabaseSettings(name=CONSOLE, pool_mode=PoolMode.STATEMENT), now)
        self.pools: dict[tuple[str, str], Pool] = {}
        #: How many connections each user has, and how many clients there are at all.
        self.census = Census()
        #: Made when the first cancel request goes to a peer.
        self.peer_pools: dict[int, PeerPool] = {}
        self.secrets = Secrets(config.secrets)
        #: Host names of servers, and their addresses.
        self.names = NameCache()
        #: Statements that clients have prepared by name, over all pools.
        self.statements = StatementRegistry()
        self._by_cancel_key: dict[bytes, tuple[Pool, ClientSession]] = {}
        #: The number of the next connection, and how far they are apart.
        self._next_id = self._id_step = 1
        #: PAUSE without a database is in force; a database made meanwhile is paused too.
        self.is_paused = False

    # --- databases and pools ---

    def find_database(self, name: str, now: float) -> Database:
        """Return the database of that name, made from `*` if there is no such line.

        One that is made is kept by `pool_for` only: who has not proved anything leaves no trace.
        Raises LoginRejected when there is neither.
        """
        database = self.databases.get(name)
        if database is None:
            fallback = self.config.fallback
            if fallback is None:
                raise LoginRejected(
                    f"no such database: {name}",
                    detail=f"Configured are: {', '.join(sorted(self.databases)) or 'none'}.",
                    hint="Add it to [databases], or a line for * there.",
                )
            database = self._make(fallback.named(name), now, is_auto=True)
        return database

    def keep_database(self, name: str, now: float) -> Database:
        """Return the database of that name, and keep it if it was made: an operator means it."""
        return self.databases.setdefault(name, self.find_database(name, now))

    def pause_all(self) -> None:
        """Have no client linked any more, whatever the database: PAUSE without a name."""
        self.is_paused = True
        for database in self.databases.values():
            database.is_paused = True

    def resume_all(self) -> None:
        """Reverse `pause_all`; what was paused by name stays so."""
        self.is_paused = False
        for database in self.databases.values():
            database.is_paused = database.is_paused_by_name

    def _make(self, settings: DatabaseSettings, now: float, *, is_auto: bool = False) -> Database:
        database = Database(settings, now, is_auto=is_auto)
        database.is_paused = self.is_paused
        return database

    def pool_for(self, database: Database, client_user: str) -> Pool:
        """Return the pool that serves `client_user` in `database`, made if need be."""
        return self.pool_of(database, database.settings.user or client_user)

    def pool_of(self, database: Database, user: str) -> Pool:
        """Return the pool of a user who is the same at the server: auth_user, say."""
        database = self.databases.setdefault(database.name, database)
        pool = self.pools.get((database.name, user))
        if pool is None:
            pool = Pool(database, user, self.rules_for(database, user), self.census)
            self.pools[database.name, user] = pool
        return pool

    def rules_for(self, database: Database, user: str) -> PoolRules:
        """Return what the configuration says for a pool."""
        user_settings = self.config.users.get(user) or UserSettings(name=user)
        settings, users = self.config.settings, self.config.users.values()
        return resolve(settings, database.settings, user_settings, users)

    def credentials_for(
        self, pool: Pool, dedication: Dedication | None = None
    ) -> ServerCredentials:
        """Return how to log in at the server as the pool's user, or for a replication client."""
        settings, name = pool.database.settings, pool.database.name
        # The password on a database's line is that of the user there, and not of auth_user.
        password = settings.password if settings.user in (None, pool.user) else None
        return ServerCredentials(
            user=pool.user,
            database=settings.dbname or settings.name,
            secret=password or self.secrets.of(name, pool.user),
            scram_keys=None if password else self.secrets.keys_of(name, pool.user),
            parameters=(*_startup_parameters(settings), *self._wishes_of(dedication)),
        )

    def _wishes_of(self, dedication: Dedication | None) -> Iterator[tuple[str, str]]:
        """Walk over the start-up parameters of a replication client, which its server is told."""
        if dedication is None:
            return
        yield "replication", dedication.replication.kind.parameter
        yield from self.tracked.named(dedication.client.parameters).items()
        if dedication.replication.options:
            yield "options", dedication.replication.options

    # --- clients ---

    @property
    def client_count(self) -> int:
        """Clients of all pools; those of the console are not among them."""
        return self.census.everybody.client_count - self.console.headcount.client_count

    def clients(self) -> Iterator[tuple[Pool, ClientSession]]:
        """Walk over all clients of all pools."""
        for pool in self.pools.values():
            for clients in pool.clients.values():
                for client in clients:
                    yield pool, client

    def next_id(self) -> int:
        """Return a number that no connection had before; clients and servers share the count."""
        number = self._next_id
        self._next_id = number + self._id_step
        return number

    def number_from(self, first: int, step: int) -> None:
        """Have ids begin at `first`, `step` apart: so those of several processes never meet."""
        self._next_id, self._id_step = first, step

    def remember_key(self, pool: Pool, client: ClientSession) -> None:
        """Make a client findable by the key it was told."""
        self._by_cancel_key[client.cancel_key.pid_and_secret] = pool, client

    def forget_key(self, client: ClientSession) -> None:
        """Reverse `remember_key`."""
        self._by_cancel_key.pop(client.cancel_key.pid_and_secret, None)

    def find_by_key(self, key: CancelKey) -> tuple[Pool, ClientSession] | None:
        """Return the client that a CancelRequest names, and its pool."""
        return self._by_cancel_key.get(key.pid_and_secret)

    # --- configuration ---

    def reload(self, config: Config, now: float) -> list[Pool]:
        """Swap the configuration; connections of databases that changed are retired.

        Return the pools of databases that are gone: whoever is there is to be closed.
        """
        self.secrets.reload(config.secrets)
        self.config = config
        for name, settings in config.databases.items():
            database = self.databases.get(name)
            if database is None:
                self.databases[name] = self._make(settings, now)
            else:
                self._change(database, settings)
        gone = [
            pool
            for name, database in list(self.databases.items())
            if name not in config.databases
            for pool in self._remove(database)
        ]
        self.change_settings(config)
        return gone

    def change_settings(self, config: Config) -> None:
        """Swap the [pgbouncer] section only: SET on the console."""
        self.config = config
        for pool in self.pools.values():
            pool.set_rules(self.rules_for(pool.database, pool.user))

    def _change(self, database: Database, settings: DatabaseSettings) -> None:
        moved = _server_of(settings) != _server_of(database.settings)
        database.settings = settings
        database.is_auto = False
        if moved:
            self.retire_servers(database)

    def _remove(self, database: Database) -> list[Pool]:
        """Take a database out that the file no longer has; `*` may go on serving it.

        One that was made from `*` stays until nobody has used it for long.
        """
        fallback = self.config.fallback
        if fallback is not None:
            self._change(database, fallback.named(database.name))
            database.is_auto = True
        return [] if database.is_auto else self.drop_database(database)

    def drop_database(self, database: Database) -> list[Pool]:
        """Forget a database, and return its pools: whoever is there is to be closed."""
        del self.databases[database.name]
        gone = list(database.headcount.pools)
        for pool in gone:
            self.drop_pool(pool)
        return gone

    def drop_pool(self, pool: Pool) -> None:
        """Forget a pool: who comes next finds a new one."""
        self.pools.pop((pool.database.name, pool.user), None)
        pool.disband()

    def retire_servers(self, database: Database | None, reason: str = CLOSE_NEEDED) -> None:
        """Have servers closed as soon as they are free: RECONNECT, or a changed database."""
        for pool in self.pools.values():
            if database is None or pool.database is database:
                pool.retire(reason)

    def retire_addresses(self, name: str, addresses: Collection[str]) -> None:
        """Retire the servers of a host name that stand on addresses which it no longer has."""
        for pool in self.pools.values():
            pool.retire("obsolete connection", lambda server: _stands_on(server, name, addresses))


def _stands_on(server: ServerSession, name: str, addresses: Collection[str]) -> bool:
    endpoint = server.endpoint
    return endpoint is not None and endpoint.host == name and endpoint.address in addresses


def _startup_parameters(settings: DatabaseSettings) -> tuple[tuple[str, str], ...]:
    """Return what a database's line wants every server connection to begin with."""
    wishes = {
        "client_encoding": settings.client_encoding,
        "datestyle": settings.datestyle,
        "timezone": settings.timezone,
        "application_name": settings.application_name,
    }
    return tuple((name, value) for name, value in wishes.items() if value is not None)


def _server_of(settings: DatabaseSettings) -> DatabaseSettings:
    """Return the part of a database's line that decides where its connections lead and begin."""
    return DatabaseSettings(
        name=settings.name,
        host=settings.host,
        port=settings.port,
        dbname=settings.dbname,
        user=settings.user,
        password=settings.password,
        sslmode=settings.sslmode,
        sslnegotiation=settings.sslnegotiation,
        sslrootcert=settings.sslrootcert,
        sslcert=settings.sslcert,
        sslkey=settings.sslkey,
        connect_query=settings.connect_query,
        load_balance_hosts=settings.load_balance_hosts,
    )
