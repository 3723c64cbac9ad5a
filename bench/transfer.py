"""What does a large result, or a large COPY, cost in the relay?

One statement of one client, or a part of it from each of several at once; nothing written to disk:
PostgreSQL makes the rows out of nothing and throws away what is copied in.

One stream is as quick as the one server process behind it, through whatever pooler; several keep
every core busy, so that the pooler's share of the CPU shows in MB/s.
"""

from __future__ import annotations

import struct
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import StrEnum

from bench.doors import Door
from bench.errors import BenchError
from bench.raw_client import RawClient
from bench.targets import Target
from bench.workload import Length, RunResult, Unit

MB = 1_000_000
# What a rehearsal moves, of a whole run.
REHEARSED_PART = 4
# What is quicker is measured by its CPU ticks, of which there are a hundred in a second.
QUICK_PART = 10

NARROW_ROWS = 3_000_000
# DataRow of one column "1": type, length, number of columns, length of the column, one byte.
NARROW_ROW_BYTES = 1 + 4 + 2 + 4 + 1
WIDE_ROWS = 400_000
WIDE_ROW_TEXT = 1000

# As psql sends them: a CopyData message for each line.
COPIED_LINE = b"x" * (WIDE_ROW_TEXT - 1) + b"\n"
COPY_DATA = b"d" + struct.pack("!I", 4 + len(COPIED_LINE)) + COPIED_LINE
LINES_PER_CHUNK = 64
CHUNK = COPY_DATA * LINES_PER_CHUNK
# One query, so one transaction: at its end the table is gone, and it never held a row.
COPY_SQL = (
    "CREATE TEMP TABLE pgpool_lite_bench (line text) ON COMMIT DROP;"
    "COPY pgpool_lite_bench FROM STDIN WHERE false"
)


class Kind(StrEnum):
    """Which way the bytes go, and in rows of which size."""

    NARROW = "narrow"
    WIDE = "wide"
    COPY_IN = "copy-in"


ROWS = {Kind.NARROW: NARROW_ROWS, Kind.WIDE: WIDE_ROWS, Kind.COPY_IN: WIDE_ROWS}
ROW_BYTES = {
    Kind.NARROW: NARROW_ROW_BYTES,
    Kind.WIDE: NARROW_ROW_BYTES - 1 + WIDE_ROW_TEXT,
    Kind.COPY_IN: len(COPY_DATA),
}


@dataclass(frozen=True, slots=True)
class Transfer:
    """So many rows in all to or from so many clients at once, in one statement of each."""

    kind: Kind
    rows: int
    # Each has a stream of its own, and an equal share.
    clients: int = 1

    door = Door.OPEN
    unit = Unit.MEGABYTE
    rounds = None

    @classmethod
    def of(cls, kind: Kind, clients: int = 1, *, is_quick: bool = False) -> Transfer:
        """Return the transfer of a kind in its usual size, or in a tenth of it."""
        return cls(kind, ROWS[kind] // (QUICK_PART if is_quick else 1), clients)

    @property
    def share(self) -> int:
        """How many rows each client has: all the same, and of COPY in whole chunks."""
        step = LINES_PER_CHUNK if self.kind is Kind.COPY_IN else 1
        return max(self.rows // self.clients // step, 1) * step

    def lasts(self, length: Length) -> str:
        """Say how much one run moves; it takes as long as it takes."""
        return f"{self.share * self.clients * ROW_BYTES[self.kind] / MB:,.0f} MB"

    def command(self, length: Length) -> str:
        """Return what is sent."""
        told = [f"{self.share} lines of {WIDE_ROW_TEXT} bytes"] * (self.kind is Kind.COPY_IN)
        told += [f"from {self.clients} clients at once"] * (self.clients > 1)
        sql = COPY_SQL if self.kind is Kind.COPY_IN else self._select()
        return f"{sql};  -- {', '.join(told)}" if told else f"{sql};"

    def run(self, target: Target, length: Length) -> RunResult:
        """Move the rows once; raise BenchError when fewer bytes arrive than they are long.

        Every client has logged in before the clock starts. It stops when the last has finished.
        """
        with ExitStack() as stack:
            threads = stack.enter_context(ThreadPoolExecutor(self.clients))
            # Closed before the threads are waited for: that ends what they wait for, on Ctrl-C too.
            clients = [stack.enter_context(RawClient(target.database)) for _ in range(self.clients)]
            started_at = time.perf_counter()
            streams = [threads.submit(self._stream, client) for client in clients]
            for stream in as_completed(streams):
                stream.result()
            took_s = time.perf_counter() - started_at
        megabytes = self.share * self.clients * ROW_BYTES[self.kind] / MB
        return RunResult(units=megabytes, per_s=megabytes / took_s)

    def rehearse(self, target: Target) -> RunResult:
        """Move a small part of it."""
        return replace(self, rows=self.rows // REHEARSED_PART).run(target, Length())

    def _stream(self, client: RawClient) -> None:
        """Move one client's share."""
        expected = self.share * ROW_BYTES[self.kind]
        if self.kind is Kind.COPY_IN:
            client.copy_in(COPY_SQL, CHUNK, self.share // LINES_PER_CHUNK)
        elif (arrived := client.query(self._select())) < expected:
            raise BenchError(f"{arrived} bytes arrived of {expected}")

    def _select(self) -> str:
        what = "1" if self.kind is Kind.NARROW else f"repeat('x', {WIDE_ROW_TEXT})"
        return f"SELECT {what} FROM generate_series(1, {self.share})"

    def __str__(self) -> str:
        """Name it as the tables do."""
        times = "" if self.clients == 1 else f"{self.clients} streams of "
        if self.kind is Kind.COPY_IN:
            return f"copy-in, {times}{self.share:,} lines of {WIDE_ROW_TEXT:,} bytes"
        size = "1 byte" if self.kind is Kind.NARROW else f"{WIDE_ROW_TEXT:,} bytes"
        results = times or "one result of "
        return f"{self.kind.value}, {results}{self.share:,} rows of {size}"
