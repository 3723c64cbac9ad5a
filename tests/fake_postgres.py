"""How does the pooler take a PostgreSQL that misbehaves?

`FakePostgres` listens like a PostgreSQL server. On the first connection it follows the test's
script, a coroutine function that receives and sends messages, after it let the pooler log in
without a password; the test may replace that login, too. On every later connection it behaves: it
lets the pooler in and answers each query with the number of the connection, so that a test can
show that the pooler recovers:

    async def script(session: FakeSession) -> None:
        await session.receive()
        await session.send(b"garbage")

    async with FakePostgres(script) as fake:
        pooler = await make_pooler(to=fake.url)

When the script returns, the connection is closed.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType

from tests.wire_messages import (
    CANCEL_CODE,
    GSSENC_CODE,
    SSL_CODE,
    AuthenticationOk,
    BackendKeyData,
    CommandComplete,
    DataRow,
    ParameterStatus,
    ReadyForQuery,
    RowDescription,
)

# What a PostgreSQL server reports at login; the pooler passes it on.
REPORTED = {
    "server_version": "15.0 (fake)",
    "server_encoding": "UTF8",
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "TimeZone": "UTC",
    "IntervalStyle": "postgres",
    "integer_datetimes": "on",
    "standard_conforming_strings": "on",
    "is_superuser": "on",
    "session_authorization": "postgres",
    "application_name": "",
}


class FakeSession:
    """The server's side of one connection; lives as long as its script runs."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: FakePostgres
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._server = server
        # 1 for the first connection that sent a StartupMessage, 2 for the second, ...
        self.number = 0
        # What the StartupMessage asked for.
        self.startup: dict[str, str] = {}

    async def receive(self) -> tuple[str, bytes]:
        """Return type and body of the next message."""
        kind, length = struct.unpack("!ci", await self._reader.readexactly(5))
        body = await self._reader.readexactly(length - 4)
        self._server.question_count += kind == b"Q"
        return kind.decode(), body

    async def receive_startup(self) -> tuple[int, bytes]:
        """Return code and body of the next message without type byte."""
        length, code = struct.unpack("!ii", await self._reader.readexactly(8))
        return code, await self._reader.readexactly(length - 8)

    async def send(self, *messages: bytes) -> None:
        """Send messages, or any other bytes, in one write."""
        self._writer.write(b"".join(messages))
        await self._writer.drain()

    async def stay_silent(self) -> None:
        """Say nothing more, and return when the pooler has gone."""
        while await self._reader.read(1 << 16):
            pass

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


Script = Callable[[FakeSession], Awaitable[None]]


async def trust_login(session: FakeSession) -> None:
    """Let the pooler in without a question."""
    await session.send(
        AuthenticationOk(),
        *(ParameterStatus(name, value) for name, value in REPORTED.items()),
        BackendKeyData(4000 + session.number, 1000 + session.number),
        ReadyForQuery(),
    )


def answer(session: FakeSession) -> bytes:
    """Return the answer to a query: one row with the number of the connection."""
    row = RowDescription("number") + DataRow(str(session.number)) + CommandComplete("SELECT 1")
    return row + ReadyForQuery()


def answered_by(number: int) -> list[str]:
    """Return the transcript of an answer from connection `number`."""
    return ["T number", f"D {number}", "C SELECT 1", "Z I"]


async def behave(session: FakeSession) -> None:
    """Answer every query until the pooler leaves."""
    while (await session.receive())[0] == "Q":
        await session.send(answer(session))


class FakePostgres:
    """A server on a port of its own, from `async with` to its end."""

    def __init__(
        self,
        script: Script = behave,
        *,
        login: Script = trust_login,
        port: int = 0,
        direct_tls: ssl.SSLContext | None = None,
        encryption_answer: bytes = b"N",
    ) -> None:
        # What happens on the first connection.
        self._script = script
        self._login = login
        # Everything on this port is TLS, from the first byte on.
        self._direct_tls = direct_tls
        # What is answered to a request for encryption.
        self._encryption_answer = encryption_answer
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: list[Exception] = []
        # Connections that sent a StartupMessage so far.
        self.login_count = 0
        # Query messages that the scripts received so far, on all connections.
        self.question_count = 0
        # (process id, secret key) of each CancelRequest that came.
        self.cancels: list[tuple[int, int]] = []
        # A CancelRequest's connection is closed, which ends the cancel, once this is set.
        self.may_end_cancels = asyncio.Event()
        self.may_end_cancels.set()
        self.host = "127.0.0.1"
        self.port = port

    async def __aenter__(self) -> FakePostgres:
        self._server = await asyncio.start_server(
            self._accept, self.host, self.port, ssl=self._direct_tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert not self._failures, self._failures

    @property
    def url(self) -> str:
        """Where the pooler finds this server."""
        return f"postgresql://postgres@{self.host}:{self.port}/app"

    @property
    def url_with_password(self) -> str:
        """The same for a user who has a password."""
        return f"postgresql://postgres:secret@{self.host}:{self.port}/app"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the pooler left in the middle, as it may
        except asyncio.CancelledError:
            pass  # the test is over
        except Exception as failure:
            self._failures.append(failure)
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = FakeSession(reader, writer, self)
        code, body = await session.receive_startup()
        while code in (SSL_CODE, GSSENC_CODE):
            await session.send(self._encryption_answer)
            code, body = await session.receive_startup()
        if code == CANCEL_CODE:
            process_id, secret_key = struct.unpack("!II", body)
            self.cancels.append((process_id, secret_key))
            await self.may_end_cancels.wait()
            return
        self.login_count += 1
        session.number = self.login_count
        strings = body.decode().split("\0")
        session.startup = dict(zip(strings[0::2], strings[1::2], strict=False))
        is_first = session.number == 1
        await (self._login if is_first else trust_login)(session)
        await (self._script if is_first else behave)(session)
