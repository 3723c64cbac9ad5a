"""Which TLS do the settings ask for, towards clients and towards servers?

`Tls` holds what is in force. The runtime has it read the settings, and all certificates with them,
at start, RELOAD and SET; connections ask it when they begin. What cannot be set up is a ConfigError
that names key and file, and what was in force before stays so: a broken file costs nobody anything.

PgBouncer's settings client_tls_* and server_tls_*; libpq's sslmode in a URL, for its one database.
"""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pgpool_lite.config import Config, DatabaseSettings, Settings, SslMode, SslNegotiation
from pgpool_lite.errors import ConfigError
from pgpool_lite.proxy.ciphersuites import set_ciphersuites
from pgpool_lite.proxy.tls_transport import READ_SIZE
from pgpool_lite.session.client_login import Encryption
from pgpool_lite.wire.channel_binding import end_point_binding

#: In place of a file of roots: those that the operating system trusts. libpq's word.
SYSTEM: Final = "system"

#: What both ends of direct TLS must name. PostgreSQL documentation, "SSL Session Encryption".
ALPN_PROTOCOL: Final = "postgresql"

_VERSIONS: Final = {
    "tlsv1.0": ssl.TLSVersion.TLSv1,
    "tlsv1.1": ssl.TLSVersion.TLSv1_1,
    "tlsv1.2": ssl.TLSVersion.TLSv1_2,
    "tlsv1.3": ssl.TLSVersion.TLSv1_3,
}
_SECURE: Final = frozenset({"tlsv1.2", "tlsv1.3"})
_SHORTCUTS: Final = {
    "all": frozenset(_VERSIONS),
    "legacy": frozenset(_VERSIONS),
    "tlsv1": frozenset(_VERSIONS),
    "secure": _SECURE,
    "default": _SECURE,
}
#: How a version in the middle of a list is left out.
_OPTIONS: Final = {"tlsv1.1": ssl.OP_NO_TLSv1_1, "tlsv1.2": ssl.OP_NO_TLSv1_2}
#: PgBouncer's words for OpenSSL's own choice of ciphers.
_DEFAULT_CIPHERS: Final = ("default", "secure", "fast", "normal")

_REQUIRED: Final = (SslMode.REQUIRE, SslMode.VERIFY_CA, SslMode.VERIFY_FULL)
_NEITHER: Final = {SslMode.DISABLE}
_VERIFIED: Final = (SslMode.VERIFY_CA, SslMode.VERIFY_FULL)


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """The settings that one context is made of."""

    #: "client" or "server": whom we speak to, and how the settings' names begin.
    side: str
    mode: SslMode
    protocols: str
    ciphers: str
    tls13_ciphers: str
    cert_file: str
    key_file: str
    ca_file: str
    ecdh_curve: str = "auto"

    def wrong(self, name: str, message: str) -> ConfigError:
        """Return the error that says what is wrong with client_tls_`name` or server_tls_`name`."""
        return ConfigError(message, key=f"{self.side}_tls_{name}")


@dataclass(frozen=True, slots=True)
class ClientTls:
    """How clients are answered that ask for TLS."""

    context: ssl.SSLContext
    #: Clients without TLS are refused.
    is_required: bool
    #: What SCRAM-SHA-256-PLUS binds to, a hash of our certificate; b"" where it cannot.
    channel_binding: bytes = b""

    def offered(self, *, is_unix: bool) -> Encryption:
        """Return what a client may have; those on a Unix socket have none, and need none."""
        if is_unix:
            return Encryption.UNAVAILABLE
        return Encryption.REQUIRED if self.is_required else Encryption.OFFERED


@dataclass(frozen=True, slots=True)
class ServerTls:
    """How a server is asked for TLS."""

    context: ssl.SSLContext
    #: A server without TLS is given up.
    is_required: bool
    #: The handshake begins at once, without asking.
    is_direct: bool = False


