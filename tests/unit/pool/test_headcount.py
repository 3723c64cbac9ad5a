"""Counting by database and by user, and forgetting of whom nothing is left."""

from __future__ import annotations

from pgpool_lite.pool.headcount import Census, Headcount
from tests.unit.pool.helpers import add_client, add_server, linked_pair, make_pool


def test_a_client_counts_in_its_database_in_its_user_and_among_everybody() -> None:
    census, app = Census(), Headcount()

    census.client_came(app, "ann")
    census.client_came(Headcount(), "ann")

    assert (census.everybody.client_count, app.client_count, census.clients_of("ann")) == (2, 1, 2)
    assert (census.clients_of("bob"), census.servers_of("bob")) == (0, 0)


def test_a_user_of_whom_nothing_is_left_is_forgotten() -> None:
    census, app = Census(), Headcount()
    for user in ("ann", "bob"):
        census.client_came(app, user)

    census.client_left(app, "ann")

    assert list(census.users) == ["bob"]


def test_servers_count_from_their_login_to_their_end_whatever_ends_them() -> None:
    pool = make_pool()
    counts = pool.headcounts
    _, server = linked_pair(pool)
    other = add_server(pool, 102)
    assert [each.server_count for each in counts] == [2, 2]

    server.close_reason = "reconnect"
    pool.release(server, 1.0)
    pool.remove_server(other)
    pool.remove_server(other)

    assert [each.server_count for each in counts] == [0, 0]


def test_a_pool_keeps_its_users_headcount_until_it_is_disbanded() -> None:
    pool = make_pool()
    client = add_client(pool)
    client_count = pool.headcounts[0].client_count
    pool.remove_client(client)
    assert (client_count, pool.headcounts[0].client_count) == (1, 0)
    assert list(pool.headcounts[1].pools) == [pool]

    pool.disband()

    assert pool.headcounts[1].is_empty
