"""What a client is told about prepared statements when something is wrong, in each mode.

The FATAL errors are those of PgBouncer 1.26 to the letter, but for DETAIL and HINT, which it lacks.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pgpool_lite.config import load
from pgpool_lite.pooler import Pooler
from tests.conftest import MakePooler
from tests.integration.conftest import Address, Connect
from tests.integration.test_prepared_statements import PREPARED
from tests.integration.watch import no_server_is_linked
from tests.wire_client import SELECT_1, eventually
from tests.wire_messages import (
    Bind,
    CloseStatement,
    DescribeStatement,
    Execute,
    Parse,
    Query,
    Sync,
)

TAKEN = Parse("SELECT 1", "a") + Parse("SELECT 2", "a") + Sync()
RUN_UNNAMED = Parse("SELECT 1") + Bind() + Execute() + Sync()
RUN_UNNAMED_ANSWER = ["1", "2", "D 1", "C SELECT 1", "Z I"]

# As PgBouncer says it

REFUSALS = {
    "a name that is taken": (TAKEN, "prepared statement name is already in use"),
    "a name that is taken, by the same text": (
        Parse("SELECT 1", "a") * 2 + Sync(),
        "prepared statement name is already in use",
    ),
    "a Bind of a name never parsed": (
        Bind(statement="never") + Execute() + Sync(),
        "prepared statement did not exist",
    ),
    "a Describe of a name never parsed": (
        DescribeStatement("never") + Sync(),
        "prepared statement did not exist",
    ),
    "a Bind of a name that was closed": (
        Parse("SELECT 1", "a") + CloseStatement("a") + Bind(statement="a") + Sync(),
        "prepared statement did not exist",
    ),
    "a Bind of the name that servers know a statement by": (
        Parse("SELECT 1", "a") + Bind(statement="PGBOUNCER_1") + Sync(),
        "prepared statement did not exist",
    ),
}


@pytest.mark.parametrize(("messages", "sentence"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_by_default_a_client_is_closed_as_pgbouncer_closes_it(
    pooler: Pooler, connect: Connect, messages: bytes, sentence: str
) -> None:
    client, other = await connect(pooler), await connect(pooler)
    await client.send(messages)
    transcript = await client.until_closed()
    assert transcript[-1] == f"E FATAL 08P01 {sentence}"
    assert await other.query("SELECT 1") == SELECT_1
    await eventually(no_server_is_linked(pooler))


async def test_the_log_says_which_name_it_was(
    pooler: Pooler, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    taken, unknown = await connect(pooler), await connect(pooler)
    await taken.send(TAKEN)
    await taken.until_closed()
    await unknown.send(DescribeStatement("never"), Sync())
    await unknown.until_closed()
    assert "prepared statement 'a' was already prepared" in caplog.text
    assert "prepared statement 'never' not found" in caplog.text


async def test_what_was_answered_before_the_refusal_reaches_the_client(
    pooler: Pooler, connect: Connect
) -> None:
    client = await connect(pooler)
    await client.send(Query("BEGIN"))
    assert await client.until_ready() == ["C BEGIN", "Z T"]
    await client.send(DescribeStatement("never"), Sync())
    assert await client.until_closed() == ["E FATAL 08P01 prepared statement did not exist"]


# As PostgreSQL says it

ERRORS = {
    "a name that is taken": (
        TAKEN,
        ["1", 'E ERROR 42P05 prepared statement "a" already exists', "Z I"],
    ),
    "a Bind of a name never parsed": (
        Bind(statement="never") + Execute() + Sync(),
        ['E ERROR 26000 prepared statement "never" does not exist', "Z I"],
    ),
    "a Describe of a name never parsed": (
        DescribeStatement("never") + Sync(),
        ['E ERROR 26000 prepared statement "never" does not exist', "Z I"],
    ),
    "a Bind of the name that servers know a statement by": (
        Parse("SELECT 1", "a") + Bind(statement="PGBOUNCER_1") + Sync(),
        ["1", 'E ERROR 26000 prepared statement "PGBOUNCER_1" does not exist', "Z I"],
    ),
}


@pytest.mark.parametrize(("messages", "answer"), ERRORS.values(), ids=ERRORS.keys())
async def test_with_postgres_errors_a_client_goes_on(
    make_pooler: MakePooler, connect: Connect, messages: bytes, answer: list[str]
) -> None:
    pooler = await make_pooler(pool_size=1, prepared_statement_errors="postgres")
    client = await connect(pooler)
    await client.send(messages, RUN_UNNAMED)
    assert await client.until_ready(2) == answer + RUN_UNNAMED_ANSWER


async def test_with_postgres_errors_a_transaction_has_failed_and_may_be_rolled_back(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, prepared_statement_errors="postgres")
    client = await connect(pooler)
    await client.query("BEGIN")
    await client.send(TAKEN)
    assert (await client.until_ready())[-1] == "Z E"
    assert await client.query("ROLLBACK") == ["C ROLLBACK", "Z I"]
    await client.send(Bind(statement="a"), Execute(), Sync())
    assert await client.until_ready() == ["2", "D 1", "C SELECT 1", "Z I"]


# Refused on purpose


async def test_reject_refuses_a_named_statement_and_keeps_the_client(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, prepared_statements="reject")
    client = await connect(pooler)
    await client.send(Parse("SELECT 1", "s0") + Bind(statement="s0") + Execute() + Sync())
    refusal, ready = await client.messages_until_ready()
    assert str(refusal) == 'E ERROR 0A000 named prepared statement "s0" refused'
    assert "prepared_statements = reject" in refusal.fields["D"]
    assert "?pgbouncer=true" in refusal.fields["H"]
    assert str(ready) == "Z I"
    await client.send(RUN_UNNAMED)
    assert await client.until_ready() == RUN_UNNAMED_ANSWER


async def test_reject_fails_the_transaction_it_happens_in(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, prepared_statements="reject")
    client = await connect(pooler)
    await client.query("BEGIN")
    await client.send(Parse("SELECT 1", "s0") + Sync())
    assert (await client.until_ready())[-1] == "Z E"
    assert (await client.query("SELECT 1"))[0].startswith("E ERROR 25P02 ")
    assert await client.query("ROLLBACK") == ["C ROLLBACK", "Z I"]
    await eventually(no_server_is_linked(pooler))


async def test_reject_answers_in_order_within_a_pipeline(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, prepared_statements="reject")
    client = await connect(pooler)
    await client.send(RUN_UNNAMED, Parse("SELECT 1", "s0"), Sync(), RUN_UNNAMED)
    refused = ['E ERROR 0A000 named prepared statement "s0" refused', "Z I"]
    answer = await client.until_ready(3)
    assert answer == RUN_UNNAMED_ANSWER + refused + RUN_UNNAMED_ANSWER


# Passed on as they are


@pytest.mark.parametrize(
    ("mode", "limit"), [("pass", 200), ("", 0)], ids=["asked for", "by a limit of 0"]
)
async def test_pass_lets_two_clients_collide_as_they_would_in_production(
    make_pooler: MakePooler, connect: Connect, mode: str, limit: int
) -> None:
    pooler = await make_pooler(pool_size=1, prepared_statements=mode, max_prepared_statements=limit)
    client, other = await connect(pooler), await connect(pooler)
    await client.send(Parse("SELECT 1", "s0"), Sync())
    assert await client.until_ready() == ["1", "Z I"]
    await other.send(Parse("SELECT 2", "s0"), Sync())
    assert await other.until_ready() == [
        'E ERROR 42P05 prepared statement "s0" already exists',
        "Z I",
    ]


async def test_pass_loses_a_statement_when_the_server_changes(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=2, prepared_statements="pass")
    client, other = await connect(pooler), await connect(pooler)
    await client.send(Parse("SELECT 1", "s0"), Sync())
    await client.until_ready()
    await other.query("BEGIN")
    await client.send(Bind(statement="s0"), Execute(), Sync())
    assert await client.until_ready() == [
        'E ERROR 26000 prepared statement "s0" does not exist',
        "Z I",
    ]


async def test_an_error_that_pass_lets_through_is_explained(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, prepared_statements="pass")
    client = await connect(pooler)
    await client.send(TAKEN)
    _, error, _ = await client.messages_until_ready()
    assert error.fields["C"] == "42P05"
    assert "max_prepared_statements" in error.fields["H"]


async def test_a_new_limit_counts_at_once_for_clients_that_are_there(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, max_prepared_statements=1)
    client = await connect(pooler)
    await client.send(Parse("SELECT 1", "a"), Parse("SELECT 2", "b"), Sync())
    await client.until_ready()
    assert await client.value(PREPARED) == "SELECT 2"
    pooler.runtime.set_setting("max_prepared_statements", "2")
    await client.send(Bind(statement="a"), Sync())
    assert await client.until_ready() == ["2", "Z I"]
    assert await client.value(PREPARED) == "SELECT 2,SELECT 1"


async def test_a_limit_of_0_lets_names_pass_as_soon_as_a_client_has_come_to_an_end(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=2)
    idle, busy = await connect(pooler), await connect(pooler)
    for client in (idle, busy):
        await client.query("BEGIN")
        await client.send(Parse("SELECT 1", "a"), Sync())
        await client.until_ready()
    await idle.query("COMMIT")
    pooler.runtime.set_setting("max_prepared_statements", "0")
    unknown = ['E ERROR 26000 prepared statement "a" does not exist', "Z I"]
    await idle.send(Bind(statement="a"), Sync())
    assert await idle.until_ready() == unknown
    await busy.send(Bind(statement="a"), Sync())
    assert await busy.until_ready() == ["2", "Z T"]
    await busy.query("COMMIT")

    async def names_pass() -> bool:
        await busy.send(Bind(statement="a"), Sync())
        return await busy.until_ready() == unknown

    await eventually(names_pass)
    pooler.runtime.set_setting("max_prepared_statements", "200")
    await idle.send(Parse("SELECT 1", "a"), Bind(statement="a"), Sync())
    assert await idle.until_ready() == ["1", "2", "Z I"]


async def test_a_database_may_have_a_mode_of_its_own(
    tmp_path: Path, postgres: Address, connect: Connect
) -> None:
    ini = tmp_path / "pgbouncer.ini"
    server = f"host={postgres.host} port={postgres.port} user=postgres dbname=app"
    ini.write_text(
        "[databases]\n"
        f"app = {server}\n"
        f"strict = {server} prepared_statements=reject\n"
        f"off = {server} max_prepared_statements=0\n"
        "[pgbouncer]\nauth_type = any\nunix_socket_dir =\npool_mode = transaction\n"
    )
    async with Pooler(load(ini), host="127.0.0.1", port=0) as pooler:
        rewritten = await connect(pooler)
        strict = await connect(pooler, database="strict")
        off = await connect(pooler, database="off")
        await rewritten.send(Parse("SELECT 1", "a"), Sync())
        assert await rewritten.until_ready() == ["1", "Z I"]
        await strict.send(Parse("SELECT 1", "a"), Sync())
        assert (await strict.until_ready())[0].startswith("E ERROR 0A000 ")
        await off.send(Parse("SELECT 1", "a"), Sync())
        assert await off.until_ready() == ["1", "Z I"]
        assert await off.value("SELECT name FROM pg_prepared_statements") == "a"


# What to change

WAYS_OUT = {
    "s0": "?pgbouncer=true",
    "__asyncpg_stmt_1__": "statement_cache_size=0",
    "_pg3_0": "prepare_threshold=None",
    "S_1": "prepareThreshold=0",
    "sqlx_s_1": "statement_cache_capacity(0)",
    "lrupsc_1_0": "default_query_exec_mode",
    "stmtcache_0123abcd": "default_query_exec_mode",
    "pdo_stmt_00000001": "ATTR_EMULATE_PREPARES",
    "dbdpg_p123_1": "pg_server_prepare",
    "a1": "prepared_statements: false",
    "anything else": "Switch named prepared statements off",
}


@pytest.mark.parametrize(("name", "way_out"), WAYS_OUT.items())
@pytest.mark.parametrize("errors", ["pgbouncer", "postgres"])
async def test_an_error_says_whose_name_it_is_and_what_to_change(
    make_pooler: MakePooler, connect: Connect, errors: str, name: str, way_out: str
) -> None:
    pooler = await make_pooler(pool_size=1, prepared_statement_errors=errors)
    client = await connect(pooler)
    await client.send(DescribeStatement(name), Sync())
    error = await client.receive()
    assert f'"{name}"' in error.fields["D"]
    assert way_out in error.fields["H"]


async def test_the_detail_names_the_client_as_the_log_does(
    pooler: Pooler, connect: Connect
) -> None:
    client = await connect(pooler)
    await client.send(TAKEN)
    error = await client.receive()
    assert "(C-0x1)" in error.fields["D"]


async def test_a_driver_whose_names_say_nothing_is_recognised_by_its_application_name(
    pooler: Pooler, connect: Connect
) -> None:
    client = await connect(pooler, application_name="PostgreSQL JDBC Driver")
    await client.send(DescribeStatement("my own"), Sync())
    assert "prepareThreshold=0" in (await client.receive()).fields["H"]


async def test_deallocating_a_protocol_statement_by_sql_is_explained(
    pooler: Pooler, connect: Connect
) -> None:
    # PDO, DBD::Pg and ruby-pg do this.
    client = await connect(pooler)
    await client.send(Parse("SELECT 1", "pdo_stmt_00000001"), Sync())
    await client.until_ready()
    await client.send(Query("DEALLOCATE pdo_stmt_00000001"))
    error, _ = await client.messages_until_ready()
    assert error.fields["C"] == "26000"
    assert "Close it by the protocol's Close message" in error.fields["H"]
