"""Each profile in front of a real PostgreSQL: it starts, and shows its effect to a client."""

from __future__ import annotations

import pytest

from pgpool_lite.config.profiles import NAMES, default_values
from pgpool_lite.pooler import Pooler
from tests.conftest import MakePooler
from tests.integration.conftest import Connect
from tests.wire_client import SELECT_1, WireClient
from tests.wire_messages import Parse, Query, StartupMessage, Sync

SOON_S = 0.3
CLASH = 'E ERROR 42P05 prepared statement "s0" already exists'


@pytest.mark.parametrize("name", NAMES)
async def test_a_profile_starts_serves_and_is_shown(
    make_pooler: MakePooler, connect: Connect, name: str
) -> None:
    own = {"default_pool_size": "20", **default_values(name)}
    pooler = await make_pooler(
        profile=name, admin_users="postgres", pool_size=int(own["default_pool_size"])
    )
    client = await connect(pooler)
    console = await connect(pooler, database="pgbouncer")

    assert await client.query("SELECT 1") == SELECT_1

    rows = [row[2:].split("|") for row in await console.query("SHOW CONFIG") if row[0] == "D"]
    shown = {row[0]: row[1] for row in rows}
    assert shown["profile"] == name
    assert {key: shown[key] for key in default_values(name)} == default_values(name)


async def refused_after_waiting(
    make_pooler: MakePooler, connect: Connect, profile: str
) -> dict[str, str]:
    """Have a client of a pool of one wait in vain."""
    pooler = await make_pooler(profile=profile, pool_size=1, query_wait_timeout=SOON_S)
    holder, waiting = await connect(pooler), await connect(pooler)
    await holder.query("BEGIN")
    await waiting.send(Query("SELECT 1"))
    return (await waiting.receive()).fields


async def test_supavisor_says_it_in_its_own_words_and_teaching_explains_it(
    make_pooler: MakePooler, connect: Connect
) -> None:
    error = await refused_after_waiting(make_pooler, connect, "supavisor")

    assert error["M"] == (
        "(ECHECKOUTTIMEOUT) unable to check out connection from the pool after 300ms in"
        " Transaction mode"
    )
    assert (error["S"], error["C"]) == ("FATAL", "XX000")
    assert "1 idle in transaction" in error["D"]


async def test_rds_proxy_says_it_in_its_own_words(
    make_pooler: MakePooler, connect: Connect
) -> None:
    error = await refused_after_waiting(make_pooler, connect, "rds-proxy")

    assert error["M"] == "Timed-out waiting to acquire database connection."


async def test_neon_says_it_as_pgbouncer_does(make_pooler: MakePooler, connect: Connect) -> None:
    error = await refused_after_waiting(make_pooler, connect, "neon")

    assert (error["M"], error["C"]) == ("query_wait_timeout", "08P01")


REFUSED = {
    "supavisor": "(EMAXCONN) max client connections reached, limit: 1",
    "rds-proxy": "The maximum number of client connections to the proxy exceeded 1.",
}


@pytest.mark.parametrize(("name", "sentence"), REFUSED.items(), ids=REFUSED)
async def test_a_full_pooler_says_so_in_its_own_words(
    make_pooler: MakePooler, connect: Connect, name: str, sentence: str
) -> None:
    pooler = await make_pooler(profile=name, max_client_conn=1)
    await connect(pooler)

    assert (await refusal(pooler, user="ann", database="app"))["M"] == sentence


async def refusal(pooler: Pooler, **parameters: str) -> dict[str, str]:
    """Begin a login; return what it is refused with."""
    async with await WireClient.open(pooler.host, pooler.port) as client:
        await client.send(StartupMessage(parameters))
        return (await client.receive()).fields


async def test_rds_proxy_names_the_parameter_that_it_refuses(make_pooler: MakePooler) -> None:
    pooler = await make_pooler(profile="rds-proxy")

    error = await refusal(pooler, user="ann", database="app", jit="off")

    assert error["M"] == (
        "Feature not supported: RDS Proxy currently doesn't support the option jit."
    )


@pytest.mark.parametrize("name", ["pgbouncer-1.20", "pgbouncer-1.21", "supavisor"])
async def test_two_clients_clash_over_a_name_as_they_would_there(
    make_pooler: MakePooler, connect: Connect, name: str
) -> None:
    pooler = await make_pooler(profile=name, pool_size=1)
    one, other = await connect(pooler), await connect(pooler)

    await one.send(Parse("SELECT 1", name="s0") + Sync())
    assert await one.until_ready() == ["1", "Z I"]
    await other.send(Parse("SELECT 2", name="s0") + Sync())

    assert await other.until_ready() == [CLASH, "Z I"]


async def test_a_limit_that_is_set_switches_the_ability_of_1_21_on(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(profile="pgbouncer-1.21", pool_size=1, max_prepared_statements=100)
    one, other = await connect(pooler), await connect(pooler)

    await one.send(Parse("SELECT 1", name="s0") + Sync())
    await other.send(Parse("SELECT 2", name="s0") + Sync())

    assert await one.until_ready() == await other.until_ready() == ["1", "Z I"]


async def test_transparent_lets_sql_deallocate_what_the_protocol_prepared(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(profile="transparent", pool_size=1)
    client = await connect(pooler)

    await client.send(Parse("SELECT 1", name="s0") + Sync())
    await client.until_ready()

    assert await client.query("DEALLOCATE s0") == ["C DEALLOCATE", "Z I"]
    await client.send(Parse("SELECT 1", name="s0") + Parse("SELECT 1", name="s0") + Sync())
    assert (await client.until_ready())[-2:] == [CLASH, "Z I"]


@pytest.mark.parametrize("name", ["transparent", "rds-proxy"])
async def test_a_client_that_leaves_state_behind_keeps_its_server(
    make_pooler: MakePooler, connect: Connect, name: str
) -> None:
    pooler = await make_pooler(profile=name, pool_size=2)
    one, other = await connect(pooler), await connect(pooler)
    await one.query("CREATE TEMP TABLE mine AS SELECT 42 AS answer")

    await other.query("BEGIN")
    found = await one.value("SELECT answer FROM mine")
    await other.query("COMMIT")

    assert found == "42"
