"""Whose word counts: the user's, else the database's, else everyone's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgpool_lite.config import (
    DatabaseSettings,
    PoolMode,
    PreparedStatements,
    Settings,
    SqlPreparedStatements,
    UserSettings,
)
from pgpool_lite.pool.rules import PoolRules, resolve

SETTINGS = Settings(pool_mode=PoolMode.TRANSACTION)
APP = DatabaseSettings(name="app")
ALICE = UserSettings(name="alice")


def test_without_special_words_pgbouncers_defaults_hold() -> None:
    rules = resolve(SETTINGS, APP, ALICE)

    assert replace(rules, statements=None, told=()) == PoolRules()


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ("default_pool_size", "pool_size"),
        ("min_pool_size", "min_pool_size"),
        ("server_check_delay", "check_delay_s"),
        ("server_lifetime", "server_lifetime_s"),
        ("server_idle_timeout", "server_idle_timeout_s"),
        ("server_login_retry", "login_retry_s"),
        ("query_wait_timeout", "query_wait_timeout_s"),
        ("query_wait_notify", "query_wait_notify_s"),
        ("idle_transaction_timeout", "idle_transaction_timeout_s"),
        ("transaction_timeout", "transaction_timeout_s"),
        ("client_idle_timeout", "client_idle_timeout_s"),
        ("client_login_timeout", "client_login_timeout_s"),
        ("cancel_wait_timeout", "cancel_wait_timeout_s"),
    ],
)
def test_each_rule_follows_its_setting(setting: str, rule: str) -> None:
    changed: Settings = replace(SETTINGS, **{setting: 77})  # type: ignore[arg-type]  # any field

    usual = resolve(SETTINGS, APP, ALICE)
    expected: PoolRules = replace(usual, **{rule: 77})  # type: ignore[arg-type]  # any field
    assert resolve(changed, APP, ALICE) == expected


def test_query_timeout_counts_while_a_client_waits_and_then_anew() -> None:
    rules = resolve(replace(SETTINGS, query_timeout=7.0), APP, replace(ALICE, query_timeout=3.0))

    assert (rules.waiting_query_timeout_s, rules.query_timeout_s) == (7.0, 3.0)


def test_round_robin_is_a_setting() -> None:
    assert resolve(replace(SETTINGS, server_round_robin=True), APP, ALICE).round_robin


@pytest.mark.parametrize(
    ("user", "database", "expected"), [(3, 5, 3), (None, 5, 5), (None, None, 20), (0, 5, 0)]
)
def test_the_user_counts_more_than_the_database(
    user: int | None, database: int | None, expected: int
) -> None:
    rules = resolve(SETTINGS, replace(APP, pool_size=database), replace(ALICE, pool_size=user))

    assert rules.pool_size == expected


def test_a_users_timeouts_count() -> None:
    alice = replace(
        ALICE,
        query_timeout=1.0,
        idle_transaction_timeout=3.0,
        transaction_timeout=4.0,
    )

    rules = resolve(SETTINGS, replace(APP, query_wait_timeout=9.0, server_lifetime=6.0), alice)

    assert (rules.query_timeout_s, rules.query_wait_timeout_s) == (1.0, 9.0)
    assert (rules.idle_transaction_timeout_s, rules.transaction_timeout_s) == (3.0, 4.0)
    assert rules.server_lifetime_s == 6.0


def test_timeouts_that_follow_a_client_are_those_of_the_user_it_logged_in_as() -> None:
    users = (
        replace(ALICE, query_wait_timeout=0.0, client_idle_timeout=5.0),
        UserSettings(name="bob", query_wait_timeout=2.0),
    )

    rules = resolve(SETTINGS, APP, ALICE, users)

    assert rules.own_query_wait_timeouts_s == {"alice": 0.0, "bob": 2.0}
    assert rules.own_client_idle_timeouts_s == {"alice": 5.0}


def test_limits_of_servers_beyond_the_pool_are_the_databases_and_the_users() -> None:
    settings = replace(SETTINGS, max_db_connections=9, max_user_connections=8, reserve_pool_size=7)

    common = resolve(settings, APP, ALICE)
    own = resolve(
        settings,
        replace(APP, max_db_connections=3, reserve_pool_size=2),
        replace(ALICE, max_user_connections=1),
    )

    assert (common.max_db_connections, common.max_user_connections) == (9, 8)
    assert (own.max_db_connections, own.max_user_connections) == (3, 1)
    assert (common.reserve_size, own.reserve_size) == (7, 2)


@pytest.mark.parametrize(
    ("mode", "always", "expected"),
    [
        (PoolMode.SESSION, False, "DISCARD ALL"),
        (PoolMode.TRANSACTION, False, ""),
        (PoolMode.STATEMENT, False, ""),
        (PoolMode.TRANSACTION, True, "DISCARD ALL"),
    ],
)
def test_servers_are_reset_in_session_pooling_or_always(
    mode: PoolMode, always: bool, expected: str
) -> None:
    settings = Settings(pool_mode=mode, server_reset_query_always=always)

    assert resolve(settings, APP, ALICE).reset_query == expected


@pytest.mark.parametrize(("text", "query"), [("<empty>", ""), ("", None), ("SELECT 1", "SELECT 1")])
def test_the_empty_check_query_is_written_out(text: str, query: str | None) -> None:
    assert resolve(replace(SETTINGS, server_check_query=text), APP, ALICE).check_query == query


def test_a_forced_user_is_known() -> None:
    assert resolve(SETTINGS, replace(APP, user="x"), ALICE).has_forced_user


def test_a_database_may_have_its_own_mode_and_minimum() -> None:
    app = replace(APP, pool_mode=PoolMode.SESSION, min_pool_size=4)

    rules = resolve(SETTINGS, app, ALICE)

    assert (rules.mode, rules.min_pool_size) == (PoolMode.SESSION, 4)


# --- named prepared statements ---


def test_named_statements_are_mapped_up_to_their_limit() -> None:
    rules = resolve(replace(SETTINGS, max_prepared_statements=7), APP, ALICE).statements

    assert rules is not None
    assert (rules.limit, rules.rejects) == (7, False)


def test_a_databases_limit_of_statements_counts_more() -> None:
    rules = resolve(SETTINGS, replace(APP, max_prepared_statements=3), ALICE).statements

    assert rules is not None
    assert rules.limit == 3


def test_without_a_limit_names_pass_as_they_are() -> None:
    settings = replace(SETTINGS, max_prepared_statements=0)

    assert resolve(settings, APP, ALICE).statements is None


def test_session_pooling_needs_no_mapping_of_names() -> None:
    assert resolve(Settings(pool_mode=PoolMode.SESSION), APP, ALICE).statements is None


def test_a_database_may_have_sql_tracked_or_not() -> None:
    tracking = replace(APP, sql_prepared_statements=SqlPreparedStatements.TRACK)

    rules, others = (resolve(SETTINGS, each, ALICE).statements for each in (tracking, APP))

    assert rules is not None
    assert others is not None
    assert (rules.tracks_sql, others.tracks_sql) == (True, False)


def test_names_can_be_refused_or_passed_on_demand() -> None:
    rejecting = replace(SETTINGS, prepared_statements=PreparedStatements.REJECT)
    passing = replace(APP, prepared_statements=PreparedStatements.PASS)

    rules = resolve(rejecting, APP, ALICE).statements

    assert rules is not None
    assert rules.rejects
    assert resolve(rejecting, passing, ALICE).statements is None


@pytest.mark.parametrize(
    ("mode", "limit"), [(PoolMode.SESSION, 200), (PoolMode.TRANSACTION, 7), (PoolMode.STATEMENT, 0)]
)
def test_clients_are_told_the_pools_mode_and_its_limit_of_prepared_statements(
    mode: PoolMode, limit: int
) -> None:
    settings = Settings(pool_mode=mode, max_prepared_statements=limit)

    assert dict(resolve(settings, APP, ALICE).told) == {
        "pgbouncer.pool_mode": mode.value,
        "pgbouncer.max_prepared_statements": str(limit),
    }
