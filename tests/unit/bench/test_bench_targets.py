"""PgBouncer gets settings that it accepts and that make the comparison fair."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import LeftOut
from bench.postgres import Database
from bench.targets import (
    PoolSettings,
    database_line,
    find_pgbouncer,
    pgbouncer,
    pgbouncer_settings,
    serve_arguments,
)

DATABASE = Database("127.0.0.1", 5432, "me", "", "shop")


def test_pgbouncer_pools_transactions_with_the_same_limits() -> None:
    lines = pgbouncer_settings(PoolSettings(20, 600), 6543, "1.26.1", {})

    assert {"pool_mode = transaction", "default_pool_size = 20", "max_client_conn = 600"} <= {
        *lines
    }


@pytest.mark.parametrize(("number", "expected"), [("1.20.1", 0), ("1.21.0", 1), ("1.26.1", 1)])
def test_only_a_pgbouncer_that_knows_prepared_statements_is_told_of_them(
    number: str, expected: int
) -> None:
    lines = pgbouncer_settings(PoolSettings(20, 600), 6543, number, {})

    assert lines.count("max_prepared_statements = 200") == expected


def test_an_empty_password_is_left_out() -> None:
    assert database_line(DATABASE) == "* = host='127.0.0.1' port=5432 dbname='shop' user='me'"


def test_a_quote_in_a_password_is_doubled() -> None:
    assert database_line(Database("h", 1, "me", "it's", "d")).endswith(" password='it''s'")


def test_a_path_without_pgbouncer_finds_none(tmp_path: Path) -> None:
    assert find_pgbouncer(str(tmp_path / "pgbouncer")) is None


def test_without_pgbouncer_its_row_is_left_out_with_the_reason(tmp_path: Path) -> None:
    missing = pgbouncer(DATABASE, PoolSettings(20, 600), str(tmp_path / "pgbouncer"))

    with pytest.raises(LeftOut, match="pgbouncer is not found: name it with --pgbouncer"):
        missing.__enter__()


def test_pgpool_lite_gets_the_same_limits() -> None:
    arguments = serve_arguments(DATABASE, PoolSettings(20, 600), 6543, {"auth_type": "plain"})

    assert " ".join(arguments) == (
        "serve --to postgresql://me@127.0.0.1:5432/shop --listen 127.0.0.1:6543"
        " --pool-size 20 --set max_client_conn=600 --set log_connections=0"
        " --set log_disconnections=0 --set log_stats=0 --set auth_type=plain"
    )


def test_several_workers_may_each_have_all_clients() -> None:
    arguments = " ".join(serve_arguments(DATABASE, PoolSettings(20, 600), 6543, {}, workers=2))

    assert "--pool-size 20 --set max_client_conn=1200 --workers 2 " in arguments


def test_session_leaks_are_measured_where_that_is_asked_for() -> None:
    watched = PoolSettings(20, 600, session_leaks="warn")

    assert serve_arguments(DATABASE, watched, 6543, {})[-2:] == ["--set", "session_leaks=warn"]
