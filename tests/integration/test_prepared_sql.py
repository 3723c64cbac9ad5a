"""DEALLOCATE, PREPARE and EXECUTE in SQL, with sql_prepared_statements = track and without."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.config import load
from pgpool_lite.pooler import Pooler
from pgpool_lite.session.states import ServerState
from tests.conftest import MakePooler
from tests.integration.conftest import Address, Connect
from tests.integration.differential import (
    SERVERS,
    SYNC,
    Kind,
    Step,
    TwoConversations,
    deallocate,
    parse,
)
from tests.integration.test_prepared_differential import (
    BINDS,
    CLOSES,
    DESCRIBES,
    ENDS,
    FORGETTING,
    OTHERS,
    PARSES,
    PORTAL_STEPS,
    QUERIES,
    RARE,
    USUAL,
    tried,
)
from tests.integration.test_prepared_statements import PREPARED, prepare, row, run
from tests.wire_client import SELECT_1
from tests.wire_messages import Bind, Execute, Parse, Query, Sync

DEALLOCATED = ["C DEALLOCATE", "Z I"]


@pytest.fixture
async def tracking(make_pooler: MakePooler) -> Pooler:
    """A pooler with one server that looks for DEALLOCATE in SQL."""
    return await make_pooler(pool_size=1, sql_prepared_statements="track")


def unknown(name: str) -> str:
    return f'E ERROR 26000 prepared statement "{name}" does not exist'


# DEALLOCATE as PDO, DBD::Pg and ruby-pg send it


@pytest.mark.parametrize(
    "sql",
    [
        "DEALLOCATE mine",
        "deallocate PREPARE Mine ;",
        'DEALLOCATE "mine"',
        "/* of the ORM */ DEALLOCATE mine -- done",
    ],
)
async def test_a_statement_of_the_protocol_is_deallocated_by_sql(
    tracking: Pooler, connect: Connect, sql: str
) -> None:
    client = await connect(tracking)
    await prepare(client, mine="SELECT 1")
    assert await client.query(sql) == DEALLOCATED
    await prepare(client, mine="SELECT 2")
    assert await row(client, "mine") == "2"


async def test_a_name_in_quotes_keeps_its_case(tracking: Pooler, connect: Connect) -> None:
    client = await connect(tracking)
    await client.send(Parse("SELECT 1", 'My "own"'), Sync())
    await client.until_ready()
    assert await client.query('DEALLOCATE My "own"') == [
        'E ERROR 42601 syntax error at or near ""own""',
        "Z I",
    ]
    assert await client.query('DEALLOCATE "My ""own"""') == DEALLOCATED
    assert await client.query('DEALLOCATE "My ""own"""') == [unknown('My "own"'), "Z I"]


async def test_it_works_on_a_server_that_lacks_the_statement(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=2, sql_prepared_statements="track")
    client, other = await connect(pooler), await connect(pooler)
    await prepare(client, mine="SELECT 1")
    await other.query("BEGIN")  # keeps the server that was just released
    assert await client.query("DEALLOCATE mine") == DEALLOCATED
    assert await client.value(PREPARED) == "-"


async def test_what_one_client_deallocates_another_still_has(
    tracking: Pooler, connect: Connect
) -> None:
    client, other = await connect(tracking), await connect(tracking)
    await prepare(client, mine="SELECT 1")
    await prepare(other, mine="SELECT 1")
    assert await client.query("DEALLOCATE mine") == DEALLOCATED
    assert await row(other, "mine") == "1"
    assert await other.value(PREPARED) == "SELECT 1"


async def test_in_a_transaction_its_status_is_told_and_the_transaction_goes_on(
    tracking: Pooler, connect: Connect
) -> None:
    client = await connect(tracking)
    await prepare(client, mine="SELECT 1")
    await client.query("BEGIN")
    assert await client.query("DEALLOCATE mine") == ["C DEALLOCATE", "Z T"]
    assert (await client.query("SELECT 1"))[-1] == "Z T"
    assert await client.query("COMMIT") == ["C COMMIT", "Z I"]


