"""How is one conversation held twice, with PostgreSQL directly and through the pooler?

A case is a list of `Step`s: frontend messages, and what is no message: waiting for the answers,
a cut between two reads, another client at work. Wherever a case waits with no transaction open,
the next message finds another server: the pool has three, takes the one that is idle longest, and
other clients turn the round further and leave their own statements behind.

Names and texts carry the number of the case, so that cases do not know each other's statements.
Used by the tests named `test_prepared_*`; says nothing of what PostgreSQL should answer.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from pgpool_lite.pooler import Pooler
from tests.integration.conftest import Address, Connect
from tests.wire_client import ConnectionLost, WireClient
from tests.wire_messages import (
    BackendMessage,
    Bind,
    ClosePortal,
    CloseStatement,
    DescribePortal,
    DescribeStatement,
    Execute,
    Flush,
    Parse,
    Query,
    Sync,
)

SERVERS = 3
# An answer that is not there after so long is missing; the tests' usual patience would make
# hypothesis' search for a smaller case of a hang very long.
HUNG_S = 8.0
# How many cases a connection serves before it starts with nothing prepared again.
CASES_PER_CLEARING = 200


class Kind(Enum):
    """What a step is for its segment."""

    EXTENDED = auto()  # opens one
    END = auto()  # Sync or Query: ends one
    WAIT = auto()  # ends one if it is open, then awaits all answers
    CUT = auto()  # what follows comes in a read of its own
    CUT_INSIDE = auto()  # the next message comes in two reads
    OTHER = auto()  # another client sends this, and awaits its answer


class Step:
    """One thing that happens in a case."""

    def __init__(self, kind: Kind, shown: str, build: Callable[[str], bytes]) -> None:
        self.kind = kind
        self._shown = shown
        # Takes the case's number and returns the message.
        self.build = build

    def __repr__(self) -> str:
        return self._shown


def _nothing(_: str) -> bytes:
    return b""


def _numbered(name: str, number: str) -> str:
    return name and name + number


def parse(sql: str, name: str = "") -> Step:
    def build(number: str) -> bytes:
        return Parse(f"{sql} --{number}", _numbered(name, number))

    return Step(Kind.EXTENDED, f"Parse({sql!r}, {name!r})", build)


def bind(*values: str, statement: str = "", portal: str = "") -> Step:
    def build(number: str) -> bytes:
        return Bind(*values, statement=_numbered(statement, number), portal=portal)

    shown = f"Bind({', '.join(map(repr, values))}, statement={statement!r}, portal={portal!r})"
    return Step(Kind.EXTENDED, shown.replace("(, ", "("), build)


def _of_statement(function: Callable[[str], bytes], name: str) -> Step:
    def build(number: str) -> bytes:
        return function(_numbered(name, number))

    return Step(Kind.EXTENDED, f"{function.__name__}({name!r})", build)


def describe_statement(name: str = "") -> Step:
    return _of_statement(DescribeStatement, name)


def close_statement(name: str) -> Step:
    return _of_statement(CloseStatement, name)


def _fixed(kind: Kind, shown: str, data: bytes) -> Step:
    return Step(kind, shown, lambda _: data)


def describe_portal(name: str = "") -> Step:
    return _fixed(Kind.EXTENDED, f"DescribePortal({name!r})", DescribePortal(name))


def close_portal(name: str = "") -> Step:
    return _fixed(Kind.EXTENDED, f"ClosePortal({name!r})", ClosePortal(name))


def execute(portal: str = "", limit: int = 0) -> Step:
    return _fixed(Kind.EXTENDED, f"Execute({portal!r}, {limit})", Execute(portal, limit))


def query(sql: str) -> Step:
    return _fixed(Kind.END, f"Query({sql!r})", Query(sql))


def deallocate(name: str) -> Step:
    def build(number: str) -> bytes:
        return Query(f"DEALLOCATE {name}{number}")

    return Step(Kind.END, f"deallocate({name!r})", build)


def other(shown: str, build: Callable[[str], bytes]) -> Step:
    return Step(Kind.OTHER, f"OTHER({shown})", build)


SYNC = _fixed(Kind.END, "Sync()", Sync())
FLUSH = _fixed(Kind.EXTENDED, "Flush()", Flush())
WAIT = Step(Kind.WAIT, "WAIT", _nothing)
CUT = Step(Kind.CUT, "CUT", _nothing)
CUT_INSIDE = Step(Kind.CUT_INSIDE, "CUT_INSIDE", _nothing)


class Batch:
    """What a case says between two waits: one write to PostgreSQL, some to the pooler."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = [b""]
        # Whether a segment is open behind what is here.
        self.is_open = False
        # Whether the next message is to be cut in two.
        self.cuts_next = False
        # What a ReadyForQuery should come for: "S" for a Sync, "Q" for a Query, "q" for a Query
        # inside of a segment, which PostgreSQL skips if something before it failed.
        self.endings = ""

    def add(self, step: Step, number: str) -> None:
        data = step.build(number)
        if step.kind is Kind.END:
            self.endings += "S" if step is SYNC else "q" if self.is_open else "Q"
        self.is_open = step.kind is Kind.EXTENDED
        if self.cuts_next:
            half = len(data) // 2
            self.pieces[-1] += data[:half]
            self.pieces.append(data[half:])
            self.cuts_next = False
        else:
            self.pieces[-1] += data


