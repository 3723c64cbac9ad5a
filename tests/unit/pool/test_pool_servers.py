"""Servers come and go: logins, checks, losses, and when one more is wanted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgpool_lite.session.states import ClientState, ServerState
from tests.unit.pairs import make_client, make_server
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

# --- servers come and go ---


def test_a_server_that_logged_in_goes_to_the_oldest_waiter() -> None:
    pool = make_pool()
    pool.failure = "connect failed"
    first, second = add_clients(pool, 2)
    pool.link(first, 0.0)
    pool.link(second, 0.0)
    server = make_server()
    pool.add_server(server, 1.0)
    assert not pool.has_usable_server

    assert pool.server_logged_in(server, 2.0) is first
    assert (pool.failure, pool.has_usable_server) == ("", True)
    check(pool)


def test_a_server_that_logged_in_although_the_database_is_paused_is_closed() -> None:
    pool = make_pool()
    pool.database.is_paused = True

    assert add_server(pool).state is ServerState.CLOSED


def test_a_failed_login_is_remembered() -> None:
    pool, server = make_pool(), make_server()
    pool.add_server(server, 1.0)

    pool.login_failed(server, "connect failed")

    assert (pool.failure, server.state, where(pool)) == (
        "connect failed",
        ServerState.CLOSED,
        "",
    )


def test_a_server_that_broke_gives_its_client_back() -> None:
    pool = make_pool()
    client, server = linked_pair(pool)

    assert pool.remove_server(server) is client
    assert client.server is None
    assert where(pool) == "cl_active=1"
    assert pool.remove_server(server) is None
    check(pool)


def test_a_client_that_leaves_in_the_middle_gives_its_server_back() -> None:
    pool = make_pool()
    client, server = linked_pair(pool)

    assert pool.remove_client(client) is server
    assert pool.remove_client(client) is None
    assert server.client is None


def test_a_stale_server_is_tested_before_use() -> None:
    pool = make_pool()
    server = add_server(pool)

    pool.grow_stale(server)
    assert where(pool) == "sv_used=1"
    pool.begin_test(server)
    assert where(pool) == "sv_tested=1"
    assert pool.server_usable(server, 1.0) is None
    assert where(pool) == "sv_idle=1"


def test_a_move_that_is_not_in_the_tables_is_a_bug() -> None:
    pool = make_pool()
    server, client = add_server(pool), add_client(pool)

    with pytest.raises(AssertionError, match="a server cannot go from IDLE to IDLE"):
        pool.server_usable(server, 0.0)
    pool.remove_server(server)
    pool.link(client, 0.0)
    with pytest.raises(AssertionError, match="a client cannot go from WAITING to WAITING"):
        pool.link(client, 0.0)


# --- when a server is wanted ---


def test_nobody_waits_nobody_opens() -> None:
    assert not make_pool().wants_server(0.0)


def test_a_waiter_wants_a_server() -> None:
    pool = make_pool()
    pool.link(add_client(pool), 0.0)

    assert pool.wants_server(0.0)


def test_one_server_is_opened_at_a_time() -> None:
    pool = make_pool()
    for client in add_clients(pool, 3):
        pool.link(client, 0.0)
    pool.add_server(make_server(), 0.0)

    assert not pool.wants_server(0.0)


def test_no_server_is_wanted_beyond_pool_size() -> None:
    pool = make_pool(pool_size=1)
    linked_pair(pool)
    pool.link(add_client(pool, 2), 0.0)

    assert not pool.wants_server(0.0)
    pool.set_rules(replace(pool.rules, pool_size=0))
    assert pool.wants_server(0.0)


def test_no_server_is_wanted_while_paused() -> None:
    pool = make_pool()
    pool.link(add_client(pool), 0.0)
    pool.database.is_paused = True

    assert not pool.wants_server(0.0)


@pytest.mark.parametrize(("now", "wanted"), [(10.0, False), (24.9, False), (25.0, True)])
def test_a_failed_login_is_tried_again_after_server_login_retry(now: float, wanted: bool) -> None:
    pool = make_pool(login_retry_s=15.0)
    pool.link(add_client(pool), 0.0)
    server = make_server()
    pool.add_server(server, 10.0)
    pool.login_failed(server, "connect failed")

    assert pool.wants_server(now) is wanted


def test_the_first_client_wants_a_server_for_its_welcome() -> None:
    pool = make_pool()
    pool.add_client(make_client(state=ClientState.LOGIN))

    assert pool.wants_server(0.0)
    pool.welcome = {}
    assert not pool.wants_server(0.0)


def test_a_server_being_tested_is_on_its_way_to_the_waiter() -> None:
    pool = make_pool()
    server = add_server(pool)
    pool.grow_stale(server)
    first, second = add_clients(pool, 2)

    pool.link(first, 0.0)
    assert not pool.wants_server(0.0)
    pool.begin_test(server)
    assert not pool.wants_server(0.0)
    pool.link(second, 0.0)
    assert pool.wants_server(0.0)


def test_min_pool_size_is_kept_while_there_are_clients() -> None:
    pool = make_pool(min_pool_size=2)
    assert not pool.wants_server(0.0)

    client = add_client(pool)
    assert pool.wants_server(0.0)
    add_servers(pool, 2)
    assert not pool.wants_server(0.0)
    pool.remove_client(client)
    assert (pool.server_count, pool.client_count) == (2, 0)


def test_min_pool_size_of_a_forced_user_is_kept_without_clients() -> None:
    assert make_pool(min_pool_size=1, has_forced_user=True).wants_server(0.0)
