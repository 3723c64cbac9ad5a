"""Peers with the real PgBouncer: a CancelRequest finds its client from either to the other.

    --pgbouncer PATH            the real one; without it, and without the variable, this is skipped
    PGPOOL_LITE_TEST_PGBOUNCER  the same

So a fleet may be moved over process by process.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from bench.targets import find_free_port
from pgpool_lite.config import PeerSettings, config_for_url
from pgpool_lite.dev.cluster import Cluster
from pgpool_lite.pooler import Pooler
from tests.integration.conftest import Address, Connect, OpenClient
from tests.integration.side_by_side import pgbouncer
from tests.wire_client import SELECT_1, WireClient, eventually
from tests.wire_messages import Query

HOST = "127.0.0.1"
OURS, THEIRS = 1, 2
CANCELED = ["T pg_sleep", "E ERROR 57014 canceling statement due to user request", "Z I"]


@dataclass(frozen=True, slots=True)
class Peers:
    """The two of them, each of which knows the other."""

    ours: Address
    theirs: Address


@pytest.fixture
async def peers(program: str, postgres: Cluster) -> AsyncIterator[Peers]:
    port = find_free_port()
    settings = (f"peer_id = {THEIRS}", "[peers]", f"{OURS} = host={HOST} port={port}")
    async with pgbouncer(program, postgres, *settings) as theirs:
        usual = {"peer_id": OURS, "unix_socket_dir": "", "auth_type": "any"}
        config = config_for_url(postgres.dsn(dbname="app"), **usual)
        peer = PeerSettings(peer_id=THEIRS, host=HOST, port=theirs.port)
        async with Pooler(replace(config, peers={THEIRS: peer}), host=HOST, port=port) as ours:
            yield Peers(ours, theirs)


@pytest.mark.parametrize(("home", "asked"), [("ours", "theirs"), ("theirs", "ours")])
async def test_a_cancel_request_is_passed_on_between_pgbouncer_and_us(
    peers: Peers,
    postgres: Cluster,
    connect: Connect,
    open_client: OpenClient,
    home: str,
    asked: str,
) -> None:
    client = await connect(getattr(peers, home))
    canceler = await open_client(getattr(peers, asked))
    await client.send(Query("SELECT pg_sleep(60)"))
    observer = await connect(postgres)
    await eventually(lambda: is_asleep(observer))

    await canceler.send(client.cancel_request())

    assert await client.until_ready() == CANCELED
    assert await client.query("SELECT 1") == SELECT_1


async def is_asleep(observer: WireClient) -> bool:
    """Say whether PostgreSQL runs the query that is to be canceled."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    return await observer.value(sql) == "1"
