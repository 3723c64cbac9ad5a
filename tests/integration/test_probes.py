"""Who comes and goes without a word, as load balancers do: the log must not fill with them."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from pgpool_lite.dev.cluster import Cluster
from tests.conftest import MakePooler
from tests.integration.conftest import Connect, OpenClient
from tests.wire_messages import SSLRequest, StartupMessage

GONE = "closing because: client unexpected eof"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, logger="pgpool_lite"):
        yield caplog


@pytest.mark.parametrize("said", [b"", SSLRequest(), StartupMessage({"user": "postgres"})])
async def test_who_goes_and_leaves_nothing_half_said_is_no_news(
    postgres: Cluster,
    make_pooler: MakePooler,
    open_client: OpenClient,
    connect: Connect,
    log: pytest.LogCaptureFixture,
    said: bytes,
) -> None:
    """Nor is it in PgBouncer: a probe, or a psql that goes to ask its user for the password."""
    to = postgres.dsn(dbname="app").replace("postgres@", "postgres:secret@")
    pooler = await make_pooler(to)
    probe = await open_client(pooler)
    if said:
        await probe.send(said)

    await probe.abort()

    await connect(pooler, password="secret")
    assert GONE not in log.text


async def test_who_goes_in_the_midst_of_a_message_is_news(
    make_pooler: MakePooler,
    open_client: OpenClient,
    connect: Connect,
    log: pytest.LogCaptureFixture,
) -> None:
    pooler = await make_pooler()
    client = await open_client(pooler)
    await client.send(SSLRequest()[:5])
    await connect(pooler)

    await client.abort()

    await connect(pooler)
    assert GONE in log.text
