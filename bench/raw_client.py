"""A client that costs next to nothing itself: for large transfers, and for thousands at once.

pgbench keeps a whole result in memory and psql prints it; both would be the slowest part of a large
transfer. This one reads bytes and looks at the last six only. It can log in where nobody asks for
a password: at both poolers as they are measured, and at a PostgreSQL that trusts it.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

from bench.errors import BenchError, LeftOut
from bench.postgres import Database

PROTOCOL_3_0 = 196608
READ_SIZE = 1 << 20
# Nothing here takes as long; it ends a hang.
TIMEOUT_S = 120.0

# PostgreSQL's Message Formats: AuthenticationOk; ReadyForQuery without its status; CopyInResponse
# for text in one column; CopyDone.
AUTHENTICATION_OK = b"R\0\0\0\x08\0\0\0\0"
READY = b"Z\0\0\0\x05"
COPY_IN = b"G\0\0\0\x09\0\0\x01\0\0"
COPY_DONE = b"c\0\0\0\x04"


class RawClient:
    """One connection, logged in; a context that closes it."""

    def __init__(self, database: Database) -> None:
        """Connect and log in; raise LeftOut where a password is asked for."""
        address = (database.host, database.port)
        with sockets_fail_as_bench_errors():
            self._socket = socket.create_connection(address, timeout=TIMEOUT_S)
        self._buffer = bytearray(READ_SIZE)
        try:
            with sockets_fail_as_bench_errors():
                self._log_in(database)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> RawClient:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection; whoever waits for it in another thread fails at once."""
        with suppress(OSError):  # the other side may have closed it before
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def release_buffer(self) -> None:
        """Keep no memory for reading: this client only stays connected from here on."""
        self._buffer = bytearray()

    def query(self, sql: str) -> int:
        """Run a query and return how many bytes answered it; its rows must not end in READY."""
        with sockets_fail_as_bench_errors():
            self._send_query(sql)
            return self._read_until(READY, followed_by=1)

    def copy_in(self, sql: str, chunk: bytes, times: int) -> None:
        """Run a COPY FROM STDIN of one column and send it the same CopyData messages so often."""
        with sockets_fail_as_bench_errors():
            self._send_query(sql)
            self._read_until(COPY_IN)
            for _ in range(times):
                self._socket.sendall(chunk)
            self._socket.sendall(COPY_DONE)
            self._read_until(READY, followed_by=1)

    def _log_in(self, database: Database) -> None:
        facts = {"user": database.user, "database": database.name}
        words = b"".join(f"{name}\0{value}\0".encode() for name, value in facts.items())
        body = struct.pack("!I", PROTOCOL_3_0) + words + b"\0"
        self._socket.sendall(struct.pack("!I", len(body) + 4) + body)
        start = self._socket.recv(len(AUTHENTICATION_OK), socket.MSG_WAITALL)
        if start[:1] == b"R" and start != AUTHENTICATION_OK:
            raise LeftOut("it asks for a password, which this workload's client cannot give")
        if start != AUTHENTICATION_OK:
            rest = self._socket.recv(1000)
            raise BenchError(f"no login: {readable(start + rest)}")
        self._read_until(READY, followed_by=1)

    def _send_query(self, sql: str) -> None:
        text = sql.encode() + b"\0"
        self._socket.sendall(b"Q" + struct.pack("!I", len(text) + 4) + text)

    def _read_until(self, last: bytes, followed_by: int = 0) -> int:
        """Read until what was read ends with these bytes; raise BenchError when it starts with E.

        A read may end within the last message, so the end of the one before it is kept.
        """
        length = len(last) + followed_by
        total, tail, view = 0, b"", memoryview(self._buffer)
        while tail[: len(last)] != last:
            count = self._socket.recv_into(view)
            if count == 0:
                raise BenchError("the connection was closed")
            if total == 0 and view[0] == ord("E"):
                raise BenchError(readable(bytes(view[:count])))
            total += count
            tail = (tail + bytes(view[max(0, count - length) : count]))[-length:]
        return total


@contextmanager
def sockets_fail_as_bench_errors() -> Iterator[None]:
    """Turn what a socket raises into a sentence of the report."""
    try:
        yield
    except OSError as error:
        raise BenchError(f"the connection failed: {error}") from None


def readable(message: bytes) -> str:
    """Return the text of an ErrorResponse's message field, or the bytes where there is none."""
    fields = message[5:].split(b"\0")
    texts = [field[1:].decode(errors="replace") for field in fields if field[:1] == b"M"]
    return texts[0] if texts else repr(message)
