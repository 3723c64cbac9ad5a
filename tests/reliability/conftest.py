"""Fixtures: pooler processes, a PostgreSQL that loses nothing it has promised, and its failures."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from pgpool_lite.dev.binaries import Binaries
from pgpool_lite.dev.cluster import Cluster

# Nobody is waited for at a COMMIT that a test's PostgreSQL confirms, unless it is told to.
HONEST = {"synchronous_commit": "on"}


@pytest.fixture(scope="module")
def honest_postgres(postgres_binaries: Binaries) -> Iterator[Cluster]:
    """A PostgreSQL that may be killed, and keeps what it has confirmed."""
    with Cluster(postgres_binaries, settings=HONEST) as cluster:
        with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE app")
        yield cluster
