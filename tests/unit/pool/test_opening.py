"""When one more server is opened, and which one gives way for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgpool_lite.config import DatabaseSettings
from pgpool_lite.pool.database import Database
from pgpool_lite.pool.headcount import Census
from pgpool_lite.pool.opening import Evict, Open, next_step
from pgpool_lite.pool.pool import Pool
from pgpool_lite.pool.rules import PoolRules
from pgpool_lite.session.states import ClientState, ServerState
from tests.unit.pairs import make_client, make_server
from tests.unit.pool.helpers import (
    add_client,
    add_clients,
    add_server,
    add_servers,
    linked_pair,
    make_pool,
    where,
)


def wants_server(pool: Pool, now: float = 0.0) -> bool:
    return isinstance(next_step(pool, now), Open)


# --- what a pool needs ---


def test_nobody_waits_nobody_opens() -> None:
    assert not wants_server(make_pool())


def test_a_waiter_wants_a_server() -> None:
    pool = make_pool()
    pool.link(add_client(pool), 0.0)

    assert wants_server(pool)


def test_one_server_is_opened_at_a_time() -> None:
    pool = make_pool()
    for client in add_clients(pool, 3):
        pool.link(client, 0.0)
    pool.add_server(make_server(), 0.0)

    assert not wants_server(pool)


def test_no_server_is_wanted_beyond_pool_size() -> None:
    pool = make_pool(pool_size=1)
    linked_pair(pool)
    pool.link(add_client(pool, 2), 0.0)

    assert not wants_server(pool)
    pool.set_rules(replace(pool.rules, pool_size=0))
    assert wants_server(pool)


def test_no_server_is_wanted_while_paused() -> None:
    pool = make_pool()
    pool.link(add_client(pool), 0.0)
    pool.database.is_paused = True

    assert not wants_server(pool)


@pytest.mark.parametrize(("now", "wanted"), [(10.0, False), (24.9, False), (25.0, True)])
def test_a_failed_login_is_tried_again_after_server_login_retry(now: float, wanted: bool) -> None:
    pool = make_pool(login_retry_s=15.0)
    pool.link(add_client(pool), 0.0)
    server = make_server()
    pool.add_server(server, 10.0)
    pool.login_failed(server, "connect failed")

    assert wants_server(pool, now) is wanted


def test_the_first_client_wants_a_server_for_its_welcome() -> None:
    pool = make_pool()
    client = make_client(state=ClientState.LOGIN)
    pool.add_client(client)

    assert wants_server(pool)
    pool.admit(client)
    assert not wants_server(pool)


def test_a_first_server_that_dies_behind_its_login_is_replaced() -> None:
    """Story: the first server of a pool logged in, which told what to welcome clients with, and
    died of its connect_query. Those who waited for their welcome waited on, and no other server was
    opened for them: it looked as if only its words had been wanted.
    """
    pool = make_pool(login_retry_s=0.0)
    pool.add_client(make_client(state=ClientState.LOGIN))
    server = make_server()
    pool.add_server(server, 0.0)
    pool.welcome = {}

    pool.login_failed(server, "server conn crashed?")

    assert wants_server(pool)


def test_a_server_being_tested_is_on_its_way_to_the_waiter() -> None:
    pool = make_pool()
    server = add_server(pool)
    pool.grow_stale(server)
    first, second = add_clients(pool, 2)

    pool.link(first, 0.0)
    assert not wants_server(pool)
    pool.begin_test(server)
    assert not wants_server(pool)
    pool.link(second, 0.0)
    assert wants_server(pool)


def test_min_pool_size_is_kept_while_there_are_clients() -> None:
    pool = make_pool(min_pool_size=2)
    assert not wants_server(pool)

    client = add_client(pool)
    assert wants_server(pool)
    add_servers(pool, 2)
    assert not wants_server(pool)
    pool.remove_client(client)
    assert (pool.server_count, pool.client_count) == (2, 0)


def test_min_pool_size_of_a_forced_user_is_kept_without_clients() -> None:
    assert wants_server(make_pool(min_pool_size=1, has_forced_user=True))


# --- the reserve ---


def test_the_reserve_is_opened_for_a_client_that_has_waited_long_enough() -> None:
    pool = make_pool(pool_size=1, reserve_size=1, reserve_timeout_s=5.0)
    linked_pair(pool)
    client = add_client(pool, 2)
    pool.link(client, 100.0)

    assert next_step(pool, 104.9) is None
    assert next_step(pool, 105.0) == Open(reserve_for=client)


def test_the_reserve_ends_too() -> None:
    pool = make_pool(pool_size=1, reserve_size=1, reserve_timeout_s=5.0)
    add_servers(pool, 2)
    for client in add_clients(pool, 3):
        pool.link(client, 100.0)

    assert next_step(pool, 200.0) is None


@pytest.mark.parametrize("rules", [{"reserve_size": 0}, {"reserve_timeout_s": 0.0}])
def test_without_a_reserve_or_its_timeout_a_full_pool_stays_full(rules: dict[str, float]) -> None:
    pool = make_pool(replace(PoolRules(pool_size=1, reserve_size=1), **rules))  # type: ignore[arg-type]  # by name
    linked_pair(pool)
    pool.link(add_client(pool, 2), 100.0)

    assert next_step(pool, 1e6) is None


def test_min_pool_size_does_not_use_the_reserve() -> None:
    pool = make_pool(pool_size=1, min_pool_size=2, reserve_size=5)
    linked_pair(pool)

    assert next_step(pool, 1e6) is None


# --- limits beyond the pool ---


class Town:
    """Pools of several databases and users that are counted together."""

    def __init__(self, **rules: object) -> None:
        self.census = Census()
        self.rules: PoolRules = replace(PoolRules(), **rules)  # type: ignore[arg-type]  # by name
        self.databases: dict[str, Database] = {}

    def pool(self, database: str, user: str) -> Pool:
        found = self.databases.setdefault(database, Database(DatabaseSettings(name=database), 0.0))
        return Pool(found, user, self.rules, self.census)


def wait_in(pool: Pool, session_id: int = 9, now: float = 10.0) -> None:
    """Let one more client wait for a server."""
    assert pool.link(add_client(pool, session_id, now), now) is None


def test_max_db_connections_counts_all_users_of_a_database() -> None:
    town = Town(max_db_connections=2)
    mine, theirs, elsewhere = town.pool("a", "ann"), town.pool("a", "bob"), town.pool("b", "ann")
    linked_pair(theirs)
    linked_pair(theirs)
    wait_in(mine)
    wait_in(elsewhere)

    assert not wants_server(mine)
    assert wants_server(elsewhere)


def test_max_user_connections_counts_all_databases_of_a_user() -> None:
    town = Town(max_user_connections=1)
    mine, elsewhere, theirs = town.pool("a", "ann"), town.pool("b", "ann"), town.pool("a", "bob")
    linked_pair(elsewhere)
    wait_in(mine)
    wait_in(theirs)

    assert not wants_server(mine)
    assert wants_server(theirs)


def test_a_server_that_is_being_opened_counts() -> None:
    town = Town(max_db_connections=1)
    mine, theirs = town.pool("a", "ann"), town.pool("a", "bob")
    server = make_server()
    theirs.add_server(server, 0.0)
    wait_in(mine)

    assert not wants_server(mine)
    theirs.login_failed(server, "connect failed")
    assert wants_server(mine)


def test_the_server_that_is_idle_longest_gives_way() -> None:
    town = Town(max_db_connections=3)
    mine, bob, eve = town.pool("a", "ann"), town.pool("a", "bob"), town.pool("a", "eve")
    add_server(bob, 101, now=3.0)
    oldest = add_server(eve, 102, now=1.0)
    add_server(eve, 103, now=2.0)
    wait_in(mine)

    assert next_step(mine, 10.0) == Evict(eve, oldest, "evicted for max_db_connections")


def test_a_server_that_gives_way_to_a_user_comes_from_another_database() -> None:
    town = Town(max_user_connections=1)
    mine, elsewhere = town.pool("a", "ann"), town.pool("b", "ann")
    add_server(town.pool("a", "bob"), now=1.0)
    server = add_server(elsewhere, 102, now=2.0)
    wait_in(mine)

    assert next_step(mine, 10.0) == Evict(elsewhere, server, "evicted for max_user_connections")


def test_room_is_made_step_by_step_after_a_limit_was_lowered() -> None:
    town = Town(max_db_connections=1)
    mine, theirs = town.pool("a", "ann"), town.pool("a", "bob")
    servers = add_servers(theirs, 2)
    wait_in(mine)

    for server in servers:
        assert next_step(mine, 10.0) == Evict(theirs, server, "evicted for max_db_connections")
        theirs.remove_server(server)
    assert next_step(mine, 10.0) == Open()


def test_a_stale_server_gives_way_unless_somebody_waits_for_it() -> None:
    town = Town(max_db_connections=1)
    mine, theirs = town.pool("a", "ann"), town.pool("a", "bob")
    server = add_server(theirs)
    theirs.grow_stale(server)
    wait_in(mine)

    assert next_step(mine, 10.0) == Evict(theirs, server, "evicted for max_db_connections")
    wait_in(theirs)
    assert next_step(mine, 10.0) is None


def test_nobody_gives_way_for_min_pool_size() -> None:
    town = Town(max_db_connections=1, min_pool_size=1)
    mine, theirs = town.pool("a", "ann"), town.pool("a", "bob")
    add_server(theirs)
    add_client(mine)

    assert next_step(mine, 10.0) is None


def test_min_pool_size_does_not_take_the_room_that_somebody_waits_for() -> None:
    town = Town(max_db_connections=2, min_pool_size=2)
    mine, theirs = town.pool("a", "ann"), town.pool("a", "bob")
    _, server = linked_pair(theirs)
    linked_pair(theirs)
    wait_in(mine)
    assert not wants_server(mine)

    theirs.remove_server(server)

    assert not wants_server(theirs)
    assert wants_server(mine)


# --- a pool that starves ---


def test_a_server_that_comes_free_is_closed_for_a_pool_that_starves() -> None:
    town = Town(max_db_connections=1)
    mine, theirs = town.pool("a", "ann"), town.pool("a", "bob")
    _, server = linked_pair(theirs)
    wait_in(mine)
    assert not wants_server(mine)

    assert theirs.release(server, 11.0) is None

    assert (server.state, server.close_reason) == (
        ServerState.CLOSED,
        "evicted for max_db_connections",
    )
    assert list(mine.headcounts[0].starving) == [mine]
    assert wants_server(mine)
    assert not mine.headcounts[0].starving


def test_a_client_of_the_own_pool_comes_before_a_pool_that_starves() -> None:
    town = Town(max_db_connections=1)
    mine, theirs = town.pool("a", "ann"), town.pool("a", "bob")
    _, server = linked_pair(theirs)
    own = add_client(theirs, 2)
    theirs.link(own, 5.0)
    wait_in(mine)
    assert not wants_server(mine)

    assert theirs.release(server, 11.0) is own


def test_a_pool_whose_clients_have_left_starves_no_more() -> None:
    town = Town(max_db_connections=1)
    mine, theirs = town.pool("a", "ann"), town.pool("a", "bob")
    _, server = linked_pair(theirs)
    leaver = add_client(mine, 9)
    mine.link(leaver, 10.0)
    assert not wants_server(mine)
    mine.remove_client(leaver)

    theirs.release(server, 11.0)

    assert where(theirs) == "cl_active=1 sv_idle=1"
    assert not wants_server(mine)
    assert not mine.headcounts[0].starving


def test_a_pool_that_waits_for_its_first_welcome_starves_too() -> None:
    town = Town(max_db_connections=1)
    mine, theirs = town.pool("a", "ann"), town.pool("a", "bob")
    _, server = linked_pair(theirs)
    mine.add_client(make_client(9, state=ClientState.LOGIN))
    assert not wants_server(mine)

    theirs.release(server, 11.0)

    assert server.state is ServerState.CLOSED


def test_a_disbanded_pool_opens_nothing_and_starves_no_more() -> None:
    town = Town(max_db_connections=1, min_pool_size=1, has_forced_user=True)
    mine, theirs = town.pool("a", "ann"), town.pool("a", "bob")
    linked_pair(theirs)
    wait_in(mine)
    assert not wants_server(mine)

    mine.disband()

    assert not mine.headcounts[0].starving
    assert next_step(mine, 11.0) is None


def test_a_server_that_is_asked_for_is_opened_though_nobody_waits() -> None:
    pool = make_pool(pool_size=1)

    assert next_step(pool, 0.0) is None
    assert next_step(pool, 0.0, is_asked=True) == Open()


def test_only_the_first_of_those_that_starve_looks_for_a_server_to_close() -> None:
    town = Town(max_db_connections=1)
    first, second, theirs = town.pool("a", "ann"), town.pool("a", "eve"), town.pool("a", "bob")
    client, server = linked_pair(theirs)
    wait_in(first)
    wait_in(second)
    assert not wants_server(first)
    assert not wants_server(second)
    theirs.remove_client(client)
    theirs.remove_server(server)
    idle = add_server(theirs, 102)
    assert idle.state is ServerState.CLOSED  # it gave way as soon as it was there

    assert wants_server(first)
    assert wants_server(second)


def test_a_full_pool_is_asked_nothing_more_when_another_client_waits() -> None:
    pool = make_pool(pool_size=1)
    linked_pair(pool)
    waiting = add_clients(pool, 2)
    for client in waiting:
        pool.link(client, 100.0)
    assert next_step(pool, 1e6) is None

    pool.set_rules(replace(pool.rules, reserve_size=1))

    assert next_step(pool, 1e6) == Open(reserve_for=waiting[0])
