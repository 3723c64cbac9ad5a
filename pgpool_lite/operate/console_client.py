"""How is a console asked from the outside? One blocking connection, simple queries only.

Works with PgBouncer's console too. TLS is asked for as libpq does: unless the URL's sslmode says
otherwise, it is used where the other end has it. Owned by one command line; `Console` is used as a
context manager.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from struct import Struct
from types import TracebackType
from typing import Final

from pgpool_lite.config import Config, DatabaseSettings, Settings, SslMode
from pgpool_lite.console.values import INT4, INT8, NUMERIC, Cell
from pgpool_lite.errors import PgPoolLiteError, ServerError
from pgpool_lite.pool.registry import CONSOLE
from pgpool_lite.proxy.tls import Tls
from pgpool_lite.session.server_login import ServerCredentials, ServerLogin
from pgpool_lite.wire import backend, codes
from pgpool_lite.wire.backend import Column
from pgpool_lite.wire.channel_binding import end_point_binding
from pgpool_lite.wire.framing import message_end
from pgpool_lite.wire.frontend import SSL_REQUEST, encode_query, read_string

#: For connecting, and for each answer: SHOW is answered at once.
TIMEOUT_S: Final = 10.0

_READ_SIZE: Final = 65_536
_NUMBERS: Final = frozenset({INT4, INT8, NUMERIC})
_INT16: Final = Struct("!h")
_INT32: Final = Struct("!i")
_FIELD: Final = Struct("!ihihih")


@dataclass(slots=True)
class Reply:
    """What one command was answered."""

    columns: tuple[Column, ...] = ()
    rows: list[tuple[Cell, ...]] = field(default_factory=list)
    #: MESSAGE and DETAIL of what the console only tells, SHOW HELP among it.
    notices: list[str] = field(default_factory=list)


class Console:
    """One connection to a console."""

    def __init__(self, target: DatabaseSettings) -> None:
        """Connect and log in; raises ConfigError, or ServerError where nobody lets us in."""
        self._socket = _connect(target)
        self._data = b""
        try:
            self._socket = _encrypt(self._socket, target)
            self._log_in(target)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Console:
        """Use it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave."""
        self._socket.close()

    def _log_in(self, target: DatabaseSettings) -> None:
        login = ServerLogin(
            ServerCredentials(
                user=target.user or CONSOLE,
                database=CONSOLE,
                secret=target.password,
                parameters=(("application_name", "pgpool-lite show"),),
            )
        )
        self._socket.sendall(login.start(_channel_binding(self._socket)))
        while not login.is_ready:
            self._socket.sendall(login.receive(self._read()))

    def ask(self, command: str) -> Reply:
        """Return what a command is answered; raises PgPoolLiteError with the console's words."""
        self._socket.sendall(encode_query(command))
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
                refusal = backend.decode_error(body)
        if refusal is not None:
            raise PgPoolLiteError(refusal.message, detail=refusal.detail, hint=refusal.hint)
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
        except OSError as error:
            raise ServerError(f"the console does not answer: {error}") from None
        if not data:
            raise ServerError("the console closed the connection")
        return data


def _connect(target: DatabaseSettings) -> socket.socket:
    host = target.hosts[0] if target.hosts else "/tmp"
    try:
        if host.startswith("/"):
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(TIMEOUT_S)
            connection.connect(f"{host}/.s.PGSQL.{target.port}")
            return connection
        return socket.create_connection((host, target.port), TIMEOUT_S)
    except OSError as error:
        reason = error.strerror or error
        raise ServerError(
            f"no pooler at {host} port {target.port}: {reason}",
            hint="--url postgresql://user@host:port/pgbouncer says where it is.",
        ) from None


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
    pos = _INT16.size
    for column in columns:
        (size,) = _INT32.unpack_from(body, pos)
        pos += _INT32.size
        if size < 0:
            yield None
            continue
        text = body[pos : pos + size].decode("utf-8", "replace")
        pos += size
        yield int(text) if column.type_oid in _NUMBERS else text
