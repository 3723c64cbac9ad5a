"""Servers that misbehave at work: their client is told, they are closed, the pool goes on.

The fake server misbehaves on its first connection only, so each test also shows that the pooler
opens a second one and works again.
"""

from __future__ import annotations

import asyncio
import struct

import pytest

from pgpool_lite.pooler import Pooler
from tests.conftest import MakePooler
from tests.fake_postgres import (
    REPORTED,
    FakePostgres,
    FakeSession,
    Script,
    answer,
    answered_by,
    behave,
)
from tests.integration.conftest import Connect, OpenClient
from tests.integration.watch import no_server_is_linked
from tests.wire_client import WireClient, eventually
from tests.wire_messages import (
    AuthenticationOk,
    BackendKeyData,
    BackendMessage,
    CommandComplete,
    DataRow,
    ErrorResponse,
    ParameterStatus,
    Query,
    ReadyForQuery,
    RowDescription,
    StartupMessage,
    message,
)


def saying(*garbage: bytes) -> Script:
    """Return a script that answers a query with `garbage` and then falls silent."""

    async def script(session: FakeSession) -> None:
        await session.receive()
        await session.send(*garbage)
        await session.stay_silent()

    return script


async def assert_lost(client: WireClient) -> None:
    """Check that `client` is told that its server is lost, and closed."""
    transcript = await client.until_closed()
    assert transcript[-1:], "closed without a word"
    assert transcript[-1].startswith("E FATAL 08P01 "), transcript


async def assert_recovers(pooler: Pooler, connect: Connect, number: int = 2) -> None:
    """Check that a new client is served by connection `number` to the server."""
    client = await connect(pooler)
    assert await client.query("SELECT") == answered_by(number)
    await eventually(no_server_is_linked(pooler))


async def test_a_server_that_dies_in_a_query_costs_its_client_only(
    make_pooler: MakePooler, connect: Connect
) -> None:
    async def die(session: FakeSession) -> None:
        await session.receive()

    async with FakePostgres(die) as fake:
        pooler = await make_pooler(to=fake.url, pool_size=1)
        client, other = await connect(pooler), await connect(pooler)
        await client.send(Query("SELECT"))
        await assert_lost(client)
        assert await other.query("SELECT") == answered_by(2)
        await assert_recovers(pooler, connect)


async def test_a_server_that_dies_in_the_middle_of_a_message_costs_its_client_only(
    make_pooler: MakePooler, connect: Connect
) -> None:
    async def die(session: FakeSession) -> None:
        await session.receive()
        await session.send(RowDescription("number"), DataRow("x" * 1000)[:500])

    async with FakePostgres(die) as fake:
        pooler = await make_pooler(to=fake.url, pool_size=1)
        client = await connect(pooler)
        await client.send(Query("SELECT"))
        assert await client.lines(1) == ["T number"]
        # No sentence is possible inside of a message; a closed connection is all that can be told.
        await client.until_closed()
        await assert_recovers(pooler, connect)


async def test_a_server_that_dies_in_a_transaction_costs_its_client_only(
    make_pooler: MakePooler, connect: Connect
) -> None:
    async def die(session: FakeSession) -> None:
        await session.receive()
        await session.send(CommandComplete("BEGIN"), ReadyForQuery("T"))

    async with FakePostgres(die) as fake:
        pooler = await make_pooler(to=fake.url, pool_size=1)
        client = await connect(pooler)
        assert await client.query("BEGIN") == ["C BEGIN", "Z T"]
        await assert_lost(client)
        await assert_recovers(pooler, connect)


async def test_the_last_words_of_a_server_reach_its_client(
    make_pooler: MakePooler, connect: Connect
) -> None:
    shutdown = "terminating connection due to administrator command"

    async def die(session: FakeSession) -> None:
        await session.receive()
        await session.send(ErrorResponse(shutdown, severity="FATAL", sqlstate="57P01"))

    async with FakePostgres(die) as fake:
        pooler = await make_pooler(to=fake.url, pool_size=1)
        client = await connect(pooler)
        await client.send(Query("SELECT"))
        assert (await client.until_closed())[0] == f"E FATAL 57P01 {shutdown}"
        await assert_recovers(pooler, connect)


async def test_a_server_that_dies_idle_costs_nobody(
    make_pooler: MakePooler, connect: Connect
) -> None:
    may_die = asyncio.Event()

    async def die(session: FakeSession) -> None:
        await session.receive()
        await session.send(answer(session))
        await may_die.wait()

    async with FakePostgres(die) as fake:
        pooler = await make_pooler(to=fake.url, pool_size=1)
        client = await connect(pooler)
        assert await client.query("SELECT") == answered_by(1)
        may_die.set()
        await eventually(lambda: sum(pool.sv_idle for pool in pooler.pools()) == 0)
        assert await client.query("SELECT") == answered_by(2)


