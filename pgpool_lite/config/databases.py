"""Where do clients' databases lead, and what is special about a database, a user, a peer?

`load.py` turns each entry of [databases], [users] and [peers] into one of these dataclasses; the
value of an entry is a connection string:

    app = host=10.0.0.1 port=5432 user='o''neill' connect_query='set role app'

None means the entry does not say, and the setting of the same meaning in [pgbouncer] counts.
PgBouncer reads these numbers with C's atoi, where "abc" is 0 and "5x" is 5; we refuse both. What
it takes for "not set", -1 everywhere and 0 for most limits and timeouts, is None here too.
"""

# RUF009 cannot see that `setting` is dataclasses.field with a table entry, as safe as field itself.
# ruff: noqa: RUF009

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pgpool_lite.config.ini import Located
from pgpool_lite.config.table import Setting, setting, table_of, unknown
from pgpool_lite.config.values import (
    LOAD_BALANCE_HOSTS,
    POOL_MODE,
    PREPARED_STATEMENTS,
    SECONDS,
    SESSION_LEAKS,
    SQL_PREPARED_STATEMENTS,
    TEXT,
    LoadBalanceHosts,
    PoolMode,
    PreparedStatements,
    SessionLeaks,
    SqlPreparedStatements,
    SslMode,
    SslNegotiation,
    count,
    unset_at,
)
from pgpool_lite.errors import ConfigError

# The console's database; nothing else may have its name.
RESERVED_DATABASE = "pgbouncer"
# The [databases] entry that serves every name without one of its own.
FALLBACK = "*"
MAX_PEER_KEY = 65535

