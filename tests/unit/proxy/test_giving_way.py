"""Pools that share a limit: servers give way, and whoever waits for room hears of it at once."""

from __future__ import annotations

from tests.unit.world import World, state_of, transport_of
from tests.wire_messages import CommandComplete, Query, ReadyForQuery

QUERY = Query("SELECT 1")
ANSWER = CommandComplete("SELECT 1") + ReadyForQuery()


def test_an_idle_server_of_another_pool_gives_way_at_once() -> None:
    world = World(max_db_connections=1)
    idle = world.add_server()
    mine = world.add_client(pool=world.add_pool("bob"))

    mine.data_received(QUERY)

    assert (state_of(idle), transport_of(idle).is_closing()) == ("CLOSED", True)
    server = world.finish_login()
    assert server.pool is mine.pool
    assert transport_of(server).take() == QUERY


def test_a_server_that_comes_free_gives_way_to_a_pool_that_waits_for_room() -> None:
    world = World(max_db_connections=1)
    busy = world.add_server()
    theirs, mine = world.add_client(), world.add_client(pool=world.add_pool("bob"))
    theirs.data_received(QUERY)
    mine.data_received(QUERY)
    assert (state_of(mine), world.logging_in) == ("WAITING", [])

    busy.data_received(ANSWER)

    assert state_of(busy) == "CLOSED"
    assert transport_of(theirs).take() == ANSWER
    world.finish_login()
    assert state_of(mine) == "ACTIVE"


def test_a_server_that_breaks_makes_room_for_a_pool_that_waits_for_it() -> None:
    world = World(max_db_connections=1)
    busy = world.add_server()
    theirs, mine = world.add_client(), world.add_client(pool=world.add_pool("bob"))
    theirs.data_received(QUERY)
    mine.data_received(QUERY)

    busy.connection_lost(None)

    assert [connection.pool for connection in world.logging_in] == [mine.pool]


def test_clients_of_two_pools_take_turns_on_one_connection() -> None:
    world = World(max_db_connections=1)
    pools = (world.pool, world.add_pool("bob"))
    world.add_server()
    first, second = (world.add_client(pool=pool) for pool in pools)
    first.data_received(QUERY)

    for waiting, served in ((second, first), (first, second), (second, first)):
        waiting.data_received(QUERY)
        server = served.session.server
        assert server is not None
        server.connection.data_received(ANSWER)  # type: ignore[attr-defined]  # a ServerConnection
        world.finish_login()
        assert (state_of(waiting), served.session.server) == ("ACTIVE", None)


def test_the_reserve_is_used_by_the_sweep() -> None:
    world = World(pool_size=1, reserve_size=1, reserve_timeout_s=5.0)
    world.add_server()
    first, second = world.add_client(), world.add_client()
    first.data_received(QUERY)
    second.data_received(QUERY)
    world.clock.now += 5.0

    world.dispatcher.sweep()

    world.finish_login()
    assert state_of(second) == "ACTIVE"
