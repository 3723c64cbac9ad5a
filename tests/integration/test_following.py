"""Two clients on one server: what one has set goes with it, and the other never sees it."""

from __future__ import annotations

import asyncpg
import psycopg
import pytest

from pgpool_lite.pooler import Pooler
from tests.conftest import MakePooler
from tests.integration.conftest import Connect
from tests.wire_client import WireClient
from tests.wire_messages import Bind, Execute, Parse, Query, StartupMessage, Sync, Terminate

SHOW = "SHOW statement_timeout"
WORDS = """it's \\ "quoted", 100%; --"""


class Pair:
    """Two clients of a pool of one server."""

    def __init__(self, pooler: Pooler, one: WireClient, other: WireClient) -> None:
        self.pooler = pooler
        self.one = one
        self.other = other

    async def seen(self, name: str = "statement_timeout") -> tuple[str, str]:
        """What each of the two has, asked in turn."""
        mine = await self.one.value(f"SHOW {name}")
        theirs = await self.other.value(f"SHOW {name}")
        return mine, theirs


@pytest.fixture
async def pair(make_pooler: MakePooler, connect: Connect) -> Pair:
    """Two clients that have asked for nothing."""
    pooler = await make_pooler(profile="transparent", pool_size=1)
    return Pair(pooler, await connect(pooler), await connect(pooler))


async def mends(connect: Connect, pooler: Pooler) -> list[tuple[str, ...]]:
    """Return mend, rule and times of SHOW MENDS."""
    console = await connect(pooler, database="pgbouncer")
    rows = [row[2:].split("|") for row in await console.query("SHOW MENDS") if row[0] == "D"]
    return [tuple(row[2:5]) for row in rows]


# --- at login ---


@pytest.mark.parametrize(
    "wish",
    [
        {"statement_timeout": "4321"},
        {"options": "-c statement_timeout=4321"},
        {"options": "--statement_timeout=4321 -c work_mem=1MB"},
    ],
)
async def test_a_startup_parameter_is_taken_and_follows_its_client(
    make_pooler: MakePooler, connect: Connect, wish: dict[str, str]
) -> None:
    pooler = await make_pooler(profile="transparent", pool_size=1, admin_users="postgres")
    pair = Pair(pooler, await connect(pooler, **wish), await connect(pooler))

    assert await pair.seen() == await pair.seen() == ("4321ms", "0")
    assert await mends(connect, pooler) == [("start-up parameter", "", "1")]


