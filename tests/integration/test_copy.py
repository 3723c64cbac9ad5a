"""COPY in and out, by simple and by extended queries, ended well, badly or too late."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from pgpool_lite.pooler import Pooler
from tests.integration.conftest import Address, Connect, skip_where_queries_in_segments_fail
from tests.integration.watch import a_server_is_linked, clients_wait, no_server_is_linked
from tests.wire_client import SELECT_1, WireClient, eventually
from tests.wire_messages import (
    Bind,
    CopyData,
    CopyDone,
    CopyFail,
    Execute,
    Flush,
    Parse,
    Query,
    Sync,
)

COPY_IN = "COPY copied FROM STDIN"
COPY_OUT = "COPY (SELECT n FROM generate_series(1, 3) n) TO STDOUT"
EXTENDED_COPY_IN = Parse(COPY_IN) + Bind() + Execute()


@pytest.fixture
async def direct(postgres: Address, connect: Connect) -> AsyncIterator[WireClient]:
    """A connection to PostgreSQL itself, with an empty table `copied` in place."""
    direct = await connect(postgres)
    await direct.query("DROP TABLE IF EXISTS copied; CREATE TABLE copied (n int)")
    yield direct
    await direct.query("DROP TABLE copied")


@pytest.fixture
async def client(pooler: Pooler, direct: WireClient, connect: Connect) -> WireClient:
    """A client of the pooler."""
    return await connect(pooler)


async def copied_rows(direct: WireClient) -> str:
    """Return how many rows have been committed."""
    return await direct.value("SELECT count(*) FROM copied")


async def test_copy_in_by_a_simple_query(
    pooler: Pooler, client: WireClient, direct: WireClient
) -> None:
    await client.send(Query(COPY_IN))
    assert await client.lines(1) == ["G"]
    await client.send(CopyData(b"1\n2"), CopyData(b"\n3\n"), CopyDone())
    assert await client.until_ready() == ["C COPY 3", "Z I"]
    await eventually(no_server_is_linked(pooler))
    assert await copied_rows(direct) == "3"


async def test_copy_out_by_a_simple_query(pooler: Pooler, client: WireClient) -> None:
    assert await client.query(COPY_OUT) == [
        "H",
        "d 1\n",
        "d 2\n",
        "d 3\n",
        "c",
        "C COPY 3",
        "Z I",
    ]
    await eventually(no_server_is_linked(pooler))


async def test_copy_out_by_an_extended_query(pooler: Pooler, client: WireClient) -> None:
    await client.send(Parse(COPY_OUT), Bind(), Execute(), Sync())
    assert await client.until_ready() == [
        "1",
        "2",
        "H",
        "d 1\n",
        "d 2\n",
        "d 3\n",
        "c",
        "C COPY 3",
        "Z I",
    ]
    await eventually(no_server_is_linked(pooler))


async def test_the_server_stays_linked_while_a_copy_is_open(
    pooler: Pooler, client: WireClient, connect: Connect
) -> None:
    other = await connect(pooler)
    await client.send(Query(COPY_IN))
    assert await client.lines(1) == ["G"]
    await other.send(Query("SELECT 1"))
    await eventually(clients_wait(pooler, 1))
    await client.send(CopyData(b"1\n"))
    await client.send(CopyDone())
    assert await client.until_ready() == ["C COPY 1", "Z I"]
    assert await other.until_ready() == SELECT_1


async def test_copy_in_by_an_extended_query_with_sync_at_the_end(
    pooler: Pooler, client: WireClient, direct: WireClient
) -> None:
    await client.send(EXTENDED_COPY_IN, Flush())
    assert await client.lines(3) == ["1", "2", "G"]
    await client.send(CopyData(b"1\n"), CopyDone(), Sync())
    assert await client.until_ready() == ["C COPY 1", "Z I"]
    await eventually(no_server_is_linked(pooler))
    assert await copied_rows(direct) == "1"


async def test_a_sync_straight_after_execute_is_ignored_while_the_copy_is_open(
    pooler: Pooler, client: WireClient, direct: WireClient, connect: Connect
) -> None:
    # libpq's PQexecParams does so; PostgreSQL documentation, "COPY Operations".
    other = await connect(pooler)
    await client.send(EXTENDED_COPY_IN, Sync())
    assert await client.lines(3) == ["1", "2", "G"]
    await other.send(Query("SELECT 1"))
    await eventually(clients_wait(pooler, 1))
    await client.send(CopyData(b"1\n"), Flush(), Sync(), CopyData(b"2\n"), CopyDone(), Sync())
    assert await client.until_ready() == ["C COPY 2", "Z I"]
    assert await other.until_ready() == SELECT_1
    assert await client.query("SELECT 1") == SELECT_1
    assert await copied_rows(direct) == "2"


async def test_a_whole_copy_may_be_sent_without_waiting_for_the_server(
    pooler: Pooler, client: WireClient, direct: WireClient
) -> None:
    await client.send(EXTENDED_COPY_IN, CopyData(b"1\n"), CopyDone(), Sync(), Query("SELECT 1"))
    assert await client.until_ready(times=2) == ["1", "2", "G", "C COPY 1", "Z I", *SELECT_1]
    await eventually(no_server_is_linked(pooler))
    assert await copied_rows(direct) == "1"


async def test_a_sync_that_the_copy_swallows_is_not_waited_for(
    pooler: Pooler, client: WireClient, direct: WireClient
) -> None:
    # When the first Sync passes, nobody can know yet that a COPY is going to swallow it.
    await client.send(
        EXTENDED_COPY_IN, Sync(), CopyData(b"1\n"), CopyDone(), Sync(), Query("SELECT 1")
    )
    assert await client.until_ready(times=2) == ["1", "2", "G", "C COPY 1", "Z I", *SELECT_1]
    await eventually(no_server_is_linked(pooler))
    assert await copied_rows(direct) == "1"


async def test_copy_fail_ends_the_copy_with_an_error(
    pooler: Pooler, client: WireClient, direct: WireClient
) -> None:
    await client.send(Query(COPY_IN))
    assert await client.lines(1) == ["G"]
    await client.send(CopyData(b"1\n"), CopyFail("changed my mind"))
    assert await client.until_ready() == [
        "E ERROR 57014 COPY from stdin failed: changed my mind",
        "Z I",
    ]
    await eventually(no_server_is_linked(pooler))
    assert await copied_rows(direct) == "0"


async def test_copy_fail_in_an_extended_copy_is_followed_by_sync(
    pooler: Pooler, client: WireClient
) -> None:
    await client.send(EXTENDED_COPY_IN, Sync())
    assert await client.lines(3) == ["1", "2", "G"]
    await client.send(CopyFail("no"), Sync())
    assert await client.until_ready() == ["E ERROR 57014 COPY from stdin failed: no", "Z I"]
    await eventually(no_server_is_linked(pooler))
    assert await client.query("SELECT 1") == SELECT_1


async def test_a_sync_in_a_copy_that_fails_later_is_not_answered(
    pooler: Pooler, client: WireClient
) -> None:
    await client.send(EXTENDED_COPY_IN, Sync())
    assert await client.lines(3) == ["1", "2", "G"]
    await client.send(CopyData(b"not a number\n"), CopyDone(), Sync(), Query("SELECT 1"))
    error, *rest = await client.until_ready(times=2)
    assert error == 'E ERROR 22P02 invalid input syntax for type integer: "not a number"'
    assert rest == ["Z I", *SELECT_1]
    await eventually(no_server_is_linked(pooler))


async def test_copy_messages_that_come_too_late_are_discarded(
    pooler: Pooler, client: WireClient, connect: Connect
) -> None:
    other = await connect(pooler)
    await client.send(Query(COPY_IN))
    assert await client.lines(1) == ["G"]
    # An end-of-data marker is still read; the error is raised by the row before it.
    await client.send(CopyData(b"not a number\n"), CopyDone())
    error, ready = await client.until_ready()
    assert error == 'E ERROR 22P02 invalid input syntax for type integer: "not a number"'
    assert ready == "Z I"
    await client.send(CopyData(b"2\n"), CopyData(b"3\n"), CopyDone())
    assert await other.query("SELECT 1") == SELECT_1
    assert await client.query("SELECT 1") == SELECT_1
    await eventually(no_server_is_linked(pooler))


async def test_late_copy_fail_is_discarded_too(pooler: Pooler, client: WireClient) -> None:
    await client.send(CopyFail("of nothing"), CopyDone(), Query("SELECT 1"))
    assert await client.until_ready() == SELECT_1
    await eventually(no_server_is_linked(pooler))


async def test_a_copy_in_a_transaction_keeps_the_transaction(
    pooler: Pooler, client: WireClient, direct: WireClient
) -> None:
    await client.query("BEGIN")
    await client.send(Query(COPY_IN), CopyData(b"1\n"), CopyDone())
    assert await client.until_ready() == ["G", "C COPY 1", "Z T"]
    await eventually(a_server_is_linked(pooler))
    assert await client.query("ROLLBACK") == ["C ROLLBACK", "Z I"]
    assert await copied_rows(direct) == "0"


async def test_several_copies_may_share_one_query(
    pooler: Pooler, client: WireClient, direct: WireClient
) -> None:
    await client.send(Query(f"{COPY_IN}; {COPY_OUT}; {COPY_IN}"))
    assert await client.lines(1) == ["G"]
    await client.send(CopyData(b"1\n"), CopyDone())
    answer = await client.lines(7)
    assert answer == ["C COPY 1", "H", "d 1\n", "d 2\n", "d 3\n", "c", "C COPY 3"]
    assert await client.lines(1) == ["G"]
    await client.send(CopyDone())
    assert await client.until_ready() == ["C COPY 0", "Z I"]
    await eventually(no_server_is_linked(pooler))


ONE_ROW = CopyData(b"1\n") + CopyDone()
BAD_ROW = CopyData(b"not a number\n")
# Fails when it is open and nothing has been read yet.
COPY_TO_VIEW = Parse("COPY pg_tables FROM STDIN") + Bind() + Execute()
SEGMENT = Parse("SELECT 'segment'") + Bind() + Execute() + Sync()
PIPELINES = {
    "copies one after the other": (EXTENDED_COPY_IN + ONE_ROW + Sync()) * 3 + SEGMENT,
    "copies of one segment": (EXTENDED_COPY_IN + ONE_ROW) * 2 + Sync() + SEGMENT,
    "copies by both protocols": Query(COPY_IN) + ONE_ROW + EXTENDED_COPY_IN + ONE_ROW + Sync(),
    "a copy of a Query that has another": Query(f"{COPY_IN}; {COPY_IN}") + ONE_ROW * 2 + SEGMENT,
    "a Sync in a copy of a Query": Query(COPY_IN) + Sync() + ONE_ROW + SEGMENT,
    "a Sync behind a bad row": Query(COPY_IN) + BAD_ROW + Sync() + ONE_ROW + SEGMENT,
    "a Sync that the failing copy has read": (
        EXTENDED_COPY_IN + Sync() + BAD_ROW + CopyDone() + Sync() + SEGMENT
    ),
    "a Sync that the failing copy has not read": (
        COPY_TO_VIEW + Sync() + ONE_ROW + Sync() + SEGMENT + Query("SELECT 'query'")
    ),
    "a failing copy of a Query that has another": (
        Query(f"{COPY_IN}; {COPY_IN}") + BAD_ROW + CopyDone() + Sync() + ONE_ROW + SEGMENT
    ),
    "a copy that never opens": Parse("COPY nowhere FROM STDIN")
    + Bind()
    + Execute()
    + ONE_ROW
    + SEGMENT
    + EXTENDED_COPY_IN
    + ONE_ROW
    + Sync(),
    "what a failed copy's segment still has": (
        EXTENDED_COPY_IN + BAD_ROW + CopyDone() + SEGMENT + EXTENDED_COPY_IN + ONE_ROW + Sync()
    ),
    "a query in a segment, behind a copy": EXTENDED_COPY_IN + ONE_ROW + Query("SELECT 2") + Sync(),
    "copies out": (Parse(COPY_OUT) + Bind() + Execute() + CopyDone() + Sync()) * 2 + SEGMENT,
}
END = Query("SELECT 'end'")


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=PIPELINES.keys())
async def test_copies_in_a_pipeline_are_answered_as_postgresql_answers_them(
    pooler: Pooler, client: WireClient, direct: WireClient, pipeline: bytes
) -> None:
    ending = ["D end", "C SELECT 1", "Z I"]
    if pipeline == PIPELINES["a query in a segment, behind a copy"]:
        skip_where_queries_in_segments_fail(direct)
    await direct.send(pipeline, END)
    await client.send(pipeline, END)
    assert await client.until_closed_or(ending) == await direct.until_closed_or(ending)
    await eventually(no_server_is_linked(pooler))
    assert await client.query("SELECT 1") == SELECT_1


async def test_a_copy_whose_sync_was_ignored_keeps_its_server_until_the_next_sync(
    pooler: Pooler, client: WireClient, direct: WireClient, connect: Connect
) -> None:
    other = await connect(pooler)
    await client.send(EXTENDED_COPY_IN, Sync())
    assert await client.lines(3) == ["1", "2", "G"]
    await client.send(ONE_ROW, Flush())
    assert await client.lines(1) == ["C COPY 1"]
    await other.send(Query("SELECT 1"))
    await eventually(clients_wait(pooler, 1))
    assert await copied_rows(direct) == "0"
    await client.send(Sync())
    assert await client.until_ready() == ["Z I"]
    assert await other.until_ready() == SELECT_1
    assert await copied_rows(direct) == "1"


async def test_a_client_that_leaves_in_the_middle_of_a_copy_leaves_nothing_behind(
    pooler: Pooler, client: WireClient, direct: WireClient, connect: Connect
) -> None:
    other = await connect(pooler)
    await client.send(Query(COPY_IN))
    assert await client.lines(1) == ["G"]
    await client.send(CopyData(b"1\n"))
    await client.abort()
    assert await other.query("SELECT 1") == SELECT_1
    assert await copied_rows(direct) == "0"


async def test_a_large_copy_passes_both_ways(
    pooler: Pooler, client: WireClient, direct: WireClient
) -> None:
    rows = b"".join(b"%d\n" % n for n in range(50_000))
    pieces = (rows[pos : pos + 8192] for pos in range(0, len(rows), 8192))
    await client.send(Query(COPY_IN), *map(CopyData, pieces), CopyDone())
    assert await client.until_ready() == ["G", "C COPY 50000", "Z I"]
    await client.send(Query("COPY copied TO STDOUT"))
    answer = await client.messages_until_ready()
    assert b"".join(message.body for message in answer if message.type == "d") == rows
