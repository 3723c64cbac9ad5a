"""What may stand behind a key, and how is it shown? The kinds of values a configuration has.

`settings.py` and `databases.py` give each of their fields a `Kind`. A kind reads text into a
Python value or raises ValueError with a sentence that says what is allowed, and shows the value
as PgBouncer's SHOW CONFIG does. Nothing here knows a key, a file or a default.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from pgpool_lite.config.profiles import NAMES as NAMES_OF_PROFILES

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)


class PoolMode(StrEnum):
    """When a server is released: after the session, the transaction, or each statement."""

    SESSION = "session"
    TRANSACTION = "transaction"
    STATEMENT = "statement"


class AuthType(StrEnum):
    """How clients prove who they are: the methods PgBouncer has."""

    ANY = "any"
    TRUST = "trust"
    PLAIN = "plain"
    MD5 = "md5"
    SCRAM_SHA_256 = "scram-sha-256"
    CERT = "cert"
    HBA = "hba"
    LDAP = "ldap"
    PAM = "pam"


# The methods that can be carried out; ldap and pam ask services of others. Those are refused at
# start-up: letting clients in by another method than the one written down would be a hole, not a
# missing feature.
SUPPORTED_AUTH_TYPES = (
    AuthType.TRUST,
    AuthType.PLAIN,
    AuthType.MD5,
    AuthType.SCRAM_SHA_256,
    AuthType.CERT,
    AuthType.HBA,
    AuthType.ANY,
)


class SslMode(StrEnum):
    """How much a connection insists on TLS, as libpq names it."""

    DISABLE = "disable"
    ALLOW = "allow"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


class SslNegotiation(StrEnum):
    """How TLS begins, as libpq names it: after asking for it, or at once."""

    POSTGRES = "postgres"
    DIRECT = "direct"


class LoadBalanceHosts(StrEnum):
    """Which host of a list the next server connection goes to."""

    ROUND_ROBIN = "round-robin"
    DISABLE = "disable"


class PreparedStatements(StrEnum):
    """What happens to named prepared statements; `DECIDED` means by max_prepared_statements."""

    REWRITE = "rewrite"
    REJECT = "reject"
    PASS = "pass"
    DECIDED = ""


class SqlPreparedStatements(StrEnum):
    """What happens to DEALLOCATE, PREPARE and EXECUTE in SQL."""

    PASS = "pass"  # they go to the server as they are, as in PgBouncer
    TRACK = "track"  # DEALLOCATE finds what was prepared by the protocol; the others are refused


class PreparedStatementErrors(StrEnum):
    """How a client hears that a statement's name is taken, or unknown."""

    PGBOUNCER = "pgbouncer"  # FATAL 08P01, and the connection is closed
    POSTGRES = "postgres"  # ERROR 42P05 or 26000, and the connection goes on


class SessionLeaks(StrEnum):
    """What happens when a client leaves session state behind on a shared server."""

    OFF = "off"  # nobody looks
    WARN = "warn"  # it is told and logged, and so is who finds it
    ERROR = "error"  # the statement is refused
    PIN = "pin"  # the client keeps its server until it disconnects
    RESET = "reset"  # the server is cleaned of it before its next client


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """One kind of value: how it is read, and how SHOW CONFIG shows it."""

    # Raises ValueError with a whole sentence when the text is not allowed.
    read: Callable[[str], T]
    show: Callable[[T], str] = str


# C's strtol with base 0, which PgBouncer reads every number with: 0x1ff, 0777 and 511 are one.
_NUMBER = re.compile(
    r"(?P<sign>[+-]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|0(?P<octal>[0-7]+)|(?P<dec>0|[1-9][0-9]*))"
)
# C's strtod without hexadecimal, infinity and NaN: a timeout is none of these.
_SECONDS = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")

# A C int's largest value; PgBouncer lets larger numbers wrap around, we refuse them.
MAX_INT = 2**31 - 1
# Its `max_packet_size` is the one unsigned int.
MAX_UNSIGNED = 2**32 - 1


