"""What is still said to a side whose other side is gone, and for how long its socket waits."""

from __future__ import annotations

import pytest

from pgpool_lite.config import PoolMode
from pgpool_lite.errors import LimitReached
from pgpool_lite.proxy.lingering import LINGER_LIMIT_S
from pgpool_lite.session.refusals import StatementRules
from tests.unit.world import World, state_of, transport_of
from tests.wire_messages import (
    CloseStatement,
    CommandComplete,
    DataRow,
    ErrorResponse,
    Flush,
    Parse,
    Query,
    ReadyForQuery,
    Sync,
    Terminate,
    message,
)

ROW = DataRow("x" * 1000)
NOTIFICATION = message("A", b"\0\0\0\7channel\0payload\0")
LARGE_QUERY = Query("DELETE FROM written -- " + "x" * 20_000)

# --- half a message ---


def test_a_server_that_dies_in_a_row_adds_nothing_to_the_row() -> None:
    """Story: a server died when all but the last bytes of a row had gone to its client. The error
    that should have told it was taken for these bytes: a row that no table ever held, in a message
    that was whole, and drivers that hand on rows as they come did so.
    """
    world = World()
    client, server = world.add_client(), world.add_server()
    client.data_received(Query("SELECT"))
    server.data_received(ROW[:-10])

    server.connection_lost(None)

    assert transport_of(client).written == ROW[:-10]
    assert transport_of(client).is_closing()


def test_a_client_that_is_closed_in_a_row_gets_nothing_in_place_of_its_rest() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()
    client.data_received(Query("SELECT"))
    server.data_received(ROW[:-10])

    client.refuse(LimitReached("query timeout"))

    assert transport_of(client).written == ROW[:-10]
    assert transport_of(client).is_closing()


def test_a_server_that_breaks_the_protocol_behind_half_a_row_adds_nothing_to_it() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()
    client.data_received(Query("SELECT"))
    server.data_received(ROW[:-10])

    server.data_received(ROW[-10:] + b"garbage")

    assert transport_of(client).written == ROW[:-10]
    assert state_of(server) == "CLOSED"


def test_between_two_messages_a_client_is_told() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()
    client.data_received(Query("SELECT"))
    server.data_received(ROW[:-3])
    server.data_received(ROW[-3:])

    server.connection_lost(None)

    assert transport_of(client).written.startswith(ROW + b"E")
    assert b"server conn crashed?" in transport_of(client).written


def test_a_client_that_goes_in_a_query_has_it_not_made_whole_by_a_terminate() -> None:
    """Story: a client died when all but the last two bytes of a large Query had gone to the server.
    The Terminate that we send behind a client was taken for these two bytes and more: PostgreSQL
    saw a whole query, and ran what nobody had sent to its end.
    """
    world = World()
    client, server = world.add_client(), world.add_server()
    client.data_received(LARGE_QUERY[:-2])

    client.connection_lost(None)

    assert transport_of(server).written == LARGE_QUERY[:-2]
    assert transport_of(server).is_closing()


def test_a_server_that_is_closed_in_a_clients_query_is_sent_nothing_in_place_of_its_rest() -> None:
    world = World(query_timeout_s=5.0)
    client, server = world.add_client(), world.add_server()
    client.data_received(LARGE_QUERY[:-2])
    world.clock.now += 6

    world.dispatcher.sweep()

    assert transport_of(server).written == LARGE_QUERY[:-2]
    assert transport_of(server).is_closing()


def test_a_server_that_waits_for_nothing_is_told_goodbye() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()
    client.data_received(LARGE_QUERY)

    client.connection_lost(None)

    assert transport_of(server).written == LARGE_QUERY + Terminate()


# --- an error that nobody asked for ---

ANSWER = DataRow("1") + CommandComplete("SELECT 1") + ReadyForQuery()
BYE = ErrorResponse("terminating connection", severity="FATAL", sqlstate="57P01")


@pytest.mark.parametrize("size", [len(ANSWER + BYE), len(ANSWER + BYE) - 5, len(ANSWER) + 5])
def test_the_last_words_behind_an_answer_are_for_nobody(size: int) -> None:
    """Story: a server was ended when its query was answered, and its last words came in the same
    read as the answer. The client was given both, took its connection for lost, and yet could have
    gone on: nothing of it was in flight.
    """
    world = World(pool_size=1)
    client, server = world.add_client(), world.add_server()
    client.data_received(Query("SELECT 1"))

    said = ANSWER + BYE
    server.data_received(said[:size])
    if said[size:]:
        server.data_received(said[size:])

    assert transport_of(client).written == ANSWER
    assert (state_of(client), state_of(server)) == ("ACTIVE", "CLOSED")


