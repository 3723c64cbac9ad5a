"""session_leaks with two real clients on one server: the second is the victim, and is told of."""

from __future__ import annotations

import logging

import psycopg
import pytest

from pgpool_lite.pooler import Pooler
from tests.conftest import MakePooler
from tests.integration.conftest import Connect
from tests.integration.watch import a_server_is_linked, no_server_is_linked
from tests.wire_client import WireClient, eventually
from tests.wire_messages import Bind, CloseStatement, Execute, Parse, Query, Sync

SERVER = "SELECT pg_backend_pid()"
SHOWN = ["C SHOW", "Z I"]


class Scene:
    """A pool of one server, and two clients of it."""

    def __init__(self, pooler: Pooler, culprit: WireClient, victim: WireClient) -> None:
        self.pooler = pooler
        self.culprit = culprit
        self.victim = victim
        self.notices: list[str] = []

    async def leaks(self) -> list[str]:
        """Return what SHOW LEAKS has: rule, name, value, and the victim's statement."""
        return [
            "|".join((row["rule"], row["name"], row["value"], row["victim_statement"] or ""))
            for row in await show(self.pooler, "LEAKS")
        ]

    async def run(self, sql: str) -> list[str]:
        """Have the culprit run a statement; return it without its rows, notices apart."""
        answer = await self.culprit.query(sql)
        self.notices += [line for line in answer if line.startswith("N NOTICE")]
        return [line for line in answer if line[0] in "CEZ"]


async def show(pooler: Pooler, what: str) -> list[dict[str, str]]:
    """Ask the console for a table; NULL is "" here."""
    connect = psycopg.AsyncConnection.connect(pooler.console_dsn, autocommit=True)
    async with await connect as console, psycopg.AsyncClientCursor(console) as cursor:
        await cursor.execute(f"SHOW {what}".encode())
        names = [column.name for column in cursor.description or ()]
        return [
            {
                name: "" if value is None else str(value)
                for name, value in zip(names, row, strict=True)
            }
            for row in await cursor.fetchall()
        ]


@pytest.fixture
async def scene(make_pooler: MakePooler, connect: Connect) -> Scene:
    """session_leaks = warn."""
    return await make_scene(make_pooler, connect, "warn")


async def make_scene(
    make_pooler: MakePooler, connect: Connect, mode: str, size: int = 1, limit: int = 200
) -> Scene:
    pooler = await make_pooler(pool_size=size, session_leaks=mode, max_prepared_statements=limit)
    culprit = await connect(pooler, application_name="api")
    return Scene(pooler, culprit, await connect(pooler, application_name="web"))


LEFT = [
    # What is left, what finds it, what is then answered, and how SHOW LEAKS tells of it. No version
    # of PostgreSQL reports lock_timeout; what is reported follows its client and is no leak.
    ("SET lock_timeout TO 42", "SHOW lock_timeout", "D 42ms", "PL001|lock_timeout|42"),
    ("SELECT set_config('a.b', 'c', false)", "SHOW a.b", "D c", "PL002|a.b|c"),
    ("SET ROLE alice", "SELECT current_user", "D alice", "PL003|role|alice"),
    (
        "SELECT pg_advisory_lock(7)",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
        "D 1",
        "PL004|7|",
    ),
    ("CREATE TEMP TABLE basket AS SELECT 5 AS n", "TABLE basket", "D 5", "PL006|basket|"),
    ("DECLARE held CURSOR WITH HOLD FOR SELECT 6", "FETCH ALL held", "D 6", "PL007|held|"),
    ("PREPARE plan AS SELECT 8", "EXECUTE plan", "D 8", "PL009|plan|"),
    ("LISTEN news", "NOTIFY news, 'read all'", "A news read all", "PL011|news|"),
    ("LOAD 'plpgsql'", "SHOW plpgsql.check_asserts", "D on", "PL013|plpgsql|"),
]  # fmt: skip