def _read_number(text: str) -> int | None:
    """Return the number C would read from the whole text, or None."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    if match["hex"]:
        return int(match["sign"] + match["hex"], 16)
    if match["octal"]:
        return int(match["sign"] + match["octal"], 8)
    return int(match["sign"] + match["dec"])


def count(low: int = 0, high: int = MAX_INT) -> Kind[int]:
    """Return the kind of whole numbers from `low` to `high`."""

    def read(text: str) -> int:
        number = _read_number(text)
        if number is None or not low <= number <= high:
            raise ValueError(f"expected a whole number from {low} to {high}, not {text!r}")
        return number

    return Kind(read)


def _read_flag(text: str) -> bool:
    number = _read_number(text)
    if number is None:
        raise ValueError(f"expected 0 or 1, not {text!r}")
    return number != 0


def _read_switch(text: str) -> bool:
    if text.lower() in ("on", "off"):
        return text.lower() == "on"
    number = _read_number(text)
    if number is None:
        raise ValueError(f"expected on or off, not {text!r}")
    return number != 0


def _read_seconds(text: str) -> float:
    value = float(text) if _SECONDS.fullmatch(text) else -1.0
    # 1e400 matches, and is infinite.
    if not 0 <= value <= MAX_INT:
        raise ValueError(f"expected a number of seconds, 0 or more such as 5 or 0.5, not {text!r}")
    return value


def _read_names(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def choice(options: type[E]) -> Kind[E]:
    """Return the kind of an enum's values, written in any case as PgBouncer allows."""

    def read(text: str) -> E:
        try:
            return options(text.lower())
        except ValueError:
            allowed = ", ".join(option.value or "(empty)" for option in options)
            raise ValueError(f"expected one of {allowed}, not {text!r}") from None

    return Kind(read)


def _read_auth_type(text: str) -> AuthType:
    auth_type = choice(AuthType).read(text)
    if auth_type not in SUPPORTED_AUTH_TYPES:
        allowed = ", ".join(SUPPORTED_AUTH_TYPES)
        raise ValueError(f"{auth_type} is not supported by pgpool_lite; expected one of {allowed}")
    return auth_type


def _read_auth_dbname(text: str) -> str:
    if text == "pgbouncer":
        raise ValueError('cannot use the reserved "pgbouncer" database as an auth_dbname')
    return text


def split_address(text: str) -> tuple[str, int]:
    """Return host and port of `host:port` or `[IPv6]:port`; ValueError if it is neither."""
    host, _, port = text.rpartition(":")
    number = int(port) if port.isdecimal() and len(port) <= 5 else -1
    if not host or not 0 <= number <= 65535 or (":" in host) != host.startswith("["):
        raise ValueError(f"expected host:port, such as 127.0.0.1:8080 or [::1]:8080, not {text!r}")
    return host.strip("[]"), number


def _read_address(text: str) -> str:
    if text:
        split_address(text)
    return text


def _read_profile(text: str) -> str:
    if text not in NAMES_OF_PROFILES:
        raise ValueError(f"expected one of {', '.join(NAMES_OF_PROFILES)}, not {text!r}")
    return text


def unset_at(kind: Kind[T], *unset: int) -> Kind[T | None]:
    """Return the kind that reads the numbers in `unset`, PgBouncer's "not set", as None."""

    spellings = {spelling for number in unset for spelling in (f"{number}", f"{number}.0")}

    def read(text: str) -> T | None:
        return None if text in spellings else kind.read(text)

    return Kind(read)


TEXT: Kind[str] = Kind(str)
PROFILE: Kind[str] = Kind(_read_profile)
ADDRESS: Kind[str] = Kind(_read_address)
FLAG: Kind[bool] = Kind(_read_flag, lambda value: "1" if value else "0")
# PgBouncer shows times with C's %g, so 1000000 s is 1e+06.
SECONDS: Kind[float] = Kind(_read_seconds, lambda value: f"{value:g}")
SWITCH: Kind[bool] = Kind(_read_switch, lambda value: "on" if value else "off")
NAMES: Kind[tuple[str, ...]] = Kind(_read_names, ", ".join)
AUTH_TYPE: Kind[AuthType] = Kind(_read_auth_type)
AUTH_DBNAME: Kind[str] = Kind(_read_auth_dbname)
POOL_MODE: Kind[PoolMode] = choice(PoolMode)
SESSION_LEAKS: Kind[SessionLeaks] = choice(SessionLeaks)
SSL_MODE: Kind[SslMode] = choice(SslMode)
SSL_NEGOTIATION: Kind[SslNegotiation] = choice(SslNegotiation)
LOAD_BALANCE_HOSTS: Kind[LoadBalanceHosts] = choice(LoadBalanceHosts)
PREPARED_STATEMENTS: Kind[PreparedStatements] = choice(PreparedStatements)
PREPARED_STATEMENT_ERRORS: Kind[PreparedStatementErrors] = choice(PreparedStatementErrors)
SQL_PREPARED_STATEMENTS: Kind[SqlPreparedStatements] = choice(SqlPreparedStatements)
