"""Servers that refuse the pooler, keep it waiting, break the login, or are not there at all.

The fake server fails the first login only, so each test also shows that the pooler tries again.
Whether a client waits through the first failure or hears of it and comes again is left open.
"""

from __future__ import annotations

import re
import struct
import time

import pytest

from pgpool_lite.pooler import Pooler
from tests.conftest import MakePooler
from tests.fake_postgres import (
    FakePostgres,
    FakeSession,
    Script,
    answered_by,
)
from tests.integration.conftest import Connect, OpenClient
from tests.integration.watch import no_server_is_linked
from tests.wire_client import eventually
from tests.wire_messages import (
    AuthenticationOk,
    AuthenticationSASL,
    AuthenticationSASLContinue,
    DataRow,
    ErrorResponse,
    ReadyForQuery,
    StartupMessage,
    message,
)

LOGIN = StartupMessage({"user": "postgres", "database": "app"})
SALT = "c2FsdHNhbHRzYWx0"


async def make_patient_pooler(make_pooler: MakePooler, to: str) -> Pooler:
    """Start a pooler without a timeout that could hide that it does not mind what a server says."""
    return await make_pooler(
        to=to,
        pool_size=1,
        server_connect_timeout=60,
        client_login_timeout=60,
        server_login_retry=0.1,
    )


async def assert_recovers(
    pooler: Pooler, open_client: OpenClient, *, password: str = "", number: int = 2
) -> None:
    """Check that clients which keep trying get in and are served by connection `number`."""

    async def is_served() -> bool:
        client = await open_client(pooler)
        await client.send(LOGIN)
        if password:
            await client.prove(password)
        ready = ["Z I"]
        if (await client.until_closed_or(ready))[-1:] != ready:
            return False
        return await client.query("SELECT") == answered_by(number)

    await eventually(is_served)
    await eventually(no_server_is_linked(pooler))


async def refuse(session: FakeSession) -> None:
    """Turn the pooler away with a reason."""
    await session.send(ErrorResponse("no entry for you", severity="FATAL", sqlstate="28000"))
    session.close()


async def hang_up(session: FakeSession) -> None:
    """Turn the pooler away without a word."""
    session.close()


async def fall_silent(session: FakeSession) -> None:
    """Never answer the StartupMessage."""
    await session.stay_silent()
    session.close()


def saying(garbage: bytes) -> Script:
    """Return a login that answers the StartupMessage with `garbage` and then falls silent."""

    async def login(session: FakeSession) -> None:
        await session.send(garbage)
        await fall_silent(session)

    return login


async def test_the_reason_why_a_server_refuses_the_login_reaches_the_client(
    make_pooler: MakePooler, open_client: OpenClient
) -> None:
    async with FakePostgres(login=refuse) as fake:
        pooler = await make_pooler(to=fake.url, pool_size=1, server_login_retry=0.1)
        client = await open_client(pooler)
        await client.send(LOGIN)
        assert "no entry for you" in (await client.until_closed())[-1]
        await assert_recovers(pooler, open_client)


async def test_a_server_that_hangs_up_in_the_login_is_tried_again(
    make_pooler: MakePooler, open_client: OpenClient
) -> None:
    async with FakePostgres(login=hang_up) as fake:
        pooler = await make_pooler(to=fake.url, pool_size=1, server_login_retry=0.1)
        await assert_recovers(pooler, open_client)


LOGIN_VIOLATIONS = {
    "garbage": b"\xde\xad\xbe\xef" * 16,
    "an HTTP answer": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "an unknown message type": AuthenticationOk() + message("y", b"what"),
    "a length below 4": b"R" + struct.pack("!i", 3) + bytes(8),
    "a huge length": b"R" + struct.pack("!i", 2**31 - 1) + bytes(8),
    "a method nobody knows": message("R", struct.pack("!i", 99)),
    "GSSAPI": message("R", struct.pack("!i", 7)),
    "an Authentication without a code": message("R"),
    "a BackendKeyData cut short": AuthenticationOk() + message("K", b"\0\0"),
    "a ParameterStatus without an end": AuthenticationOk() + message("S", b"x"),
    "a status that is no status": AuthenticationOk() + ReadyForQuery("X"),
    "a row": AuthenticationOk() + DataRow("1"),
    "an error without SQLSTATE (CVE-2026-6666)": message("E", b"SFATAL\0Mno entry\0\0"),
    "an error of nothing (CVE-2026-6666)": message("E"),
}


