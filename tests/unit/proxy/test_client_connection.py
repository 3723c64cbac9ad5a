"""One client's socket: the object it was read as goes on, in one write, or waits."""

from __future__ import annotations

import pytest

from pgpool_lite.config import PoolMode
from pgpool_lite.proxy.client_connection import HELD_LIMIT
from pgpool_lite.session.refusals import StatementRules
from tests.unit.pairs import WELCOME
from tests.unit.world import World, state_of, transport_of
from tests.wire_messages import (
    Bind,
    CommandComplete,
    CopyData,
    ErrorResponse,
    Execute,
    Parse,
    Query,
    ReadyForQuery,
    Sync,
    Terminate,
    message,
)

SELECT = Query("SELECT 1")
BEGIN = Query("BEGIN")
IN_BLOCK = CommandComplete("BEGIN") + ReadyForQuery("T")
DONE = CommandComplete("SELECT 1") + ReadyForQuery()
TOKYO = {**WELCOME, "TimeZone": "Asia/Tokyo"}
NAMED = {**WELCOME, "application_name": "psql"}


# --- relaying ---


def test_promise_3_the_server_gets_the_very_object_that_was_read_in_one_write() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()

    client.data_received(SELECT)

    assert len(transport_of(server).writes) == 1
    assert transport_of(server).writes[0] is SELECT


def test_promise_3_one_read_is_one_write_within_a_transaction_too() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()
    reads = [BEGIN, Parse("SELECT 1") + Bind() + Execute() + Sync(), Query("COMMIT")]

    client.data_received(reads[0])
    server.data_received(IN_BLOCK)
    client.data_received(reads[1])
    client.data_received(reads[2])

    assert [id(write) for write in transport_of(server).writes] == [id(read) for read in reads]


def test_half_a_query_takes_no_server() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()

    client.data_received(SELECT[:6])
    assert state_of(server) == "IDLE"
    client.data_received(SELECT[6:])

    assert transport_of(server).writes == [SELECT]


def test_late_copy_data_takes_no_server() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()

    client.data_received(CopyData(b"1\n"))

    assert (state_of(server), transport_of(server).writes) == ("IDLE", [])


def test_the_end_of_a_large_body_releases_what_was_answered_early() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()
    copy = CopyData(b"x" * 20_000)
    client.data_received(SELECT)
    client.data_received(copy[:100])
    server.data_received(DONE)
    assert state_of(server) == "ACTIVE"

    client.data_received(copy[100:])

    assert state_of(server) == "IDLE"
    assert transport_of(server).written == SELECT + copy


# --- waiting ---


def test_what_a_waiting_client_sends_goes_out_once_it_has_a_server() -> None:
    world = World()
    client = world.add_client()
    client.data_received(BEGIN)
    client.data_received(SELECT)
    assert (state_of(client), len(world.logging_in)) == ("WAITING", 1)

    server = world.finish_login()

    assert transport_of(server).writes == [BEGIN + SELECT]


def test_promise_4_a_waiting_client_that_sends_much_is_made_to_stop() -> None:
    world = World()
    client = world.add_client()
    much = Query("x" * HELD_LIMIT)
    client.data_received(much[:HELD_LIMIT])
    assert transport_of(client).is_reading()
    client.data_received(much[HELD_LIMIT:])
    assert not transport_of(client).is_reading()

    server = world.finish_login()

    assert transport_of(client).is_reading()
    assert transport_of(server).written == much


def test_promise_6_a_client_that_leaves_while_it_waits_gets_nothing() -> None:
    world = World()
    client = world.add_client()
    client.data_received(SELECT)

    client.data_received(Terminate())
    server = world.finish_login()

    assert (state_of(client), state_of(server)) == ("CLOSED", "IDLE")
    assert transport_of(server).writes == []


def test_promise_6_a_client_whose_socket_breaks_while_it_waits_gets_nothing() -> None:
    world = World()
    client, patient = world.add_client(), world.add_client()
    client.data_received(SELECT)
    patient.data_received(BEGIN)

    client.connection_lost(None)
    server = world.finish_login()

    assert server.session.client is patient.session
    assert transport_of(server).writes == [BEGIN]


# --- session parameters ---


def test_the_clients_parameters_go_in_front_in_the_same_write() -> None:
    world = World()
    client, server = world.add_client(NAMED), world.add_server()

    client.data_received(SELECT)

    assert transport_of(server).writes == [Query("SET application_name='psql'") + SELECT]


