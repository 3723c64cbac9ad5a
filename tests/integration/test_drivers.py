"""asyncpg, psycopg and psql as people use them: they do not notice that a pooler is there."""

from __future__ import annotations

import asyncio
import io
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeAlias

import asyncpg
import psycopg
import pytest

from pgpool_lite.dev.binaries import Binaries
from pgpool_lite.dev.cluster import Cluster
from pgpool_lite.pooler import Pooler
from tests.conftest import MakePooler
from tests.integration.conftest import Address, Connect
from tests.integration.serving import ANYWHERE, pooler_processes
from tests.integration.watch import a_server_is_linked, linked_servers, no_server_is_linked
from tests.wire_client import WireClient, eventually

LARGE = 20_000_000
RECORDS = [(number, f"name {number}") for number in range(10_000)]
WAIT_FOR_LOCK = "SELECT pg_advisory_xact_lock(21)"

Asyncpg: TypeAlias = asyncpg.Connection
Psycopg = psycopg.AsyncConnection[tuple[object, ...]]


@pytest.fixture
async def closing() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as closing:
        yield closing


@pytest.fixture
async def by_asyncpg(pooler: Pooler, closing: AsyncExitStack) -> Asyncpg:
    connection: Asyncpg = await asyncpg.connect(pooler.dsn)
    closing.push_async_callback(connection.close)
    return connection


@pytest.fixture
async def by_psycopg(pooler: Pooler, closing: AsyncExitStack) -> Psycopg:
    connection = await psycopg.AsyncConnection.connect(pooler.dsn, autocommit=True)
    closing.push_async_callback(connection.close)
    return connection


@pytest.fixture
async def lock(postgres: Address, connect: Connect) -> AsyncIterator[WireClient]:
    """A connection to PostgreSQL itself that holds what WAIT_FOR_LOCK waits for."""
    lock = await connect(postgres)
    await lock.query("SELECT pg_advisory_lock(21)")
    yield lock
    await lock.query("SELECT pg_advisory_unlock_all()")


# --- asyncpg ---


async def test_asyncpg_queries_both_ways(by_asyncpg: Asyncpg) -> None:
    assert await by_asyncpg.execute("SELECT 1; SELECT 2") == "SELECT 1"
    assert await by_asyncpg.fetchval("SELECT $1::int + 1", 41) == 42
    assert await by_asyncpg.fetchval("SELECT $1::text[]", ["a", None]) == ["a", None]
    await by_asyncpg.executemany("SELECT $1::int", [(n,) for n in range(100)])


async def test_asyncpg_transactions(pooler: Pooler, by_asyncpg: Asyncpg) -> None:
    await by_asyncpg.execute("DROP TABLE IF EXISTS kept; CREATE TABLE kept (id int)")
    async with by_asyncpg.transaction():
        await by_asyncpg.execute("INSERT INTO kept VALUES (1)")
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with by_asyncpg.transaction():
                await by_asyncpg.execute("INSERT INTO kept VALUES (1 / 0)")
        assert linked_servers(pooler) == 1

    assert await by_asyncpg.fetch("SELECT id FROM kept") == [(1,)]
    assert linked_servers(pooler) == 0


async def test_asyncpg_copies_both_ways(pooler: Pooler, by_asyncpg: Asyncpg) -> None:
    await by_asyncpg.execute("DROP TABLE IF EXISTS copied; CREATE TABLE copied (id int, name text)")
    tag = await by_asyncpg.copy_records_to_table("copied", records=RECORDS)
    text = io.BytesIO()

    assert tag == f"COPY {len(RECORDS)}"
    assert await by_asyncpg.copy_from_query("SELECT * FROM copied ORDER BY id", output=text) == tag
    assert text.getvalue().decode() == "".join(f"{id_}\t{name}\n" for id_, name in RECORDS)
    await eventually(no_server_is_linked(pooler))


async def test_asyncpg_cancels_at_a_timeout(
    pooler: Pooler, by_asyncpg: Asyncpg, lock: WireClient
) -> None:
    with pytest.raises(TimeoutError):
        await by_asyncpg.execute(WAIT_FOR_LOCK, timeout=0.2)

    assert await by_asyncpg.fetchval("SELECT 1") == 1
    await eventually(no_server_is_linked(pooler))


async def test_asyncpg_reads_and_writes_a_large_value(by_asyncpg: Asyncpg) -> None:
    large = "x" * LARGE

    assert await by_asyncpg.fetchval("SELECT repeat('x', $1)", LARGE) == large
    assert await by_asyncpg.fetchval("SELECT length($1)", large) == LARGE


async def test_asyncpg_reads_a_cursor_in_portions(pooler: Pooler, by_asyncpg: Asyncpg) -> None:
    async with by_asyncpg.transaction():
        sql = "SELECT n FROM generate_series(1, 1000) n"
        rows = [row["n"] async for row in by_asyncpg.cursor(sql, prefetch=50)]

    assert rows == list(range(1, 1001))
    await eventually(no_server_is_linked(pooler))