VIOLATIONS = {
    "garbage": b"\xde\xad\xbe\xef" * 16,
    "zeroes": bytes(64),
    "an unknown message type": message("y", b"what"),
    "a frontend message": Query("SELECT 1"),
    "a length below 4": b"D" + struct.pack("!i", 3) + bytes(8),
    "length 0": b"T" + struct.pack("!i", 0) + bytes(8),
    "a negative length": b"D" + struct.pack("!i", -5) + bytes(8),
    "a status that is no status": ReadyForQuery("X"),
    "an empty ReadyForQuery": message("Z"),
    "a ReadyForQuery that is too long": message("Z", b"II"),
    "a question for a password": message("R", struct.pack("!i", 3)),
    "a good row, then garbage": RowDescription("n") + DataRow("1") + b"\xde\xad\xbe\xef" * 16,
}


@pytest.mark.parametrize("violation", VIOLATIONS.values(), ids=VIOLATIONS.keys())
async def test_a_server_that_breaks_the_protocol_in_a_query_is_closed_and_replaced(
    make_pooler: MakePooler, connect: Connect, violation: bytes
) -> None:
    async with FakePostgres(saying(violation)) as fake:
        pooler = await make_pooler(to=fake.url, pool_size=1)
        client = await connect(pooler)
        await client.send(Query("SELECT"))
        await assert_lost(client)
        await assert_recovers(pooler, connect)


@pytest.mark.parametrize("body", [b"SERROR\0Mno\0\0", b"\0", b""], ids=["text", "none", "empty"])
async def test_cve_2026_6666_an_error_without_sqlstate_passes_and_harms_nobody(
    make_pooler: MakePooler, connect: Connect, body: bytes
) -> None:
    async def fail_strangely(session: FakeSession) -> None:
        await session.receive()
        await session.send(message("E", body), ReadyForQuery())
        await behave(session)

    async with FakePostgres(fail_strangely) as fake:
        pooler = await make_pooler(to=fake.url, pool_size=1)
        client = await connect(pooler)
        await client.send(Query("SELECT"))
        error, _ = await client.messages_until_ready()
        assert error == BackendMessage("E", body)
        assert await client.query("SELECT") == answered_by(1)
        await assert_recovers(pooler, connect, number=1)


async def test_a_server_that_says_ready_once_too_often_is_not_used_again(
    make_pooler: MakePooler, connect: Connect
) -> None:
    # Taken for the answer to the next query, it would shift every later answer by one.
    async def say_it_twice(session: FakeSession) -> None:
        await session.receive()
        await session.send(answer(session), ReadyForQuery())
        await session.stay_silent()

    async with FakePostgres(say_it_twice) as fake:
        pooler = await make_pooler(to=fake.url, pool_size=1)
        client = await connect(pooler)
        await client.send(Query("SELECT"))
        # The client gets its answer, or hears that its server is lost; both are honest.
        await client.until_closed_or(answered_by(1))
        await assert_recovers(pooler, connect)


UNASKED = {
    "ReadyForQuery": ReadyForQuery(),
    "a row": DataRow("someone else's"),
    "an error without SQLSTATE (CVE-2026-6666)": message("E", b"SFATAL\0\0"),
}


@pytest.mark.parametrize("said", UNASKED.values(), ids=UNASKED.keys())
async def test_what_nobody_asked_for_reaches_nobody_and_its_server_is_replaced(
    make_pooler: MakePooler, connect: Connect, said: bytes
) -> None:
    may_speak = asyncio.Event()

    async def speak_unasked(session: FakeSession) -> None:
        await session.receive()
        await session.send(answer(session))
        await may_speak.wait()
        await session.send(said)
        await session.stay_silent()

    async with FakePostgres(speak_unasked) as fake:
        pooler = await make_pooler(to=fake.url, pool_size=1)
        client = await connect(pooler)
        assert await client.query("SELECT") == answered_by(1)
        may_speak.set()
        await eventually(lambda: sum(pool.sv_idle for pool in pooler.pools()) == 0)
        assert await client.query("SELECT") == answered_by(2)


async def test_what_stands_behind_a_servers_login_is_nobodys_answer(
    make_pooler: MakePooler, open_client: OpenClient
) -> None:
    """Story: the answer to a query stood behind a server's welcome, in the same read. The first
    client to ask anything was given it, and every later answer of that server was the one before.
    """

    async def say_too_much(session: FakeSession) -> None:
        forged = DataRow("someone else's") + CommandComplete("SELECT 1") + ReadyForQuery()
        welcome = *(ParameterStatus(*each) for each in REPORTED.items()), BackendKeyData(1, 1)
        await session.send(AuthenticationOk(), *welcome, ReadyForQuery(), forged)
        await session.stay_silent()

    async with FakePostgres(login=say_too_much) as fake:
        pooler = await make_pooler(to=fake.url, pool_size=1, server_login_retry=0.1)
        client = await open_client(pooler)
        startup = StartupMessage({"user": "postgres", "database": "app"})

        await client.send(startup, Query("SELECT"))

        await client.until_ready()
        assert await client.until_ready() == answered_by(2)
