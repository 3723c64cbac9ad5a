"""What is behind each sentence that a client can be told, and what should be changed?

A sentence is PgBouncer's where PgBouncer has one; DETAIL and HINT are ours. A lesson here is what
can be said without looking: figures come from where the error is raised, or from `teaching`, which
asks here when an error is sent and never before. docs/errors.md is made out of this table, and a
test compares it with every error that the source can raise.

What is sent before a client has proved who it is must not tell strangers anything. So a lesson
about a failed login is the same text whoever asks, and says where the operator finds the reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

#: The page that every HINT ends with, and its headings, in their order.
PAGE: Final = "docs/errors.md"
WAITING: Final = "Waiting for a server"
TIMEOUTS: Final = "Timeouts"
LIMITS: Final = "Limits"
LOGIN: Final = "Logging in"
STARTUP: Final = "Start-up parameters"
SERVERS: Final = "When PostgreSQL cannot be reached"
POOLING: Final = "What pooling does not allow"
OPERATION: Final = "Shutting down and closing"
PROTOCOL: Final = "The wire protocol"
CONSOLE: Final = "The console"
HEADINGS: Final = (
    *(WAITING, TIMEOUTS, LIMITS, LOGIN, STARTUP, SERVERS),
    *(POOLING, OPERATION, PROTOCOL, CONSOLE),
)


@dataclass(frozen=True)
class Lesson:
    """What there is to say about one sentence; `...` in it stands for what differs."""

    heading: str
    sentence: str
    detail: str = ""
    hint: str = ""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches the sentence as it is sent."""
        return re.compile(re.escape(self.sentence).replace(r"\.\.\.", ".*"), re.DOTALL)

    @property
    def anchor(self) -> str:
        """Where the page tells of it."""
        return f"{PAGE}#{anchor(self.heading)}"


def anchor(heading: str) -> str:
    """Return the fragment by which a page's heading is linked to."""
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


_POOL_SIZES = (
    "Keep transactions short and commit before slow work outside of the database. Else raise"
    " default_pool_size (pool_size= for one database), as far as PostgreSQL's max_connections goes."
)
_OWN_POOL = (
    "Give the application's own pool fewer connections: connection_limit (Prisma), max (pg,"
    " postgres.js), pool_size and max_overflow (SQLAlchemy), CONN_MAX_AGE (Django), max_size"
    " (asyncpg, psycopg), MaxConns (pgx), maximumPoolSize (HikariCP), pool (Rails)."
)
_RECONNECT = (
    "Have the application's pool test connections before use and connect again: pool_pre_ping"
    " (SQLAlchemy), CONN_HEALTH_CHECKS (Django), check (psycopg_pool), maxLifetime (HikariCP)."
)
_SECRETS = (
    "The pooler checks passwords itself: the user needs a line in auth_file, or an auth_query that"
    " finds it, with the same secret as PostgreSQL's. The pooler's log may say more."
)
_SAFE = "Nothing of it has run, so it can safely be tried again."
_ASK_THE_LOG = "The pooler's log has the reason; it is not told to whoever asks."

