"""What the doctor says of what it has seen; nothing is connected to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgpool_lite.operate.doctor_diagnosis import Remark, Verdict, diagnose, found_in
from pgpool_lite.operate.doctor_drivers import Found, advise
from pgpool_lite.operate.doctor_evidence import (
    Arrival,
    ConsoleView,
    Evidence,
    IdleSession,
    LockHolder,
    Names,
    Pooling,
    Refusal,
    Sessions,
    Sharing,
    Trial,
    Waiting,
)
from pgpool_lite.session.statement_head import without_values

POOLED = Arrival("db:6543/app as alice", server_version="15.1", key_pid=7, backend_pid=8)
DIRECT = Arrival("db:5432/app as alice", server_version="15.1", key_pid=8, backend_pid=8)
SHARED = Pooling(Sharing.SHARED, names=Names.KEPT)
ROOMY = Sessions(max_connections=100, reserved=3, counts={"idle": 5})


def about(what: str, evidence: Evidence) -> list[Remark]:
    """Return what is said about one thing."""
    return [remark for remark in diagnose(evidence) if remark.about == what]


def problems(evidence: Evidence) -> list[str]:
    return [each.about for each in diagnose(evidence) if each.verdict is Verdict.PROBLEM]


def test_where_all_is_well_there_is_no_problem() -> None:
    trials = (Trial("extra_float_digits", "2", shown="2"),)

    assert problems(Evidence(POOLED, DIRECT, SHARED, trials, ROOMY)) == []


def test_a_pooler_is_told_by_the_key_that_is_not_the_servers() -> None:
    assert "A pooler answers" in about("login", Evidence(POOLED))[0].says
    assert "answers itself" in about("login", Evidence(DIRECT))[0].says


def test_a_refused_login_names_whose_limit_it_is_and_what_was_said() -> None:
    refusal = Refusal("sorry, too many clients already", "53300", hint="mine")

    (remark,) = about("login", Evidence(Arrival("db", login_refusal=refusal)))

    assert remark.verdict is Verdict.PROBLEM
    assert "This is PostgreSQL." in remark.says
    assert "It says: mine" in remark.says
    assert "default_pool_size" in remark.change


def test_a_transaction_that_fails_behind_a_login_is_told_apart() -> None:
    waited = replace(POOLED, transaction_refusal=Refusal("query_wait_timeout", "08P01"))

    (remark,) = about("login", Evidence(waited))

    assert "let in, but the transaction failed" in remark.says
    assert "waited for a server connection" in remark.says


def test_where_only_postgresql_lets_one_in_the_trouble_is_the_poolers() -> None:
    refused = Arrival("db", login_refusal=Refusal("no more connections allowed"))

    assert "lies with the pooler" in about("the way", Evidence(refused, DIRECT))[0].says


def test_where_only_the_pooler_lets_one_in_the_direct_url_is_to_be_checked() -> None:
    refused = Arrival("db", login_refusal=Refusal("nobody listens at db port 5432"))

    assert about("the way", Evidence(POOLED, refused))[0].change == "Check the direct URL first."


def test_a_direct_url_that_leads_to_a_pooler_is_told_of() -> None:
    assert "leads to a pooler too" in about("direct login", Evidence(POOLED, POOLED))[1].says


def test_where_nobody_answers_no_console_is_missed() -> None:
    refused = Arrival("db", login_refusal=Refusal("nobody listens at db port 1"))
    console = ConsoleView(refusal=Refusal("nobody listens at db port 1"))

    assert about("console", Evidence(refused, console=console)) == []


KINDS = {
    Sharing.SHARED: "Transaction pooling",
    Sharing.KEPT: "Session pooling",
    Sharing.UNKNOWN: "not known",
}


@pytest.mark.parametrize(("sharing", "said"), KINDS.items())
def test_how_servers_are_shared_is_told(sharing: Sharing, said: str) -> None:
    assert said in about("pooling", Evidence(POOLED, pooling=Pooling(sharing)))[0].says


def test_without_a_pooler_nothing_is_called_pooling() -> None:
    says = about("pooling", Evidence(DIRECT, pooling=Pooling(Sharing.KEPT)))[0].says

    assert says.startswith("No pooling to be seen")


def test_a_pool_of_one_in_session_mode_is_a_problem() -> None:
    assert problems(Evidence(POOLED, pooling=Pooling(Sharing.KEPT, second_waits=True))) == [
        "pool size"
    ]


LOST = Refusal('prepared statement "s" does not exist', "26000")
TROUBLE = {
    "unknown in the next": Pooling(Sharing.SHARED, names=Names.LOST, names_refusal=LOST),
    "They are refused": Pooling(Sharing.SHARED, names=Names.REFUSED, names_refusal=LOST),
    "under the same name": Pooling(Sharing.SHARED, names=Names.KEPT, names_collide=True),
}


@pytest.mark.parametrize(("said", "pooling"), TROUBLE.items())
def test_trouble_with_named_statements_is_a_problem(said: str, pooling: Pooling) -> None:
    (remark,) = about("named statements", Evidence(POOLED, pooling=pooling))

    assert remark.verdict is Verdict.PROBLEM
    assert said in remark.says
    assert "max_prepared_statements" in remark.change
    assert not found_in(Evidence(POOLED, pooling=pooling)).keeps_names


def test_start_up_parameters_are_refused_dropped_or_taken_over() -> None:
    trials = (
        Trial("search_path", "public", Refusal("unsupported startup parameter: search_path")),
        Trial("extra_float_digits", "2", shown="1"),
        Trial("statement_timeout", "5s", shown="5s"),
    )

    said = [each.says for each in about("start-up parameters", Evidence(POOLED, trials=trials))]

    assert said == [
        "Refused: search_path. It says: unsupported startup parameter: search_path.",
        "Accepted, but without effect: extra_float_digits.",
        "Taken over: statement_timeout.",
    ]
    assert found_in(Evidence(POOLED, trials=trials)).refused == ("search_path",)


def test_clients_that_wait_in_the_console_are_the_poolers_limit() -> None:
    pool = Waiting("app", "alice", "transaction", 7, 12.0, 5, 0)
    console = ConsoleView(version="PgBouncer 1.26.1", pools=(pool,))

    (remark,) = about("pool", Evidence(POOLED, console=console))

    assert "7 clients of app/alice wait for a server, the oldest for 00:00:12" in remark.says
    assert "pooler's limit" in remark.change


def test_pools_that_may_ask_for_more_than_postgresql_has_are_a_problem() -> None:
    pool = Waiting("app", "alice", "transaction", 0, 0.0, 5, 0)
    console = ConsoleView(
        version="PgBouncer 1.26.1", pools=(pool,) * 5, settings={"default_pool_size": "20"}
    )

    (remark,) = about("limits", Evidence(POOLED, console=console, sessions=ROOMY))

    assert "5 pools of 20 servers may ask for 100 connections, and PostgreSQL has 97" in remark.says


def test_a_console_that_is_closed_to_the_user_is_no_problem() -> None:
    console = ConsoleView(refusal=Refusal("not allowed"))

    assert problems(Evidence(POOLED, console=console)) == []


def test_a_postgresql_that_is_nearly_full_is_a_problem() -> None:
    full = Sessions(max_connections=100, reserved=3, counts={"idle": 80, "active": 10})

    (remark,) = about("sessions", Evidence(POOLED, sessions=full))

    assert remark.verdict is Verdict.PROBLEM
    assert "This is PostgreSQL's limit. 90 of 97" in remark.says


def test_a_view_that_is_refused_is_told_and_no_problem() -> None:
    evidence = Evidence(POOLED, sessions=Sessions(refusal=Refusal("permission denied", "42501")))

    assert "permission denied (42501)" in about("sessions", evidence)[0].says
    assert problems(evidence) == []


@pytest.mark.parametrize(
    ("idle_s", "verdict"), [(61.0, Verdict.PROBLEM), (5.0, Verdict.NOTE)], ids=["leaked", "young"]
)
def test_a_transaction_that_is_idle_for_long_is_a_problem(idle_s: float, verdict: Verdict) -> None:
    idle = IdleSession(42, "api", "idle in transaction", idle_s, "UPDATE orders SET total = ?")
    evidence = Evidence(POOLED, sessions=replace(ROOMY, idle=(idle,)))

    (remark,) = about("idle in transaction", evidence)

    assert remark.verdict is verdict
    assert "pid 42 (api)" in remark.says
    assert "UPDATE orders SET total = ?" in remark.says
    assert "state = 'active' in pg_stat_activity does not show them" in remark.says


LOCKS = {
    "left behind": (LockHolder(42, "rails", "idle", "72707369", True, 9.0), Verdict.PROBLEM),
    "in use": (LockHolder(42, "rails", "active", "72707369", True, 9.0), Verdict.NOTE),
    "waited for": (LockHolder(42, "rails", "active", "72707369", False, 9.0), Verdict.NOTE),
}


@pytest.mark.parametrize(("lock", "verdict"), LOCKS.values(), ids=LOCKS)
def test_an_advisory_lock_on_an_idle_shared_server_is_a_problem(
    lock: LockHolder, verdict: Verdict
) -> None:
    evidence = Evidence(POOLED, pooling=SHARED, sessions=replace(ROOMY, locks=(lock,)))

    (remark,) = about("advisory locks", evidence)

    assert remark.verdict is verdict
    assert "pid 42 (rails" in remark.says
    assert "72707369" in remark.says


def test_in_session_mode_a_lock_is_where_it_belongs() -> None:
    lock, _ = LOCKS["left behind"]
    kept = Pooling(Sharing.KEPT, names=Names.KEPT)
    evidence = Evidence(POOLED, pooling=kept, sessions=replace(ROOMY, locks=(lock,)))

    assert problems(evidence) == []


def test_a_message_from_the_log_is_told_first() -> None:
    first = diagnose(Evidence(POOLED, message="P2024: Timed out fetching a new connection"))[0]

    assert "This is the application's own pool." in first.says


def test_a_message_that_nobody_knows_is_no_problem() -> None:
    assert problems(Evidence(POOLED, message="division by zero")) == []


STATEMENTS = {
    "SELECT 'it''s', 42, $1, t1.c2": "SELECT ?, ?, $1, t1.c2",
    "ALTER ROLE a PASSWORD 'hush": "ALTER ROLE a PASSWORD ?",
    "ALTER ROLE a PASSWORD E'hu\\'sh'": "ALTER ROLE a PASSWORD E?",
    "DO $x$ secret $x$": "DO ?",
    "SELECT\n  1.5e3": "SELECT ?",
    "SELECT " + "x" * 100: "SELECT " + "x" * 53 + "...",
}


@pytest.mark.parametrize(("statement", "shown"), STATEMENTS.items())
def test_a_statement_is_shown_without_its_values(statement: str, shown: str) -> None:
    assert without_values(statement) == shown


# --- drivers ---

NINE = ("Prisma", "Drizzle", "SQLAlchemy", "Django", "asyncpg", "psycopg", "pgx", "JDBC", "Rails")
SWITCHES = {
    "Prisma": "pgbouncer=true",
    "Drizzle": "prepare: false",
    "SQLAlchemy": "prepare_threshold",
    "asyncpg": "statement_cache_size=0",
    "psycopg": "prepare_threshold=None",
    "pgx": "default_query_exec_mode=exec",
    "JDBC": "prepareThreshold=0",
    "Rails": "prepared_statements: false",
}


def lines_of(driver: str, found: Found) -> str:
    (advice,) = (each for each in advise(found) if each.driver == driver)
    return "\n".join((*advice.lines, advice.remark))


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("keeps_names", [True, False])
def test_every_driver_has_its_lines(is_shared: bool, keeps_names: bool) -> None:
    advice = advise(Found(is_shared, keeps_names, has_direct=False))

    assert tuple(each.driver for each in advice) == NINE
    assert all(each.lines for each in advice)


@pytest.mark.parametrize(("driver", "switch"), SWITCHES.items())
def test_named_statements_are_switched_off_where_they_do_not_work_and_only_there(
    driver: str, switch: str
) -> None:
    lost = Found(is_shared=True, keeps_names=False, has_direct=False)
    kept = Found(is_shared=True, keeps_names=True, has_direct=False)
    alone = Found(is_shared=False, keeps_names=False, has_direct=False)

    assert switch in lines_of(driver, lost)
    assert f"{switch} is not needed" in lines_of(driver, kept) or switch not in lines_of(
        driver, kept
    )
    assert f"{switch} is not needed" in lines_of(driver, alone) or switch not in lines_of(
        driver, alone
    )


def test_what_a_pooler_refuses_at_login_is_told_to_who_sends_it() -> None:
    found = Found(True, True, False, refused=("extra_float_digits", "options"))

    assert "ignore_startup_parameters" in lines_of("JDBC", found)
    assert "ALTER ROLE" in lines_of("Django", found)


def test_a_direct_url_is_named_where_there_is_one() -> None:
    assert "the direct URL" in lines_of("psycopg", Found(True, True, has_direct=True))
