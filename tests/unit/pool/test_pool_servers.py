"""Servers come and go: logins, checks, losses."""

from __future__ import annotations

import pytest

from pgpool_lite.session.states import ServerState
from tests.unit.pairs import make_server
from tests.unit.pool.helpers import (
    add_client,
    add_clients,
    add_server,
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
