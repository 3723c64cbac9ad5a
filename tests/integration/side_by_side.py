"""What bytes does one conversation bring back from PgBouncer, and what from pgpool_lite?

The cases are those of `differential.py`; here both sides are poolers, before one PostgreSQL, which
is asked directly too. Each case has connections of its own, and is over at the first batch that the
poolers answer differently: what comes after would only follow from that. Which differences there
may be is said by `test_prepared_pgbouncer.py`.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.processes import running
from bench.targets import choose_user, find_free_port
from pgpool_lite.dev.cluster import Cluster
from tests.integration.conftest import Address
from tests.integration.differential import SYNC, Batch, Kind, Step
from tests.wire_client import ConnectionLost, WireClient, eventually
from tests.wire_messages import BackendMessage, Sync

# An answer that is not there after so long is missing on that side.
HUNG_S = 4.0
# Statements are numbered by both poolers, but not in step.
_NUMBER = re.compile(rb"PGBOUNCER_\d+")


@dataclass(frozen=True, slots=True)
class Place:
    """Where something listens."""

    host: str
    port: int


@asynccontextmanager
async def pgbouncer(program: str, postgres: Cluster, *settings: str) -> AsyncIterator[Place]:
    """Run the real PgBouncer in transaction mode, its settings otherwise the default ones."""
    place = Place("127.0.0.1", find_free_port())
    lines = (
        "[databases]",
        f"app = host={postgres.host} port={postgres.port} user=postgres",
        "[pgbouncer]",
        f"listen_addr = {place.host}",
        f"listen_port = {place.port}",
        "unix_socket_dir =",
        "auth_type = any",
        "pool_mode = transaction",
        *settings,
    )
    run_as = choose_user() if os.geteuid() == 0 else None  # PgBouncer refuses to run as root
    with TemporaryDirectory() as folder:
        ini, log = _write(folder, "pgbouncer.ini", lines), Path(folder, "log")
        with running([program, "-q", ini], log=log, run_as=run_as):
            await eventually(lambda: _is_listening(place))
            yield place


def _write(folder: str, name: str, lines: Sequence[str]) -> str:
    """Write a file that every user can read; return its path."""
    os.chmod(folder, 0o755)
    path = Path(folder, name)
    path.write_text("\n".join(lines) + "\n")
    return str(path)


async def _is_listening(place: Place) -> bool:
    try:
        _, writer = await asyncio.open_connection(place.host, place.port)
    except OSError:
        return False
    writer.close()
    return True


@dataclass(frozen=True, slots=True)
class Reply:
    """What one batch brought back."""

    messages: Sequence[BackendMessage]
    # "" or how the answers ended before they were complete.
    end: str = ""

    def __str__(self) -> str:
        return " · ".join([*map(str, self.messages), *([self.end] if self.end else [])])


@dataclass(frozen=True, slots=True)
class Difference:
    """The first batch of a case that the two poolers answer differently."""

    steps: Sequence[Step]
    theirs: Reply
    ours: Reply
    postgres: Reply

    @property
    def same_count(self) -> int:
        """How many messages are the same before one differs."""
        pairs = zip(self.theirs.messages, self.ours.messages, strict=False)
        count = 0
        for theirs, ours in pairs:
            if not is_same(theirs, ours):
                break
            count += 1
        return count

    def __str__(self) -> str:
        return (
            f"{self.steps}\n  PgBouncer:   {self.theirs}\n  pgpool_lite: {self.ours}"
            f"\n  PostgreSQL:  {self.postgres}"
        )


@dataclass(frozen=True, slots=True)
class Sides:
    """Where the three sides of a comparison listen."""

    theirs: Address
    ours: Address
    postgres: Address


async def compare(sides: Sides, steps: Sequence[Step], number: str) -> Difference | None:
    """Hold a case on both sides; return where the answers differ first, if they do."""
    batch, batch_steps = Batch(), list[Step]()
    async with AsyncExitStack() as stack:
        poolers = (sides.theirs, sides.ours)
        clients = [await _enter(stack, side) for side in (*poolers, sides.postgres)]
        for step in [*steps, Step(Kind.WAIT, "END", lambda _: b"")]:
            if step.kind is Kind.OTHER:
                for side in poolers:
                    other = await _enter(stack, side)
                    await other.send(step.build(number), Sync())
                    await other.until_ready()
            elif step.kind is Kind.WAIT:
                _close(batch)
                replies = [await _exchange(client, batch) for client in clients]
                if not _are_same(*replies[:2]):
                    return Difference(batch_steps, *replies)
                if replies[0].end:
                    return None
                batch, batch_steps = Batch(), []
            elif step.kind is Kind.CUT:
                batch.pieces.append(b"")
            elif step.kind is Kind.CUT_INSIDE:
                batch.cuts_next = True
            else:
                batch.add(step, number)
            batch_steps.append(step)
    return None


async def _enter(stack: AsyncExitStack, side: Address) -> WireClient:
    client = await stack.enter_async_context(await WireClient.open(side.host, side.port))
    await client.login()
    return client


def _close(batch: Batch) -> None:
    """End the segment that is open."""
    if batch.is_open or "q" in batch.endings.rpartition("S")[2]:
        batch.add(SYNC, "")


async def _exchange(client: WireClient, batch: Batch) -> Reply:
    """Send a batch, each piece in a write of its own, and return what comes back."""
    endings, messages = batch.endings, list[BackendMessage]()
    try:
        for piece in filter(None, batch.pieces):
            await client.send(piece)
            await asyncio.sleep(0)
        async with asyncio.timeout(HUNG_S):
            while endings:
                messages.append(await client.receive())
                endings = _left(endings, messages[-1])
    except TimeoutError:
        return Reply(messages, "HUNG")
    except (ConnectionLost, ConnectionError):
        return Reply(messages, "CLOSED")
    return Reply(messages)


def _left(endings: str, message: BackendMessage) -> str:
    """Return what ReadyForQuery is still to come for; see `Batch.endings`."""
    if message.type == "Z":
        return endings[1:]
    if (
        message.type == "E"
        and endings[0] == "q"
        and "exec_simple" not in message.fields.get("R", "")
    ):
        return endings[endings.index("S") :]
    return endings


def _are_same(theirs: Reply, ours: Reply) -> bool:
    return (
        theirs.end == ours.end
        and len(theirs.messages) == len(ours.messages)
        and all(map(is_same, theirs.messages, ours.messages))
    )


def is_same(theirs: BackendMessage, ours: BackendMessage) -> bool:
    """Say whether two messages are the same to the byte, but for what we add to errors.

    That is DETAIL, HINT, and the severity that is never translated.
    """
    if theirs.type != ours.type:
        return False
    if theirs.type != "E":
        return _unnumbered(theirs.body) == _unnumbered(ours.body)
    added = ours.fields.keys() - theirs.fields.keys()
    return added <= set("VDH") and all(
        _unnumbered(value.encode()) == _unnumbered(ours.fields.get(field, "").encode())
        for field, value in theirs.fields.items()
    )


def _unnumbered(body: bytes) -> bytes:
    return _NUMBER.sub(b"PGBOUNCER_n", body)