_PORT = count(1, 65535)
_SIZE = unset_at(count(), -1)
_LIMIT = unset_at(count(), -1, 0)
_TIMEOUT = unset_at(SECONDS, -1, 0)
_WAIT_TIMEOUT = unset_at(SECONDS, -1)
_OPTIONAL_TEXT = unset_at(TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """One database as clients name it, and the server it leads to."""

    # The name clients connect to; "*" for the fallback.
    name: str
    # How much a URL insists on TLS towards the server, and how that begins; an entry of
    # [databases] cannot say.
    sslmode: SslMode | None = None
    sslnegotiation: SslNegotiation = SslNegotiation.POSTGRES
    # Files of a URL, in place of server_tls_ca_file, server_tls_cert_file and server_tls_key_file.
    sslrootcert: str = ""
    sslcert: str = ""
    sslkey: str = ""
    host: str = setting(
        "",
        TEXT,
        doc="Hosts, comma-separated; /dir or @name for a Unix socket; empty: unix_socket_dir.",
    )
    port: int = setting(5432, _PORT, doc="Port of the server, also in its Unix socket's name.")
    dbname: str = setting("", TEXT, doc="The server's database; empty in the fallback only.")
    user: str | None = setting(None, _OPTIONAL_TEXT, doc="User all clients become.")
    password: str | None = setting(
        None, _OPTIONAL_TEXT, secret=True, doc="Password of that user at the server."
    )
    auth_user: str | None = setting(None, _OPTIONAL_TEXT, doc="User who runs auth_query.")
    auth_query: str | None = setting(None, _OPTIONAL_TEXT, doc="Query that finds a secret.")
    # PgBouncer lets the reserved one pass here, and refuses the clients instead.
    auth_dbname: str | None = setting(None, _OPTIONAL_TEXT, doc="Database that auth_query runs in.")
    pool_size: int | None = setting(None, _SIZE, doc="Servers one pool may have.")
    min_pool_size: int | None = setting(None, _SIZE, doc="Servers a pool keeps open.")
    reserve_pool_size: int | None = setting(None, _SIZE, doc="Servers a pool may have on top.")
    max_db_connections: int | None = setting(None, _LIMIT, doc="Servers of all pools together.")
    max_db_client_connections: int | None = setting(None, _LIMIT, doc="Clients of all pools.")
    pool_mode: PoolMode | None = setting(
        None, unset_at(POOL_MODE), doc="When a server is released."
    )
    connect_query: str | None = setting(
        None, _OPTIONAL_TEXT, doc="Query run on a server before its first client."
    )
    server_lifetime: float | None = setting(
        None, _TIMEOUT, doc="Seconds after which a server is closed once it is idle."
    )
    query_wait_timeout: float | None = setting(
        None, _WAIT_TIMEOUT, doc="Seconds a client may wait for a server; 0 for ever."
    )
    load_balance_hosts: LoadBalanceHosts = setting(
        LoadBalanceHosts.ROUND_ROBIN, LOAD_BALANCE_HOSTS, doc="Which of the hosts comes next."
    )
    client_encoding: str | None = setting(None, _OPTIONAL_TEXT, doc="Asked from the server.")
    datestyle: str | None = setting(None, _OPTIONAL_TEXT, doc="Asked from the server.")
    timezone: str | None = setting(None, _OPTIONAL_TEXT, doc="Asked from the server.")
    application_name: str | None = setting(None, _OPTIONAL_TEXT, doc="Told to the server.")
    max_prepared_statements: int | None = setting(
        None,
        _SIZE,
        doc="Named prepared statements kept on one server; not one of PgBouncer's keys.",
    )
    prepared_statements: PreparedStatements | None = setting(
        None,
        unset_at(PREPARED_STATEMENTS),
        doc="What happens to named prepared statements; not one of PgBouncer's keys.",
    )
    sql_prepared_statements: SqlPreparedStatements | None = setting(
        None,
        unset_at(SQL_PREPARED_STATEMENTS),
        doc="What happens to DEALLOCATE, PREPARE and EXECUTE in SQL; not one of PgBouncer's keys.",
    )
    session_leaks: SessionLeaks | None = setting(
        None,
        unset_at(SESSION_LEAKS),
        doc="What happens when session state is left on a server; not one of PgBouncer's keys.",
    )

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts one by one; empty for the Unix socket of the server on this machine."""
        return tuple(host.strip() for host in self.host.split(",") if host.strip())

    def named(self, name: str) -> DatabaseSettings:
        """Return the database a fallback stands for when a client asks for `name`."""
        return replace(self, name=name, dbname=self.dbname or name)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSettings:
    """What is special about one user, whatever the database."""

    # The name the client logs in with.
    name: str
    pool_mode: PoolMode | None = setting(
        None, unset_at(POOL_MODE), doc="When a server is released."
    )
    pool_size: int | None = setting(None, _SIZE, doc="Servers one pool may have.")
    reserve_pool_size: int | None = setting(None, _SIZE, doc="Servers a pool may have on top.")
    max_user_connections: int | None = setting(None, _LIMIT, doc="Servers of all pools.")
    max_user_client_connections: int | None = setting(None, _LIMIT, doc="Clients of all pools.")
    query_timeout: float | None = setting(None, _TIMEOUT, doc="Seconds a query may run.")
    query_wait_timeout: float | None = setting(
        None, _WAIT_TIMEOUT, doc="Seconds a client may wait for a server; 0 for ever."
    )
    idle_transaction_timeout: float | None = setting(
        None, _TIMEOUT, doc="Seconds a transaction block may be idle."
    )
    transaction_timeout: float | None = setting(
        None, _TIMEOUT, doc="Seconds a transaction may take."
    )
    client_idle_timeout: float | None = setting(
        None, _TIMEOUT, doc="Seconds after which an idle client is closed."
    )
    session_leaks: SessionLeaks | None = setting(
        None,
        unset_at(SESSION_LEAKS),
        doc="What happens when session state is left on a server; not one of PgBouncer's keys.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSettings:
    """Another process cancel requests may belong to."""

    # Its peer_id.
    peer_id: int
    host: str = setting("", TEXT, doc="Host, or directory of its Unix socket.")
    port: int = setting(6432, _PORT, doc="Port it listens on.")
    pool_size: int | None = setting(None, _SIZE, doc="Cancel requests under way at once.")


_make_database: Callable[..., DatabaseSettings] = DatabaseSettings
_make_user: Callable[..., UserSettings] = UserSettings
_make_peer: Callable[..., PeerSettings] = PeerSettings


def parse_database(entry: Located) -> DatabaseSettings:
    """Return the database of a [databases] entry; `dbname` is its own name unless it says."""
    if entry.key == RESERVED_DATABASE:
        raise _error(entry, "the name is reserved for the admin console")
    aliases = {"reserve_pool": "reserve_pool_size"}
    values = _read_pairs(entry, table_of(DatabaseSettings), aliases)
    database = _make_database(name=entry.key, **values)
    return database if entry.key == FALLBACK else database.named(entry.key)


def parse_user(entry: Located) -> UserSettings:
    """Return the user of a [users] entry."""
    return _make_user(name=entry.key, **_read_pairs(entry, table_of(UserSettings), {}))


def parse_peer(entry: Located) -> PeerSettings:
    """Return the peer of a [peers] entry."""
    if not re.fullmatch(r"[0-9]{1,9}", entry.key) or not 1 <= int(entry.key) <= MAX_PEER_KEY:
        raise _error(entry, f"expected a peer_id from 1 to {MAX_PEER_KEY}")
    values = _read_pairs(entry, table_of(PeerSettings), {})
    if "host" not in values:
        raise _error(entry, "expected host=, a peer has no default one")
    return _make_peer(peer_id=int(entry.key), **values)


def parse_port(ports: Sequence[str]) -> int:
    """Return the one port of a URL's hosts, "" being libpq's default; ValueError if they differ."""
    numbers = {_PORT.read(port or "5432") for port in ports}
    if len(numbers) > 1:
        raise ValueError("all hosts of the list have to use one port")
    return numbers.pop()


# A pair, and the blanks or the end after it. Only the space separates, as in PgBouncer.
_PAIR = re.compile(
    r" *(?P<key>[^= ]+) *= *(?:'(?P<quoted>[^']*(?:''[^']*)*)'|(?P<bare>[^' ][^ ]*))(?: +|\Z)",
    re.DOTALL,
)


def scan_connection_string(text: str) -> Iterator[tuple[str, str]]:
    """Yield the pairs of `key=value key='quoted ''value'''`; ValueError says where it breaks.

    The error names a position and not what stands there: that may be half a password.
    """
    pos, end = 0, len(text.rstrip(" "))
    while pos < end:
        pair = _PAIR.match(text, pos, end)
        if pair is None:
            raise ValueError(f"expected key=value or key='quoted value' at character {pos + 1}")
        bare = pair["bare"]
        value = pair["quoted"].replace("''", "'") if bare is None else bare
        if not value:
            raise ValueError(f"{pair['key']}: expected a value; leave the key out instead")
        yield pair["key"], value
        pos = pair.end()


def _read_pairs(
    entry: Located, table: Mapping[str, Setting[object]], aliases: Mapping[str, str]
) -> dict[str, object]:
    """Return the values of an entry's connection string; of two for one key the last counts."""
    values: dict[str, object] = {}
    try:
        for written, text in scan_connection_string(entry.value):
            key = aliases.get(written, written)
            if key not in table:
                raise ValueError(f"{written}: {unknown('key', written, table)}")
            values[key] = _read_pair(table[key], written, text)
    except ValueError as error:
        raise _error(entry, str(error)) from None
    return values


def _read_pair(key: Setting[object], written: str, text: str) -> object:
    try:
        return key.kind.read(text)
    except ValueError as error:
        raise ValueError(f"{written}: {error}") from None


def _error(entry: Located, message: str) -> ConfigError:
    return ConfigError(message, file=entry.file, line=entry.line, key=entry.key)
