"""What do the runs say, in a table for people and in a file for programs?

Medians, because one disturbed run must not move the figure; the spread beside them, because a ratio
smaller than the spread says nothing; the ratio to PgBouncer, because that is the yardstick. All of
it is computed from the runs alone.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench.compare import Outcome, Plan, Run
from bench.doors import Door
from bench.targets import Target
from bench.workload import Percentiles, Unit, Workload

YARDSTICK = "pgbouncer"
NAME_WIDTH = 28
CELL_WIDTH = 34
BRIEF_WIDTH = 9


@dataclass(frozen=True, slots=True)
class Measure:
    """One column: which figure of a run it shows, and how precisely."""

    title: str
    pick: Callable[[Run], float | None]
    digits: int
    # Whether its cells show the median alone.
    is_brief: bool = False

    def values(self, runs: Sequence[Run]) -> list[float]:
        """Return this figure of each run that has it."""
        return [value for run in runs if (value := self.pick(run)) is not None]


def _percentile(pick: Callable[[Percentiles], float]) -> Callable[[Run], float | None]:
    return lambda run: None if run.percentiles_ms is None else pick(run.percentiles_ms)


# Which columns a workload's table has depends on what its figures are counted per.
MEASURES = {
    Unit.TRANSACTION: (
        Measure("pooler CPU us/transaction", lambda run: run.cpu_us, 1),
        Measure("transactions/s", lambda run: run.per_s, 0),
        Measure("mean latency ms", lambda run: run.latency_ms, 3),
        Measure("p50 ms", _percentile(lambda each: each.p50), 3, is_brief=True),
        Measure("p95 ms", _percentile(lambda each: each.p95), 3, is_brief=True),
        Measure("p99 ms", _percentile(lambda each: each.p99), 3, is_brief=True),
    ),
    Unit.MEGABYTE: (
        Measure("pooler CPU us/MB", lambda run: run.cpu_us, 0),
        Measure("MB/s", lambda run: run.per_s, 0),
    ),
    Unit.CLIENT: (
        Measure("resident KB/client", lambda run: run.resident_kb, 2),
        Measure("pooler CPU us/login", lambda run: run.cpu_us, 1),
    ),
}


@dataclass(frozen=True, slots=True)
class Summary:
    """Median and spread of one figure over the rounds, and its ratio to PgBouncer's median."""

    middle: float
    low: float
    high: float
    ratio: float | None

    def show(self, measure: Measure) -> str:
        """Return the table's cell: median (min-max) ratio, or the median alone."""
        digits = measure.digits
        if measure.is_brief:
            return f"{self.middle:,.{digits}f}"
        spread = f"({self.low:,.{digits}f}-{self.high:,.{digits}f})"
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}x"
        return f"{self.middle:,.{digits}f} {spread:<17} {ratio}"


def summarize(values: Sequence[float], yardstick: Sequence[float]) -> Summary | None:
    """Sum up one target's figures against PgBouncer's; None when there is nothing to sum up."""
    if not values:
        return None
    middle = median(values)
    base = median(yardstick) if yardstick else 0.0
    return Summary(middle, min(values), max(values), middle / base if base else None)


def by_workload(runs: Sequence[Run]) -> dict[Workload, dict[str, list[Run]]]:
    """Sort the runs into workloads and targets, both in the order in which they were run."""
    sorted_runs: dict[Workload, dict[str, list[Run]]] = {}
    for run in runs:
        sorted_runs.setdefault(run.workload, {}).setdefault(run.target, []).append(run)
    return sorted_runs


def render(outcome: Outcome, plan: Plan) -> str:
    """Return the tables, and after them what could not be measured."""
    lines: list[str] = []
    for workload, targets in by_workload(outcome.runs).items():
        lines += ["", title(workload, targets, plan), "", *_table(workload, targets)]
        if calls := calls_lines(workload, outcome):
            lines += ["", f"  system calls/{workload.unit}", *(f"  {line}" for line in calls)]
    if outcome.left_out:
        lines += ["", "Not measured:", *(f"  {reason}" for reason in outcome.left_out)]
    return "\n".join(lines).lstrip("\n")


def title(workload: Workload, targets: Mapping[str, Sequence[Run]], plan: Plan) -> str:
    """Say what a table shows: the workload, how often and how long it ran, and of what ratio."""
    rounds = max(len(runs) for runs in targets.values())
    times = f"{rounds} rounds of " if rounds > 1 else ""
    ratio = f", ratio to {YARDSTICK}" if YARDSTICK in targets else ""
    return f"{workload}: {times}{workload.lasts(plan.length)}, median (min-max){ratio}"