async def test_asyncpg_is_notified_in_session_mode(
    make_pooler: MakePooler, closing: AsyncExitStack
) -> None:
    pooler = await make_pooler(pool_size=2, pool_mode="session")
    listener, sender = [await asyncpg.connect(pooler.dsn) for _ in range(2)]
    closing.push_async_callback(sender.close)
    closing.push_async_callback(listener.close)
    heard: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    await listener.add_listener("news", lambda *what: heard.set_result(what[2:]))
    await sender.execute("NOTIFY news, 'hello'")

    assert await heard == ("news", "hello")


async def test_asyncpg_on_the_console(pooler: Pooler, by_asyncpg: Asyncpg) -> None:
    console = await asyncpg.connect(pooler.console_dsn)

    (pool,) = [row for row in await console.fetch("SHOW POOLS") if row["database"] == "app"]
    assert (pool["user"], pool["cl_active"], pool["pool_mode"]) == ("postgres", 1, "transaction")
    assert await console.execute("PAUSE") == "PAUSE"
    assert await console.execute("RESUME") == "RESUME"
    with pytest.raises(asyncpg.PostgresError, match="invalid command"):
        await console.fetch("SELECT 1")
    await console.close()


# --- psycopg ---


async def test_psycopg_queries_both_ways(by_psycopg: Psycopg) -> None:
    cursor = await by_psycopg.execute("SELECT 1; SELECT 2")
    assert await cursor.fetchall() == [(1,)]
    assert cursor.nextset()
    assert await cursor.fetchall() == [(2,)]
    cursor = await by_psycopg.execute("SELECT %s::int + 1", (41,), prepare=True)
    assert await cursor.fetchall() == [(42,)]


async def test_psycopg_transactions(pooler: Pooler, by_psycopg: Psycopg) -> None:
    await by_psycopg.execute("DROP TABLE IF EXISTS kept; CREATE TABLE kept (id int)")
    async with by_psycopg.transaction():
        await by_psycopg.execute("INSERT INTO kept VALUES (1)")
        with pytest.raises(psycopg.errors.DivisionByZero):
            async with by_psycopg.transaction():
                await by_psycopg.execute("INSERT INTO kept VALUES (1 / 0)")
        assert linked_servers(pooler) == 1

    assert await (await by_psycopg.execute("SELECT id FROM kept")).fetchall() == [(1,)]
    assert linked_servers(pooler) == 0


async def test_psycopg_copies_both_ways(pooler: Pooler, by_psycopg: Psycopg) -> None:
    await by_psycopg.execute("DROP TABLE IF EXISTS copied; CREATE TABLE copied (id int, name text)")
    cursor = by_psycopg.cursor()
    async with cursor.copy("COPY copied FROM STDIN") as copy:
        for record in RECORDS:
            await copy.write_row(record)
    async with cursor.copy("COPY (SELECT * FROM copied ORDER BY id) TO STDOUT") as copy:
        copy.set_types(["int4", "text"])
        rows = [row async for row in copy.rows()]

    assert rows == RECORDS
    await eventually(no_server_is_linked(pooler))


async def test_psycopg_cancels(pooler: Pooler, by_psycopg: Psycopg, lock: WireClient) -> None:
    query = asyncio.create_task(by_psycopg.execute(WAIT_FOR_LOCK))
    await eventually(a_server_is_linked(pooler))
    await by_psycopg.cancel_safe()

    with pytest.raises(psycopg.errors.QueryCanceled):
        await query
    assert await (await by_psycopg.execute("SELECT 1")).fetchone() == (1,)
    await eventually(no_server_is_linked(pooler))


async def test_psycopg_reads_and_writes_a_large_value(by_psycopg: Psycopg) -> None:
    large = "x" * LARGE

    cursor = await by_psycopg.execute("SELECT repeat('x', %s), length(%s)", (LARGE, large))
    assert await cursor.fetchone() == (large, LARGE)


async def test_psycopg_reads_a_server_side_cursor(pooler: Pooler, by_psycopg: Psycopg) -> None:
    async with by_psycopg.transaction(), by_psycopg.cursor(name="portions") as cursor:
        cursor.itersize = 50
        await cursor.execute("SELECT n FROM generate_series(1, 1000) n")
        rows = [row async for row in cursor]

    assert rows == [(n,) for n in range(1, 1001)]
    await eventually(no_server_is_linked(pooler))


async def test_psycopg_is_notified_in_session_mode(
    make_pooler: MakePooler, closing: AsyncExitStack
) -> None:
    pooler = await make_pooler(pool_size=2, pool_mode="session")
    connect = psycopg.AsyncConnection.connect
    listener, sender = [await connect(pooler.dsn, autocommit=True) for _ in range(2)]
    closing.push_async_callback(sender.close)
    closing.push_async_callback(listener.close)

    await listener.execute("LISTEN news")
    await sender.execute("NOTIFY news, 'hello'")
    heard = [each async for each in listener.notifies(timeout=20, stop_after=1)]

    assert [(each.channel, each.payload) for each in heard] == [("news", "hello")]


