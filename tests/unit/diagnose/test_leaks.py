"""What a text leaves on its server connection: per rule what breaks it, and what looks alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.diagnose.journal import TEXT_LIMIT
from pgpool_lite.diagnose.leaks import Cleared, effects_of, is_followed, may_leak
from pgpool_lite.diagnose.lexer import HEAD_LIMIT
from pgpool_lite.diagnose.rules import RULES, Harm, Kind, rule

# Text, then the rules it breaks, each with the name that is told.
BREAKING = [
    ("SET search_path TO tenant_42", "PL001 search_path"),
    ("set SESSION Work_Mem = '1GB'", "PL001 work_mem"),
    ("SET app.tenant = 42", "PL001 app.tenant"),
    ("SET \"Search_Path\" = ''", "PL001 search_path"),
    ("SET SCHEMA 'x'", "PL001 search_path"),
    ("SET TIME ZONE 'UTC'", "PL001 timezone"),
    ("SET NAMES 'latin1'", "PL001 client_encoding"),
    ("SET XML OPTION DOCUMENT", "PL001 xmloption"),
    (
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY, ISOLATION LEVEL SERIALIZABLE",
        "PL001 default_transaction_isolation, PL001 default_transaction_read_only",
    ),
    ("BEGIN; SET x = 1; COMMIT", "PL001 x"),
    ("BEGIN; SET x = 1", "PL001 x"),
    ("BEGIN; SET x = 1; PREPARE TRANSACTION 'a'", "PL001 x"),
    ("BEGIN; SET x = 1; SAVEPOINT a; SET y = 1; ROLLBACK TO SAVEPOINT a; COMMIT", "PL001 x"),
    ("/* why /* nested */ */ -- and\n SET x = 1", "PL001 x"),
    ("SELECT 1; SET x = 1", "PL001 x"),
    ("START TRANSACTION READ ONLY; SET x = 1; END", "PL001 x"),
    ("RESET x; SET x = 1", "PL001 x"),
    ("SELECT pg_catalog.set_config('search_path', '', false)", "PL002 search_path"),
    ("select set_config('a.b', $1, 'off')", "PL002 a.b"),
    ("SELECT set_config(name, 'x', false) FROM pg_settings", "PL002 "),
    ("CALL set_config('x', (ARRAY['a', 'b'])[1], false)", "PL002 x"),
    ("INSERT INTO t SELECT Set_Config('x', 'f(a, b)', FALSE::bool)", "PL002 x"),
    ("SET ROLE admin", "PL003 role"),
    ("SET SESSION ROLE admin", "PL003 role"),
    ("SET role = 'admin'", "PL003 role"),
    ("SET SESSION AUTHORIZATION 'admin'", "PL003 session_authorization"),
    ("SELECT set_config('role', 'admin', false)", "PL003 role"),
    ("SELECT pg_advisory_lock(42)", "PL004 42"),
    ("SELECT pg_try_advisory_lock(1, 2)", "PL004 1, 2"),
    ("WITH a AS (SELECT pg_advisory_lock_shared(hashtext('x'))) TABLE a", "PL004 hashtext(x)"),
    ('SELECT * FROM "pg_try_advisory_lock_shared"($1)', "PL004 $1"),
    ("BEGIN; SELECT pg_advisory_lock(1); ROLLBACK", "PL004 1"),
    ("SELECT pg_advisory_lock(1), pg_advisory_lock(1), pg_advisory_unlock(1)", "PL004 1"),
    ("EXPLAIN ANALYZE SELECT pg_advisory_lock(1)", "PL004 1"),
    ("SELECT pg_advisory_unlock(42)", "PL005 42"),
    ("SELECT pg_advisory_lock(1); SELECT pg_advisory_unlock(2)", "PL004 1, PL005 2"),
    ("CREATE TEMP TABLE t (a int)", "PL006 t"),
    ("CREATE LOCAL TEMPORARY TABLE IF NOT EXISTS t (a int) ON COMMIT DELETE ROWS", "PL006 t"),
    ("CREATE TEMP TABLE t ON COMMIT PRESERVE ROWS AS SELECT 1", "PL006 t"),
    ("CREATE TABLE pg_temp.t (a int)", "PL006 t"),
    ("CREATE OR REPLACE TEMP VIEW v AS SELECT 1", "PL006 v"),
    ("CREATE TEMP RECURSIVE VIEW v (n) AS SELECT 1", "PL006 v"),
    ("CREATE TEMPORARY SEQUENCE s", "PL006 s"),
    ("SELECT 1 AS a INTO TEMP TABLE t FROM b", "PL006 t"),
    ("SELECT 1 INTO TEMPORARY t", "PL006 t"),
    ("SELECT 1 INTO LOCAL TEMP t", "PL006 t"),
    ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "PL007 c"),
    ("declare c no scroll cursor with hold for select 1", "PL007 c"),
    ("FETCH 10 FROM c", "PL008 c"),
    ("MOVE FORWARD ALL IN c", "PL008 c"),
    ("CLOSE c", "PL008 c"),
    ("PREPARE p (int) AS SELECT $1", "PL009 p"),
    ("BEGIN; PREPARE p AS SELECT 1; ROLLBACK", "PL009 p"),
    ("PREPARE transaction AS SELECT 1", "PL009 transaction"),
    ("EXECUTE p(1)", "PL010 p"),
    ("DEALLOCATE PREPARE p", "PL010 p"),
    ('DEALLOCATE "P"', "PL010 P"),
    ("LISTEN jobs", "PL011 jobs"),
    ('BEGIN; LISTEN "Jobs"; END', "PL011 Jobs"),
    ("SELECT currval('s'::regclass)", "PL012 s"),
    ("SELECT lastval()", "PL012 "),
    ("INSERT INTO child VALUES (currval('parent_id_seq'))", "PL012 parent_id_seq"),
    ("SELECT nextval('a'), currval('b')", "PL012 b"),
    ("LOAD 'auto_explain'", "PL013 auto_explain"),
    ("DISCARD ALL", "PL014 "),
    ("SET LOCAL statement_timeout = 1", "PL015 statement_timeout"),
    ("SET TRANSACTION READ ONLY", "PL015 transaction"),
    ("CREATE TEMP TABLE t (a int) ON COMMIT DROP", "PL015 t"),
    ("SELECT pg_advisory_xact_lock(1)", "PL015 1"),
    ("SELECT set_config('x', '1', true)", "PL015 x"),
]

HARMLESS = [
    # PL001
    "BEGIN; SET LOCAL search_path = a; SELECT 1; COMMIT",
    "SET LOCAL x = 1; SELECT 1",
    "BEGIN; SET x = 1; ROLLBACK",
    "BEGIN; SET x = 1; SAVEPOINT a; ABORT",
    "SET x = 1; BEGIN; ROLLBACK",
    "SET x = 1; RESET x",
    "SET x = 1; RESET ALL",
    "SET x = 1; SET x TO DEFAULT",
    "BEGIN; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; COMMIT",
    "BEGIN; SET CONSTRAINTS ALL DEFERRED; COMMIT",
    "UPDATE t SET x = 1",
    "ALTER ROLE r SET search_path = a",
    "ALTER DATABASE d SET search_path = a",
    "ALTER TABLE t ALTER a SET DEFAULT 1",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = '' AS 'SELECT 1'",
    "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$BEGIN SET x = 1; END$$",
    "SELECT 1 -- ; SET x = 1",
    "SELECT 1 /* ; SET x = 1 */",
    "SELECT '; SET x = 1'",
    "SELECT E'\\'; SET x = 1'",
    'SELECT "set", "; SET x = 1" FROM "listen"',
    "SELECT set FROM set AS listen",
    "RESET x",
    "SHOW search_path",
    # PL002, PL003
    "BEGIN; SELECT set_config('x', '1', true); COMMIT",
    "SELECT set_config('x', '1', true) FROM t",
    "SELECT set_config('x', '1', $3)",
    "SELECT app.set_config('x', '1', false)",
    "SELECT '' set_config, set_config + (1), 'set_config' (1)",
    "SELECT set_config('x', '1')",
    "SELECT set_config FROM t",
    "SET ROLE NONE",
    "SET SESSION AUTHORIZATION DEFAULT",
    "BEGIN; SET LOCAL ROLE admin; SELECT 1; COMMIT",
    # PL004, PL005
    "BEGIN; SELECT pg_advisory_xact_lock(1); COMMIT",
    "WITH a AS (SELECT pg_try_advisory_xact_lock(1)) UPDATE t SET x = 1",
    "SELECT pg_advisory_lock(1); UPDATE t SET x = 1; SELECT pg_advisory_unlock(1)",
    "SELECT pg_advisory_lock(1); SELECT pg_advisory_unlock_all()",
    "SELECT 'pg_advisory_lock(1)'",
    "SELECT app.pg_advisory_lock(1)",
    "EXPLAIN SELECT pg_advisory_lock(1)",
    "CREATE VIEW v AS SELECT pg_advisory_lock(1)",
    "CREATE FUNCTION pg_advisory_lock(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "SELECT pg_advisory_unlock_all()",
    # PL006
    "CREATE TEMP TABLE t (a int) ON COMMIT DROP; INSERT INTO t VALUES (1)",
    "BEGIN; CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1; COMMIT",
    "BEGIN; CREATE TEMP TABLE t (a int); DROP TABLE IF EXISTS t; COMMIT",
    "BEGIN; CREATE TEMP TABLE t (a int); CREATE TEMP TABLE u (a int); DROP TABLE t, pg_temp.u; END",
    "BEGIN; CREATE TEMP TABLE t (a int); ROLLBACK",
    "CREATE TABLE temp (a int)",
    "CREATE UNLOGGED TABLE t (temporary int)",
    "INSERT INTO temp (a) VALUES (1)",
    "INSERT INTO temp VALUES (1)",
    "WITH a AS (INSERT INTO temporary SELECT 1 RETURNING *) TABLE a",
    "MERGE INTO temp USING a ON true WHEN MATCHED THEN DELETE",
    "SELECT 1 INTO temporal",
    "SELECT temp FROM t",
    # PL007, PL008
    "BEGIN; DECLARE c CURSOR FOR SELECT 1; FETCH ALL FROM c; CLOSE c; COMMIT",
    "BEGIN; DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1; FETCH c; COMMIT",
    "BEGIN; DECLARE c CURSOR FOR SELECT a FROM t WHERE x = 'with hold'; COMMIT",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1; CLOSE ALL",
    "CLOSE ALL",
    # PL009, PL010
    "PREPARE TRANSACTION 'a'",
    "COMMIT PREPARED 'a'",
    "ROLLBACK PREPARED 'a'",
    "PREPARE p AS SELECT 1; EXECUTE p; DEALLOCATE p",
    "DEALLOCATE ALL",
    "CREATE TRIGGER g AFTER INSERT ON t EXECUTE FUNCTION f()",
    "GRANT EXECUTE ON FUNCTION f TO r",
    # PL011
    "NOTIFY jobs, 'LISTEN'",
    "UNLISTEN *",
    "LISTEN jobs; UNLISTEN jobs",
    "BEGIN; LISTEN jobs; ROLLBACK",
    # PL012
    "SELECT nextval('s'); SELECT currval('s'), lastval()",
    "INSERT INTO t DEFAULT VALUES; SELECT lastval()",
    "INSERT INTO t DEFAULT VALUES; INSERT INTO u VALUES (currval('t_id_seq'))",
    "SELECT setval('s', currval) FROM t",
    "CREATE TABLE t (a int DEFAULT currval('s'))",
    # PL013, PL014, PL015
    "SELECT load FROM t",
    "DISCARD PLANS",
    "SAVEPOINT a",
    # nothing at all
    "",
    " ; ",
    "-- nothing",
    "((((",
]


def broken(sql: str, *, in_transaction: bool = False) -> str:
    leaks, _ = effects_of(sql.encode(), in_transaction=in_transaction)
    return ", ".join(f"{leak.rule.id} {leak.name}" for leak in leaks)


@pytest.mark.parametrize(("sql", "rules"), BREAKING)
def test_a_statement_breaks_its_rule(sql: str, rules: str) -> None:
    assert broken(sql) == rules
    assert may_leak(sql.encode())


@pytest.mark.parametrize("sql", HARMLESS)
def test_a_statement_that_looks_alike_breaks_none(sql: str) -> None:
    assert broken(sql) == ""


def test_each_rule_has_a_statement_that_breaks_it_here() -> None:
    assert {rules[:5] for _, rules in BREAKING} == {each.id for each in RULES}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT pg_advisory_unlock(1)",
        "FETCH c",
        "EXECUTE p",
        "DEALLOCATE p",
        "SELECT currval('s')",
        "SET LOCAL x = 1",
        "SELECT pg_advisory_xact_lock(1)",
        "SET CONSTRAINTS ALL DEFERRED",
    ],
)
def test_what_an_open_transaction_did_before_may_be_relied_on(sql: str) -> None:
    assert broken(sql) != ""
    assert broken(sql, in_transaction=True) == ""


@pytest.mark.parametrize("sql", ["SET x = 1", "LISTEN a", "SELECT pg_advisory_lock(1)"])
def test_what_is_left_in_an_open_transaction_is_a_leak_if_that_commits(sql: str) -> None:
    assert broken(sql, in_transaction=True) == broken(sql)
    assert broken(f"{sql}; COMMIT", in_transaction=True) == broken(sql)


def test_a_rollback_takes_back_what_the_open_transaction_left_in_this_text() -> None:
    assert broken("SET x = 1; ROLLBACK", in_transaction=True) == ""
    assert broken("SET x = 1; ROLLBACK TO earlier", in_transaction=True) == ""


def test_a_chained_transaction_is_a_transaction() -> None:
    assert broken("BEGIN; COMMIT AND CHAIN; SET LOCAL x = 1") == ""
    assert broken("BEGIN; ROLLBACK AND NO CHAIN; SET LOCAL x = 1") == "PL015 x"


def test_a_leak_tells_value_and_place() -> None:
    (leak,), cleared = effects_of(b"SELECT 1;\n SET a.b TO x, 'y z', 1", in_transaction=False)

    assert (leak.rule, leak.name, leak.value, leak.offset) == (
        rule("PL001"),
        "a.b",
        "x, y z, 1",
        11,
    )
    assert cleared == []


@pytest.mark.parametrize(
    ("sql", "cleared"),
    [
        ("RESET x", [Cleared(Kind.SETTING, "x")]),
        ("RESET ALL", [Cleared(Kind.SETTING, "")]),
        ("SET x TO DEFAULT", [Cleared(Kind.SETTING, "x")]),
        ("RESET TIME ZONE", [Cleared(Kind.SETTING, "timezone")]),
        ("RESET session_authorization", [Cleared(Kind.ROLE, "")]),
        ("RESET ROLE", [Cleared(Kind.ROLE, "role")]),
        ("SET ROLE NONE", [Cleared(Kind.ROLE, "role")]),
        ("RESET SESSION AUTHORIZATION", [Cleared(Kind.ROLE, "")]),
        ("UNLISTEN a", [Cleared(Kind.LISTEN, "a")]),
        ("UNLISTEN *", [Cleared(Kind.LISTEN, "")]),
        ("CLOSE ALL", [Cleared(Kind.HELD_CURSOR, "")]),
        ("CLOSE c", [Cleared(Kind.HELD_CURSOR, "c")]),
        ("DEALLOCATE p", [Cleared(Kind.PREPARED, "p")]),
        ("DEALLOCATE PREPARE ALL", [Cleared(Kind.PREPARED, "")]),
        ("DROP TABLE a, b.c", [Cleared(Kind.TEMP_TABLE, "a"), Cleared(Kind.TEMP_TABLE, "c")]),
        ("DROP INDEX a", []),
        ("DISCARD TEMP", [Cleared(Kind.TEMP_TABLE, "")]),
        ("DISCARD SEQUENCES", [Cleared(Kind.SEQUENCE, "")]),
        ("SELECT pg_advisory_unlock(1)", [Cleared(Kind.ADVISORY_LOCK, "1")]),
        ("SELECT pg_advisory_unlock_all()", [Cleared(Kind.ADVISORY_LOCK, "")]),
        ("BEGIN; RESET x; ROLLBACK", []),
        ("BEGIN; SELECT pg_advisory_unlock_all(); ROLLBACK", [Cleared(Kind.ADVISORY_LOCK, "")]),
    ],
)
def test_a_statement_clears_what_it_clears(sql: str, cleared: list[Cleared]) -> None:
    assert effects_of(sql.encode(), in_transaction=False)[1] == cleared


def test_discarding_all_clears_everything_but_libraries() -> None:
    _, cleared = effects_of(b"DISCARD ALL", in_transaction=False)

    left = {each.kind for each in RULES if each.harm is Harm.LEAVES} - {
        each.kind for each in cleared
    }
    assert left == {Kind.LIBRARY}
    assert {each.name for each in cleared} == {""}


def test_a_rolled_back_clearing_leaves_what_was_there_before() -> None:
    assert broken("SET x = 1; COMMIT; BEGIN; RESET x; ROLLBACK") == "PL001 x"


def test_a_followed_setting_is_told_but_does_no_harm() -> None:
    texts = (b"SET TIME ZONE 'UTC'", b"SET application_name = 'a'", b"SET work_mem = 1")

    leaks = [effects_of(text, in_transaction=False)[0][0] for text in texts]

    assert [is_followed(leak) for leak in leaks] == [True, True, False]


@pytest.mark.parametrize("sql", [sql for sql, _ in BREAKING])
def test_a_text_that_is_cut_off_anywhere_does_not_disturb(sql: str) -> None:
    text = sql.encode()
    cuts = [text[:end] for end in range(len(text))]

    missed = [cut for cut in cuts if effects_of(cut, in_transaction=False)[0] and not may_leak(cut)]

    assert missed == []


@pytest.mark.parametrize(
    ("piece", "leaks"),
    [
        (b"(", 0),
        (b"SELECT pg_advisory_lock(", HEAD_LIMIT // 24),
        (b"SELECT nextval('a'),currval('b');", HEAD_LIMIT // 33),
        (b"SELECT pg_advisory_lock(1);SELECT pg_advisory_unlock(1);", 1),
        (b"SAVEPOINT a;SET x = 1;ROLLBACK TO a;", 0),
    ],
)
def test_the_worst_texts_are_read_to_the_end_of_their_head(piece: bytes, leaks: int) -> None:
    text = piece * (2 * HEAD_LIMIT // len(piece))

    found, _ = effects_of(text, in_transaction=False)

    assert abs(len(found) - leaks) <= 1


def test_names_and_values_are_kept_up_to_a_limit() -> None:
    text = b"SET " + b"n" * 5000 + b" = '" + b"v" * 5000 + b"'"

    (leak,), _ = effects_of(text, in_transaction=False)

    assert (len(leak.name), len(leak.value)) == (TEXT_LIMIT, TEXT_LIMIT)


def test_a_statement_behind_the_head_of_a_text_is_not_seen() -> None:
    text = b"SELECT '" + b"x" * HEAD_LIMIT + b"'; SET x = 1"

    assert effects_of(text, in_transaction=False) == ([], [])


def test_bytes_that_are_no_utf_8_are_replaced_in_a_name() -> None:
    (leak,), _ = effects_of(b"LISTEN caf\xe9", in_transaction=False)

    assert leak.name == "caf\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT abalance FROM pgbench_accounts WHERE aid = 1234;",
        "/* route='/orders' */ select 1",
        "(SELECT 1) UNION (SELECT 2)",
        "UPDATE t SET attempts = attempts + 1 WHERE id = $1",
        "INSERT INTO t VALUES ($1, $2) RETURNING id",
        "BEGIN",
        "BEGIN;",
        "COMMIT ;",
        "START TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "",
    ],
)
def test_an_ordinary_statement_is_not_worth_a_look(sql: str) -> None:
    assert not may_leak(sql.encode())


# Words and marks of SQL, to be put together at random.
WORDS = [
    *("SET", "LOCAL", "SESSION", "ROLE", "x", "=", "TO", "DEFAULT", "RESET", "ALL", "DISCARD"),
    *("SELECT", "set_config(", "pg_advisory_lock(", "pg_advisory_unlock(", "1", ",", ")", "false"),
    *("CREATE", "TEMP", "TABLE", "INTO", "ON COMMIT DROP", "DECLARE", "WITH HOLD", "FOR", "FETCH"),
    *("PREPARE", "EXECUTE", "DEALLOCATE", "LISTEN", "UNLISTEN", "CLOSE", "LOAD", "DROP", "TABLE"),
    *("currval(", "lastval()", "nextval(", "INSERT", "EXPLAIN", "ANALYZE", "TIME", "ZONE", "AS"),
    *(";", "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "AND CHAIN", "(", "--\n", "/**/", "'s'"),
    *("CHARACTERISTICS", "AUTHORIZATION", ".", "pg_catalog", "pg_temp", '"q"', "$1", "\xe9"),
]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join)


@given(TEXTS | st.text(max_size=60), st.booleans())
def test_no_text_makes_it_fail_and_may_leak_misses_nothing(sql: str, in_transaction: bool) -> None:
    text = sql.encode("latin-1", "replace")

    leaks, cleared = effects_of(text, in_transaction=in_transaction)

    assert may_leak(text) or not leaks
    assert all(leak.offset < len(text) for leak in leaks)
    assert all(isinstance(each.name, str) for each in cleared)


@given(TEXTS)
def test_what_stands_in_a_comment_or_a_constant_does_nothing(sql: str) -> None:
    inside = sql.replace("'", '"').replace("/**/", "").replace("--", "").encode("latin-1")

    assert effects_of(b"SELECT '" + inside + b"'", in_transaction=False) == ([], [])
    assert effects_of(b"SELECT 1 /*" + inside + b"*/", in_transaction=False) == ([], [])
