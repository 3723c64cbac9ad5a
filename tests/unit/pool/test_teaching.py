"""What a client reads of an error: the sentence alone, or who has the servers, what to change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgpool_lite.config import PoolMode, Settings
from pgpool_lite.errors import (
    ClientError,
    ClientProtocolError,
    LimitReached,
    LoginRejected,
    PgPoolLiteError,
    ServerAtFault,
)
from pgpool_lite.pool.headcount import Headcount
from pgpool_lite.pool.holders import duration
from pgpool_lite.pool.pool import Pool
from pgpool_lite.pool.teaching import NO_SERVER_YET, Scene, explain
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.server import ServerSession
from pgpool_lite.wire import codes
from tests.unit.pairs import WELCOME, make_client
from tests.unit.pool.helpers import add_client, add_server, make_pool
from tests.wire_messages import Query

SETTINGS = Settings()
TIMEOUT = LimitReached("query_wait_timeout")


def in_transaction(
    pool: Pool, number: int, since: float, application: str = "api", status: int = 0
) -> tuple[ClientSession, ServerSession]:
    """Bring in a client that has begun a transaction at `since` and is silent in it."""
    client, server = add_client(pool, number, since), add_server(pool, 100 + number, since)
    parameters = {**WELCOME, "application_name": application}
    client.parameters = server.tracked.values_of(parameters)
    assert pool.link(client, since) is server
    server.status = status or codes.STATUS_IN_BLOCK
    return client, server


def waiting(pool: Pool, number: int = 9, since: float = 0.0) -> ClientSession:
    client = add_client(pool, number, since)
    assert pool.link(client, since) is None
    return client


def told(
    pool: Pool, client: ClientSession, error: ClientError = TIMEOUT, now: float = 300.0
) -> PgPoolLiteError:
    return explain(error, Scene(SETTINGS, pool, client, now))


def test_who_waits_in_vain_reads_who_has_the_servers() -> None:
    pool = make_pool(pool_size=3)
    in_transaction(pool, 1, since=110.0)
    in_transaction(pool, 2, since=200.0, application="web")
    busy, _ = in_transaction(pool, 3, since=298.0, application="report")
    busy.owed.append(codes.QUERY)
    client = waiting(pool, since=180.0)

    error = told(pool, client)

    assert (error.message, error.sqlstate) == ("query_wait_timeout", "08P01")
    assert error.detail == (
        "Waited 00:02:00 for a server. 3 of 3 servers of app/alice: 2 idle in transaction, oldest"
        " 00:03:10, application 'api', client C-0x1; 1 active, oldest 00:00:02, application"
        " 'report', client C-0x3."
    )
    assert "idle_transaction_timeout" in error.hint
    assert error.hint.endswith("See docs/errors.md#waiting-for-a-server.")


@pytest.mark.parametrize("sentence", ["query_timeout", NO_SERVER_YET])
def test_every_word_about_waiting_tells_who_has_the_servers(sentence: str) -> None:
    pool = make_pool(pool_size=1)
    in_transaction(pool, 1, since=0.0)

    assert "1 idle in transaction" in told(pool, waiting(pool), LimitReached(sentence)).detail


def test_of_other_users_clients_it_tells_no_names() -> None:
    pool = make_pool(pool_size=1)
    other, _ = in_transaction(pool, 1, since=0.0, application="payroll")
    other.user = "bob"

    detail = told(pool, waiting(pool)).detail

    assert "1 idle in transaction, oldest 00:05:00, a client of another user." in detail
    assert "payroll" not in detail


def test_what_a_holder_asked_last_is_told_without_its_values() -> None:
    pool = make_pool(pool_size=1)
    _, server = in_transaction(pool, 1, since=0.0)
    server.asked = Query("UPDATE orders SET card = '4711 0815' WHERE id = 42")

    detail = told(pool, waiting(pool)).detail

    assert "client C-0x1, last `UPDATE orders SET card = ? WHERE id = ?`." in detail


def test_what_another_user_asked_is_not_told() -> None:
    pool = make_pool(pool_size=1)
    other, server = in_transaction(pool, 1, since=0.0)
    other.user, server.asked = "bob", Query("UPDATE salaries SET amount = 1")

    assert "salaries" not in told(pool, waiting(pool)).detail


def test_how_many_wait_is_told_to_each_of_them() -> None:
    pool = make_pool(pool_size=1)
    in_transaction(pool, 1, since=0.0)
    waiting(pool, 8, since=240.0)

    assert (
        "2 clients wait, the oldest for 00:01:00." in told(pool, waiting(pool, since=290.0)).detail
    )


def test_a_failed_transaction_holds_its_server_too() -> None:
    pool = make_pool(pool_size=1)
    in_transaction(pool, 1, since=0.0, status=codes.STATUS_FAILED)

    error = told(pool, waiting(pool))

    assert "1 idle in a failed transaction" in error.detail
    assert "idle_transaction_timeout" in error.hint


def test_in_session_mode_the_mode_is_what_to_change() -> None:
    pool = make_pool(pool_size=1, mode=PoolMode.SESSION)
    in_transaction(pool, 1, since=0.0, status=codes.STATUS_IDLE)

    error = told(pool, waiting(pool))

    assert "1 kept by an idle session" in error.detail
    assert "pool_mode = transaction" in error.hint


def test_servers_at_work_are_not_helped_by_idle_timeouts() -> None:
    pool = make_pool(pool_size=1)
    client, _ = in_transaction(pool, 1, since=0.0)
    client.owed.append(codes.QUERY)

    assert "slow queries" in told(pool, waiting(pool)).hint


def test_servers_that_nobody_has_are_told_of_as_well() -> None:
    pool = make_pool(pool_size=2)
    add_server(pool)
    pool.database.is_paused = True

    error = told(pool, waiting(pool))

    assert "1 of 2 servers of app/alice: 1 idle. The database is paused." in error.detail
    assert "RESUME" in error.hint


def test_a_pool_without_servers_says_why_it_has_none() -> None:
    pool = make_pool(pool_size=2)
    pool.failure = "sorry, too many clients already"

    error = told(pool, waiting(pool))

    assert "0 of 2 servers of app/alice are open." in error.detail
    assert "sorry, too many clients already" in error.detail
    assert "max_connections" in error.hint


def test_a_limit_that_other_pools_have_used_up_is_named() -> None:
    pool = make_pool(pool_size=2)
    full = Headcount("max_db_connections")
    full.server_count = 7
    pool.starves_in = full

    error = told(pool, waiting(pool))

    assert "max_db_connections is reached: other pools have 7 servers." in error.detail
    assert "Raise max_db_connections" in error.hint


OVER = {
    "idle transaction timeout": ("for 00:05:00", "idle_transaction_timeout = 60 s"),
    "transaction timeout": ("open for 00:05:00", "transaction_timeout is 60 s"),
    "query timeout": ("ran for 00:05:00", "query_timeout is 60 s"),
    "client_idle_timeout": ("nothing for 00:05:00", "client_idle_timeout is 60 s"),
}


@pytest.mark.parametrize(("sentence", "figures"), OVER.items())
def test_a_timeout_tells_how_long_it_took_and_how_long_it_may(
    sentence: str, figures: tuple[str, str]
) -> None:
    pool = make_pool(
        idle_transaction_timeout_s=60.0,
        transaction_timeout_s=60.0,
        query_timeout_s=60.0,
        client_idle_timeout_s=60.0,
    )
    client, _ = in_transaction(pool, 1, since=1.0)

    error = told(pool, client, ClientError(sentence), now=301.0)

    assert [figure for figure in figures if figure not in error.detail] == []
    assert error.hint


def test_a_cached_failure_is_explained_by_what_was_said() -> None:
    pool = make_pool()
    pool.failure = "connect failed"
    error = LimitReached("server login has been failing, cached error: connect failed ...")
    sentence = "server login has been failing, cached error: connect failed (server_login_retry)"

    assert "port=" in told(pool, make_client(1), LimitReached(sentence)).hint
    assert "port=" in told(pool, make_client(1), error).hint


def test_what_an_error_brings_along_goes_before_what_could_be_said() -> None:
    error = LoginRejected("no such user", detail="mine", hint="my way.")

    said = explain(error, Scene(SETTINGS))

    assert (said.detail, said.hint) == ("mine", "my way. See docs/errors.md#logging-in.")


def test_who_breaks_the_protocol_is_told_whose_fault_it_is() -> None:
    of_client = explain(ClientProtocolError("anything"), Scene(SETTINGS))
    of_server = explain(ServerAtFault("anything"), Scene(SETTINGS))

    assert "driver" in of_client.hint
    assert "host=" in of_server.hint


def test_an_error_without_a_lesson_stays_as_it_is() -> None:
    error = explain(ClientError("anything", detail="d", hint="h"), Scene(SETTINGS))

    assert (error.message, error.detail, error.hint) == ("anything", "d", "h")


def test_with_teaching_off_there_is_the_sentence_alone() -> None:
    pool = make_pool(pool_size=1)
    in_transaction(pool, 1, since=0.0)
    scene = Scene(replace(SETTINGS, teaching=False), pool, waiting(pool), 300.0)
    error = LimitReached("query_wait_timeout", sqlstate="53300", detail="d", hint="h")

    said = explain(error, scene)

    assert (said.sqlstate, said.message) == ("53300", "query_wait_timeout")
    assert (said.detail, said.hint) == ("", "")


def test_the_error_that_is_explained_is_not_changed() -> None:
    error = LoginRejected("no such user")

    explain(error, Scene(SETTINGS))

    assert (error.detail, error.hint) == ("", "")


def test_times_are_shown_as_postgresql_shows_them() -> None:
    assert [duration(each) for each in (-1, 0.9, 190, 360_061)] == [
        *("00:00:00", "00:00:00", "00:03:10", "100:01:01")
    ]
