"""How several processes' tables become one."""

from __future__ import annotations

import pytest

from pgpool_lite.console.merging import KEYS, LISTED, Row, merge
from pgpool_lite.console.show import TABLES


def merged(what: str, names: str, *answers: list[Row]) -> list[Row]:
    """Return the merged table of columns that are named in one string."""
    return merge(what, names.split(), answers)


def test_every_table_is_listed_added_up_or_the_same_everywhere() -> None:
    assert set(TABLES) - LISTED - set(KEYS) == {"peers", "version"}


@pytest.mark.parametrize("what", sorted(KEYS))
def test_the_columns_that_rows_are_told_apart_by_exist(what: str) -> None:
    names = [column.name for column in TABLES[what].columns]

    assert set(KEYS[what]) <= set(names)


def test_connections_stand_one_below_the_other() -> None:
    assert merged("clients", "id user", [(1, "a")], [(2, "a"), (4, "b")]) == [
        (1, "a"),
        (2, "a"),
        (4, "b"),
    ]


def test_pools_are_added_up_and_show_the_longest_wait() -> None:
    names = "database user cl_active sv_idle maxwait maxwait_us pool_mode"
    one: list[Row] = [("app", "u", 3, 1, 2, 7, "session")]
    two: list[Row] = [("app", "u", 4, 0, 2, 9, "session"), ("b", "u", 1, 1, 0, 0, "session")]

    assert merged("pools", names, one, two) == [
        ("app", "u", 7, 1, 2, 9, "session"),
        ("b", "u", 1, 1, 0, 0, "session"),
    ]


def test_databases_add_their_limits_up_and_keep_their_port() -> None:
    names = "name port pool_size max_connections paused"
    one: list[Row] = [("app", 5432, 3, 2, 0), ("pgbouncer", 6432, 2, 0, 0)]
    two: list[Row] = [("app", 5432, 2, 2, 1), ("pgbouncer", 6432, 2, 0, 0)]

    assert merged("databases", names, one, two) == [
        ("app", 5432, 5, 4, 1),
        ("pgbouncer", 6432, 2, 0, 0),
    ]


def test_an_average_time_weighs_by_how_much_there_was() -> None:
    names = "database total_xact_count total_xact_time avg_xact_count avg_xact_time"

    assert merged("stats", names, [("app", 10, 100, 3, 100)], [("app", 1, 20, 1, 20)]) == [
        ("app", 11, 120, 4, 80)
    ]
    assert merged("stats", names, [("app", 0, 0, 0, 5)], [("app", 0, 0, 0, 0)]) == [
        ("app", 0, 0, 0, 5)
    ]


def test_totals_weigh_by_the_row_above() -> None:
    one: list[Row] = [("total_xact_time", 100), ("avg_xact_count", 3), ("avg_xact_time", 100)]
    two: list[Row] = [("total_xact_time", 20), ("avg_xact_count", 1), ("avg_xact_time", 20)]

    assert merged("totals", "name value", one, two) == [
        ("total_xact_time", 120),
        ("avg_xact_count", 4),
        ("avg_xact_time", 80),
    ]


def test_stats_totals_have_no_averages_and_stats_averages_no_totals() -> None:
    one: list[Row] = [("app", 3, 100)]
    two: list[Row] = [("app", 1, 20)]

    assert merged("stats_totals", "database xact_count xact_time", one, two) == [("app", 4, 120)]
    assert merged("stats_averages", "database xact_count xact_time", one, two) == [("app", 4, 80)]


def test_users_add_sizes_that_are_text() -> None:
    names = "name pool_size reserve_pool_size current_connections"
    one: list[Row] = [("u", "        3", "", 1)]
    two: list[Row] = [("u", "        2", "", 4)]

    assert merged("users", names, one, two) == [("u", "        5", "", 5)]


def test_settings_are_shown_as_they_are_written() -> None:
    names = "key value default changeable"
    one: list[Row] = [("default_pool_size", "10", "20", "yes"), ("listen_port", "1", "2", "no")]
    two: list[Row] = [("default_pool_size", "9", "20", "yes"), ("listen_port", "1", "2", "no")]

    assert merged("config", names, one, two) == [
        ("default_pool_size", "19", "20", "yes"),
        ("listen_port", "1", "2", "no"),
    ]


def test_lists_add_connections_and_keep_what_is_common() -> None:
    one: list[Row] = [("databases", 2), ("used_clients", 3)]
    two: list[Row] = [("databases", 3), ("used_clients", 4)]

    assert merged("lists", "list items", one, two) == [("databases", 3), ("used_clients", 7)]


def test_one_paused_process_makes_a_paused_pooler() -> None:
    one: list[Row] = [("active", "yes"), ("paused", "no")]
    two: list[Row] = [("active", "no"), ("paused", "yes")]

    assert merged("state", "key value", one, two) == [("active", "no"), ("paused", "yes")]


def test_null_stays_null_unless_somebody_knows() -> None:
    assert merged("databases", "name host", [("a", None)], [("a", "h")]) == [("a", "h")]
    assert merged("databases", "name host", [("a", None)], [("a", None)]) == [("a", None)]
