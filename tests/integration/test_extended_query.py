"""Extended queries: Parse, Bind, Describe, Execute, Flush, Sync, portals and named statements."""

from __future__ import annotations

from pgpool_lite.pooler import Pooler
from tests.conftest import MakePooler
from tests.integration.conftest import Connect
from tests.integration.watch import (
    a_server_is_linked,
    clients_wait,
    linked_servers,
    no_server_is_linked,
)
from tests.wire_client import SELECT_1, eventually
from tests.wire_messages import (
    Bind,
    ClosePortal,
    CloseStatement,
    DescribePortal,
    DescribeStatement,
    Execute,
    Flush,
    Parse,
    Query,
    Sync,
)

INT4_OID = 23


async def test_an_unnamed_statement_is_parsed_described_bound_and_executed(
    pooler: Pooler, connect: Connect
) -> None:
    client = await connect(pooler)
    await client.send(
        Parse("SELECT $1::int + 1 AS sum"),
        DescribeStatement(),
        Bind("41"),
        DescribePortal(),
        Execute(),
        Sync(),
    )
    assert await client.until_ready() == [
        "1",
        f"t {INT4_OID}",
        "T sum",
        "2",
        "T sum",
        "D 42",
        "C SELECT 1",
        "Z I",
    ]
    await eventually(no_server_is_linked(pooler))


async def test_a_null_travels_both_ways(pooler: Pooler, connect: Connect) -> None:
    client = await connect(pooler)
    await client.send(Parse("SELECT $1::text, $2::text"), Bind(None, ""), Execute(), Sync())
    assert await client.until_ready() == ["1", "2", "D NULL|", "C SELECT 1", "Z I"]


async def test_statements_without_rows_and_without_text_are_answered(
    pooler: Pooler, connect: Connect
) -> None:
    client = await connect(pooler)
    await client.send(Parse("SET work_mem TO DEFAULT"), Bind(), DescribePortal(), Execute(), Sync())
    assert await client.until_ready() == ["1", "2", "n", "C SET", "Z I"]
    await client.send(Parse(""), Bind(), Execute(), Sync())
    assert await client.until_ready() == ["1", "2", "I", "Z I"]


async def test_a_sync_alone_is_answered(pooler: Pooler, connect: Connect) -> None:
    client = await connect(pooler)
    await client.send(Sync())
    assert await client.until_ready() == ["Z I"]
    await client.send(Sync(), Sync())
    assert await client.until_ready(times=2) == ["Z I", "Z I"]
    await eventually(no_server_is_linked(pooler))


async def test_a_flush_brings_the_answers_and_keeps_the_server_until_sync(
    pooler: Pooler, connect: Connect
) -> None:
    client, other = await connect(pooler), await connect(pooler)
    await client.send(Parse("SELECT 1"), Bind(), Execute(), Flush())
    assert await client.lines(4) == ["1", "2", "D 1", "C SELECT 1"]
    await other.send(Query("SELECT 1"))
    await eventually(clients_wait(pooler, 1))
    assert linked_servers(pooler) == 1
    await client.send(Sync())
    assert await client.until_ready() == ["Z I"]
    assert await other.until_ready() == SELECT_1


async def test_steps_of_one_statement_may_be_flushed_one_by_one(
    pooler: Pooler, connect: Connect
) -> None:
    client = await connect(pooler)
    await client.send(Parse("SELECT $1::int AS n"), DescribeStatement(), Flush())
    assert await client.lines(3) == ["1", f"t {INT4_OID}", "T n"]
    await client.send(Bind("7"), Flush())
    assert await client.lines(1) == ["2"]
    await client.send(Execute(), Flush())
    assert await client.lines(2) == ["D 7", "C SELECT 1"]
    await client.send(Sync())
    assert await client.until_ready() == ["Z I"]


async def test_an_error_skips_to_the_next_sync(pooler: Pooler, connect: Connect) -> None:
    client = await connect(pooler)
    await client.send(Parse("SELECT oops"), Bind(), DescribePortal(), Execute(), Sync())
    assert await client.until_ready() == [
        'E ERROR 42703 column "oops" does not exist',
        "Z I",
    ]
    assert await client.query("SELECT 1") == SELECT_1