class Tls:
    """The TLS in force. Owned by the runtime."""

    def __init__(self) -> None:
        """Begin with no TLS at all; see `apply`."""
        #: How clients are answered; None where they are told that there is no TLS.
        self.client: ClientTls | None = None
        #: Where connections read to; one thread has one event loop, and one read at a time.
        self.buffer = memoryview(bytearray(READ_SIZE))
        #: What counts for databases that do not bring their own.
        self._server = _server_settings(Settings(server_tls_sslmode=SslMode.DISABLE))
        #: Those of databases that a reload has dropped stay, as some of their clients do.
        self._server_contexts: dict[TlsSettings, ssl.SSLContext] = {}

    def apply(self, config: Config) -> bool:
        """Put the settings in force, reading every file again: all of them, or none.

        Returns whether servers are to be spoken to in another way than before. Raises ConfigError.
        """
        try:
            client = _client_tls(config.settings)
            server = _server_settings(config.settings)
            wanted = {server, *(_of_database(server, each) for each in _databases(config))}
            used = [each for each in wanted if each.mode is not SslMode.DISABLE]
            contexts = {each: _make_context(each) for each in used}
        except ConfigError as error:
            raise ConfigError(f"TLS setup failed: {error.message}") from None
        has_changed = server != self._server and {server.mode, self._server.mode} != _NEITHER
        self.client, self._server = client, server
        self._server_contexts.update(contexts)
        return has_changed

    def towards(self, database: DatabaseSettings) -> ServerTls | None:
        """Return how the server of a database is asked for TLS; None where it is not."""
        wanted = _of_database(self._server, database)
        if wanted.mode is SslMode.DISABLE:
            return None
        is_direct = database.sslnegotiation is SslNegotiation.DIRECT
        return ServerTls(self._server_contexts[wanted], wanted.mode in _REQUIRED, is_direct)


def _databases(config: Config) -> list[DatabaseSettings]:
    return [*config.databases.values(), *filter(None, [config.fallback])]


def _of_database(common: TlsSettings, database: DatabaseSettings) -> TlsSettings:
    """Return what counts towards a database's server: its URL's word, else the settings'."""
    return replace(
        common,
        mode=database.sslmode or common.mode,
        ca_file=database.sslrootcert or common.ca_file,
        cert_file=database.sslcert or common.cert_file,
        key_file=database.sslkey or common.key_file,
    )


def _client_tls(settings: Settings) -> ClientTls | None:
    mode = settings.client_tls_sslmode
    if mode is SslMode.DISABLE:
        return None
    wanted = TlsSettings(
        "client",
        mode,
        settings.client_tls_protocols,
        settings.client_tls_ciphers,
        settings.client_tls13_ciphers,
        settings.client_tls_cert_file,
        settings.client_tls_key_file,
        settings.client_tls_ca_file,
        settings.client_tls_ecdhcurve,
    )
    for name, value in (("cert_file", wanted.cert_file), ("key_file", wanted.key_file)):
        if not value:
            raise wanted.wrong(name, "must be set to allow TLS connections from clients")
    if mode in _VERIFIED and not wanted.ca_file:
        raise wanted.wrong("ca_file", f"must be set for client_tls_sslmode = {mode}")
    context = _make_context(wanted)
    return ClientTls(context, mode in _REQUIRED, _own_binding(wanted.cert_file))


def _own_binding(cert_file: str) -> bytes:
    """Return the channel binding of the first certificate in a file: our own."""
    _, _, rest = Path(cert_file).read_text(errors="replace").partition(ssl.PEM_HEADER)
    body, footer, _ = rest.partition(ssl.PEM_FOOTER)
    if not footer:
        return b""  # in one of OpenSSL's own formats
    return end_point_binding(ssl.PEM_cert_to_DER_cert(ssl.PEM_HEADER + body + footer))


def _server_settings(settings: Settings) -> TlsSettings:
    return TlsSettings(
        "server",
        settings.server_tls_sslmode,
        settings.server_tls_protocols,
        settings.server_tls_ciphers,
        settings.server_tls13_ciphers,
        settings.server_tls_cert_file,
        settings.server_tls_key_file,
        settings.server_tls_ca_file,
    )


# --- one context ---


def _make_context(wanted: TlsSettings) -> ssl.SSLContext:
    """Return a context with these settings; reads their files. Raises ConfigError."""
    is_server = wanted.side == "client"  # we are the server of our clients
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols([ALPN_PROTOCOL])
    context.options |= ssl.OP_NO_RENEGOTIATION
    _set_protocols(context, wanted)
    _set_ciphers(context, wanted)
    if is_server:
        # Nobody resumes sessions with PostgreSQL; each ticket would be made and sent in vain.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
        _set_curve(context, wanted)
    if wanted.cert_file:
        _load_certificate(context, wanted)
    _set_verification(context, wanted, is_server=is_server)
    return context