LESSONS: Final = (
    # `teaching` says who holds the servers, and what to do about it.
    Lesson(WAITING, "query_wait_timeout", hint=_POOL_SIZES),
    Lesson(WAITING, "query_timeout", hint=_POOL_SIZES),
    Lesson(
        WAITING,
        "No server connection available in postgres backend, client being queued",
        hint=_POOL_SIZES,
    ),
    Lesson(
        WAITING,
        "client_login_timeout (server down)",
        "No connection to PostgreSQL could be opened in time, and without one the pooler does not"
        " know what to welcome a client with.",
        "See that PostgreSQL runs and can be reached from the pooler: host= and port= of the"
        " database's line, and the pooler's log.",
    ),
    # --- timeouts ---
    Lesson(
        TIMEOUTS,
        "query timeout",
        "The query ran for longer than query_timeout allows.",
        "Raise query_timeout in the pooler (0 switches it off), also per user; or limit queries in"
        " PostgreSQL, whose statement_timeout cancels a query and keeps the connection.",
    ),
    Lesson(
        TIMEOUTS,
        "idle transaction timeout",
        "The client left a transaction open and sent nothing for longer than"
        " idle_transaction_timeout; PostgreSQL has rolled it back.",
        "Commit or roll back before doing other work, on every path: with session.begin()"
        " (SQLAlchemy), transaction.atomic() (Django), $transaction (Prisma), sql.begin"
        " (postgres.js), defer tx.Rollback (pgx).",
    ),
    Lesson(
        TIMEOUTS,
        "transaction timeout",
        "The transaction was open for longer than transaction_timeout allows; PostgreSQL has"
        " rolled it back.",
        "Split the work into shorter transactions, or raise transaction_timeout (0 switches it"
        " off), also per user.",
    ),
    Lesson(
        TIMEOUTS,
        "client_idle_timeout",
        "The client asked for nothing for longer than client_idle_timeout. No transaction was"
        " open.",
        f"{_RECONNECT} Or raise client_idle_timeout.",
    ),
    Lesson(
        TIMEOUTS,
        "client_login_timeout",
        "The client did not finish its login within client_login_timeout.",
        "A client that connects must send its start-up packet and password at once: look for port"
        " scans, health checks that only connect, and proxies in between.",
    ),
    # --- limits ---
    Lesson(
        LIMITS,
        "no more connections allowed (max_client_conn)",
        hint=f"{_OWN_POOL} Or raise max_client_conn: clients that ask for nothing need no server.",
    ),
    Lesson(
        LIMITS,
        "client connections exceeded (max_db_client_connections)",
        hint=f"{_OWN_POOL} Or raise max_db_client_connections, also per database.",
    ),
    Lesson(
        LIMITS,
        "client connections exceeded (max_user_client_connections)",
        hint=f"{_OWN_POOL} Or raise max_user_client_connections, also per user.",
    ),
    Lesson(LIMITS, "no more connections allowed (file descriptors)"),
    Lesson(
        LIMITS,
        "too many logins at a time (...)",
        "As many clients as may are proving who they are, in all or from this address.",
        "Have the application keep its connections, or raise the setting that is named.",
    ),
    # --- login ---
    Lesson(LOGIN, "password authentication failed", hint=_SECRETS),
    Lesson(LOGIN, "SASL authentication failed", hint=_SECRETS),
    Lesson(LOGIN, '"trust" authentication failed', hint=_SECRETS),
    Lesson(
        LOGIN,
        "no such user",
        "auth_query returned no row for this user.",
        "Create the role in PostgreSQL, or have auth_query find it; see the user in the URL.",
    ),
    Lesson(
        LOGIN,
        "empty password returned by client",
        hint="Give the driver a password: in the URL, in PGPASSWORD, or in a password file.",
    ),
    Lesson(
        LOGIN,
        "login rejected",
        "The rule of the HBA file that fits says reject.",
        "The first line that fits counts: database, user, address and TLS. See auth_hba_file.",
    ),
    Lesson(
        LOGIN,
        "no authentication method is found",
        "No line of the HBA file fits.",
        "Add a line for this database, user and address to auth_hba_file; a hostssl line fits only"
        " with TLS.",
    ),
    Lesson(LOGIN, "unix socket login rejected", hint=_ASK_THE_LOG),
    Lesson(LOGIN, "certificate authentication failed", hint=_ASK_THE_LOG),
    Lesson(
        LOGIN,
        "SSL required",
        "The pooler takes clients with TLS only (client_tls_sslmode).",
        "Add sslmode=require to the URL (ssl=true for JDBC, ssl: 'require' for postgres.js).",
    ),
    Lesson(LOGIN, "no username supplied", hint="Put a user into the URL: postgresql://user@..."),
    Lesson(LOGIN, "username too long", "A user's name may have 127 bytes."),
    Lesson(LOGIN, "bouncer config error", hint=_ASK_THE_LOG),
    Lesson(
        LOGIN,
        "not allowed",
        hint="Name the user in admin_users, or in stats_users if it shall only look.",
    ),
    Lesson(
        LOGIN,
        'authentication database "..." is disabled',
        "auth_query runs in that database, which DISABLE has closed.",
        "ENABLE it on the console.",
    ),
    Lesson(
        LOGIN,
        'database "..." is disabled',
        "DISABLE on the console has closed it to new clients.",
        "ENABLE on the console opens it again.",
    ),
    Lesson(LOGIN, "no such database: ..."),
    # --- start-up parameters ---
    Lesson(
        STARTUP,
        "unsupported startup parameter: ...",
        "Clients share server connections, so the pooler takes over only parameters that PostgreSQL"
        " reports when they change.",
    ),
    Lesson(
        STARTUP,
        "unsupported startup parameter in options: ...",
        "Clients share server connections, so the pooler takes over only parameters that PostgreSQL"
        " reports when they change.",
    ),
    Lesson(
        STARTUP,
        "unsupported options startup parameter: only '-c config=val' and '--config=val' are"
        " allowed",
        "The start-up parameter options is a command line; -c name=value and --name=value are"
        " understood of it.",
        "Write each as -c name=value, or add options to ignore_startup_parameters.",
    ),
    # --- servers ---
    Lesson(SERVERS, "server login has been failing, cached error: ... (server_login_retry)"),
    Lesson(
        SERVERS,
        "server conn crashed?",
        "PostgreSQL, or something on the way to it, closed the connection without a word while it"
        " was this client's. What was not committed is rolled back; what was being committed may"
        " be either.",
        "PostgreSQL's log tells of a restart, a crash, or a process killed for want of memory.",
    ),
    Lesson(SERVERS, "login failed"),
    Lesson(SERVERS, "server closed the connection", hint="PostgreSQL's log has the reason."),
    Lesson(
        SERVERS,
        "invalid server parameter",
        hint="The client set, at login or with SET, a parameter that PostgreSQL refuses: correct"
        " its value in the URL or in the driver's settings.",
    ),
    Lesson(SERVERS, "wrong password type"),
    # --- pooling ---
    Lesson(
        POOLING,
        "transaction blocks not allowed in statement pooling mode",
        "With pool_mode = statement each statement may run on another server, so that BEGIN has no"
        " meaning.",
        "Set pool_mode = transaction for this database or user, or have the driver autocommit.",
    ),
    # --- operation ---
    Lesson(
        OPERATION,
        "server shutting down",
        "The pooler has been told to shut down.",
        f"Connect again in a moment. {_RECONNECT}",
    ),
    Lesson(
        OPERATION,
        "pooler is shutting down",
        "The pooler has been told to shut down and takes no new clients.",
        f"Connect again in a moment. {_SAFE}",
    ),
    Lesson(
        OPERATION,
        "database removed",
        "The configuration was loaded again, and has no line for this database any more.",
        "Correct the database's name in the URL, or put its line back and RELOAD.",
    ),
    Lesson(
        OPERATION,
        "admin forced disconnect",
        "KILL or KILL_CLIENT was given on the pooler's console.",
        "Connect again, or ask who operates the pooler: its log has the command.",
    ),
    Lesson(
        OPERATION,
        "database configuration changed",
        "RELOAD or RECONNECT made this server connection obsolete, and server_fast_close is on.",
        f"Connect again. {_RECONNECT}",
    ),
    Lesson(OPERATION, "replication client was closed"),
    # --- protocol ---
    Lesson(
        PROTOCOL,
        "client sends data although its login is not over",
        hint="Wait for ReadyForQuery before the first query, as every driver does.",
    ),
    Lesson(
        PROTOCOL,
        "old V2 protocol not supported",
        "The client speaks the protocol that PostgreSQL dropped with version 14.",
        "Use a driver made after 2003; with JDBC leave out protocolVersion=2.",
    ),
    Lesson(
        PROTOCOL,
        "client requires a SCRAM channel binding that was not offered",
        "The pooler offers channel binding on TLS connections only, and only where its certificate"
        " allows it.",
        "Use sslmode=require with channel_binding=require, or leave the latter out.",
    ),
    Lesson(
        PROTOCOL,
        "client overlooks SCRAM channel binding, which was offered",
        "The client supports channel binding and was not offered it, though the pooler did:"
        " somebody in between has removed it.",
        "See who ends TLS between client and pooler.",
    ),
    Lesson(
        PROTOCOL,
        "... packet too large to be looked at",
        "A named prepared statement is kept whole, so its text may have 4 MiB.",
        "Use the unnamed statement for texts of this size.",
    ),
    Lesson(
        PROTOCOL,
        "unnamed prepared statement too large to follow its client",
        "Its text came in several reads and is too large to be kept, and the next transaction has"
        " another server.",
    ),
    Lesson(PROTOCOL, "bad packet header: ...", hint="Send less at once, or raise max_packet_size."),
    Lesson(PROTOCOL, "bad pkt header", hint="Ask for less at once, or raise max_packet_size."),
    # --- console ---
    Lesson(CONSOLE, "database ... is not paused", hint="SHOW DATABASES has a column paused."),
    Lesson(CONSOLE, "client not found", hint="SHOW CLIENTS has the ids of those that are here."),
    Lesson(CONSOLE, "a database is required", hint="Name one: SHOW DATABASES lists them."),
    Lesson(
        CONSOLE,
        "cannot ... admin db: ...",
        hint="Name another database; KILL_CLIENT and SHUTDOWN are for the console's own clients.",
    ),
    Lesson(CONSOLE, "admin access needed", hint="Name the user in admin_users, and RELOAD."),
    Lesson(
        CONSOLE,
        "PAUSE was ended by RESUME before all clients had finished",
        hint="SHOW CLIENTS tells who is in a transaction.",
    ),
    Lesson(
        CONSOLE,
        "RELOAD failed, see logs for additional details",
        hint="pgpool-lite check FILE lists everything that is wrong. The old configuration holds.",
    ),
    Lesson(CONSOLE, "SET failed", hint="SHOW CONFIG lists what there is to set."),
)

