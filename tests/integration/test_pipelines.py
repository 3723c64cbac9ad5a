"""Pipelines: the same bytes sent to the pooler and to PostgreSQL bring the same answers.

What a client sees is compared message by message and byte by byte, so nothing here says what
PostgreSQL answers; the transcripts elsewhere do.
"""

from __future__ import annotations

import pytest

from pgpool_lite.pooler import Pooler
from tests.integration.conftest import Address, Connect
from tests.integration.watch import no_server_is_linked
from tests.wire_client import SELECT_1, WireClient, eventually
from tests.wire_messages import (
    BackendMessage,
    Bind,
    ClosePortal,
    CloseStatement,
    DescribePortal,
    DescribeStatement,
    Execute,
    Flush,
    FunctionCall,
    Parse,
    Query,
    Sync,
)

SELECT = Parse("SELECT $1::int * 2") + Bind("21") + DescribePortal() + Execute()
FAILING = Parse("SELECT 1/$1::int") + Bind("0") + DescribePortal() + Execute()
INSERT = Parse("INSERT INTO pipe VALUES ($1) RETURNING n") + Bind("1") + Execute()
# Of int4abs(int4), which has this oid in every version of PostgreSQL.
CALL = FunctionCall(1397, "-7")


def extended(sql: str) -> bytes:
    """Return the messages that run `sql` with the unnamed statement, without a Sync."""
    return Parse(sql) + Bind() + Execute()


# Each ends with no transaction open, so that the server must be free again.
PIPELINES = {
    "several segments": (SELECT + Sync()) * 5,
    "an error in the middle": SELECT + Sync() + FAILING + SELECT + Sync() + SELECT + Sync(),
    "an error in each segment": (FAILING + SELECT + Sync()) * 3,
    "an error in Parse, then everything else skipped": (
        Parse("nonsense") + Bind() + Execute() + DescribeStatement() + Flush() + Sync() + Sync()
    ),
    "an error in Bind": Parse("SELECT $1::int") + Bind("x") + Execute() + Sync() + SELECT + Sync(),
    "the wrong number of parameters": SELECT + Bind("1", "2") + Execute() + Sync(),
    "a portal nobody made": Execute("nowhere") + Sync() + SELECT + Sync(),
    "a describe of a portal nobody made": DescribePortal("nowhere") + SELECT + Sync() + Sync(),
    "syncs without anything": Sync() * 7,
    "flushes among the rest": Flush() + SELECT + Flush() + Flush() + Sync() + Flush() + Sync(),
    "simple and extended queries mixed": (
        Query("SELECT 1") + SELECT + Sync() + Query("SELECT 2; SELECT 3") + SELECT + Sync()
    ),
    "a simple query that ends a failed segment": FAILING + Query("SELECT 1") + Sync() + Sync(),
    "a simple query in an open segment": SELECT + Query("SELECT 1") + Sync(),
    "a simple query after a Flush": SELECT + Flush() + Query("SELECT 1") + SELECT + Sync(),
    "an implicit transaction rolled back by a late error": (
        Query("CREATE TEMP TABLE pipe (n int)")
        + INSERT
        + INSERT
        + FAILING
        + Sync()
        + Query("SELECT count(*) FROM pipe; DROP TABLE pipe")
    ),
    "a transaction over several segments": (
        extended("BEGIN") + Sync() + SELECT + Sync() + extended("COMMIT") + Sync()
    ),
    "a transaction failed and rolled back": (
        extended("BEGIN") + Sync() + FAILING + Sync() + SELECT + Sync() + Query("ROLLBACK")
    ),
    "a transaction opened and closed in one segment": (
        extended("BEGIN") + SELECT + extended("COMMIT") + SELECT + Sync()
    ),
    "a failed transaction in one segment, rolled back in the next": (
        extended("BEGIN") + FAILING + extended("COMMIT") + Sync() + extended("ROLLBACK") + Sync()
    ),
    "named statements, used twice and closed": (
        Parse("SELECT $1::int", "named")
        + DescribeStatement("named")
        + (Bind("1", statement="named") + Execute() + Sync()) * 2
        + CloseStatement("named")
        + CloseStatement("never made")
        + Sync()
    ),
    "a named statement that fails to parse and is made anew": (
        Parse("SELECT oops", "again")
        + Sync()
        + Parse("SELECT 1", "again")
        # Closed, because the direct connection would keep it.
        + Bind(statement="again")
        + Execute()
        + CloseStatement("again")
        + Sync()
    ),
    "portals in portions": (
        Query("BEGIN")
        + Parse("SELECT generate_series(1, 5)")
        + Bind(portal="p")
        + Execute("p", 2)
        + Execute("p", 2)
        + Sync()
        + Execute("p", 2)
        + ClosePortal("p")
        + Execute("p", 2)
        + Sync()
        + Query("ROLLBACK")
    ),
    "function calls": CALL + SELECT + Sync() + CALL,
    "a function call that fails": FunctionCall(1, "A") + CALL,
    "a function call in an open segment": SELECT + CALL + Sync(),
    "a function call in a failed segment": FAILING + CALL + SELECT + Sync(),
    "notices and settings": (
        extended("DO $$ BEGIN RAISE NOTICE 'hello'; END $$")
        + extended("SET LOCAL application_name TO 'local'")
        + Sync()
        + Query("SET extra_float_digits TO 0; RESET extra_float_digits")
    ),
    "empty statements": extended("") + extended("-- nothing") + Sync() + Query(""),
}


# Asked after each pipeline, because how often it is answered is itself in question. Asked in two
# steps, because PostgreSQL 18.4 fails the first query after a pipeline that has a simple query in
# an open segment ("StartTransactionCommand: unexpected state STARTED"), and so must the pooler.
END = Query("SELECT 'nearly there'") + Query("SELECT 'end of pipeline'")


async def read_to_end(client: WireClient) -> list[BackendMessage]:
    """Return all answers to a pipeline that was followed by END, and the answer to END."""
    messages: list[BackendMessage] = []
    while "D end of pipeline" not in map(str, messages[-3:]):
        messages += await client.messages_until_ready()
    return messages


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=PIPELINES.keys())
async def test_a_pipeline_is_answered_as_postgresql_answers_it(
    pooler: Pooler, postgres: Address, connect: Connect, pipeline: bytes
) -> None:
    client, direct = await connect(pooler), await connect(postgres)
    await client.send(pipeline, END)
    await direct.send(pipeline, END)
    assert await read_to_end(client) == await read_to_end(direct)
    await eventually(no_server_is_linked(pooler))
    assert await client.query("SELECT 1") == SELECT_1


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64])
async def test_where_the_network_cuts_a_pipeline_makes_no_difference(
    pooler: Pooler, postgres: Address, connect: Connect, size: int
) -> None:
    client, direct = await connect(pooler), await connect(postgres)
    pipeline = PIPELINES["an error in the middle"] + PIPELINES["simple and extended queries mixed"]
    await direct.send(pipeline, END)
    await client.send_in_pieces(pipeline + END, size)
    assert await read_to_end(client) == await read_to_end(direct)


async def test_a_pipeline_of_thousands_of_segments_is_answered(
    pooler: Pooler, postgres: Address, connect: Connect
) -> None:
    client, direct = await connect(pooler), await connect(postgres)
    pipeline = (SELECT + Sync() + FAILING + SELECT + Sync()) * 2000
    await direct.send(SELECT + Sync() + FAILING + SELECT + Sync())
    expected = await direct.messages_until_ready(2)
    await client.send(pipeline)
    assert await client.messages_until_ready(4000) == expected * 2000
    await eventually(no_server_is_linked(pooler))
