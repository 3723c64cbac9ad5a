"""How do all workloads compare at a glance? One PNG: CPU and throughput as ratios to PgBouncer.

A dot is a target's median, the bar through it its spread, the vertical line PgBouncer: left of it
is less CPU in the left half, right of it more throughput in the right one. Needs matplotlib.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.compare import Run
from bench.errors import BenchError
from bench.picture import DOTS_PER_INCH, FAINT, GRID, INK, PAPER
from bench.report import YARDSTICK, by_workload, summarize
from bench.workload import Workload

WIDTH_INCHES, ROW_INCHES, MARGIN_INCHES = 12.0, 0.42, 1.5
COLOURS = ("#1b6ca8", "#d1495b", "#8d99a6", "#3c8d5a", "#b8860b")
# A target's dots stand a little above or below the middle of the row, so that none hides another.
ROW_SHARE = 0.6


def draw_ratios(runs: Sequence[Run], output: Path) -> None:
    """Draw all workloads in which PgBouncer took part; raise BenchError when there is none."""
    compared = {
        workload: targets for workload, targets in by_workload(runs).items() if YARDSTICK in targets
    }
    names = list(dict.fromkeys(name for each in compared.values() for name in each))
    names = [name for name in names if name != YARDSTICK]
    if not names:
        raise BenchError("there is nothing to draw: no target ran beside PgBouncer")
    height = MARGIN_INCHES + ROW_INCHES * len(compared)
    figure = Figure(figsize=(WIDTH_INCHES, height), dpi=DOTS_PER_INCH, facecolor=PAPER)
    FigureCanvasAgg(figure)
    below, share = 0.75 / height, 1 - MARGIN_INCHES / height
    halves = (
        ("pooler CPU, less is better", 0.30, lambda run: run.cpu_us),
        ("throughput, more is better", 0.66, lambda run: run.per_s),
    )
    for title, left, pick in halves:
        axes = figure.add_axes((left, below, 0.32, share))
        _prepare(axes, title, list(compared), is_named=left < 0.5)
        for number, name in enumerate(names):
            _draw_target(axes, compared, name, number, len(names), pick)
    # The right half has all targets: what is no pooler of its own has throughput, but no CPU.
    figure.legend(
        *figure.axes[-1].get_legend_handles_labels(),
        loc="upper left", ncols=len(names), frameon=False, labelcolor=INK,
    )  # fmt: skip
    figure.savefig(output, facecolor=PAPER)


def _prepare(axes: Axes, title: str, workloads: Sequence[Workload], *, is_named: bool) -> None:
    axes.set_facecolor(PAPER)
    axes.set_ylim(len(workloads) - 0.5, -0.5)
    names = [str(each) for each in workloads] if is_named else []
    axes.set_yticks(range(len(workloads)), names or [""] * len(workloads))
    axes.tick_params(length=0, labelsize=9, labelcolor=INK)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.axvline(1.0, color=INK, linewidth=1.2)
    axes.set_xlabel(f"{title} (1 = PgBouncer)", color=FAINT, fontsize=10)
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)


def _draw_target(
    axes: Axes,
    compared: Mapping[Workload, Mapping[str, Sequence[Run]]],
    name: str,
    number: int,
    count: int,
    pick: Callable[[Run], float | None],
) -> None:
    colour = COLOURS[number % len(COLOURS)]
    shift = (number - (count - 1) / 2) * ROW_SHARE / count
    label: str | None = name
    for row, targets in enumerate(compared.values()):
        mine, base = (
            [value for run in targets.get(each, ()) if (value := pick(run)) is not None]
            for each in (name, YARDSTICK)
        )
        summary = summarize(mine, base)
        if summary is None or not summary.ratio:
            continue
        scale = summary.ratio / summary.middle
        axes.plot(
            [summary.low * scale, summary.high * scale], [row + shift] * 2,
            color=colour, linewidth=3, alpha=0.3, solid_capstyle="round",
        )  # fmt: skip
        axes.plot([summary.ratio], [row + shift], "o", color=colour, markersize=6, label=label)
        label = None  # once in the legend
