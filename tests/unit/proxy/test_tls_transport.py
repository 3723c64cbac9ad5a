"""Encryption between a socket and a protocol: records in pieces, one write per write, the end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress

import pytest

from pgpool_lite.proxy.origins import origin_of
from pgpool_lite.proxy.sockets import tls_name
from pgpool_lite.proxy.tls_transport import READ_SIZE, TlsTransport
from tests.certificates import Authority, Certificate

QUESTION = b"Q" * 100
#: More than two records.
LONG = b"x" * 40_000


class Socket(asyncio.Transport):
    """A socket's transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.is_closed = self.is_aborted = False
        self.protocol: asyncio.BaseProtocol | None = None
        self.calls: list[str] = []

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        self.writes.append(bytes(data))

    def take(self) -> bytes:
        """What was written since the last time."""
        written = b"".join(self.writes)
        self.writes.clear()
        return written

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None:
        self.calls.append("pause_reading")

    def resume_reading(self) -> None:
        self.calls.append("resume_reading")

    def is_reading(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 7

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_aborted = True


class Listener(asyncio.Protocol):
    """A protocol that keeps what it is told."""

    def __init__(self) -> None:
        self.reads: list[bytes] = []
        self.calls: list[str] = []

    def data_received(self, data: bytes) -> None:
        self.reads.append(data)

    def pause_writing(self) -> None:
        self.calls.append("pause_writing")

    def resume_writing(self) -> None:
        self.calls.append("resume_writing")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("connection_lost")


class Peer:
    """The other end: Python's own TLS, without a socket."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def shake_hands(self, received: bytes = b"") -> bytes:
        """Take the handshake one step further; return what to send."""
        self.incoming.write(received)
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()

    def encrypt(self, data: bytes) -> bytes:
        """Return the records of `data`."""
        self.tls.write(data)
        return self.outgoing.read()

    def decrypt(self, records: bytes) -> bytes:
        """Return what whole records hold; the goodbye is b""."""
        self.incoming.write(records)
        data = b""
        while self.incoming.pending:
            data += self.tls.read(READ_SIZE)
        return data

    def say_goodbye(self) -> bytes:
        """Return the record that ends it."""
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.outgoing.read()


class Line:
    """One encrypted connection: a peer, the socket, the transport under test, its protocol."""

    def __init__(self, own: Certificate, authority: Authority, shown: Certificate | None) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own.cert, own.key)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(authority.cert)
        context.num_tickets = 0
        trusting = ssl.create_default_context(cafile=str(authority.cert))
        if shown is not None:
            trusting.load_cert_chain(shown.cert, shown.key)
        self.peer = Peer(trusting)
        self.socket = Socket()
        self.listener = Listener()
        buffer = memoryview(bytearray(READ_SIZE))
        self.transport = TlsTransport(self.socket, self.listener, context, buffer)
        self.happened: list[str] = []

    def start(self, received: bytes = b"") -> None:
        self.transport.start(
            received,
            on_ready=lambda: self.happened.append("ready"),
            on_failure=self.happened.append,
        )

    def read(self, data: bytes) -> None:
        """Have the event loop read `data`."""
        self.transport.get_buffer(-1)[: len(data)] = data
        self.transport.buffer_updated(len(data))

    def shake_hands(self) -> None:
        """Come through the handshake."""
        self.start()
        while self.happened != ["ready"]:
            self.read(self.peer.shake_hands(self.socket.take()))
        self.peer.shake_hands(self.socket.take())


MakeLine = Callable[..., Line]


@pytest.fixture
def make_line(authority: Authority) -> MakeLine:
    def make(shown: Certificate | None = None) -> Line:
        return Line(authority.issue("pooler", "DNS:localhost", "IP:127.0.0.1"), authority, shown)

    return make


@pytest.fixture
def line(make_line: MakeLine) -> Line:
    """A connection whose handshake is over."""
    line = make_line()
    line.shake_hands()
    return line


def test_the_handshake_takes_the_socket_over_and_tells_when_it_is_done(make_line: MakeLine) -> None:
    line = make_line()

    line.shake_hands()

    assert line.socket.protocol is line.transport
    assert line.happened == ["ready"]
    assert tls_name(line.transport).startswith("TLSv1.3/TLS_")
    assert line.listener.reads == []


def test_the_handshake_may_come_byte_by_byte_and_its_beginning_with_the_start(
    make_line: MakeLine,
) -> None:
    line = make_line()
    hello = line.peer.shake_hands()

    line.start(hello[:1])
    for pos in range(1, len(hello)):
        line.read(hello[pos : pos + 1])
    for byte in line.peer.shake_hands(line.socket.take()):
        line.read(bytes([byte]))

    assert line.happened == ["ready"]


def test_what_comes_with_the_end_of_the_handshake_is_handed_on(make_line: MakeLine) -> None:
    line = make_line()
    line.start(line.peer.shake_hands())

    line.read(line.peer.shake_hands(line.socket.take()) + line.peer.encrypt(QUESTION))

    assert line.listener.reads == [QUESTION]


def test_a_handshake_that_fails_says_why(make_line: MakeLine) -> None:
    line = make_line()

    line.start(b"GET / HTTP/1.1\r\n\r\n")

    assert line.happened == ["http request"]


def test_a_peer_is_told_why_its_handshake_fails(make_line: MakeLine) -> None:
    line = make_line()
    line.start()

    line.read(b"\x16\x03\x01\x00\x05never")

    assert len(line.happened) == 1
    assert line.socket.take()[:1] == b"\x15"  # an alert


def test_a_socket_that_is_being_closed_is_left_alone(make_line: MakeLine) -> None:
    line = make_line()
    line.socket.close()

    line.start(b"\x16")

    assert (line.socket.protocol, line.socket.calls) == (None, [])


def test_nothing_is_written_during_the_handshake(make_line: MakeLine) -> None:
    line = make_line()
    line.start()

    line.transport.write(b"FATAL")
    line.transport.close()

    assert line.socket.take() == b""
    assert line.socket.is_closed


def test_records_may_come_byte_by_byte(line: Line) -> None:
    for byte in line.peer.encrypt(QUESTION) + line.peer.encrypt(b"more"):
        line.read(bytes([byte]))

    assert line.listener.reads == [QUESTION, b"more"]


def test_many_records_of_one_read_are_handed_on_as_one_object(line: Line) -> None:
    line.read(line.peer.encrypt(QUESTION) + line.peer.encrypt(LONG))

    assert line.listener.reads == [QUESTION + LONG]


def test_half_a_record_behind_whole_ones_waits_for_its_end(line: Line) -> None:
    records = line.peer.encrypt(QUESTION) + line.peer.encrypt(LONG)

    line.read(records[:-1])
    line.read(records[-1:])

    assert b"".join(line.listener.reads) == QUESTION + LONG
    assert len(line.listener.reads) == 2


def test_each_write_is_one_write_whatever_its_size(line: Line) -> None:
    line.transport.write(LONG)
    line.transport.writelines([b"a", b"b"])
    line.transport.write(b"")

    assert len(line.socket.writes) == 2
    assert line.peer.decrypt(line.socket.take()) == LONG + b"ab"


def test_a_broken_record_ends_the_connection(line: Line) -> None:
    record = bytearray(line.peer.encrypt(QUESTION))
    record[-1] ^= 1

    line.read(bytes(record))
    line.socket.take()
    line.transport.write(b"too late")

    assert line.socket.is_closed
    assert line.socket.take() == b""
    assert line.listener.reads == []


def test_the_peers_goodbye_ends_the_connection_behind_what_it_said(line: Line) -> None:
    line.read(line.peer.encrypt(QUESTION) + line.peer.say_goodbye())

    assert line.listener.reads == [QUESTION]
    assert line.socket.is_closed


def test_a_goodbye_alone_ends_the_connection(line: Line) -> None:
    line.read(line.peer.say_goodbye())

    assert line.socket.is_closed
    assert line.listener.reads == []


def test_our_goodbye_follows_what_was_written_and_nothing_follows_it(line: Line) -> None:
    line.transport.write(QUESTION)
    line.transport.close()
    line.transport.write(b"too late")
    line.transport.close()

    assert line.peer.decrypt(line.socket.take()) == QUESTION
    assert line.peer.tls.read(1) == b""
    assert line.socket.is_closed
    assert line.transport.is_closing()


def test_an_abort_says_nothing(line: Line) -> None:
    line.transport.abort()

    assert line.socket.is_aborted
    assert line.socket.take() == b""
    assert line.transport.is_closing()


def test_flow_control_is_the_sockets(line: Line) -> None:
    line.socket.calls.clear()

    line.transport.pause_writing()
    line.transport.resume_writing()
    line.transport.pause_reading()
    line.transport.resume_reading()

    assert line.listener.calls == ["pause_writing", "resume_writing"]
    assert line.socket.calls == ["pause_reading", "resume_reading"]
    assert line.transport.is_reading()
    assert line.transport.get_write_buffer_size() == 7


def test_the_end_of_the_socket_reaches_the_protocol_once(line: Line) -> None:
    assert line.transport.eof_received() is False
    line.transport.connection_lost(None)
    line.transport.connection_lost(None)

    assert line.listener.calls == ["connection_lost"]
    assert line.transport.is_closing()


def test_what_openssl_keeps_goes_with_the_socket(line: Line) -> None:
    line.transport.connection_lost(None)
    line.transport.write(QUESTION)
    line.transport.close()

    assert line.transport.get_extra_info("ssl_object") is None
    assert line.socket.take() == b""


def test_another_protocol_may_take_over(line: Line) -> None:
    next_one = Listener()

    line.transport.set_protocol(next_one)
    line.read(line.peer.encrypt(QUESTION))

    assert (line.listener.reads, next_one.reads) == ([], [QUESTION])


def test_a_certificate_names_who_it_was_issued_to(
    make_line: MakeLine, authority: Authority
) -> None:
    plain = make_line(authority.issue("alice"))
    more = make_line(authority.issue("web", "DNS:bob", "DNS:eve", "IP:127.0.0.1"))
    nobody = make_line()
    for line in (plain, more, nobody):
        line.shake_hands()

    origins = [origin_of(line.transport, is_unix=False) for line in (plain, more, nobody)]
    assert [origin.is_encrypted for origin in origins] == [True, True, True]
    assert [origin.certificate_name for origin in origins] == ["alice", "web", ""]
    assert [origin.certificate_alternatives for origin in origins] == [(), ("bob", "eve"), ()]
