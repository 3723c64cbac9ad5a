"""What does a client ask, so that every byte of the answer proves whose it is?

An `Author` writes transactions for one client. Each has a token that nobody else has, "client 7
says 12", and comes with the whole answer that PostgreSQL owes to it: message by message, byte by
byte, but for errors, which must name the token. What a transaction leaves in the table `ledger` is
part of it too, so that the rows can be counted afterwards.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.wire_messages import (
    Bind,
    CloseStatement,
    CommandComplete,
    CopyData,
    CopyDone,
    CopyFail,
    DataRow,
    DescribePortal,
    Execute,
    Flush,
    ParameterStatus,
    Parse,
    Query,
    ReadyForQuery,
    RowDescription,
    Sync,
    message,
)

LEDGER = "CREATE UNLOGGED TABLE ledger (client int, seq int)"

PARSED, BOUND, CLOSED = message("1"), message("2"), message("3")
SUSPENDED = message("s")
BEGUN = CommandComplete("BEGIN") + ReadyForQuery("T")
INSERTED = CommandComplete("INSERT 0 1")
IDLE, IN_BLOCK, FAILED = ReadyForQuery(), ReadyForQuery("T"), ReadyForQuery("E")
CANCELED = "57014"
# Lasts until somebody ends it, and has no columns.
SLEEP = "DO 'BEGIN PERFORM pg_sleep(20); END' -- {0}"


@dataclass(frozen=True, slots=True)
class Failure:
    """An ErrorResponse that must say this."""

    sqlstate: str
    # What the sentence must contain, to show whose it is.
    needle: str = ""


#: Whole messages, or one error.
Reply = bytes | Failure


@dataclass(frozen=True, slots=True)
class Transaction:
    """What is sent, what must come back, and what it leaves behind."""

    kind: str
    client: int
    request: bytes
    replies: tuple[Reply, ...]
    # The sequence numbers that stand in the ledger if it is committed.
    rows: tuple[int, ...] = ()
    # How many whole messages of the answer have to come before the rows are promised.
    promised_at: int = 0


def count_messages(replies: tuple[Reply, ...]) -> int:
    """Return of how many messages an answer consists."""
    return sum(len(split(reply)) if isinstance(reply, bytes) else 1 for reply in replies)


def split(data: bytes) -> list[bytes]:
    """Return the messages in whole messages."""
    found: list[bytes] = []
    pos = 0
    while pos < len(data):
        end = pos + 1 + int.from_bytes(data[pos + 1 : pos + 5], "big")
        found.append(data[pos:end])
        pos = end
    return found


class Author:
    """Writes what one client says."""

    def __init__(self, random: Random, client: int, *, may_wait: bool = True) -> None:
        self._random = random
        self.client = client
        self.seq = 0
        # Names that the client has prepared on the connection at hand.
        self._names: set[str] = set()
        kinds: list[tuple[int, Callable[[str], Transaction]]] = [
            (6, self._simple),
            (3, self._two_in_one),
            (4, self._block),
            (4, self._rolled_back),
            (3, self._savepoint),
            (6, self._extended),
            (6, self._prepared),
            (2, self._closed),
            (3, self._prepared_block),
            (3, self._failing),
            (3, self._failing_segment),
            (3, self._suspended),
            (3, self._copy_in),
            (2, self._copy_in_extended),
            (2, self._copy_failing),
            (3, self._copy_out),
            (1, self._large_row),
            (1, self._large_query),
            (2, self._parameter),
        ]
        if may_wait:
            kinds.append((1, self._timed_out))
        self._weights = [weight for weight, _ in kinds]
        self._kinds = [kind for _, kind in kinds]

    def forget_connection(self) -> None:
        """Begin a new connection: nothing is prepared there."""
        self._names.clear()

    def write(self) -> Transaction:
        """Write the next transaction."""
        self.seq += 1
        (kind,) = self._random.choices(self._kinds, self._weights)
        return kind(f"client {self.client} says {self.seq}")

    def write_cancel(self) -> Transaction:
        """Write one that lasts until it is canceled."""
        self.seq += 1
        token = f"client {self.client} says {self.seq}"
        request = Query(SLEEP.format(token))
        return Transaction("cancel", self.client, request, ())

    @property
    def _insert(self) -> str:
        return f"INSERT INTO ledger VALUES ({self.client}, {self.seq})"

    def _made(
        self, request: bytes, *replies: Reply, kind: str, rows: int = 0, promised: int = 0
    ) -> Transaction:
        """Return one that leaves `rows` rows, promised by all but the last `promised` messages."""
        at = count_messages(replies) - promised
        return Transaction(kind, self.client, request, replies, (self.seq,) * rows, at)

    # --- simple queries ---

    def _simple(self, token: str) -> Transaction:
        reply = RowDescription("t") + DataRow(token) + CommandComplete("SELECT 1") + IDLE
        return self._made(Query(f"SELECT '{token}'::text AS t"), reply, kind="simple")

    def _two_in_one(self, token: str) -> Transaction:
        row = RowDescription("t") + DataRow(token) + CommandComplete("SELECT 1")
        request = Query(f"SELECT '{token}'::text AS t; {self._insert}")
        return self._made(request, row, INSERTED, IDLE, kind="two in one", rows=1, promised=1)

    def _block(self, token: str) -> Transaction:
        """Remember the token in the transaction, where only its own server has it."""
        request = (
            Query("BEGIN")
            + Query(f"SELECT set_config('oracle.token', '{token}', true) AS t")
            + Query(self._insert)
            + Query("SELECT current_setting('oracle.token') AS t")
            + Query("COMMIT")
        )
        row = RowDescription("t") + DataRow(token) + CommandComplete("SELECT 1") + IN_BLOCK
        replies = (BEGUN, row, INSERTED + IN_BLOCK, row, CommandComplete("COMMIT"), IDLE)
        return self._made(request, *replies, kind="block", rows=1, promised=1)

    def _rolled_back(self, token: str) -> Transaction:
        request = Query("BEGIN") + Query(self._insert) + Query(f"SELECT '{token}'::int")
        request += Query("SELECT 1") + Query("ROLLBACK")
        return self._made(
            request,
            BEGUN + INSERTED + IN_BLOCK,
            Failure("22P02", token),
            FAILED,
            Failure("25P02"),
            FAILED + CommandComplete("ROLLBACK") + IDLE,
            kind="rolled back",
        )

    def _savepoint(self, token: str) -> Transaction:
        request = Query("BEGIN") + Query(self._insert) + Query("SAVEPOINT s") + Query(self._insert)
        request += Query(f"SELECT '{token}'::int") + Query("ROLLBACK TO s") + Query("COMMIT")
        return self._made(
            request,
            BEGUN + INSERTED + IN_BLOCK + CommandComplete("SAVEPOINT") + IN_BLOCK,
            INSERTED + IN_BLOCK,
            Failure("22P02", token),
            FAILED + CommandComplete("ROLLBACK") + IN_BLOCK + CommandComplete("COMMIT"),
            IDLE,
            kind="savepoint",
            rows=1,
            promised=1,
        )

    def _timed_out(self, token: str) -> Transaction:
        request = Query(f"BEGIN; {self._insert}; SET LOCAL statement_timeout = 5")
        request += Query(SLEEP.format(token)) + Query("ROLLBACK")
        return self._made(
            request,
            CommandComplete("BEGIN") + INSERTED + CommandComplete("SET") + IN_BLOCK,
            # If it strikes at once PostgreSQL says "user request": start_xact_command comes twice,
            # and the second time forgets that the timeout has struck.
            Failure(CANCELED, "canceling statement due to"),
            FAILED + CommandComplete("ROLLBACK") + IDLE,
            kind="timed out",
        )

    def _failing(self, token: str) -> Transaction:
        request = Query(f"{self._insert}; SELECT '{token}'::int")
        return self._made(request, INSERTED, Failure("22P02", token), IDLE, kind="failing")

    def _parameter(self, token: str) -> Transaction:
        """Set what follows a client to every server, and ask for it."""
        request = Query(f"SET application_name = '{token}'") + Query("SHOW application_name")
        name = ParameterStatus("application_name", token)
        replies = CommandComplete("SET") + name + IDLE + RowDescription("application_name")
        replies += DataRow(token) + CommandComplete("SHOW") + IDLE
        return self._made(request, replies, kind="parameter")

    def _large_row(self, token: str) -> Transaction:
        digest, times = hashlib.md5(token.encode()).hexdigest(), self._random.randint(500, 6000)
        request = Query(f"SELECT repeat(md5('{token}'), {times}) AS t")
        reply = RowDescription("t") + DataRow(digest * times) + CommandComplete("SELECT 1") + IDLE
        return self._made(request, reply, kind="large row")

    def _large_query(self, token: str) -> Transaction:
        comment = "-" * self._random.randint(1000, 60_000)
        request = Query(f"{self._insert} --{comment}\n RETURNING '{token}'::text AS t")
        replies = RowDescription("t") + DataRow(token) + INSERTED, IDLE
        return self._made(request, *replies, kind="large query", rows=1, promised=1)

    # --- extended queries ---

    def _extended(self, token: str) -> Transaction:
        request = Parse("SELECT $1::text AS t") + Bind(token) + DescribePortal() + Execute()
        reply = PARSED + BOUND + RowDescription("t") + DataRow(token) + CommandComplete("SELECT 1")
        return self._made(request + Sync(), reply + IDLE, kind="extended")

    def _use(self, text: str, name: str) -> tuple[bytes, bytes]:
        """Return what prepares a statement, unless the client has it, and the answer to that."""
        if name in self._names:
            return b"", b""
        self._names.add(name)
        return Parse(text, name), PARSED

    def _prepared(self, token: str) -> Transaction:
        """Use one of several statements that clients name as they like."""
        number = self._random.randint(1, 6)
        name = f"s{(number + self.client) % 6}"  # not what others call it
        text = f"SELECT $1::text || ' by {number}' AS t"
        parse, parsed = self._use(text, name)
        request = parse + Bind(token, statement=name) + Execute() + Sync()
        suffix = (int(name[1:]) - self.client) % 6 or 6
        reply = parsed + BOUND + DataRow(f"{token} by {suffix}") + CommandComplete("SELECT 1")
        return self._made(request, reply + IDLE, kind="prepared")

    def _closed(self, token: str) -> Transaction:
        name = self._random.choice(sorted(self._names) or ["s0"])
        self._names.discard(name)
        request = CloseStatement(name) + Parse("SELECT $1::text AS t") + Bind(token) + Execute()
        reply = CLOSED + PARSED + BOUND + DataRow(token) + CommandComplete("SELECT 1") + IDLE
        return self._made(request + Sync(), reply, kind="closed")

    def _prepared_block(self, token: str) -> Transaction:
        parse, parsed = self._use("INSERT INTO ledger VALUES ($1::int, $2::int)", "insert")
        values = str(self.client), str(self.seq)
        request = Parse("BEGIN") + Bind() + Execute() + parse
        request += Bind(*values, statement="insert") + Execute() + Sync()
        request += Parse("COMMIT") + Bind() + Execute() + Sync()
        begun = PARSED + BOUND + CommandComplete("BEGIN") + parsed + BOUND + INSERTED + IN_BLOCK
        commit = PARSED + BOUND + CommandComplete("COMMIT")
        return self._made(request, begun, commit, IDLE, kind="prepared block", rows=1, promised=1)

    def _failing_segment(self, token: str) -> Transaction:
        """Send a segment that fails in the middle, and one behind it."""
        request = Parse(self._insert) + Bind() + Execute() + Parse("SELECT $1::int AS t")
        request += Bind(token) + Execute() + Parse("SELECT 1") + Bind() + Execute() + Sync()
        request += Parse("SELECT $1::text AS t") + Bind(token) + Execute() + Sync()
        done = PARSED + BOUND + INSERTED + PARSED
        behind = IDLE + PARSED + BOUND + DataRow(token) + CommandComplete("SELECT 1") + IDLE
        return self._made(request, done, Failure("22P02", token), behind, kind="failing segment")

    def _suspended(self, token: str) -> Transaction:
        """Read a portal in portions, with a Flush between them."""
        text = "SELECT $1::text || ' row ' || n FROM generate_series(1, 3) AS n"
        request = Query("BEGIN") + Parse(text) + Bind(token, portal="p") + Execute("p", 2) + Flush()
        request += Execute("p", 2) + Sync() + Query("COMMIT")
        rows = [DataRow(f"{token} row {number}") for number in (1, 2, 3)]
        reply = BEGUN + PARSED + BOUND + rows[0] + rows[1] + SUSPENDED + rows[2]
        reply += CommandComplete("SELECT 1") + IN_BLOCK + CommandComplete("COMMIT") + IDLE
        return self._made(request, reply, kind="suspended")

    # --- copies ---

    def _copy_in(self, token: str) -> Transaction:
        count = self._random.randint(1, 20)
        row = CopyData(f"{self.client}\t{self.seq}\n".encode())
        request = Query("COPY ledger FROM STDIN") + row * count + CopyDone()
        replies = COPY_IN_2 + CommandComplete(f"COPY {count}"), IDLE
        return self._made(request, *replies, kind="copy in", rows=count, promised=1)

    def _copy_in_extended(self, token: str) -> Transaction:
        row = CopyData(f"{self.client}\t{self.seq}\n".encode())
        request = Parse("COPY ledger FROM STDIN") + Bind() + Execute() + row + CopyDone() + Sync()
        replies = PARSED + BOUND + COPY_IN_2 + CommandComplete("COPY 1"), IDLE
        return self._made(request, *replies, kind="copy in, extended", rows=1, promised=0)

    def _copy_failing(self, token: str) -> Transaction:
        row = CopyData(f"{self.client}\t{self.seq}\n".encode())
        request = Query("COPY ledger FROM STDIN") + row + CopyFail(token)
        return self._made(request, COPY_IN_2, Failure(CANCELED, token), IDLE, kind="copy failing")

    def _copy_out(self, token: str) -> Transaction:
        count = self._random.randint(1, 60)
        text = f"COPY (SELECT '{token} row ' || n FROM generate_series(1, {count}) n) TO STDOUT"
        rows = [CopyData(f"{token} row {number}\n".encode()) for number in range(1, count + 1)]
        done = message("c") + CommandComplete(f"COPY {count}") + IDLE
        return self._made(Query(text), COPY_OUT_1 + b"".join(rows) + done, kind="copy out")


COPY_IN_2 = message("G", b"\0" + struct.pack("!hhh", 2, 0, 0))
COPY_OUT_1 = message("H", b"\0" + struct.pack("!hh", 1, 0))
