"""SHOW STATS and its kin: counters in PgBouncer's units, and averages of a period."""

from __future__ import annotations

from pgpool_lite.config import DatabaseSettings
from pgpool_lite.console.tables import database_stats
from tests.console_client import Console
from tests.wire_messages import Query

TOTALS = [
    "server_assignment_count",
    "xact_count",
    "query_count",
    "client_bytes",
    "server_bytes",
    "xact_time",
    "query_time",
    "wait_time",
    "ps_client_parse_count",
    "ps_server_parse_count",
    "ps_bind_count",
    "client_login_count",
]


def show(console: Console, what: str) -> list[str]:
    return console.rows(Query(f"SHOW {what}"))


def test_stats_count_the_console_as_a_database() -> None:
    console = Console()

    assert show(console, "STATS")[0] == "pgbouncer|" + "|".join("0110000000010" + "0" * 11)


def test_only_databases_that_were_used_have_stats() -> None:
    console = Console(
        databases={"app": DatabaseSettings(name="app"), "b": DatabaseSettings(name="b")}
    )
    console.add_pool("b")

    for what in ("STATS", "STATS_TOTALS", "STATS_AVERAGES"):
        assert [row.split("|")[0] for row in show(console, what)] == ["b", "pgbouncer"]


def test_times_are_microseconds() -> None:
    console = Console()
    console.add_pool()
    counters = console.registry.databases["app"].stats.now
    counters.xact_count, counters.xact_time = 4, 2.5

    row = show(console, "STATS_TOTALS")[0]

    assert row == "app|0|4|0|0|0|2500000|0|0|0|0|0|0"


def test_averages_of_a_first_period_that_is_not_over_are_those_so_far() -> None:
    console = Console()
    console.add_pool()
    counters = console.registry.databases["app"].stats.now
    counters.xact_count, counters.xact_time = 20, 2.0
    console.now += 10

    assert show(console, "STATS_AVERAGES")[0] == "app|0|2|0|0|0|100000|0|0|0|0|0|0"


def test_averages_of_a_period_stay_until_the_next_one_is_over() -> None:
    console = Console()
    stats = console.registry.databases["app"].stats
    stats.now.query_count = 60
    stats.end_period(console.now + 60)
    stats.now.query_count = 1_000_000
    console.now += 61

    app = database_stats(console.registry, console.now)[0]

    assert (app.query_count, app.averages.query_count) == (1_000_000, 1)


def test_totals_add_up_all_databases() -> None:
    console = Console()
    console.add_pool()
    counters = console.registry.databases["app"].stats.now
    counters.xact_count, counters.xact_time, counters.bytes_received = 5, 0.6, 14
    console.now += 2

    totals = dict(row.split("|") for row in show(console, "TOTALS"))

    assert list(totals) == [f"{kind}_{name}" for kind in ("total", "avg") for name in TOTALS]
    assert totals["total_xact_count"] == "6"
    assert totals["total_client_bytes"] == "14"
    assert totals["avg_client_bytes"] == "7"
    # 0.6 s in five transactions of the database, nothing in one of the console: 0.1 s in each.
    assert totals["avg_xact_time"] == "100000"
