"""Databases, pools and clients: how they are found, and what a RELOAD makes of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgpool_lite.config import Config, DatabaseSettings, PoolMode, Settings, UserSettings
from pgpool_lite.config.values import LoadBalanceHosts
from pgpool_lite.errors import LoginRejected
from pgpool_lite.pool.registry import Registry
from pgpool_lite.session.states import ServerState
from pgpool_lite.wire.frontend import CancelKey
from pgpool_lite.wire.scram import ScramKeys
from tests.unit.pool.helpers import add_client, add_server

APP = DatabaseSettings(name="app", host="db1", dbname="app")
FALLBACK = DatabaseSettings(name="*", host="anywhere")


def make_config(
    *databases: DatabaseSettings, fallback: DatabaseSettings | None = None, **settings: int
) -> Config:
    return Config(
        settings=replace(Settings(), **settings),  # type: ignore[arg-type]  # names of fields
        databases={database.name: database for database in databases},
        fallback=fallback,
        users={"bob": UserSettings(name="bob", pool_mode=PoolMode.SESSION)},
        secrets={"alice": "alice-secret"},
    )


def make_registry(
    *databases: DatabaseSettings, fallback: DatabaseSettings | None = None
) -> Registry:
    return Registry(make_config(*databases or (APP,), fallback=fallback), 0.0)


# --- databases and pools ---


def test_a_configured_database_is_found() -> None:
    registry = make_registry()

    assert registry.find_database("app", 0.0).settings is APP
    assert not registry.find_database("app", 0.0).is_auto


def test_promise_7_an_unknown_database_names_those_that_there_are() -> None:
    with pytest.raises(LoginRejected, match="no such database: nope") as caught:
        make_registry().find_database("nope", 0.0)

    assert caught.value.detail == "Configured are: app."
    assert "[databases]" in caught.value.hint


def test_without_any_database_none_is_configured() -> None:
    registry = Registry(make_config(), 0.0)

    with pytest.raises(LoginRejected) as caught:
        registry.find_database("nope", 0.0)

    assert caught.value.detail == "Configured are: none."


def test_the_fallback_makes_a_database_once() -> None:
    registry = make_registry(fallback=FALLBACK)

    database = registry.find_database("new", 0.0)

    assert (database.name, database.is_auto, database.settings.dbname) == ("new", True, "new")
    registry.pool_for(database, "alice")
    assert registry.find_database("new", 1.0) is database


def test_a_pool_belongs_to_one_database_and_user() -> None:
    registry = make_registry()
    app = registry.find_database("app", 0.0)

    alice = registry.pool_for(app, "alice")

    assert registry.pool_for(app, "alice") is alice
    assert registry.pool_for(app, "bob") is not alice
    assert (alice.user, alice.rules.mode) == ("alice", PoolMode.SESSION)


def test_a_forced_user_makes_one_pool_for_all_clients() -> None:
    registry = make_registry(replace(APP, user="app_rw"))
    app = registry.find_database("app", 0.0)

    pool = registry.pool_for(app, "alice")

    assert registry.pool_for(app, "bob") is pool
    assert (pool.user, pool.rules.has_forced_user) == ("app_rw", True)


# --- credentials ---


def test_a_pool_logs_in_with_the_secret_of_its_user() -> None:
    registry = make_registry()
    pool = registry.pool_for(registry.find_database("app", 0.0), "alice")
    keys = ScramKeys(b"c", b"s")
    registry.secrets.remember_keys("app", "alice", keys)

    credentials = registry.credentials_for(pool)

    assert (credentials.user, credentials.database) == ("alice", "app")
    assert (credentials.secret, credentials.scram_keys) == ("alice-secret", keys)


def test_a_password_of_the_database_counts_more() -> None:
    registry = make_registry(replace(APP, password="pw"))
    pool = registry.pool_for(registry.find_database("app", 0.0), "alice")
    registry.secrets.remember_keys("app", "alice", ScramKeys(b"c", b"s"))

    credentials = registry.credentials_for(pool)

    assert (credentials.secret, credentials.scram_keys) == ("pw", None)


def test_a_databases_parameters_are_asked_for_at_login() -> None:
    registry = make_registry(replace(APP, timezone="UTC", application_name="web"))
    pool = registry.pool_for(registry.find_database("app", 0.0), "alice")

    assert registry.credentials_for(pool).parameters == (
        ("timezone", "UTC"),
        ("application_name", "web"),
    )


# --- clients ---


def test_clients_are_counted_over_all_pools() -> None:
    registry = make_registry()
    app = registry.find_database("app", 0.0)
    alice, bob = registry.pool_for(app, "alice"), registry.pool_for(app, "bob")
    first, second = add_client(alice, 1), add_client(bob, 2)

    assert registry.client_count == 2
    assert list(registry.clients()) == [(alice, first), (bob, second)]


def test_numbers_are_never_used_again() -> None:
    registry = make_registry()

    assert [registry.next_id() for _ in range(3)] == [1, 2, 3]


def test_a_client_is_found_by_its_whole_cancel_key() -> None:
    registry = make_registry()
    pool = registry.pool_for(registry.find_database("app", 0.0), "alice")
    client = add_client(pool)
    client.cancel_key = CancelKey(7, b"key1")
    registry.remember_key(pool, client)

    assert registry.find_by_key(CancelKey(7, b"key1")) == (pool, client)
    assert registry.find_by_key(CancelKey(7, b"key2")) is None
    assert registry.find_by_key(CancelKey(8, b"key1")) is None

    registry.forget_key(client)
    registry.forget_key(client)
    assert registry.find_by_key(CancelKey(7, b"key1")) is None


def test_prepared_statements_are_known_whoever_comes_and_goes() -> None:
    registry = make_registry()
    pool = registry.pool_for(registry.find_database("app", 0.0), "alice")
    client, book = add_client(pool), registry.statements
    registry.remember_key(pool, client)
    registry.forget_key(client)

    assert registry.statements is book


# --- RELOAD ---


def test_reload_gives_pools_their_new_rules() -> None:
    registry = make_registry()
    pool = registry.pool_for(registry.find_database("app", 0.0), "alice")

    registry.reload(make_config(APP, default_pool_size=7), 1.0)

    assert pool.rules.pool_size == 7


def test_reload_brings_new_databases_and_takes_old_ones_out() -> None:
    registry = make_registry()

    registry.reload(make_config(replace(APP, name="other")), 1.0)

    assert list(registry.databases) == ["other"]


def test_promise_5_reload_retires_the_servers_of_a_database_that_moved() -> None:
    registry = make_registry()
    app = registry.find_database("app", 0.0)
    server = add_server(registry.pool_for(app, "alice"))

    registry.reload(make_config(replace(APP, pool_size=9)), 1.0)
    assert server.close_reason == ""
    registry.reload(make_config(replace(APP, host="db2")), 2.0)
    assert server.close_reason == "close_needed"
    registry.reload(make_config(replace(APP, host="db3")), 3.0)
    assert server.close_reason == "close_needed"
    assert app.settings.host == "db3"


@pytest.mark.parametrize(
    "change",
    [{"connect_query": "SET x = 1"}, {"load_balance_hosts": LoadBalanceHosts.DISABLE}],
)
def test_reload_retires_servers_that_would_now_begin_otherwise(change: dict[str, object]) -> None:
    registry = make_registry()
    server = add_server(registry.pool_for(registry.find_database("app", 0.0), "alice"))

    registry.reload(make_config(replace(APP, **change)), 1.0)  # type: ignore[arg-type]  # by name

    assert server.close_reason


def test_reload_gives_up_the_pools_of_a_database_that_is_gone() -> None:
    registry = make_registry()
    pool = registry.pool_for(registry.find_database("app", 0.0), "alice")

    assert registry.reload(make_config(), 1.0) == [pool]

    assert (pool.is_disbanded, registry.pools, list(registry.census.users)) == (True, {}, [])


def test_a_database_made_from_the_fallback_outlives_the_fallback() -> None:
    registry = Registry(make_config(fallback=FALLBACK), 0.0)
    database = registry.keep_database("any", 0.0)

    assert registry.reload(make_config(), 1.0) == []
    assert registry.databases["any"] is database


def test_a_database_that_comes_back_by_reload_is_where_its_clients_go() -> None:
    """Story: a line is taken out of [databases], RELOAD, put in again with another host, RELOAD.
    The pool of the first days is still there; who comes now must be led to the new host.
    """
    registry = make_registry()
    registry.pool_for(registry.find_database("app", 0.0), "alice")
    registry.reload(make_config(), 1.0)
    registry.reload(make_config(replace(APP, host="db2")), 2.0)

    pool = registry.pool_for(registry.find_database("app", 3.0), "alice")

    assert pool.database.settings.host == "db2"
    assert pool.database is registry.databases["app"]


def test_a_database_that_is_gone_may_be_served_by_the_fallback() -> None:
    registry = make_registry()
    app = registry.find_database("app", 0.0)
    server = add_server(registry.pool_for(app, "alice"))

    registry.reload(make_config(fallback=FALLBACK), 1.0)

    assert registry.find_database("app", 1.0) is app
    assert (app.is_auto, app.settings.host) == (True, "anywhere")
    assert server.close_reason == "close_needed"


def test_reload_forgets_keys_caught_from_logins() -> None:
    registry = make_registry()
    registry.secrets.remember_keys("app", "alice", ScramKeys(b"c", b"s"))

    registry.reload(make_config(APP), 1.0)
    assert registry.secrets.keys_of("app", "alice") is not None

    registry.reload(replace(make_config(APP), secrets={"alice": "another"}), 1.0)
    assert registry.secrets.keys_of("app", "alice") is None


def test_reconnect_retires_servers_of_every_state_of_one_database_or_all() -> None:
    registry = make_registry(APP, replace(APP, name="other"))
    app, other = registry.find_database("app", 0.0), registry.find_database("other", 0.0)
    pool = registry.pool_for(app, "alice")
    idle, linked = add_server(pool, 101), add_server(pool, 102)
    pool.link(add_client(pool), 0.0)
    elsewhere = add_server(registry.pool_for(other, "alice"), 103)
    assert (idle.state, linked.state) == (ServerState.IDLE, ServerState.ACTIVE)

    registry.retire_servers(app, "reconnect")
    assert [s.close_reason for s in (idle, linked, elsewhere)] == ["reconnect", "reconnect", ""]
    registry.retire_servers(None, "again")
    assert [s.close_reason for s in (idle, linked, elsewhere)] == [
        "reconnect",
        "reconnect",
        "again",
    ]


# --- pausing ---


def test_resume_of_everything_leaves_paused_what_was_paused_by_name() -> None:
    registry = make_registry(APP, DatabaseSettings(name="other"))
    registry.databases["app"].is_paused = registry.databases["app"].is_paused_by_name = True

    registry.pause_all()
    assert all(each.is_paused for each in registry.databases.values())

    registry.resume_all()
    assert [each.is_paused for each in registry.databases.values()] == [True, False]
