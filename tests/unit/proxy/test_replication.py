"""What follows when a replication client's own server logs in, is refused, or is not wanted."""

from __future__ import annotations

from pgpool_lite.errors import ServerRefusedLogin
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.replication import Replication, ReplicationKind
from pgpool_lite.session.states import ClientState, ServerState
from tests.unit.pairs import FakeConnection, make_client
from tests.unit.world import World, state_of, transport_of
from tests.wire_messages import Query


def arrive(world: World) -> tuple[ClientSession, FakeConnection]:
    """Bring a replication client in, which has proved itself and waits for its server."""
    client = make_client(50, state=ClientState.LOGIN)
    client.replication = Replication(ReplicationKind.PHYSICAL)
    connection = FakeConnection()
    client.attach(connection, connection.write)
    world.pool.add_client(client)
    world.dispatcher.replenish(world.pool)
    return client, connection


def test_the_client_is_welcomed_by_its_own_server_only() -> None:
    world = World()
    world.add_server()
    client, connection = arrive(world)
    assert connection.went_on == []

    server = world.finish_login().session

    assert connection.went_on == [server]
    assert client.server is server


def test_a_server_for_all_is_not_given_to_it() -> None:
    world = World(pool_size=3)
    _, connection = arrive(world)
    dedicated = world.logging_in.pop(0)
    world.pool.remove_server(dedicated.session)

    world.add_server()

    assert connection.went_on == []
    assert [each.session.dedication is not None for each in world.logging_in] == [True]


def test_a_refusal_is_told_to_its_client_and_says_nothing_to_others() -> None:
    world = World()
    _, connection = arrive(world)
    usual = world.add_client()
    usual.data_received(Query("SELECT 1"))
    refused = world.logging_in.pop(0).session

    world.dispatcher.login_failed(refused, world.pool, ServerRefusedLogin("no walsender for you"))

    (refusal,) = connection.refusals
    assert (refusal.message, refusal.sqlstate) == ("login failed", "08P01")
    assert "no walsender for you" in refusal.detail
    assert (state_of(usual), world.pool.failure) == ("WAITING", "")


def test_a_client_that_leaves_takes_the_server_along_that_is_being_opened_for_it() -> None:
    world = World()
    client, _ = arrive(world)
    (opening,) = world.logging_in
    world.pool.remove_client(client)

    world.dispatcher.forsake(client, world.pool)

    assert opening.session.state is ServerState.CLOSED
    assert transport_of(opening).is_closing()
