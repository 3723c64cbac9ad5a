"""How does a command talk to PostgreSQL, a pooler or a console? One blocking connection.

`Dialogue` logs in as any client does, asks in plain queries, or sends what messages it is given and
reads up to ReadyForQuery. TLS is asked for as libpq does: unless the URL's sslmode says otherwise,
it is used where the other end has it. What the other side refuses is raised as `Refused`, what it
leaves unanswered as `Unanswered`, after which the answer can still be waited for. Owned by one
command line and used as a context manager.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from struct import Struct
from types import TracebackType
from typing import Final, Self

from pgpool_lite.config import Config, DatabaseSettings, Settings, SslMode
from pgpool_lite.console.values import INT4, INT8, NUMERIC, Cell
from pgpool_lite.errors import PgPoolLiteError, ServerError
from pgpool_lite.proxy.tls import Tls
from pgpool_lite.session.server_login import ServerCredentials, ServerLogin
from pgpool_lite.wire import backend, codes
from pgpool_lite.wire.backend import Column
from pgpool_lite.wire.channel_binding import end_point_binding
from pgpool_lite.wire.framing import message_end
from pgpool_lite.wire.frontend import SSL_REQUEST, TERMINATE, encode_query, read_string

#: For connecting, and for each answer.
TIMEOUT_S: Final = 10.0

_READ_SIZE: Final = 65_536
_NUMBERS: Final = frozenset({INT4, INT8, NUMERIC})
_INT16: Final = Struct("!h")
_INT32: Final = Struct("!i")
_FIELD: Final = Struct("!ihihih")


class Refused(PgPoolLiteError):
    """The other side said no, in its own words."""


class Unanswered(ServerError):
    """No answer came in time; `Dialogue.finish` goes on waiting for it."""


@dataclass(slots=True)
class Reply:
    """What one command was answered."""

    columns: tuple[Column, ...] = ()
    rows: list[tuple[Cell, ...]] = field(default_factory=list)
    #: MESSAGE and DETAIL of what is only told, a console's SHOW HELP among it.
    notices: list[str] = field(default_factory=list)


class Dialogue:
    """One connection, from login to close."""

    def __init__(
        self,
        target: DatabaseSettings,
        database: str,
        parameters: Mapping[str, str],
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Connect and log in; raises ServerError where nobody answers, or who does says no."""
        self._timeout_s = timeout_s
        self._socket = _connect(target, timeout_s)
        self._data = b""
        login = ServerLogin(
            ServerCredentials(
                user=target.user or "",
                database=database,
                secret=target.password,
                parameters=tuple(parameters.items()),
            )
        )
        began_at = time.monotonic()
        try:
            self._socket = _encrypt(self._socket, target)
            self._socket.sendall(login.start(_channel_binding(self._socket)))
            while not login.is_ready:
                self._socket.sendall(login.receive(self._read()))
        except BaseException:
            self._socket.close()
            raise
        self.login_s = time.monotonic() - began_at
        #: ParameterStatus values, and whom a CancelRequest would name.
        self.parameters: dict[str, str] = login.parameters
        self.key_pid = login.cancel_key.pid

    def __enter__(self) -> Self:
        """Use it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave."""
        self.close()

    def close(self) -> None:
        """Say goodbye, if somebody still listens, and hang up."""
        with suppress(OSError):  # it may have hung up already
            self._socket.sendall(TERMINATE)
        self._socket.close()

    @property
    def is_encrypted(self) -> bool:
        """It goes by TLS."""
        return isinstance(self._socket, ssl.SSLSocket)

    # --- talking ---

    def ask(self, sql: str, timeout_s: float | None = None) -> Reply:
        """Return what a simple query is answered; raises Refused, Unanswered and ServerError."""
        return self.say(encode_query(sql), timeout_s)

    def say(self, messages: bytes, timeout_s: float | None = None) -> Reply:
        """Send messages that end in one ReadyForQuery, and return what they are answered."""
        try:
            self._socket.sendall(messages)
        except OSError as error:
            raise ServerError(f"the connection is gone: {error}") from None
        return self.finish(timeout_s)

    def finish(self, timeout_s: float | None = None) -> Reply:
        """Return the answer that is still owed, up to ReadyForQuery."""
        self._socket.settimeout(timeout_s or self._timeout_s)
        reply, refusal = Reply(), None
        for message_type, body in self._messages():
            if message_type == codes.READY_FOR_QUERY:
                break
            if message_type == codes.ROW_DESCRIPTION:
                reply.columns = tuple(_columns(body))
            elif message_type == codes.DATA_ROW:
                reply.rows.append(tuple(_cells(body, reply.columns)))
            elif message_type == codes.NOTICE_RESPONSE:
                notice = backend.decode_error(body)
                reply.notices.append(f"{notice.message}\n{notice.detail}".strip())
            elif message_type == codes.ERROR_RESPONSE:
                refusal = _refused(body)
                if refusal.severity == "FATAL":
                    break
        if refusal is not None:
            raise refusal.error
        return reply

    def _messages(self) -> Iterator[tuple[int, bytes]]:
        while True:
            end = message_end(self._data, 0) if len(self._data) >= codes.HEADER_SIZE else 0
            if codes.HEADER_SIZE <= end <= len(self._data):
                message, self._data = self._data[:end], self._data[end:]
                yield message[0], message[codes.HEADER_SIZE :]
            else:
                self._data += self._read()

    def _read(self) -> bytes:
        try:
            data = self._socket.recv(_READ_SIZE)
        except TimeoutError:
            raise Unanswered("no answer in time") from None
        except OSError as error:
            raise ServerError(f"no answer: {error}") from None
        if not data:
            raise ServerError("the connection was closed without a word")
        return data


