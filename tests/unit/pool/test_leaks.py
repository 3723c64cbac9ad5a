"""session_leaks = pin, reset, and verify: who keeps a server, what is run there, what ends it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgpool_lite.config import SessionLeaks
from pgpool_lite.diagnose.leaks import effects_of
from pgpool_lite.pool.leaks import VERIFICATION, cleaning_sql
from pgpool_lite.proxy.watched import read_rows
from pgpool_lite.session.ledger import MAX_ENTRIES, Ledger, Party
from tests.unit.watching import Watched, heard
from tests.unit.world import state_of, transport_of
from tests.wire_messages import (
    CommandComplete,
    DataRow,
    ErrorResponse,
    Query,
    ReadyForQuery,
    Terminate,
)

SET = "SET search_path TO a"
DONE = CommandComplete("SET") + ReadyForQuery()
CULPRIT = Party(1, "ann", "10.0.0.7", 40000, "web", "", SET, 0.0)


def ledger_of(*texts: str) -> Ledger:
    """Return the ledger of a server on which these have run."""
    ledger = Ledger()
    for text in texts:
        for leak in effects_of(text.encode(), in_transaction=False)[0]:
            ledger.record(leak, CULPRIT)
    return ledger


# --- pin ---


def test_a_client_that_leaves_something_keeps_its_server() -> None:
    watched = Watched(SessionLeaks.PIN)
    a, b = watched.add_client(), watched.add_client()
    first, second = watched.add_server(), watched.add_server()

    told = watched.ask(a, SET)
    watched.ask(b, "SELECT 1")
    watched.ask(a, "SELECT 2")

    assert "keeps its server connection until it disconnects" in told[0]
    assert (a.session.server, b.session.server) == (second.session, None)
    assert transport_of(second).written == Query(SET) + Query("SELECT 2")
    assert transport_of(first).written == Query("SELECT 1")
    assert watched.pool.leak_counters.pin_count == 1


def test_the_server_of_a_pinned_client_that_left_is_closed() -> None:
    watched = Watched(SessionLeaks.PIN)
    client, server = watched.add_client(), watched.add_server()

    watched.ask(client, SET)
    client.data_received(Terminate())

    assert state_of(server) == "CLOSED"
    assert server.session.close_reason == "its pinned client left"


def test_a_client_that_takes_back_what_it_left_is_pinned_no_longer() -> None:
    watched = Watched(SessionLeaks.PIN)
    client, server = watched.add_client(), watched.add_server()

    watched.ask(client, SET)
    watched.ask(client, "RESET search_path")

    assert (client.session.server, state_of(server)) == (None, "IDLE")


def test_a_pinned_client_is_not_told_that_it_relies_on_what_is_there() -> None:
    watched = Watched(SessionLeaks.PIN)
    client, _ = watched.add_client(), watched.add_server()

    watched.ask(client, "SELECT pg_advisory_lock(1)")

    assert watched.ask(client, "SELECT pg_advisory_unlock(1)") == ["C SET", "Z I"]
    assert client.session.server is None


# --- reset ---


def test_a_server_is_cleaned_of_exactly_what_was_left_before_its_next_client() -> None:
    watched = Watched(SessionLeaks.RESET)
    a, b, server = watched.add_client(), watched.add_client(), watched.add_server()

    a.data_received(Query(SET))
    b.data_received(Query("SELECT 1"))
    server.data_received(DONE)
    assert state_of(server) == "TESTED"
    assert transport_of(server).writes[-1] == Query('RESET "search_path"')
    watched.world.clock.now += 0.25
    server.data_received(CommandComplete("RESET") + ReadyForQuery())

    assert transport_of(server).writes[-1] == Query("SELECT 1")
    assert (server.session.ledger, b.session.server) == (None, server.session)
    counters = watched.pool.leak_counters
    assert (counters.reset_count, counters.reset_time) == (1, 0.25)


def test_a_clean_server_is_asked_nothing() -> None:
    watched = Watched(SessionLeaks.RESET)
    client, server = watched.add_client(), watched.add_server()

    watched.ask(client, "SELECT 1")

    assert (state_of(server), transport_of(server).written) == ("IDLE", Query("SELECT 1"))


def test_a_server_that_cannot_be_cleaned_is_closed() -> None:
    watched = Watched(SessionLeaks.RESET)
    client, server = watched.add_client(), watched.add_server()

    watched.ask(client, "LOAD 'auto_explain'")

    assert state_of(server) == "CLOSED"
    assert server.session.close_reason == "what a client left cannot be taken back"


def test_a_server_that_refuses_to_be_cleaned_is_closed() -> None:
    watched = Watched(SessionLeaks.RESET)
    client, server = watched.add_client(), watched.add_server()

    watched.ask(client, "PREPARE p AS SELECT 1")
    server.data_received(ErrorResponse("no such statement", sqlstate="26000") + ReadyForQuery())

    assert state_of(server) == "CLOSED"


def test_a_reset_query_cleans_in_place_of_it() -> None:
    watched = Watched(SessionLeaks.RESET)
    watched.pool.set_rules(replace(watched.pool.rules, reset_query="DISCARD ALL"))
    client, server = watched.add_client(), watched.add_server()

    watched.ask(client, SET)
    assert transport_of(server).writes[-1] == Query("DISCARD ALL")
    server.data_received(CommandComplete("DISCARD ALL") + ReadyForQuery())

    assert (state_of(server), server.session.ledger) == ("IDLE", None)


def test_cleaning_ends_what_a_lifetime_would_have_ended() -> None:
    watched = Watched(SessionLeaks.RESET)
    client, server = watched.add_client(), watched.add_server()

    watched.ask(client, SET)
    server.data_received(CommandComplete("RESET") + ReadyForQuery())
    assert state_of(server) == "IDLE"
    watched.world.clock.now += watched.pool.rules.server_lifetime_s + 1
    watched.ask(client, "SELECT 1")

    assert (state_of(server), server.session.close_reason) == ("CLOSED", "server lifetime over")


@pytest.mark.parametrize(
    ("texts", "sql"),
    [
        (["SET search_path TO a", "SET x.tenant = 4"], 'RESET "search_path";RESET "x"."tenant"'),
        (["SET ROLE bob"], "RESET ROLE"),
        (["SET SESSION AUTHORIZATION bob"], "RESET SESSION AUTHORIZATION"),
        (["SELECT pg_advisory_lock(1)", "SELECT pg_advisory_lock(2)"],
         "SELECT pg_catalog.pg_advisory_unlock_all()"),
        (["CREATE TEMP TABLE t (a int)", "CREATE TEMP TABLE u (a int)"], "DISCARD TEMP"),
        (["LISTEN c", 'LISTEN "a""b"'], 'UNLISTEN "c";UNLISTEN "a""b"'),
        (["DECLARE c CURSOR WITH HOLD FOR SELECT 1"], 'CLOSE "c"'),
        (["PREPARE p AS SELECT 1"], 'DEALLOCATE "p"'),
        (["LOAD 'x'", "SET a.b = 1"], ""),
        ([], ""),
    ],
)  # fmt: skip
def test_what_takes_back_what(texts: list[str], sql: str) -> None:
    assert cleaning_sql(ledger_of(*texts), "") == sql


def test_a_connect_query_runs_again_behind_the_reset_of_a_setting() -> None:
    query = "SET search_path TO app"

    assert cleaning_sql(ledger_of("SET a.b = 1"), query) == f'RESET "a"."b";{query}'
    assert cleaning_sql(ledger_of("LISTEN c"), query) == 'UNLISTEN "c"'


def test_more_than_the_ledger_holds_cannot_be_cleaned() -> None:
    ledger = ledger_of(*(f"LISTEN c{number}" for number in range(MAX_ENTRIES + 1)))

    assert cleaning_sql(ledger, "") == ""


# --- reloads ---


def test_switching_it_on_or_off_has_servers_opened_anew() -> None:
    watched = Watched(SessionLeaks.OFF)
    server = watched.add_server()

    watched.pool.set_rules(replace(watched.pool.rules, session_leaks=SessionLeaks.WARN))

    assert (server.session.close_reason, state_of(server)) == ("close_needed", "USED")


def test_a_change_of_mode_leaves_servers_alone_and_unpins() -> None:
    watched = Watched(SessionLeaks.PIN)
    client, server = watched.add_client(), watched.add_server()

    watched.ask(client, SET)
    watched.pool.set_rules(replace(watched.pool.rules, session_leaks=SessionLeaks.WARN))
    watched.ask(client, "SELECT 1")

    assert (client.session.server, state_of(server)) == (None, "IDLE")
    assert heard(client) == []


# --- verify ---


def asking(mode: SessionLeaks = SessionLeaks.WARN) -> Watched:
    """Return a pool whose released servers are asked what stands on them."""
    watched = Watched(mode)
    watched.pool.set_rules(replace(watched.pool.rules, verifies_leaks=True))
    return watched


def test_a_released_server_is_asked_and_what_it_tells_is_blamed_on_its_last_client() -> None:
    watched = asking()
    a, b, server = watched.add_client(), watched.add_client(), watched.add_server()

    watched.ask(a, "SELECT hide()")
    assert (state_of(server), transport_of(server).writes[-1]) == ("TESTED", Query(VERIFICATION))
    server.data_received(DataRow("setting", "work_mem", "7MB")[:9])
    server.data_received(DataRow("setting", "work_mem", "7MB")[9:])
    server.data_received(DataRow("channel", "news", "") + CommandComplete("SELECT 2"))
    server.data_received(ReadyForQuery())

    assert watched.names(server) == ["work_mem", "news"]
    assert {entry.culprit.client_id for entry in watched.entries(server)} == {a.session.id}
    watched.ask(b, "SELECT 1")
    assert watched.entries(server)[0].victim is not None


def test_what_the_server_does_not_confirm_is_taken_off_its_ledger() -> None:
    watched = asking()
    client, server = watched.add_client(), watched.add_server()

    watched.ask(client, "SET lock_timeout = 1; SET a.b = 1; LOAD 'x'; LISTEN c")
    server.data_received(DataRow("channel", "c", "") + CommandComplete("SELECT 1"))
    server.data_received(ReadyForQuery())

    assert watched.names(server) == ["a.b", "x", "c"]  # it cannot tell of the first two


def test_what_follows_clients_and_what_connect_query_sets_is_not_blamed_on_anybody() -> None:
    watched = asking()
    watched.pool.database.settings = replace(
        watched.pool.database.settings, connect_query="SET work_mem = '7MB'"
    )
    client, server = watched.add_client(), watched.add_server()

    watched.ask(client, "SELECT 1")
    rows = DataRow("setting", "TimeZone", "UTC") + DataRow("setting", "work_mem", "7MB")
    server.data_received(rows + CommandComplete("SELECT 2") + ReadyForQuery())

    assert (server.session.ledger, state_of(server)) == (None, "IDLE")


def test_what_is_found_is_cleaned_too() -> None:
    watched = asking(SessionLeaks.RESET)
    client, server = watched.add_client(), watched.add_server()

    watched.ask(client, "SELECT hide()")
    rows = DataRow("temporary table", "t", "")
    server.data_received(rows + CommandComplete("SELECT 1") + ReadyForQuery())
    assert (state_of(server), transport_of(server).writes[-1]) == ("TESTED", Query("DISCARD TEMP"))
    server.data_received(CommandComplete("DISCARD TEMP") + ReadyForQuery())

    assert (server.session.ledger, state_of(server)) == (None, "IDLE")


def test_a_row_that_is_none_of_ours_breaks_no_more_than_its_server() -> None:
    assert read_rows(DataRow("channel", "c", "")[:-1]) == []
    assert read_rows(DataRow("channel", None, "x") + b"Z") == [("channel", "", "x")]
