"""Clients that break the protocol: each is told so and closed, and nobody else notices."""

from __future__ import annotations

import re
import struct

import pytest

from pgpool_lite.pooler import Pooler
from tests.conftest import MakePooler
from tests.integration.conftest import Address, Connect, OpenClient
from tests.integration.watch import a_server_is_linked, no_server_is_linked
from tests.wire_client import SELECT_1, WireClient, eventually
from tests.wire_messages import (
    PROTOCOL_2_0,
    PROTOCOL_3_0,
    AuthenticationOk,
    Bind,
    Execute,
    Flush,
    GSSENCRequest,
    Parse,
    PasswordMessage,
    Query,
    SASLResponse,
    SSLRequest,
    StartupMessage,
    Sync,
    message,
    startup_packet,
    text,
)

LOGIN = StartupMessage({"user": "postgres", "database": "app"})


@pytest.fixture
async def bystander(pooler: Pooler, connect: Connect) -> WireClient:
    """A well-behaved client of the same pool."""
    return await connect(pooler)


def assert_refused(transcript: list[str]) -> None:
    """Check that the last thing a client heard is that it broke the protocol."""
    assert transcript[-1:], "closed without a word"
    assert re.fullmatch("E FATAL [0-9A-Z]{5} .+", transcript[-1]), transcript


async def assert_unharmed(pooler: Pooler, bystander: WireClient) -> None:
    """Check that the other client goes on, and that no server is left linked."""
    assert await bystander.query("SELECT 1") == SELECT_1
    await eventually(no_server_is_linked(pooler))


# Before the login


BAD_STARTUPS = {
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "a TLS ClientHello": bytes.fromhex("16030100f1010000ed0303") + bytes(240),
    "zeroes": bytes(64),
    "ones": b"\xff" * 64,
    "length 0": struct.pack("!ii", 0, PROTOCOL_3_0) + bytes(8),
    "length 3": struct.pack("!ii", 3, PROTOCOL_3_0) + bytes(8),
    "length 7, too short for a version": struct.pack("!ii", 7, PROTOCOL_3_0) + bytes(8),
    "a length above 2^31 (CVE-2026-107348)": struct.pack("!iI", -1, PROTOCOL_3_0) + bytes(8),
    "the largest length (CVE-2026-6668)": struct.pack("!ii", 2**31 - 1, PROTOCOL_3_0) + bytes(64),
    "protocol 1.0": startup_packet(1 << 16, bytes(64)),
    "protocol 2.0": startup_packet(PROTOCOL_2_0, bytes(288)),
    "protocol 4.0": startup_packet(4 << 16, text("user") + text("postgres") + b"\0"),
    "an unknown request code": startup_packet((1234 << 16) + 5999),
    "no terminator": startup_packet(PROTOCOL_3_0, text("user") + text("postgres")),
    "a name without a value": startup_packet(PROTOCOL_3_0, text("user") + b"\0"),
    "a string without an end": startup_packet(PROTOCOL_3_0, text("user") + b"postgres"),
    "no parameters at all": startup_packet(PROTOCOL_3_0),
    "an empty name": startup_packet(PROTOCOL_3_0, b"\0" + text("postgres") + b"\0"),
    "text that is not UTF-8": startup_packet(PROTOCOL_3_0, b"user\0\xff\xfe\0\0"),
    "options without a name (CVE-2026-107349)": StartupMessage(
        {"user": "postgres", "database": "app", "options": "-c="}
    ),
    "a query before the login": Query("SELECT 1"),
    "a backend's message": AuthenticationOk() + bytes(8),
}


@pytest.mark.parametrize("garbage", BAD_STARTUPS.values(), ids=BAD_STARTUPS.keys())
async def test_a_client_that_starts_badly_is_told_so_and_closed(
    pooler: Pooler, bystander: WireClient, open_client: OpenClient, garbage: bytes
) -> None:
    offender = await open_client(pooler)
    await offender.send(garbage)
    assert_refused(await offender.until_closed())
    await assert_unharmed(pooler, bystander)


@pytest.mark.parametrize("request_encryption", [SSLRequest(), GSSENCRequest()], ids=["TLS", "GSS"])
async def test_bytes_sent_behind_a_request_for_encryption_are_refused(
    pooler: Pooler, bystander: WireClient, open_client: OpenClient, request_encryption: bytes
) -> None:
    # Somebody else may have put them there before the encryption began (CVE-2021-23214).
    offender = await open_client(pooler)
    await offender.send(request_encryption, LOGIN)
    answer = await offender.bytes_until_closed()
    assert b"SFATAL\0" in answer
    assert b"R\0\0\0" not in answer
    await assert_unharmed(pooler, bystander)


