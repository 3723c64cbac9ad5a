"""Several processes on one port: a CancelRequest finds its client whichever of them it reaches."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from pgpool_lite.config import PeerSettings, config_for_url
from pgpool_lite.dev.cluster import Cluster
from pgpool_lite.pool.peering import Stage
from pgpool_lite.pooler import Pooler
from tests.integration.conftest import Connect, OpenClient
from tests.integration.serving import Serve, write_ini
from tests.wire_client import SELECT_1, WireClient, eventually
from tests.wire_messages import CancelRequest, Query

CANCELED = ["T pg_sleep", "E ERROR 57014 canceling statement due to user request", "Z I"]
SLEEP = "SELECT pg_sleep(60)"
HOST = "127.0.0.1"

#: Start a pooler with this peer_id, which knows peers at these ports.
MakePeer = Callable[[int, dict[int, int]], Awaitable[Pooler]]


@pytest.fixture
async def make_peer(postgres: Cluster) -> AsyncIterator[MakePeer]:
    async with AsyncExitStack() as stack:

        async def make(peer_id: int, ports: dict[int, int]) -> Pooler:
            peers = {
                number: PeerSettings(peer_id=number, host=HOST, port=port)
                for number, port in ports.items()
            }
            settings = {"peer_id": peer_id, "unix_socket_dir": "", "cancel_wait_timeout": 1}
            config = config_for_url(postgres.dsn(dbname="app"), **settings)
            pooler = Pooler(replace(config, peers=peers), host=HOST, port=0)
            return await stack.enter_async_context(pooler)

        yield make


async def runs(client: WireClient, pooler: Pooler) -> None:
    """Have a client's query run until it is canceled."""
    await client.send(Query(SLEEP))
    await eventually(lambda: pooler.pools()[0].sv_active == 1)


async def test_a_cancel_request_is_passed_on_to_the_peer_that_has_its_client(
    make_peer: MakePeer, connect: Connect, open_client: OpenClient
) -> None:
    home = await make_peer(1, {})
    other = await make_peer(2, {1: home.port})
    client, canceler = await connect(home), await open_client(other)
    await runs(client, home)

    await canceler.send(client.cancel_request())

    assert await client.until_ready() == CANCELED
    assert await canceler.until_closed() == []
    assert await client.query("SELECT 1") == SELECT_1


async def test_a_cancel_request_may_come_by_way_of_a_third_process(
    make_peer: MakePeer, connect: Connect, open_client: OpenClient
) -> None:
    # The port that is known for peer 1 is another's, as behind a load balancer.
    home = await make_peer(1, {})
    between = await make_peer(2, {1: home.port})
    far = await make_peer(3, {1: between.port})
    client, canceler = await connect(home), await open_client(far)
    await runs(client, home)

    await canceler.send(client.cancel_request())

    assert await client.until_ready() == CANCELED


async def test_a_cancel_request_that_goes_in_circles_ends(
    make_peer: MakePeer, open_client: OpenClient
) -> None:
    with socket.create_server((HOST, 0)) as reserved:
        port: int = reserved.getsockname()[1]
    one = await make_peer(1, {9: port})
    relay = await asyncio.start_server(
        lambda reader, writer: carry(reader, writer, one.port), HOST, port
    )
    canceler = await open_client(one)

    await canceler.send(CancelRequest(0x00_09_00_00, 0xFF))

    assert await canceler.until_closed() == []
    relay.close()


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Pass one packet on to a port, and the end of that connection back."""
    onward_reader, onward = await asyncio.open_connection(HOST, port)
    onward.write(await reader.readexactly(16))
    await onward_reader.read()
    onward.close()
    writer.close()


@pytest.mark.parametrize("ports", [{}, {1: 1}])
async def test_a_peer_that_is_unknown_or_down_harms_nobody(
    make_peer: MakePeer, open_client: OpenClient, ports: dict[int, int]
) -> None:
    pooler = await make_peer(2, ports)
    canceler = await open_client(pooler)

    await canceler.send(CancelRequest(0x00_01_00_00, 0xFF))

    assert await canceler.until_closed() == []


async def test_the_console_shows_peers_and_what_is_on_its_way_to_them(
    make_peer: MakePeer, connect: Connect, open_client: OpenClient
) -> None:
    with socket.create_server((HOST, 0)) as silent:
        port: int = silent.getsockname()[1]
        pooler = await make_peer(2, {1: port})
        console = await connect(pooler, database="pgbouncer")
        canceler = await open_client(pooler)
        await canceler.send(CancelRequest(0x00_01_00_00, 0xFF))
        pools = pooler.runtime.registry.peer_pools
        await eventually(lambda: 1 in pools and pools[1].count(Stage.ACTIVE) == 1)

        assert f"D 1|{HOST}|{port}|20" in await console.query("SHOW PEERS")
        assert "D 1|1|0|1|0" in await console.query("SHOW PEER_POOLS")
        # cancel_wait_timeout is over.
        assert await canceler.until_closed() == []
        assert "D 1|0|0|0|0" in await console.query("SHOW PEER_POOLS")


async def test_so_reuseport_lets_processes_share_a_port(
    serve: Serve, tmp_path: Path, postgres: Cluster, connect: Connect
) -> None:
    one = await serve(write_ini(tmp_path, postgres, "so_reuseport = 1"))
    settings = ("so_reuseport = 1", f"listen_port = {one.port}")
    two = await serve(write_ini(tmp_path, postgres, *settings))
    assert two.port == one.port

    await one.kill()

    assert await (await connect(two)).query("SELECT 1") == SELECT_1
