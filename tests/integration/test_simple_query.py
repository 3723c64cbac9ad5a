"""Simple queries, and FunctionCall: what comes back is what PostgreSQL says, message by message."""

from __future__ import annotations

import pytest

from pgpool_lite.pooler import Pooler
from tests.integration.conftest import Address, Connect
from tests.integration.watch import no_server_is_linked
from tests.wire_client import SELECT_1, eventually
from tests.wire_messages import FunctionCall, Query, Terminate

# Of int4abs(int4) in pg_proc, the same in every version of PostgreSQL.
ABSOLUTE_OID = 1397


async def test_a_query_is_answered(pooler: Pooler, connect: Connect) -> None:
    client = await connect(pooler)
    assert await client.query("SELECT 1") == SELECT_1


async def test_a_query_with_several_statements_is_answered_once(
    pooler: Pooler, connect: Connect
) -> None:
    client = await connect(pooler)
    assert await client.query("SELECT 1 AS a; SELECT 2 AS b, NULL AS c") == [
        "T a",
        "D 1",
        "C SELECT 1",
        "T b,c",
        "D 2|NULL",
        "C SELECT 1",
        "Z I",
    ]


@pytest.mark.parametrize("sql", ["", " ", "-- nothing", ";"])
async def test_an_empty_query_is_answered(pooler: Pooler, connect: Connect, sql: str) -> None:
    client = await connect(pooler)
    assert await client.query(sql) == ["I", "Z I"]
    assert await client.query("SELECT 1") == SELECT_1


async def test_a_notice_reaches_the_client(pooler: Pooler, connect: Connect) -> None:
    client = await connect(pooler)
    assert await client.query("DO $$ BEGIN RAISE NOTICE 'mind the gap'; END $$") == [
        "N NOTICE 00000 mind the gap",
        "C DO",
        "Z I",
    ]


async def test_an_error_ends_its_query_only(pooler: Pooler, connect: Connect) -> None:
    client = await connect(pooler)
    assert await client.query("SELECT 1; SELECT 1/0; SELECT 2") == [
        "T ?column?",
        "D 1",
        "C SELECT 1",
        # PostgreSQL describes a result before it computes the first row of it.
        "E ERROR 22012 division by zero",
        "Z I",
    ]
    assert await client.query("SELECT 1") == SELECT_1


async def test_a_transaction_block_shows_its_status(pooler: Pooler, connect: Connect) -> None:
    client = await connect(pooler)
    assert await client.query("BEGIN") == ["C BEGIN", "Z T"]
    assert await client.query("SELECT 1") == [*SELECT_1[:-1], "Z T"]
    assert await client.query("SELECT nonsense") == [
        'E ERROR 42703 column "nonsense" does not exist',
        "Z E",
    ]
    assert await client.query("SELECT 1") == [
        "E ERROR 25P02 current transaction is aborted, "
        "commands ignored until end of transaction block",
        "Z E",
    ]
    assert await client.query("COMMIT") == ["C ROLLBACK", "Z I"]


async def test_queries_sent_together_are_answered_in_turn(pooler: Pooler, connect: Connect) -> None:
    client = await connect(pooler)
    await client.send(Query("SELECT 1"), Query("SELECT oops"), Query("BEGIN"), Query("COMMIT"))
    assert await client.until_ready(times=4) == [
        *SELECT_1,
        'E ERROR 42703 column "oops" does not exist',
        "Z I",
        "C BEGIN",
        "Z T",
        "C COMMIT",
        "Z I",
    ]
    await eventually(no_server_is_linked(pooler))


async def test_a_query_may_arrive_byte_by_byte(pooler: Pooler, connect: Connect) -> None:
    client = await connect(pooler)
    await client.send_in_pieces(Query("SELECT 1") + Query("SELECT 1"), size=1)
    assert await client.until_ready(times=2) == SELECT_1 * 2


async def test_many_rows_arrive_complete_and_in_order(pooler: Pooler, connect: Connect) -> None:
    client = await connect(pooler)
    answer = await client.query("SELECT n FROM generate_series(1, 50000) n")
    assert answer[0] == "T n"
    assert answer[1:-2] == [f"D {n}" for n in range(1, 50001)]
    assert answer[-2:] == ["C SELECT 50000", "Z I"]


async def test_a_function_call_is_answered(pooler: Pooler, connect: Connect) -> None:
    client = await connect(pooler)
    await client.send(FunctionCall(ABSOLUTE_OID, "-7"))
    assert await client.until_ready() == ["V 7", "Z I"]
    await eventually(no_server_is_linked(pooler))
    assert await client.query("SELECT 1") == SELECT_1


async def test_a_function_call_in_a_failed_transaction_is_answered_as_postgresql_does(
    pooler: Pooler, postgres: Address, connect: Connect
) -> None:
    client, direct = await connect(pooler), await connect(postgres)
    bytes_of_both = (
        Query("BEGIN") + Query("x") + FunctionCall(ABSOLUTE_OID, "-7") + Query("ROLLBACK")
    )
    await client.send(bytes_of_both)
    await direct.send(bytes_of_both)
    answer = await client.messages_until_ready(times=4)
    assert answer == await direct.messages_until_ready(times=4)
    assert str(answer[-3]) == "Z E"


async def test_an_asynchronous_notification_reaches_the_session_that_listens(
    pooler: Pooler, connect: Connect
) -> None:
    client = await connect(pooler)
    await client.query("BEGIN")
    await client.query("LISTEN news")
    await client.query("NOTIFY news, 'extra'")
    assert await client.query("COMMIT") == ["C COMMIT", "A news extra", "Z I"]
    await client.query("UNLISTEN *")


async def test_a_goodbye_closes_the_connection_without_a_word(
    pooler: Pooler, connect: Connect
) -> None:
    client, other = await connect(pooler), await connect(pooler)
    await client.query("SELECT 1")
    await client.send(Terminate())
    assert await client.until_closed() == []
    assert await other.query("SELECT 1") == SELECT_1
