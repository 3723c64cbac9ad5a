"""What a server says that is not for a client: answers to queries of our own, words while idle."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pgpool_lite.errors import ServerError, ServerProtocolError
from pgpool_lite.session.client import CUT
from pgpool_lite.session.own_queries import OWN_DONE
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.states import ServerState
from tests.unit.feeding import feed_every_way
from tests.unit.pairs import TRACKED, Pair, link, make_client, make_server
from tests.unit.session.test_server import (
    NEXT,
    NOTICE,
    NOTIFICATION,
    ROWS,
    CopyInResponse,
    with_value,
)
from tests.wire_messages import (
    CommandComplete,
    ErrorResponse,
    ParameterStatus,
    Query,
    ReadyForQuery,
)

# --- queries of our own ---

SET_ANSWER = CommandComplete("SET") + ParameterStatus("application_name", "psql") + ReadyForQuery()


def prepared_pair() -> Pair:
    """Return a pair whose server is being given the client's application_name."""
    pair = Pair()
    client = pair.client_session
    client.parameters = TRACKED.values_of(with_value("application_name", "psql"))
    assert pair.server_session.adopt(client) == Query("SET application_name='psql'")
    return pair


def test_the_answer_to_a_set_in_front_is_swallowed_however_it_is_cut() -> None:
    def read(reads: Sequence[bytes]) -> tuple[bytes, bool, bool, dict[str, str]]:
        pair = prepared_pair().client(Query("SELECT 1"))
        for data in reads:
            pair.server(data)
        named = TRACKED.named(pair.server_session.parameters)
        return pair.at_client, pair.is_settled, pair.client_session.is_proven, named

    expected = with_value("application_name", "psql")
    said = SET_ANSWER + ROWS + ReadyForQuery()
    assert feed_every_way(read, said, then=NEXT) == (ROWS + ReadyForQuery(), True, True, expected)


def test_own_done_is_said_when_the_set_has_been_answered() -> None:
    pair = prepared_pair().client(Query("SELECT 1"))

    assert pair.server(SET_ANSWER[:-1]).verdict == CUT
    assert pair.server(SET_ANSWER[-1:]).verdict == CUT | OWN_DONE


def test_the_client_learns_how_the_server_spells_its_values() -> None:
    pair = Pair()
    client = pair.client_session
    client.parameters = TRACKED.values_of(with_value("client_encoding", "latin1"))
    pair.server_session.adopt(client)

    pair.server(ParameterStatus("client_encoding", "LATIN1"), ReadyForQuery())

    assert TRACKED.named(client.parameters) == with_value("client_encoding", "LATIN1")


def test_a_server_that_has_the_clients_values_is_asked_nothing() -> None:
    pair = Pair()

    assert pair.server_session.adopt(pair.client_session) == b""
    assert not pair.server_session.swallowing


def test_promise_2_a_server_with_a_query_of_our_own_is_not_settled() -> None:
    pair = prepared_pair()

    assert not pair.is_settled
    assert pair.server(SET_ANSWER).is_settled


def test_a_set_that_fails_ends_the_server() -> None:
    with pytest.raises(ServerError, match="invalid server parameter") as caught:
        prepared_pair().server(ErrorResponse("no such zone", sqlstate="22023"))

    assert caught.value.detail == "ERROR 22023 no such zone"


def test_a_check_query_of_an_unlinked_server_is_swallowed() -> None:
    server = make_server()

    assert server.ask("SELECT 1", "test query failed") == Query("SELECT 1")
    assert server.receive(ROWS) == CUT
    assert (server.receive(ReadyForQuery()), server.cut) == (CUT | OWN_DONE, b"")


def test_two_queries_of_our_own_are_done_when_both_are() -> None:
    server = make_server()
    server.ask("DISCARD ALL", "reset query failed")
    server.ask("SELECT 1", "reset query failed")

    assert server.receive(ReadyForQuery()) == CUT
    assert server.receive(ReadyForQuery()) == CUT | OWN_DONE


def test_promise_5_a_query_of_our_own_that_leaves_a_block_open_ends_the_server() -> None:
    server = make_server()
    server.ask("BEGIN", "reset query failed")

    with pytest.raises(ServerError, match="reset query failed") as caught:
        server.receive(CommandComplete("BEGIN") + ReadyForQuery("T"))

    assert caught.value.detail == "It left a transaction open."


def test_an_answer_that_we_do_not_expect_to_our_own_query_ends_the_server() -> None:
    server = make_server()
    server.ask("COPY t FROM STDIN", "reset query failed")

    with pytest.raises(ServerProtocolError, match="unknown pkt"):
        server.receive(CopyInResponse)


# --- an idle server ---


def idle_server() -> ServerSession:
    server = make_server()
    server.state = ServerState.IDLE
    return server


def test_what_an_idle_server_may_say_is_swallowed_however_it_is_cut() -> None:
    def read(reads: Sequence[bytes]) -> tuple[bytes, dict[str, str]]:
        server, passed = idle_server(), b""
        for data in reads:
            assert server.receive(data) == CUT
            passed += server.cut
        return passed, TRACKED.named(server.parameters)

    said = NOTICE + NOTIFICATION + ParameterStatus("TimeZone", "Asia/Tokyo")
    assert feed_every_way(read, said, then=NEXT) == (b"", with_value("TimeZone", "Asia/Tokyo"))


@pytest.mark.parametrize("said", [ReadyForQuery(), ROWS, CommandComplete("SELECT 1")])
def test_promise_5_an_idle_server_that_says_anything_else_is_closed(said: bytes) -> None:
    with pytest.raises(ServerProtocolError):
        idle_server().receive(said)


def test_an_idle_server_that_says_goodbye_is_closed_and_its_words_are_kept() -> None:
    goodbye = ErrorResponse("terminating connection", severity="FATAL", sqlstate="57P01")

    with pytest.raises(ServerError, match="server closed the connection") as caught:
        idle_server().receive(goodbye)

    assert caught.value.detail == "FATAL 57P01 terminating connection"


@pytest.mark.parametrize("size", [3, 5, 9, len(NOTIFICATION) - 1])
def test_promise_3_a_notification_cut_by_the_linking_never_reaches_the_client_in_half(
    size: int,
) -> None:
    """Story: PostgreSQL notifies an idle server, and half of that arrives. The server is linked,
    and the other half comes in front of the client's own reply. A client that is passed the second
    half alone takes its bytes for a message header and is lost.
    """
    server, client = idle_server(), make_client()
    server.receive(NOTIFICATION[:size])
    link(client, server)
    client.receive(Query("SELECT 1"))

    verdict = server.receive(NOTIFICATION[size:] + ROWS + ReadyForQuery())
    passed = server.cut if verdict & CUT else NOTIFICATION[size:] + ROWS + ReadyForQuery()

    assert passed.removeprefix(NOTIFICATION) == ROWS + ReadyForQuery()
