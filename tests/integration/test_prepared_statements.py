"""Named and unnamed statements in rewrite mode: each client finds its own on every server.

What PostgreSQL answers in every mix of messages is compared in `test_prepared_differential.py`;
here is what a comparison cannot show: whose rows they are, and what servers and the pooler keep.
"""

from __future__ import annotations

import asyncio
import struct

import pytest

from pgpool_lite.pooler import Pooler
from tests.conftest import MakePooler
from tests.fake_postgres import FakePostgres, FakeSession, answered_by
from tests.integration.conftest import Address, Connect
from tests.integration.watch import a_server_is_linked, no_server_is_linked
from tests.wire_client import SELECT_1, WireClient, eventually
from tests.wire_messages import (
    Bind,
    CloseStatement,
    DescribeStatement,
    Execute,
    Flush,
    Parse,
    Query,
    ReadyForQuery,
    Sync,
    message,
    text,
)

#: Texts of what the server at hand has prepared, the oldest first.
PREPARED = (
    "SELECT coalesce(string_agg(statement, ',' ORDER BY prepare_time), '-')"
    " FROM pg_prepared_statements"
)


def run(name: str, *values: str) -> bytes:
    """Return the messages that run a prepared statement."""
    return Bind(*values, statement=name) + Execute() + Sync()


async def prepare(client: WireClient, **texts: str) -> None:
    """Prepare each text under its name, in a transaction of its own."""
    for name, sql in texts.items():
        await client.send(Parse(sql, name), Sync())
        assert await client.until_ready() == ["1", "Z I"]


async def row(client: WireClient, name: str, *values: str) -> str:
    """Run a prepared statement and return its only row."""
    await client.send(run(name, *values))
    answer = await client.until_ready()
    assert [line[0] for line in answer] == ["2", "D", "C", "Z"], answer
    return answer[1].removeprefix("D ")


# Whose statement is it?


async def test_two_clients_use_one_name_for_two_texts(pooler: Pooler, connect: Connect) -> None:
    first, second = await connect(pooler), await connect(pooler)
    await prepare(first, s0="SELECT 'first'")
    await prepare(second, s0="SELECT 'second'")
    assert [await row(first, "s0"), await row(second, "s0")] == ["first", "second"]


async def test_a_name_follows_its_client_to_a_server_that_has_never_heard_of_it(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=2)
    client, other = await connect(pooler), await connect(pooler)
    await prepare(client, a="SELECT pg_backend_pid()")
    before = await row(client, "a")
    await other.query("BEGIN")  # keeps the server that was just released
    assert await row(client, "a") != before


async def test_the_same_text_is_prepared_once_for_all_clients(
    pooler: Pooler, connect: Connect
) -> None:
    first, second = await connect(pooler), await connect(pooler)
    await prepare(first, a="SELECT 1")
    await prepare(second, b="SELECT 1")
    assert await second.value(PREPARED) == "SELECT 1"


async def test_the_same_text_with_other_types_is_another_statement(
    pooler: Pooler, connect: Connect
) -> None:
    client = await connect(pooler)
    await client.send(Parse("SELECT $1", "a", 23), Parse("SELECT $1", "b", 25), Sync())
    await client.until_ready()
    await client.send(DescribeStatement("a"), DescribeStatement("b"), Sync())
    assert [line for line in await client.until_ready() if line[0] == "t"] == ["t 23", "t 25"]


async def test_what_one_client_closes_another_still_has(pooler: Pooler, connect: Connect) -> None:
    first, second = await connect(pooler), await connect(pooler)
    await prepare(first, a="SELECT 1")
    await prepare(second, a="SELECT 1")
    await first.send(CloseStatement("a"), Sync())
    assert await first.until_ready() == ["3", "Z I"]
    assert await row(second, "a") == "1"
    assert await second.value(PREPARED) == "SELECT 1"


# The unnamed statement


async def test_an_unnamed_statement_that_is_bound_after_its_sync_is_the_clients_own(
    pooler: Pooler, connect: Connect
) -> None:
    # Go's lib/pq and pg8000 do this. Through other poolers the second client's text is bound.
    client, other = await connect(pooler), await connect(pooler)
    await client.send(Parse("SELECT 'mine ' || $1"), DescribeStatement(), Sync())
    await client.until_ready()
    await other.send(Parse("SELECT 'somebody else''s ' || $1"), Sync())
    await other.until_ready()
    assert await row(client, "", "row") == "mine row"
    assert await row(other, "", "row") == "somebody else's row"


