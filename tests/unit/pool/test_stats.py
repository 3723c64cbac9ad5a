"""Totals are counted where things happen; averages are made of two snapshots."""

from __future__ import annotations

from pgpool_lite.pool.stats import COUNTER_NAMES, Averages, Counters, Stats, average, microseconds


def test_a_snapshot_does_not_follow() -> None:
    counters = Counters(xact_count=1)
    snapshot = counters.copy()

    counters.xact_count += 1

    assert (snapshot.xact_count, counters.xact_count) == (1, 2)


def test_counters_add_up_over_databases() -> None:
    total = Counters(xact_count=1, wait_time=0.5)

    total.add(Counters(xact_count=2, wait_time=0.25, bytes_sent=7))

    assert total == Counters(xact_count=3, wait_time=0.75, bytes_sent=7)


def test_every_counter_has_its_average() -> None:
    averages = average(Counters(), Counters(*[10] * len(COUNTER_NAMES)), 2.0)

    times = {"xact_time", "query_time", "wait_time"}
    assert {getattr(averages, name) for name in COUNTER_NAMES if name not in times} == {5}
    assert {getattr(averages, name) for name in times} == {1_000_000}


def test_counts_are_averaged_per_second_rounded_down() -> None:
    averages = average(Counters(query_count=100), Counters(query_count=120), 7.0)

    assert averages.query_count == 2


def test_times_are_averaged_per_event_in_microseconds() -> None:
    after = Counters(xact_count=4, xact_time=0.01, query_count=8, query_time=0.01)

    averages = average(Counters(), after, 60.0)

    assert (averages.xact_time, averages.query_time) == (2500, 1250)


def test_waiting_is_averaged_per_assignment() -> None:
    after = Counters(server_assignment_count=2, wait_time=1.0)

    assert average(Counters(), after, 60.0).wait_time == 500_000


def test_without_events_times_average_to_nothing() -> None:
    assert average(Counters(), Counters(xact_time=1.0), 60.0).xact_time == 0


def test_a_period_ends_with_its_own_averages() -> None:
    stats = Stats(100.0)
    stats.now.xact_count += 120
    stats.end_period(160.0)
    first = stats.averages.xact_count
    stats.now.xact_count += 60
    stats.end_period(220.0)

    assert (first, stats.averages.xact_count, stats.now.xact_count) == (2, 1, 180)


def test_a_period_without_length_is_none() -> None:
    stats = Stats(100.0)
    stats.now.xact_count += 1

    stats.end_period(100.0)

    assert (stats.averages, stats.period_started_at) == (Averages(), 100.0)
    assert stats.start_of_period == Counters()


def test_times_are_shown_in_whole_microseconds() -> None:
    assert microseconds(1.5) == 1_500_000
