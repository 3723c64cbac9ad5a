"""How do the two storms look side by side? One PNG for the README: server connections over time.

Read from left to right it tells the story by itself: a hill that hits a ceiling, a cross for each
client that was refused there, and a thin line along the floor that served the same clients. Needs
matplotlib; called by storm.py only.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.burst import Figures, Storm

# 1200 x 500 points of layout; twice the pixels, for screens that have them.
SIZE_INCHES = (12.0, 5.0)
DOTS_PER_INCH = 200

# What SQLSTATEs stand for: PostgreSQL documentation, appendix A.
CONDITIONS = {"53300": "too_many_connections"}

INK, FAINT, GRID, PAPER = "#1f2933", "#6b7782", "#e4e7eb", "#ffffff"
DIRECT, POOLED = "#d1495b", "#1b6ca8"


def draw_storms(direct: Storm, pooled: Storm, figures: Figures, output: Path) -> None:
    """Draw both storms over one time axis and write the PNG file."""
    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, facecolor=PAPER)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.055, 0.12, 0.92, 0.68))
    _prepare_axes(axes, figures, end_s=min(direct.samples[-1].at_s, pooled.samples[-1].at_s))
    _draw_ceiling(axes, figures)
    _draw_storm(axes, direct, DIRECT)
    _draw_storm(axes, pooled, POOLED)
    _draw_refusals(axes, direct, figures)
    _label(axes, direct, pooled, figures)
    _write_title(figure, direct, pooled, figures)
    figure.savefig(output, facecolor=PAPER)


def _prepare_axes(axes: Axes, figures: Figures, end_s: float) -> None:
    axes.set_facecolor(PAPER)
    axes.set_xlim(0.0, end_s)
    axes.set_ylim(0.0, figures.max_connections * 1.2)
    axes.set_yticks(
        [
            0,
            figures.max_connections // 4,
            figures.max_connections // 2,
            figures.max_connections * 3 // 4,
            figures.max_connections,
        ]
    )
    axes.tick_params(length=0, labelsize=10, labelcolor=FAINT, pad=6)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("seconds since the first client", color=FAINT, fontsize=10, loc="right")
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)


def _draw_storm(axes: Axes, storm: Storm, colour: str) -> None:
    times = [sample.at_s for sample in storm.samples]
    counts = [sample.connections for sample in storm.samples]
    axes.fill_between(times, counts, step="post", color=colour, alpha=0.14, linewidth=0)
    axes.step(times, counts, where="post", color=colour, linewidth=2.2)


def _draw_ceiling(axes: Axes, figures: Figures) -> None:
    axes.axhline(figures.max_connections, color=INK, linewidth=1.1, linestyle=(0, (5, 4)))
    axes.annotate(
        f"max_connections = {figures.max_connections}"
        f" ({figures.reserved_connections} of them for superusers)",
        (1.0, figures.max_connections),
        xycoords=("axes fraction", "data"),
        xytext=(0, 5),
        textcoords="offset points",
        ha="right",
        color=INK,
        fontsize=10.5,
    )


def _draw_refusals(axes: Axes, direct: Storm, figures: Figures) -> None:
    """Mark each refused client at the instant of its refusal, just above the ceiling."""
    times = [result.ended_at_s for result in direct.failures]
    if not times:
        return
    height = figures.max_connections * 1.07
    crosses = [height] * len(times)
    axes.plot(times, crosses, "x", color=DIRECT, markersize=5, markeredgewidth=1.1, alpha=0.7)
    axes.annotate(
        _name_refusal(direct),
        (min(times), height),
        xytext=(-3, 9),
        textcoords="offset points",
        color=DIRECT,
        fontsize=11,
        fontweight="bold",
    )


def _name_refusal(storm: Storm) -> str:
    """Say how many clients failed for the most common reason, and name it by its SQLSTATE.

    The full text differs between PostgreSQL's versions and is longer than the hill is wide.
    """
    codes = Counter(result.error.split()[0] for result in storm.failures)
    code, count = codes.most_common(1)[0]
    return f"{count} clients refused: {code} {CONDITIONS.get(code, '')}".rstrip()


def _label(axes: Axes, direct: Storm, pooled: Storm, figures: Figures) -> None:
    """Name each series where it is, in its own colour, instead of in a legend."""
    full = [sample.at_s for sample in direct.samples if sample.connections * 2 >= direct.peak]
    middle = (full[0] + full[-1]) / 2
    caption = f"up to {direct.peak} server connections"
    _caption(
        axes, "straight at PostgreSQL", caption, (middle, direct.peak * 0.56), DIRECT, "center"
    )
    caption = f"{pooled.peak} connections, {_count_served(pooled, figures)} clients served"
    corner = (axes.get_xlim()[1], pooled.peak + figures.max_connections * 0.035)
    _caption(axes, f"through {figures.pooler}", caption, corner, POOLED, "right")


def _count_served(storm: Storm, figures: Figures) -> str:
    served = figures.clients - len(storm.failures)
    return f"all {served}" if not storm.failures else f"{served} of {figures.clients}"


def _caption(
    axes: Axes, name: str, text: str, at: tuple[float, float], colour: str, alignment: str
) -> None:
    """Write a series' name and, below it, one sentence about it."""
    for line, rise, size, weight in ((text, 0, 11.5, "normal"), (name, 18, 14, "bold")):
        axes.annotate(
            line,
            at,
            xytext=(0, rise),
            textcoords="offset points",
            ha=alignment,
            color=colour,
            fontsize=size,
            fontweight=weight,
        )


def _write_title(figure: Figure, direct: Storm, pooled: Storm, figures: Figures) -> None:
    lost = len(pooled.failures) or "none"
    title = f"{figures.clients} short-lived clients in one second"
    subtitle = (
        f"Server connections over time. Straight at PostgreSQL {len(direct.failures)} of the"
        f" {figures.clients} clients fail; through a pool of {figures.pool_size}, {lost}."
    )
    figure.text(0.03, 0.915, title, color=INK, fontsize=18, fontweight="bold")
    figure.text(0.03, 0.855, subtitle, color=FAINT, fontsize=12)