def test_a_value_that_no_server_has_accepted_goes_alone() -> None:
    world = World()
    client, server = world.add_client(TOKYO, is_proven=False), world.add_server()

    client.data_received(SELECT)
    client.data_received(Query("SELECT 2"))
    assert transport_of(server).writes == [Query("SET TimeZone='Asia/Tokyo'")]
    server.data_received(CommandComplete("SET") + ReadyForQuery())

    assert transport_of(server).written.endswith(SELECT + Query("SELECT 2"))
    assert transport_of(client).writes == []


def test_a_value_that_is_refused_ends_both_before_the_query_runs() -> None:
    world = World()
    client, server = world.add_client(TOKYO, is_proven=False), world.add_server()

    client.data_received(SELECT)
    server.data_received(ErrorResponse("invalid value", sqlstate="22023") + ReadyForQuery())

    assert SELECT not in transport_of(server).written
    assert b"invalid server parameter" in transport_of(client).written
    assert state_of(server) == "CLOSED"


def test_a_server_that_is_ready_too_often_while_its_client_is_refused_is_released_once() -> None:
    """Found by fuzzing. The SET went alone, the client sent a query and nonsense behind it. The
    server answered the SET and, in the same read, the query that it did not have yet: the nonsense
    ended the client, which released the server, and then the server was released once more.
    """
    rules = StatementRules(rejects=False, answers_like_postgres=True)
    world = World(pool_size=1, statements=rules)
    client = world.add_client(TOKYO, is_proven=False, rewrites=True)
    server = world.add_server()
    client.data_received(Parse("SELECT 1", "a") + Sync())
    client.data_received(message("?"))

    server.data_received(ReadyForQuery() + message("1") + ReadyForQuery())

    assert (state_of(client), state_of(server)) == ("CLOSED", "IDLE")
    assert Parse("SELECT 1", "PGBOUNCER_1") not in transport_of(server).written
    assert b"unknown pkt" in transport_of(client).written


def test_every_byte_of_a_client_is_counted() -> None:
    world = World()
    client, server = world.add_client(TOKYO, is_proven=False), world.add_server()

    client.data_received(SELECT)
    client.data_received(SELECT)
    server.data_received(CommandComplete("SET") + ReadyForQuery())
    server.data_received(DONE + DONE)

    assert world.pool.counters.bytes_received == 2 * len(SELECT)
    assert world.pool.counters.bytes_sent == 2 * len(DONE)


# --- statistics ---


def test_queries_and_transactions_are_counted_and_timed() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()
    client.data_received(BEGIN)
    world.clock.now += 1
    server.data_received(IN_BLOCK)
    world.clock.now += 10
    client.data_received(Query("COMMIT"))
    world.clock.now += 2
    server.data_received(DONE)

    counted = world.pool.counters
    assert (counted.query_count, counted.xact_count) == (2, 1)
    assert (counted.query_time, counted.xact_time) == (3.0, 13.0)


def test_session_pooling_counts_the_transactions_of_one_pairing() -> None:
    world = World(PoolMode.SESSION, reset_query="")
    client, server = world.add_client(), world.add_server()
    for _ in range(2):
        client.data_received(SELECT)
        world.clock.now += 1
        server.data_received(DONE)
        world.clock.now += 50

    counted = world.pool.counters
    assert (counted.query_count, counted.xact_count, counted.xact_time) == (2, 2, 2.0)


def test_copy_data_of_a_failed_copy_does_not_start_a_query() -> None:
    """Story: COPY fails within a block, and the client's last data comes late. Nobody owes it an
    answer, so query_timeout must not begin to run.
    """
    world = World(query_timeout_s=5.0)
    client, server = world.add_client(), world.add_server()
    client.data_received(BEGIN)
    server.data_received(IN_BLOCK)
    client.data_received(Query("COPY t FROM STDIN"))
    server.data_received(ErrorResponse("no such table") + ReadyForQuery("E"))

    client.data_received(CopyData(b"1\n"))
    world.clock.now += 6
    world.dispatcher.sweep()

    assert (world.pool.counters.query_count, state_of(server)) == (2, "ACTIVE")


# --- flow ---


def test_a_client_that_does_not_read_stops_its_server() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()
    client.data_received(SELECT)

    client.pause_writing()
    assert (transport_of(client).is_reading(), transport_of(server).is_reading()) == (False, False)

    client.resume_writing()
    assert (transport_of(client).is_reading(), transport_of(server).is_reading()) == (True, True)