async def test_a_client_that_never_finishes_its_startup_message_is_closed(
    make_pooler: MakePooler, connect: Connect, open_client: OpenClient
) -> None:
    pooler = await make_pooler(pool_size=1, client_login_timeout=0.3)
    bystander = await connect(pooler)
    offender = await open_client(pooler)
    await offender.send(LOGIN[:-5])
    assert await offender.until_closed() == ["E FATAL 08P01 client_login_timeout"]
    await assert_unharmed(pooler, bystander)


async def test_a_client_that_never_says_anything_is_closed(
    make_pooler: MakePooler, connect: Connect, open_client: OpenClient
) -> None:
    pooler = await make_pooler(pool_size=1, client_login_timeout=0.3)
    bystander = await connect(pooler)
    offender = await open_client(pooler)
    assert await offender.until_closed() == ["E FATAL 08P01 client_login_timeout"]
    await assert_unharmed(pooler, bystander)


async def test_who_knocks_and_waits_gives_way_to_newcomers(
    make_pooler: MakePooler, connect: Connect, open_client: OpenClient
) -> None:
    pooler = await make_pooler(pool_size=1, max_pending_logins_per_address=2)
    idlers = [await open_client(pooler) for _ in range(2)]
    for idler in idlers:
        await idler.send(LOGIN[:-5])  # before that the kernel keeps them waiting

    client = await connect(pooler)

    told = "E FATAL 08P01 too many logins at a time (max_pending_logins_per_address)"
    assert told in await idlers[0].until_closed()
    assert await client.query("SELECT 1") == SELECT_1
    await assert_unharmed(pooler, client)
    idlers[1].end_input()


async def test_who_has_logged_in_counts_no_more_among_those_who_are_logging_in(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, max_pending_logins=1)

    clients = [await connect(pooler) for _ in range(4)]

    for client in clients:
        assert await client.query("SELECT 1") == SELECT_1


async def test_a_client_that_leaves_before_it_says_anything_harms_nobody(
    pooler: Pooler, bystander: WireClient, open_client: OpenClient
) -> None:
    for_a_health_check = await open_client(pooler)
    for_a_health_check.end_input()
    assert await for_a_health_check.until_closed() == []
    await assert_unharmed(pooler, bystander)


# After the login


BAD_MESSAGES = {
    "garbage": b"\xde\xad\xbe\xef" * 8,
    "zeroes": bytes(64),
    "a second StartupMessage": LOGIN,
    "an SSLRequest": SSLRequest(),
    "a length below 4": b"Q" + struct.pack("!i", 3) + b"SELECT 1\0",
    "length 0": b"Q" + struct.pack("!i", 0) + b"SELECT 1\0",
    "a negative length": b"Q" + struct.pack("!i", -1) + b"SELECT 1\0",
    "the smallest length": b"Q" + struct.pack("!I", 1 << 31) + b"SELECT 1\0",
    "a Sync with length 0": b"S" + struct.pack("!i", 0),
    "an unknown message type": message("y", b"what"),
    "a message type of the backend": message("Z", b"I"),
    "a password nobody asked for": PasswordMessage("secret"),
    "a SASL message nobody asked for": SASLResponse("c=biws,r=x,p=y"),
}
bad_messages = pytest.mark.parametrize("garbage", BAD_MESSAGES.values(), ids=BAD_MESSAGES.keys())


@bad_messages
async def test_a_client_that_breaks_the_protocol_is_told_so_and_closed(
    pooler: Pooler, bystander: WireClient, connect: Connect, garbage: bytes
) -> None:
    offender = await connect(pooler)
    await offender.send(garbage)
    assert_refused(await offender.until_closed())
    await assert_unharmed(pooler, bystander)


@bad_messages
async def test_a_client_that_breaks_the_protocol_in_a_transaction_costs_its_server_only(
    pooler: Pooler, bystander: WireClient, connect: Connect, garbage: bytes
) -> None:
    offender = await connect(pooler)
    await offender.query("BEGIN")
    server = await offender.value("SELECT pg_backend_pid()")
    await offender.send(garbage)
    assert_refused(await offender.until_closed())
    assert await bystander.value("SELECT pg_backend_pid()") != server
    await assert_unharmed(pooler, bystander)


