"""How is one pgbench run started, and what does its output say?

`compare.py` decides what is run and when. `-S` runs one SELECT by primary key per transaction: the
shortest transaction there is, so the one in which a pooler's own cost weighs most.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bench.errors import BenchError
from bench.postgres import Database, Postgres

# A pgbench thread prepares its clients' statements one by one, waiting for each: with more clients
# per thread than the pool has servers it waits for a server that only itself could free. One thread
# per client rules that out; past this many, threads cost more than they teach.
MAX_THREADS = 64

# What a run may take beyond its measured time before it counts as blocked.
GRACE_S = 60.0


class Mode(StrEnum):
    """pgbench's query modes: which messages carry a statement."""

    SIMPLE = "simple"
    EXTENDED = "extended"
    PREPARED = "prepared"


@dataclass(frozen=True, slots=True)
class Length:
    """How long one run lasts: so many seconds, or so many transactions per client."""

    seconds: int = 0
    transactions: int = 0

    def arguments(self) -> list[str]:
        """Return pgbench's option for it."""
        return ["-t", str(self.transactions)] if self.transactions else ["-T", str(self.seconds)]

    def __str__(self) -> str:
        """Say it in words."""
        if self.transactions:
            return f"{self.transactions:,} transactions per client"
        return f"{self.seconds} s"


@dataclass(frozen=True, slots=True)
class Workload:
    """What all targets are put through in turn: a query mode and a number of clients."""

    mode: Mode
    clients: int

    def arguments(self) -> list[str]:
        """Return pgbench's options for it."""
        threads = min(self.clients, MAX_THREADS)
        return ["-n", "-S", "-M", self.mode.value, "-c", str(self.clients), "-j", str(threads)]

    def __str__(self) -> str:
        """Name it as the tables do."""
        return f"pgbench -S -M {self.mode.value}, {self.clients} clients"


@dataclass(frozen=True, slots=True)
class RunResult:
    """What pgbench reports of one run."""

    transactions: int
    tps: float
    latency_ms: float


_TRANSACTIONS = re.compile(r"^number of transactions actually processed: (\d+)", re.MULTILINE)
_TPS = re.compile(r"^tps = ([\d.]+) \((?:without|excluding)", re.MULTILINE)
_LATENCY = re.compile(r"^latency average = ([\d.]+) ms", re.MULTILINE)


def parse_output(text: str) -> RunResult:
    """Read pgbench's report; raise BenchError when a line is missing or nothing was processed."""
    transactions, tps, latency = (
        pattern.search(text) for pattern in (_TRANSACTIONS, _TPS, _LATENCY)
    )
    if transactions is None or tps is None or latency is None or int(transactions[1]) == 0:
        raise BenchError(f"pgbench reported no result: {text.strip() or 'it wrote nothing'}")
    return RunResult(int(transactions[1]), float(tps[1]), float(latency[1]))


def command(program: str, workload: Workload, length: Length) -> list[str]:
    """Return the command of one run; whom it connects to is in the environment."""
    return [program, *workload.arguments(), *length.arguments()]


def run(program: str, database: Database, workload: Workload, length: Length) -> RunResult:
    """Run pgbench once; raise BenchError when it fails, loses a client, or blocks."""
    timeout_s = length.seconds + GRACE_S if length.seconds else None
    return parse_output(_call(command(program, workload, length), database, timeout_s))


def _call(arguments: Sequence[str], database: Database, timeout_s: float | None = None) -> str:
    try:
        done = subprocess.run(
            arguments,
            env=database.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"pgbench blocked: not done {GRACE_S:.0f} s after its time") from None
    if done.returncode != 0:
        raise BenchError(f"pgbench failed: {_first_error(done.stderr)}")
    return done.stdout


def _first_error(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if "error" in line or "FATAL" in line]
    return lines[0] if lines else stderr.strip() or "it wrote no reason"


def prepare_tables(postgres: Postgres, scale: int) -> str:
    """Make sure pgbench's tables are there, and say what was found or made.

    Tables that exist are used as they are: the server may be someone's own.
    """
    if postgres.query("SELECT to_regclass('pgbench_accounts')"):
        rows = postgres.query("SELECT count(*) FROM pgbench_accounts")
        return f"found, {int(rows):,} accounts"
    program = postgres.programs.find("pgbench")
    _call([program, "-i", "-q", "-s", str(scale)], postgres.database)
    return f"made by pgbench -i, scale {scale}"
