"""The picture shows all workloads in which PgBouncer took part."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.compare import Run
from bench.errors import BenchError
from bench.pgbench import Mode, PgbenchWorkload
from bench.plot import draw_ratios
from bench.transfer import Kind, Transfer

SIMPLE, WIDE = PgbenchWorkload(Mode.SIMPLE, 16), Transfer.of(Kind.WIDE)
RUNS = [
    Run("pgpool_lite compiled", SIMPLE, 1, 1000, 19_000.0, 0.6, 22.0),
    Run("pgbouncer", SIMPLE, 1, 1000, 20_000.0, 0.5, 20.0),
    Run("direct", SIMPLE, 1, 1000, 30_000.0, 0.3),
    Run("pgpool_lite compiled", WIDE, 1, 400, 490.0, cpu_us=700.0),
    Run("pgbouncer", WIDE, 1, 400, 300.0, cpu_us=1500.0),
]


def test_the_picture_is_a_png(tmp_path: Path) -> None:
    output = tmp_path / "ratios.png"

    draw_ratios(RUNS, output)

    assert output.read_bytes().startswith(b"\x89PNG")


def test_without_pgbouncer_there_is_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no target ran beside PgBouncer"):
        draw_ratios(RUNS[:1], tmp_path / "ratios.png")
