"""Percentiles come from pgbench's own log, whose lines may also say that there was no latency."""

from __future__ import annotations

from pathlib import Path

from bench.percentiles import percentiles, read_latencies
from bench.workload import Percentiles


def test_the_latencies_of_all_threads_logs_are_read(tmp_path: Path) -> None:
    (tmp_path / "log.7").write_text("0 199 2241 0 1175850568 995598\n0 200 skipped 0 1 2\n")
    (tmp_path / "log.7.1").write_text("1 3 500 0 1175850568 998079\n")

    assert sorted(read_latencies(tmp_path)) == [0.5, 2.241]


def test_a_percentile_is_a_latency_that_was_measured() -> None:
    assert percentiles(range(100, 0, -1)) == Percentiles(50, 95, 99)


def test_one_latency_is_every_percentile() -> None:
    assert percentiles([0.4]) == Percentiles(0.4, 0.4, 0.4)


def test_an_empty_sample_has_no_percentiles() -> None:
    assert percentiles([]) is None
