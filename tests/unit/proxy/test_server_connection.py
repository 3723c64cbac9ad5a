"""One server's socket: replies go on as the object they were read as, or end with the server."""

from __future__ import annotations

import pytest

from pgpool_lite.config import PoolMode
from pgpool_lite.pool.maintenance import TEST_LIMIT_S
from pgpool_lite.proxy.server_connection import ServerConnection
from tests.unit.world import World, state_of, transport_of
from tests.wire_messages import (
    CommandComplete,
    DataRow,
    ErrorResponse,
    ParameterStatus,
    Query,
    ReadyForQuery,
    Terminate,
    message,
)

SELECT = Query("SELECT 1")
DONE = DataRow("1") + CommandComplete("SELECT 1") + ReadyForQuery()
IN_BLOCK = CommandComplete("BEGIN") + ReadyForQuery("T")
NOTICE = message("N", b"SNOTICE\0C00000\0Mhi\0\0")


def test_promise_3_the_client_gets_the_very_object_that_was_read_in_one_write() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()
    client.data_received(SELECT)

    server.data_received(DONE)

    assert len(transport_of(client).writes) == 1
    assert transport_of(client).writes[0] is DONE


def test_promise_3_each_read_of_a_long_answer_is_one_write_of_the_same_object() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()
    client.data_received(SELECT)
    reads = [(DataRow("1") * 9)[:-5], (DataRow("1") * 9)[-5:], DataRow("2"), DONE]

    for read in reads:
        server.data_received(read)

    assert [id(write) for write in transport_of(client).writes] == [id(read) for read in reads]


def test_a_settled_server_goes_to_the_next_waiter_within_the_same_read() -> None:
    world = World(pool_size=1)
    first, second = world.add_client(), world.add_client()
    server = world.add_server()
    first.data_received(SELECT)
    second.data_received(Query("SELECT 2"))
    assert state_of(second) == "WAITING"

    server.data_received(DONE)

    assert server.session.client is second.session
    assert transport_of(server).writes == [SELECT, Query("SELECT 2")]
    assert transport_of(second).writes == []


def test_a_server_in_a_block_stays() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()
    client.data_received(Query("BEGIN"))

    server.data_received(IN_BLOCK)

    assert server.session.client is client.session


def test_half_a_ready_for_query_is_passed_on_when_it_is_whole() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()
    client.data_received(SELECT)

    server.data_received(DONE[:-2])
    assert transport_of(client).written == DONE[:-6]
    server.data_received(DONE[-2:])

    assert transport_of(client).written == DONE
    assert state_of(server) == "IDLE"


def test_what_an_idle_server_says_reaches_nobody() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()

    server.data_received(ParameterStatus("TimeZone", "Asia/Tokyo") + NOTICE)

    assert transport_of(client).writes == []
    assert state_of(server) == "IDLE"


def test_a_notice_to_a_settled_session_is_no_transaction() -> None:
    """Story: session pooling, the client rests, and PostgreSQL sends a NoticeResponse. The pair is
    settled before and after; no time must be added to that of its transactions.
    """
    world = World(PoolMode.SESSION)
    client, server = world.add_client(), world.add_server()
    client.data_received(SELECT)
    world.clock.now += 1
    server.data_received(DONE)
    world.clock.now += 50

    server.data_received(NOTICE)

    assert transport_of(client).written == DONE + NOTICE
    assert world.pool.counters.xact_time == 1.0


# --- our own queries ---


def test_a_reset_query_is_sent_and_its_answer_swallowed() -> None:
    world = World(reset_query="DISCARD ALL")
    client, server = world.add_client(), world.add_server()
    client.data_received(SELECT)

    server.data_received(DONE)
    assert transport_of(server).writes[-1] == Query("DISCARD ALL")
    server.data_received(CommandComplete("DISCARD ALL") + ReadyForQuery())

    assert transport_of(client).written == DONE
    assert state_of(server) == "IDLE"


def test_promise_5_a_server_whose_reset_fails_is_closed() -> None:
    world = World(reset_query="DISCARD ALL")
    client, server = world.add_client(), world.add_server()
    client.data_received(SELECT)
    server.data_received(DONE)

    server.data_received(ErrorResponse("no") + ReadyForQuery())

    assert state_of(server) == "CLOSED"
    assert state_of(client) == "ACTIVE"


def test_a_stale_server_is_checked_when_somebody_asks_for_it() -> None:
    world = World(check_query="SELECT 'check'")
    client, server = world.add_client(), world.add_server()
    world.clock.now += 31
    world.dispatcher.sweep()
    assert state_of(server) == "USED"

    client.data_received(SELECT)
    assert transport_of(server).writes == [Query("SELECT 'check'")]
    server.data_received(DONE)

    assert transport_of(server).writes[-1] == SELECT
    assert transport_of(client).writes == []


def test_a_server_with_a_connect_query_is_ready_when_that_is_answered() -> None:
    world = World()
    client = world.add_client()
    client.data_received(SELECT)
    [server] = world.logging_in
    world.dispatcher.ask(server.session, "SET ROLE x", "connect query failed")

    server.data_received(CommandComplete("SET") + ReadyForQuery())

    assert server.session.client is client.session