@pytest.mark.parametrize(("left", "found", "answer", "shown"), LEFT, ids=[each[3] for each in LEFT])
async def test_the_second_client_is_the_victim(
    scene: Scene, left: str, found: str, answer: str, shown: str
) -> None:
    await scene.run(left)
    told = await scene.victim.query(found)

    assert answer in told
    assert scene.notices[0].startswith(f"N NOTICE 00000 {shown[:5]}: ")
    assert await scene.leaks() == [f"{shown}|{found}"]


@pytest.mark.parametrize(
    ("limit", "answers", "shown"),
    [
        (0, ["E ERROR 42P05"], ["PL009|plan||SELECT 2"]),
        (200, ["1", "2", "D 2", "C SELECT 1"], []),
    ],
)
async def test_a_name_that_passes_as_it_is_stays_on_the_server(
    make_pooler: MakePooler, connect: Connect, limit: int, answers: list[str], shown: list[str]
) -> None:
    scene = await make_scene(make_pooler, connect, "warn", limit=limit)

    await scene.culprit.send(prepared("SELECT 1"))
    told = await scene.culprit.until_ready()
    await scene.victim.send(prepared("SELECT 2"))
    answer = await scene.victim.until_ready()

    assert [line[:8] for line in told if line[0] == "N"] == ["N NOTICE"] * (limit == 0)
    assert [line[: len(want)] for line, want in zip(answer, answers, strict=False)] == answers
    assert await scene.leaks() == shown


async def test_a_name_that_its_client_closes_in_the_same_transaction_is_no_leak(
    make_pooler: MakePooler, connect: Connect
) -> None:
    scene = await make_scene(make_pooler, connect, "warn", limit=0)

    await scene.culprit.send(prepared("SELECT 1")[:-5] + CloseStatement("plan") + Sync())
    await scene.culprit.until_ready()
    await scene.run("BEGIN")
    await scene.run("PREPARE other AS SELECT 1")
    await scene.run("SELECT pg_advisory_lock(7)")
    await scene.run("DEALLOCATE other")
    await scene.run("SELECT pg_advisory_unlock(7)")
    await scene.run("COMMIT")

    assert (scene.notices, await scene.leaks()) == ([], [])


def prepared(sql: str) -> bytes:
    """One segment that prepares a statement under a name and runs it."""
    return Parse(sql, "plan") + Bind(statement="plan") + Execute() + Sync()


LOOKS_ALIKE = [
    "BEGIN; SET LOCAL lock_timeout TO 42; COMMIT",
    "BEGIN; SET lock_timeout TO 42; ROLLBACK",
    "SELECT set_config('a.b', 'c', true)",
    "SELECT pg_advisory_xact_lock(7)",
    "BEGIN; CREATE TEMP TABLE basket (n int) ON COMMIT DROP; COMMIT",
    "BEGIN; DECLARE held CURSOR FOR SELECT 6; FETCH ALL held; COMMIT",
    "SET application_name = 'follows its client'",
    "SET lock_timeout TO 42; RESET lock_timeout",
    "NOTIFY news",
]


@pytest.mark.parametrize("text", LOOKS_ALIKE)
async def test_what_looks_alike_is_no_leak(scene: Scene, text: str) -> None:
    await scene.run(text)

    assert (scene.notices, await scene.leaks()) == ([], [])


async def test_show_leaks_names_both_clients_and_their_statements(scene: Scene) -> None:
    await scene.run("SET lock_timeout TO 42 /*route='%2Forders',controller='orders'*/")
    await scene.victim.query("SELECT 1 /*route='%2Fstock'*/")

    [row] = await show(scene.pooler, "LEAKS")
    assert (row["application_name"], row["tags"]) == ("api", "route=/orders controller=orders")
    assert row["statement"].startswith("SET lock_timeout TO 42 ")
    assert (row["victim_application_name"], row["victim_tags"]) == ("web", "route=/stock")
    [totals] = await show(scene.pooler, "LEAK_TOTALS")
    assert (totals["leaks"], totals["victims"], totals["dropped"]) == ("1", "1", "0")


