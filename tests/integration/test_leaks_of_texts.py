"""Does PostgreSQL keep what the rules say that it keeps? The server itself is asked afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from pgpool_lite.dev.cluster import Cluster
from pgpool_lite.diagnose.leaks import effects_of, leaks_in_script
from pgpool_lite.diagnose.rules import Harm

# What a session can keep, each as `kind name` in the words of the rules.
WHAT_IS_LEFT = """
    SELECT 'setting ' || lower(name) FROM pg_settings WHERE source = 'session'
    UNION SELECT 'role role' WHERE current_setting('role') <> 'none'
    UNION SELECT 'role session_authorization' WHERE session_user <> 'postgres'
    UNION SELECT 'prepared statement ' || name FROM pg_prepared_statements
    UNION SELECT 'channel ' || c FROM pg_listening_channels() c
    UNION SELECT 'temporary table ' || relname FROM pg_class
        WHERE relnamespace = pg_my_temp_schema() AND relkind IN ('r', 'v', 'S')
    UNION SELECT 'held cursor ' || name FROM pg_cursors WHERE is_holdable
    UNION SELECT 'advisory lock ' || CASE objsubid
            WHEN 2 THEN classid || ', ' || objid ELSE objid::text END
        FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
"""

LEFT = [
    "SET work_mem = '1MB'",
    'SET SESSION "Work_Mem" TO 1024',
    "SET SCHEMA 'public'",
    "SET TIME ZONE 'UTC'",
    "SET NAMES 'latin1'",
    "SET XML OPTION DOCUMENT",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE",
    "BEGIN; SET work_mem = '1MB'; COMMIT",
    "BEGIN; SET work_mem = '1MB'; SAVEPOINT a; SET jit = off; ROLLBACK TO a; END",
    "BEGIN; SAVEPOINT a; SET jit = off; RELEASE a; END",
    "BEGIN; SAVEPOINT a; SAVEPOINT b; SET jit = off; ROLLBACK TO a; SET work_mem = '1MB'; END",
    "SET work_mem = '1MB'; COMMIT; BEGIN; RESET work_mem; ROLLBACK",
    "SET jit = off; RESET jit; SET work_mem = '1MB'",
    "SELECT pg_catalog.set_config('work_mem', '1MB', false)",
    "SELECT set_config('work_mem', '1MB', 'off'), set_config('jit', 'off', true)",
    "SET ROLE alice",
    "SET role = 'alice'",
    "SELECT set_config('role', 'alice', false)",
    "SET SESSION AUTHORIZATION alice",
    "SELECT pg_advisory_lock(42)",
    "SELECT pg_try_advisory_lock_shared(1, 2)",
    "BEGIN; SELECT pg_advisory_lock(42); ROLLBACK",
    "SELECT pg_advisory_lock(42), pg_advisory_lock(42), pg_advisory_unlock(42)",
    "EXPLAIN ANALYZE SELECT pg_advisory_lock(42)",
    "CREATE TEMP TABLE t (a int)",
    "CREATE TEMP TABLE t (a int) ON COMMIT DELETE ROWS",
    "CREATE LOCAL TEMPORARY TABLE IF NOT EXISTS t ON COMMIT PRESERVE ROWS AS SELECT 1",
    "CREATE TABLE pg_temp.t (a int)",
    "CREATE OR REPLACE TEMP VIEW v AS SELECT 1",
    "CREATE TEMP RECURSIVE VIEW v (n) AS SELECT 1",
    "CREATE TEMP SEQUENCE s",
    "SELECT 1 AS a INTO TEMP TABLE t",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "PREPARE p AS SELECT 1",
    "BEGIN; PREPARE p AS SELECT 1; ROLLBACK",
    "PREPARE transaction AS SELECT 1",
    "LISTEN jobs",
    'BEGIN; LISTEN "Jobs"; COMMIT AND CHAIN; LISTEN other; ROLLBACK',
]

NOT_LEFT = [
    "SELECT 1",
    "SET LOCAL work_mem = '1MB'; SELECT 1",
    "BEGIN; SET LOCAL work_mem = '1MB'; COMMIT",
    "BEGIN; SET work_mem = '1MB'; ROLLBACK",
    "SET work_mem = '1MB'; BEGIN; ROLLBACK",
    "SET work_mem = '1MB'; RESET work_mem",
    "SET work_mem = '1MB'; SET work_mem TO DEFAULT",
    "SET work_mem = '1MB'; RESET ALL",
    "SET SESSION AUTHORIZATION alice; SET ROLE NONE; RESET SESSION AUTHORIZATION",
    "SET ROLE alice; RESET SESSION AUTHORIZATION",
    "BEGIN; SET LOCAL ROLE alice; COMMIT",
    "BEGIN; SELECT set_config('work_mem', '1MB', true); COMMIT",
    "BEGIN; SELECT pg_advisory_xact_lock(42); COMMIT",
    "SELECT pg_advisory_lock(42); SELECT pg_advisory_unlock(42)",
    "SELECT pg_advisory_lock(42); SELECT pg_advisory_unlock_all()",
    "EXPLAIN SELECT pg_advisory_lock(42)",
    "CREATE TEMP TABLE t (a int) ON COMMIT DROP",
    "CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1",
    "BEGIN; CREATE TEMP TABLE t (a int); DROP TABLE pg_temp.t; COMMIT",
    "BEGIN; CREATE TEMP TABLE t (a int); ROLLBACK",
    "CREATE TEMP TABLE t (a int); DISCARD TEMP",
    "BEGIN; DECLARE c CURSOR FOR SELECT 1; COMMIT",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1; CLOSE c",
    "PREPARE p AS SELECT 1; EXECUTE p; DEALLOCATE p",
    "LISTEN jobs; UNLISTEN *",
    "BEGIN; LISTEN jobs; ROLLBACK",
]


@pytest.fixture
def session(postgres: Cluster) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres.dsn(dbname="app"), autocommit=True) as connection:
        yield connection


def left_by(session: psycopg.Connection, sql: str) -> set[str]:
    """Run a text as one Query; return what the server says is left."""
    session.execute(sql.encode())
    return {row[0] for row in session.execute(WHAT_IS_LEFT)}


def said_to_be_left(sql: str) -> set[str]:
    leaks, _ = effects_of(sql.encode(), in_transaction=False)
    return {
        f"{leak.rule.kind.value} {leak.name}" for leak in leaks if leak.rule.harm is Harm.LEAVES
    }


@pytest.mark.parametrize("sql", LEFT)
def test_what_is_said_to_be_left_is_left(session: psycopg.Connection, sql: str) -> None:
    left = left_by(session, sql)

    assert left != set()
    assert left == said_to_be_left(sql)


@pytest.mark.parametrize("sql", NOT_LEFT)
def test_what_is_said_to_leave_nothing_leaves_nothing(
    session: psycopg.Connection, sql: str
) -> None:
    assert said_to_be_left(sql) == set()
    assert left_by(session, sql) == set()


def test_discarding_all_leaves_nothing_of_all_that_can_be_asked_for(
    session: psycopg.Connection,
) -> None:
    for sql in (
        "SET jit = off",
        "LISTEN a",
        "PREPARE p AS SELECT 1",
        "CREATE TEMP TABLE t (a int)",
    ):
        session.execute(sql)
    session.execute("SELECT pg_advisory_lock(1)")
    session.execute("DECLARE c CURSOR WITH HOLD FOR SELECT 1")
    session.execute("SET ROLE alice")

    assert left_by(session, "DISCARD ALL") == set()


def test_statements_of_a_script_leave_what_is_said_when_each_has_its_own_session(
    postgres: Cluster,
) -> None:
    script = "SET jit = off; RESET jit; BEGIN; SET LOCAL jit = off; COMMIT; LISTEN a; UNLISTEN a"
    sent = [each.strip() for each in script.split(";")]
    left = set()
    for sql in sent:
        with psycopg.connect(postgres.dsn(dbname="app"), autocommit=True) as session:
            left |= left_by(session, sql)

    said = {f"{leak.rule.kind.value} {leak.name}" for leak in leaks_in_script(script.encode())}
    assert left == said == {"setting jit", "channel a"}
