"""How does a connection to a server come by its TLS? Between connect and the first message.

    connect ──► SSLRequest ──► S ──► handshake ──► begin      (by TLS)
            │              └─► N ─────────────────► begin     (in the clear, if that will do)
            ├─► handshake ───────────────────────► begin      (direct TLS: without asking)
            └────────────────────────────────────► begin      (TLS is not wanted, or a Unix socket)

Used for servers and for cancel requests alike. PostgreSQL documentation, "SSL Session Encryption".
"""

from __future__ import annotations

import asyncio
import ssl
from abc import abstractmethod

from pgpool_lite.errors import ServerError, ServerLoginFailed, ServerProtocolError
from pgpool_lite.proxy.sockets import is_unix
from pgpool_lite.proxy.tls import ALPN_PROTOCOL, ServerTls
from pgpool_lite.proxy.tls_transport import TlsTransport
from pgpool_lite.wire.frontend import SSL_REQUEST


class Conversation(asyncio.Protocol):
    """What follows a negotiation: it hears of the socket at once, and may speak from `begin` on."""

    @abstractmethod
    def begin(self, transport: asyncio.Transport) -> None:
        """Speak first: the connection is as encrypted as it is going to be."""

    @abstractmethod
    def fail(self, error: ServerError) -> None:
        """Give up: the server and the settings do not agree about TLS."""


class Negotiation(asyncio.Protocol):
    """One socket from connect to `begin`. Owned by its transport until then."""

    def __init__(
        self, conversation: Conversation, tls: ServerTls | None, host: str, buffer: memoryview
    ) -> None:
        """Negotiate as `tls` wants it, None for no TLS, with a server that has to be `host`.

        `buffer` is what TLS reads into, see `TlsTransport`.
        """
        self._conversation = conversation
        self._tls = tls
        self._host = host
        self._buffer = buffer
        self._transport: asyncio.Transport

    # A stream socket always comes with a Transport; uvloop's does not say so by its class.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Ask for TLS, or do without."""
        self._transport = transport
        self._conversation.connection_made(transport)
        if transport.is_closing():
            return
        if self._tls is None or is_unix(transport):
            self._begin()
        elif self._tls.is_direct:
            self._encrypt(self._tls)
        else:
            transport.write(SSL_REQUEST)

    def data_received(self, data: bytes) -> None:
        """Take the one byte of the answer.

        Anything behind it was sent before the handshake; somebody in between may have put it there.
        """
        assert self._tls is not None
        if data[:1] not in (b"S", b"N"):
            self._conversation.fail(ServerProtocolError("bad sslreq answer"))
        elif len(data) > 1:
            message = "received unencrypted data after SSL response"
            self._conversation.fail(ServerProtocolError(message))
        elif data == b"S":
            self._encrypt(self._tls)
        elif self._tls.is_required:
            self._conversation.fail(ServerLoginFailed("server refused SSL"))
        else:
            self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on that the server hung up."""
        self._conversation.connection_lost(exc)

    def _encrypt(self, tls: ServerTls) -> None:
        try:
            transport = TlsTransport(
                self._transport, self, tls.context, self._buffer, server_name=self._host
            )
        except ValueError as error:  # a host that no certificate could name
            self._tls_failed(str(error))
            return
        self._transport = transport
        transport.start(on_ready=self._encrypted, on_failure=self._tls_failed)

    def _encrypted(self) -> None:
        session: ssl.SSLObject = self._transport.get_extra_info("ssl_object")
        is_direct = self._tls is not None and self._tls.is_direct
        if is_direct and session.selected_alpn_protocol() != ALPN_PROTOCOL:
            # Whatever it is, it might take what we say for something else.
            self._tls_failed("direct TLS without ALPN protocol negotiation")
        else:
            self._begin()

    def _tls_failed(self, reason: str) -> None:
        error = ServerLoginFailed("TLS handshake failed", detail=f"TLS handshake error: {reason}")
        self._conversation.fail(error)

    def _begin(self) -> None:
        self._transport.set_protocol(self._conversation)
        self._conversation.begin(self._transport)
