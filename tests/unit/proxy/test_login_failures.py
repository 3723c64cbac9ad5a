"""A server connection that could not be had: who is told, and who goes on waiting."""

from __future__ import annotations

import logging

import pytest

from pgpool_lite.errors import ServerError, ServerLoginFailed, ServerRefusedLogin
from pgpool_lite.proxy.client_connection import ClientConnection
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.states import ClientState
from pgpool_lite.wire.backend import ServerMessage, decode_error
from tests.unit.pairs import make_client
from tests.unit.world import FakeTransport, World, state_of, transport_of
from tests.wire_messages import Query, Terminate

QUERY = Query("SELECT 1")
WRONG = 'password authentication failed for user "alice"'


def fail(world: World, error: ServerError) -> None:
    """Let the oldest login that is under way fail."""
    connection = world.logging_in.pop(0)
    world.dispatcher.login_failed(connection.session, connection.pool, error)


def error_of(data: bytes) -> ServerMessage:
    """Return what the ErrorResponse says that `data` is."""
    assert data[0] == ord("E")
    return decode_error(data[5:])


def refusal() -> ServerRefusedLogin:
    error = ServerRefusedLogin(WRONG, sqlstate="28P01")
    error.severity = "FATAL"
    return error


def test_what_postgresql_said_is_told_to_all_who_wait_at_once() -> None:
    world = World()
    clients = [world.add_client() for _ in range(3)]
    for client in clients:
        client.data_received(QUERY)

    fail(world, refusal())

    told = [error_of(transport_of(client).take()) for client in clients]
    assert [(each.sqlstate, each.message) for each in told] == [("28P01", WRONG)] * 3
    assert "the pooler's login for app/alice" in told[0].detail
    assert "auth_file" in told[0].hint
    assert [state_of(client) for client in clients] == ["CLOSED"] * 3


def test_a_server_that_serves_nobody_else_keeps_nobody_waiting() -> None:
    world = World(pool_size=2)
    world.add_server()
    busy, waiting = world.add_client(), world.add_client()
    busy.data_received(QUERY)
    world.pool.retire("close_needed")
    waiting.data_received(QUERY)

    fail(world, refusal())

    assert (state_of(busy), state_of(waiting)) == ("ACTIVE", "CLOSED")


def test_who_may_yet_get_a_server_goes_on_waiting() -> None:
    world = World(pool_size=2)
    world.add_server()
    busy, waiting = world.add_client(), world.add_client()
    busy.data_received(QUERY)
    waiting.data_received(QUERY)

    fail(world, refusal())

    assert (state_of(busy), state_of(waiting)) == ("ACTIVE", "WAITING")


def test_a_server_that_is_down_may_come_up_while_clients_wait() -> None:
    world = World()
    client = world.add_client()
    client.data_received(QUERY)

    fail(world, ServerLoginFailed("connect failed", detail="[Errno 111] Connection refused"))

    assert state_of(client) == "WAITING"


def test_who_comes_before_server_login_retry_hears_the_cached_reason() -> None:
    world = World()
    first, second = world.add_client(), world.add_client()
    first.data_received(QUERY)
    fail(world, refusal())

    second.data_received(QUERY)

    text = f"server login has been failing, cached error: {WRONG} (server_login_retry)"
    assert text.encode() in transport_of(second).take()
    assert world.logging_in == []


def test_the_log_has_postgresqls_words_and_ours_with_their_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="pgpool_lite")
    world = World(login_retry_s=0)
    world.add_client().data_received(QUERY)
    fail(world, ServerLoginFailed("connect failed", detail="refused"))
    world.dispatcher.sweep()
    fail(world, refusal())

    assert "server login failed: connect failed (refused)" in caplog.text
    assert f"server login failed: FATAL {WRONG}" in caplog.text


class Hasty:
    """A client that said all it had to say, its goodbye too, before it was welcomed."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.session = make_client(state=ClientState.LOGIN)
        self.session.connection = self  # type: ignore[assignment]  # all that is asked of it here
        world.pool.add_client(self.session)

    def go_on(self, _: ServerSession) -> None:
        pool = self._world.pool
        pool.admit(self.session)
        client = ClientConnection(self.session, pool, FakeTransport(), self._world.dispatcher)
        client.data_received(QUERY + Terminate())


def test_a_server_that_the_first_client_welcomed_leaves_unsettled_is_closed_once() -> None:
    # The welcome came before what followed for the server: it was linked, left in the middle of a
    # query and closed; and then, closed as it was, closed again.
    world = World()
    Hasty(world)

    server = world.add_server()

    assert transport_of(server).written == QUERY + Terminate()