@pytest.mark.parametrize("is_awaited", [True, False], ids=["awaited", "in a pipeline"])
async def test_in_a_failed_transaction_it_fails_as_any_other_and_the_statement_stays(
    tracking: Pooler, connect: Connect, *, is_awaited: bool
) -> None:
    client = await connect(tracking)
    await prepare(client, mine="SELECT 1")
    failed = [
        "C BEGIN",
        "Z T",
        'E ERROR 42703 column "oops" does not exist',
        "Z E",
        "E ERROR 25P02 current transaction is aborted, commands ignored until end of"
        " transaction block",
        "Z E",
    ]
    messages = [Query("BEGIN"), Query("SELECT oops"), Query("DEALLOCATE mine")]
    if is_awaited:
        answer = []
        for message in messages:
            await client.send(message)
            answer += await client.until_ready()
    else:
        await client.send(*messages)
        answer = await client.until_ready(3)
    assert answer == failed
    await client.query("ROLLBACK")
    assert await row(client, "mine") == "1"
    assert await client.query("DEALLOCATE mine") == DEALLOCATED


async def test_a_name_that_does_not_exist_is_postgresqls_error(
    tracking: Pooler, connect: Connect
) -> None:
    client, other = await connect(tracking), await connect(tracking)
    await prepare(other, never="SELECT 1")
    assert await client.query("DEALLOCATE never") == [unknown("never"), "Z I"]


async def test_the_names_that_servers_use_are_out_of_reach(
    tracking: Pooler, connect: Connect
) -> None:
    client = await connect(tracking)
    await prepare(client, mine="SELECT 1")
    refused = 'E ERROR 0A000 DEALLOCATE of "PGBOUNCER_1" refused'
    assert await client.query('DEALLOCATE "PGBOUNCER_1"') == [refused, "Z I"]
    await client.send(Parse('DEALLOCATE "PGBOUNCER_1"'), run(""))
    assert await client.until_ready() == ["1", "2", refused, "Z I"]
    assert await client.value(PREPARED) == "SELECT 1"


async def test_through_the_extended_protocol_it_takes_effect_when_it_is_executed(
    tracking: Pooler, connect: Connect
) -> None:
    client = await connect(tracking)
    await prepare(client, mine="SELECT 1", free="DEALLOCATE mine")
    assert await row(client, "mine") == "1"
    await client.send(run("free"), run("free"))
    assert await client.until_ready(2) == ["2", *DEALLOCATED, "2", unknown("mine"), "Z I"]


async def test_a_pipeline_is_answered_in_order(tracking: Pooler, connect: Connect) -> None:
    client = await connect(tracking)
    await client.send(
        Parse("SELECT 1", "mine") + run("mine"),
        Query("DEALLOCATE mine"),
        Query("DEALLOCATE mine"),
        Parse("SELECT 2", "mine") + run("mine"),
        Parse("DEALLOCATE mine") + run(""),
        Query("SELECT 1"),
    )
    assert await client.until_ready(6) == [
        *("1", "2", "D 1", "C SELECT 1", "Z I"),
        *DEALLOCATED,
        *(unknown("mine"), "Z I"),
        *("1", "2", "D 2", "C SELECT 1", "Z I"),
        *("1", "2", *DEALLOCATED),
        *SELECT_1,
    ]


