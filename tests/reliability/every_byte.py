"""What does a client see when its connection breaks at this very byte, or its server's?

One conversation, with a login, a pipeline, a prepared statement, a block and a COPY, is held again
and again; each time another byte of another direction is the last one. What the client has heard
must be the beginning of what it should hear, up to the byte, or up to a whole message with a FATAL
error behind it; and the next client must be served.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from pgpool_lite.pooler import Pooler
from tests.integration.watch import no_server_is_linked
from tests.reliability.crosstalk import prepare_ledger
from tests.reliability.fault_proxy import Action, Address, Fault, FaultProxy, Toward
from tests.wire_client import SELECT_1, ConnectionLost, WireClient, eventually
from tests.wire_messages import (
    Bind,
    CopyData,
    CopyDone,
    DescribePortal,
    Execute,
    Parse,
    Query,
    StartupMessage,
    Sync,
)

SEGMENT = Parse("SELECT $1::text", "mine") + Bind("first", statement="mine") + Execute() + Sync()
REQUEST = (
    Query("SELECT 'simple'")
    + SEGMENT
    + Query("BEGIN")
    + Bind("second", statement="mine")
    + DescribePortal()
    + Execute()
    + Sync()
    + Query("COMMIT")
    + Query("COPY ledger FROM STDIN")
    + CopyData(b"1\t1\n")
    + CopyDone()
)
READY_COUNT = 7
# Longer than any direction of the conversation, on either side.
CONVERSATION_BYTES = 900
SIDES = ("client", "server")


@dataclass
class Outcomes:
    """How the conversations ended."""

    tried: int = 0
    whole: int = 0
    told: int = 0
    silent: int = 0
    struck: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        by = ", ".join(f"{count} {what}" for what, count in sorted(self.struck.items()))
        return (
            f"{self.tried} conversations cut ({by}): {self.told} clients were told, {self.silent}"
            f" saw the end, {self.whole} had heard all; 0 torn, 0 foreign, the next was served"
        )


async def strike_every(postgres: Address, places: Iterable[int]) -> Outcomes:
    """Hold the conversation once for each place, side, direction and kind of end."""
    outcomes, places = Outcomes(), list(places)
    await prepare_ledger(postgres)
    async with AsyncExitStack() as stack:
        inner = await stack.enter_async_context(FaultProxy(postgres))
        settings = {"server_login_retry": 0.0, "max_client_conn": 1000, "pool_size": 1}
        quiet = dict.fromkeys(("log_connections", "log_disconnections", "log_pooler_errors"), False)
        pooler = Pooler(inner.url, host="127.0.0.1", port=0, **settings, **quiet)
        await stack.enter_async_context(pooler)
        outer = await stack.enter_async_context(FaultProxy(pooler))
        expected = await hear_all(outer)
        for side, proxy in zip(SIDES, (outer, inner), strict=True):
            for action in (Action.RESET, Action.HALF_CLOSE):
                for toward in Toward:
                    for place in places:
                        await _strike(Fault(action, toward, byte=place), proxy, outer, inner)
                        await _check(outer, pooler, expected, outcomes)
                    what = f"{action.name} of {side}s toward {toward.name}"
                    outcomes.struck[what] = proxy.struck.pop((action, toward), 0)
    return outcomes


async def _strike(fault: Fault, proxy: FaultProxy, outer: FaultProxy, inner: FaultProxy) -> None:
    """Plan a fault for the next connection of a proxy, a server's if it is the inner one."""
    outer.plan = inner.plan = lambda number: None
    if proxy is inner:
        inner.cut_all()
    number = proxy.accepted_count + 1
    proxy.plan = lambda accepted: fault if accepted == number else None


async def _check(
    outer: FaultProxy, pooler: Pooler, expected: list[bytes], outcomes: Outcomes
) -> None:
    client = await WireClient.open(outer.host, outer.port)
    heard = await _converse(client)
    outcomes.tried += 1
    judge(heard, client.unread, expected, outcomes)
    await client.abort()
    await eventually(lambda: is_served(outer))
    await eventually(no_server_is_linked(pooler))


async def is_served(address: Address) -> bool:
    """Say whether a newcomer is served; it may still get the server that was struck."""
    async with await WireClient.open(address.host, address.port) as other:
        try:
            await other.login()
            return await other.query("SELECT 1") == SELECT_1
        except (ConnectionLost, ConnectionError):
            return False


async def hear_all(address: Address) -> list[bytes]:
    """Return what an undisturbed client hears."""
    async with await WireClient.open(address.host, address.port) as client:
        return await _converse(client)


async def _converse(client: WireClient) -> list[bytes]:
    """Say everything at once and return the messages that come until the end."""
    heard: list[bytes] = []
    startup = StartupMessage({"user": "postgres", "database": "app"})
    try:
        await client.send(startup + REQUEST)
        while [each[:1] for each in heard].count(b"Z") < READY_COUNT:
            heard += await client.receive_available()
        return heard
    except (ConnectionLost, ConnectionError):
        return heard


def judge(heard: list[bytes], unread: bytes, expected: list[bytes], outcomes: Outcomes) -> None:
    """See that what was heard is the beginning of what was expected, but for a FATAL at its end."""
    told = bool(heard) and is_farewell(heard[-1])
    answers = list(heard)
    while answers and is_farewell(answers[-1]):
        answers.pop()
    same = [same_as(one, other) for one, other in zip(answers, expected, strict=False)]
    assert all(same), (heard, expected)
    assert len(answers) <= len(expected), heard
    if unread:
        assert not told
        due = expected[len(answers)]
        assert due.startswith(unread) or unread[:1] in b"EK", (unread, due)
    outcomes.told += told
    outcomes.whole += len(answers) == len(expected)
    outcomes.silent += not told and len(answers) < len(expected)


def is_farewell(message: bytes) -> bool:
    """Say whether a message tells of the end: also that PostgreSQL lost us in a COPY, no FATAL."""
    return message[:1] == b"E" and (b"VFATAL" in message or b"C08006" in message)


def same_as(one: bytes, other: bytes) -> bool:
    """Say whether two messages are the same but for a cancel key."""
    return one == other or one[:1] == other[:1] == b"K"
