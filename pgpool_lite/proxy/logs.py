"""How does the log look? PgBouncer's lines, which people and tools have learned to read.

    2026-11-21 20:15:02.031 UTC [4711] LOG C-0x2a: app/alice@127.0.0.1:50508 login attempt: ...
    2026-11-21 20:15:02.035 UTC [4711] LOG S-0x2b: app/alice@127.0.0.1:5432 closing because: ...

Everything goes through the standard library's logger `pgpool_lite`, so that a program which uses
`Pooler` decides itself what becomes of it; only the command line installs the format above.
"""

from __future__ import annotations

import logging
import sys
import syslog
import time
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pgpool_lite.config import Settings
from pgpool_lite.errors import ConfigError, PgPoolLiteError, ServerError, ServerLoginFailed
from pgpool_lite.pool.pool import Pool
from pgpool_lite.pool.stats import COUNTER_NAMES, Averages
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.replication import Replication
from pgpool_lite.session.server import ServerSession

if TYPE_CHECKING:
    Adapter = logging.LoggerAdapter[logging.Logger]
else:
    Adapter = logging.LoggerAdapter

LOGGER = logging.getLogger("pgpool_lite")

_LEVELS = {logging.INFO: "LOG", logging.CRITICAL: "FATAL"}
_FACILITIES = (
    *("auth", "cron", "daemon", "kern", "lpr", "mail", "news", "syslog", "user", "uucp"),
    *(f"local{number}" for number in range(8)),
)
_PRIORITIES = {
    logging.DEBUG: syslog.LOG_DEBUG,
    logging.INFO: syslog.LOG_INFO,
    logging.WARNING: syslog.LOG_WARNING,
    logging.ERROR: syslog.LOG_ERR,
    logging.CRITICAL: syslog.LOG_CRIT,
}


class PgBouncerFormatter(logging.Formatter):
    """Writes a record as PgBouncer would."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line: UTC time to the millisecond, pid, level, message."""
        seconds = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(record.created))
        level = _LEVELS.get(record.levelno, record.levelname)
        message = super().format(record)
        if not record.exc_info:
            message = _on_one_line(message)
        return f"{seconds}.{int(record.msecs):03d} UTC [{record.process}] {level} {message}"


def _on_one_line(message: str) -> str:
    """Return a message that neither begins another line nor breaks the encoding.

    Strangers' names stand in it, which may be any bytes.
    """
    if message.isprintable():
        return message
    return "".join(each if each.isprintable() else "?" for each in message)


class SyslogHandler(logging.Handler):
    """Sends records to the system's log, which adds time and process itself."""

    def __init__(self, ident: str, facility: str) -> None:
        """Log as `ident` to a facility by its name in syslog(3); raises ConfigError."""
        super().__init__()
        if facility.lower() not in _FACILITIES:
            raise ConfigError(
                f"expected one of {', '.join(_FACILITIES)}, not {facility!r}",
                key="syslog_facility",
            )
        if not ident.isprintable():
            raise ConfigError("expected printable text in UTF-8", key="syslog_ident")
        syslog.openlog(ident, syslog.LOG_PID, getattr(syslog, f"LOG_{facility.upper()}"))

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        level = _LEVELS.get(record.levelno, record.levelname)
        message = _on_one_line(record.getMessage())
        syslog.syslog(_PRIORITIES.get(record.levelno, syslog.LOG_INFO), f"{level} {message}")


