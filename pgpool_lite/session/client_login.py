"""How does a client get in? From its first byte to the proof of who it is.

A `ClientLogin` belongs to one new connection and ends when the client is authenticated, wants a
query canceled, or is refused. It decides nothing about users and databases: it stops at the
StartupMessage (step STARTUP), and whoever drives it looks the user up and calls `challenge`.

      NEGOTIATING ──► ADMISSION ──► PROVING ──► DONE
        SSLRequest      the driver    password or
        GSSENCRequest   looks the     SASL exchange
        StartupMessage  user up
        CancelRequest ──► CANCELING, where nothing counts any more

TLS is the driver's too: at step TLS it encrypts the socket, and goes on with what it decrypts.

PostgreSQL documentation, "Message Flow: Start-up", "SSL Session Encryption", "SASL Authentication".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from pgpool_lite.errors import ClientProtocolError, ConfigError, LoginRejected
from pgpool_lite.wire import backend, codes, passwords
from pgpool_lite.wire.framing import message_end
from pgpool_lite.wire.frontend import (
    CancelKey,
    StartupMessage,
    decode_cancel_request,
    decode_query,
    decode_sasl_initial,
    decode_startup,
    startup_code,
    startup_size,
)
from pgpool_lite.wire.randomness import draw, draw_nonce
from pgpool_lite.wire.scram import ScramSecret, ScramServer

#: A password may have 65,535 characters in PgBouncer; nothing in a login is longer.
MAX_LOGIN_MESSAGE: Final = 70_000

SCRAM_MECHANISM: Final = "SCRAM-SHA-256"
_MECHANISM: Final = SCRAM_MECHANISM.encode()
#: The same, tied to the TLS connection.
SCRAM_PLUS_MECHANISM: Final = "SCRAM-SHA-256-PLUS"
_PLUS_MECHANISM: Final = SCRAM_PLUS_MECHANISM.encode()

_SCRAM_OFFER: Final = backend.authentication_sasl([SCRAM_MECHANISM])
_SCRAM_PLUS_OFFER: Final = backend.authentication_sasl([SCRAM_PLUS_MECHANISM, SCRAM_MECHANISM])

#: First byte of the record that a TLS handshake begins with. No StartupMessage has it, which would
#: be 370 MB long.
_TLS_RECORD: Final = 0x16

_ENCRYPTIONS: Final = {codes.SSL_REQUEST: "SSL", codes.GSSENC_REQUEST: "GSSAPI encryption"}


class Method(Enum):
    """How a client must prove who it is."""

    TRUST = auto()
    CLEARTEXT = auto()
    MD5 = auto()
    SCRAM = auto()


class Encryption(Enum):
    """What a connection can be told about TLS, and what has become of it."""

    UNAVAILABLE = auto()
    OFFERED = auto()
    REQUIRED = auto()
    ESTABLISHED = auto()


class Step(Enum):
    """What the driver of a login must do next."""

    MORE = auto()  # wait for the next read
    TLS = auto()  # send `answer`, then encrypt; `take_rest` has what came of the handshake already
    CANCEL = auto()  # `cancel_key` tells whose query to cancel; then close
    STARTUP = auto()  # look at `startup`, call `challenge`, then `receive(b"")` once more
    AUTHENTICATED = auto()  # `rest` holds what the client has sent beyond its login


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a client is asked for, and what its answer is checked against."""

    method: Method
    user: str
    #: Stored secret for CLEARTEXT and MD5.
    secret: str = field(default="", repr=False)
    #: Stored secret for SCRAM.
    scram_secret: ScramSecret | None = None
    #: The secret is made up: the user does not exist, or has none. Nobody is let in, but only
    #: after the same exchange and the same work.
    is_mock: bool = False


class _Phase(Enum):
    NEGOTIATING = auto()
    ADMISSION = auto()
    PROVING = auto()
    DONE = auto()
    CANCELING = auto()


