"""When a pool, or a database made from `*`, is forgotten."""

from __future__ import annotations

import pytest

from pgpool_lite.config import Config, DatabaseSettings, Settings
from pgpool_lite.pool.desertion import deserted_databases, deserted_pools
from pgpool_lite.pool.pool import Pool
from pgpool_lite.pool.registry import Registry
from tests.unit.pool.helpers import add_client, add_server

APP = DatabaseSettings(name="app")
KEPT = DatabaseSettings(name="kept", user="root", min_pool_size=1)


def make_registry(*, pool_idle_timeout: float = 5.0, autodb_idle_timeout: float = 5.0) -> Registry:
    settings = Settings(
        pool_idle_timeout=pool_idle_timeout, autodb_idle_timeout=autodb_idle_timeout
    )
    databases = {"app": APP, "kept": KEPT}
    config = Config(settings=settings, databases=databases, fallback=DatabaseSettings(name="*"))
    return Registry(config, 0.0)


def make_pool(registry: Registry, database: str = "app") -> Pool:
    return registry.pool_for(registry.find_database(database, 0.0), "ann")


def forgotten_pools(registry: Registry, now: float) -> list[Pool]:
    return [pool for pool, _ in deserted_pools(registry, now)]


def forgotten_databases(registry: Registry, now: float) -> list[str]:
    return [database.name for database in deserted_databases(registry, now)]


def test_a_pool_is_forgotten_when_nobody_was_there_for_pool_idle_timeout() -> None:
    registry = make_registry()
    pool = make_pool(registry)

    assert forgotten_pools(registry, 10.0) == []
    assert forgotten_pools(registry, 15.0) == []
    assert list(deserted_pools(registry, 15.5)) == [(pool, 5.5)]


def test_a_client_or_a_server_keeps_a_pool() -> None:
    registry = make_registry()
    pool = make_pool(registry)
    forgotten_pools(registry, 10.0)
    client = add_client(pool)
    assert forgotten_pools(registry, 20.0) == []
    pool.remove_client(client)
    server = add_server(pool)
    assert forgotten_pools(registry, 30.0) == []
    pool.remove_server(server)

    assert forgotten_pools(registry, 40.0) == []
    assert forgotten_pools(registry, 45.5) == [pool]


def test_a_pool_that_is_kept_at_min_pool_size_without_clients_is_never_forgotten() -> None:
    registry = make_registry()
    make_pool(registry, "kept")

    forgotten_pools(registry, 0.0)
    assert forgotten_pools(registry, 1e6) == []


def test_an_automatic_database_is_forgotten_with_its_pools() -> None:
    registry = make_registry()
    pool = make_pool(registry, "any")
    make_pool(registry, "app")

    assert forgotten_databases(registry, 10.0) == []
    assert forgotten_databases(registry, 15.5) == ["any"]
    assert registry.drop_database(registry.databases["any"]) == [pool]
    assert "any" not in registry.databases


def test_an_automatic_database_that_is_used_or_paused_stays() -> None:
    registry = make_registry()
    pool = make_pool(registry, "any")
    forgotten_databases(registry, 10.0)
    client = add_client(pool)
    assert forgotten_databases(registry, 20.0) == []
    pool.remove_client(client)
    forgotten_databases(registry, 30.0)
    pool.database.is_paused = True

    assert forgotten_databases(registry, 40.0) == []


def test_an_automatic_database_that_no_server_has_goes_after_server_login_retry() -> None:
    """Story: before anything is proved auth_query goes to whatever database a stranger names. Each
    name stayed for an hour.
    """
    registry = make_registry(autodb_idle_timeout=3600.0)
    make_pool(registry, "made_up")
    make_pool(registry, "any").database.was_reached = True
    forgotten_databases(registry, 10.0)

    assert forgotten_databases(registry, 25.0) == []
    assert forgotten_databases(registry, 25.5) == ["made_up"]
    assert forgotten_databases(registry, 3610.5) == ["made_up", "any"]


@pytest.mark.parametrize("now", [0.0, 1e6])
def test_timeouts_of_0_forget_nothing(now: float) -> None:
    registry = make_registry(pool_idle_timeout=0.0, autodb_idle_timeout=0.0)
    pool = make_pool(registry, "any")
    pool.deserted_since = pool.database.deserted_since = 0.0

    assert (forgotten_pools(registry, now), forgotten_databases(registry, now)) == ([], [])