def _set_verification(context: ssl.SSLContext, wanted: TlsSettings, *, is_server: bool) -> None:
    """Decide what is asked of the other end's certificate."""
    is_verified = wanted.mode in _VERIFIED
    context.check_hostname = not is_server and wanted.mode is SslMode.VERIFY_FULL
    if is_verified:
        context.verify_mode = ssl.CERT_REQUIRED
    elif is_server and wanted.ca_file:
        context.verify_mode = ssl.CERT_OPTIONAL  # it need not be there, but must be good
    else:
        context.verify_mode = ssl.CERT_NONE
    if context.verify_mode is ssl.CERT_NONE:
        return
    file = wanted.ca_file
    if file and file != SYSTEM:
        _read(wanted, "ca_file", file, lambda: context.load_verify_locations(file))
    elif wanted.mode is SslMode.VERIFY_FULL:
        context.load_default_certs()  # the system's
    else:
        # Whoever has any certificate of the system's authorities would pass.
        raise wanted.wrong("ca_file", f"must name a file for sslmode {wanted.mode}")


def _load_certificate(context: ssl.SSLContext, wanted: TlsSettings) -> None:
    key_file = wanted.key_file or wanted.cert_file
    _read(wanted, "cert_file", wanted.cert_file, lambda: None)
    _read(
        wanted,
        "key_file",
        key_file,
        lambda: context.load_cert_chain(wanted.cert_file, key_file, _no_passphrase),
    )


def _read(wanted: TlsSettings, name: str, file: str, load: Callable[[], None]) -> None:
    """Have a file loaded; ssl's own errors do not say which file they mean."""
    try:
        with Path(file).open("rb"):
            load()
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).lower().replace("_", " ")
        raise wanted.wrong(name, f"{file}: {reason}") from None
    except OSError as error:
        raise wanted.wrong(name, f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise wanted.wrong(name, f"{file}: {error}") from None


def _no_passphrase() -> str:
    """Answer OpenSSL, which would ask on the terminal."""
    raise ValueError("the key is protected by a passphrase, which nobody could type in")


def _set_protocols(context: ssl.SSLContext, wanted: TlsSettings) -> None:
    chosen = [name for name in _VERSIONS if name in _read_protocols(wanted)]
    if not chosen:
        raise wanted.wrong("protocols", "no version of TLS is left")
    with warnings.catch_warnings():
        # Python warns of TLS 1.0 and 1.1, which the operator has chosen knowingly.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = _VERSIONS[chosen[0]]
        context.maximum_version = _VERSIONS[chosen[-1]]
        for name, option in _OPTIONS.items():
            if chosen[0] < name < chosen[-1] and name not in chosen:
                context.options |= option


def _read_protocols(wanted: TlsSettings) -> set[str]:
    """Return the versions that a list like `tlsv1.2:tlsv1.3` or `all:!tlsv1.0` leaves."""
    chosen: set[str] = set()
    for word in (wanted.protocols or "secure").lower().replace(",", ":").split(":"):
        name = word.strip()
        is_excluded, name = name.startswith("!"), name.removeprefix("!")
        named = {name} if name in _VERSIONS else _SHORTCUTS.get(name)
        if named is None:
            allowed = ", ".join((*_SHORTCUTS, *_VERSIONS))
            raise wanted.wrong("protocols", f"expected some of {allowed}, not {name}")
        if is_excluded:
            chosen = (chosen or set(_VERSIONS)) - named
        else:
            chosen |= named
    return chosen


def _set_ciphers(context: ssl.SSLContext, wanted: TlsSettings) -> None:
    text = wanted.ciphers or "default"
    if text.lower() in _DEFAULT_CIPHERS:
        text = "DEFAULT"
    try:
        context.set_ciphers("ALL" if text.lower() == "all" else text)
    except ssl.SSLError:
        raise wanted.wrong("ciphers", f"no ciphers for '{text}'") from None
    try:
        set_ciphersuites(context, wanted.tls13_ciphers)
    except ValueError as error:
        raise ConfigError(str(error), key=f"{wanted.side}_tls13_ciphers") from None


def _set_curve(context: ssl.SSLContext, wanted: TlsSettings) -> None:
    """Name the one curve of the key exchange; PgBouncer's auto and none leave OpenSSL's."""
    name = wanted.ecdh_curve
    if name and name.lower() not in ("auto", "none"):
        try:
            context.set_ecdh_curve(name)
        except (ValueError, ssl.SSLError):
            raise wanted.wrong("ecdhcurve", f"OpenSSL knows no curve {name}") from None
