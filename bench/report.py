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
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench.compare import Outcome, Plan, Run
from bench.pgbench import Workload
from bench.targets import Target

YARDSTICK = "pgbouncer"
NAME_WIDTH = 13
CELL_WIDTH = 34


@dataclass(frozen=True, slots=True)
class Measure:
    """One column: which figure of a run it shows, and how precisely."""

    title: str
    pick: Callable[[Run], float | None]
    digits: int

    def values(self, runs: Sequence[Run]) -> list[float]:
        """Return this figure of each run that has it."""
        return [value for run in runs if (value := self.pick(run)) is not None]


MEASURES = (
    Measure("pooler CPU us/transaction", lambda run: run.cpu_us, 1),
    Measure("transactions/s", lambda run: run.tps, 0),
    Measure("mean latency ms", lambda run: run.latency_ms, 3),
)


@dataclass(frozen=True, slots=True)
class Summary:
    """Median and spread of one figure over the rounds, and its ratio to PgBouncer's median."""

    middle: float
    low: float
    high: float
    ratio: float | None

    def show(self, digits: int) -> str:
        """Return the table's cell: median (min-max) ratio."""
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
        lines += ["", _title(workload, targets, plan), "", *_table(targets)]
    if outcome.left_out:
        lines += ["", "Not measured:", *(f"  {reason}" for reason in outcome.left_out)]
    return "\n".join(lines).lstrip("\n")


def _title(workload: Workload, targets: Mapping[str, Sequence[Run]], plan: Plan) -> str:
    rounds = max(len(runs) for runs in targets.values())
    ratio = f", ratio to {YARDSTICK}" if YARDSTICK in targets else ""
    return f"{workload}: {rounds} rounds of {plan.length}, median (min-max){ratio}"


def _table(targets: Mapping[str, Sequence[Run]]) -> list[str]:
    yardstick = targets.get(YARDSTICK, ())
    rows = [["", *(measure.title for measure in MEASURES)]]
    rows += [
        [name, *(_cell(measure, runs, yardstick) for measure in MEASURES)]
        for name, runs in targets.items()
    ]
    return [_row(row) for row in rows]


def _row(cells: Sequence[str]) -> str:
    name, *figures = cells
    return f"  {name:<{NAME_WIDTH}}{''.join(f'{cell:<{CELL_WIDTH}}' for cell in figures)}".rstrip()


def _cell(measure: Measure, runs: Sequence[Run], yardstick: Sequence[Run]) -> str:
    summary = _summary(measure, runs, yardstick)
    return "-" if summary is None else summary.show(measure.digits)


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

    def __str__(self) -> str:
        """Return it as the lines above the tables."""
        computer = f"{self.machine['cores']} x {self.machine['cpu']}, {self.machine['system']}"
        versions = "; ".join(f"{name} {number}" for name, number in self.versions.items())
        return f"{self.taken_at}, {computer}\n{versions}"


def describe_setting(targets: Sequence[Target], postgresql: str) -> Setting:
    """Describe the setting as it is now: called before the first run, which changes the load."""
    versions = {target.name: target.version for target in targets if target.child is not None}
    return Setting(
        taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        versions={"postgresql": postgresql, **versions},
    )


def as_json(outcome: Outcome, plan: Plan, targets: Sequence[Target], setting: Setting) -> str:
    """Return everything as JSON: machine, versions, commands, each run, and the summaries."""
    document = {
        **asdict(setting),
        "commands": _commands(plan, targets),
        "runs": [asdict(run) for run in outcome.runs],
        "summary": _summaries(outcome.runs),
        "left_out": outcome.left_out,
    }
    return json.dumps(document, indent=2) + "\n"


def _commands(plan: Plan, targets: Sequence[Target]) -> list[str]:
    poolers = [target.command for target in targets if target.command]
    loads = [
        " ".join([plan.program, *workload.arguments(), *plan.length.arguments()])
        for workload in plan.workloads
    ]
    return poolers + loads


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
        for measure in MEASURES
        if (summary := _summary(measure, target_runs, targets.get(YARDSTICK, ())))
    ]


def _summary(measure: Measure, runs: Sequence[Run], yardstick: Sequence[Run]) -> Summary | None:
    return summarize(measure.values(runs), measure.values(yardstick))
