"""In which order is everything run, and what is measured around each run?

Targets take turns inside every round (A B C, A B C, ...), so that what else the machine does falls
on all of them alike. A target that fails one workload is left out of the rest of that workload, and
the reason is kept for the report.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bench import pgbench
from bench.errors import BenchError
from bench.pgbench import Length, Workload
from bench.targets import Target

# Before a workload's first round: opens the pool's connections, fills caches, prepares statements.
WARM_UP = Length(transactions=20)


@dataclass(frozen=True, slots=True)
class Run:
    """One pgbench run against one target, and the CPU its pooler used meanwhile."""

    target: str
    workload: Workload
    round: int
    transactions: int
    tps: float
    latency_ms: float
    cpu_us: float | None

    def __str__(self) -> str:
        """Report it as one line of progress."""
        cpu = "" if self.cpu_us is None else f"  {self.cpu_us:6.1f} us CPU per transaction"
        return f"{self.target:<12} {self.tps:>9,.0f} tps  {self.latency_ms:7.3f} ms{cpu}"


@dataclass(slots=True)
class Outcome:
    """Everything that was measured, and one sentence for each thing that could not be."""

    runs: list[Run] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run: each workload, so many rounds of so long."""

    program: str
    workloads: Sequence[Workload]
    rounds: int
    length: Length


def compare(targets: Sequence[Target], plan: Plan, outcome: Outcome) -> None:
    """Run the whole plan and add to the outcome as it goes, so that Ctrl-C keeps what is done."""
    for workload in plan.workloads:
        say(f"{workload}")
        standing = list(_warmed_up(targets, workload, plan, outcome))
        for number in range(1, plan.rounds + 1):
            standing = list(_one_round(standing, workload, number, plan, outcome))


def measure(target: Target, workload: Workload, number: int, plan: Plan) -> Run:
    """Run pgbench once against one target and charge the pooler's CPU to its transactions."""
    before = target.cpu_s()
    result = pgbench.run(plan.program, target.database, workload, plan.length)
    after = target.cpu_s()
    cpu_us = None
    if before is not None and after is not None:
        cpu_us = (after - before) * 1e6 / result.transactions
    return Run(
        target=target.name,
        workload=workload,
        round=number,
        transactions=result.transactions,
        tps=result.tps,
        latency_ms=result.latency_ms,
        cpu_us=cpu_us,
    )


def say(line: str) -> None:
    """Print one line of progress, apart from the result."""
    print(line, file=sys.stderr, flush=True)


def _warmed_up(
    targets: Sequence[Target], workload: Workload, plan: Plan, outcome: Outcome
) -> Iterator[Target]:
    for target in targets:
        try:
            pgbench.run(plan.program, target.database, workload, WARM_UP)
        except BenchError as error:
            _leave_out(target, workload, error, outcome)
        else:
            yield target


def _one_round(
    targets: Sequence[Target], workload: Workload, number: int, plan: Plan, outcome: Outcome
) -> Iterator[Target]:
    for target in targets:
        try:
            run = measure(target, workload, number, plan)
        except BenchError as error:
            _leave_out(target, workload, error, outcome)
        else:
            outcome.runs.append(run)
            say(f"  round {number}/{plan.rounds}  {run}")
            yield target


def _leave_out(target: Target, workload: Workload, error: BenchError, outcome: Outcome) -> None:
    reason = f"{target.name} at {workload}: {error}"
    outcome.left_out.append(reason)
    say(f"  left out: {reason}")
