"""What a driver reads in DETAIL and HINT, and that `teaching = off` leaves PgBouncer's form."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pgpool_lite.dev.cluster import Cluster
from pgpool_lite.pooler import Pooler
from tests.conftest import MakePooler
from tests.integration.conftest import Address, Connect
from tests.integration.serving import Serving, pooler_processes, write_ini
from tests.integration.side_by_side import pgbouncer
from tests.wire_client import WireClient, scram_final
from tests.wire_messages import (
    Bind,
    Execute,
    Parse,
    Query,
    SASLInitialResponse,
    SASLResponse,
    StartupMessage,
    Sync,
)

SOON_S = 0.3
SELECT = Query("SELECT 1")
BARE = {"S", "V", "C", "M"}


async def refused_after_waiting(pooler: Pooler, connect: Connect) -> dict[str, str]:
    """Have a client wait in vain for the server of another, which is idle in its transaction."""
    holder = await connect(pooler, application_name="api")
    waiting = await connect(pooler, application_name="web")
    await holder.query("BEGIN")
    await waiting.send(SELECT)
    return (await waiting.receive()).fields


async def test_who_waits_in_vain_reads_who_holds_the_servers(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, query_wait_timeout=SOON_S)

    error = await refused_after_waiting(pooler, connect)

    assert (error["S"], error["C"], error["M"]) == ("FATAL", "08P01", "query_wait_timeout")
    assert "1 of 1 servers of app/postgres: 1 idle in transaction" in error["D"]
    assert "application 'api'" in error["D"]
    assert "last `BEGIN`" in error["D"]
    assert "idle_transaction_timeout" in error["H"]


async def test_the_notice_that_one_is_queued_says_behind_whom(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, query_wait_notify=SOON_S)

    notice = await refused_after_waiting(pooler, connect)

    assert notice["M"] == "No server connection available in postgres backend, client being queued"
    assert "1 idle in transaction" in notice["D"]
    assert "docs/errors.md" in notice["H"]


async def test_without_teaching_an_error_has_pgbouncers_form(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, query_wait_timeout=SOON_S, teaching=False)

    error = await refused_after_waiting(pooler, connect)

    assert error.keys() == BARE


async def test_without_teaching_a_notice_has_pgbouncers_form(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, query_wait_notify=SOON_S, teaching=False)

    notice = await refused_after_waiting(pooler, connect)

    assert notice.keys() == BARE


@pytest.mark.parametrize("limit", [200, 0], ids=["kept", "passed"])
async def test_without_teaching_errors_about_statements_pass_as_they_are(
    make_pooler: MakePooler, connect: Connect, limit: int
) -> None:
    pooler = await make_pooler(
        pool_size=1,
        teaching=False,
        prepared_statement_errors="postgres",
        max_prepared_statements=limit,
    )
    client = await connect(pooler)

    await client.send(Bind(statement="nobody") + Execute() + Sync())
    error = (await client.receive()).fields

    assert error["C"] == "26000"
    assert not error.keys() & {"D", "H"}


async def test_with_teaching_off_a_refused_statement_is_refused_all_the_same(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, teaching=False, prepared_statements="reject")
    client = await connect(pooler)

    await client.send(Parse("SELECT 1", name="mine") + Sync())
    error = (await client.receive()).fields

    assert error["M"] == 'named prepared statement "mine" refused'
    assert not error.keys() & {"D", "H"}


async def test_teaching_is_switched_on_the_console_for_clients_that_are_there(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(
        pool_size=1, query_wait_timeout=SOON_S, teaching=False, admin_users="postgres"
    )
    console = await connect(pooler, database="pgbouncer")

    assert await console.query("SET teaching = 'on'") == ["C SET teaching=on", "Z I"]

    assert "1 idle in transaction" in (await refused_after_waiting(pooler, connect))["D"]


async def test_the_console_tells_what_to_change_as_well(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(admin_users="postgres")
    console = await connect(pooler, database="pgbouncer")

    await console.send(Query("KILL_CLIENT 999999"))
    error = (await console.receive()).fields

    assert (error["S"], error["M"]) == ("ERROR", "client not found")
    assert "SHOW CLIENTS" in error["H"]


@pytest.fixture
async def guarded(tmp_path: Path, postgres: Cluster) -> AsyncIterator[Serving]:
    """A pooler that asks for passwords."""
    ini = write_ini(tmp_path, postgres, "auth_type = scram-sha-256", alice="alice-secret")
    async with pooler_processes(tmp_path) as serve:
        yield await serve(ini)


async def test_a_stranger_reads_the_same_for_a_wrong_password_as_for_no_user(
    guarded: Serving,
) -> None:
    told = [await _refusal(guarded, user) for user in ("alice", "nobody")]

    assert told[0] == told[1]
    assert told[0]["M"] == "SASL authentication failed"
    assert "auth_file" in told[0]["H"]


async def _refusal(serving: Serving, user: str) -> dict[str, str]:
    """Log in with a wrong password; return what is told in the end."""
    first = "n=,r=rOprNGfwEbeRWgbNEkqO"
    async with await WireClient.open(serving.host, serving.port) as client:
        await client.send(StartupMessage({"user": user, "database": "app"}))
        assert str(await client.receive()) == "R SASL SCRAM-SHA-256"
        await client.send(SASLInitialResponse("SCRAM-SHA-256", f"n,,{first}"))
        challenge = (await client.receive()).body[4:].decode()
        await client.send(SASLResponse(scram_final("wrong", first, challenge)[0]))
        return (await client.receive()).fields


# --- beside the real PgBouncer ---


async def test_without_teaching_an_error_has_the_fields_that_pgbouncers_has(
    pytestconfig: pytest.Config, make_pooler: MakePooler, postgres: Cluster
) -> None:
    program = pytestconfig.getoption("--pgbouncer")
    if not program:
        pytest.skip("no PgBouncer to compare with: name it with --pgbouncer PATH")
    ours = await make_pooler(teaching=False, ignore_startup_parameters="")
    async with pgbouncer(str(program), postgres) as theirs:
        said = [await _refusal_of_a_parameter(place) for place in (ours, theirs)]

    # V is the severity once more, never translated; PostgreSQL sends it, PgBouncer does not.
    assert said[0] == {**said[1], "V": said[1]["S"]}
    assert said[0]["M"] == "unsupported startup parameter: jit"


async def _refusal_of_a_parameter(to: Address) -> dict[str, str]:
    async with await WireClient.open(to.host, to.port) as client:
        await client.send(StartupMessage({"user": "ann", "database": "app", "jit": "off"}))
        return (await client.receive()).fields