#: What is said of an error that has no lesson, by the class of who is to blame (`errors`).
OF_CLIENTS: Final = Lesson(
    PROTOCOL,
    "...",
    "The client sent what the wire protocol does not allow here. The pooler cannot tell where its"
    " next message begins, and closes it.",
    "Update the driver, or see whether something else than PostgreSQL's protocol is spoken to"
    " this port.",
)
OF_SERVERS: Final = Lesson(
    SERVERS,
    "...",
    "What answers at the server's address sent what the wire protocol does not allow here, so the"
    " connection is closed. What was not committed is rolled back.",
    "See that host= and port= of the database lead to PostgreSQL, and what stands in between.",
)

#: Sentences without DETAIL and HINT, each with the reason.
NEEDS_NONE: Final = {
    'prepared statement "..." already exists': "The console's, and PostgreSQL's own words.",
    'prepared statement "..." does not exist': "The console's, and PostgreSQL's own words.",
    'portal "..." does not exist': "The console's, and PostgreSQL's own words.",
    "too many ...: a console client may have ...": "It says what the limit is.",
    "unsupported format code in Bind": "A driver's bug, and it says which field.",
    "Bind has ... result formats for ... columns": "A driver's bug, and it says what is wrong.",
    "pooler is not paused": "Nothing has to be changed.",
    "replication client disconnected": "Said of a server that nobody is linked to.",
    "too many servers in the pool": "Said of a server that nobody is linked to.",
    "pause mode": "Said of a server that nobody is linked to.",
    "server idle timeout": "Said of a server that nobody is linked to.",
    "server lifetime over": "Said of a server that nobody is linked to.",
    "... (no answer)": "Said of a server that nobody is linked to.",
    "replication client was closed": "The client it is said to has closed already.",
}


def find_lesson(sentence: str) -> Lesson | None:
    """Return the lesson of a sentence as it is sent."""
    return next((each for each in LESSONS if each.pattern.fullmatch(sentence)), None)