async def test_a_client_without_an_unnamed_statement_is_not_given_another_clients(
    pooler: Pooler, connect: Connect
) -> None:
    client, other = await connect(pooler), await connect(pooler)
    await other.send(Parse("SELECT 'somebody else''s'"), Sync())
    await other.until_ready()
    await client.send(DescribeStatement(), Sync())
    assert await client.until_ready() == [
        "E ERROR 26000 unnamed prepared statement does not exist",
        "Z I",
    ]


async def test_a_query_takes_the_unnamed_statement_away(pooler: Pooler, connect: Connect) -> None:
    client = await connect(pooler)
    await client.send(Parse("SELECT 1"), Sync())
    await client.until_ready()
    await client.query("SELECT 1")
    await client.send(run(""))
    assert (await client.until_ready())[0].startswith("E ERROR 26000 ")


async def test_a_large_unnamed_statement_works_in_one_batch(
    pooler: Pooler, connect: Connect
) -> None:
    client = await connect(pooler)
    await client.send(Parse("SELECT 1 --" + "x" * 1_000_000), run(""))
    assert await client.until_ready() == ["1", "2", "D 1", "C SELECT 1", "Z I"]


async def test_the_values_of_a_bind_stream_to_a_server_that_lacks_the_statement(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=2)
    client, other = await connect(pooler), await connect(pooler)
    await prepare(client, a="SELECT length($1::text)")
    await other.query("BEGIN")
    assert await row(client, "a", "x" * 20_000_000) == "20000000"


async def test_a_large_unnamed_statement_cannot_follow_its_client(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=2)
    client, other = await connect(pooler), await connect(pooler)
    await client.send(Parse("SELECT 1 --" + "x" * 1_000_000), Sync())
    assert await client.until_ready() == ["1", "Z I"]
    await other.query("BEGIN")
    await client.send(run(""))
    (last,) = await client.until_closed()
    assert last == "E FATAL 54000 unnamed prepared statement too large to follow its client"


async def test_a_named_statement_of_four_megabytes_follows_its_client_and_a_larger_one_is_refused(
    pooler: Pooler, connect: Connect
) -> None:
    client = await connect(pooler)
    await prepare(client, a="SELECT 1 --" + "x" * 4_000_000)
    assert await row(client, "a") == "1"
    await client.send(Parse("SELECT 1 --" + "x" * 5_000_000, "b")[: 4 * 1_048_576 + 1])
    assert (await client.until_closed())[-1].startswith("E FATAL 54000 ")


# What servers keep


async def test_a_server_keeps_as_many_as_max_prepared_statements(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, max_prepared_statements=2)
    client = await connect(pooler)
    await prepare(client, a="SELECT 1", b="SELECT 2", c="SELECT 3")
    assert await client.value(PREPARED) == "SELECT 2,SELECT 3"


async def test_what_was_not_used_for_longest_makes_room(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, max_prepared_statements=2)
    client = await connect(pooler)
    await prepare(client, a="SELECT 1", b="SELECT 2")
    await row(client, "a")
    await prepare(client, c="SELECT 3")
    assert await client.value(PREPARED) == "SELECT 1,SELECT 3"


async def test_what_made_room_is_prepared_again_when_it_is_used(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, max_prepared_statements=1)
    client = await connect(pooler)
    await prepare(client, a="SELECT 1", b="SELECT 2")
    await client.send(run("a"), run("b"), run("a"))
    rows = [line for line in await client.until_ready(3) if line[0] == "D"]
    assert rows == ["D 1", "D 2", "D 1"]
    assert await client.value(PREPARED) == "SELECT 1"


async def test_servers_know_statements_by_pgbouncers_names(
    pooler: Pooler, connect: Connect
) -> None:
    client = await connect(pooler)
    await prepare(client, mine="SELECT 1")
    assert await client.value("SELECT name FROM pg_prepared_statements") == "PGBOUNCER_1"


async def test_a_parse_that_failed_has_prepared_nothing(pooler: Pooler, connect: Connect) -> None:
    client = await connect(pooler)
    await client.send(Parse("SELEC 1", "a"), Sync())
    assert (await client.until_ready())[0].startswith("E ERROR 42601 ")
    assert await client.value(PREPARED) == "-"
    await prepare(client, a="SELECT 1")
    assert await row(client, "a") == "1"


# Everything at once


@pytest.mark.parametrize("sql", ["DEALLOCATE ALL", "DISCARD ALL"])
@pytest.mark.parametrize("is_simple", [True, False], ids=["simple", "extended"])
async def test_deallocating_all_frees_the_names_and_the_server(
    pooler: Pooler, connect: Connect, sql: str, *, is_simple: bool
) -> None:
    client = await connect(pooler)
    await prepare(client, a="SELECT 1")
    await client.send(Query(sql) if is_simple else Parse(sql) + run(""))
    assert (await client.until_ready())[-2:] == [f"C {sql}", "Z I"]
    assert await client.value(PREPARED) == "-"
    await prepare(client, a="SELECT 2")
    assert await row(client, "a") == "2"


