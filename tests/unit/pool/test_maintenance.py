"""What a sweep finds due: each limit just before and just behind its instant, and the words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgpool_lite.config import PoolMode
from pgpool_lite.pool import maintenance
from pgpool_lite.pool.cancel import CancelRequest
from pgpool_lite.pool.maintenance import CloseClient, CloseServer, DropCancel, NotifyClient
from pgpool_lite.pool.pool import CLOSE_NEEDED, Pool
from pgpool_lite.session.statement_head import KEPT_SIZE
from pgpool_lite.session.states import ClientState, ServerState
from tests.unit.pairs import make_client, make_server
from tests.unit.pool.helpers import (
    add_client,
    add_clients,
    add_server,
    add_servers,
    linked_pair,
    make_pool,
)


def due(pool: Pool, now: float) -> list[str]:
    """Return what a sweep wants, one line each: who and why."""
    lines = []
    for action in maintenance.sweep(pool, now):
        match action:
            case CloseServer(server, reason):
                lines.append(f"close server {server.id}: {reason}")
            case CloseClient(client, error):
                lines.append(f"close client {client.id}: {error.message}")
            case NotifyClient(client):
                lines.append(f"notify client {client.id}")
            case DropCancel():
                lines.append("drop cancel")
    return lines + [f"test server {server.id}" for server in maintenance.stale_servers(pool)]


def test_nothing_is_due_in_an_empty_pool() -> None:
    assert due(make_pool(), 1e9) == []


# --- what servers were asked ---


def test_what_an_idle_server_was_last_asked_is_let_go_of() -> None:
    pool = make_pool()
    server = add_server(pool)
    server.asked = b"a read"

    due(pool, 0.0)

    assert server.asked == b""


def test_of_a_large_read_a_linked_server_keeps_the_head() -> None:
    pool = make_pool()
    _, server = linked_pair(pool)
    server.asked = bytes(256_000)

    due(pool, 0.0)

    assert len(server.asked) == KEPT_SIZE


# --- idle servers ---


@pytest.mark.parametrize(
    ("now", "expected"), [(600.0, []), (600.1, ["close server 101: server idle timeout"])]
)
def test_server_idle_timeout(now: float, expected: list[str]) -> None:
    pool = make_pool(server_idle_timeout_s=600.0, check_query=None)
    add_server(pool)

    assert due(pool, now) == expected


def test_server_idle_timeout_spares_min_pool_size() -> None:
    pool = make_pool(server_idle_timeout_s=600.0, min_pool_size=2, check_query=None)
    add_servers(pool, 3)

    assert due(pool, 601.0) == ["close server 101: server idle timeout"]


def test_server_idle_timeout_may_be_off() -> None:
    pool = make_pool(server_idle_timeout_s=0.0, check_query=None)
    add_server(pool)

    assert due(pool, 3000.0) == []


def test_server_lifetime() -> None:
    pool = make_pool(
        server_lifetime_s=3600.0, server_idle_timeout_s=0.0, check_query=None, pool_size=1
    )
    add_server(pool)

    assert due(pool, 3599.9) == []
    assert due(pool, 3600.0) == ["close server 101: server lifetime over"]


def test_idle_servers_of_one_age_retire_one_by_one() -> None:
    pool = make_pool(server_lifetime_s=90.0, check_query=None)
    add_servers(pool, 3)

    assert due(pool, 90.0) == ["close server 101: server lifetime over"]
    assert due(pool, 119.0) == []
    assert due(pool, 120.0) == ["close server 101: server lifetime over"]


def test_a_close_reason_closes_an_idle_server() -> None:
    pool = make_pool()
    add_server(pool).close_reason = "obsolete connection"

    assert due(pool, 1.0) == ["close server 101: obsolete connection"]


def test_an_idle_server_that_reconnect_made_obsolete_is_closed_in_pgbouncers_words() -> None:
    pool = make_pool()
    add_server(pool)
    pool.retire(CLOSE_NEEDED)

    assert due(pool, 1.0) == ["close server 101: database configuration changed"]


def test_an_obsolete_server_of_a_session_is_closed_between_transactions_on_demand() -> None:
    pool = make_pool(mode=PoolMode.SESSION)
    client, _ = linked_pair(pool)
    pool.retire(CLOSE_NEEDED)
    assert due(pool, 1.0) == []

    pool.set_rules(replace(pool.rules, closes_fast=True))
    client.owed += b"Q"
    assert due(pool, 1.0) == []
    client.owed.clear()
    assert due(pool, 1.0) == ["close server 101: database configuration changed"]


def test_a_paused_database_closes_its_idle_servers() -> None:
    pool = make_pool()
    add_server(pool)
    pool.database.is_paused = True

    assert due(pool, 1.0) == ["close server 101: pause mode"]


def test_servers_beyond_a_reduced_pool_size_are_closed() -> None:
    pool = make_pool(check_query=None)
    add_servers(pool, 3)
    pool.set_rules(replace(pool.rules, pool_size=1))

    assert due(pool, 1.0) == [
        "close server 101: too many servers in the pool",
        "close server 102: too many servers in the pool",
    ]


def test_servers_of_the_reserve_are_not_beyond_the_pools_size() -> None:
    pool = make_pool(check_query=None, pool_size=1, reserve_size=1)
    add_servers(pool, 3)

    assert due(pool, 1.0) == ["close server 101: too many servers in the pool"]


def test_linked_servers_beyond_a_reduced_pool_size_stay() -> None:
    pool = make_pool()
    linked_pair(pool)
    add_server(pool, 102)
    pool.set_rules(replace(pool.rules, pool_size=1))

    assert due(pool, 1.0) == ["close server 102: too many servers in the pool"]


# --- checks ---


def test_a_server_idle_for_long_is_tested_once_somebody_waits() -> None:
    pool = make_pool(check_delay_s=30.0)
    server = add_server(pool)

    assert (due(pool, 30.0), server.state) == ([], ServerState.IDLE)
    assert (due(pool, 30.1), server.state) == ([], ServerState.USED)
    assert pool.link(add_client(pool), 31.0) is None
    assert due(pool, 31.0) == ["test server 101"]


def test_with_a_check_delay_of_0_a_server_is_tested_before_each_client() -> None:
    pool = make_pool(check_delay_s=0.0)
    first, second = add_clients(pool, 2)
    server = add_server(pool)
    pool.link(first, 1.0)
    pool.link(second, 1.0)

    assert (pool.release(server, 2.0), server.state) == (None, ServerState.USED)
    assert due(pool, 2.0) == ["test server 101"]
    pool.begin_test(server)
    assert pool.server_usable(server, 2.0) is second


def test_with_a_check_delay_of_0_a_canceled_server_is_tested_too() -> None:
    pool = make_pool(check_delay_s=0.0)
    _, server = linked_pair(pool)
    server.cancels_in_flight = 1
    pool.release(server, 1.0)
    server.cancels_in_flight = 0

    assert (pool.server_usable(server, 2.0), server.state) == (None, ServerState.USED)


@pytest.mark.parametrize("rules", [{"check_query": None}, {"reset_query": "DISCARD ALL"}])
def test_without_a_check_or_with_a_reset_no_use_needs_a_check(rules: dict[str, str | None]) -> None:
    assert not make_pool(check_delay_s=0.0, **rules).rules.checks_every_use  # type: ignore[arg-type]  # by name


def test_no_more_servers_are_tested_than_clients_wait() -> None:
    pool = make_pool(check_delay_s=30.0)
    servers = add_servers(pool, 3)
    due(pool, 31.0)
    pool.link(add_client(pool), 31.0)

    assert due(pool, 31.0) == ["test server 101"]
    pool.begin_test(servers[0])
    servers[0].requested_at = 31.0
    assert due(pool, 31.0) == []


def test_without_a_check_query_servers_do_not_grow_stale() -> None:
    pool = make_pool(check_query=None)
    server = add_server(pool)

    assert (due(pool, 599.0), server.state) == ([], ServerState.IDLE)


@pytest.mark.parametrize(
    ("now", "expected"),
    [(61.0, []), (61.1, ["close server 101: test query failed (no answer)"])],
)
def test_a_check_that_is_not_answered_has_failed(now: float, expected: list[str]) -> None:
    pool = make_pool()
    server = add_server(pool)
    pool.grow_stale(server)
    pool.begin_test(server)
    server.ask("", "test query failed")
    server.requested_at = 31.0

    assert due(pool, now) == expected


# --- linked servers ---


def test_query_timeout() -> None:
    pool = make_pool(query_timeout_s=5.0)
    client, _ = linked_pair(pool, now=100.0)
    client.owed += b"Q"

    assert due(pool, 105.0) == []
    assert due(pool, 105.1) == ["close server 101: query timeout"]


def test_idle_transaction_timeout() -> None:
    pool = make_pool(idle_transaction_timeout_s=5.0)
    client, server = linked_pair(pool, now=100.0)
    client.query_started_at = 0.0
    server.status = ord("T")
    server.requested_at = 102.0

    assert due(pool, 107.0) == []
    assert due(pool, 107.1) == ["close server 101: idle transaction timeout"]


def test_idle_transaction_timeout_does_not_run_while_the_server_works() -> None:
    pool = make_pool(idle_transaction_timeout_s=5.0)
    client, server = linked_pair(pool, now=100.0)
    client.owed += b"Q"
    server.status = ord("T")

    assert due(pool, 200.0) == []


def test_idle_transaction_timeout_ends_a_client_that_is_stuck_in_half_a_message() -> None:
    pool = make_pool(idle_transaction_timeout_s=5.0)
    client, _ = linked_pair(pool, now=100.0)
    client.owed += b"Q"
    client.body_left = 10

    assert due(pool, 105.1) == ["close server 101: idle transaction timeout"]


def test_idle_transaction_timeout_ends_a_client_whose_batch_waits_for_sync() -> None:
    pool = make_pool(idle_transaction_timeout_s=5.0)
    client, _ = linked_pair(pool, now=100.0)
    client.unsynced = True

    assert due(pool, 105.1) == ["close server 101: idle transaction timeout"]


def test_transaction_timeout() -> None:
    pool = make_pool(transaction_timeout_s=5.0)
    client, _ = linked_pair(pool, now=100.0)
    client.owed += b"Q"

    assert due(pool, 105.0) == []
    assert due(pool, 105.1) == ["close server 101: transaction timeout"]


def test_a_settled_pair_of_session_pooling_runs_into_none_of_them() -> None:
    pool = make_pool(query_timeout_s=1.0, idle_transaction_timeout_s=1.0, transaction_timeout_s=1.0)
    linked_pair(pool)

    assert due(pool, 500.0) == []


def test_timeouts_that_are_off_are_not_looked_for() -> None:
    pool = make_pool()
    client, _ = linked_pair(pool)
    client.owed += b"Q"

    assert due(pool, 1e6) == []


# --- waiting clients ---


def test_query_wait_timeout() -> None:
    pool = make_pool(query_wait_timeout_s=120.0, query_wait_notify_s=0.0)
    pool.link(add_client(pool), 100.0)

    assert due(pool, 220.0) == []
    assert due(pool, 220.1) == ["close client 1: query_wait_timeout"]


def test_query_timeout_counts_for_waiting_clients_too() -> None:
    pool = make_pool(waiting_query_timeout_s=5.0)
    pool.link(add_client(pool), 100.0)

    assert due(pool, 105.1) == ["close client 1: query_timeout"]


def test_a_users_own_query_timeout_does_not_count_while_it_waits() -> None:
    pool = make_pool(query_timeout_s=5.0, query_wait_notify_s=0.0)
    pool.link(add_client(pool), 100.0)

    assert due(pool, 110.0) == []


@pytest.mark.parametrize(
    ("own", "expected"), [(1.0, "close client 1: query_wait_timeout"), (0, "")]
)
def test_a_users_own_query_wait_timeout_follows_it_into_any_pool(own: float, expected: str) -> None:
    pool = make_pool(query_wait_timeout_s=3.0, own_query_wait_timeouts_s={"carl": own})
    client = add_client(pool)
    client.user = "carl"
    pool.link(client, 100.0)

    assert "".join(due(pool, 104.0)) == expected


def test_those_who_have_not_waited_for_long_are_not_looked_at_one_by_one() -> None:
    # Three times a second a sweep looked at every one of thousands of waiting clients.
    asked: list[str] = []

    class Limits(dict[str, float]):
        def get(self, user: str, default: float) -> float:  # type: ignore[override]  # as is used
            asked.append(user)
            return default

    pool = make_pool(own_query_wait_timeouts_s=Limits())
    for client in add_clients(pool, 100):
        pool.link(client, 100.0)

    assert due(pool, 101.0) == []
    assert asked == []


def test_query_wait_notify_is_told_once_per_wait() -> None:
    pool = make_pool(query_wait_notify_s=5.0)
    client = add_client(pool)
    pool.link(client, 100.0)

    assert due(pool, 105.0) == []
    assert due(pool, 105.1) == ["notify client 1"]
    assert due(pool, 106.0) == []
    server = add_server(pool, now=107.0)
    pool.release(server, 108.0)
    pool.remove_server(server)
    pool.link(client, 110.0)
    assert due(pool, 115.0) == []
    assert due(pool, 115.1) == ["notify client 1"]


def test_promise_7_the_refusal_of_a_waiter_has_an_sqlstate() -> None:
    pool = make_pool(query_wait_timeout_s=1.0)
    pool.link(add_client(pool), 0.0)

    [action] = maintenance.sweep(pool, 2.0)

    assert isinstance(action, CloseClient)
    assert action.error.sqlstate == "08P01"


# --- clients that arrive, clients that rest ---


def test_query_wait_timeout_counts_for_clients_that_wait_for_their_welcome() -> None:
    pool = make_pool(query_wait_timeout_s=50.0)
    pool.add_client(make_client(state=ClientState.LOGIN, now=100.0))

    assert due(pool, 150.0) == []
    assert due(pool, 150.1) == ["close client 1: query_wait_timeout"]


def test_query_timeout_counts_for_clients_that_wait_for_their_welcome() -> None:
    pool = make_pool(waiting_query_timeout_s=3.0)
    pool.add_client(make_client(state=ClientState.LOGIN, now=100.0))

    assert due(pool, 103.0) == []
    assert due(pool, 103.1) == ["close client 1: query_timeout"]


def test_client_login_timeout() -> None:
    pool = make_pool(client_login_timeout_s=60.0)
    pool.add_client(make_client(state=ClientState.LOGIN, now=100.0))

    assert due(pool, 160.0) == []
    assert due(pool, 160.1) == ["close client 1: client_login_timeout (server down)"]


def test_client_idle_timeout() -> None:
    pool = make_pool(client_idle_timeout_s=5.0)
    add_client(pool, now=100.0)

    assert due(pool, 105.0) == []
    assert due(pool, 105.1) == ["close client 1: client_idle_timeout"]


@pytest.mark.parametrize(("common", "own"), [(0.0, 5.0), (900.0, 5.0), (1.0, 5.0)])
def test_a_users_own_client_idle_timeout_follows_it_into_any_pool(
    common: float, own: float
) -> None:
    pool = make_pool(client_idle_timeout_s=common, own_client_idle_timeouts_s={"carl": own})
    add_client(pool, now=100.0).user = "carl"

    assert due(pool, 105.0) == []
    assert due(pool, 105.1) == ["close client 1: client_idle_timeout"]


def test_client_idle_timeout_does_not_count_for_linked_clients() -> None:
    pool = make_pool(client_idle_timeout_s=5.0)
    linked_pair(pool)

    assert due(pool, 100.0) == []


# --- cancel requests ---


def test_cancel_wait_timeout() -> None:
    pool = make_pool(cancel_wait_timeout_s=10.0)
    CancelRequest(pool, make_server(), lambda: None, 100.0)

    assert due(pool, 110.0) == []
    assert due(pool, 110.1) == ["drop cancel"]
