"""What a SET has set goes with its client: what the server is asked, and what its answer makes."""

from __future__ import annotations

import pytest

from pgpool_lite.config import SessionLeaks
from pgpool_lite.proxy.client_connection import ClientConnection
from pgpool_lite.proxy.server_connection import ServerConnection
from pgpool_lite.session.following import MAX_SETTINGS, FollowedParameters
from tests.unit.watching import Watched
from tests.unit.world import state_of, transport_of
from tests.wire_messages import CommandComplete, DataRow, Query, ReadyForQuery

DONE = CommandComplete("SET") + ReadyForQuery()
ANSWER = DataRow("setting", "a.b", "one") + CommandComplete("SELECT 1") + ReadyForQuery()
QUESTION_STARTS = b"SELECT 'setting',n,"


@pytest.fixture
def world() -> Watched:
    """Settings follow their clients."""
    watched = Watched(SessionLeaks.WARN)
    watched.world.registry.tracked = FollowedParameters()
    return watched


@pytest.fixture
def server(world: Watched) -> ServerConnection:
    return world.add_server()


@pytest.fixture
def client(world: Watched, server: ServerConnection) -> ClientConnection:
    """Is linked at its first word, for there is a server."""
    return world.add_client()


def asked(server: ServerConnection) -> bytes:
    """Return what the server has been sent last."""
    return transport_of(server).take()


def settings_of(connection: ClientConnection | ServerConnection) -> dict[str, str]:
    """Return the settings that are written down as a client's, or as a server's."""
    tracked = FollowedParameters()
    return tracked.settings_of(connection.session.parameters)


def set_many(count: int) -> str:
    return "BEGIN;" + "".join(f"SET a.n{n} = 'x';" for n in range(count)) + "COMMIT"


def test_the_server_is_asked_behind_the_answer_and_the_pair_stays_until_it_has_said(
    world: Watched, server: ServerConnection, client: ClientConnection
) -> None:
    client.data_received(Query("SET a.b = 'one'"))
    asked(server)
    server.data_received(DONE)

    question = asked(server)
    assert question[5:].startswith(QUESTION_STARTS)
    assert b"current_setting('a.b',true)" in question
    assert state_of(server) == "ACTIVE"

    server.data_received(ANSWER)

    assert settings_of(client) == settings_of(server) == {"a.b": "one"}
    assert state_of(server) == "IDLE"
    assert world.entries(server) == []


@pytest.mark.parametrize("value", [None, "caf\N{LATIN SMALL LETTER E WITH ACUTE}"])
def test_what_cannot_follow_is_a_leak(
    world: Watched, server: ServerConnection, client: ClientConnection, value: str | None
) -> None:
    client.data_received(Query("SET a.b = 'one'"))
    server.data_received(DONE)
    answer = DataRow("setting", "a.b", value) + CommandComplete("SELECT 1")
    server.data_received(answer + ReadyForQuery())

    assert settings_of(client) == {}
    assert world.names(server) == ["a.b"]


def test_the_server_is_asked_about_no_more_than_one_client_may_have(
    world: Watched, server: ServerConnection, client: ClientConnection
) -> None:
    client.data_received(Query(set_many(MAX_SETTINGS + 50)))
    asked(server)
    tags = [CommandComplete("BEGIN"), *[CommandComplete("SET")] * (MAX_SETTINGS + 50)]
    server.data_received(b"".join(tags) + CommandComplete("COMMIT") + ReadyForQuery())

    assert asked(server).count(b"current_setting") == MAX_SETTINGS
    assert len(world.names(server)) == 50


def test_a_reset_asks_nothing_and_gives_the_client_what_it_came_with(
    world: Watched, server: ServerConnection, client: ClientConnection
) -> None:
    client.data_received(Query("SET a.b = 'one'"))
    server.data_received(DONE)
    server.data_received(ANSWER)
    client.data_received(Query("RESET a.b"))
    asked(server)
    server.data_received(CommandComplete("RESET") + ReadyForQuery())

    assert asked(server) == b""
    assert settings_of(client) == settings_of(server) == {}


def test_a_set_that_failed_is_not_asked_about(
    server: ServerConnection, client: ClientConnection
) -> None:
    client.data_received(Query("BEGIN; SET a.b = 'one'; ROLLBACK"))
    asked(server)
    tags = (CommandComplete(tag) for tag in ("BEGIN", "SET", "ROLLBACK"))
    server.data_received(b"".join(tags) + ReadyForQuery())

    assert asked(server) == b""
    assert settings_of(client) == {}
