"""The promises in every state that a few can get into, and a good end from each of them.

PGPOOL_LITE_TEST_DEPTH   so many events further than usual
"""

from __future__ import annotations

import os

import pytest

from pgpool_lite.config import PoolMode
from pgpool_lite.proxy.client_connection import ClientConnection
from tests.model.explore import Broken, explore
from tests.model.small import Setting, Small

FURTHER = int(os.environ.get("PGPOOL_LITE_TEST_DEPTH", "0"))

CHECKED = {"check_query": "SELECT 1", "check_delay_s": 5.0}
AGING = {**CHECKED, "server_idle_timeout_s": 25.0, "server_lifetime_s": 35.0}
LIMITED = {
    "pool_size": 1,
    "reserve_size": 1,
    "reserve_timeout_s": 5.0,
    "query_wait_timeout_s": 25.0,
    "query_timeout_s": 15.0,
    "idle_transaction_timeout_s": 15.0,
}

#: What is explored, and how many events far. The first one has no more states than are found here.
EXPLORED = [
    (Setting("transaction pooling, all of it", {}), 12),
    (Setting("cancel requests", {}, also=("cancel",)), 6),
    (Setting("session pooling", {"reset_query": "R"}, PoolMode.SESSION, also=("cancel",)), 6),
    (Setting("statement pooling", {}, PoolMode.STATEMENT), 6),
    (Setting("the first server", {"pool_size": 1}, also=("arrival",)), 7),
    (Setting("aging servers", AGING, also=("time",)), 4),
    (Setting("impatience", LIMITED, also=("time",)), 4),
    (Setting("operators", {"min_pool_size": 1}, also=("pause", "reconnect")), 5),
    (Setting("replication", {}, also=("arrival", "replication")), 5),
    (Setting("replication in a full pool", {"pool_size": 1}, also=("replication", "time")), 4),
    (Setting("rivals for one server", {"max_db_connections": 1}, pools=2), 5),
    (Setting("rivals, checked", {"max_db_connections": 2, **CHECKED}, pools=2, also=("time",)), 3),
]


@pytest.mark.parametrize(("setting", "depth"), EXPLORED, ids=[each.name for each, _ in EXPLORED])
def test_promises_1_2_5_and_6_hold_in_every_state_and_all_ends_well(
    setting: Setting, depth: int
) -> None:
    explored = explore(setting, depth + FURTHER)

    print(
        f"\n{setting.name}: {explored.states} states by {explored.steps} steps,"
        f" up to {explored.depth} events far",
        end="",
    )
    assert explored.states > 50


def test_a_client_that_is_linked_and_never_told_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The explorer itself: with clients that do nothing, it names the way to who waits."""
    monkeypatch.setattr(ClientConnection, "go_on", lambda *_: None)

    with pytest.raises(Broken, match=r"never served.*\('asks', 0\)"):
        explore(Setting("broken", {}), 3)


def test_the_same_events_lead_to_the_same_state_whoever_they_happen_to() -> None:
    first, second = Small(Setting("any", {})), Small(Setting("any", {}))
    for event in (("asks", 0), ("asks", 1), ("logs in", 0)):
        first.do(event)
    for event in (("asks", 1), ("asks", 0), ("logs in", 0)):
        second.do(event)

    assert first.key() == second.key()