@dataclass(frozen=True, slots=True)
class _Refusal:
    severity: str
    error: Refused


def _refused(body: bytes) -> _Refusal:
    said = backend.decode_error(body)
    error = Refused(said.message, sqlstate=said.sqlstate, detail=said.detail, hint=said.hint)
    return _Refusal(said.severity, error)


def _connect(target: DatabaseSettings, timeout_s: float) -> socket.socket:
    host = target.hosts[0] if target.hosts else "/tmp"
    try:
        if not host.startswith("/"):
            return socket.create_connection((host, target.port), timeout_s)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout_s)
        connection.connect(f"{host}/.s.PGSQL.{target.port}")
        return connection
    except OSError as error:
        reason = error.strerror or str(error) or "no answer in time"
        raise ServerError(f"nobody listens at {host} port {target.port}: {reason}") from None


def _encrypt(connection: socket.socket, target: DatabaseSettings) -> socket.socket:
    """Return the connection as encrypted as the target's sslmode wants it."""
    if connection.family == socket.AF_UNIX:
        return connection
    wanted = replace(target, sslmode=target.sslmode or SslMode.PREFER)
    tls = Tls()
    settings = Settings(server_tls_sslmode=SslMode.DISABLE)
    tls.apply(Config(settings=settings, databases={wanted.name: wanted}))
    server_tls = tls.towards(wanted)
    if server_tls is None:
        return connection
    try:
        if not server_tls.is_direct:
            connection.sendall(SSL_REQUEST)
            if connection.recv(1) != b"S":
                if server_tls.is_required:
                    raise ServerError(f"no TLS there, but sslmode={target.sslmode} asks for it")
                return connection
        return server_tls.context.wrap_socket(connection, server_hostname=target.hosts[0])
    except (OSError, ValueError) as error:  # a ValueError: a host that no certificate could name
        raise ServerError(f"TLS handshake failed: {error}") from None


def _channel_binding(connection: socket.socket) -> bytes:
    """Return what SCRAM binds to, b"" without TLS."""
    if not isinstance(connection, ssl.SSLSocket):
        return b""
    certificate = connection.getpeercert(binary_form=True)
    return end_point_binding(certificate) if certificate else b""


def _columns(body: bytes) -> Iterator[Column]:
    pos = _INT16.size
    for _ in range(*_INT16.unpack_from(body)):
        name, pos = read_string(body, pos, "RowDescription")
        _, _, type_oid, type_size, _, _ = _FIELD.unpack_from(body, pos)
        pos += _FIELD.size
        yield Column(name, type_oid, type_size)


def _cells(body: bytes, columns: Sequence[Column]) -> Iterator[Cell]:
    """Yield a row's values; what comes without a RowDescription before it is text."""
    pos = _INT16.size
    for index in range(*_INT16.unpack_from(body)):
        (size,) = _INT32.unpack_from(body, pos)
        pos += _INT32.size
        if size < 0:
            yield None
            continue
        text = body[pos : pos + size].decode("utf-8", "replace")
        pos += size
        is_number = index < len(columns) and columns[index].type_oid in _NUMBERS
        yield int(text) if is_number and text.lstrip("-").isdecimal() else text