async def test_what_a_failed_pipeline_leaves_on_the_server_is_closed_in_time(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(
        pool_size=1, sql_prepared_statements="track", max_prepared_statements=2
    )
    client = await connect(pooler)
    for name in ("a", "b", "c"):
        await prepare(client, **{name: "SELECT 1"})
        await client.send(Query("BEGIN"), Query("SELECT oops"), Query(f"DEALLOCATE {name}"))
        await client.until_ready(3)
        await client.query("ROLLBACK")
    await prepare(client, x="SELECT 1", y="SELECT 2")
    assert await client.value(PREPARED) == "SELECT 1,SELECT 2"


async def test_what_fails_again_and_again_leaves_nothing_in_the_servers_book(
    tracking: Pooler, connect: Connect
) -> None:
    client = await connect(tracking)
    await prepare(client, mine="SELECT 1")
    for _ in range(10):
        await client.send(Query("BEGIN"), Query("SELECT oops"), Query("DEALLOCATE mine"))
        await client.until_ready(3)
        await client.query("ROLLBACK")
    (pool,) = tracking.runtime.registry.pools.values()
    (server,) = pool.servers[ServerState.IDLE]
    assert [each.text for each in server.statements.held] == ["SELECT 1"]
    assert await client.value(PREPARED) == "SELECT 1"


async def test_a_failed_transaction_may_be_left_and_the_statement_freed_in_one_segment(
    tracking: Pooler, connect: Connect
) -> None:
    client = await connect(tracking)
    await prepare(client, mine="SELECT 1")
    await client.send(Query("BEGIN"), Query("SELECT oops"))
    await client.until_ready(2)
    steps = (Parse(sql) + Bind() + Execute() for sql in ("ROLLBACK", "DEALLOCATE mine"))
    await client.send(*steps, Sync())
    assert await client.until_ready() == ["1", "2", "C ROLLBACK", "1", "2", *DEALLOCATED]


async def test_a_deallocate_among_other_statements_passes_as_it_is(
    tracking: Pooler, connect: Connect
) -> None:
    client = await connect(tracking)
    await prepare(client, mine="SELECT 1")
    await client.send(Query("SELECT 1; DEALLOCATE mine"))
    *_, error, _ = await client.messages_until_ready()
    assert error.fields["C"] == "26000"
    assert "Close it by the protocol's Close message" in error.fields["H"]
    assert await row(client, "mine") == "1"


@pytest.mark.parametrize("size", [2000, 100_000])
async def test_a_deallocate_with_much_behind_it_passes_as_it_is(
    tracking: Pooler, connect: Connect, size: int
) -> None:
    client = await connect(tracking)
    await prepare(client, mine="SELECT 1")
    sql = "DEALLOCATE mine --" + "x" * size
    assert await client.query(sql) == [unknown("mine"), "Z I"]
    await client.send(Parse(sql), run(""))
    assert await client.until_ready() == ["1", "2", unknown("mine"), "Z I"]
    assert await row(client, "mine") == "1"


async def test_psycopg_may_evict_its_statements_by_deallocate(
    make_pooler: MakePooler, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With a libpq from before version 17 it has no other way.
    monkeypatch.setattr("psycopg._connection_base._HAS_SEND_CLOSE", False)
    pooler = await make_pooler(pool_size=3, sql_prepared_statements="track")
    connections = [
        await psycopg.AsyncConnection.connect(pooler.dsn, prepare_threshold=0) for _ in range(10)
    ]
    for connection in connections:
        connection.prepared_max = 3
    for number in range(20):
        for connection in connections:
            async with connection.transaction():
                cursor = await connection.execute(f"SELECT {number}, %s::int", (number,))
                assert await cursor.fetchone() == (number, number)
    for connection in connections:
        await connection.close()


# PREPARE and EXECUTE


@pytest.mark.parametrize("sql", ["PREPARE a AS SELECT 1", "execute a", "/**/EXECUTE a (1)"])
@pytest.mark.parametrize("size", [0, 100_000])
async def test_prepare_and_execute_are_refused_with_a_way_out(
    tracking: Pooler, connect: Connect, sql: str, size: int
) -> None:
    client = await connect(tracking)
    word = "PREPARE" if "PREPARE" in sql else "EXECUTE"
    sql += " --" + "x" * size
    for messages in (Query(sql), Parse(sql) + run("")):
        await client.send(messages)
        refusal, ready = await client.messages_until_ready()
        assert str(refusal) == f"E ERROR 0A000 SQL-level {word} refused"
        assert "sql_prepared_statements = pass" in refusal.fields["H"]
        assert str(ready) == "Z I"
    assert await client.value(PREPARED) == "-"


async def test_a_prepared_transaction_is_another_matter(
    tracking: Pooler, postgres: Address, connect: Connect
) -> None:
    client, direct = await connect(tracking), await connect(postgres)
    sql = "PREPARE TRANSACTION 'a'"
    assert await client.query(sql) == await direct.query(sql)


async def test_without_tracking_sql_passes_as_it_is(pooler: Pooler, connect: Connect) -> None:
    client = await connect(pooler)
    await client.query("BEGIN")
    assert await client.query("PREPARE a AS SELECT 1") == ["C PREPARE", "Z T"]
    assert await client.query("EXECUTE a") == [*SELECT_1[:-1], "Z T"]
    assert await client.query("DEALLOCATE a") == ["C DEALLOCATE", "Z T"]


async def test_a_database_may_track_while_others_pass(
    tmp_path: Path, postgres: Address, connect: Connect
) -> None:
    ini = tmp_path / "pgbouncer.ini"
    server = f"host={postgres.host} port={postgres.port} user=postgres dbname=app"
    ini.write_text(
        f"[databases]\napp = {server}\ntracking = {server} sql_prepared_statements=track\n"
        "[pgbouncer]\nauth_type = any\nunix_socket_dir =\npool_mode = transaction\n"
    )
    async with Pooler(load(ini), host="127.0.0.1", port=0) as pooler:
        passing, tracking = await connect(pooler), await connect(pooler, database="tracking")
        for client in (passing, tracking):
            await prepare(client, mine="SELECT 1")
        assert (await passing.query("DEALLOCATE mine"))[0] == unknown("mine")
        assert await tracking.query("DEALLOCATE mine") == DEALLOCATED


# As PostgreSQL answers it

DEALLOCATES = [
    *(deallocate(name) for name in ("a", "b")),
    *(parse(f"DEALLOCATE {of}", name) for of in ("a", "b") for name in ("", "a", "c")),
]
ONE_BY_ONE = (
    ENDS,
    ENDS,
    DEALLOCATES,
    DEALLOCATES,
    PARSES,
    BINDS,
    BINDS,
    PORTAL_STEPS,
    PORTAL_STEPS,
    DESCRIBES,
    CLOSES,
    QUERIES,
    OTHERS,
    RARE,
)
step = st.one_of(
    *(st.sampled_from(steps).map(lambda each: [each]) for steps in ONE_BY_ONE),
    st.sampled_from(USUAL),
    st.sampled_from(FORGETTING),
)
cases = st.lists(step, min_size=5, max_size=30).map(lambda parts: sum(parts, list[Step]()))


@pytest.fixture
async def conversations(
    make_pooler: MakePooler, postgres: Address, connect: Connect
) -> TwoConversations:
    """Two conversations, one through a pooler that tracks and changes servers."""

    async def make() -> Pooler:
        return await make_pooler(
            pool_size=SERVERS,
            server_round_robin=1,
            max_prepared_statements=4,
            prepared_statement_errors="postgres",
            sql_prepared_statements="track",
        )

    return TwoConversations(make, postgres, connect)


@tried(150)
@given(steps=cases)
async def test_random_segments_with_deallocate_are_answered_as_postgresql_answers_them(
    conversations: TwoConversations, steps: list[Step]
) -> None:
    await conversations.hold(ending_all_segments(steps))


def ending_all_segments(steps: list[Step]) -> list[Step]:
    """Return the steps with a Sync before each Query that would stand in an open segment."""
    ended: list[Step] = []
    is_open = False
    for each in steps:
        if each.kind is Kind.END and each is not SYNC and is_open:
            ended.append(SYNC)
        if each.kind in (Kind.END, Kind.WAIT):
            is_open = False
        elif each.kind is Kind.EXTENDED:
            is_open = True
        ended.append(each)
    return ended
