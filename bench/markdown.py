"""The same tables as `report.render`, for a page of the documentation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.compare import Outcome, Plan
from bench.report import Setting, by_workload, calls_lines, rows, title


def as_markdown(
    outcome: Outcome, plan: Plan, setting: Setting, command: str, plot: Path | None
) -> str:
    """Return what was measured where, a section for each workload, and what is missing."""
    lines = [f"Measured by `{command}`.", "", *_items(str(setting).splitlines())]
    if plot is not None:
        lines += ["", f"![CPU and throughput of each workload beside PgBouncer's]({plot.name})"]
    for workload, targets in by_workload(outcome.runs).items():
        lines += ["", f"### {workload}", "", _sentence(title(workload, targets, plan)), ""]
        lines += _table(rows(workload, targets))
        if calls := calls_lines(workload, outcome):
            lines += ["", f"System calls per {workload.unit}:", "", *_items(calls)]
    if outcome.left_out:
        lines += ["", "### Not measured", "", *_items(outcome.left_out)]
    return "\n".join(lines) + "\n"


def _sentence(title: str) -> str:
    """Return what a title says after the workload, which the heading has said."""
    said = title.partition(": ")[2]
    return f"{said[:1].upper()}{said[1:]}."


def _items(texts: Sequence[str]) -> Iterator[str]:
    return (f"- {' '.join(text.split())}" for text in texts)


def _table(cells: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows between bars; the first one's empty cell stands above the names."""
    head, *body = cells
    rule = ["---", *("---:" for _ in head[1:])]
    table = [["target", *head[1:]], rule, *body]
    return [f"| {' | '.join(' '.join(cell.split()) for cell in row)} |" for row in table]