def _table(workload: Workload, targets: Mapping[str, Sequence[Run]]) -> list[str]:
    measures = MEASURES[workload.unit]
    longest = max(len(name) for name in targets) + 2  # "compiled, session_leaks = warn"
    widths = [
        max(NAME_WIDTH, longest),
        *(BRIEF_WIDTH if each.is_brief else CELL_WIDTH for each in measures),
    ]
    lines = [
        "".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows(workload, targets)
    ]
    return [f"  {line}" for line in lines]


def calls_lines(workload: Workload, outcome: Outcome) -> list[str]:
    """Return what strace counted at a workload, a line for each target."""
    counted = [each for each in outcome.system_calls if each.workload == workload]
    return [f"{each.target:<{NAME_WIDTH}}{each}" for each in counted]


def rows(workload: Workload, targets: Mapping[str, Sequence[Run]]) -> list[list[str]]:
    """Return a table's cells, row by row: the titles, then each target's name and figures."""
    measures = MEASURES[workload.unit]
    yardstick = targets.get(YARDSTICK, ())
    head = ["", *(measure.title for measure in measures)]
    body = [
        [name, *(_cell(measure, runs, yardstick) for measure in measures)]
        for name, runs in targets.items()
    ]
    return [head, *body]


def _cell(measure: Measure, runs: Sequence[Run], yardstick: Sequence[Run]) -> str:
    summary = _summary(measure, runs, yardstick)
    return "-" if summary is None else summary.show(measure)


def machine() -> dict[str, str | int]:
    """Describe the machine a figure belongs to."""
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 0,
        "system": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load average": load,
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


@dataclass(frozen=True, slots=True)
class Setting:
    """What the figures belong to: the time, the machine, and the version of each part."""

    taken_at: str
    machine: Mapping[str, str | int]
    versions: Mapping[str, str]
    # Resident memory in KB of each pooler before anybody connected, by its name.
    at_rest_kb: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return it as the lines above the tables."""
        computer = f"{self.machine['cores']} x {self.machine['cpu']}, {self.machine['system']}"
        versions = "; ".join(f"{name} {number}" for name, number in self.versions.items())
        lines = [f"{self.taken_at}, {computer}", versions]
        if self.at_rest_kb:
            memory = (f"{name} {kb / 1024:.1f} MB" for name, kb in self.at_rest_kb.items())
            lines.append(f"resident memory at rest: {', '.join(memory)}")
        return "\n".join(lines)


def describe_setting(targets: Sequence[Target], postgresql: str) -> Setting:
    """Describe the setting as it is now: called before the first run, which changes the load."""
    versions = {target.name: target.version for target in targets if target.child is not None}
    return Setting(
        taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        versions={"postgresql": postgresql, **versions},
        at_rest_kb={
            each.name: each.at_rest_kb
            for each in targets
            if each.at_rest_kb and each.door is Door.OPEN
        },
    )


def as_json(outcome: Outcome, plan: Plan, targets: Sequence[Target], setting: Setting) -> str:
    """Return everything as JSON: machine, versions, commands, each run, and the summaries."""
    document = {
        **asdict(setting),
        "commands": _commands(plan, targets),
        "runs": [{**asdict(run), "name": str(run.workload)} for run in outcome.runs],
        "system_calls": [
            {**asdict(each), "name": str(each.workload)} for each in outcome.system_calls
        ],
        "summary": _summaries(outcome.runs),
        "left_out": outcome.left_out,
    }
    return json.dumps(document, indent=2) + "\n"


def _commands(plan: Plan, targets: Sequence[Target]) -> list[str]:
    poolers = [target.command for target in targets if target.command]
    return poolers + [workload.command(plan.length) for workload in plan.workloads]


def _summaries(runs: Sequence[Run]) -> list[dict[str, object]]:
    return [
        {
            "workload": str(workload),
            "target": name,
            "measure": measure.title,
            **asdict(summary),
        }
        for workload, targets in by_workload(runs).items()
        for name, target_runs in targets.items()
        for measure in MEASURES[workload.unit]
        if (summary := _summary(measure, target_runs, targets.get(YARDSTICK, ())))
    ]


def _summary(measure: Measure, runs: Sequence[Run], yardstick: Sequence[Run]) -> Summary | None:
    return summarize(measure.values(runs), measure.values(yardstick))
