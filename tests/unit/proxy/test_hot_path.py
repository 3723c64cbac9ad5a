"""What one query costs, as far as it can be counted: writes, looks at the clock, objects that stay.

Nothing is timed here. What the rest costs is for `bench.micro`.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from array import array
from dataclasses import dataclass

import pytest

from pgpool_lite.proxy.client_connection import ClientConnection
from pgpool_lite.proxy.server_connection import ServerConnection
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.refusals import StatementRules
from pgpool_lite.wire.frontend import TERMINATE
from tests.unit.pairs import WELCOME
from tests.unit.world import FakeClock, World, transport_of
from tests.wire_messages import (
    Bind,
    CommandComplete,
    DataRow,
    DescribePortal,
    Execute,
    Parse,
    Query,
    ReadyForQuery,
    RowDescription,
    Sync,
    message,
)

STATEMENTS = StatementRules(limit=200)
ROW = RowDescription("n") + DataRow("1") + CommandComplete("SELECT 1") + ReadyForQuery()
PARSED, BOUND = message("1"), message("2")
TOKYO = {**WELCOME, "TimeZone": "Asia/Tokyo"}
SET_DONE = CommandComplete("SET") + ReadyForQuery()
REST = DescribePortal() + Execute() + Sync()
PREPARE = Parse("SELECT $1", "s1") + Sync()


@dataclass(frozen=True)
class Exchange:
    """One read from a client, and the one that answers it."""

    question: bytes
    answer: bytes


SIMPLE = Exchange(Query("SELECT 1"), ROW)
UNNAMED = Exchange(Parse("SELECT $1") + Bind("1") + REST, PARSED + BOUND + ROW)
NAMED = Exchange(Bind("1", statement="s1") + REST, BOUND + ROW)
USUAL = pytest.mark.parametrize(
    "usual", [SIMPLE, UNNAMED, NAMED], ids=["Query", "unnamed", "named"]
)


class CountingClock(FakeClock):
    """A clock that counts how often it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def __call__(self) -> float:
        self.reads += 1
        return self.now


class Relay:
    """A client that has prepared `s1`, and a server that has it."""

    def __init__(self) -> None:
        self.world = World(statements=STATEMENTS)
        self.clock = self.world.dispatcher.clock = CountingClock()
        self.client: ClientConnection = self.world.add_client(rewrites=True)
        self.server: ServerConnection = self.world.add_server()
        self.exchange(Exchange(PREPARE, PARSED + ReadyForQuery()))

    def exchange(self, exchange: Exchange, times: int = 1) -> None:
        for _ in range(times):
            self.client.data_received(exchange.question)
            self.server.data_received(exchange.answer)

    def forget_writes(self) -> None:
        transport_of(self.client).writes.clear()
        transport_of(self.server).writes.clear()

    @property
    def write_counts(self) -> tuple[int, int]:
        """Writes to the server and to the client."""
        return len(transport_of(self.server).writes), len(transport_of(self.client).writes)


@USUAL
def test_one_read_causes_one_write_in_each_direction(usual: Exchange) -> None:
    relay = Relay()
    relay.forget_writes()

    relay.exchange(usual, 3)

    assert relay.write_counts == (3, 3)


def test_one_read_causes_one_write_though_the_server_must_first_be_taught_the_statement() -> None:
    relay = Relay()
    relay.server = relay.world.add_server()  # released last, so it is the next to be linked
    relay.forget_writes()

    relay.exchange(Exchange(NAMED.question, PARSED + NAMED.answer))

    assert relay.write_counts == (1, 1)


def test_one_read_causes_one_write_though_the_server_must_first_get_other_parameters() -> None:
    relay = Relay()
    relay.client = relay.world.add_client(TOKYO, rewrites=True)
    relay.forget_writes()

    relay.exchange(Exchange(SIMPLE.question, SET_DONE + ROW))

    assert relay.write_counts == (1, 1)


@USUAL
def test_a_query_reads_the_clock_twice_when_it_is_linked_and_when_it_is_released(
    usual: Exchange,
) -> None:
    relay = Relay()
    relay.clock.reads = 0

    relay.exchange(usual, 10)

    assert relay.clock.reads == 20


def blocks_left_behind(usual: Exchange) -> int:
    """Return by how many blocks of Python's memory 300 exchanges have grown what is allocated."""
    relay = Relay()
    blocks = array("q", [0, 0, 0])  # whose items are no objects
    for number in range(3):
        relay.exchange(usual, 300)  # counters grow beyond the integers that Python keeps ready
        relay.forget_writes()
        gc.collect()
        blocks[number] = sys.getallocatedblocks()
    return blocks[2] - blocks[1]


@pytest.mark.parametrize("name", ["SIMPLE", "UNNAMED", "NAMED"])
def test_a_query_leaves_no_object_behind(name: str) -> None:
    """In a process of its own: here other tests' threads come and go."""
    program = (
        "from tests.unit.proxy import test_hot_path as here;"
        f" print(here.blocks_left_behind(here.{name}))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert int(done.stdout) == 0


def sessions_in_memory() -> int:
    return sum(isinstance(each, ClientSession) for each in gc.get_objects())


@USUAL
def test_a_client_that_has_gone_leaves_nothing_to_the_garbage_collector(usual: Exchange) -> None:
    """It is freed at once: at thousands of logins a second the collector would never rest."""
    gc.collect()
    before = sessions_in_memory()
    gc.disable()
    try:
        relay = Relay()
        relay.exchange(usual)
        assert sessions_in_memory() == before + 1

        relay.client.data_received(TERMINATE)
        relay.client.connection_lost(None)
        del relay.client

        assert sessions_in_memory() == before
    finally:
        gc.enable()


@USUAL
def test_a_query_is_off_every_list_once_it_is_answered(usual: Exchange) -> None:
    relay = Relay()

    relay.exchange(usual)

    session = relay.client.session
    left = (session.single, bytes(session.owed), session.tail)
    assert left == (0, b"", b"")
    assert session.server is None


def test_a_second_request_is_listed_behind_the_first_and_answered_in_order() -> None:
    relay = Relay()
    relay.forget_writes()

    relay.client.data_received(SIMPLE.question)
    relay.client.data_received(SIMPLE.question)
    owed = bytes(relay.client.session.owed)
    relay.server.data_received(ROW)
    relay.server.data_received(ROW)

    assert (owed, relay.write_counts) == (b"QQ", (2, 2))
    assert relay.client.session.server is None
