"""When a COMMIT's answer is lost: a broken connection, never a success that was none, never twice.

The connection to PostgreSQL, or the client's own, breaks at each place around the COMMIT. Then the
rows are counted: there is one where PostgreSQL had heard COMMIT, none where it had not, and nobody
was told otherwise.
"""

from __future__ import annotations

import pytest

from pgpool_lite.dev.cluster import Cluster
from tests.conftest import MakePooler
from tests.integration.watch import no_server_is_linked
from tests.reliability.crosstalk import prepare_ledger, read_ledger
from tests.reliability.fault_proxy import Action, Fault, FaultProxy, Toward
from tests.wire_client import SELECT_1, WireClient, eventually
from tests.wire_messages import Bind, Execute, Parse, Query, Sync

INSERT = "INSERT INTO ledger VALUES (1, 1)"


def prepared(sql: str, name: str) -> bytes:
    """Return the messages that prepare a statement under a name and run it."""
    return Parse(sql, name) + Bind(statement=name) + Execute()


# By each of these the transaction is begun and filled, and then committed.
WAYS = {
    "simple": (Query("BEGIN") + Query(INSERT), Query("COMMIT"), 2),
    "prepared": (
        prepared("BEGIN", "b") + prepared(INSERT, "i") + Sync(),
        prepared("COMMIT", "c") + Sync(),
        1,
    ),
    "in one pipeline": (b"", Query("BEGIN") + Query(INSERT) + Query("COMMIT"), 0),
    "in one segment": (b"", prepared(INSERT, "i") + Sync(), 0),
}

# What is lost, by what PostgreSQL has heard and said; and how many rows there must be. It may have
# read what came together with the reset, or not: that is -1.
PLACES = {
    "before the last message reaches PostgreSQL": (Toward.SERVER, "last", 0, 0),
    "in the middle of it": (Toward.SERVER, "last", 3, 0),
    "behind it": (Toward.SERVER, "last", -1, -1),
    "before the CommandComplete": (Toward.CLIENT, "C", 0, 1),
    "in the middle of the CommandComplete": (Toward.CLIENT, "C", 7, 1),
    "between CommandComplete and ReadyForQuery": (Toward.CLIENT, "C", -1, 1),
    "in the middle of the ReadyForQuery": (Toward.CLIENT, "Z", 3, 1),
}


def fault_at(way: str, place: str) -> tuple[Fault, int]:
    """Return what breaks the connection of a way at a place, and how many rows there must be."""
    toward, kind, offset, rows = PLACES[place]
    begins, count = b"", 1
    if kind == "last":
        kind, begins = ("Q", b"COMMIT") if way in ("simple", "in one pipeline") else ("S", b"")
        count = 2 if way == "prepared" else 1
    elif kind == "C":
        begins = b"INSERT" if way == "in one segment" else b"COMMIT"
    else:
        count = {"simple": 4, "prepared": 3, "in one pipeline": 4, "in one segment": 2}[
            way
        ]  # with the login
    # The Sync of a segment commits nothing that a COMMIT in it has not committed already.
    if way == "prepared" and toward is Toward.SERVER:
        kind, begins, count = "E", b"", 3
    return Fault(Action.RESET, toward, kind=kind, begins=begins, count=count, offset=offset), rows


CASES = [(way, place, "server") for way in WAYS for place in PLACES]
CASES += [("simple", place, "client") for place in PLACES]


@pytest.mark.parametrize(("way", "place", "side"), CASES)
async def test_who_loses_the_answer_to_a_commit_sees_the_end_and_nothing_is_done_twice(
    way: str, place: str, side: str, honest_postgres: Cluster, make_pooler: MakePooler
) -> None:
    await prepare_ledger(honest_postgres)
    fault, row_count = fault_at(way, place)
    begin, commit, answers = WAYS[way]
    async with FaultProxy(honest_postgres) as inner:
        pooler = await make_pooler(inner.url, pool_size=1, server_login_retry=0.0)
        async with FaultProxy(pooler) as outer:
            # The pooler's first query would be the server's, so it is opened before.
            plan = {1: fault}.get
            inner.plan = plan if side == "server" else inner.plan
            outer.plan = plan if side == "client" else outer.plan
            client = await WireClient.open(outer.host, outer.port)
            await client.login()
            if begin:
                await client.send(begin)
                await client.until_ready(answers)
            await client.send(commit)
            heard = await client.until_closed()
            await client.abort()

            assert (inner if side == "server" else outer).struck_count == 1
            assert heard == [] or not heard[-1].startswith("Z I")
            async with await WireClient.open(outer.host, outer.port) as other:
                await other.login()
                assert await other.query("SELECT 1") == SELECT_1
            await eventually(no_server_is_linked(pooler))

    rows = await read_ledger(honest_postgres)
    was_told = any(line in ("C COMMIT", "C INSERT 0 1") for line in heard)
    assert len(rows) <= 1
    assert len(rows) == 1 or not (was_told and place.startswith(("between", "in the middle of th")))
    if side == "server" and row_count >= 0:
        assert len(rows) == row_count