async def test_deallocating_all_takes_nothing_from_other_clients(
    pooler: Pooler, connect: Connect
) -> None:
    client, other = await connect(pooler), await connect(pooler)
    await prepare(other, a="SELECT 1")
    await client.query("DEALLOCATE ALL")
    assert await row(other, "a") == "1"


async def test_a_statement_that_a_migration_made_stale_works_when_it_is_tried_again(
    make_pooler: MakePooler, postgres: Address, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1)
    client, migration = await connect(pooler), await connect(postgres)
    await migration.query("CREATE TABLE migrated AS SELECT 1 AS a")
    await prepare(client, all_of_it="TABLE migrated")
    assert await row(client, "all_of_it") == "1"
    await migration.query("ALTER TABLE migrated ADD COLUMN b int DEFAULT 2")
    await client.send(run("all_of_it"))
    assert await client.until_ready() == [
        "E ERROR 0A000 cached plan must not change result type",
        "Z I",
    ]
    assert await row(client, "all_of_it") == "1|2"
    await migration.query("DROP TABLE migrated")


# Bounds


async def test_a_client_may_have_10000_names_and_is_told_at_the_next(
    pooler: Pooler, connect: Connect
) -> None:
    client = await connect(pooler)
    for start in range(0, 10_000, 1000):
        await client.send(*(Parse("SELECT 1", f"s{start + n}") for n in range(1000)), Sync())
        assert await client.until_ready() == ["1"] * 1000 + ["Z I"]
    await client.send(Parse("SELECT 1", "one too many"), Sync())
    refusal, ready = await client.messages_until_ready()
    assert str(refusal) == "E ERROR 53400 too many prepared statements"
    assert "10000" in refusal.fields["D"]
    assert "Close statements" in refusal.fields["H"]
    assert str(ready) == "Z I"
    await client.send(CloseStatement("s0"), Parse("SELECT 1", "room again"), Sync())
    assert await client.until_ready() == ["3", "1", "Z I"]


async def test_a_client_that_prepares_and_closes_without_end_costs_no_more_than_its_servers_keep(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, max_prepared_statements=10)
    client = await connect(pooler)
    for start in range(0, 5000, 500):
        names = [f"s{number}" for number in range(start, start + 500)]
        await client.send(
            *(Parse(f"SELECT {name[1:]}", name) + CloseStatement(name) for name in names), Sync()
        )
        assert await client.until_ready() == ["1", "3"] * 500 + ["Z I"]
        assert len(pooler.runtime.registry.statements) == 10


async def test_the_texts_of_one_client_have_a_bound(pooler: Pooler, connect: Connect) -> None:
    client = await connect(pooler)
    for number in range(20):
        await client.send(Parse(f"SELECT {number} --" + "x" * 4_000_000, f"s{number}"), Sync())
        answer = await client.until_ready()
        if answer != ["1", "Z I"]:
            break
    assert answer == ["E ERROR 53400 too many prepared statements", "Z I"]
    assert number == 16  # sixteen times four megabytes are 64, less than 64 MiB


# Those who leave


async def test_a_client_that_leaves_between_parse_and_sync_costs_its_server_only(
    pooler: Pooler, connect: Connect
) -> None:
    client, other = await connect(pooler), await connect(pooler)
    await client.send(Parse("SELECT 'left behind'", "a"), Flush())
    assert await client.lines(1) == ["1"]
    await eventually(a_server_is_linked(pooler))
    await client.abort()
    await prepare(other, a="SELECT 'here'")
    assert await row(other, "a") == "here"
    await eventually(no_server_is_linked(pooler))


async def test_what_a_client_prepared_may_be_used_by_others_when_it_has_left(
    pooler: Pooler, connect: Connect
) -> None:
    client, other = await connect(pooler), await connect(pooler)
    await prepare(client, a="SELECT 1")
    await client.close()
    await prepare(other, b="SELECT 1")
    assert await row(other, "b") == "1"
    assert await other.value(PREPARED) == "SELECT 1"


PARSE_COMPLETE, BIND_COMPLETE = message("1"), message("2")


async def test_a_parse_that_the_server_knows_is_not_sent(
    make_pooler: MakePooler, connect: Connect
) -> None:
    async def script(session: FakeSession) -> None:
        assert [(await session.receive())[0] for _ in "PS"] == ["P", "S"]
        await session.send(PARSE_COMPLETE, ReadyForQuery())
        assert [(await session.receive())[0] for _ in "BS"] == ["B", "S"]
        await session.send(BIND_COMPLETE, ReadyForQuery())
        await session.stay_silent()

    async with FakePostgres(script) as fake:
        pooler = await make_pooler(to=fake.url, pool_size=1)
        first, second = await connect(pooler), await connect(pooler)
        await prepare(first, a="SELECT 1")
        await second.send(Parse("SELECT 1", "b"), Bind(statement="b"), Sync())
        assert await second.until_ready() == ["1", "2", "Z I"]