def test_in_session_pooling_they_are_for_the_client_that_has_the_server() -> None:
    world = World(PoolMode.SESSION)
    client, server = world.add_client(), world.add_server()
    client.data_received(Query("SELECT 1"))

    server.data_received(ANSWER + BYE)
    server.connection_lost(None)

    assert transport_of(client).written == ANSWER + BYE
    assert state_of(client) == "CLOSED"


def test_nothing_follows_the_last_words() -> None:
    """Story: a segment waited for the answers before it, for it named what these might change. The
    server's last words came in their place, and behind them the CloseComplete that we make up.
    """
    world = World(statements=StatementRules(limit=10))
    client, server = world.add_client(rewrites=True), world.add_server()
    client.data_received(Parse("SELECT 1", "a") + Sync() + CloseStatement("a") + Sync())

    server.data_received(message("1") + ReadyForQuery() + BYE)

    assert transport_of(client).written == message("1") + ReadyForQuery() + BYE
    assert transport_of(client).is_closing()
    assert transport_of(server).is_closing()


# --- sockets that nobody reads at the other end ---


def test_a_closed_client_that_does_not_read_is_cut_off() -> None:
    """Story: a client stopped reading, was closed, and kept its end open. Its socket waited for it
    to take the last bytes, for ever, while it counted against no limit any more; as many times as
    it liked, until the pooler had no file descriptors left.
    """
    world = World()
    client, server = world.add_client(), world.add_server()
    client.data_received(Query("SELECT"))
    server.data_received(DataRow("1") + CommandComplete("SELECT 1") + ReadyForQuery())
    transport_of(client).unsent = 100
    client.refuse(LimitReached("client_idle_timeout"))
    world.clock.now += LINGER_LIMIT_S

    world.dispatcher.sweep()
    assert not transport_of(client).is_aborted
    world.clock.now += 1
    world.dispatcher.sweep()

    assert transport_of(client).is_aborted
    assert len(world.dispatcher.lingering) == 0


def test_a_closed_server_that_does_not_read_is_cut_off() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()
    client.data_received(LARGE_QUERY)
    transport_of(server).unsent = 100
    client.connection_lost(None)
    assert state_of(server) == "CLOSED"
    world.clock.now += LINGER_LIMIT_S + 1

    world.dispatcher.sweep()

    assert transport_of(server).is_aborted


def test_who_takes_the_last_bytes_is_forgotten() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()
    client.data_received(LARGE_QUERY)
    transport_of(server).unsent = transport_of(client).unsent = 100
    client.refuse(LimitReached("query timeout"))
    assert len(world.dispatcher.lingering) == 2

    client.connection_lost(None)
    server.connection_lost(None)

    assert len(world.dispatcher.lingering) == 0


def test_at_the_end_nobody_is_waited_for() -> None:
    world = World()
    client, _ = world.add_client(), world.add_server()
    transport_of(client).unsent = 100
    client.refuse(LimitReached("client_idle_timeout"))

    world.dispatcher.lingering.abort_all()

    assert transport_of(client).is_aborted
    assert len(world.dispatcher.lingering) == 0


# --- made-up answers ---


def test_an_answer_that_we_make_up_goes_behind_the_message_under_way() -> None:
    """Story: half of a notification had come for a client when it prepared, once more, what its
    server had. The ParseComplete that we make up for that went out at once, into the notification.
    """
    world = World(statements=StatementRules(limit=10))
    client, server = world.add_client(rewrites=True), world.add_server()
    client.data_received(Query("BEGIN") + Parse("SELECT 1", "first") + Sync())
    server.data_received(CommandComplete("BEGIN") + ReadyForQuery("T"))
    server.data_received(message("1") + ReadyForQuery("T"))
    transport_of(client).take()

    server.data_received(NOTIFICATION[:-3])
    client.data_received(Parse("SELECT 1", "second") + Flush())
    assert transport_of(client).take() == NOTIFICATION[:-3]
    server.data_received(NOTIFICATION[-3:])

    assert transport_of(client).take() == NOTIFICATION[-3:] + message("1")


def test_an_answer_that_we_make_up_stands_before_the_servers_next() -> None:
    world = World(statements=StatementRules(limit=10))
    client, server = world.add_client(rewrites=True), world.add_server()
    client.data_received(Query("BEGIN") + Parse("SELECT 1", "first") + Sync())
    server.data_received(CommandComplete("BEGIN") + ReadyForQuery("T"))
    server.data_received(message("1") + ReadyForQuery("T"))
    transport_of(client).take()

    server.data_received(NOTIFICATION[:3])
    server.data_received(NOTIFICATION[3:-3])
    client.data_received(Parse("SELECT 1", "second") + Sync())
    server.data_received(NOTIFICATION[-3:] + ReadyForQuery("T"))

    assert transport_of(client).take() == NOTIFICATION + message("1") + ReadyForQuery("T")