@dataclass(frozen=True, slots=True)
class _Cast:
    """Who takes part: a client of each side, and the other client of the pooler."""

    pooler: Pooler
    direct: WireClient
    pooled: WireClient
    other: WireClient

    async def leave(self) -> None:
        for client in (self.direct, self.pooled, self.other):
            await client.abort()
        await self.pooler.stop()


class TwoConversations:
    """Cases, one after the other, on connections that last until one of them fails."""

    def __init__(
        self, make: Callable[[], Awaitable[Pooler]], postgres: Address, connect: Connect
    ) -> None:
        self._make = make
        self._postgres = postgres
        self._connect = connect
        self._cast: _Cast | None = None
        # Number of the case at hand.
        self._number = 0
        # A case has failed: from now on each has a pooler to itself, as hypothesis looks for a
        # smaller one and must not be misled by what an earlier case has left.
        self._is_fresh = False
        self._last: Sequence[Step] = ()

    async def hold(self, steps: Sequence[Step]) -> None:
        """Go through a case; fail where the two conversations differ."""
        if self._cast is not None and self._is_fresh:
            await self._cast.leave()
            self._cast = None
        cast = self._cast = self._cast or await self._gather()
        self._number += 1
        try:
            await self._go_through(cast, self._with_start(steps), str(self._number))
        except BaseException as error:
            if not self._is_fresh:
                error.add_note(f"if it does not happen again: the case before was {self._last}")
            self._is_fresh = True
            raise
        self._last = steps

    def _with_start(self, steps: Sequence[Step]) -> list[Step]:
        """Return the steps behind one that ends what the last case left, and before a wait."""
        clears = self._number % CASES_PER_CLEARING == 0
        clearing = [query("DEALLOCATE ALL"), WAIT] if clears else []
        return [query("ROLLBACK"), WAIT, *clearing, *steps, WAIT]

    async def _gather(self) -> _Cast:
        """Connect everyone afresh, and have the pool open all its servers."""
        pooler = await self._make()
        clients = [await self._connect(pooler) for _ in range(SERVERS)]
        for client in clients:
            assert (await client.query("BEGIN"))[-1] == "Z T"
        for client in clients:
            await client.query("COMMIT")
        await clients[2].close()
        return _Cast(pooler, await self._connect(self._postgres), *clients[:2])

    async def _go_through(self, cast: _Cast, steps: Sequence[Step], number: str) -> None:
        batch = Batch()
        for step in steps:
            if step.kind is Kind.OTHER:
                await cast.other.send(step.build(number), Sync())
                await cast.other.until_ready()
            elif step.kind is Kind.WAIT:
                await self._exchange(cast.direct, cast.pooled, batch)
                batch = Batch()
            elif step.kind is Kind.CUT:
                batch.pieces.append(b"")
            elif step.kind is Kind.CUT_INSIDE:
                batch.cuts_next = True
            else:
                batch.add(step, number)

    async def _exchange(self, direct: WireClient, pooled: WireClient, batch: Batch) -> None:
        """Send a batch on both sides and compare the answers."""
        if batch.is_open or "q" in batch.endings.rpartition("S")[2]:
            batch.add(SYNC, "")
        if not batch.endings:
            return
        await direct.send(*batch.pieces)
        for piece in filter(None, batch.pieces):
            await pooled.send(piece)
            await asyncio.sleep(0)
        expected = await _answers(direct, batch.endings)
        try:
            async with asyncio.timeout(HUNG_S):
                seen = await pooled.messages_until_ready(sum(each.type == "Z" for each in expected))
        except (TimeoutError, ConnectionLost) as error:
            raise AssertionError(f"{error!r} in place of {_transcript(expected)}") from None
        assert are_alike(expected, seen), explain(expected, seen)


