"""Is every reply its owner's, whole, in order and once? Clients that check each byte, and a ledger.

A `RawClient` sends transactions in pipelines, cut anywhere, and compares each message that comes
with the one that must come now. The end of the connection is the only excuse: what came before must
have been right up to the byte, and behind a FATAL nothing may follow. It then connects again, as an
application would, and never sends a transaction twice.

A `Ledger` knows which transactions were promised and which are in doubt, because the connection
ended before their answer. In the end the rows in the table must be those: everything that was
promised, nothing that failed, nothing twice.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.reliability.fault_proxy import Address
from tests.reliability.transactions import (
    CANCELED,
    IDLE,
    Author,
    Failure,
    Reply,
    Transaction,
    split,
)
from tests.wire_client import ConnectionLost, WireClient
from tests.wire_messages import BackendMessage, StartupMessage

# A client that finds no way in so often gives up: that is no fault any more.
ATTEMPTS = 400
DEEPEST_PIPELINE = 12
# What PostgreSQL says when a COPY from a connection ends with that: no FATAL, but the last words.
CONNECTION_FAILED = "08006"


class Broken(AssertionError):
    """A reply was not what its client was owed."""


class ConnectionEnded(Exception):
    """The connection ended: with a FATAL error, or without a word."""


@dataclass
class Ledger:
    """What all clients were promised, and what may have happened besides."""

    promised: Counter[tuple[int, int]] = field(default_factory=Counter)
    in_doubt: dict[tuple[int, int], int] = field(default_factory=dict)
    # Transactions that were answered whole, by kind.
    answered: Counter[str] = field(default_factory=Counter)
    # Connections that ended, by the SQLSTATE that was said; "" is an end without a word.
    endings: Counter[str] = field(default_factory=Counter)

    @property
    def answered_count(self) -> int:
        """How many transactions were answered whole."""
        return sum(self.answered.values())

    def check(self, rows: list[tuple[int, int]]) -> None:
        """Compare with the rows of the table; raise Broken if something is lost, or too much."""
        found = Counter(rows)
        for row, count in found.items():
            owed = self.promised[row] or self.in_doubt.get(row, 0)
            if count != owed:
                raise Broken(f"row {row} is there {count} times, should be {owed} times")
        lost = [row for row in self.promised if row not in found]
        if lost:
            raise Broken(f"{len(lost)} rows are lost that were promised, {lost[:3]} among them")


class RawClient:
    """One client that checks what it hears; owned by the scenario."""

    def __init__(
        self,
        number: int,
        random: Random,
        ledger: Ledger,
        address: Callable[[], Address],
        *,
        may_lose: bool,
        may_wait: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._random = random
        self._ledger = ledger
        # Asked at every connection: a restarted pooler listens elsewhere.
        self._address = address
        # Faults strike, so the connection may end.
        self._may_lose = may_lose
        self._may_cancel = may_wait
        self._tls = tls
        self._author = Author(random, number, may_wait=may_wait)
        self._client: WireClient | None = None

    async def run(self, count: int) -> None:
        """Have `count` transactions sent; those that an end of the connection swallowed count."""
        attempts_left = ATTEMPTS
        while self._author.seq < count:
            try:
                if self._client is None:
                    await self._connect()
                await self._converse(count - self._author.seq)
                attempts_left = ATTEMPTS
            except (ConnectionEnded, ConnectionLost, OSError) as ending:
                attempts_left -= 1
                if not self._may_lose:
                    raise Broken(f"the connection ended, and no fault had struck: {ending}") from (
                        ending
                    )
                if not attempts_left:
                    raise Broken("no way in any more") from ending
                await self._drop()
        if self._client is not None:
            await self._client.close()

    async def _connect(self) -> None:
        address = self._address()
        self._author.forget_connection()
        self._client = client = await WireClient.open(address.host, address.port, self._tls)
        await client.send(StartupMessage({"user": "postgres", "database": "app"}))
        while True:
            for message in await client.receive_available():
                if message.startswith(b"E"):
                    self._end(BackendMessage("E", message[5:]))
                if message == IDLE:
                    return
                client.note(BackendMessage(chr(message[0]), message[5:]))

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.abort()
        await asyncio.sleep(0)

    def _end(self, error: BackendMessage) -> None:
        """Take note of a FATAL error."""
        fields = error.fields
        if fields.get("V") not in ("FATAL", "PANIC") and fields.get("C") != CONNECTION_FAILED:
            raise Broken(f"an error instead of an answer: {fields}")
        self._ledger.endings[f"{fields['C']} {fields['M']}"] += 1
        raise ConnectionEnded(fields["M"])

    async def _converse(self, most: int) -> None:
        """Send a pipeline of transactions and check the whole answer."""
        if self._may_cancel and self._random.random() < 0.02:
            await self._be_canceled()
            return
        depth = min(self._random.randint(1, DEEPEST_PIPELINE), most)
        pipeline = [self._author.write() for _ in range(depth)]
        request = b"".join(each.request for each in pipeline)
        reader = Reader(self._client, pipeline, self._ledger, self._end)
        sending = asyncio.ensure_future(self._send(request))
        try:
            await reader.read()
            await sending
        finally:
            sending.cancel()
            reader.settle()

    async def _send(self, request: bytes) -> None:
        """Send in one piece, or in pieces that are cut anywhere."""
        client, random = self._client, self._random
        assert client is not None
        pos = 0
        while pos < len(request):
            size = len(request) if random.random() < 0.7 else random.randint(1, 300)
            await client.send(request[pos : pos + size])
            pos += size
            await asyncio.sleep(0)

    async def _be_canceled(self) -> None:
        """Ask for what takes long, and have it canceled, a little early or late."""
        client, address = self._client, self._address()
        assert client is not None
        await client.send(self._author.write_cancel().request)
        messages: list[bytes] = []
        answer = asyncio.ensure_future(self._answer_to_cancel(messages))
        try:
            # A cancel that comes before its query has reached PostgreSQL strikes nothing.
            while not answer.done():
                async with await WireClient.open(address.host, address.port, self._tls) as other:
                    await other.send(client.cancel_request())
                    await other.until_closed()
                await asyncio.wait([answer], timeout=0.02)
            await answer
        finally:
            answer.cancel()
        error = BackendMessage("E", messages[0][5:])
        if messages[0][:1] != b"E" or error.fields.get("C") != CANCELED:
            raise Broken(f"instead of a canceled query: {messages}")
        self._ledger.answered["canceled"] += 1

    async def _answer_to_cancel(self, messages: list[bytes]) -> None:
        assert self._client is not None
        while not messages or messages[-1] != IDLE:
            for message in await self._client.receive_available():
                error = BackendMessage("E", message[5:])
                if message.startswith(b"E") and error.fields.get("V") != "ERROR":
                    self._end(error)
                messages.append(message)


class Reader:
    """Compares the answers to one pipeline with what they must be."""

    def __init__(
        self,
        client: WireClient | None,
        pipeline: list[Transaction],
        ledger: Ledger,
        end: Callable[[BackendMessage], None],
    ) -> None:
        assert client is not None
        self._client = client
        self._ledger = ledger
        self._end = end
        self._unread = list(reversed(pipeline))
        # Of the transaction whose answer comes now: what is still to come, the next one last.
        self._expected: list[Reply] = []
        self._heard_count = 0
        self._now: Transaction | None = None
        self._next()

    def _next(self) -> None:
        self._now = self._unread.pop() if self._unread else None
        self._heard_count = 0
        if self._now is not None:
            replies = [split(r) if isinstance(r, bytes) else [r] for r in self._now.replies]
            self._expected = [reply for part in replies for reply in part][::-1]

    async def read(self) -> None:
        """Read until everything is answered."""
        while self._now is not None:
            try:
                messages = await self._client.receive_available()
            except ConnectionLost:
                self._check_torn(self._client.unread)
                self._ledger.endings[""] += 1
                raise
            for number, message in enumerate(messages):
                try:
                    self._take(message)
                except ConnectionEnded as end:
                    await self._check_nothing_follows(messages[number + 1 :], str(end))
                    raise

    def _take(self, message: bytes) -> None:
        if self._now is None and message.startswith(b"E"):
            self._end(BackendMessage("E", message[5:]))
        if message.startswith(b"N"):
            return  # a warning of what is to come, for whoever hears it
        if self._now is None:
            raise Broken(f"more than was asked for: {message[:200]!r}")
        expected = self._expected[-1]
        if message != expected and not self._is_said_by(message, expected):
            return
        self._expected.pop()
        self._heard_count += 1
        if self._heard_count == self._now.promised_at:
            self._promise(self._now)
        if not self._expected:
            self._ledger.answered[self._now.kind] += 1
            self._next()

    def _is_said_by(self, message: bytes, expected: Reply) -> bool:
        """Say whether a message that differs is as good; False: it is nobody's in particular."""
        if message[:1] == b"N":
            return False
        error = BackendMessage("E", message[5:])
        if message[:1] == b"E" and isinstance(expected, Failure):
            fields = error.fields
            if fields["C"] == expected.sqlstate and expected.needle in fields["M"]:
                return True
        if message[:1] == b"E" and (
            error.fields.get("V") in ("FATAL", "PANIC")
            or error.fields.get("C") == CONNECTION_FAILED
        ):
            self._end(error)
        raise Broken(f"{self._now}: not {expected!r:.300} but {message!r:.300}")

    def _promise(self, transaction: Transaction) -> None:
        for seq in transaction.rows:
            self._ledger.promised[(transaction.client, seq)] += 1

    def _check_torn(self, unread: bytes) -> None:
        """See that the part of a message at the end is the beginning of the one that was due."""
        expected = self._expected[-1] if self._now is not None else b""
        if isinstance(expected, Failure):
            expected = b"E" + unread[1:]
        if not expected.startswith(unread) and unread[:1] not in (b"E", b"N"):
            raise Broken(f"torn: not {expected!r:.300} but {unread!r:.300}")

    async def _check_nothing_follows(self, messages: list[bytes], said: str) -> None:
        """See that behind a FATAL come the end and at most another FATAL, the pooler's own."""
        try:
            while True:
                for message in messages:
                    fields = BackendMessage("E", message[5:]).fields
                    if message[:1] != b"E" or fields.get("V") != "FATAL":
                        raise Broken(f"{self._now}: behind FATAL {said}: {messages!r:.300}")
                messages = await self._client.receive_available()
        except ConnectionLost:
            pass

    def settle(self) -> None:
        """Note as in doubt what was sent and not promised."""
        if self._now is None:
            return
        unsure = [
            *self._unread,
            *([self._now] if self._heard_count < self._now.promised_at else []),
        ]
        for transaction in unsure:
            for seq in transaction.rows:
                row = (transaction.client, seq)
                self._ledger.in_doubt[row] = self._ledger.in_doubt.get(row, 0) + 1