@pytest.mark.parametrize("violation", LOGIN_VIOLATIONS.values(), ids=LOGIN_VIOLATIONS.keys())
async def test_a_server_that_breaks_the_protocol_in_the_login_is_closed_and_replaced(
    make_pooler: MakePooler, open_client: OpenClient, violation: bytes
) -> None:
    async with FakePostgres(login=saying(violation)) as fake:
        pooler = await make_patient_pooler(make_pooler, fake.url)
        await assert_recovers(pooler, open_client)


async def test_a_server_that_is_silent_in_the_login_is_given_up_and_replaced(
    make_pooler: MakePooler, connect: Connect
) -> None:
    async with FakePostgres(login=fall_silent) as fake:
        pooler = await make_pooler(
            to=fake.url, pool_size=1, server_connect_timeout=0.3, server_login_retry=0.1
        )
        # This client is the reason for both attempts, and waits through the first.
        client = await connect(pooler)
        assert await client.query("SELECT") == answered_by(2)


# SCRAM-SHA-256


def demanding(challenge: str) -> Script:
    """Return a login that answers the pooler's first SCRAM message with `challenge`."""

    async def login(session: FakeSession) -> None:
        await session.send(AuthenticationSASL("SCRAM-SHA-256"))
        _, body = await session.receive()
        nonce = body.decode().split("r=")[1]
        await session.send(AuthenticationSASLContinue(challenge.format(nonce=nonce)))
        await fall_silent(session)

    return login


async def test_cve_2026_6669_a_server_that_asks_for_a_billion_iterations_is_refused_at_once(
    make_pooler: MakePooler, open_client: OpenClient
) -> None:
    # Each SCRAM iteration is a hash to compute; that many would stop the pooler for minutes.
    login = demanding(f"r={{nonce}}fake,s={SALT},i=1000000000")
    async with FakePostgres(login=login) as fake:
        pooler = await make_patient_pooler(make_pooler, fake.url_with_password)
        started_at = time.monotonic()
        await assert_recovers(pooler, open_client, password="secret")
        assert time.monotonic() - started_at < 5


CHALLENGES = {
    "nothing": "",
    "an error": "e=other-error",
    "an empty nonce": "r=",
    "no iterations": f"r={{nonce}}fake,s={SALT}",
    "zero iterations": f"r={{nonce}}fake,s={SALT},i=0",
    "fewer than zero iterations": f"r={{nonce}}fake,s={SALT},i=-1",
    "iterations that are no number": f"r={{nonce}}fake,s={SALT},i=many",
    "a nonce of 1500 characters (CVE-2026-6665)": f"r={{nonce}}{'x' * 1500},s={SALT},i=4096",
    "a nonce of a megabyte (CVE-2026-6665)": f"r={{nonce}}{'x' * 1_000_000},s={SALT},i=4096",
    "another nonce": f"r=another,s={SALT},i=4096",
    "a salt that is not base64": "r={nonce}fake,s=!!!!,i=4096",
    "a mandatory extension": f"m=x,r={{nonce}}fake,s={SALT},i=4096",
}


@pytest.mark.parametrize("challenge", CHALLENGES.values(), ids=CHALLENGES.keys())
async def test_a_server_whose_scram_challenge_is_wrong_is_closed_and_replaced(
    make_pooler: MakePooler, open_client: OpenClient, challenge: str
) -> None:
    async with FakePostgres(login=demanding(challenge)) as fake:
        pooler = await make_patient_pooler(make_pooler, fake.url_with_password)
        await assert_recovers(pooler, open_client, password="secret")


# PostgreSQL that is not there


async def test_a_client_waits_for_a_server_that_is_not_there_or_hears_why(
    make_pooler: MakePooler, open_client: OpenClient
) -> None:
    async with FakePostgres() as fake:
        pass  # Its port is known to be free now.
    pooler = await make_pooler(to=fake.url, pool_size=1, query_wait_timeout=0.3)
    client = await open_client(pooler)
    await client.send(LOGIN)
    (error,) = await client.until_closed()
    assert re.match(
        "E FATAL 08P01 .*(query_wait_timeout|server login has been failing|connect failed)", error
    )


async def test_a_server_that_comes_up_late_is_found(
    make_pooler: MakePooler, open_client: OpenClient
) -> None:
    async with FakePostgres() as fake:
        pass  # Its port is known to be free now.
    pooler = await make_pooler(
        to=fake.url, pool_size=1, query_wait_timeout=0.3, server_login_retry=0.1
    )
    client = await open_client(pooler)
    await client.send(LOGIN)
    (error,) = await client.until_closed()
    assert error.startswith("E FATAL 08P01 ")
    async with FakePostgres(port=fake.port):
        await assert_recovers(pooler, open_client, number=1)
