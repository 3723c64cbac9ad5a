"""Who can notice what was left, and who only stands beside it."""

from __future__ import annotations

import pytest

from pgpool_lite.diagnose.leaks import effects_of
from pgpool_lite.session.victims import hear, is_felt
from tests.wire_messages import Bind, Execute, Parse, Query, Sync


def feels(left: str, data: bytes, *, names_pass: bool = False) -> bool:
    [leak], _ = effects_of(left.encode(), in_transaction=False)
    return is_felt(leak, hear(data, names_pass=names_pass))


PATH = "SET search_path TO tenant"
TABLE = "CREATE TEMP TABLE orders (a int)"
LOCK = "SELECT pg_advisory_lock(1)"


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (PATH, "SELECT * FROM t"),
        (PATH, "select f(1)"),
        (PATH, "INSERT INTO t VALUES (1)"),
        (PATH, "show search_path"),
        ("SET app.tenant = 7", "UPDATE t SET a = 1"),
        ("SET app.tenant = 7", "SHOW app.tenant"),
        ("SET statement_timeout = 7", "SELECT 1"),
        ("SET default_transaction_read_only = on", "BEGIN"),
        ("SET ROLE alice", "SELECT current_user"),
        ("SET ROLE alice", "DELETE FROM t"),
        ("LOAD 'auto_explain'", "TABLE t"),
        ("LOAD 'auto_explain'", "SHOW auto_explain.log_timing"),
        (LOCK, "SELECT PG_TRY_ADVISORY_LOCK(2)"),
        (TABLE, "SELECT * FROM orders"),
        (TABLE, "select * from Orders o"),
        (TABLE, 'TABLE "orders"'),
        (TABLE, "\x7f orders"),
        ("LISTEN news", "NOTIFY news"),
        ("PREPARE plan AS SELECT 1", "EXECUTE plan"),
        ("DECLARE held CURSOR WITH HOLD FOR SELECT 1", "FETCH ALL held"),
    ],
)
def test_who_runs_into_it_is_its_victim(left: str, text: str) -> None:
    assert feels(left, Query(text))
    assert feels(left, Parse(text) + Bind() + Execute() + Sync())


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (PATH, "SELECT 1"),
        (PATH, "BEGIN"),
        (PATH, "VALUES (1), (2)"),
        ("SET app.tenant = 7", "SELECT 1 IN (1, 2)"),
        ("SET ROLE alice", "SELECT 1"),
        ("LOAD 'auto_explain'", "COMMIT"),
        (LOCK, "SELECT * FROM t"),
        (TABLE, "SELECT * FROM reorders, orders_x"),
        (TABLE, "INSERT INTO words VALUES ('orders') -- orders"),
        (TABLE, 'TABLE "ORDERS"'),
        ("LISTEN news", "NOTIFY others, 'news'"),
        ("PREPARE plan AS SELECT 1", "SELECT 'plan'"),
        (PATH, ""),
    ],
)
def test_who_only_stands_beside_it_is_none(left: str, text: str) -> None:
    assert not feels(left, Query(text))
    assert not feels(left, Parse(text) + Bind("orders", "plan", "news") + Execute() + Sync())


def test_a_statement_prepared_before_may_name_any_table() -> None:
    prepared = Bind(statement="s1") + Execute() + Sync()

    assert feels(PATH, prepared)
    assert not feels(TABLE, prepared)


@pytest.mark.parametrize("names_pass", [True, False])
def test_a_name_by_the_protocol_counts_where_it_reaches_the_server(names_pass: bool) -> None:
    plan = "PREPARE plan AS SELECT 1"

    assert feels(plan, Bind(statement="plan") + Sync(), names_pass=names_pass) is names_pass
    assert feels(plan, Parse("SELECT 1", "plan"), names_pass=names_pass) is names_pass
    assert not feels(plan, Bind(statement="other"), names_pass=names_pass)


@pytest.mark.parametrize("data", [b"", b"Q\0", b"Q\0\0\0\0", Query("TABLE orders")[:-1]])
def test_a_read_may_end_anywhere(data: bytes) -> None:
    assert feels(TABLE, data) is (len(data) > 5)
