"""TLS between a socket's transport and its protocol. HOT where a side is encrypted.

    ClientConnection  ── write ──►  TlsTransport  ── write ──►  the event loop's transport
                      ◄─ data_received ─        ◄─ buffer_updated ─

To the protocol it is the transport, to the transport it is the protocol, so neither side of the
relay knows of it, and a connection without TLS pays nothing. The event loops have TLS of their
own, but it begins only in a coroutine, cannot be given bytes that were read already (direct TLS),
waits for the peer when it closes, and costs twice as much: it reads records into 256 KiB each,
which is new memory from the kernel every time. An echo of 60 bytes over the loopback took 13 us of
CPU here and 31 us there, on uvloop; of these 13, OpenSSL has 4.

HOT rule: one read makes one `data_received`, one `write` makes one write.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from pgpool_lite.proxy.sockets import Receiver

#: A record holds at most 16 KiB. RFC 8446, section 5.1.
RECORD_SIZE: Final = 16_384
#: Bytes of one read from the socket, as large as uvloop's.
READ_SIZE: Final = 262_144


class TlsTransport(asyncio.Transport, asyncio.BufferedProtocol):
    """One socket's encryption. Owned by the protocol whose transport it is, and as long-lived."""

    __slots__ = (
        "_buffer",
        "_encrypt",
        "_hand_on",
        "_has_ended",
        "_incoming",
        "_is_closing",
        "_is_shaking",
        "_on_failure",
        "_on_ready",
        "_outgoing",
        "_protocol",
        "_raw",
        "_shake",
        "_take",
        "_tls",
    )

    def __init__(
        self,
        raw: asyncio.Transport,
        protocol: Receiver,
        context: ssl.SSLContext,
        buffer: memoryview,
        *,
        server_name: str | None = None,
    ) -> None:
        """Prepare to encrypt `raw` for `protocol`; raises ValueError for a name that cannot be.

        `server_name` is the host of the server that we connect to; None where a client connected
        to us. Reads go through `buffer`, which all connections of one event loop share, since
        nothing stays in it between two of them.
        """
        self._raw = raw
        self._protocol = protocol
        self._hand_on: Callable[[bytes], None] = protocol.data_received
        self._buffer = buffer
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        #: OpenSSL's side of it; None once the socket is closed.
        self._tls: ssl.SSLObject | None = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_name is None,
            server_hostname=server_name,
        )
        self._shake: Callable[[], None] = self._tls.do_handshake
        self._take: Callable[[int], bytes] = self._tls.read
        self._encrypt: Callable[[bytes | bytearray | memoryview[int]], int] = self._tls.write
        #: The handshake is not over: nothing can be written yet.
        self._is_shaking = True
        self._is_closing = False
        #: The peer has said that nothing more will come.
        self._has_ended = False
        self._on_ready: Callable[[], None] = _nothing
        self._on_failure: Callable[[str], None] = _nobody

    # --- the handshake ---

    def start(
        self,
        received: bytes = b"",
        *,
        on_ready: Callable[[], None] | None = None,
        on_failure: Callable[[str], None],
    ) -> None:
        """Take over the socket and shake hands; `received` has been read from it already.

        Then `on_ready` is called, or `on_failure` with the reason, which should close us. What
        the peer says after the handshake goes to the protocol.
        """
        self._on_ready, self._on_failure = on_ready or _nothing, on_failure
        if self._raw.is_closing():
            return  # its protocol hears of that
        # uvloop looks at what kind a protocol is when it begins to read.
        self._raw.pause_reading()
        self._raw.set_protocol(self)
        self._raw.resume_reading()
        self._incoming.write(received)
        self._shake_hands()

    def _shake_hands(self) -> None:
        try:
            self._shake()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            self._flush()  # the alert that tells the peer
            self._on_failure(reason_of(error))
        else:
            self._flush()
            self._is_shaking = False
            self._on_ready()
            if self._incoming.pending and not self._is_closing:
                self._decrypt()

    # --- from the peer ---

    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where the next read goes."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take a read."""
        self._incoming.write(self._buffer[:nbytes])
        if self._is_shaking:
            self._shake_hands()
        else:
            self._decrypt()

    def _decrypt(self) -> None:
        """Hand on whatever whole records have come, as one object."""
        try:
            data = self._take(RECORD_SIZE)
            if self._incoming.pending:
                data = self._take_rest(data)
        except ssl.SSLWantReadError:
            self._flush()  # half a record, or one of TLS's own that wants an answer
            return
        except ssl.SSLError:
            self._flush()
            self._is_closing = True  # nothing can be encrypted any more either
            self._raw.close()
            return
        if data:
            self._hand_on(data)
        if self._has_ended or not data:
            self.close()

    def _take_rest(self, data: bytes) -> bytes:
        """Return `data` and what the further records of the read hold."""
        pieces = [data]
        with suppress(ssl.SSLWantReadError):
            while data and self._incoming.pending:
                data = self._take(RECORD_SIZE)
                pieces.append(data)
        self._has_ended = not data
        return b"".join(pieces)

    # --- to the peer ---

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        """Encrypt and send. During the handshake and after `close` nothing can be said."""
        if self._is_shaking or self._is_closing or not data:
            return
        self._encrypt(data)
        self._raw.write(self._outgoing.read())

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[int]]) -> None:
        """Encrypt and send several pieces by one write."""
        self.write(b"".join(list_of_data))

    def _flush(self) -> None:
        """Send what TLS itself has to say."""
        if self._outgoing.pending:
            self._raw.write(self._outgoing.read())

    # --- flow: the socket's, passed on ---

    def pause_writing(self) -> None:
        """Pass on that the peer does not read."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that it does again."""
        self._protocol.resume_writing()

    def pause_reading(self) -> None:
        """Take nothing more from the socket; nothing that came is left in here."""
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Go on taking from the socket."""
        self._raw.resume_reading()

    def is_reading(self) -> bool:
        """Say whether the socket is read."""
        return self._raw.is_reading()

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the socket has not taken yet."""
        return self._raw.get_write_buffer_size()

    # --- the end ---

    def close(self) -> None:
        """Say goodbye, and close the socket once everything written has gone out.

        The peer's own goodbye is not waited for: RFC 8446, section 6.1 does not ask for it.
        """
        if self._is_closing:
            return
        self._is_closing = True
        if self._tls is not None and not self._is_shaking:
            with suppress(ssl.SSLError):  # it wants the peer's answer
                self._tls.unwrap()
            self._flush()
        self._raw.close()

    def abort(self) -> None:
        """Close the socket at once."""
        self._is_closing = True
        self._raw.abort()

    def is_closing(self) -> bool:
        """Say whether the socket is being closed."""
        return self._is_closing or self._raw.is_closing()

    def eof_received(self) -> bool:
        """Take the end of the stream for the end of the connection, be it announced or not."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on that the socket is closed, and let go of what is large or holds us.

        Those who hold us may stay until the garbage collector comes, and it does not see that
        OpenSSL keeps some 20 KiB for each connection.
        """
        self._is_closing = True
        protocol, self._protocol = self._protocol, asyncio.Protocol()
        self._hand_on = self._protocol.data_received
        self._on_ready, self._on_failure = _nothing, _nobody
        self._tls, self._shake, self._take, self._encrypt = None, _nothing, _no_more, len
        protocol.connection_lost(exc)

    # --- who is there ---

    def set_protocol(self, protocol: asyncio.BaseProtocol | Receiver) -> None:
        """Hand on to another protocol from now on."""
        if isinstance(protocol, asyncio.BaseProtocol):
            assert isinstance(protocol, asyncio.Protocol), "streams only"
        self._protocol = protocol
        self._hand_on = protocol.data_received

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Return what the socket's transport knows, and `ssl_object`."""
        return self._tls if name == "ssl_object" else self._raw.get_extra_info(name, default)


def reason_of(error: ssl.SSLError) -> str:
    """Return OpenSSL's words for what went wrong, without its file names and numbers."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    return (error.reason or str(error)).lower().replace("_", " ")


def _nothing() -> None:
    """Stand in for `on_ready` where nobody waits for it."""


def _no_more(size: int) -> bytes:
    """Stand in for what reads records once the socket is closed."""
    return b""


def _nobody(reason: str) -> None:
    """Stand in for `on_failure` where nobody waits for it."""
