"""Every exception of pgpool_lite, typed by who is to blame, each with its SQLSTATE.

Whoever catches one of these at a connection's boundary can turn it into one ErrorResponse and one
log line without knowing what happened: `sqlstate`, the sentence, and the optional DETAIL and HINT
are all there. Nothing in this module knows about sockets, sessions or settings.

    PgPoolLiteError
    ├── ConfigError              the configuration is wrong
    ├── ClientError              the client is to blame, or must be told no
    │   ├── ClientProtocolError      it broke the wire protocol
    │   ├── LoginRejected            it may not come in
    │   ├── ServerAtFault            PostgreSQL broke the protocol, and it lost its server
    │   ├── LimitReached             it came too late, or waited or worked too long
    │   └── AlreadyTold              PostgreSQL has said so already, or nothing can be said
    └── ServerError              PostgreSQL is to blame
        ├── ServerProtocolError      it broke the wire protocol
        └── ServerLoginFailed        it could not be reached, or we cannot answer it
            └── ServerRefusedLogin       it said no
"""

from __future__ import annotations

from pathlib import Path

# SQLSTATEs, PostgreSQL documentation appendix A. PgBouncer answers nearly everything with 08P01,
# and drivers' tests have come to expect it, so 08P01 is the default here too (decisions.md).
PROTOCOL_VIOLATION = "08P01"
CONFIG_FILE_ERROR = "F0000"
FEATURE_NOT_SUPPORTED = "0A000"


class PgPoolLiteError(Exception):
    """An error that can be shown to a person: a sentence, an SQLSTATE, maybe DETAIL and HINT."""

    sqlstate = PROTOCOL_VIOLATION

    def __init__(
        self,
        message: str,
        *,
        sqlstate: str | None = None,
        detail: str = "",
        hint: str = "",
        remark: str = "",
    ) -> None:
        """Keep the sentence, and the SQLSTATE where it is not the class's own.

        `remark` is for the log only, in a line of its own: what an operator must know and a
        stranger must not.
        """
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint
        self.remark = remark
        if sqlstate is not None:
            self.sqlstate = sqlstate


class ConfigError(PgPoolLiteError):
    """The configuration is wrong; says in which file, on which line, under which key."""

    sqlstate = CONFIG_FILE_ERROR

    def __init__(
        self, message: str, *, file: Path | None = None, line: int | None = None, key: str = ""
    ) -> None:
        """Prefix the sentence with where it is wrong, as far as that is known."""
        place = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        super().__init__(f"{place}{key + ': ' if key else ''}{message}")
        self.file = file
        self.line = line
        self.key = key


class ClientError(PgPoolLiteError):
    """A client is to blame or must be told no; it gets this as a FATAL ErrorResponse."""


class ClientProtocolError(ClientError):
    """A client sent what the wire protocol does not allow here."""


class LoginRejected(ClientError):
    """A client may not come in: unknown, unproven, or not wanted now."""


class LimitReached(ClientError):
    """A limit or a timeout ended a client's connection."""


class ServerAtFault(ClientError):
    """A client is closed because its server broke the wire protocol; it is told the same."""


class AlreadyTold(ClientError):
    """A client is closed and gets nothing from us.

    It has heard why from PostgreSQL itself, or has got half a message, whose rest it would take our
    words for.
    """


class ServerError(PgPoolLiteError):
    """A server connection is lost; the client linked to it, if any, is told why."""


class ServerProtocolError(ServerError):
    """PostgreSQL, or whatever answers at its address, sent what the protocol does not allow."""


class ServerLoginFailed(ServerError):
    """A server connection could not be opened or logged in."""

    #: As PostgreSQL named it, where these are its words; FATAL in practice.
    severity = ""


class ServerRefusedLogin(ServerLoginFailed):
    """PostgreSQL answered our login, and said no.

    Who waits is told so at once. After any other failure they go on waiting, for a server that is
    merely down may come back in time.
    """
