"""What is a workload, and what does one run of it say?

`compare.py` runs workloads without knowing which kind they are: pgbench's (`pgbench.py`), one large
transfer (`transfer.py`), many clients that do nothing (`idle.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from bench.doors import Door
from bench.targets import Target


class Unit(StrEnum):
    """What a workload's figures are counted per."""

    TRANSACTION = "transaction"
    MEGABYTE = "MB"
    CLIENT = "client"


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
class Percentiles:
    """Latencies in milliseconds that 50, 95 and 99 % of the sampled transactions stayed within."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class RunResult:
    """What one run did: how many units, how many a second, and what else the workload measures."""

    units: float
    per_s: float
    latency_ms: float | None = None
    percentiles_ms: Percentiles | None = None
    # Resident memory that came with each client, in KB.
    resident_kb: float | None = None


class Workload(Protocol):
    """What all targets are put through in turn; hashable, and named as the tables do by `str`."""

    @property
    def unit(self) -> Unit:
        """What its figures are counted per."""

    @property
    def door(self) -> Door:
        """Through which door its clients come: which of the running targets it is for."""

    @property
    def clients(self) -> int:
        """How many clients are connected at once."""

    @property
    def rounds(self) -> int | None:
        """How many rounds it gives a figure of its own; None for as many as were asked for."""

    def lasts(self, length: Length) -> str:
        """Say how long one run is."""

    def command(self, length: Length) -> str:
        """Say how one run could be repeated by hand, or what it does."""

    def run(self, target: Target, length: Length) -> RunResult:
        """Run once; raise BenchError when it fails, LeftOut where it cannot be run at all."""

    def rehearse(self, target: Target) -> RunResult:
        """Run briefly: opens the pool's connections, fills caches, is what strace looks at."""