def open_log(settings: Settings, *, is_quiet: bool) -> None:
    """Send the log where the settings say: to `logfile`, to syslog, to stderr unless quiet.

    Called at start and again on RELOAD, which is how a rotated file is let go of. Raises
    ConfigError, and then the log goes on where it went.
    """
    handlers: list[logging.Handler] = []
    if settings.logfile:
        try:
            handlers.append(logging.FileHandler(Path(settings.logfile), encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"cannot write to it: {error}", key="logfile") from None
    if settings.syslog:
        handlers.append(SyslogHandler(settings.syslog_ident, settings.syslog_facility))
    if not is_quiet:
        handlers.append(logging.StreamHandler(sys.stderr))
    for handler in list(LOGGER.handlers):
        LOGGER.removeHandler(handler)
        handler.close()
    for handler in handlers or [logging.NullHandler()]:
        handler.setFormatter(PgBouncerFormatter())
        LOGGER.addHandler(handler)
    LOGGER.propagate = False
    set_verbosity(settings.verbose)


def set_verbosity(verbose: int) -> None:
    """Show debug lines when `verbose` is above 0."""
    LOGGER.setLevel(logging.DEBUG if verbose else logging.INFO)


class _Prefixed(Adapter):
    """Puts the name of a connection in front of its lines."""

    def __init__(self, prefix: str) -> None:
        super().__init__(LOGGER, {})
        self._prefix = prefix.replace("%", "%%")  # names stand in it, and formats follow

    def process(
        self, msg: object, kwargs: MutableMapping[str, object]
    ) -> tuple[object, MutableMapping[str, object]]:
        return f"{self._prefix} {msg}", kwargs


class Stranger(NamedTuple):
    """A client that has not come in, by the names that it has given itself."""

    id: int
    database: str
    user: str
    address: tuple[str, int]
    pid: int = 0


class ConnectionLog:
    """Writes what happens to connections, as far as log_connections and its kin allow it."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        """Ask `settings` each time, for they change on RELOAD."""
        self._settings = settings

    def client(self, client: ClientSession, pool: Pool) -> Adapter:
        """Return a log whose lines begin with this client's name."""
        user = client.user or pool.user  # the name that it came with
        where = place(client.connection.address, client.peer_pid)
        return _Prefixed(_prefix("C", client.id, pool, user, where))

    def server(self, server: ServerSession, pool: Pool) -> Adapter:
        """Return a log whose lines begin with this server's name."""
        where = place(server.connection.address)
        return _Prefixed(_prefix("S", server.id, pool, pool.user, where))

    def login_attempt(
        self,
        stranger: Stranger,
        database: str,
        user: str,
        tls: str,
        replication: Replication | None = None,
    ) -> None:
        """Note that a client has named its database and user; log_connections wants it."""
        kind = "no" if replication is None else replication.kind.parameter
        LOGGER.info(
            "C-0x%x: %s/%s@%s login attempt: db=%s user=%s tls=%s replication=%s",
            *(stranger.id, database, user, place(stranger.address, stranger.pid)),
            *(database, user, tls or "no", kind),
        )

    def server_opened(self, server: ServerSession, pool: Pool, local: tuple[str, int]) -> None:
        """Note that a server connection is established; its login follows."""
        if self._settings().log_connections:
            line = "new connection to server (from %s)" if local[1] else "new connection to server"
            self.server(server, pool).info(line, *([place(local)] if local[1] else ()))

    def login_failed(self, server: ServerSession, pool: Pool, error: ServerError) -> None:
        """Note why a server connection could not be had; what PostgreSQL said begins with FATAL."""
        if isinstance(error, ServerLoginFailed) and error.severity:
            reason = f"{error.severity} {error.message}"
        else:
            reason = f"{error.message} ({error.detail})" if error.detail else error.message
        self.server(server, pool).warning("server login failed: %s", reason)

    def tls_established(self, server: ServerSession, pool: Pool) -> None:
        """Note that a server connection is encrypted."""
        if self._settings().log_connections:
            self.server(server, pool).info("SSL established: %s", server.connection.tls)

    def connect_query_refused(self, server: ServerSession, pool: Pool) -> None:
        """Note, in PgBouncer's words, that a server refused its connect_query; it is used still."""
        refusal = server.own_refusal
        self.server(server, pool).error("error while executing exec_on_query: %s", refusal)

    def client_closed(self, client: ClientSession, pool: Pool, reason: str, now: float) -> None:
        """Note that a client's connection ends, and why; log_disconnections wants it."""
        age_s = now - client.connected_at
        self.client(client, pool).info("closing because: %s (age=%ds)", reason, age_s)

    def server_closed(self, server: ServerSession, pool: Pool, reason: str, now: float) -> None:
        """Note that a server connection ends, and why."""
        if self._settings().log_disconnections:
            self.server(server, pool).info(
                "closing because: %s (age=%ds)", reason, now - server.connected_at
            )

    def cancel_given_up(self, pool: Pool, waited_s: float) -> None:
        """Note that a cancel request is not carried any further: cancel_wait_timeout."""
        if self._settings().log_disconnections:
            line = "C: %s/%s closing because: cancel_wait_timeout (age=%ds)"
            LOGGER.info(line, pool.database.name, pool.user, waited_s)

    def pool_forgotten(self, pool: Pool, idle_s: float) -> None:
        """Note that a pool in which nobody was for long is given up."""
        line = "cleaning up idle pool for user %s on db %s because: pool idle timeout (age= %ds)"
        LOGGER.info(line, pool.user, pool.database.name, idle_s)

    def client_said_no(self, client: ClientSession, pool: Pool, error: PgPoolLiteError) -> None:
        """Note the error that a client is shown."""
        if error.remark:
            self.client(client, pool).error("%s", error.remark)
        if self._settings().log_pooler_errors:
            self.client(client, pool).warning("pooler error: %s", error.message)

    def stats(self, databases: list[Averages]) -> None:
        """Write the line of statistics that ends a period."""
        total = {name: sum(getattr(one, name) for one in databases) for name in COUNTER_NAMES}
        LOGGER.info(
            "stats: %(xact_count)d xacts/s, %(query_count)d queries/s, "
            "%(client_parse_count)d client parses/s, %(server_parse_count)d server parses/s, "
            "%(bind_count)d binds/s, in %(bytes_received)d B/s, out %(bytes_sent)d B/s, "
            "xact %(xact_time)d us, query %(query_time)d us, wait %(wait_time)d us",
            total,
        )

    def stranger(self, stranger: Stranger) -> Adapter:
        """Return a log whose lines begin with the name of a client that has not come in."""
        address = place(stranger.address, stranger.pid)
        return _Prefixed(f"C-0x{stranger.id:x}: {stranger.database}/{stranger.user}@{address}")

    def stranger_closed(self, stranger: Stranger, reason: str, age_s: float) -> None:
        """Note that the connection of a client ends which has not come in."""
        if self._settings().log_disconnections:
            self.stranger(stranger).info("closing because: %s (age=%ds)", reason, age_s)

    def stranger_said_no(self, stranger: Stranger, error: PgPoolLiteError) -> None:
        """Note the error that somebody is shown who has not come in."""
        if self._settings().log_pooler_errors:
            self.stranger(stranger).warning("pooler error: %s", error.message)


def _prefix(kind: str, session_id: int, pool: Pool, user: str, where: str) -> str:
    return f"{kind}-0x{session_id:x}: {pool.database.name}/{user}@{where}"


def place(address: tuple[str, int], pid: int = 0) -> str:
    """Return host and port in one word, an IPv6 address in brackets, a local process by number."""
    host, port = address
    if pid:
        return f"{host}({pid}):{port}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