async def test_an_error_after_a_flush_keeps_the_server_until_sync(
    pooler: Pooler, connect: Connect
) -> None:
    client = await connect(pooler)
    await client.send(Parse("SELECT oops"), Flush())
    assert await client.lines(1) == ['E ERROR 42703 column "oops" does not exist']
    # Skipped by PostgreSQL, to the last one.
    await client.send(Parse("SELECT 1"), Bind(), Execute(), Flush())
    await eventually(a_server_is_linked(pooler))
    await client.send(Sync())
    assert await client.until_ready() == ["Z I"]
    await eventually(no_server_is_linked(pooler))


async def test_a_portal_is_read_in_portions_inside_a_transaction(
    pooler: Pooler, connect: Connect
) -> None:
    client = await connect(pooler)
    await client.query("BEGIN")
    await client.send(
        Parse("SELECT n FROM generate_series(1, 5) n"), Bind(portal="p"), Execute("p", 2), Sync()
    )
    assert await client.until_ready() == ["1", "2", "D 1", "D 2", "s", "Z T"]
    await client.send(Execute("p", 2), Sync())
    assert await client.until_ready() == ["D 3", "D 4", "s", "Z T"]
    await client.send(Execute("p", 2), ClosePortal("p"), Sync())
    assert await client.until_ready() == ["D 5", "C SELECT 1", "3", "Z T"]
    assert await client.query("COMMIT") == ["C COMMIT", "Z I"]


async def test_two_portals_of_one_transaction_do_not_disturb_each_other(
    pooler: Pooler, connect: Connect
) -> None:
    client = await connect(pooler)
    await client.query("BEGIN")
    await client.send(
        Parse("SELECT n FROM generate_series(1, $1::int) n"),
        Bind("9", portal="a"),
        Bind("2", portal="b"),
        Execute("a", 1),
        Execute("b", 1),
        Execute("a", 1),
        Sync(),
    )
    assert await client.until_ready() == ["1", "2", "2", "D 1", "s", "D 1", "s", "D 2", "s", "Z T"]
    assert await client.query("ROLLBACK") == ["C ROLLBACK", "Z I"]


async def test_a_transaction_block_may_be_opened_and_closed_by_extended_queries(
    pooler: Pooler, connect: Connect
) -> None:
    client = await connect(pooler)
    await client.send(Parse("BEGIN"), Bind(), Execute(), Sync())
    assert await client.until_ready() == ["1", "2", "C BEGIN", "Z T"]
    await eventually(a_server_is_linked(pooler))
    await client.send(Parse("COMMIT"), Bind(), Execute(), Sync())
    assert await client.until_ready() == ["1", "2", "C COMMIT", "Z I"]
    await eventually(no_server_is_linked(pooler))


async def test_a_named_statement_works_on_a_server_that_never_saw_its_parse(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=2)
    client, other = await connect(pooler), await connect(pooler)
    await client.send(Parse("SELECT pg_backend_pid() + 0 * $1", "s1", INT4_OID), Sync())
    assert await client.until_ready() == ["1", "Z I"]
    await client.send(Bind("1", statement="s1"), Execute(), Sync())
    _, first_pid, *_ = await client.until_ready()
    # With its server taken away, the client is linked to a second one.
    await other.query("BEGIN")
    await client.send(Bind("2", statement="s1"), Execute(), Sync())
    bound, second_pid, *rest = await client.until_ready()
    assert (bound, rest) == ("2", ["C SELECT 1", "Z I"])
    assert second_pid != first_pid


async def test_two_clients_may_give_one_name_to_different_statements(
    pooler: Pooler, connect: Connect
) -> None:
    one, two = await connect(pooler), await connect(pooler)
    await one.send(Parse("SELECT 'one'", "s1"), Sync())
    await two.send(Parse("SELECT 'two'", "s1"), Sync())
    assert await one.until_ready() == await two.until_ready() == ["1", "Z I"]
    await one.send(Bind(statement="s1"), Execute(), Sync())
    assert await one.until_ready() == ["2", "D one", "C SELECT 1", "Z I"]
    await two.send(Bind(statement="s1"), Execute(), Sync())
    assert await two.until_ready() == ["2", "D two", "C SELECT 1", "Z I"]


async def test_a_closed_statement_frees_its_name(pooler: Pooler, connect: Connect) -> None:
    client = await connect(pooler)
    await client.send(Parse("SELECT 1", "s1"), CloseStatement("s1"), Sync())
    assert await client.until_ready() == ["1", "3", "Z I"]
    await client.send(Parse("SELECT 2", "s1"), Bind(statement="s1"), Execute(), Sync())
    assert await client.until_ready() == ["1", "2", "D 2", "C SELECT 1", "Z I"]