def test_a_client_that_does_not_read_is_stopped_without_a_server_too() -> None:
    client = World().add_client()

    client.pause_writing()
    assert not transport_of(client).is_reading()
    client.resume_writing()
    assert transport_of(client).is_reading()


def test_a_released_server_goes_on_reading_although_its_client_does_not() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()
    client.data_received(SELECT)
    client.pause_writing()

    server.data_received(DONE)

    assert transport_of(server).is_reading()
    assert state_of(server) == "IDLE"


def test_a_server_linked_to_a_client_that_does_not_read_is_stopped() -> None:
    world = World()
    client = world.add_client()
    client.data_received(SELECT)
    client.pause_writing()

    server = world.finish_login()

    assert (transport_of(server).is_reading(), transport_of(client).is_reading()) == (False, False)


def test_a_waiting_client_that_sent_too_much_stays_stopped_when_it_reads_again() -> None:
    world = World()
    client = world.add_client()
    client.data_received(Query("x" * HELD_LIMIT))
    client.pause_writing()

    client.resume_writing()

    assert not transport_of(client).is_reading()


# --- the end ---


def test_promise_7_a_client_that_breaks_the_protocol_is_told_and_closed() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()

    client.data_received(SELECT + b"?\0\0\0\4")

    assert transport_of(client).written.startswith(b"E")
    assert b"FATAL\0" in transport_of(client).written
    assert b"C08P01\0Munknown pkt\0" in transport_of(client).written
    assert transport_of(client).is_closing()
    assert state_of(server) == "IDLE"


def test_a_client_is_refused_once() -> None:
    client = World().add_client()

    client.data_received(b"?\0\0\0\4")
    client.data_received(b"?\0\0\0\4")
    client.connection_lost(None)

    assert len(transport_of(client).writes) == 1


def test_a_client_that_says_goodbye_leaves_its_idle_server_behind() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()
    client.data_received(SELECT)
    server.data_received(DONE)

    client.data_received(Terminate())

    assert transport_of(client).is_closing()
    assert transport_of(client).written == DONE
    assert state_of(server) == "IDLE"


@pytest.mark.parametrize("first", [b"", SELECT])
def test_a_client_that_named_no_statement_leaves_without_a_rewriter(first: bytes) -> None:
    world = World()
    client, server = world.add_client(rewrites=True), world.add_server()
    client.session.rewriter = None
    if first:
        client.data_received(first)
        server.data_received(DONE)

    client.data_received(Terminate())

    assert transport_of(client).is_closing()
    assert client.session.rewriter is None
    assert (state_of(server), transport_of(server).written) == ("IDLE", first)


@pytest.mark.parametrize("size", range(1, len(Terminate())))
def test_it_leaves_by_a_goodbye_in_two_reads_as_well(size: int) -> None:
    world = World()
    client, server = world.add_client(rewrites=True), world.add_server()
    client.session.rewriter = None

    client.data_received(Terminate()[:size])
    assert not transport_of(client).is_closing()
    client.data_received(Terminate()[size:])

    assert transport_of(client).is_closing()
    assert (state_of(server), transport_of(server).written) == ("IDLE", b"")


@pytest.mark.parametrize("goodbye", [SELECT + Terminate(), Terminate()])
def test_promise_5_a_client_that_leaves_in_the_middle_takes_its_server_along(
    goodbye: bytes,
) -> None:
    world = World()
    client, server = world.add_client(), world.add_server()
    client.data_received(BEGIN)
    server.data_received(IN_BLOCK)

    client.data_received(goodbye)

    assert state_of(server) == "CLOSED"
    assert transport_of(server).written.endswith(Terminate())
    assert transport_of(server).is_closing()


def test_session_pooling_gives_the_server_back_when_its_client_leaves() -> None:
    world = World(PoolMode.SESSION)
    client, server = world.add_client(), world.add_server()
    client.data_received(SELECT)
    server.data_received(DONE)
    assert server.session.client is client.session

    client.connection_lost(None)

    assert state_of(server) == "TESTED"
    assert transport_of(server).written.endswith(Query("DISCARD ALL"))
    server.data_received(DONE)
    assert state_of(server) == "IDLE"


def test_a_half_closed_connection_is_a_closed_one() -> None:
    assert World().add_client().eof_received() is False


def test_a_client_knows_its_address() -> None:
    assert World().add_client().address == ("127.0.0.1", 5432)
