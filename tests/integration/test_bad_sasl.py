"""Clients that break the SCRAM-SHA-256 exchange: each is told so and closed.

Some of it was a vulnerability of PgBouncer once; those cases have its CVE in their names.
"""

from __future__ import annotations

import struct

import pytest

from pgpool_lite.pooler import Pooler
from tests.conftest import MakePooler
from tests.integration.conftest import Address, Connect, OpenClient
from tests.integration.watch import no_server_is_linked
from tests.wire_client import SELECT_1, WireClient, eventually
from tests.wire_messages import (
    PasswordMessage,
    Query,
    SASLInitialResponse,
    SASLResponse,
    StartupMessage,
    Sync,
    message,
)

LOGIN = StartupMessage({"user": "postgres", "database": "app"})
FIRST = SASLInitialResponse("SCRAM-SHA-256", "n,,n=,r=rOprNGfwEbeRWgbNEkqO")


@pytest.fixture
async def pooler(make_pooler: MakePooler, postgres: Address) -> Pooler:
    """A pooler whose clients prove a password by SCRAM-SHA-256."""
    to = f"postgresql://postgres:secret@{postgres.host}:{postgres.port}/app"
    return await make_pooler(to=to, pool_size=1)


@pytest.fixture
async def asked(pooler: Pooler, open_client: OpenClient) -> WireClient:
    """A client that has been asked for its proof."""
    client = await open_client(pooler)
    await client.send(LOGIN)
    assert await client.lines(1) == ["R SASL SCRAM-SHA-256"]
    return client


async def assert_refused_alone(offender: WireClient, pooler: Pooler, connect: Connect) -> None:
    """Check that the offender is told and closed, and that a client with the password gets in."""
    transcript = await offender.until_closed()
    assert len(transcript) == 1, transcript
    assert transcript[0].startswith("E FATAL "), transcript
    client = await connect(pooler, password="secret")
    assert await client.query("SELECT 1") == SELECT_1
    await eventually(no_server_is_linked(pooler))


async def test_the_right_password_is_proved_on_both_sides(pooler: Pooler, connect: Connect) -> None:
    client = await connect(pooler, password="secret")
    assert client.welcome[0] == "R Ok"
    assert await client.query("SELECT 1") == SELECT_1


BEGINNINGS = {
    "an unknown mechanism": SASLInitialResponse("PLAIN", "secret"),
    "channel binding nobody offered": SASLInitialResponse(
        "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=,r=abcdefgh"
    ),
    "no nonce": SASLInitialResponse("SCRAM-SHA-256", "n,,n="),
    "nothing": SASLInitialResponse("SCRAM-SHA-256", ""),
    "commas only": SASLInitialResponse("SCRAM-SHA-256", ",,,,,,"),
    "no GS2 header": SASLInitialResponse("SCRAM-SHA-256", "n=,r=rOprNGfwEbeRWgbNEkqO"),
    "a mandatory extension": SASLInitialResponse("SCRAM-SHA-256", "n,,m=x,n=,r=abcdefgh"),
    "a length beyond the message (CVE-2026-6664)": message(
        "p", b"SCRAM-SHA-256\0\x7f\xff\xff\xffn,,n=,r=abc"
    ),
    "a length below zero (CVE-2026-6664)": message("p", b"SCRAM-SHA-256\0\xff\xff\xff\xf0"),
    "a message above 2^31 (CVE-2026-107348)": b"p" + struct.pack("!I", 2**31 + 8) + bytes(64),
    "a message of 2 GiB (CVE-2026-6668)": b"p" + struct.pack("!I", 2**31 - 1) + bytes(64),
    "a mechanism without an end": message("p", b"SCRAM-SHA-256"),
    "an empty message": message("p"),
    "a clear password": PasswordMessage("secret"),
    "bytes that are not text": message("p", b"SCRAM-SHA-256\0\0\0\0\x08n,,\xff\xfe\xfd\xfc\xfb"),
    "the second message first": SASLResponse("c=biws,r=rOprNGfwEbeRWgbNEkqO,p=AAAA"),
    "a query": Query("SELECT 1"),
    "a Sync": Sync(),
    "a second StartupMessage (CVE-2026-107350)": LOGIN,
}


