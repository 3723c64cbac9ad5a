"""The promises under random traffic: three clients, two servers, cuts anywhere, at any moment.

The machine's rules are what can happen to sockets: bytes come, in any portions, ends break, time
passes, cancels are under way. What must hold meanwhile is told in `tests/unit/traffic.py`.

    PGPOOL_LITE_TEST_EXAMPLES   how much is tried, instead of the usual
"""

from __future__ import annotations

import os
from random import Random

import pytest
from hypothesis import Phase, given, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.unit.traffic import CLIENTS, EVERYTHING, SERVERS, Traffic

EXAMPLES = int(os.environ.get("PGPOOL_LITE_TEST_EXAMPLES", "0"))

PORTIONS = [1, 4, 5, 6, 11, 30, EVERYTHING]
PORTION = st.sampled_from(PORTIONS)
#: A failing run is shown as it was found: to make it shorter takes minutes.
NO_SHRINK = (Phase.explicit, Phase.reuse, Phase.generate)

WHO = st.integers(0, CLIENTS - 1)
WHICH = st.integers(0, SERVERS - 1)


class TrafficMachine(RuleBasedStateMachine):
    """What can happen to three clients and two servers."""

    rewrites = False

    def __init__(self) -> None:
        super().__init__()
        self.traffic = Traffic(rewrites=self.rewrites)

    # --- bytes ---

    @rule(who=WHO, data=st.data(), is_delivered=st.booleans())
    def a_client_says_something(self, who: int, data: st.DataObject, is_delivered: bool) -> None:
        client = self.traffic.clients[who]
        if client.may_speak:
            choices = client.choices()
            said = choices[data.draw(st.integers(0, len(choices) - 1))]
            note(f"client {who} says {said[:90]!r}")
            client.say(said)
            self.traffic.deliver(client, EVERYTHING if is_delivered else 0)

    @rule(who=WHO, size=PORTION)
    def bytes_of_a_client_arrive(self, who: int, size: int) -> None:
        self.traffic.deliver(self.traffic.clients[who], size)

    @rule(which=WHICH, read=PORTION, answer=PORTION)
    def a_server_reads_and_its_bytes_arrive(self, which: int, read: int, answer: int) -> None:
        for server in self.traffic.servers[which : which + 1]:
            server.read(read)
            self.traffic.answer(server, answer)

    @rule()
    def everything_arrives(self) -> None:
        for _ in range(3):
            self.traffic.anything_moves()

    @rule(data=st.data(), who=WHO)
    def something_happens(self, data: st.DataObject, who: int) -> None:
        happenings = [
            self.traffic.client_reads_or_does_not,
            self.traffic.client_leaves,
            self.traffic.cancel_begins,
            self.traffic.time_passes,
            self.traffic.idle_server_has_a_notification,
            self.traffic.server_breaks,
        ]
        data.draw(st.sampled_from(happenings))(who)

    # --- the promises ---

    @invariant()
    def promises_1_and_2_a_server_has_one_client_and_an_idle_one_owes_nothing(self) -> None:
        self.traffic.check_servers()

    @invariant()
    def promise_3_every_reply_reaches_its_owner_in_order_and_unchanged(self) -> None:
        for client in self.traffic.clients:
            client.check()

    @invariant()
    def promise_4_what_is_kept_of_a_stream_is_bounded(self) -> None:
        self.traffic.check_memory()

    @invariant()
    def promise_6_a_client_that_left_has_no_server(self) -> None:
        for client in self.traffic.clients:
            if not client.is_alive:
                assert client.connection.session.server is None

    def teardown(self) -> None:
        self.traffic.finish()


class RewrittenTrafficMachine(TrafficMachine):
    """The same, while every batch is looked at for named prepared statements."""

    rewrites = True


TrafficMachine.TestCase.settings = settings(
    max_examples=EXAMPLES or 100, stateful_step_count=50, deadline=None, phases=NO_SHRINK
)
RewrittenTrafficMachine.TestCase.settings = TrafficMachine.TestCase.settings
TestTraffic = TrafficMachine.TestCase
TestRewrittenTraffic = RewrittenTrafficMachine.TestCase


# --- copies, without the cost of drawing each step by hypothesis ---

#: How often a client says what hardly any client says.
WILD_SHARES = (0.0, 0.1, 0.6)


@pytest.mark.parametrize("rewrites", [False, True], ids=["passing", "rewriting"])
@settings(max_examples=EXAMPLES or 100, deadline=None, phases=NO_SHRINK)
@given(seed=st.integers(0, 2**64))
def test_promise_3_copies_in_pipelines_keep_their_answers(rewrites: bool, seed: int) -> None:
    random = Random(seed)
    traffic = Traffic(rewrites=rewrites)
    wild_share = random.choice(WILD_SHARES)
    for _ in range(60):
        client = random.choice(traffic.clients[: random.randint(1, CLIENTS)])
        if client.may_speak and random.random() < 0.5:
            is_wild = random.random() < wild_share
            said = client.wild(random) if is_wild else random.choice(client.choices())
            note(f"client {client.number} says {said[:150]!r}")
            client.say(said)
        if random.random() < 0.6:
            traffic.deliver(client, random.choice(PORTIONS))
        if traffic.world.logging_in or random.random() < 0.05:
            traffic.anything_moves()
        for server in traffic.servers:
            if random.random() < 0.6:
                server.read(random.choice(PORTIONS))
            if random.random() < 0.6:
                traffic.answer(server, random.choice(PORTIONS))
        traffic.check_servers()
        for client in traffic.clients:
            client.check()
    traffic.finish()
