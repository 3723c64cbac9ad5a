"""What all tests share: one throw-away PostgreSQL per session, poolers on it, the event loop.

    PGPOOL_LITE_TEST_POSTGRES   system | embedded | auto (default): whose programs
    PGPOOL_LITE_TEST_LOOP       uvloop (default) | asyncio
    PGPOOL_LITE_TEST_PGBOUNCER  path of the real PgBouncer, to compare with; or --pgbouncer PATH
    PGPOOL_LITE_TEST_EXPORTER   path of a Prometheus exporter for PgBouncer; or --exporter PATH

A test that takes neither `postgres` nor `make_pooler` starts no server.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import psycopg
import pytest
import uvloop

from pgpool_lite.dev.binaries import Binaries, Choice, find_binaries
from pgpool_lite.dev.cluster import Cluster
from pgpool_lite.wire.framing import COMPILED
from tests.certificates import Authority
from tests.integration.serving import Serve, pooler_processes

if TYPE_CHECKING:
    from pgpool_lite.pooler import Pooler

CHOICES: dict[str, Choice] = {"auto": "auto", "system": "system", "embedded": "embedded"}

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}

# One role per password method. Their passwords are `<role>-secret`; everybody else, the superuser
# postgres included, is trusted. The methods hold on TCP only: the Unix socket trusts all.
PASSWORD_METHODS = (
    "host all alice 127.0.0.1/32 scram-sha-256",
    "host all bob 127.0.0.1/32 md5",
    "host all carol 127.0.0.1/32 password",
)


class MakePooler(Protocol):
    """What the `make_pooler` fixture is: call it for a started Pooler on the test's PostgreSQL."""

    async def __call__(
        self,
        to: str | None = None,
        *,
        pool_size: int = 20,
        pool_mode: str = "transaction",
        **settings: object,
    ) -> Pooler: ...


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A shell's background job ignores SIGINT, and so would each program that a test interrupts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pgbouncer",
        default=os.environ.get("PGPOOL_LITE_TEST_PGBOUNCER", ""),
        help="the real PgBouncer, to compare with",
    )
    parser.addoption(
        "--exporter",
        default=os.environ.get("PGPOOL_LITE_TEST_EXPORTER", ""),
        help="pgbouncer-exporter of the package prometheus-pgbouncer-exporter, to be asked by",
    )


def pytest_report_header() -> str:
    return f"pgpool_lite: hot path {'compiled' if COMPILED else 'interpreted'}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let reports travel between processes: what clients sent, and logs quote, may be no UTF-8."""
    report = yield
    report.sections = [
        (title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections
    ]
    return report


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    name = os.environ.get("PGPOOL_LITE_TEST_LOOP", "uvloop")
    return {name: LOOPS[name]}


@pytest.fixture(scope="session")
def postgres_binaries() -> Binaries:
    return find_binaries(CHOICES[os.environ.get("PGPOOL_LITE_TEST_POSTGRES", "auto")])


@pytest.fixture(scope="session")
def postgres(postgres_binaries: Binaries) -> Iterator[Cluster]:
    """A running server with roles alice, bob and carol, and the database `app`."""
    with Cluster(postgres_binaries, hba=PASSWORD_METHODS) as cluster:
        _create_roles(cluster)
        yield cluster


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who issues certificates in tests, for the one name or the other."""
    return Authority(tmp_path_factory.mktemp("tls") / "authority", "Test authority")


@pytest.fixture(scope="session")
def other_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Another one, which nobody trusts who trusts the first."""
    return Authority(tmp_path_factory.mktemp("tls") / "other", "Other authority")


@pytest.fixture
async def make_pooler(postgres: Cluster) -> AsyncIterator[MakePooler]:
    """A factory of poolers on `postgres`' database `app`; they stop at the end of the test."""
    # Imported late, so that a test of a lower floor runs while the upper ones are broken.
    from pgpool_lite.pooler import Pooler

    async with AsyncExitStack() as stack:

        async def make(
            to: str | None = None,
            *,
            pool_size: int = 20,
            pool_mode: str = "transaction",
            **settings: object,
        ) -> Pooler:
            pooler = Pooler(
                to or postgres.dsn(dbname="app"),
                host="127.0.0.1",
                port=0,
                pool_size=pool_size,
                pool_mode=pool_mode,
                **settings,
            )
            return await stack.enter_async_context(pooler)

        yield make


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """A factory of pooler processes; they end with the test."""
    async with pooler_processes(tmp_path) as serve:
        yield serve


def _create_roles(cluster: Cluster) -> None:
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        connection.execute("SET password_encryption = 'scram-sha-256'")
        connection.execute("CREATE ROLE alice LOGIN PASSWORD 'alice-secret'")
        connection.execute("CREATE ROLE carol LOGIN PASSWORD 'carol-secret'")
        connection.execute("SET password_encryption = 'md5'")
        connection.execute("CREATE ROLE bob LOGIN PASSWORD 'bob-secret'")
        connection.execute("CREATE DATABASE app")
    with psycopg.connect(cluster.dsn(dbname="app"), autocommit=True) as connection:
        # Since PostgreSQL 15 only the owner may create tables there.
        connection.execute("GRANT ALL ON SCHEMA public TO PUBLIC")
