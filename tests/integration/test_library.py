"""The pooler inside a program: `async with Pooler(...)`, its figures, and what is left of it."""

from __future__ import annotations

import asyncio
import os
import socket
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

import pgpool_lite
from pgpool_lite.dev.cluster import Cluster
from pgpool_lite.errors import ConfigError
from pgpool_lite.pooler import Pooler
from tests.integration.conftest import Connect
from tests.integration.watch import clients_wait
from tests.wire_client import SELECT_1, WireClient, eventually
from tests.wire_messages import Query


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


async def test_the_urls_lead_to_the_database_and_to_the_console(postgres: Cluster) -> None:
    async with pgpool_lite.Pooler(postgres.dsn(dbname="app"), pool_size=1) as pooler:
        connection = await asyncpg.connect(pooler.dsn)
        console = await asyncpg.connect(pooler.console_dsn)

        assert pooler.dsn == f"postgresql://postgres@127.0.0.1:{pooler.port}/app"
        assert await connection.fetchval("SELECT current_database()") == "app"
        assert "pgpool_lite" in await console.fetchval("SHOW VERSION")
        await console.close()
        await connection.close()


async def test_the_url_has_the_password_that_clients_need(postgres: Cluster) -> None:
    async with Pooler(postgres.dsn("alice", "app", "alice-secret")) as pooler:
        connection = await asyncpg.connect(pooler.dsn)
        assert await connection.fetchval("SELECT current_user") == "alice"
        await connection.close()


async def test_pools_count_connections_by_state(postgres: Cluster, connect: Connect) -> None:
    async with Pooler(postgres.dsn(dbname="app"), pool_size=1) as pooler:
        linked, waiting, _ = [await connect(pooler) for _ in range(3)]
        await linked.query("BEGIN")
        await waiting.send(Query("SELECT 1"))
        await eventually(clients_wait(pooler, 1))

        (pool,) = pooler.pools()
        assert (pool.database, pool.user, pool.pool_mode) == ("app", "postgres", "transaction")
        assert (pool.cl_active, pool.cl_waiting) == (2, 1)
        assert (pool.sv_active, pool.sv_idle, pool.sv_used, pool.sv_login) == (1, 0, 0, 0)
        assert pool.maxwait >= 0
        await linked.query("COMMIT")
        assert await waiting.until_ready() == SELECT_1
        (pool,) = pooler.pools()
        assert (pool.cl_active, pool.cl_waiting, pool.maxwait) == (3, 0, 0)
        assert (pool.sv_active, pool.sv_idle) == (0, 1)


async def test_stats_count_what_has_passed(postgres: Cluster, connect: Connect) -> None:
    async with Pooler(postgres.dsn(dbname="app"), pool_size=1) as pooler:
        client = await connect(pooler)
        queries = [Query(sql) for sql in ("BEGIN", "SELECT 1", "COMMIT", "SELECT 1")]
        answers = []
        for query in queries:
            await client.send(query)
            answers += await client.messages_until_ready()

        stats = pooler.stats()["app"]
        assert (stats.xact_count, stats.query_count) == (2, 4)
        assert (stats.client_login_count, stats.server_assignment_count) == (1, 2)
        assert stats.bytes_received == sum(map(len, queries))
        assert stats.bytes_sent == sum(5 + len(message.body) for message in answers)
        assert 0 < stats.query_time <= stats.xact_time


async def test_the_wait_for_a_pools_first_server_counts(
    postgres: Cluster, connect: Connect
) -> None:
    async with Pooler(postgres.dsn(dbname="app")) as pooler:
        await connect(pooler)
        waited = pooler.stats()["app"].wait_time
        await connect(pooler)

        assert 0 < waited == pooler.stats()["app"].wait_time


async def test_clients_and_servers_are_listed_with_their_links(
    postgres: Cluster, connect: Connect
) -> None:
    async with Pooler(postgres.dsn(dbname="app"), pool_size=1) as pooler:
        client = await connect(pooler, application_name="shop")
        pid = await client.value("SELECT pg_backend_pid()")
        await client.query("BEGIN")

        (shown,), (server,) = pooler.clients(), pooler.servers()
        assert (shown.database, shown.user, shown.state) == ("app", "postgres", "active")
        assert (shown.application_name, shown.addr) == ("shop", "127.0.0.1")
        assert (shown.link, server.link) == (server.id, shown.id)
        assert (server.state, server.addr, server.port) == ("active", "127.0.0.1", postgres.port)
        assert server.remote_pid == int(pid)
        await client.query("COMMIT")
        (shown,), (server,) = pooler.clients(), pooler.servers()
        assert (shown.state, shown.link, server.state, server.link) == ("idle", None, "idle", None)