async def test_a_server_that_dies_with_a_swallowed_answer_pending_costs_its_client_only(
    make_pooler: MakePooler, connect: Connect
) -> None:
    may_die = asyncio.Event()

    async def die(session: FakeSession) -> None:
        # The first two statements, the second in place of the first: Close, Parse, and no answer.
        assert [(await session.receive())[0] for _ in "PS"] == ["P", "S"]
        await session.send(PARSE_COMPLETE, ReadyForQuery())
        assert [(await session.receive())[0] for _ in "CPBS"] == ["C", "P", "B", "S"]
        may_die.set()

    async with FakePostgres(die) as fake:
        pooler = await make_pooler(to=fake.url, pool_size=1, max_prepared_statements=1)
        client, other = await connect(pooler), await connect(pooler)
        await prepare(client, a="SELECT 1")
        await client.send(Parse("SELECT 2", "b"), Bind(statement="b"), Sync())
        await may_die.wait()
        assert (await client.until_closed())[-1].startswith("E FATAL 08P01 ")
        assert await other.query("SELECT") == answered_by(2)
        await eventually(no_server_is_linked(pooler))


# What is wrong with a message is said by PostgreSQL, or the client is closed


@pytest.mark.parametrize("name", ["", "a"])
async def test_a_parse_whose_type_count_overruns_it_harms_nobody(
    pooler: Pooler, connect: Connect, name: str
) -> None:
    client, other = await connect(pooler), await connect(pooler)
    short = text(name) + text("SELECT $1") + struct.pack("!hi", 5, 23)
    await client.send(message("P", short), Sync())
    if name:
        assert await client.until_closed() == ["E FATAL 08P01 broken Parse packet"]
    else:
        error = "E ERROR 08P01 insufficient data left in message"
        assert await client.until_ready() == [error, "Z I"]
    await prepare(other, a="SELECT 1")
    assert await row(other, "a") == "1"


@pytest.mark.parametrize(
    "broken",
    [
        message("P", b"no end"),
        message("P", b"name\0no end"),
        message("B", b"no end"),
        message("B", b"portal\0no end"),
        message("D", b"Sno end"),
        message("D"),
        message("C", b"Sno end"),
    ],
)
async def test_a_message_whose_names_do_not_end_ends_its_client_only(
    pooler: Pooler, connect: Connect, broken: bytes
) -> None:
    client, other = await connect(pooler), await connect(pooler)
    await prepare(client, a="SELECT 1")
    await client.send(broken, Sync())
    (last,) = await client.until_closed()
    sentence = "broken Parse packet" if b"name" in broken else "failed to parse packet"
    assert last == f"E FATAL 08P01 {sentence}"
    assert await other.query("SELECT 1") == SELECT_1


async def test_a_name_of_60_kilobytes_is_a_name(pooler: Pooler, connect: Connect) -> None:
    client = await connect(pooler)
    # PostgreSQL would take two that begin alike for one; here they stay two.
    one, two = "n" * 60_000 + "1", "n" * 60_000 + "2"
    await client.send(Parse("SELECT 1", one), Parse("SELECT 2", two), Sync())
    assert await client.until_ready() == ["1", "1", "Z I"]
    assert [await row(client, one), await row(client, two)] == ["1", "2"]


async def test_a_close_of_a_name_never_parsed_is_answered(pooler: Pooler, connect: Connect) -> None:
    client = await connect(pooler)
    await client.send(CloseStatement("never"), Sync())
    assert await client.until_ready() == ["3", "Z I"]


async def test_what_a_reset_query_discards_is_prepared_again(
    make_pooler: MakePooler, connect: Connect
) -> None:
    """Story: with server_reset_query_always a server was reset behind each transaction by DISCARD
    ALL, which drops its prepared statements. The pooler took note of that only where a client had
    sent it, so the next Bind of any statement failed: it "does not exist".
    """
    client = await connect(
        await make_pooler(
            pool_size=1, server_reset_query="DISCARD ALL", server_reset_query_always=True
        )
    )
    await client.send(Parse("SELECT 'mine'", "a"), Sync())
    await client.until_ready()

    await client.send(Bind(statement="a"), Execute(), Sync())

    assert await client.until_ready() == ["2", "D mine", "C SELECT 1", "Z I"]
