"""Reaching servers: names, lists of hosts, every kind of address, and the options of sockets."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pgpool_lite.config import Config, Settings, config_for_url
from pgpool_lite.config.values import LoadBalanceHosts
from pgpool_lite.dev.cluster import Cluster
from pgpool_lite.pooler import Pooler
from pgpool_lite.proxy.dialing import dial
from pgpool_lite.session.endpoint import Endpoint
from tests.integration.conftest import Connect, OpenClient
from tests.integration.watch import a_server_is_linked
from tests.wire_client import SELECT_1, eventually
from tests.wire_messages import Query

# An address of this machine where no server listens.
DEAF = "127.0.0.9"
BACKEND_PID = "SELECT pg_backend_pid()"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, logger="pgpool_lite"):
        yield caplog


def database(
    postgres: Cluster, host: str, balance: LoadBalanceHosts = LoadBalanceHosts.ROUND_ROBIN
) -> Config:
    """Return a configuration whose database app has this list of hosts."""
    config = config_for_url(
        postgres.dsn(dbname="app"),
        admin_users="postgres",
        unix_socket_dir="",
        listen_addr="127.0.0.1",
        listen_port=0,
        pool_mode="transaction",
        server_login_retry=0.1,
    )
    app = replace(config.databases["app"], host=host, load_balance_hosts=balance)
    return replace(config, databases={"app": app})


async def use_two_servers(pooler: Pooler, connect: Connect) -> None:
    """Have two servers opened, one after the other."""
    first, second = await connect(pooler), await connect(pooler)
    await first.query("BEGIN")
    assert await second.query("SELECT 1") == SELECT_1


# --- names ---


async def test_a_name_is_found_and_shown(postgres: Cluster, connect: Connect) -> None:
    async with Pooler(database(postgres, "localhost")) as pooler:
        client = await connect(pooler)
        assert await client.query("SELECT 1") == SELECT_1

        console = await connect(pooler, database="pgbouncer")
        shown = await console.query("SHOW DNS_HOSTS")
        assert shown[0] == "T hostname,ttl,addrs"
        assert "127.0.0.1:0" in shown[1]
        assert "D dns_names|1" in await console.query("SHOW LISTS")


async def test_a_name_that_nobody_knows_costs_one_attempt_of_those_who_wait(
    postgres: Cluster, connect: Connect, log: pytest.LogCaptureFixture
) -> None:
    hosts = "nobody.invalid,127.0.0.1"
    async with Pooler(database(postgres, hosts, LoadBalanceHosts.DISABLE)) as pooler:
        client = await connect(pooler)  # waits through the failure
        assert await client.query("SELECT 1") == SELECT_1
    assert log.text.count("closing because: server DNS lookup failed") == 1


# --- lists ---


async def test_connections_take_turns_among_hosts(
    postgres: Cluster, connect: Connect, log: pytest.LogCaptureFixture
) -> None:
    async with Pooler(database(postgres, "127.0.0.1,localhost")) as pooler:
        await use_two_servers(pooler, connect)
        console = await connect(pooler, database="pgbouncer")
        assert len(await console.query("SHOW DNS_HOSTS")) == 4
    assert log.text.count("new connection to server (from 127.0.0.1:") == 2


async def test_a_host_that_refuses_costs_one_attempt_and_then_is_passed_over(
    postgres: Cluster, connect: Connect, log: pytest.LogCaptureFixture
) -> None:
    hosts = f"{DEAF},127.0.0.1"
    async with Pooler(database(postgres, hosts, LoadBalanceHosts.DISABLE)) as pooler:
        await use_two_servers(pooler, connect)
    assert log.text.count("closing because: connect failed") == 1
    assert log.text.count(f"127.0.0.1:{postgres.port} new connection to server (from ") == 2


async def test_a_cancel_goes_where_its_server_is(
    postgres: Cluster, connect: Connect, open_client: OpenClient
) -> None:
    async with Pooler(database(postgres, f"127.0.0.1,{DEAF}")) as pooler:
        client, canceler = await connect(pooler), await open_client(pooler)
        await client.send(Query("SELECT pg_sleep(20)"))
        await eventually(a_server_is_linked(pooler))

        await canceler.send(client.cancel_request())

        answer = await client.until_ready()
        assert answer[-2:] == ["E ERROR 57014 canceling statement due to user request", "Z I"]


# --- addresses of every kind ---


async def test_a_directory_is_a_unix_socket(
    postgres: Cluster, connect: Connect, log: pytest.LogCaptureFixture
) -> None:
    async with Pooler(database(postgres, str(postgres.socket_dir))) as pooler:
        assert await (await connect(pooler)).query("SELECT 1") == SELECT_1
    assert f"unix:{postgres.port} new connection to server\n" in log.text


async def accept(address: Endpoint) -> asyncio.Server:
    """Listen there."""
    loop = asyncio.get_running_loop()
    if address.is_unix:
        return await loop.create_unix_server(asyncio.Protocol, address.socket_path)
    return await loop.create_server(asyncio.Protocol, address.address, address.port)


@pytest.mark.parametrize("address", ["@pgpool-lite-test", "::1", "127.0.0.1"])
async def test_every_kind_of_address_can_be_dialled(address: str, tmp_path: Path) -> None:
    is_unix = address.startswith("@")
    name = f"{address}-{tmp_path.name}" if is_unix else address
    server = await accept(Endpoint(name, name, 0))
    port = 0 if is_unix else server.sockets[0].getsockname()[1]

    transport, _ = await dial(Endpoint(name, name, port), Settings(), asyncio.Protocol)

    assert transport.is_reading()
    transport.close()
    server.close()


# --- options ---


async def test_a_servers_socket_has_the_options_that_settings_name() -> None:
    server = await accept(Endpoint("", "127.0.0.1", 0))
    port = server.sockets[0].getsockname()[1]
    settings = Settings(tcp_user_timeout=4321, tcp_socket_buffer=40_000, tcp_keepidle=77)

    transport, _ = await dial(Endpoint("", "127.0.0.1", port), settings, asyncio.Protocol)

    opened = transport.get_extra_info("socket")
    assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 4321
    assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77
    assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    # The kernel doubles what it is told, for its own books: socket(7).
    assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 80_000
    assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 80_000
    transport.close()
    server.close()
