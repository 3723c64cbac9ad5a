"""Fixtures of the integration tests: a pooler with one server, and clients that are cleaned up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Protocol

import pytest

from pgpool_lite.dev.binaries import Binaries
from pgpool_lite.dev.cluster import Cluster
from pgpool_lite.errors import ServerError
from pgpool_lite.pooler import Pooler
from tests.certificates import Authority
from tests.conftest import MakePooler
from tests.integration.encrypted import WITHOUT_TLS, encrypted_cluster
from tests.wire_client import WireClient


class Address(Protocol):
    """Anything that listens: the pooler, PostgreSQL or the fake one."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


class Connect(Protocol):
    """Open a connection and log in."""

    async def __call__(
        self,
        to: Address,
        user: str = "postgres",
        database: str = "app",
        *,
        password: str = "",
        **parameters: str,
    ) -> WireClient: ...


OpenClient = Callable[[Address], Awaitable[WireClient]]


@pytest.fixture
async def open_client() -> AsyncIterator[OpenClient]:
    """Open a connection without saying anything; it is closed when the test ends."""
    async with AsyncExitStack() as clients:

        async def open_one(to: Address) -> WireClient:
            return await clients.enter_async_context(await WireClient.open(to.host, to.port))

        yield open_one


@pytest.fixture
def connect(open_client: OpenClient) -> Connect:
    """Open a connection and log in; it is closed when the test ends."""

    async def connect_one(
        to: Address,
        user: str = "postgres",
        database: str = "app",
        *,
        password: str = "",
        **parameters: str,
    ) -> WireClient:
        client = await open_client(to)
        await client.login(user, database, parameters, password=password)
        return client

    return connect_one


@pytest.fixture
async def pooler(make_pooler: MakePooler) -> Pooler:
    """A pooler in transaction mode with a single server, in front of the real PostgreSQL."""
    return await make_pooler(pool_size=1)


@pytest.fixture
def program(pytestconfig: pytest.Config) -> str:
    """Where the real PgBouncer is; without it, what compares with it is skipped."""
    path = pytestconfig.getoption("--pgbouncer")
    if not path:
        pytest.skip("no PgBouncer to compare with: name it with --pgbouncer PATH")
    return str(path)


@pytest.fixture(scope="session")
def encrypted_postgres(postgres_binaries: Binaries, authority: Authority) -> Iterator[Cluster]:
    """A second PostgreSQL, one that speaks TLS."""
    with ExitStack() as stack:
        try:
            cluster = stack.enter_context(encrypted_cluster(postgres_binaries, authority))
        except ServerError as error:
            if "SSL is not supported by this build" not in str(error):
                raise
            pytest.skip(WITHOUT_TLS)
        yield cluster


def skip_where_queries_in_segments_fail(client: WireClient) -> None:
    """Skip a test with a Query in an open segment: PostgreSQL 18 loses its transaction there."""
    if int(client.parameters["server_version"].split(".")[0]) >= 18:
        pytest.skip("PostgreSQL 18 answers XX000 to the Query after such a segment")
