"""Whose limit is it? An error's SQLSTATE and words, and who must change what.

Three limits look alike from an application: its own pool's, the pooler's, and PostgreSQL's
max_connections. Each has words of its own, which differ by driver and pooler; here they are in one
table. Sources: PgBouncer 1.26's source, the documentation of the others (docs/doctor.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pgpool_lite.operate.doctor_evidence import Refusal


class Who(StrEnum):
    """Who says no."""

    CLIENT = "the application's own pool"
    POOLER = "the pooler"
    POSTGRESQL = "PostgreSQL"
    NETWORK = "the network"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Blame:
    """Who says no, why, and what to change."""

    who: Who
    says: str
    change: str


@dataclass(frozen=True, slots=True)
class _Words:
    """What an error is recognised by: its words, and its SQLSTATE where that decides."""

    pattern: str
    blame: Blame
    sqlstate: str = ""


_TABLE: Final = (
    _Words(
        r"P2024|fetching a new connection from the connection pool",
        Blame(
            Who.CLIENT,
            "Prisma's own pool (connection_limit) gave nothing within pool_timeout. The database"
            " has not been asked: neither the pooler's limits nor max_connections are the reason.",
            "Look for sessions that keep Prisma's connections: long $transaction calls, and awaits"
            " of other services inside of them. Then raise connection_limit, or pool_timeout.",
        ),
    ),
    _Words(
        r"QueuePool limit|TimeoutError.*pool|PoolTimeout|couldn't get a connection after"
        r"|could not obtain a connection from the pool|Connection is not available, request timed"
        r"|timeout exceeded when trying to connect|acquiring connection from pool",
        Blame(
            Who.CLIENT,
            "The application's own pool gave no connection in time; the database has not been"
            " asked.",
            "Find who does not give connections back: sessions that are not closed, work outside of"
            " the database inside of a transaction. Then raise the pool's size.",
        ),
    ),
    _Words(
        r"no more connections allowed|client connections exceeded|EMAXCONN|max clients reached"
        r"|max client connections reached|number of client connections to the proxy exceeded"
        r"|too many client tcp connections",
        Blame(
            Who.POOLER,
            "The pooler has as many clients as it may have. PostgreSQL has not been asked.",
            "Raise max_client_conn (and its kin per database and user), or give each application"
            " process fewer connections: clients = processes x pool size of each.",
        ),
    ),
    _Words(
        r"query_wait_timeout|ECHECKOUTTIMEOUT|unable to check ?out connection"
        r"|waiting to acquire database connection|could not get connection from the pool",
        Blame(
            Who.POOLER,
            "The client was let in and waited for a server connection; all were in use.",
            "See below who holds them: idle in transaction means an application that forgets to"
            " commit, active means slow queries, or a default_pool_size that is too small.",
        ),
    ),
    _Words(
        r"too many connections for (role|database)",
        Blame(
            Who.POSTGRESQL,
            "The role's or database's CONNECTION LIMIT is reached.",
            "ALTER ROLE ... or ALTER DATABASE ... CONNECTION LIMIT, or a smaller pool.",
        ),
    ),
    _Words(
        r"too many clients already|remaining connection slots|sorry, too many clients",
        Blame(
            Who.POSTGRESQL,
            "PostgreSQL's max_connections is reached. A pooler in front of it passes this on.",
            "Have fewer servers: sum up default_pool_size over all pairs of database and user, and"
            " whatever connects directly; it must stay below max_connections.",
        ),
        sqlstate="53300",
    ),
    _Words(
        r"server login has been failing|pool.* is down",
        Blame(
            Who.POOLER,
            "The pooler is there and cannot log in at PostgreSQL; it repeats the last reason.",
            "See that PostgreSQL runs, and host=, port= and the secret in the pooler's"
            " configuration.",
        ),
    ),
    _Words(
        r"unsupported startup parameter|currently doesn't support",
        Blame(
            Who.POOLER,
            "The driver asks for a setting at login that the pooler cannot keep apart per client.",
            "Leave it out of the URL or the driver's options and use ALTER ROLE ... SET, or add it"
            " to ignore_startup_parameters.",
        ),
    ),
    _Words(
        r"prepared statement .*does(n't| not) exist|prepared statement did not exist",
        Blame(
            Who.POOLER,
            "A statement was prepared on one server connection and used on another.",
            "Set max_prepared_statements above 0 in the pooler (PgBouncer 1.21 or newer), or switch"
            " named statements off in the driver, see below.",
        ),
        sqlstate="26000",
    ),
    _Words(
        r"prepared statement .*already exists|prepared statement name is already in use",
        Blame(
            Who.POOLER,
            "Two clients gave a statement the same name, and shared a server connection.",
            "Set max_prepared_statements above 0 in the pooler (PgBouncer 1.21 or newer), or switch"
            " named statements off in the driver, see below.",
        ),
        sqlstate="42P05",
    ),
    _Words(
        r"cached plan must not change result type",
        Blame(
            Who.POSTGRESQL,
            "A migration changed what a prepared statement returns.",
            "Try again on a new statement; RECONNECT on the pooler's console after migrations.",
        ),
    ),
    _Words(
        r"no TLS there|TLS handshake failed",
        Blame(
            Who.NETWORK,
            "The URL asks for TLS that the other end does not have, or whose certificate does not"
            " prove what sslmode wants to see.",
            "Correct sslmode and sslrootcert in the URL, or the other end's certificate.",
        ),
    ),
    _Words(
        r"SSL required|SSL connection is required|requires TLS|SSL/TLS required|no encryption",
        Blame(Who.POOLER, "It takes TLS only.", "Add sslmode=require to the URL."),
    ),
    _Words(
        r"password authentication failed|SASL authentication failed|wrong password|auth.* failed",
        Blame(
            Who.POOLER,
            "Whoever answers there does not know this user by this secret.",
            "Correct user and password in the URL. A pooler checks them itself: auth_file or"
            " auth_query must have the user.",
        ),
    ),
    _Words(
        r"no such database|database \".*\" does not exist|tenant/user .* not found",
        Blame(
            Who.POOLER,
            "There is no database of that name.",
            "Correct the name behind the last slash of the URL; a pooler knows its own names only.",
        ),
    ),
    _Words(
        r"no pg_hba.conf entry",
        Blame(
            Who.POSTGRESQL,
            "pg_hba.conf has no line for this user, database and address.",
            "Add one, or sslmode=require where only hostssl lines are there.",
        ),
    ),
    _Words(
        r"is starting up|is shutting down",
        Blame(Who.UNKNOWN, "It is starting or stopping.", "Try again in a moment."),
    ),
    _Words(
        r"nobody listens|Connection refused|closed without a word|no answer|getaddrinfo"
        r"|Name or service|timed out",
        Blame(
            Who.NETWORK,
            "Nobody answers there.",
            "Check host and port of the URL, and that it runs; a firewall answers nothing at all.",
        ),
    ),
)


def blame_for(refusal: Refusal) -> Blame:
    """Return who says no with this, by its words and else by its SQLSTATE."""
    for entry in _TABLE:
        if re.search(entry.pattern, refusal.message, re.IGNORECASE | re.DOTALL):
            return entry.blame
    for entry in _TABLE:
        if entry.sqlstate and entry.sqlstate == refusal.sqlstate:
            return entry.blame
    return Blame(Who.UNKNOWN, "This is no limit that is known here.", "The log of who said it.")
