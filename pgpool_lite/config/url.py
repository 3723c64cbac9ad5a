"""Which server does a postgresql:// URL name? Reads it as libpq does, into a database's settings.

`load.py` calls `parse_url` for a run without a configuration file. No error message repeats the
URL, which usually holds a password.
"""

from __future__ import annotations

import getpass
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from urllib.parse import unquote

from pgpool_lite.config.databases import DatabaseSettings, parse_port
from pgpool_lite.config.values import SSL_MODE, SSL_NEGOTIATION, SslMode, SslNegotiation
from pgpool_lite.errors import ConfigError

_URL = re.compile(
    r"(?:postgresql|postgres)://(?P<authority>[^/?]*)(?:/(?P<dbname>[^?]*))?(?:\?(?P<query>.*))?",
    re.DOTALL,
)
# One host of the list: [IPv6], or anything without a colon; then maybe a port.
_HOST = re.compile(r"(?:\[(?P<ipv6>[^\]]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>[^:]*))?")

# Query parameters with a meaning here, and what reads their value into which field. libpq lets
# each of them override the part of the URL of the same name.
_PARAMETERS: Mapping[str, Callable[[str], object]] = {
    "host": str,
    "port": lambda text: parse_port([text]),
    "dbname": str,
    "user": str,
    "password": str,
    "sslmode": SSL_MODE.read,
    "sslnegotiation": SSL_NEGOTIATION.read,
    "sslrootcert": str,
    "sslcert": str,
    "sslkey": str,
    "application_name": str,
    "client_encoding": str,
}

_make: Callable[..., DatabaseSettings] = DatabaseSettings


def parse_url(url: str) -> tuple[DatabaseSettings, tuple[str, ...]]:
    """Return the database a URL names, and a warning for each query parameter of no effect.

    What the URL leaves out is libpq's default: port 5432, the operating system's user, a database
    named like the user, and a Unix socket where no host is given.
    """
    match = _URL.fullmatch(url.strip())
    if match is None:
        raise ConfigError("expected a URL such as postgresql://user:password@host:5432/dbname")
    try:
        values = _read_authority(match["authority"])
        if match["dbname"]:
            values["dbname"] = unquote(match["dbname"])
        warnings = _read_query(match["query"] or "", values)
    except ValueError as error:
        raise ConfigError(f"postgresql:// URL: {error}") from None
    database = _make(name="", **values)
    _refuse_weak_direct_tls(database)
    user = database.user or _user_of_system()
    return replace(database, user=user).named(database.dbname or user), warnings


def _refuse_weak_direct_tls(database: DatabaseSettings) -> None:
    """Raise, as libpq does, where direct TLS may be given up: there is nobody to ask for less."""
    weak = (None, SslMode.DISABLE, SslMode.ALLOW, SslMode.PREFER)
    if database.sslnegotiation is SslNegotiation.DIRECT and database.sslmode in weak:
        message = "sslnegotiation=direct needs sslmode=require, verify-ca or verify-full"
        raise ConfigError(f"postgresql:// URL: {message}")


def _read_authority(authority: str) -> dict[str, object]:
    """Return the fields written as user:password@host:port,host:port; what is empty is not set."""
    values: dict[str, object] = {}
    userinfo, _, hosts = authority.rpartition("@")
    user, _, password = userinfo.partition(":")
    if user:
        values["user"] = unquote(user)
    if password:
        values["password"] = unquote(password)
    names, ports = _read_hosts(hosts)
    if any(names):
        values["host"] = ",".join(names)
    if any(ports):
        values["port"] = parse_port(ports)
    return values


def _read_hosts(hosts: str) -> tuple[list[str], list[str]]:
    """Return the names and the ports, "" where one is left out, of a list of hosts."""
    names: list[str] = []
    ports: list[str] = []
    for each in hosts.split(","):
        match = _HOST.fullmatch(each)
        if match is None:
            raise ValueError("expected host, host:port or [IPv6 address]:port")
        names.append(unquote(match["ipv6"] or match["name"] or ""))
        ports.append(match["port"] or "")
    return names, ports


def _read_query(query: str, values: dict[str, object]) -> tuple[str, ...]:
    """Put the query's parameters into `values`; return warnings about those of no effect."""
    warnings: list[str] = []
    for pair in filter(None, query.split("&")):
        key, _, text = pair.partition("=")
        key = unquote(key)
        if key not in _PARAMETERS:
            warnings.append(f"the URL's parameter {key} is ignored")
        elif text:
            try:
                values[key] = _PARAMETERS[key](unquote(text))
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from None
    return tuple(warnings)


def _user_of_system() -> str:
    """Return the user libpq would log in as when nobody says."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        message = "the URL names no user, and the operating system has no name for this one"
        raise ConfigError(message) from None
