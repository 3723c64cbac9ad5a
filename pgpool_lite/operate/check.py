"""`pgpool-lite check FILE`: every finding with its line, and what would run. No secrets.

Exit code 0 where the pooler would start with this file, 1 where it would not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pgpool_lite.config import Config, DatabaseSettings, Settings, UserSettings
from pgpool_lite.console.tables import VERSION_TEXT
from pgpool_lite.operate.findings import examine
from pgpool_lite.pool.rules import resolve


def run_check(path: Path) -> int:
    """Print all findings, then what would run; return the exit code."""
    config, findings = examine(path)
    for finding in findings:
        print(finding)
    if config is None:
        return 1
    if findings:
        print()
    print("\n".join(describe(config)))
    return 0


def describe(config: Config) -> Iterator[str]:
    """Yield the lines that say what a pooler with this configuration does."""
    settings = config.settings
    yield f"would run: {VERSION_TEXT}"
    yield _line("listens on", ", ".join(_addresses(settings)) or "nothing")
    yield _line("clients", f"{settings.max_client_conn} at most, auth_type {settings.auth_type}")
    yield _line("secrets", "; ".join(_secrets(config)))
    yield _line("console", _console(settings))
    for database in config.databases.values():
        yield _line(f"database {database.name}", _database(database, config))
    if config.fallback is not None:
        yield _line("database *", _database(config.fallback, config))
    for user in config.users.values():
        yield _line(f"user {user.name}", _user(user))
    for peer in config.peers.values():
        yield _line(f"peer {peer.peer_id}", f"{peer.host}:{peer.port}")


def _line(what: str, text: str) -> str:
    return f"  {what:<20} {text}"


def _addresses(settings: Settings) -> Iterator[str]:
    for address in settings.listen_addr:
        yield f"{address}:{settings.listen_port}"
    if settings.unix_socket_dir:
        yield f"{settings.unix_socket_dir}/.s.PGSQL.{settings.listen_port}"


def _secrets(config: Config) -> Iterator[str]:
    """Yield where secrets come from, and how many there are; never what they are."""
    settings = config.settings
    yield (
        f"{len(config.secrets)} users in {settings.auth_file}"
        if settings.auth_file
        else "no auth_file"
    )
    if settings.auth_user:
        yield f"auth_query as user {settings.auth_user} for all others"


def _console(settings: Settings) -> str:
    admins = ", ".join(settings.admin_users) or "nobody"
    return f"admin_users {admins}; stats_users {', '.join(settings.stats_users) or 'nobody'}"


def _database(database: DatabaseSettings, config: Config) -> str:
    settings = config.settings
    rules = resolve(settings, database, UserSettings(name=database.user or ""))
    server = f"{database.dbname or 'any name'} at {database.host or 'the Unix socket'}"
    user = f"as {database.user}" if database.user is not None else "as the client's user"
    password = ", password in the line" if database.password is not None else ""
    limit = settings.max_db_connections
    if database.max_db_connections is not None:
        limit = database.max_db_connections
    in_all = f", {limit} in all" if limit else ""
    return (
        f"{server} port {database.port} {user}{password}; pool_mode {rules.mode}, "
        f"{rules.pool_size} servers per user at most{in_all}, {rules.min_pool_size} at least"
    )


def _user(user: UserSettings) -> str:
    special = {
        key: getattr(user, key)
        for key in user.__dataclass_fields__
        if key != "name" and getattr(user, key) is not None
    }
    return ", ".join(f"{key} {value}" for key, value in special.items()) or "nothing special"