async def test_search_path_follows_before_postgresql_18_reports_it(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(profile="transparent", pool_size=1)
    one = await connect(pooler, options='-c search_path=tenant,\\"$user\\"')
    pair = Pair(pooler, one, await connect(pooler))

    assert await pair.seen("search_path") == ('tenant,"$user"', '"$user", public')


async def test_a_value_may_hold_anything(make_pooler: MakePooler, connect: Connect) -> None:
    pooler = await make_pooler(profile="transparent", pool_size=1)
    pair = Pair(pooler, await connect(pooler, **{"app.words": WORDS}), await connect(pooler))

    assert await pair.seen("app.words") == (WORDS, "")


@pytest.mark.parametrize("wish", [{"statement_timeout": "soon"}, {"no_such_thing": "1"}])
async def test_what_postgresql_refuses_is_refused_at_the_first_query(
    make_pooler: MakePooler, connect: Connect, wish: dict[str, str]
) -> None:
    pooler = await make_pooler(profile="transparent", pool_size=1)
    client, other = await connect(pooler, **wish), await connect(pooler)

    await client.send(Query("SELECT 1"))
    error = (await client.receive()).fields

    assert error["M"] == "invalid server parameter"
    assert await other.value("SELECT 1") == "1"


@pytest.mark.parametrize(
    "wish",
    [
        {"seed": "0.5"},
        {"options": "-c transaction_read_only=on"},
        {"options": "-c Transaction_Isolation=serializable"},
        {"options": "--role=postgres"},
    ],
)
async def test_what_no_reset_takes_away_is_refused_before_it_can_cost_the_next_client_its_server(
    make_pooler: MakePooler, connect: Connect, wish: dict[str, str]
) -> None:
    pooler = await make_pooler(profile="transparent", pool_size=1)
    other = await connect(pooler)

    async with await WireClient.open(pooler.host, pooler.port) as client:
        await client.send(StartupMessage({"user": "postgres", "database": "app", **wish}))
        error = (await client.receive()).fields

    assert error["M"].startswith("unsupported startup parameter")
    assert await other.value("SELECT 1") == "1"


async def test_what_is_ignored_stays_ignored(make_pooler: MakePooler, connect: Connect) -> None:
    pooler = await make_pooler(profile="transparent", ignore_startup_parameters="statement_timeout")
    client = await connect(pooler, statement_timeout="4321")

    assert await client.value(SHOW) == "0"


async def test_without_the_setting_it_is_refused_as_ever(make_pooler: MakePooler) -> None:
    pooler = await make_pooler()

    async with await WireClient.open(pooler.host, pooler.port) as client:
        wishes = {"user": "postgres", "database": "app", "options": "-c statement_timeout=1"}
        await client.send(StartupMessage(wishes))
        error = (await client.receive()).fields

    assert error["M"] == "unsupported startup parameter in options: statement_timeout"


# --- SET ---

SETS = [
    "SET statement_timeout = 4321",
    "SET SESSION statement_timeout TO '4321ms'",
    "SELECT set_config('statement_timeout', '4321', false)",
    "SELECT set_config('statement_timeout', (4320 + 1)::text, false)",
    "BEGIN; SET statement_timeout = 4321; COMMIT",
    "SET statement_timeout = 1111; SET statement_timeout = 4321",
    "BEGIN; SET statement_timeout = 4321; SAVEPOINT a; SET statement_timeout = 9; ROLLBACK TO a;"
    " COMMIT",
]


@pytest.mark.parametrize("text", SETS)
async def test_a_set_follows_its_client_and_nobody_else(pair: Pair, text: str) -> None:
    await pair.one.query(text)

    assert await pair.seen() == await pair.seen() == ("4321ms", "0")


async def test_a_set_in_a_block_of_several_queries_follows(pair: Pair) -> None:
    for text in ("BEGIN", "SET statement_timeout = 4321", "COMMIT"):
        await pair.one.query(text)

    assert await pair.seen() == ("4321ms", "0")


UNDONE = [
    ["BEGIN", "SET statement_timeout = 4321", "ROLLBACK"],
    ["BEGIN", "SET statement_timeout = 4321", "SELECT 1/0", "COMMIT"],
    ["BEGIN", "SAVEPOINT a", "SET statement_timeout = 4321", "ROLLBACK TO a", "COMMIT"],
    ["SET statement_timeout = 'soon'"],
    ["SET statement_timeout = 4321; SELECT 1/0"],
    ["BEGIN", "SET LOCAL statement_timeout = 4321", "COMMIT"],
    ["SET statement_timeout = 4321", "RESET statement_timeout"],
    ["SET statement_timeout = 4321", "SET statement_timeout = DEFAULT"],
    ["SET statement_timeout = 4321", "RESET ALL"],
    ["SET statement_timeout = 4321", "DISCARD ALL"],
    ["SET statement_timeout = 4321; RESET ALL"],
]


@pytest.mark.parametrize("texts", UNDONE, ids=[each[-1] + str(len(each)) for each in UNDONE])
async def test_what_did_not_last_follows_nobody(pair: Pair, texts: list[str]) -> None:
    for text in texts:
        await pair.one.query(text)

    assert await pair.seen() == await pair.seen() == ("0", "0")


async def test_a_reset_that_is_rolled_back_leaves_the_value(pair: Pair) -> None:
    for text in ("SET statement_timeout = 4321", "BEGIN", "RESET statement_timeout", "ROLLBACK"):
        await pair.one.query(text)

    assert await pair.seen() == ("4321ms", "0")


@pytest.mark.parametrize("text", ["RESET statement_timeout", "RESET ALL", "DISCARD ALL"])
async def test_a_reset_gives_what_was_asked_for_at_login(
    make_pooler: MakePooler, connect: Connect, text: str
) -> None:
    pooler = await make_pooler(profile="transparent", pool_size=1)
    one = await connect(pooler, statement_timeout="4321")
    pair = Pair(pooler, one, await connect(pooler))
    await one.query("SET statement_timeout = 9999")
    assert await pair.seen() == ("9999ms", "0")

    await one.query(text)
    await one.query("SET work_mem = '1MB'")

    assert await pair.seen() == ("4321ms", "0")
    assert await pair.seen("work_mem") == ("1MB", "4MB")


async def test_a_reset_is_not_undone_by_the_query_of_ours_in_front_of_it(
    make_pooler: MakePooler, connect: Connect
) -> None:
    """Both answers come in one read: that to ours must not change what the RESET has left."""
    pooler = await make_pooler(profile="transparent", pool_size=1)
    one = await connect(pooler, statement_timeout="4321")
    pair = Pair(pooler, one, await connect(pooler))
    await one.query("SET statement_timeout = 9999")
    await pair.other.query("SELECT 1")  # so that the server is another's

    await one.query("RESET statement_timeout")

    assert await pair.seen() == ("4321ms", "0")


async def test_both_may_set_the_same_thing_in_turn(pair: Pair) -> None:
    await pair.one.query("SET statement_timeout = 1111")
    await pair.other.query("SET statement_timeout = 2222")
    await pair.one.query("SET app.tenant = 'one'")
    await pair.other.query("SET app.tenant = 'other'")

    assert await pair.seen() == ("1111ms", "2222ms")
    assert await pair.seen("app.tenant") == ("one", "other")


async def test_extended_queries_set_and_see_it(pair: Pair) -> None:
    def segment(text: str) -> bytes:
        return Parse(text) + Bind() + Execute() + Sync()

    await pair.one.send(segment("SET statement_timeout = 4321") + segment(SHOW))
    await pair.other.send(segment(SHOW))

    await pair.one.until_ready()
    assert "D 4321ms" in await pair.one.until_ready()
    assert "D 0" in await pair.other.until_ready()
    assert await pair.seen() == ("4321ms", "0")


async def test_pipelined_queries_set_reset_and_see_it(pair: Pair) -> None:
    texts = ("SET statement_timeout = 4321", SHOW, "RESET statement_timeout", SHOW)
    await pair.one.send(b"".join(Query(text) for text in texts))
    await pair.other.send(Query(SHOW))

    answers = [await pair.one.until_ready() for _ in texts]
    assert ("D 4321ms" in answers[1], "D 0" in answers[3]) == (True, True)
    assert "D 0" in await pair.other.until_ready()
    assert await pair.seen() == ("0", "0")


async def test_an_error_in_a_pipeline_takes_its_set_along(pair: Pair) -> None:
    await pair.one.send(
        Parse("SET statement_timeout = 4321") + Bind() + Execute()
        + Parse("SELECT 1/0") + Bind() + Execute() + Sync() + Query("SELECT 1")
    )  # fmt: skip
    await pair.one.until_ready()
    await pair.one.until_ready()

    assert await pair.seen() == ("0", "0")


async def test_who_leaves_takes_its_setting_along(pair: Pair, connect: Connect) -> None:
    await pair.one.query("SET statement_timeout = 4321")
    await pair.one.send(Terminate())
    third = await connect(pair.pooler)

    assert await third.value(SHOW) == await pair.other.value(SHOW) == "0"


@pytest.mark.parametrize(
    "text", ["SET app.words = 'é'", f"SET app.words = '{'x' * 5000}'", "SET seed = 0.5"]
)
async def test_what_cannot_follow_pins(
    make_pooler: MakePooler, connect: Connect, text: str
) -> None:
    pooler = await make_pooler(profile="transparent", pool_size=2, admin_users="postgres")
    one, other = await connect(pooler), await connect(pooler)
    pid = "SELECT pg_backend_pid()"
    await one.query(text)

    assert await one.value(pid) != await other.value(pid)
    assert ("pin", "PL001", "1") in await mends(connect, pooler)


async def test_mends_are_counted_by_the_rule_that_was_broken(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(profile="transparent", pool_size=1, admin_users="postgres")
    client = await connect(pooler)
    await client.query("SET statement_timeout = 4321")
    await client.query("SELECT set_config('work_mem', '1MB', false)")
    await client.query("LISTEN news")

    assert await mends(connect, pooler) == [
        ("setting", "PL001", "1"), ("setting", "PL002", "1"), ("pin", "PL011", "1"),
    ]  # fmt: skip


async def test_a_deallocate_of_what_the_protocol_prepared_is_counted(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(profile="transparent", pool_size=1, admin_users="postgres")
    client = await connect(pooler)
    await client.send(Parse("SELECT 1", name="s0") + Sync())
    await client.until_ready()

    await client.query("DEALLOCATE s0")
    await client.query("DEALLOCATE s0")  # PostgreSQL knows none

    assert await mends(connect, pooler) == [("deallocate", "", "1")]


# --- drivers ---


LEFT = {
    "temporary table": ("CREATE TEMP TABLE mine AS SELECT 1", "SELECT count(*) FROM mine", "PL006"),
    "held cursor": (
        "DECLARE mine CURSOR WITH HOLD FOR SELECT 1",
        "SELECT count(*) FROM pg_cursors WHERE name = 'mine'",
        "PL007",
    ),
    "advisory lock": (
        "SELECT pg_advisory_lock(42)",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
        "PL004",
    ),
    "channel": ("LISTEN news", "SELECT count(*) FROM pg_listening_channels()", "PL011"),
}


@pytest.mark.parametrize(("leave", "find", "rule"), LEFT.values(), ids=LEFT)
async def test_what_a_driver_leaves_pins_it_and_is_counted(
    make_pooler: MakePooler, connect: Connect, leave: str, find: str, rule: str
) -> None:
    pooler = await make_pooler(profile="transparent", pool_size=2, admin_users="postgres")
    host, port = pooler.host, pooler.port
    one = await psycopg.AsyncConnection.connect(
        f"host={host} port={port} user=postgres dbname=app", autocommit=True
    )
    other = await asyncpg.connect(host=host, port=port, user="postgres", database="app")
    try:
        await one.execute(leave)
        with pytest.raises(asyncpg.PostgresError):
            await other.execute("SELECT 1 FROM mine")
        pid = await other.fetchval("SELECT pg_backend_pid()")
        cursor = await one.execute(f"SELECT pg_backend_pid(), ({find})")
        mine, count = await cursor.fetchone() or (pid, 0)
    finally:
        await one.close()
        await other.close()

    assert (mine != pid, count) == (True, 1)
    assert await mends(connect, pooler) == [("pin", rule, "1")]


async def test_psycopg_and_asyncpg_keep_what_they_set(make_pooler: MakePooler) -> None:
    pooler = await make_pooler(profile="transparent", pool_size=1)
    host, port = pooler.host, pooler.port
    one = await psycopg.AsyncConnection.connect(
        f"host={host} port={port} user=postgres dbname=app options='-c statement_timeout=1111'",
        autocommit=True,
    )
    other = await asyncpg.connect(
        host=host, port=port, user="postgres", database="app",
        server_settings={"statement_timeout": "2222", "jit": "off"},
    )  # fmt: skip
    try:
        await one.execute("SET lock_timeout = 3333")
        await other.execute("SET lock_timeout = 4444")
        cursor = await one.execute(SHOW)
        assert await cursor.fetchone() == ("1111ms",)
        cursor = await one.execute("SHOW lock_timeout")
        assert await cursor.fetchone() == ("3333ms",)
        assert await other.fetchval(SHOW) == "2222ms"
        assert await other.fetchval("SHOW lock_timeout") == "4444ms"
        assert await other.fetchval("SHOW jit") == "off"
    finally:
        await one.close()
        await other.close()
