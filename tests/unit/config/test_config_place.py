"""What is one process's part of a configuration that `workers` serve together?"""

from __future__ import annotations

from pathlib import Path

import pytest

from pgpool_lite.config import (
    Config,
    DatabaseSettings,
    PeerSettings,
    Settings,
    UserSettings,
    from_keywords,
)
from pgpool_lite.config.place import Place
from pgpool_lite.errors import ConfigError

FOLDER = Path("/run/crew")


def places(count: int) -> list[Place]:
    return [Place(index, count, FOLDER) for index in range(count)]


def config(**settings: int) -> Config:
    return Config(settings=from_keywords(listen_port=6000, **settings))


@pytest.mark.parametrize("whole", [3, 4, 20, 101])
def test_the_shares_of_a_limit_add_up_to_it_and_differ_by_one_at_most(whole: int) -> None:
    adapted = [each.adapt(config(default_pool_size=whole)).settings for each in places(3)]

    shares = [settings.default_pool_size for settings in adapted]
    assert sum(shares) == whole
    assert max(shares) - min(shares) <= 1


def test_limits_of_databases_and_users_are_shared_out_too() -> None:
    whole = Config(
        settings=Settings(),
        databases={"a": DatabaseSettings(name="a", pool_size=5, max_db_connections=4)},
        fallback=DatabaseSettings(name="*", pool_size=2),
        users={"u": UserSettings(name="u", max_user_connections=7)},
    )

    one, two = (each.adapt(whole) for each in places(2))

    assert [each.databases["a"].pool_size for each in (one, two)] == [3, 2]
    assert [each.databases["a"].max_db_connections for each in (one, two)] == [2, 2]
    assert [each.fallback and each.fallback.pool_size for each in (one, two)] == [1, 1]
    assert [each.users["u"].max_user_connections for each in (one, two)] == [4, 3]


def test_no_limit_stays_none_and_an_amount_may_be_smaller_than_the_crew() -> None:
    one, two = (each.adapt(config(min_pool_size=1)).settings for each in places(2))

    assert (one.max_db_connections, two.max_db_connections) == (0, 0)
    assert (one.min_pool_size, two.min_pool_size) == (1, 0)


@pytest.mark.parametrize(
    ("whole", "sentence"),
    [
        (config(default_pool_size=1), "default_pool_size: 1 cannot be shared out among 2 workers"),
        (
            Config(settings=Settings(), databases={"a": DatabaseSettings(name="a", pool_size=1)}),
            "database a: pool_size: 1 cannot be shared out",
        ),
        (config(peer_id=7), "workers: processes of one crew are each other's peers"),
        (
            Config(settings=Settings(), peers={1: PeerSettings(peer_id=1, host="h")}),
            "workers: processes of one crew are each other's peers",
        ),
    ],
)
def test_what_cannot_be_shared_out_is_refused(whole: Config, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        places(2)[1].adapt(whole)


def test_each_process_has_a_socket_of_its_own_and_the_others_as_peers() -> None:
    adapted = places(3)[1].adapt(config())

    settings = adapted.settings
    assert (settings.peer_id, settings.so_reuseport, settings.pidfile) == (2, True, "")
    assert settings.unix_socket_dir == "/run/crew/2"
    assert {number: peer.host for number, peer in adapted.peers.items()} == {
        1: "/run/crew/1",
        3: "/run/crew/3",
    }
    assert {peer.port for peer in adapted.peers.values()} == {6000}


def test_a_change_is_shared_out_by_itself() -> None:
    one, two = places(2)
    settings = Settings(default_pool_size=9, max_client_conn=9)

    assert one.share_out(settings, "", ["default_pool_size"]).default_pool_size == 5
    changed = two.share_out(settings, "", ["default_pool_size"])
    assert (changed.default_pool_size, changed.max_client_conn) == (4, 9)
