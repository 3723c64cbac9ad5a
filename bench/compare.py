"""In which order is everything run, and what is measured around each run?

Targets take turns inside every round (A B C, A B C, ...), so that what else the machine does falls
on all of them alike. A target that fails one workload is left out of the rest of that workload, and
the reason is kept for the report.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bench.errors import BenchError, LeftOut
from bench.system_calls import SystemCalls, count_system_calls
from bench.targets import Target
from bench.workload import Length, Percentiles, Unit, Workload


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a workload against one target, and the CPU its pooler used for each unit."""

    target: str
    workload: Workload
    round: int
    units: float
    per_s: float
    latency_ms: float | None = None
    cpu_us: float | None = None
    percentiles_ms: Percentiles | None = None
    resident_kb: float | None = None

    def __str__(self) -> str:
        """Report it as one line of progress."""
        unit = self.workload.unit
        latency = "" if self.latency_ms is None else f"  {self.latency_ms:7.3f} ms"
        cpu = "" if self.cpu_us is None else f"  {self.cpu_us:6.1f} us CPU per {unit}"
        memory = "" if self.resident_kb is None else f"  {self.resident_kb:.2f} KB per {unit}"
        rate = unit if unit is Unit.MEGABYTE else f"{unit}s"
        return f"{self.target:<27} {self.per_s:>9,.0f} {rate}/s{latency}{cpu}{memory}"


@dataclass(slots=True)
class Outcome:
    """Everything that was measured, and one sentence for each thing that could not be."""

    runs: list[Run] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    system_calls: list[SystemCalls] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run: each workload, so many rounds of so long."""

    workloads: Sequence[Workload]
    rounds: int
    length: Length

    def rounds_of(self, workload: Workload) -> int:
        """Return how many rounds a workload is run."""
        return workload.rounds or self.rounds


def compare(targets: Sequence[Target], plan: Plan, outcome: Outcome) -> None:
    """Run the whole plan and add to the outcome as it goes, so that Ctrl-C keeps what is done."""
    for workload in plan.workloads:
        say(f"{workload}")
        invited = [each for each in targets if each.door is workload.door]
        standing = list(_warmed_up(invited, workload, outcome))
        for number in range(1, plan.rounds_of(workload) + 1):
            standing = list(_one_round(standing, workload, number, plan, outcome))
        _count_system_calls(standing, workload, outcome)


def measure(target: Target, workload: Workload, number: int, plan: Plan) -> Run:
    """Run a workload once against one target and charge the pooler's CPU to what was done."""
    before = target.cpu_s()
    result = workload.run(target, plan.length)
    after = target.cpu_s()
    cpu_us = None
    if before is not None and after is not None:
        cpu_us = (after - before) * 1e6 / result.units
    return Run(
        target=target.name,
        workload=workload,
        round=number,
        units=result.units,
        per_s=result.per_s,
        latency_ms=result.latency_ms,
        cpu_us=cpu_us,
        percentiles_ms=result.percentiles_ms,
        resident_kb=result.resident_kb,
    )


def say(line: str) -> None:
    """Print one line of progress, apart from the result."""
    print(line, file=sys.stderr, flush=True)


def _warmed_up(targets: Sequence[Target], workload: Workload, outcome: Outcome) -> Iterator[Target]:
    for target in targets:
        try:
            workload.rehearse(target)
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
            say(f"  round {number}/{plan.rounds_of(workload)}  {run}")
            yield target


def _count_system_calls(targets: Sequence[Target], workload: Workload, outcome: Outcome) -> None:
    if workload.unit is Unit.CLIENT:  # they do nothing that could be counted
        return
    for target in targets:
        try:
            calls = count_system_calls(target, workload)
        except LeftOut as reason:  # the same for every target: said once
            if str(reason) not in outcome.left_out:
                outcome.left_out.append(str(reason))
            return
        except BenchError as error:
            _leave_out(target, workload, error, outcome)
            continue
        if calls is not None:
            outcome.system_calls.append(calls)
            say(f"  system calls  {target.name:<27} {calls} per {workload.unit}")


def _leave_out(target: Target, workload: Workload, error: BenchError, outcome: Outcome) -> None:
    reason = f"{target.name} at {workload}: {error}"
    outcome.left_out.append(reason)
    say(f"  left out: {reason}")
