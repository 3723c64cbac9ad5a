"""Long random ways for more clients, servers and pools, with everything that can happen at once.

PGPOOL_LITE_TEST_EXAMPLES   how much is tried, instead of the usual
"""

from __future__ import annotations

import os
from dataclasses import replace

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from pgpool_lite.config import PoolMode
from pgpool_lite.session.refusals import StatementRules
from tests.model.small import Event, Setting, Small
from tests.model.test_explore import AGING, LIMITED

EXAMPLES = int(os.environ.get("PGPOOL_LITE_TEST_EXAMPLES", "0"))
CLIENTS = 8
EVERYTHING = ("time", "cancel", "pause", "reconnect", "replication", "arrival")

SETTINGS = [
    Setting("transaction", {"pool_size": 3}, also=EVERYTHING),
    Setting("aging", {"pool_size": 3, "reserve_size": 1, **AGING}, pools=2, also=EVERYTHING),
    Setting("limited", {**LIMITED, "min_pool_size": 1}, also=EVERYTHING),
    Setting("rivals", {"max_db_connections": 2, "round_robin": True}, pools=3, also=EVERYTHING),
    Setting("session", {"pool_size": 3, "reset_query": "R"}, PoolMode.SESSION, also=EVERYTHING),
    Setting("statement", {"pool_size": 2}, PoolMode.STATEMENT, also=EVERYTHING),
]
#: What a reload may change while all is under way.
CHANGES: list[dict[str, object]] = [
    {"pool_size": 1},
    {"pool_size": 4, "reserve_size": 2},
    {"reset_query": "R"},
    {"reset_query": "", "query_wait_timeout_s": 25.0},
    {"server_lifetime_s": 5.0},
    {"statements": StatementRules()},
    {"statements": None},
    {"max_db_connections": 0, "max_user_connections": 0},
]


class Many(RuleBasedStateMachine):
    """Eight clients, up to three pools, and a reload now and then."""

    @initialize(setting=st.sampled_from(SETTINGS))
    def begin(self, setting: Setting) -> None:
        self.small = Small(setting, CLIENTS)
        self.is_reloaded = False

    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        events = self.small.events()
        kinds = sorted({name for name, _ in events})
        kind = data.draw(st.sampled_from(kinds))
        self.small.do(data.draw(st.sampled_from([each for each in events if each[0] == kind])))

    @rule(data=st.data())
    def all_goes_well(self, data: st.DataObject) -> None:
        good = ("asks", "logs in", "answers", "cancel is through")
        events: list[Event] = [each for each in self.small.events() if each[0] in good]
        if events:
            self.small.do(data.draw(st.sampled_from(events)))

    @precondition(lambda self: not self.is_reloaded)
    @rule(changes=st.sampled_from(CHANGES))
    def rules_are_reloaded(self, changes: dict[str, object]) -> None:
        self.is_reloaded = True
        for pool in self.small.pools:
            pool.set_rules(replace(pool.rules, **changes))  # type: ignore[arg-type]  # by name
        self.small.world.dispatcher.sweep()

    @invariant()
    def promises_hold(self) -> None:
        self.small.check(is_reloaded=self.is_reloaded)

    @invariant()
    def promise_4_what_is_kept_of_a_client_is_bounded(self) -> None:
        sessions = [client.session for client in self.small.clients if client is not None]
        assert all(len(session.owed) <= 1 and not session.tail for session in sessions)

    def teardown(self) -> None:
        if hasattr(self, "small"):
            self.small.finish(is_reloaded=self.is_reloaded)


Many.TestCase.settings = settings(
    max_examples=EXAMPLES or 80,
    stateful_step_count=60,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
TestMany = Many.TestCase
