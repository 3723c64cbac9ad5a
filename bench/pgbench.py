"""How is one pgbench run started, and what does its output say?

`compare.py` decides what is run and when. `-S` runs one SELECT by primary key per transaction: the
shortest transaction there is, so the one in which a pooler's own cost weighs most.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from bench.doors import Door
from bench.errors import BenchError
from bench.percentiles import percentiles, read_latencies
from bench.postgres import Database, Postgres
from bench.targets import Target
from bench.workload import Length, RunResult, Unit

# A pgbench thread prepares its clients' statements one by one, waiting for each: with more clients
# per thread than the pool has servers it waits for a server that only itself could free. One thread
# per client rules that out; past this many, threads cost more than they teach.
MAX_THREADS = 64

# What a run may take beyond its measured time before it counts as blocked.
GRACE_S = 60.0

# Enough in all for the logins of a rehearsal not to matter, few enough to take a second in strace.
REHEARSED_TRANSACTIONS = 4000
REHEARSED_CONNECTS = 400
LEAST_PER_CLIENT = 20


class Mode(StrEnum):
    """pgbench's query modes: which messages carry a statement."""

    SIMPLE = "simple"
    EXTENDED = "extended"
    PREPARED = "prepared"


class Script(StrEnum):
    """What pgbench runs: its own two scripts, and the shorter one with a new connection each."""

    SELECT = "select"
    CONNECT = "connect"
    TPCB = "tpcb"

    @property
    def arguments(self) -> list[str]:
        """pgbench's options for it; -n leaves the tables unvacuumed."""
        return {
            Script.SELECT: ["-n", "-S"],
            Script.CONNECT: ["-n", "-S", "-C"],
            Script.TPCB: ["-n"],
        }[self]

    @property
    def sampling_rate(self) -> float | None:
        """Which part of the transactions has its latency logged; None where none has.

        A tenth of many gives percentiles that one log line per transaction would not better, at a
        cost to pgbench that does not show. With -C pgbench's log leaves the connecting out.
        """
        return {Script.SELECT: 0.1, Script.CONNECT: None, Script.TPCB: 1.0}[self]


@dataclass(frozen=True, slots=True)
class PgbenchWorkload:
    """pgbench with a query mode, a number of clients and a script."""

    mode: Mode
    clients: int
    script: Script = Script.SELECT
    program: str = "pgbench"
    door: Door = Door.OPEN

    unit = Unit.TRANSACTION
    rounds = None

    def arguments(self) -> list[str]:
        """Return pgbench's options for it."""
        threads = min(self.clients, MAX_THREADS)
        counts = ["-c", str(self.clients), "-j", str(threads)]
        return [*self.script.arguments, "-M", self.mode.value, *counts]

    def lasts(self, length: Length) -> str:
        """Say how long one run is."""
        return str(length)

    def command(self, length: Length) -> str:
        """Return the command of one run; whom it connects to is in the environment."""
        return " ".join([self.program, *self.arguments(), *length.arguments()])

    def run(self, target: Target, length: Length) -> RunResult:
        """Run pgbench once; raise BenchError when it fails, loses a client, or blocks."""
        arguments = [self.program, *self.arguments(), *length.arguments()]
        timeout_s = length.seconds + GRACE_S if length.seconds else None
        rate = self.script.sampling_rate
        if rate is None:
            return parse_output(_call(arguments, target.database, timeout_s))
        with tempfile.TemporaryDirectory() as folder:
            log = ["-l", f"--log-prefix={folder}/log", f"--sampling-rate={rate}"]
            result = parse_output(_call([*arguments, *log], target.database, timeout_s))
            return replace(result, percentiles_ms=percentiles(read_latencies(Path(folder))))

    def rehearse(self, target: Target) -> RunResult:
        """Run a few thousand transactions, or a few hundred where each opens a connection."""
        total = REHEARSED_CONNECTS if self.script is Script.CONNECT else REHEARSED_TRANSACTIONS
        return self.run(target, Length(transactions=max(LEAST_PER_CLIENT, total // self.clients)))

    def __str__(self) -> str:
        """Name it as the tables do."""
        options = " ".join(option for option in self.script.arguments if option != "-n")
        named = f"pgbench {options} -M {self.mode.value}, {self.clients} clients"
        return ", ".join(filter(None, (" ".join(named.split()), self.door.value)))


# "including reconnection times" is what is said with -C: there connecting is what is measured.
_TRANSACTIONS = re.compile(r"^number of transactions actually processed: (\d+)", re.MULTILINE)
_TPS = re.compile(r"^tps = ([\d.]+) \((?:without|excluding|including reconnection)", re.MULTILINE)
_LATENCY = re.compile(r"^latency average = ([\d.]+) ms", re.MULTILINE)


def parse_output(text: str) -> RunResult:
    """Read pgbench's report; raise BenchError when a line is missing or nothing was processed."""
    transactions, tps, latency = (
        pattern.search(text) for pattern in (_TRANSACTIONS, _TPS, _LATENCY)
    )
    if transactions is None or tps is None or latency is None or int(transactions[1]) == 0:
        raise BenchError(f"pgbench reported no result: {text.strip() or 'it wrote nothing'}")
    return RunResult(int(transactions[1]), float(tps[1]), float(latency[1]))


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
