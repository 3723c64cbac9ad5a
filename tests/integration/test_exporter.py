"""A Prometheus exporter that was made for PgBouncer, run for real against our console.

    --exporter PATH             pgbouncer-exporter, of the package prometheus-pgbouncer-exporter;
    PGPOOL_LITE_TEST_EXPORTER   without the one or the other this is skipped

Where `--pgbouncer` names the real one too, the exporter must make the same metrics of both.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.request import urlopen

import psycopg
import pytest

from bench.processes import running
from bench.targets import find_free_port
from pgpool_lite.dev.cluster import Cluster
from tests.conftest import MakePooler
from tests.integration.conftest import Address
from tests.integration.side_by_side import pgbouncer
from tests.wire_client import eventually

#: Return the exporter's page about the console that listens there.
Export = Callable[[Address], Awaitable[str]]


@pytest.fixture
async def export(pytestconfig: pytest.Config, tmp_path: Path) -> AsyncIterator[Export]:
    program = pytestconfig.getoption("--exporter")
    if not program:
        pytest.skip("no exporter to be asked by: name it with --exporter PATH")
    async with AsyncExitStack() as stack:

        async def export(address: Address) -> str:
            port = find_free_port()
            config, log = tmp_path / f"{port}.yml", tmp_path / f"{port}.log"
            dsn = f"postgresql://postgres:none@{address.host}:{address.port}/pgbouncer"
            config.write_text(f"exporter_port: {port}\npgbouncers:\n  - dsn: {dsn}\n")
            stack.enter_context(running([program, "--config", str(config)], log=log))
            await eventually(lambda: "listening on" in log.read_text())
            return await asyncio.to_thread(_fetch, f"http://127.0.0.1:{port}/metrics")

        yield export


def _fetch(url: str) -> str:
    with urlopen(url) as answer:
        return str(answer.read().decode())


def metrics(page: str) -> dict[str, float]:
    """Return the metrics about poolers on a page of the exporter's, by name and labels."""
    found = re.findall(r"^(pgbouncer_\S+) (\S+)$", page, re.MULTILINE)
    return {name: float(value) for name, value in found}


async def test_an_exporter_for_pgbouncer_reads_our_console(
    make_pooler: MakePooler, export: Export
) -> None:
    pooler = await make_pooler(pool_size=7)
    async with await psycopg.AsyncConnection.connect(pooler.dsn, autocommit=True) as client:
        await client.execute("SELECT 1")

        found = metrics(await export(pooler))

    assert found["pgbouncer_up"] == 1
    assert found['pgbouncer_stats_queries_total{database="app"}'] == 1
    labels = '{backend_database="app",database="app"}'
    assert found[f"pgbouncer_databases_database_pool_size{labels}"] == 7
    assert found['pgbouncer_pools_server_idle_connections{database="app",user="postgres"}'] == 1


async def test_it_makes_the_same_metrics_of_pgbouncer_and_of_us(
    program: str, postgres: Cluster, make_pooler: MakePooler, export: Export
) -> None:
    ours = await make_pooler(auth_type="any")
    async with pgbouncer(program, postgres, "admin_users = postgres") as theirs:
        pages = [await export(address) for address in (theirs, ours)]

    theirs_found, ours_found = map(metrics, pages)
    assert len(ours_found) > 20
    assert ours_found.keys() == theirs_found.keys()
    # What the exporter asks is counted by us alone.
    own = 'database="pgbouncer"'
    assert {
        name: value for name, value in ours_found.items() if value != theirs_found[name]
    }.keys() == {f"pgbouncer_stats_{what}_total{{{own}}}" for what in ("queries", "transactions")}
