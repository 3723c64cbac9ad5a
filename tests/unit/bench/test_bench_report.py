"""The tables show medians, spread and the ratio to PgBouncer, and say what is missing."""

from __future__ import annotations

import json

from bench.compare import Outcome, Plan, Run
from bench.pgbench import Mode, PgbenchWorkload
from bench.report import Setting, Summary, as_json, render, summarize
from bench.workload import Length, Percentiles

WORKLOAD = PgbenchWorkload(Mode.SIMPLE, 16)
PLAN = Plan([WORKLOAD], rounds=3, length=Length(seconds=5))


def make_run(target: str, number: int, tps: float, cpu_us: float | None) -> Run:
    return Run(target, WORKLOAD, number, 1000, tps, 0.5, cpu_us, Percentiles(0.4, 0.8, 1.2))


RUNS = [
    make_run("pgpool_lite", 1, 18_000.0, 22.0),
    make_run("pgbouncer", 1, 20_000.0, 20.0),
    make_run("direct", 1, 30_000.0, None),
    make_run("pgpool_lite", 2, 19_000.0, 21.0),
    make_run("pgbouncer", 2, 21_000.0, 19.0),
    make_run("pgpool_lite", 3, 17_000.0, 26.0),
    make_run("pgbouncer", 3, 19_000.0, 90.0),
]


def row_of(table: str, target: str) -> list[str]:
    return next(line.split() for line in table.splitlines() if line.strip().startswith(target))


def test_a_summary_is_not_moved_by_one_disturbed_run() -> None:
    assert summarize([20.0, 19.0, 90.0], [10.0]) == Summary(20.0, 19.0, 90.0, 2.0)


def test_nothing_measured_has_no_summary() -> None:
    assert summarize([], [10.0]) is None


def test_without_pgbouncer_there_is_no_ratio() -> None:
    assert summarize([20.0], []) == Summary(20.0, 20.0, 20.0, None)


def test_a_row_shows_median_spread_and_ratio_of_each_measure() -> None:
    row = row_of(render(Outcome(RUNS), PLAN), "pgpool_lite")

    assert row[1:4] == ["22.0", "(21.0-26.0)", "1.10x"]
    assert row[4:7] == ["18,000", "(17,000-19,000)", "0.90x"]


def test_percentiles_are_medians_alone() -> None:
    row = row_of(render(Outcome(RUNS), PLAN), "pgpool_lite")

    assert row[-3:] == ["0.400", "0.800", "1.200"]


def test_direct_postgresql_has_no_pooler_cpu() -> None:
    assert row_of(render(Outcome(RUNS), PLAN), "direct")[1] == "-"


def test_the_title_says_what_was_run() -> None:
    title = render(Outcome(RUNS), PLAN).splitlines()[0]

    assert title == (
        "pgbench -S -M simple, 16 clients: 3 rounds of 5 s, median (min-max), ratio to pgbouncer"
    )


def test_what_was_not_measured_is_said_below() -> None:
    text = render(Outcome(RUNS[:1], ["pgbouncer is not found"]), PLAN)

    assert text.endswith("Not measured:\n  pgbouncer is not found")


def test_the_json_file_holds_setting_commands_runs_and_summaries() -> None:
    setting = Setting("2026-01-01T00:00:00+00:00", {"cores": 2}, {"postgresql": "15.18"})

    document = json.loads(as_json(Outcome(RUNS), PLAN, [], setting))

    assert document["machine"] == {"cores": 2}
    assert document["commands"] == ["pgbench -n -S -M simple -c 16 -j 16 -T 5"]
    assert len(document["runs"]) == len(RUNS)
    assert document["summary"][0]["ratio"] == 1.1
