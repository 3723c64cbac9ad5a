"""Replication through the pooler: a walsender of its own for each client that asks for one."""

from __future__ import annotations

import psycopg

from pgpool_lite.dev.cluster import Cluster
from tests.conftest import MakePooler
from tests.integration.conftest import Connect, OpenClient
from tests.wire_client import SELECT_1, eventually
from tests.wire_messages import CopyDone, Query, StartupMessage

FORBIDDEN = "cannot execute SQL commands in WAL sender for physical replication"


async def test_a_replication_client_has_a_server_of_its_own_as_it_wants_it(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=2)
    usual = await connect(pooler)

    client = await connect(
        pooler, replication="database", options="-c enable_seqscan=off", application_name="walker"
    )

    assert client.parameters["application_name"] == "walker"
    assert client.parameters["pgbouncer.pool_mode"] == "session"
    assert await client.value("SHOW enable_seqscan") == "off"
    assert await usual.value("SHOW enable_seqscan") == "on"
    shown = [server.replication for server in pooler.servers()]
    assert sorted(shown) == ["logical", "none"]
    await client.close()
    await eventually(lambda: [each.replication for each in pooler.servers()] == ["none"])


async def test_the_log_of_a_server_streams_until_the_client_ends_it(
    make_pooler: MakePooler, connect: Connect, postgres: Cluster
) -> None:
    pooler = await make_pooler(pool_size=1)
    client = await connect(pooler, replication="yes")
    identity = await client.query("IDENTIFY_SYSTEM")
    position = identity[1].split("|")[2]
    assert FORBIDDEN in (await client.query("SELECT 1"))[0]

    await client.send(Query(f"START_REPLICATION PHYSICAL {position}"))
    assert (await client.receive()).type == "W"
    async with await psycopg.AsyncConnection.connect(postgres.dsn()) as writer:
        await writer.execute("SELECT pg_switch_wal()")  # something to stream, at once
    assert (await client.receive()).type == "d"
    await client.send(CopyDone())

    assert (await client.until_ready())[-1] == "Z I"
    assert (await client.query("IDENTIFY_SYSTEM"))[-1] == "Z I"


async def test_it_counts_against_pool_size_and_an_idle_server_gives_way(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1)
    usual = await connect(pooler)
    assert await usual.query("SELECT 1") == SELECT_1

    replicating = await connect(pooler, replication="database")

    assert [server.replication for server in pooler.servers()] == ["logical"]
    await usual.send(Query("SELECT 1"))
    await replicating.close()
    assert await usual.until_ready() == SELECT_1


async def test_who_may_not_replicate_is_told_so_and_others_come_in(
    make_pooler: MakePooler, postgres: Cluster, open_client: OpenClient, connect: Connect
) -> None:
    to = f"postgresql://alice:alice-secret@{postgres.host}:{postgres.port}/app"
    pooler = await make_pooler(to)
    client = await open_client(pooler)
    wish = {"user": "alice", "database": "app", "replication": "yes"}

    await client.send(StartupMessage(wish))
    await client.prove("alice-secret")

    assert (await client.until_closed())[-1].startswith("E FATAL 08P01 login failed")
    usual = await connect(pooler, "alice", password="alice-secret")
    assert await usual.query("SELECT 1") == SELECT_1
