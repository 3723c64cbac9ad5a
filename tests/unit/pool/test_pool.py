"""Who gets which server, who waits, and what becomes of a server that is released."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from pgpool_lite.config import PoolMode
from pgpool_lite.pool.pool import Pool
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.states import ClientState, ServerState
from tests.unit.pairs import make_client
from tests.unit.pool.helpers import (
    add_client,
    add_clients,
    add_server,
    add_servers,
    check,
    linked_pair,
    make_pool,
    where,
)

# --- link ---


def test_a_client_gets_an_idle_server_at_once() -> None:
    pool = make_pool()
    client, server = add_client(pool), add_server(pool)

    assert pool.link(client, 5.0) is server
    assert (client.server, server.client) == (server, client)
    assert (client.query_started_at, client.xact_started_at, server.requested_at) == (5.0, 5.0, 5.0)
    assert where(pool) == "cl_active=1 sv_active=1"


def test_promise_1_a_server_is_linked_to_at_most_one_client_and_flips_at_linking() -> None:
    pool = make_pool()
    first, second = add_clients(pool, 2)
    server = add_server(pool)

    pool.link(first, 0.0)

    assert server.state is ServerState.ACTIVE
    assert pool.link(second, 0.0) is None
    check(pool)


def test_the_server_released_last_goes_out_first() -> None:
    pool = make_pool()
    servers = add_servers(pool, 3)

    assert [pool.link(client, 0.0) for client in add_clients(pool, 3)] == servers[::-1]


def test_round_robin_takes_the_server_that_is_idle_longest() -> None:
    pool = make_pool(round_robin=True)
    servers = add_servers(pool, 3)
    client = add_client(pool)

    for expected in [*servers, *servers]:
        assert pool.idle_server() is not None
        assert pool.link(client, 0.0) is expected
        pool.release(expected, 0.0)


def test_the_next_server_can_be_looked_at() -> None:
    pool = make_pool()
    assert pool.idle_server() is None

    first, second = add_servers(pool, 2)

    assert pool.idle_server() is second
    pool.link(add_client(pool), 0.0)
    assert pool.idle_server() is first


def test_a_client_that_needs_no_welcome_is_active_at_once() -> None:
    pool = make_pool()
    lookup = make_client(1, state=ClientState.ACTIVE)

    pool.add_client(lookup)
    assert where(pool) == "cl_active=1"
    pool.link(lookup, 0.0)

    assert where(pool) == "cl_waiting=1"
    pool.remove_client(lookup)
    assert where(pool) == ""


def test_clients_wait_first_come_first_served() -> None:
    pool = make_pool()
    first, second, third = add_clients(pool, 3)
    for client, now in ((second, 1.0), (third, 2.0), (first, 3.0)):
        assert pool.link(client, now) is None
    assert (where(pool), pool.oldest_wait_s(9.0)) == ("cl_waiting=3", 8.0)

    server = add_server(pool)
    served = [server.client, pool.release(server, 4.0), pool.release(server, 5.0)]

    assert served == [second, third, first]
    assert pool.oldest_wait_s(9.0) == 0.0
    check(pool)


def test_nobody_is_linked_while_the_database_is_paused() -> None:
    pool = make_pool()
    client, server = add_client(pool), add_server(pool)
    pool.database.is_paused = True

    assert pool.link(client, 0.0) is None
    assert (server.state, where(pool)) == (ServerState.IDLE, "cl_waiting=1 sv_idle=1")


def test_promise_5_a_server_that_is_to_be_closed_is_never_linked_again() -> None:
    """Story: RELOAD moves a database to another host and marks its servers. Before the next sweep
    a client asks for one; it must not be sent to the old host once more.
    """
    pool = make_pool()
    client, server = add_client(pool), add_server(pool)
    pool.retire("database configuration changed")

    assert pool.link(client, 0.0) is None
    assert server.close_reason == "database configuration changed"


def test_linking_and_releasing_are_counted() -> None:
    pool = make_pool()
    first, second = add_clients(pool, 2)
    server = add_server(pool)
    pool.link(first, 0.0)
    pool.link(second, 1.0)
    pool.release(server, 3.5)

    counted = pool.counters
    assert (counted.server_assignment_count, counted.xact_count, counted.query_count) == (2, 2, 2)
    assert (counted.wait_time, counted.client_login_count) == (2.5, 2)


# --- release ---


def test_a_released_server_is_idle() -> None:
    pool = make_pool()
    client, server = linked_pair(pool)

    assert pool.release(server, 7.0) is None
    assert (server.client, client.server, server.released_at) == (None, None, 7.0)
    assert where(pool) == "cl_active=1 sv_idle=1"


def test_promise_6_a_waiter_that_left_never_gets_a_server() -> None:
    pool = make_pool()
    _, server = linked_pair(pool)
    leaver, patient = add_client(pool, 2), add_client(pool, 3)
    pool.link(leaver, 0.0)
    pool.link(patient, 0.0)

    assert pool.remove_client(leaver) is None
    assert pool.release(server, 1.0) is patient
    assert (leaver.state, leaver.server) == (ClientState.CLOSED, None)
    check(pool)


def test_promise_6_the_server_that_a_leaver_waited_for_is_not_lost() -> None:
    pool = make_pool()
    _, server = linked_pair(pool)
    leaver = add_client(pool, 2)
    pool.link(leaver, 0.0)
    pool.remove_client(leaver)

    assert pool.release(server, 1.0) is None
    assert server.state is ServerState.IDLE


def test_promise_2_a_server_with_a_cancel_in_flight_is_not_reused() -> None:
    pool = make_pool()
    _, server = linked_pair(pool)
    waiting = add_client(pool, 2)
    pool.link(waiting, 0.0)
    server.cancels_in_flight = 1

    assert pool.release(server, 1.0) is None
    assert server.state is ServerState.BEING_CANCELED
    assert pool.server_usable(server, 2.0) is waiting


def test_a_reset_query_comes_before_the_next_client() -> None:
    pool = make_pool(reset_query="DISCARD ALL")
    _, server = linked_pair(pool)
    waiting = add_client(pool, 2)
    pool.link(waiting, 0.0)

    assert pool.release(server, 1.0) is None
    assert server.state is ServerState.TESTED
    assert pool.server_usable(server, 2.0) is waiting
    check(pool)


def test_a_canceled_server_is_reset_too() -> None:
    pool = make_pool(reset_query="DISCARD ALL")
    _, server = linked_pair(pool)
    server.cancels_in_flight = 1
    pool.release(server, 1.0)

    assert pool.server_usable(server, 2.0) is None
    assert server.state is ServerState.TESTED


def test_promise_5_a_server_with_a_close_reason_is_closed_at_release() -> None:
    pool = make_pool()
    _, server = linked_pair(pool)
    pool.link(add_client(pool, 2), 0.0)
    server.close_reason = "database removed"

    assert pool.release(server, 1.0) is None
    assert (server.state, where(pool)) == (ServerState.CLOSED, "cl_active=1 cl_waiting=1")


def test_a_server_is_closed_at_release_while_the_database_is_paused() -> None:
    pool = make_pool()
    _, server = linked_pair(pool)
    pool.database.is_paused = True

    assert pool.release(server, 1.0) is None
    assert (server.state, server.close_reason) == (ServerState.CLOSED, "pause mode")


@pytest.mark.parametrize(("now", "state"), [(99.9, ServerState.IDLE), (100.0, ServerState.CLOSED)])
def test_a_server_is_closed_at_release_when_its_life_is_over(
    now: float, state: ServerState
) -> None:
    pool = make_pool(server_lifetime_s=100.0)
    _, server = linked_pair(pool)

    pool.release(server, now)

    assert server.state is state


def test_servers_of_one_age_retire_one_by_one() -> None:
    pool = make_pool(server_lifetime_s=90.0, pool_size=3)
    servers = add_servers(pool, 3)
    for client in add_clients(pool, 3):
        pool.link(client, 0.0)

    for server, now in zip(servers, (100.0, 110.0, 130.0), strict=True):
        pool.release(server, now)

    assert [server.state.name for server in servers] == ["CLOSED", "IDLE", "CLOSED"]
    assert servers[0].close_reason == "server lifetime over"


def test_a_pool_without_limit_retires_all_its_servers_at_once() -> None:
    pool = make_pool(server_lifetime_s=90.0, pool_size=0)
    pool.last_lifetime_close_at = 100.0

    assert pool.is_life_over(add_server(pool), 100.0)


# --- session and statement pooling ---


def test_session_pooling_keeps_the_pair_until_the_client_leaves() -> None:
    pool = make_pool(mode=PoolMode.SESSION)
    client, server = linked_pair(pool)

    assert pool.release(server, 1.0) is None
    assert server.client is client

    client.is_leaving = True
    pool.release(server, 2.0)
    assert where(pool) == "cl_active=1 sv_idle=1"
    assert pool.remove_client(client) is None


def test_statement_pooling_forbids_blocks_on_every_server() -> None:
    pool = make_pool()
    server = add_server(pool)
    assert not server.forbids_blocks

    pool.set_rules(replace(pool.rules, mode=PoolMode.STATEMENT, server_lifetime_s=5.0))

    assert (server.forbids_blocks, server.retires_at) == (True, 5.0)
    assert add_server(pool, 102).forbids_blocks


# --- cost ---


class CountingServers(list[ServerSession]):
    """A list of servers that counts how often an entry is looked at."""

    touched = 0

    def __iter__(self) -> Iterator[ServerSession]:
        for server in super().__iter__():
            CountingServers.touched += 1
            yield server

    def remove(self, server: ServerSession) -> None:
        CountingServers.touched += len(self)
        super().remove(server)


@pytest.mark.parametrize("size", [10, 1000])
def test_link_and_release_touch_the_same_number_of_entries_whatever_the_pools_size(
    size: int,
) -> None:
    pool = _counting_pool(size)
    client, server = add_client(pool, 5000), pool.idle_server()
    assert server is not None
    CountingServers.touched = 0

    pool.link(client, 0.0)
    pool.release(server, 0.0)
    pool.database.is_paused = True
    pool.link(client, 0.0)
    pool.database.is_paused = False

    assert CountingServers.touched == 0


def _counting_pool(size: int) -> Pool:
    pool = make_pool(pool_size=size)
    # The hot list has a second name in the pool, so both are replaced before anybody comes.
    pool._idle = pool.servers[ServerState.IDLE] = CountingServers()
    add_servers(pool, size)
    return pool