@pytest.mark.parametrize("data", BEGINNINGS.values(), ids=BEGINNINGS.keys())
async def test_a_client_that_begins_badly_is_told_so_and_closed(
    pooler: Pooler, asked: WireClient, connect: Connect, data: bytes
) -> None:
    await asked.send(data)
    await assert_refused_alone(asked, pooler, connect)


ENDINGS = {
    "no proof": "c=biws,r={nonce}",
    "a proof that is wrong": "c=biws,r={nonce},p=" + "A" * 43 + "=",
    "a proof that is too short": "c=biws,r={nonce},p=AAAA",
    "a proof that is not base64": "c=biws,r={nonce},p=!!!!",
    "another nonce": "c=biws,r=somethingelse,p=" + "A" * 43 + "=",
    "the client's nonce alone": "c=biws,r=rOprNGfwEbeRWgbNEkqO,p=" + "A" * 43 + "=",
    "no nonce (CVE-2026-19888)": "c=biws,p=" + "A" * 43 + "=",
    "another channel binding": "c=eSws,r={nonce},p=" + "A" * 43 + "=",
    "nothing": "",
    "the first message again": "n,,n=,r=rOprNGfwEbeRWgbNEkqO",
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
async def test_a_client_that_ends_badly_is_told_so_and_closed(
    pooler: Pooler, asked: WireClient, connect: Connect, ending: str
) -> None:
    await asked.send(FIRST)
    challenge = (await asked.receive()).body[4:].decode()
    nonce = challenge.split(",")[0].removeprefix("r=")
    await asked.send(SASLResponse(ending.format(nonce=nonce)))
    await assert_refused_alone(asked, pooler, connect)


INTERRUPTIONS = {
    "a query": Query("SELECT 1"),
    "a second StartupMessage (CVE-2026-107350)": LOGIN,
    "a message above 2^31 (CVE-2026-107348)": b"p" + struct.pack("!I", 2**31 + 8) + bytes(64),
    "a message of 2 GiB (CVE-2026-6668)": b"p" + struct.pack("!I", 2**31 - 1) + bytes(64),
}


@pytest.mark.parametrize("data", INTERRUPTIONS.values(), ids=INTERRUPTIONS.keys())
async def test_what_does_not_belong_in_the_middle_of_the_exchange_is_refused(
    pooler: Pooler, asked: WireClient, connect: Connect, data: bytes
) -> None:
    await asked.send(FIRST)
    assert await asked.lines(1) == ["R SASLContinue"]
    await asked.send(data)
    await assert_refused_alone(asked, pooler, connect)


async def test_a_user_nobody_knows_is_refused_only_after_the_whole_exchange(
    pooler: Pooler, open_client: OpenClient, connect: Connect
) -> None:
    # An early refusal would tell an attacker which users exist.
    client = await open_client(pooler)
    await client.send(StartupMessage({"user": "nobody", "database": "app"}))
    assert await client.lines(1) == ["R SASL SCRAM-SHA-256"]
    await client.send(FIRST)
    challenge = (await client.receive()).body[4:].decode()
    nonce = challenge.split(",")[0].removeprefix("r=")
    await client.send(SASLResponse(f"c=biws,r={nonce},p=" + "A" * 43 + "="))
    await assert_refused_alone(client, pooler, connect)


async def test_the_log_names_who_does_not_exist_once_they_are_gone(
    pooler: Pooler, open_client: OpenClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Story: the line was written before the user was challenged, and its 40 us told by the clock
    which users there are (python -m bench.strangers).
    """
    caplog.set_level("INFO")
    client = await open_client(pooler)
    await client.send(StartupMessage({"user": "nobody", "database": "app"}))
    assert await client.lines(1) == ["R SASL SCRAM-SHA-256"]
    assert "no such user" not in caplog.text

    client.end_input()

    await eventually(lambda: "no such user: nobody" in caplog.text)
