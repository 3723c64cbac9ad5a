"""What does a client see, byte by byte, when it speaks the PostgreSQL protocol by hand?

`WireClient` sends messages made by the functions in `tests/wire_messages.py` and shows every
answer as one line of a transcript, so that a test reads as a conversation:

    await client.send(Query("SELECT 1"))
    assert await client.until_ready() == ["T ?column?", "D 1", "C SELECT 1", "Z I"]

Written from the PostgreSQL documentation, chapter "Frontend/Backend Protocol", and from nothing
else: no code is shared with pgpool_lite, so no misreading can hide by being made twice.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType

from tests.wire_messages import (
    PROTOCOL_3_0,
    BackendMessage,
    CancelRequest,
    Query,
    SASLInitialResponse,
    SASLResponse,
    StartupMessage,
    Terminate,
)

# How long a test waits for bytes before it calls the other side hung. Long, because a loaded
# machine is no bug; no test that passes ever waits for it.
PATIENCE_S = 20.0
READ_SIZE = 1 << 18
# Between two looks at a condition that nothing announces.
LOOK_AGAIN_S = 0.01
# What the query "SELECT 1" is answered with.
SELECT_1 = ["T ?column?", "D 1", "C SELECT 1", "Z I"]


class ConnectionLost(Exception):
    """The other side closed the connection while a message was awaited."""


async def eventually(
    condition: Callable[[], bool | Awaitable[bool]], within_s: float = PATIENCE_S
) -> None:
    """Return once `condition` holds; fail the test when it does not within `within_s` seconds."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not await _holds(condition):
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"still not so after {within_s} s: {condition!r}")
        await asyncio.sleep(LOOK_AGAIN_S)


async def _holds(condition: Callable[[], bool | Awaitable[bool]]) -> bool:
    outcome = condition()
    return outcome if isinstance(outcome, bool) else await outcome