class ClientLogin:
    """One client's login, byte by byte."""

    def __init__(
        self, encryption: Encryption = Encryption.UNAVAILABLE, channel_binding: bytes = b""
    ) -> None:
        """Expect the first byte of a connection.

        `channel_binding` is the tls-server-end-point data of our certificate, for clients by TLS.
        """
        self._encryption = encryption
        self._own_certificate = channel_binding
        self._phase = _Phase.NEGOTIATING
        self._is_first = True
        self._data = b""
        #: Bytes to send to the client; the driver takes them after each call.
        self.answer = b""
        self.startup: StartupMessage | None = None
        self.cancel_key: CancelKey | None = None
        #: After a SCRAM login: what logs in to PostgreSQL as this user without its password.
        self.scram_client_key = b""
        self._challenge: Challenge | None = None
        self._salt = b""
        self._scram: ScramServer | None = None
        self._scram_began = False
        self._requests_refused: set[int] = set()

    @property
    def rest(self) -> bytes:
        """What the client has sent beyond the messages of its login."""
        return self._data

    def receive(self, data: bytes) -> Step:
        """Take a read, or b"" to go on with what is there already.

        Raises ClientProtocolError or LoginRejected, both to be shown to the client.
        """
        if self._phase is _Phase.CANCELING:
            return Step.MORE  # one request is all that such a connection is for
        self._data += data
        if self._is_first and self._is_direct_tls():
            return self._begin_tls()
        if self._phase is _Phase.NEGOTIATING:
            return self._negotiate()
        if self._phase is _Phase.PROVING:
            return self._prove()
        if self._phase is _Phase.DONE:
            return Step.AUTHENTICATED
        if len(self._data) > MAX_LOGIN_MESSAGE:
            raise ClientProtocolError("client sends data although its login is not over")
        return Step.MORE

    def take_rest(self) -> bytes:
        """Return what the client has sent beyond the messages of its login, and forget it."""
        rest, self._data = self._data, b""
        return rest

    def challenge(self, challenge: Challenge) -> None:
        """Ask the client for the proof that admission demands."""
        self._challenge = challenge
        self._phase = _Phase.PROVING
        if challenge.method is Method.TRUST:
            self._phase = _Phase.DONE
        elif challenge.method is Method.CLEARTEXT:
            self.answer += backend.AUTHENTICATION_CLEARTEXT
        elif challenge.method is Method.MD5:
            self._salt = draw(4)
            self.answer += backend.authentication_md5(self._salt)
        else:
            assert challenge.scram_secret is not None
            binding = self._channel_binding
            self._scram = ScramServer(
                challenge.scram_secret, draw_nonce, channel_binding=binding or None
            )
            self.answer += _SCRAM_PLUS_OFFER if binding else _SCRAM_OFFER

    def _negotiate(self) -> Step:
        while len(self._data) >= 4:
            size = startup_size(self._data)
            if len(self._data) < size:
                break
            packet, self._data = self._data[:size], self._data[size:]
            code = startup_code(packet)
            if code in _ENCRYPTIONS:
                if self._grants_encryption(code):
                    return self._begin_tls()
            elif code == codes.CANCEL_REQUEST:
                self.cancel_key = decode_cancel_request(packet)
                self._phase = _Phase.CANCELING
                self._data = b""
                return Step.CANCEL
            else:
                self._start(packet)
                return Step.STARTUP
        return Step.MORE

    def _is_direct_tls(self) -> bool:
        """Tell whether a connection begins with a TLS handshake, without asking for one."""
        if not self._data:
            return False
        self._is_first = False
        return self._is_offered and self._data[0] == _TLS_RECORD

    @property
    def _is_offered(self) -> bool:
        return self._encryption in (Encryption.OFFERED, Encryption.REQUIRED)

    @property
    def _channel_binding(self) -> bytes:
        return self._own_certificate if self._encryption is Encryption.ESTABLISHED else b""

    def _begin_tls(self) -> Step:
        self._encryption = Encryption.ESTABLISHED
        return Step.TLS

    def _grants_encryption(self, code: int) -> bool:
        """Answer SSLRequest with S where there is TLS, else, as GSSENCRequest, with N, but once.

        Bytes that came with the request were sent before the client knew that they would travel in
        plain text; somebody in between may have put them there.
        """
        if self._data:
            raise ClientProtocolError(
                f"received unencrypted data after {_ENCRYPTIONS[code]} request"
            )
        if code == codes.SSL_REQUEST:
            if self._encryption is Encryption.ESTABLISHED:
                raise ClientProtocolError("SSL req inside SSL")
            if self._is_offered:
                self.answer += b"S"
                return True
        if code in self._requests_refused:
            raise ClientProtocolError("client asked twice for encryption that it was refused")
        self._requests_refused.add(code)
        self.answer += b"N"
        return False

    def _start(self, packet: bytes) -> None:
        startup = decode_startup(packet)
        if startup.major != codes.PROTOCOL_MAJOR:
            raise ClientProtocolError(
                "old V2 protocol not supported"
                if startup.major == 2
                else f"unsupported frontend protocol {startup.major}.{startup.minor}"
            )
        if self._encryption is Encryption.REQUIRED:
            raise LoginRejected("SSL required")
        if startup.minor or startup.protocol_options:
            self.answer += backend.negotiate_protocol_version(startup.protocol_options)
        self.startup = startup
        self._phase = _Phase.ADMISSION

    def _prove(self) -> Step:
        while self._phase is _Phase.PROVING:
            body = self._take_password_message()
            if body is None:
                return Step.MORE
            self._check(body)
        return Step.AUTHENTICATED

    def _take_password_message(self) -> bytes | None:
        data = self._data
        if len(data) < codes.HEADER_SIZE:
            return None
        if data[0] != codes.PASSWORD:
            # The first byte of a second StartupMessage is 0, that of a query an impatient client's.
            raise ClientProtocolError("client sent something else where its password belongs")
        after = message_end(data, 0)
        if not codes.HEADER_SIZE <= after <= MAX_LOGIN_MESSAGE:
            raise ClientProtocolError("bad packet: a password message with an impossible length")
        if after > len(data):
            return None
        self._data = data[after:]
        return data[codes.HEADER_SIZE : after]

    def _check(self, body: bytes) -> None:
        """Check one password message; the client is through when nothing is raised."""
        challenge = self._challenge
        assert challenge is not None
        if self._scram is not None:
            self._check_scram(self._scram, body)
            return
        answer = decode_query(body).encode("utf-8", "surrogateescape")
        if not answer:
            raise LoginRejected("empty password returned by client")
        try:
            if challenge.method is Method.MD5:
                proven = passwords.check_md5(challenge.secret, challenge.user, self._salt, answer)
            else:
                proven = passwords.check_password(challenge.secret, challenge.user, answer)
        except ConfigError as error:
            raise LoginRejected("password authentication failed", remark=error.message) from None
        if not proven or challenge.is_mock:
            raise LoginRejected("password authentication failed")
        self._phase = _Phase.DONE

    def _check_scram(self, scram: ScramServer, body: bytes) -> None:
        if not self._scram_began:
            self._scram_began = True
            mechanism, first = decode_sasl_initial(body)
            is_plus = mechanism == _PLUS_MECHANISM and bool(self._channel_binding)
            if mechanism != _MECHANISM and not is_plus:
                raise ClientProtocolError(
                    "client selected an invalid SASL authentication mechanism"
                )
            if is_plus is not first.startswith(b"p="):
                raise ClientProtocolError(
                    "client selected a SASL mechanism that does not fit its channel binding"
                )
            self.answer += backend.authentication_sasl_continue(scram.first(first))
        else:
            self.answer += backend.authentication_sasl_final(scram.final(body))
            self.scram_client_key = scram.client_key
            self._phase = _Phase.DONE