async def test_psycopg_in_a_thread(pooler: Pooler) -> None:
    def work(dsn: str) -> object:
        with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TEMPORARY TABLE mine (id int, name text) ON COMMIT DROP")
            with cursor.copy("COPY mine FROM STDIN") as copy:
                for record in RECORDS:
                    copy.write_row(record)
            cursor.execute("SELECT count(*), %s FROM mine", ("of a thread",))
            return cursor.fetchall()

    assert await asyncio.to_thread(work, pooler.dsn) == [(len(RECORDS), "of a thread")]
    await eventually(no_server_is_linked(pooler))


async def test_psycopg_cancels_from_another_thread(
    postgres: Cluster, lock: WireClient, tmp_path: Path
) -> None:
    # In a process of its own: libpq's cancel keeps Python's lock until the pooler has answered.
    async with pooler_processes(tmp_path) as serve:
        serving = await serve("--to", postgres.dsn(dbname="app"), "--listen", ANYWHERE)
        with psycopg.connect(serving.url()) as connection:
            query = asyncio.create_task(asyncio.to_thread(connection.execute, WAIT_FOR_LOCK))
            await eventually(lambda: is_waiting_for_lock(lock))
            connection.cancel()

            with pytest.raises(psycopg.errors.QueryCanceled):
                await query
            connection.rollback()
            assert connection.execute("SELECT 1").fetchone() == (1,)


async def is_waiting_for_lock(lock: WireClient) -> bool:
    """Tell whether somebody waits for what `lock` holds."""
    sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    return await lock.value(sql) == "1"


async def test_psycopg_on_the_console(pooler: Pooler, by_psycopg: Psycopg) -> None:
    connect = psycopg.AsyncConnection.connect
    async with await connect(pooler.console_dsn, autocommit=True) as console:
        cursor = await console.execute("SHOW POOLS", prepare=True)
        assert cursor.description is not None
        names = [column.name for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]

    (pool,) = [row for row in rows if row["database"] == "app"]
    assert (pool["user"], pool["cl_active"], pool["pool_mode"]) == ("postgres", 1, "transaction")


# --- psql ---


@pytest.fixture
def psql(postgres_binaries: Binaries) -> Path:
    """The program, where the PostgreSQL that is tested with has one."""
    program = postgres_binaries.program("psql")
    if not program.exists():
        pytest.skip(f"there is no psql in {program.parent}")
    return program


async def run_psql(psql: Path, url: str, *commands: str, stdin: str = "") -> str:
    """Run psql unaligned and without headers; return what it prints, which is no error."""
    arguments = [str(psql), "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", url]
    for command in commands:
        arguments += ["-c", command]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            arguments, input=stdin, capture_output=True, text=True, check=False, timeout=20
        )

    answer = await asyncio.to_thread(run)
    assert (answer.returncode, answer.stderr) == (0, "")
    return answer.stdout


async def test_psql_queries_and_transactions(psql: Path, pooler: Pooler) -> None:
    script = "BEGIN;\nSELECT 1;\nSELECT 2 \\bind \\g\nCOMMIT;\n"
    commands = script if await has_bind(psql) else script.replace(" \\bind \\g", ";")

    assert await run_psql(psql, pooler.dsn, "SELECT 1", "SELECT 2") == "1\n2\n"
    assert await run_psql(psql, pooler.dsn, stdin=commands) == "BEGIN\n1\n2\nCOMMIT\n"


async def has_bind(psql: Path) -> bool:
    r"""Tell whether psql knows \bind, which asks by the extended protocol: since version 16."""
    return b"\\bind" in await asyncio.to_thread(
        subprocess.check_output, [str(psql), "--help=commands"]
    )


async def test_psql_copies_both_ways(psql: Path, pooler: Pooler, tmp_path: Path) -> None:
    text = "".join(f"{id_}\t{name}\n" for id_, name in RECORDS)
    (tmp_path / "in").write_text(text)
    commands = (
        "CREATE TEMPORARY TABLE mine (id int, name text) ON COMMIT DROP;",
        f"\\copy mine FROM '{tmp_path / 'in'}'",
        f"\\copy mine TO '{tmp_path / 'out'}'",
    )
    script = "\n".join(("BEGIN;", *commands, "COMMIT;"))

    await run_psql(psql, pooler.dsn, stdin=script)

    assert (tmp_path / "out").read_text() == text


async def test_psql_lists_tables(psql: Path, pooler: Pooler, by_asyncpg: Asyncpg) -> None:
    await by_asyncpg.execute("DROP TABLE IF EXISTS listed; CREATE TABLE listed (id int)")

    assert "public|listed|table|postgres\n" in await run_psql(psql, pooler.dsn, "\\dt")
    assert await run_psql(psql, pooler.dsn, "\\d listed") == "id|integer|||\n"


async def test_psql_on_the_console(psql: Path, pooler: Pooler, by_asyncpg: Asyncpg) -> None:
    pools = await run_psql(psql, pooler.console_dsn, "SHOW POOLS")

    assert [line.split("|")[:3] for line in pools.splitlines()] == [
        ["app", "postgres", "1"],
        ["pgbouncer", "pgbouncer", "1"],
    ]
    assert await run_psql(psql, pooler.console_dsn, "PAUSE", "RESUME") == "PAUSE\nRESUME\n"