class WireClient:
    """One TCP connection to something that speaks the protocol; owned by one test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        # Bytes from the network, and how many of them have been returned.
        self._received = bytearray()
        self._pos = 0
        # Whether a goodbye can no longer be said.
        self._is_input_ended = False
        # Transcript of the login, from the first answer to ReadyForQuery.
        self.welcome: list[str] = []
        # ParameterStatus values as they stand now.
        self.parameters: dict[str, str] = {}
        # From BackendKeyData; 0 before it came.
        self.process_id = 0
        self.secret_key = 0

    @classmethod
    async def open(
        cls, host: str, port: int, direct_tls: ssl.SSLContext | None = None
    ) -> WireClient:
        """Connect without saying anything; with a context, by TLS from the first byte on."""
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection(
                host, port, limit=READ_SIZE, ssl=direct_tls
            )
        return cls(reader, writer)

    async def __aenter__(self) -> WireClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # Logging in

    async def login(
        self,
        user: str = "postgres",
        database: str = "app",
        parameters: Mapping[str, str] | None = None,
        *,
        password: str = "",
        version: int = PROTOCOL_3_0,
    ) -> None:
        """Start up and come to the first ReadyForQuery, proving `password` when asked to."""
        asked_for = {"user": user, "database": database, **(parameters or {})}
        await self.send(StartupMessage(asked_for, version=version))
        await self.finish_login(password)

    async def finish_login(self, password: str = "") -> None:
        """Come from a sent StartupMessage to the first ReadyForQuery."""
        if password:
            await self.prove(password)
        self.welcome = await self.until_ready()
        assert self.welcome[-1] == "Z I", self.welcome

    async def prove(self, password: str) -> None:
        """Answer AuthenticationSASL as RFC 5802 says, and have the other side prove itself too."""
        assert str(await self.receive()) == "R SASL SCRAM-SHA-256"
        first = "n=,r=rOprNGfwEbeRWgbNEkqO"
        await self.send(SASLInitialResponse("SCRAM-SHA-256", f"n,,{first}"))
        challenge = (await self.receive()).body[4:].decode()
        final, signature = scram_final(password, first, challenge)
        await self.send(SASLResponse(final))
        assert (await self.receive()).body[4:].decode() == f"v={signature}"

    # Talking

    async def send(self, *messages: bytes) -> None:
        """Send messages, or any other bytes, in one write."""
        self._writer.write(b"".join(messages))
        async with asyncio.timeout(PATIENCE_S):
            await self._writer.drain()

    @property
    def unsent_size(self) -> int:
        """How many bytes the network has not yet taken."""
        return self._writer.transport.get_write_buffer_size()

    async def send_in_pieces(self, data: bytes, size: int) -> None:
        """Send `data` in writes of `size` bytes, each a segment of its own on the network."""
        raw: socket.socket | None = self._writer.get_extra_info("socket")
        if raw is None:  # the other side was faster
            return
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for pos in range(0, len(data), size):
            await self.send(data[pos : pos + size])
            # Let whatever listens in this process read before the next piece comes.
            await asyncio.sleep(0)

    def end_input(self) -> None:
        """Say that nothing more is sent, while still reading (TCP FIN)."""
        self._writer.write_eof()
        self._is_input_ended = True

    async def receive_exactly(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        while len(self._received) - self._pos < size:
            await self._read_more()
        self._pos += size
        return bytes(self._received[self._pos - size : self._pos])

    async def _read_more(self) -> None:
        """Add what the network has to what was received, and drop what has been returned."""
        if self._pos:
            del self._received[: self._pos]
            self._pos = 0
        try:
            async with asyncio.timeout(PATIENCE_S):
                data = await self._reader.read(READ_SIZE)
        except ConnectionError as error:
            raise ConnectionLost from error
        if not data:
            raise ConnectionLost
        self._received += data

    async def receive(self) -> BackendMessage:
        """Return the next message, noting ParameterStatus and BackendKeyData on the way."""
        header = await self.receive_exactly(5)
        length = int.from_bytes(header[1:], "big")
        message = BackendMessage(chr(header[0]), await self.receive_exactly(length - 4))
        self.note(message)
        return message

    async def receive_available(self) -> list[bytes]:
        """Return the whole messages that have come, at least one, each with its header."""
        while not (found := self._take_whole()):
            await self._read_more()
        return found

    def _take_whole(self) -> list[bytes]:
        found: list[bytes] = []
        received, pos = self._received, self._pos
        while len(received) - pos >= 5:
            end = pos + 1 + int.from_bytes(received[pos + 1 : pos + 5], "big")
            if end > len(received):
                break
            found.append(bytes(received[pos:end]))
            pos = end
        self._pos = pos
        return found

    @property
    def unread(self) -> bytes:
        """What has been received and not returned: after the end, the part of a message."""
        return bytes(self._received[self._pos :])

    async def skip_message(self) -> tuple[str, int]:
        """Read the next message without keeping it; return its type and the size of its body."""
        header = await self.receive_exactly(5)
        size = remaining = int.from_bytes(header[1:], "big") - 4
        while remaining:
            if self._pos == len(self._received):
                await self._read_more()
            skipped = min(remaining, len(self._received) - self._pos)
            self._pos += skipped
            remaining -= skipped
        return chr(header[0]), size

    async def skip_rows(self) -> int:
        """Read DataRow messages without keeping them; return how many there were."""
        count = 0
        while (await self._peek()) == "D":
            await self.skip_message()
            count += 1
        return count

    async def _peek(self) -> str:
        """Return the type of the next message."""
        while self._pos == len(self._received):
            await self._read_more()
        return chr(self._received[self._pos])

    def note(self, message: BackendMessage) -> None:
        """Remember what ParameterStatus and BackendKeyData tell."""
        if message.type == "S":
            name, value = message.strings
            self.parameters[name] = value
        elif message.type == "K":
            self.process_id = int.from_bytes(message.body[:4], "big")
            self.secret_key = int.from_bytes(message.body[4:], "big")

    async def messages_until_ready(self, times: int = 1) -> list[BackendMessage]:
        """Return all messages up to and including the `times`-th ReadyForQuery."""
        messages: list[BackendMessage] = []
        while times:
            messages.append(await self.receive())
            times -= messages[-1].type == "Z"
        return messages

    async def until_ready(self, times: int = 1) -> list[str]:
        """Return the transcript up to and including the `times`-th ReadyForQuery."""
        return [str(message) for message in await self.messages_until_ready(times)]

    async def lines(self, count: int) -> list[str]:
        """Return the transcript of the next `count` messages."""
        return [str(await self.receive()) for _ in range(count)]

    async def until_closed(self) -> list[str]:
        """Return the transcript of what still comes until the other side closes."""
        transcript: list[str] = []
        while True:
            try:
                transcript.append(str(await self.receive()))
            except ConnectionLost:
                return transcript

    async def bytes_until_closed(self) -> bytes:
        """Return everything that still comes, message or not, until the other side closes."""
        while True:
            try:
                await self._read_more()
            except ConnectionLost:
                return bytes(self._received[self._pos :])

    async def until_closed_or(self, ending: list[str]) -> list[str]:
        """Return the transcript up to `ending`, or up to the end where that never comes."""
        transcript: list[str] = []
        while transcript[-len(ending) :] != ending:
            try:
                transcript.append(str(await self.receive()))
            except ConnectionLost:
                break
        return transcript

    async def query(self, sql: str) -> list[str]:
        """Ask with a simple query and return the whole answer."""
        await self.send(Query(sql))
        return await self.until_ready()

    async def value(self, sql: str) -> str:
        """Ask with a simple query and return the only value of the only row."""
        answer = await self.query(sql)
        rows = [line[2:] for line in answer if line.startswith("D")]
        assert len(rows) == 1, answer
        return rows[0]

    def cancel_request(self) -> bytes:
        """Return the CancelRequest that stops this client's query, for another connection."""
        return CancelRequest(self.process_id, self.secret_key)

    # Leaving

    async def close(self) -> None:
        """Say goodbye and wait until the connection is gone; harmless when it is gone already."""
        if not self._is_input_ended and not self._writer.is_closing():
            self._writer.write(Terminate())
        await self._close_socket()

    async def abort(self) -> None:
        """Leave as a killed process does: with a TCP RST and no Terminate."""
        raw: socket.socket | None = self._writer.get_extra_info("socket")
        if raw is None:  # the other side was faster
            return
        # Linger on, for zero seconds: closing then discards what is unsent and resets.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
        await self._close_socket()

    async def _close_socket(self) -> None:
        self._writer.close()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._writer.wait_closed()
        except ConnectionError:
            pass  # the other side was quicker


def scram_final(password: str, first_bare: str, challenge: str) -> tuple[str, str]:
    """Return client-final-message and the server signature to expect (RFC 5802 section 3)."""
    nonce, salt, iterations = (part[2:] for part in challenge.split(",", 2))
    salted = hashlib.pbkdf2_hmac(
        "sha256", password.encode(), base64.b64decode(salt), int(iterations)
    )
    without_proof = f"c=biws,r={nonce}"
    auth = f"{first_bare},{challenge},{without_proof}".encode()
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(client_key).digest(), auth, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    server_signature = hmac.digest(server_key, auth, "sha256")
    return (
        f"{without_proof},p={base64.b64encode(proof).decode()}",
        base64.b64encode(server_signature).decode(),
    )
