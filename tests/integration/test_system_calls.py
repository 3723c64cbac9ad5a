"""How often does a pooler call the kernel for a transaction? The kernel counts that itself.

Over 80 % of what a relay costs is spent there (docs/performance.md), so one read too many would
cost more than anything that Python does. proc(5), `/proc/PID/io`: syscr and syscw.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.conftest import Address
from tests.integration.serving import ANYWHERE, Serve, Serving
from tests.wire_client import WireClient
from tests.wire_messages import Bind, DescribePortal, Execute, Parse, Query, Sync

TRANSACTIONS = 300
# What the process may read and write beside them: a look at the clock is no call, a line of its log
# is one.
BESIDE = 3

REST = DescribePortal() + Execute() + Sync()
PREPARE = Parse("SELECT $1::text", "mine") + Sync()
REQUESTS = {
    "simple": Query("SELECT 1"),
    "unnamed": Parse("SELECT $1::text") + Bind("1") + REST,
    "prepared": Bind("1", statement="mine") + REST,
}


def calls(serving: Serving) -> tuple[int, int]:
    """Return how often the process has read, and written."""
    said = Path(f"/proc/{serving.pid}/io").read_text()
    found = re.search(r"syscr: (\d+)\nsyscw: (\d+)\n", said)
    assert found, said
    return int(found[1]), int(found[2])


@pytest.mark.skipif(
    not Path("/proc/self/io").exists(), reason="only Linux counts a process's calls"
)
@pytest.mark.parametrize("mode", REQUESTS)
async def test_a_transaction_is_two_reads_and_two_writes(
    mode: str, postgres: Address, serve: Serve
) -> None:
    to = f"postgresql://postgres@{postgres.host}:{postgres.port}/app"
    serving = await serve("--to", to, "--listen", ANYWHERE)
    async with await WireClient.open(serving.host, serving.port) as client:
        await client.login()
        await client.send(PREPARE)
        await client.until_ready()
        await client.send(REQUESTS[mode])  # maybe the server has yet to learn the statement
        await client.until_ready()
        reads_before, writes_before = calls(serving)

        for _ in range(TRANSACTIONS):
            await client.send(REQUESTS[mode])
            await client.until_ready()

        reads, writes = calls(serving)
    assert 0 <= reads - reads_before - 2 * TRANSACTIONS <= BESIDE
    assert 0 <= writes - writes_before - 2 * TRANSACTIONS <= BESIDE
