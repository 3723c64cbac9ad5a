"""session_leaks = error: what is refused, in which words, and what goes on as if nothing was."""

from __future__ import annotations

import pytest

from pgpool_lite.config import SessionLeaks
from tests.unit.watching import Watched, heard
from tests.unit.world import state_of, transport_of
from tests.wire_messages import (
    Bind,
    CommandComplete,
    DescribeStatement,
    ErrorResponse,
    Execute,
    Parse,
    Query,
    ReadyForQuery,
    Sync,
    Terminate,
    message,
)

SET = "SET search_path TO a"
REFUSED = (
    "E ERROR 0A000 PL001: search_path = a refused: it would stay on a server connection that is"
    " shared"
)
SELECT = Query("SELECT 1")
DONE = CommandComplete("SELECT 1") + ReadyForQuery()
BATCH = Parse(SET) + Bind() + Execute() + Sync()


def strict(*, rewrites: bool = False) -> Watched:
    return Watched(SessionLeaks.ERROR, rewrites=rewrites)


def test_a_query_is_answered_without_a_server() -> None:
    watched = strict()
    client, server = watched.add_client(), watched.add_server()

    client.data_received(Query(SET))

    assert heard(client) == [REFUSED, "Z I"]
    assert (state_of(server), transport_of(server).writes) == ("IDLE", [])
    assert watched.ask(client, SELECT, answer=DONE) == ["C SELECT 1", "Z I"]
    assert watched.pool.leak_counters.refusal_count == 1


def test_a_transaction_block_goes_on() -> None:
    watched = strict()
    client, server = watched.add_client(), watched.add_server()

    watched.ask(client, "BEGIN", answer=CommandComplete("BEGIN") + ReadyForQuery("T"))
    client.data_received(Query(SET))
    assert heard(client) == [REFUSED, "Z T"]
    client.data_received(BATCH)
    assert heard(client) == [REFUSED, "Z T"]
    watched.ask(client, "COMMIT", answer=CommandComplete("COMMIT") + ReadyForQuery())

    assert transport_of(server).written == Query("BEGIN") + Query("COMMIT")


def test_a_name_that_passes_as_it_is_is_refused_and_the_unnamed_statement_is_not() -> None:
    watched = strict()
    client, server = watched.add_client(), watched.add_server()
    client.session.names_pass = True

    client.data_received(Parse("SELECT 1", "plan") + Bind(statement="plan") + Execute() + Sync())

    assert [line[:19] for line in heard(client)] == ["E ERROR 0A000 PL009", "Z I"]
    unnamed = Parse("SELECT 1") + Bind() + Execute() + Sync()
    assert watched.ask(client, unnamed, answer=DONE) == ["C SELECT 1", "Z I"]
    assert transport_of(server).written == unnamed


def test_a_failed_transaction_refuses_by_itself() -> None:
    watched = strict()
    client, server = watched.add_client(), watched.add_server()

    watched.ask(client, "BEGIN", answer=ErrorResponse("no") + ReadyForQuery("E"))
    client.data_received(Query(SET))

    assert transport_of(server).writes[-1] == Query(SET)


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_a_segment_is_dropped_up_to_its_sync(size: int) -> None:
    watched = strict()
    client, server = watched.add_client(), watched.add_server()
    data = Parse(SET, "s") + DescribeStatement("s") + Bind(statement="s") + Execute() + Sync()

    for start in range(0, len(data + SELECT), size):
        client.data_received((data + SELECT)[start : start + size])
    server.data_received(DONE)

    assert heard(client) == [REFUSED, "Z I", "C SELECT 1", "Z I"]
    assert transport_of(server).written == SELECT


def test_a_query_in_a_segment_that_is_dropped_is_dropped_too() -> None:
    watched = strict()
    client, server = watched.add_client(), watched.add_server()

    client.data_received(Parse(SET) + Query("SELECT 2") + Sync())

    assert heard(client) == [REFUSED, "Z I"]
    assert transport_of(server).writes == []


def test_a_client_may_leave_in_the_midst_of_it() -> None:
    watched = strict()
    client, server = watched.add_client(), watched.add_server()

    client.data_received(Parse(SET) + Terminate())

    assert heard(client) == [REFUSED]
    assert (state_of(client), state_of(server)) == ("CLOSED", "IDLE")


@pytest.mark.parametrize("kind", ["Q", "P"])
def test_a_refused_statement_of_megabytes_is_dropped_to_its_end(kind: str) -> None:
    watched = strict()
    client, server = watched.add_client(), watched.add_server()
    text = SET + " -- " + "x" * 1_000_000
    data = Query(text) if kind == "Q" else Parse(text) + Sync()

    for start in range(0, len(data), 262_144):
        client.data_received(data[start : start + 262_144])
    client.data_received(SELECT)

    assert [each[:20] for each in heard(client)] == ["E ERROR 0A000 PL001:", "Z I"]
    assert transport_of(server).written == SELECT


def test_several_refused_in_one_read_are_refused_one_by_one() -> None:
    watched = strict()
    client, server = watched.add_client(), watched.add_server()

    client.data_received(Query(SET) * 3 + SELECT)
    server.data_received(DONE)

    assert heard(client) == [REFUSED, "Z I"] * 3 + ["C SELECT 1", "Z I"]


@pytest.mark.parametrize("rewrites", [False, True])
def test_behind_what_is_in_flight_the_server_is_made_to_refuse(rewrites: bool) -> None:
    watched = strict(rewrites=rewrites)
    client, server = watched.add_client(), watched.add_server()
    begin = Parse("BEGIN") + Bind() + Execute()

    client.data_received(begin + Parse(SET) + Bind() + Execute() + Sync())
    error = ErrorResponse('column "pgpool_lite refuses PL001" does not exist', sqlstate="42703")
    begun = message("1") + message("2") + CommandComplete("BEGIN")
    server.data_received(begun + error + ReadyForQuery("E"))

    assert heard(client) == ["1", "2", "C BEGIN", REFUSED, "Z E"]
    sent = Parse('SELECT "pgpool_lite refuses PL001"') + Bind() + Execute() + Sync()
    assert transport_of(server).written == begin + sent


def test_a_pipelined_query_is_refused_in_its_place() -> None:
    watched = strict()
    client, server = watched.add_client(), watched.add_server()

    client.data_received(SELECT + Query(SET) + SELECT)
    error = ErrorResponse('column "pgpool_lite refuses PL001" does not exist', sqlstate="42703")
    server.data_received(DONE + error + ReadyForQuery() + DONE)

    assert heard(client) == ["C SELECT 1", "Z I", REFUSED, "Z I", "C SELECT 1", "Z I"]
    assert state_of(server) == "IDLE"


def test_other_errors_keep_their_words() -> None:
    watched = strict()
    client, _ = watched.add_client(), watched.add_server()

    told = watched.ask(client, SELECT, answer=ErrorResponse("no") + ReadyForQuery())

    assert told == ["E ERROR XX000 no", "Z I"]


def test_what_only_relies_on_something_is_told_and_not_refused() -> None:
    watched = strict()
    client, _ = watched.add_client(), watched.add_server()

    told = watched.ask(client, "SELECT currval('s')", answer=DONE)

    assert told[0].startswith("N NOTICE 00000 PL012: sequence value s is looked for on a server")
    assert told[1:] == ["C SELECT 1", "Z I"]