async def test_times_of_clients_and_servers_are_those_of_the_clock_on_the_wall(
    postgres: Cluster, connect: Connect
) -> None:
    async with Pooler(postgres.dsn(dbname="app"), pool_size=1) as pooler:
        client = await connect(pooler)
        await client.query("SELECT 1")

        shown = [*pooler.clients(), *pooler.servers()]
        instants = [instant for each in shown for instant in (each.connect_time, each.request_time)]
        now = datetime.now(UTC)
        assert [instant for instant in instants if abs(now - instant) > timedelta(minutes=1)] == []


async def sessions(direct: WireClient) -> int:
    """Return how many sessions PostgreSQL has for clients of this test."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pooled'"
    return int(await direct.value(sql))


async def has_no_sessions(direct: WireClient) -> bool:
    return await sessions(direct) == 0


async def test_stop_leaves_no_socket_no_task_and_no_server_connection(
    postgres: Cluster, connect: Connect
) -> None:
    direct = await connect(postgres)
    descriptors, tasks = open_descriptors(), asyncio.all_tasks()

    async with Pooler(postgres.dsn(dbname="app"), pool_size=2) as pooler:
        port = pooler.port
        clients = [await WireClient.open(pooler.host, port) for _ in range(3)]
        for client in clients:
            await client.login(parameters={"application_name": "pooled"})
        await clients[0].query("BEGIN")
        await clients[1].query("BEGIN")
        await clients[2].send(Query("SELECT 1"))
        await eventually(clients_wait(pooler, 1))
        assert await sessions(direct) == 2

    for client in clients:
        assert await client.until_closed() == ["E FATAL 08P01 server shutting down"]
        await client.close()
    await eventually(lambda: open_descriptors() == descriptors)
    await eventually(lambda: asyncio.all_tasks() == tasks)
    await eventually(lambda: has_no_sessions(direct))
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_port_that_is_taken_is_a_configuration_error(postgres: Cluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        pooler = Pooler(postgres.dsn(), port=port)
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
            await pooler.start()

    async with Pooler(postgres.dsn(), port=port) as pooler:
        assert pooler.port == port


async def test_a_pooler_that_does_not_run_says_so(postgres: Cluster) -> None:
    pooler = Pooler(postgres.dsn())
    uses = (lambda: pooler.dsn, pooler.pools, pooler.stats, pooler.clients, pooler.servers)
    for use in uses:
        with pytest.raises(RuntimeError, match="not running"):
            use()
    await pooler.start()
    await pooler.stop()
    await pooler.stop()
    for use in uses:
        with pytest.raises(RuntimeError, match="not running"):
            use()


async def test_two_poolers_run_in_one_loop(postgres: Cluster, connect: Connect) -> None:
    to = postgres.dsn(dbname="app")
    async with Pooler(to, pool_size=1) as one, Pooler(to, pool_mode="session") as other:
        a, b = await connect(one), await connect(other)
        assert await a.query("SELECT 1") == await b.query("SELECT 1") == SELECT_1

        assert one.port != other.port
        assert [pool.pool_mode for pool in (*one.pools(), *other.pools())] == [
            "transaction",
            "session",
        ]
        await one.stop()
        assert await b.query("SELECT 1") == SELECT_1


async def test_shutdown_on_the_console_ends_an_embedded_pooler(
    postgres: Cluster, connect: Connect
) -> None:
    tasks = asyncio.all_tasks()
    pooler = Pooler(postgres.dsn(dbname="app"))
    await pooler.start()
    client, console = await connect(pooler), await connect(pooler, database="pgbouncer")

    await console.query("SHUTDOWN WAIT_FOR_CLIENTS")
    assert await client.query("SELECT 1") == SELECT_1
    await client.close()

    await pooler.wait_until_stopped()
    assert await console.until_closed() == []
    await eventually(lambda: asyncio.all_tasks() == tasks)
    await pooler.stop()


async def test_an_embedded_pooler_has_a_health_port_if_it_is_told_to(postgres: Cluster) -> None:
    async with Pooler(postgres.dsn(dbname="app"), health_listen="127.0.0.1:0") as pooler:
        reader, writer = await asyncio.open_connection(*pooler.runtime.health.address)
        writer.write(b"GET /readyz HTTP/1.1\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")
        writer.close()


def test_an_embedded_pooler_is_one_process() -> None:
    with pytest.raises(ConfigError, match="workers: they are processes of `pgpool-lite serve`"):
        Pooler("postgresql://h/app", workers=2)
