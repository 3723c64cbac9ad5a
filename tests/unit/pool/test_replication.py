"""A server of its own for a replication client: room for it, its link, and its end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgpool_lite.config import PoolMode
from pgpool_lite.pool.maintenance import CloseClient, CloseServer, sweep
from pgpool_lite.pool.opening import Evict, Open, next_step
from pgpool_lite.pool.pool import Pool
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.replication import Dedication, Replication, ReplicationKind
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.states import ClientState, ServerState
from tests.unit.pairs import make_client, make_server
from tests.unit.pool.helpers import (
    TRANSACTION,
    add_client,
    add_server,
    add_servers,
    check,
    linked_pair,
    make_pool,
    where,
)

LOGICAL = Replication(ReplicationKind.LOGICAL)


def arrive(pool: Pool, session_id: int = 50) -> ClientSession:
    """Bring a replication client in, which has proved itself and waits for its server."""
    client = make_client(session_id, state=ClientState.LOGIN)
    client.replication = LOGICAL
    pool.add_client(client)
    return client


def open_for(pool: Pool, client: ClientSession) -> ServerSession:
    """Begin to open a server for a replication client."""
    server = make_server(150)
    server.dedication = Dedication(client, LOGICAL)
    pool.add_server(server, 0.0)
    return server


def replicating_pair(pool: Pool) -> tuple[ClientSession, ServerSession]:
    """Bring in a replication client that has been welcomed by its server."""
    client = arrive(pool)
    server = open_for(pool, client)
    assert pool.dedicated_logged_in(server) is client
    pool.admit(client)
    return client, server


# --- room ---


def test_a_server_is_opened_for_a_replication_client_alone() -> None:
    pool = make_pool()
    add_server(pool)
    client = arrive(pool)

    assert next_step(pool, 0.0) == Open(dedicated_to=client)


def test_an_idle_server_gives_way_in_a_full_pool() -> None:
    pool = make_pool(pool_size=2)
    oldest, _ = add_servers(pool, 2)
    arrive(pool)

    assert next_step(pool, 0.0) == Evict(pool, oldest, "evicted for pool_size")


def test_in_a_pool_that_is_full_and_busy_the_next_server_that_comes_free_makes_room() -> None:
    pool = make_pool(pool_size=1)
    client, server = linked_pair(pool)
    waiting = add_client(pool, 2)
    pool.link(waiting, 0.0)
    replicating = arrive(pool)
    assert next_step(pool, 0.0) is None

    assert pool.release(server, 1.0) is None

    assert (server.state, server.close_reason) == (ServerState.CLOSED, "evicted for pool_size")
    assert next_step(pool, 1.0) == Open(dedicated_to=replicating)
    assert client.server is None


def test_one_server_makes_room_and_no_more() -> None:
    pool = make_pool(pool_size=2)
    clients = [add_client(pool, number) for number in (1, 2)]
    servers = add_servers(pool, 2)
    for client in clients:
        pool.link(client, 0.0)
    replicating = arrive(pool)
    next_step(pool, 0.0)
    first, second = (server for server in reversed(servers))
    pool.release(first, 1.0)
    assert next_step(pool, 1.0) == Open(dedicated_to=replicating)
    open_for(pool, replicating)

    pool.release(second, 1.0)

    assert second.state is ServerState.IDLE


def test_a_replication_client_counts_against_the_limits_of_its_database() -> None:
    pool = make_pool(max_db_connections=1)
    idle = add_server(pool)
    arrive(pool)

    assert next_step(pool, 0.0) == Evict(pool, idle, "evicted for max_db_connections")


def test_a_usual_client_that_arrives_needs_a_usual_server() -> None:
    pool = make_pool(pool_size=1)
    replicating_pair(pool)
    usual = make_client(2, state=ClientState.LOGIN)
    pool.add_client(usual)

    assert next_step(pool, 0.0) == Open()


# --- the link, and its end ---


def test_the_server_is_linked_to_its_client_from_the_login_on() -> None:
    pool = make_pool()
    client, server = replicating_pair(pool)

    assert client.server is server
    assert where(pool) == "cl_active=1 sv_active=1"
    check(pool)


@pytest.mark.parametrize("mode", PoolMode)
def test_the_pair_stays_together_whatever_the_pool_mode(mode: PoolMode) -> None:
    pool = make_pool(mode=mode)
    client, server = replicating_pair(pool)
    pool.set_rules(pool.rules)

    assert pool.release(server, 1.0) is None

    assert (client.server, server.state) == (server, ServerState.ACTIVE)
    assert not server.forbids_blocks


def test_the_server_is_closed_behind_its_client() -> None:
    pool = make_pool(reset_query="DISCARD ALL")
    client, server = replicating_pair(pool)
    client.is_leaving = True

    assert pool.release(server, 1.0) is None

    assert server.state is ServerState.CLOSED
    assert server.close_reason == "replication client was closed"


def test_a_server_whose_client_has_left_meanwhile_is_closed() -> None:
    pool = make_pool()
    client = arrive(pool)
    server = open_for(pool, client)
    pool.remove_client(client)

    assert pool.dedicated_logged_in(server) is None
    assert server.close_reason == "replication client disconnected"
    check(pool)


def test_a_server_that_logs_in_during_a_pause_is_closed() -> None:
    pool = make_pool()
    server = open_for(pool, arrive(pool))
    pool.database.is_paused = True

    assert pool.dedicated_logged_in(server) is None
    assert server.close_reason == "pause mode"


def test_a_retired_server_is_closed_although_its_client_streams() -> None:
    pool = make_pool()
    client, server = replicating_pair(pool)
    client.owed.append(ord("Q"))
    pool.retire("close_needed")

    assert CloseServer(server, "database configuration changed") in sweep(pool, 1.0)


def test_a_replication_client_waits_for_query_wait_timeout() -> None:
    pool = make_pool(replace(TRANSACTION, client_login_timeout_s=5, query_wait_timeout_s=10))
    client = arrive(pool)

    assert sweep(pool, 9.0) == []
    assert [action.client for action in sweep(pool, 11.0) if isinstance(action, CloseClient)] == [
        client
    ]