async def test_a_block_tells_at_its_commit_through_psycopg(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "pgpool_lite")
    told: list[str | None] = []
    async with await psycopg.AsyncConnection.connect(scene.pooler.dsn) as client:
        client.add_notice_handler(lambda notice: told.append(notice.message_primary))
        await client.execute("SELECT set_config('statement_timeout', %s, false)", ("9s",))
        assert told == []
        await client.commit()

    expected = "PL002: statement_timeout = $1 stays on a server connection that is shared"
    assert told == [expected]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


# --- error ---


async def test_what_is_refused_does_not_harm_the_transaction(
    make_pooler: MakePooler, connect: Connect
) -> None:
    scene = await make_scene(make_pooler, connect, "error")
    refused = (
        "E ERROR 0A000 PL001: lock_timeout = 42 refused: it would stay on a server connection that"
        " is shared"
    )

    await scene.run("BEGIN")
    assert await scene.run("SET lock_timeout TO 42") == [refused, "Z T"]
    await scene.culprit.send(Parse("SET lock_timeout TO 42"), Bind(), Execute(), Sync())
    assert await scene.culprit.until_ready() == [refused, "Z T"]
    assert await scene.run("SELECT 1") == ["C SELECT 1", "Z T"]
    assert await scene.run("COMMIT") == ["C COMMIT", "Z I"]
    assert await scene.victim.value("SHOW lock_timeout") == "0"


async def test_in_a_pipeline_it_is_refused_in_its_place(
    make_pooler: MakePooler, connect: Connect
) -> None:
    scene = await make_scene(make_pooler, connect, "error")
    refused = (
        "E ERROR 0A000 PL011: channel c refused: it would stay on a server connection that is"
        " shared"
    )

    begin, listen = Parse("BEGIN"), Parse("LISTEN c")
    await scene.culprit.send(begin, Bind(), Execute(), listen, Bind(), Execute(), Sync())
    assert await scene.culprit.until_ready() == ["1", "2", "C BEGIN", refused, "Z E"]
    await scene.culprit.send(Query("ROLLBACK"), Query("LISTEN c"), Query("SELECT 1"))
    assert await scene.culprit.until_ready(times=3) == [
        *("C ROLLBACK", "Z I"),
        *(refused, "Z I"),
        *("T ?column?", "D 1", "C SELECT 1", "Z I"),
    ]


# --- pin ---


async def test_a_pinned_client_keeps_its_server_until_it_disconnects(
    make_pooler: MakePooler, connect: Connect
) -> None:
    scene = await make_scene(make_pooler, connect, "pin", size=2)

    server = await scene.culprit.value(SERVER)
    await scene.run("CREATE TEMP TABLE basket (n int)")
    assert await scene.victim.value(SERVER) != server
    assert await scene.run("INSERT INTO basket VALUES (1)") == ["C INSERT 0 1", "Z I"]
    [pin] = await show(scene.pooler, "PINS")
    assert (pin["server_pid"], pin["leak"]) == (server, "temporary table basket")
    assert [row["pinned"] for row in await show(scene.pooler, "LINKS")] == ["1"]
    await eventually(a_server_is_linked(scene.pooler))
    await scene.culprit.close()
    await eventually(no_server_is_linked(scene.pooler))
    assert await show(scene.pooler, "PINS") == []


# --- reset ---


@pytest.mark.parametrize(("left", "found"), [LEFT[number][:2] for number in (0, 2, 3, 4, 5, 6)])
async def test_nobody_finds_what_was_left_and_nothing_else_is_lost(
    make_pooler: MakePooler, connect: Connect, left: str, found: str
) -> None:
    scene = await make_scene(make_pooler, connect, "reset")
    server = await scene.culprit.value(SERVER)
    clean = [line for line in await scene.victim.query(found) if line[0] != "N"]

    await scene.run(left)

    assert await scene.victim.query(found) == clean
    assert await scene.victim.value(SERVER) == server
    assert await scene.leaks() == []
    [totals] = await show(scene.pooler, "LEAK_TOTALS")
    assert totals["resets"] == "1"
    assert int(totals["reset_us"]) > 0


# --- a RELOAD ---


