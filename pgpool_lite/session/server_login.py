"""How do we get in at PostgreSQL? From our StartupMessage to its first ReadyForQuery.

A `ServerLogin` belongs to one connection being opened. It never waits: each read goes into
`receive`, whose answer goes back, until `is_ready`. What PostgreSQL says on the way, its
parameters and its cancel key, stays here for the session that follows.

PostgreSQL documentation, "Message Flow: Start-up".
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Final

from pgpool_lite.errors import ServerLoginFailed, ServerProtocolError, ServerRefusedLogin
from pgpool_lite.session.client_login import SCRAM_MECHANISM, SCRAM_PLUS_MECHANISM
from pgpool_lite.wire import backend, codes, passwords
from pgpool_lite.wire.channel_binding import NOT_OFFERED, UNBOUND, ClientBinding, bound_to
from pgpool_lite.wire.framing import message_end
from pgpool_lite.wire.frontend import (
    CancelKey,
    encode_password,
    encode_sasl_initial,
    encode_sasl_response,
    encode_startup,
)
from pgpool_lite.wire.scram import ScramClient, ScramKeys

#: No message of a login is longer: an ErrorResponse with context may have a few KiB.
MAX_LOGIN_MESSAGE: Final = 65_536

#: SQLSTATE of "the database system is starting up": it will pass.
CANNOT_CONNECT_NOW: Final = "57P03"


@dataclass(frozen=True, slots=True)
class ServerCredentials:
    """Who we are to PostgreSQL, and how we can prove it."""

    user: str
    database: str
    #: Plain password or md5 secret; None when there is none.
    secret: str | None = field(default=None, repr=False)
    #: Keys caught when the client logged in by SCRAM; they serve in place of the password.
    scram_keys: ScramKeys | None = None
    #: Further start-up parameters: application_name, client_encoding ...
    parameters: tuple[tuple[str, str], ...] = ()


class ServerLogin:
    """One login at a server, byte by byte."""

    def __init__(self, credentials: ServerCredentials) -> None:
        """Prepare the StartupMessage; nothing is sent yet."""
        self._credentials = credentials
        self._data = b""
        self._channel_binding = b""
        self._scram: ScramClient | None = None
        self._authenticated = False
        self.is_ready = False
        #: ParameterStatus values in the order in which the server said them.
        self.parameters: dict[str, str] = {}
        self.cancel_key = CancelKey(0, b"\0\0\0\0")

    @property
    def rest(self) -> bytes:
        """What came behind the ReadyForQuery that ended the login."""
        return self._data

    def start(self, channel_binding: bytes = b"") -> bytes:
        """Return the StartupMessage.

        `channel_binding` is the tls-server-end-point data of the TLS connection that it goes by.
        """
        self._channel_binding = channel_binding
        credentials = self._credentials
        return encode_startup(
            {
                "user": credentials.user,
                "database": credentials.database,
                **dict(credentials.parameters),
            }
        )

    def receive(self, data: bytes) -> bytes:
        """Take a read; return what to send in answer, often nothing.

        Raises ServerLoginFailed when the server refuses us, ServerProtocolError when what it says
        is not a login.
        """
        self._data += data
        answer = b""
        while not self.is_ready:
            message = self._take_message()
            if message is None:
                break
            answer += self._handle(*message)
        return answer

    def _take_message(self) -> tuple[int, bytes] | None:
        data = self._data
        if len(data) < codes.HEADER_SIZE:
            return None
        after = message_end(data, 0)
        if not codes.HEADER_SIZE <= after <= MAX_LOGIN_MESSAGE:
            raise ServerProtocolError("what answers there does not speak the PostgreSQL protocol")
        if after > len(data):
            return None
        self._data = data[after:]
        return data[0], data[codes.HEADER_SIZE : after]

    def _handle(self, message_type: int, body: bytes) -> bytes:
        if message_type == codes.AUTHENTICATION:
            return self._authenticate(*backend.decode_authentication(body))
        if message_type == codes.ERROR_RESPONSE:
            raise _refusal(backend.decode_error(body))
        if message_type == codes.NOTICE_RESPONSE:
            return b""
        if not self._authenticated:
            raise ServerProtocolError("server went on before it let us in")
        if message_type == codes.PARAMETER_STATUS:
            name, value = backend.decode_parameter_status(body)
            self.parameters[name] = value
        elif message_type == codes.BACKEND_KEY_DATA:
            self.cancel_key = backend.decode_backend_key_data(body)
        elif message_type == codes.READY_FOR_QUERY:
            if body != b"I":
                raise ServerProtocolError("server starts inside a transaction")
            self.is_ready = True
        else:
            raise ServerProtocolError(f"server sent message 0x{message_type:02x} during login")
        return b""

    def _authenticate(self, kind: int, body: bytes) -> bytes:
        if kind == codes.AUTH_OK:
            if self._scram is not None and not self._scram.is_verified:
                raise ServerLoginFailed("server did not finish the SCRAM exchange it began")
            self._authenticated = True
            return b""
        if kind == codes.AUTH_CLEARTEXT:
            return encode_password(self._password().encode("utf-8", "surrogateescape"))
        if kind == codes.AUTH_MD5:
            return self._answer_md5(body)
        if kind == codes.AUTH_SASL:
            return self._start_scram(backend.decode_sasl_mechanisms(body))
        if self._scram is not None and kind == codes.AUTH_SASL_CONTINUE:
            return encode_sasl_response(self._scram.final(body))
        if self._scram is not None and kind == codes.AUTH_SASL_FINAL:
            self._scram.verify(body)
            return b""
        raise ServerLoginFailed(f"unknown or unexpected authentication request from server: {kind}")

    def _password(self) -> str:
        secret = self._credentials.secret
        if not secret or passwords.classify_secret(secret) is not passwords.SecretKind.PLAIN:
            raise self._no_secret("password")
        return secret

    def _answer_md5(self, salt: bytes) -> bytes:
        secret = self._credentials.secret
        if not secret or passwords.classify_secret(secret) is passwords.SecretKind.SCRAM_SHA_256:
            raise self._no_secret("md5")
        if len(salt) != 4:
            raise ServerProtocolError("malformed AuthenticationMD5Password from server")
        return encode_password(passwords.answer_md5(secret, self._credentials.user, salt).encode())

    def _start_scram(self, mechanisms: list[str]) -> bytes:
        if self._scram is not None:
            raise ServerProtocolError("server asked for SASL twice")
        mechanism, binding = self._choose_mechanism(mechanisms)
        credential = self._credentials.scram_keys or self._password()
        self._scram = ScramClient(credential, secrets.token_urlsafe, binding)
        return encode_sasl_initial(mechanism, self._scram.first())

    def _choose_mechanism(self, mechanisms: list[str]) -> tuple[str, ClientBinding]:
        """Return the mechanism and the channel binding: as much as both sides have.

        Who could bind says so even where the server offers less: if somebody in between has taken
        it out of the list, the server knows. RFC 5802, section 6.
        """
        binding = self._channel_binding
        if binding and SCRAM_PLUS_MECHANISM in mechanisms:
            return SCRAM_PLUS_MECHANISM, bound_to(binding)
        if SCRAM_MECHANISM in mechanisms:
            return SCRAM_MECHANISM, NOT_OFFERED if binding else UNBOUND
        raise ServerLoginFailed(f"server offers no SASL mechanism that we know: {mechanisms}")

    def _no_secret(self, method: str) -> ServerRefusedLogin:
        user = self._credentials.user
        return ServerRefusedLogin(
            "wrong password type",
            detail=f'The server asks user "{user}" for {method} authentication, and what we have '
            "of that user's secret cannot answer it.",
            hint="Put the plain password into auth_file, or into the database's connection string.",
        )


def _refusal(said: backend.ServerMessage) -> ServerLoginFailed:
    """Return the server's own words, and its SQLSTATE: the clients that wait are told just that."""
    kind = ServerLoginFailed if said.sqlstate == CANNOT_CONNECT_NOW else ServerRefusedLogin
    error = kind(
        said.message or "login failed",
        sqlstate=said.sqlstate or None,
        detail=said.detail,
        hint=said.hint,
    )
    error.severity = said.severity
    return error
