"""Which host of a list comes next."""

from __future__ import annotations

import pytest

from pgpool_lite.config import DatabaseSettings
from pgpool_lite.config.values import LoadBalanceHosts
from pgpool_lite.pool.hosts import HostRotation, needs_look_up


def database(
    host: str, balance: LoadBalanceHosts = LoadBalanceHosts.ROUND_ROBIN
) -> DatabaseSettings:
    return DatabaseSettings(name="app", host=host, load_balance_hosts=balance)


def hosts_of(settings: DatabaseSettings, *failures: bool) -> str:
    """Return the hosts that connections go to; each is told whether the one before failed."""
    rotation = HostRotation()
    return " ".join(rotation.next_host(settings, has_failed=failed) for failed in failures)


def test_by_default_every_connection_goes_to_the_next_host() -> None:
    assert hosts_of(database("a,b,c"), False, False, False, False) == "a b c a"


def test_in_round_robin_a_failure_skips_nothing() -> None:
    assert hosts_of(database("a,b,c"), False, True, True) == "a b c"


def test_with_disable_connections_stay_with_a_host_until_one_fails() -> None:
    settings = database("a,b", LoadBalanceHosts.DISABLE)

    assert hosts_of(settings, False, False, True, False, False) == "a a b b b"


def test_with_disable_every_further_failure_moves_on() -> None:
    settings = database("a,b,c", LoadBalanceHosts.DISABLE)

    assert hosts_of(settings, True, True, True) == "b c a"


@pytest.mark.parametrize("balance", LoadBalanceHosts)
def test_a_single_host_has_no_turns(balance: LoadBalanceHosts) -> None:
    assert hosts_of(database(" a ,", balance), False, True) == "a a"


def test_a_database_without_a_host_has_none() -> None:
    assert hosts_of(database(""), False) == ""


def test_a_list_that_a_reload_shortens_goes_on_within_its_length() -> None:
    rotation = HostRotation()
    for _ in range(4):
        rotation.next_host(database("a,b,c"), has_failed=False)

    assert rotation.next_host(database("x,y"), has_failed=False) == "x"


@pytest.mark.parametrize("host", ["10.0.0.1", "::1", "fe80::1%eth0", "/tmp", "@pg"])
def test_addresses_and_directories_are_not_looked_up(host: str) -> None:
    assert not needs_look_up(host)


@pytest.mark.parametrize("host", ["localhost", "db.example.com", "10.0.0", "1.2.3.4.example"])
def test_names_are_looked_up(host: str) -> None:
    assert needs_look_up(host)