async def _answers(client: WireClient, endings: str) -> list[BackendMessage]:
    """Return everything up to the ReadyForQuery of the last ending."""
    messages: list[BackendMessage] = []
    while endings:
        messages.append(await client.receive())
        if messages[-1].type == "Z":
            endings = endings[1:]
        elif messages[-1].type == "E" and endings[0] == "q" and not _is_of_query(messages[-1]):
            endings = endings[endings.index("S") :]
    return messages


def _is_of_query(message: BackendMessage) -> bool:
    """Say whether an error is of a Query, not of the segment before it."""
    fields = message.fields
    return fields["R"] == "exec_simple_query" or "simple" in fields["M"]


# What differs, and may: see docs/prepared-statements.md.
_STATEMENT_NAME = re.compile(r'prepared statement "[^"]*"')
_SOURCE_FIELDS = frozenset("FLR")
_ADDED_FIELDS = frozenset("DH")


FAILED_TRANSACTION = "25P02"


def are_alike(expected: Sequence[BackendMessage], seen: Sequence[BackendMessage]) -> bool:
    """Say whether a client could not tell the two apart, but for the words of help in errors."""
    rest = list(expected)
    for found in seen:
        if not rest:
            return False
        if _is_refused_in_failure(found) and rest[0].type != "E":
            # PostgreSQL describes a statement without rows in a failed transaction; the pooler's
            # own Parse in front of that is refused, and with it the segment.
            rest = rest[[each.type for each in rest].index("Z") :]
        elif not _is_alike(rest.pop(0), found):
            return False
    return not rest


def _is_alike(expected: BackendMessage, seen: BackendMessage) -> bool:
    if expected.type != "E" or seen.type != "E":
        return expected == seen
    wanted, found = _fields(expected), _fields(seen)
    if _is_refused_in_failure(seen):
        # The pooler's own Parse, in front of a Bind or of a Parse whose name is taken, is refused
        # in a failed transaction; PostgreSQL would have found another error in the client's.
        return True
    added = found.keys() - wanted.keys()
    return added <= _ADDED_FIELDS and wanted == {key: found.get(key) for key in wanted}


def _is_refused_in_failure(message: BackendMessage) -> bool:
    return message.type == "E" and message.fields["C"] == FAILED_TRANSACTION


def _fields(message: BackendMessage) -> dict[str, str]:
    """Return what an error says, without statement names and places in PostgreSQL's source."""
    return {
        field: _STATEMENT_NAME.sub("prepared statement", value)
        for field, value in message.fields.items()
        if field not in _SOURCE_FIELDS
    }


def explain(expected: Sequence[BackendMessage], seen: Sequence[BackendMessage]) -> str:
    """Say what differs."""
    return f"\n  PostgreSQL: {_transcript(expected)}\n  pooler:     {_transcript(seen)}"


def _transcript(messages: Sequence[BackendMessage]) -> str:
    return " · ".join(map(str, messages))