def begin_connect_query(world: World) -> ServerConnection:
    """Let a server come as far as its connect query, while a client waits for it."""
    world.add_client().data_received(SELECT)
    [server] = world.logging_in
    world.dispatcher.ask(server.session, "SET ROLE x", "connect query failed")
    return server


def test_a_server_that_refuses_its_connect_query_is_used_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = begin_connect_query(World())

    server.data_received(ErrorResponse("no role x", severity="ERROR") + ReadyForQuery())

    assert state_of(server) == "ACTIVE"
    assert "error while executing exec_on_query: ERROR: no role x" in caplog.text


def test_a_connect_query_that_leaves_a_transaction_open_is_a_failed_login() -> None:
    world = World()
    server = begin_connect_query(world)

    server.data_received(CommandComplete("BEGIN") + ReadyForQuery("T"))

    assert state_of(server) == "CLOSED"
    assert world.pool.failure == "connect query failed"


def test_a_server_that_dies_of_its_connect_query_is_a_failed_login() -> None:
    world = World()
    server = begin_connect_query(world)

    server.data_received(ErrorResponse("terminating connection", severity="FATAL"))
    server.connection_lost(None)

    assert state_of(server) == "CLOSED"
    assert world.pool.failure == "server conn crashed?"


def test_a_connect_query_has_its_time_however_long_the_login_took() -> None:
    # Its time ran from the connect on: behind a slow login it was over before it was sent.
    world = World()
    world.add_client().data_received(SELECT)
    [server] = world.logging_in
    world.clock.now += TEST_LIMIT_S
    world.dispatcher.ask(server.session, "SET ROLE x", "connect query failed")

    world.clock.now += 1
    world.dispatcher.sweep()

    assert state_of(server) == "LOGIN"


def test_a_connect_query_that_is_never_answered_ends_its_server() -> None:
    world = World()
    server = begin_connect_query(world)

    world.clock.now += TEST_LIMIT_S + 1
    world.dispatcher.sweep()

    assert state_of(server) == "CLOSED"


# --- flow ---


def test_a_server_that_does_not_take_stops_its_client() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()
    client.data_received(SELECT)

    server.pause_writing()
    assert not transport_of(client).is_reading()
    server.resume_writing()

    assert transport_of(client).is_reading()


def test_the_client_that_was_stopped_goes_on_though_it_is_no_longer_linked() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()
    client.data_received(SELECT)
    server.pause_writing()
    server.data_received(DONE)

    server.resume_writing()

    assert transport_of(client).is_reading()


def test_a_client_that_does_not_read_stays_stopped() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()
    client.data_received(SELECT)
    server.pause_writing()
    client.pause_writing()

    server.resume_writing()

    assert not transport_of(client).is_reading()


def test_an_idle_server_that_does_not_take_stops_nobody() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()

    server.pause_writing()
    server.resume_writing()

    assert transport_of(client).is_reading()


def test_a_closing_server_is_neither_paused_nor_resumed() -> None:
    server = World().add_server()
    server.close()

    server.pause_reading()
    server.resume_reading()

    assert transport_of(server).is_closing()


# --- the end ---


def test_promise_7_a_client_whose_server_breaks_is_told_why() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()
    client.data_received(SELECT)

    server.connection_lost(None)

    assert b"FATAL\0" in transport_of(client).written
    assert b"Mserver conn crashed?\0" in transport_of(client).written
    assert transport_of(client).is_closing()
    assert state_of(client) == "CLOSED"


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (b"?\0\0\0\4", b"unknown pkt"),
        (b"Z\0\0\0\4", b"with a wrong length"),
        (DONE + ReadyForQuery(), b"ReadyForQuery that nobody asked for"),
    ],
)
def test_promise_5_a_server_that_breaks_the_protocol_is_closed(
    said: bytes, sentence: bytes
) -> None:
    world = World()
    client, server = world.add_client(), world.add_server()
    client.data_received(SELECT)

    server.data_received(said)

    assert sentence in transport_of(client).written
    assert transport_of(server).is_closing()
    assert transport_of(server).written == SELECT + Terminate()


def test_an_idle_server_that_goes_disturbs_nobody() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()

    server.data_received(ErrorResponse("bye", severity="FATAL", sqlstate="57P01"))
    server.connection_lost(None)

    assert state_of(server) == "CLOSED"
    assert transport_of(client).writes == []


def test_who_waits_gets_another_server_when_one_breaks() -> None:
    world = World(pool_size=1)
    first, second = world.add_client(), world.add_client()
    server = world.add_server()
    first.data_received(SELECT)
    second.data_received(SELECT)

    server.connection_lost(None)

    assert len(world.logging_in) == 1
    assert world.finish_login().session.client is second.session


def test_statement_pooling_ends_a_block_at_once() -> None:
    world = World(PoolMode.STATEMENT)
    client, server = world.add_client(), world.add_server()
    client.data_received(Query("BEGIN"))

    server.data_received(IN_BLOCK)

    assert b"transaction blocks not allowed in statement pooling" in transport_of(client).written
    assert state_of(server) == "CLOSED"


def test_a_server_knows_its_address() -> None:
    assert World().add_server().address == ("127.0.0.1", 5432)
