"""Both storms see the same clients, and the result names every failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.burst import BURST_S, ClientResult, Figures, Sample, Storm, plan_clients
from bench.errors import BenchError, require
from bench.picture import draw_storms
from bench.storm import describe

FIGURES = Figures(4, 100, 3, 5, "pgpool_lite")
REFUSED = "53300 sorry, too many clients already"
DIRECT = Storm(
    [ClientResult(1.5, ""), *[ClientResult(0.5, REFUSED)] * 3],
    [Sample(0.0, 0), Sample(0.5, 96), Sample(1.5, 0)],
)
POOLED = Storm([ClientResult(2.0, "")] * 4, [Sample(0.0, 0), Sample(0.5, 5), Sample(2.0, 5)])


def test_the_same_seed_draws_the_same_clients() -> None:
    assert plan_clients(20) == plan_clients(20)
    assert plan_clients(20) != plan_clients(20, seed=1)


def test_all_clients_come_within_the_burst() -> None:
    starts = [plan.start_at_s for plan in plan_clients(200)]

    assert starts == sorted(starts)
    assert 0.0 <= starts[0] < starts[-1] <= BURST_S


def test_a_storm_knows_its_failures_peak_and_length() -> None:
    assert (len(DIRECT.failures), DIRECT.peak, DIRECT.took_s) == (3, 96, 1.5)


def test_the_table_counts_failures_and_names_their_error() -> None:
    text = describe(DIRECT, POOLED, FIGURES)

    assert "straight at PostgreSQL      3 of 4                    96       1.5" in text
    assert "through a pool of 5         0 of 4                     5       2.0" in text
    assert text.endswith(f"3 x {REFUSED}")


def test_a_missing_extra_is_one_sentence() -> None:
    with pytest.raises(BenchError, match=r"no_such_module is not installed: pip install"):
        require("no_such_module")


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    output = tmp_path / "storm.png"

    draw_storms(DIRECT, POOLED, FIGURES, output)

    assert output.read_bytes().startswith(b"\x89PNG")


def test_a_storm_without_refusals_can_be_drawn_too(tmp_path: Path) -> None:
    output = tmp_path / "storm.png"

    draw_storms(POOLED, POOLED, FIGURES, output)

    assert output.stat().st_size > 0