@bad_messages
async def test_a_client_that_breaks_the_protocol_behind_a_good_message_is_closed(
    pooler: Pooler, bystander: WireClient, connect: Connect, garbage: bytes
) -> None:
    offender = await connect(pooler)
    await offender.send(Query("SELECT 1"), garbage)
    assert_refused(await offender.until_closed())
    await assert_unharmed(pooler, bystander)


async def test_a_bind_whose_counts_overrun_it_is_left_to_postgresql(
    pooler: Pooler, postgres: Address, bystander: WireClient, connect: Connect
) -> None:
    client, direct = await connect(pooler), await connect(postgres)
    overrun = message("B", b"\0\0" + struct.pack("!hh", 0, 1000) + b"\0\0")
    pipeline = Parse("SELECT 1") + overrun + Execute() + Sync()
    await client.send(pipeline)
    await direct.send(pipeline)
    answer = await client.messages_until_ready()
    assert answer == await direct.messages_until_ready()
    assert str(answer[1]).startswith("E ERROR 08P01 ")
    assert await client.query("SELECT 1") == SELECT_1
    await assert_unharmed(pooler, bystander)


@pytest.mark.parametrize(
    "malformed",
    [
        message("Q", b"SELECT 1"),
        message("Q", b""),
        message("Q", text("SELECT 1") + b"more"),
        message("S", b"more") + Sync(),
        Parse("SELECT 1") + Bind() + message("E", b"\0") + Sync(),
        message("F", b"\0") + Sync(),
        message("P", b"\0SELECT 1") + Sync(),
        message("P", b"\0" + text("SELECT $1") + struct.pack("!h", 30000)) + Sync(),
    ],
    ids=[
        "a Query without an end",
        "an empty Query",
        "a Query with more behind its end",
        "a Sync with a body",
        "an Execute cut short",
        "a FunctionCall cut short",
        "a Parse without an end",
        "a Parse whose counts overrun it",
    ],
)
async def test_a_malformed_message_that_is_not_ours_to_read_is_left_to_postgresql(
    pooler: Pooler, postgres: Address, connect: Connect, malformed: bytes
) -> None:
    client, direct = await connect(pooler), await connect(postgres)
    await client.send(malformed, Query("SELECT 1"))
    await direct.send(malformed, Query("SELECT 1"))
    expected = await direct.until_closed_or(SELECT_1)
    assert await client.until_closed_or(SELECT_1) == expected
    other = await connect(pooler)
    await assert_unharmed(pooler, other)


@pytest.mark.parametrize(
    "unreadable",
    [
        message("B", b"portal without end"),
        message("B", b"\0statement without end"),
        message("P", b"statement without end"),
        message("D"),
        message("D", b"S"),
        message("C"),
        message("C", b"P"),
    ],
    ids=[
        "a Bind whose portal has no end",
        "a Bind whose statement has no end",
        "a Parse whose statement has no end",
        "an empty Describe",
        "a Describe without a name",
        "an empty Close",
        "a Close without a name",
    ],
)
async def test_a_message_whose_names_cannot_be_read_is_an_error(
    pooler: Pooler, bystander: WireClient, connect: Connect, unreadable: bytes
) -> None:
    # PostgreSQL's own error and a connection that goes on, or ours and a closed one.
    offender = await connect(pooler)
    await offender.send(unreadable, Sync())
    transcript = await offender.until_closed_or(["Z I"])
    assert re.match("E (ERROR|FATAL) 08P01 ", transcript[0]), transcript
    await assert_unharmed(pooler, bystander)


async def test_a_half_message_and_then_nothing_takes_no_server_away(
    pooler: Pooler, bystander: WireClient, connect: Connect
) -> None:
    offender = await connect(pooler)
    await offender.send(Query("SELECT 1")[:7])
    offender.end_input()
    await offender.until_closed()
    await assert_unharmed(pooler, bystander)


async def test_a_client_that_breaks_the_protocol_in_an_open_segment_costs_its_server_only(
    pooler: Pooler, bystander: WireClient, connect: Connect
) -> None:
    offender = await connect(pooler)
    await offender.send(Parse("SELECT 1"), Bind(), Flush())
    assert await offender.lines(2) == ["1", "2"]
    await eventually(a_server_is_linked(pooler))
    await offender.send(BAD_MESSAGES["garbage"])
    assert_refused(await offender.until_closed())
    await assert_unharmed(pooler, bystander)
