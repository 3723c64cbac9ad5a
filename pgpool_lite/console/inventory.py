"""Which databases and users are there, what holds for them, and how much of it is in use?

The rows behind SHOW DATABASES and SHOW USERS, as `tables.py` has those of the other tables. What
holds is the effective number: a database's or a user's own, else the one of [pgbouncer].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pgpool_lite.config import UserSettings
from pgpool_lite.console.tables import CONSOLE_MODE, all_databases, load_balance_hosts
from pgpool_lite.pool.database import Database
from pgpool_lite.pool.registry import CONSOLE, Registry

#: What PgBouncer shows as pool_size of the console, which has no servers.
_CONSOLE_POOL_SIZE: Final = 2


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """One database as clients name it, and what holds for it."""

    name: str
    host: str | None
    port: int
    database: str
    force_user: str | None
    pool_size: int
    min_pool_size: int
    reserve_pool_size: int
    server_lifetime: int
    pool_mode: str | None
    load_balance_hosts: str | None
    max_connections: int
    current_connections: int
    max_client_connections: int
    current_client_connections: int
    paused: bool
    disabled: bool


@dataclass(frozen=True, slots=True)
class UserStatus:
    """One user we know of, and what holds for it. Sizes are None where the user has none."""

    name: str
    pool_size: int | None
    reserve_pool_size: int | None
    pool_mode: str | None
    max_user_connections: int
    current_connections: int
    max_user_client_connections: int
    current_client_connections: int


def database_statuses(registry: Registry) -> list[DatabaseStatus]:
    """Return one row per database, the console's too; `*` shows as what it was used for."""
    return [
        _console_status(registry)
        if database is registry.console
        else _database_status(database, registry)
        for database in all_databases(registry)
    ]


def _database_status(database: Database, registry: Registry) -> DatabaseStatus:
    settings, common = database.settings, registry.config.settings
    return DatabaseStatus(
        name=database.name,
        host=settings.host or None,
        port=settings.port,
        database=settings.dbname or settings.name,
        force_user=settings.user,
        pool_size=_or(settings.pool_size, common.default_pool_size),
        min_pool_size=_or(settings.min_pool_size, common.min_pool_size),
        reserve_pool_size=_or(settings.reserve_pool_size, common.reserve_pool_size),
        server_lifetime=int(settings.server_lifetime or common.server_lifetime),
        pool_mode=settings.pool_mode.value if settings.pool_mode is not None else None,
        load_balance_hosts=load_balance_hosts(settings),
        max_connections=_or(settings.max_db_connections, common.max_db_connections),
        current_connections=database.headcount.server_count,
        max_client_connections=_or(
            settings.max_db_client_connections, common.max_db_client_connections
        ),
        current_client_connections=database.headcount.client_count,
        paused=database.is_paused_by_name,
        disabled=database.is_disabled,
    )


def _console_status(registry: Registry) -> DatabaseStatus:
    settings = registry.config.settings
    return DatabaseStatus(
        name=CONSOLE,
        host=None,
        port=settings.listen_port,
        database=CONSOLE,
        force_user=CONSOLE,
        pool_size=_CONSOLE_POOL_SIZE,
        min_pool_size=0,
        reserve_pool_size=0,
        server_lifetime=int(settings.server_lifetime),
        pool_mode=CONSOLE_MODE,
        load_balance_hosts=None,
        max_connections=settings.max_db_connections,
        current_connections=0,
        max_client_connections=settings.max_db_client_connections,
        current_client_connections=registry.console.headcount.client_count,
        paused=False,
        disabled=False,
    )


def user_statuses(registry: Registry) -> list[UserStatus]:
    """Return one row per user: of auth_file, of [users], forced by a database, or here now."""
    config = registry.config
    forced = {each.settings.user for each in registry.databases.values() if each.settings.user}
    names = {CONSOLE, *config.secrets, *config.users, *forced, *registry.census.users}
    return [_user_status(name, registry) for name in sorted(names)]


def _user_status(name: str, registry: Registry) -> UserStatus:
    settings, common = registry.config.users.get(name), registry.config.settings
    settings = settings or UserSettings(name=name)
    return UserStatus(
        name=name,
        pool_size=settings.pool_size,
        reserve_pool_size=settings.reserve_pool_size,
        pool_mode=settings.pool_mode.value if settings.pool_mode is not None else None,
        max_user_connections=_or(settings.max_user_connections, common.max_user_connections),
        current_connections=registry.census.servers_of(name),
        max_user_client_connections=_or(
            settings.max_user_client_connections, common.max_user_client_connections
        ),
        current_client_connections=registry.census.clients_of(name),
    )


def _or(own: int | None, common: int) -> int:
    """Return a database's or a user's own number, else the one for all."""
    return common if own is None else own