async def test_connected_clients_follow_a_change_of_the_setting(
    make_pooler: MakePooler, connect: Connect
) -> None:
    scene = await make_scene(make_pooler, connect, "off")
    runtime = scene.pooler.runtime
    await scene.run("SET lock_timeout TO 1")
    assert await scene.leaks() == []

    runtime.set_setting("session_leaks", "warn")
    await scene.run("SET lock_timeout TO 2")
    assert await scene.victim.query("SHOW lock_timeout") == ["T lock_timeout", "D 2ms", *SHOWN]
    assert await scene.leaks() == ["PL001|lock_timeout|2|SHOW lock_timeout"]

    runtime.set_setting("session_leaks", "error")
    [refused, _] = await scene.run("SET lock_timeout TO 3")
    assert refused.startswith("E ERROR 0A000 PL001")

    runtime.set_setting("session_leaks", "off")
    assert await scene.run("SET lock_timeout TO 4") == ["C SET", "Z I"]
    assert (len(scene.notices), await scene.leaks()) == (1, [])


async def test_a_client_in_a_transaction_follows_behind_it(
    make_pooler: MakePooler, connect: Connect
) -> None:
    scene = await make_scene(make_pooler, connect, "error")
    await scene.run("BEGIN")

    scene.pooler.runtime.set_setting("session_leaks", "off")
    [refused, _] = await scene.run("SET lock_timeout TO 3")
    assert refused.startswith("E ERROR 0A000 PL001")
    assert await scene.run("COMMIT") == ["C COMMIT", "Z I"]

    async def follows() -> bool:
        return await scene.run("SET lock_timeout TO 4") == ["C SET", "Z I"]

    await eventually(follows)


# --- advisory locks ---


async def test_an_unlock_on_another_server_names_both_sides(
    make_pooler: MakePooler, connect: Connect
) -> None:
    scene = await make_scene(make_pooler, connect, "warn", size=2)
    locked = await scene.culprit.value(SERVER)
    await scene.run("SELECT pg_advisory_lock(42)")
    await scene.victim.query("BEGIN")
    assert await scene.victim.value(SERVER) == locked

    await scene.culprit.send(Query("SELECT pg_advisory_unlock(42)"))
    [notice] = [
        each.fields
        for each in await scene.culprit.messages_until_ready()
        if each.type == "N" and "arrived" in each.fields.get("D", "")
    ]

    other = [pid for pid in await server_pids(scene.pooler) if pid != locked]
    assert f"(PostgreSQL pid {other[0]})" in notice["D"]
    assert f"(PostgreSQL pid {locked}), taken by client" in notice["D"]
    assert "use the direct URL" in notice["H"]


async def server_pids(pooler: Pooler) -> list[str]:
    return [row["remote_pid"] for row in await show(pooler, "SERVERS")]


# --- verify ---


HIDDEN = [
    ("PERFORM set_config(''lock_timeout'', ''42'', false)", "PL001|lock_timeout|42"),
    ("PERFORM pg_advisory_lock(7)", "PL004|7|"),
    ("CREATE TEMP TABLE basket (n int)", "PL006|basket|"),
    ("EXECUTE ''LISTEN news''", "PL011|news|"),
]


async def test_what_the_pooler_prepares_is_nobodys_leak(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, session_leaks="warn", session_leaks_verify=True)
    culprit = await connect(pooler)
    scene = Scene(pooler, culprit, await connect(pooler))

    await culprit.send(prepared("SELECT 1"))
    await culprit.until_ready()
    await scene.victim.query("SELECT 1")

    assert await scene.leaks() == []


@pytest.mark.parametrize(("hidden", "shown"), HIDDEN, ids=[shown for _, shown in HIDDEN])
async def test_what_a_function_hides_is_found_by_asking_the_server(
    make_pooler: MakePooler, connect: Connect, hidden: str, shown: str
) -> None:
    pooler = await make_pooler(pool_size=1, session_leaks="warn", session_leaks_verify=True)
    culprit = await connect(pooler)
    scene = Scene(pooler, culprit, await connect(pooler))

    await scene.run(f"DO 'BEGIN {hidden}; END'")
    await scene.victim.query("SELECT 1")  # served once the server has been asked

    assert [leak[: len(shown)] for leak in await scene.leaks()] == [shown]
