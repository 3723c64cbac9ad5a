"""What is a probe answered, and what is it not allowed to do?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from pgpool_lite.config import Settings
from pgpool_lite.errors import ConfigError
from pgpool_lite.proxy import health
from pgpool_lite.proxy.health import MAX_CONNECTIONS, MAX_REQUEST, HealthPort
from tests.wire_client import eventually

LIVE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
READY = b"GET /readyz HTTP/1.1\r\n\r\n"


@dataclass
class Condition:
    """What a runtime would say of itself."""

    is_shutting_down: bool = False
    is_globally_paused: bool = False


def status(response: bytes) -> int:
    """Return the status of a whole HTTP response, whose length has to be true."""
    head, _, body = response.partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(body) in head or not body
    return int(head.split(b" ")[1])


@pytest.mark.parametrize(
    ("condition", "live", "ready"),
    [
        (Condition(), 200, 200),
        (Condition(is_globally_paused=True), 200, 503),
        (Condition(is_shutting_down=True), 200, 503),
    ],
)
def test_alive_is_one_thing_and_ready_another(condition: Condition, live: int, ready: int) -> None:
    port = HealthPort(condition)

    assert (status(port.answer(LIVE)), status(port.answer(READY))) == (live, ready)


@pytest.mark.parametrize(
    ("request_head", "expected"),
    [
        (b"HEAD /healthz HTTP/1.0\r\n\r\n", 200),
        (b"GET /healthz?verbose HTTP/1.1\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"POST /healthz HTTP/1.1\r\n\r\n", 405),
        (b"\0\0\0\x08\x04\xd2\x16\x2f\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
    ],
)
def test_anything_else_is_refused(request_head: bytes, expected: int) -> None:
    assert status(HealthPort(Condition()).answer(request_head)) == expected


def test_head_has_no_body() -> None:
    response = HealthPort(Condition()).answer(b"HEAD /readyz HTTP/1.1\r\n\r\n")

    assert response.endswith(b"\r\n\r\n")


# --- on a socket ---


@pytest.fixture
async def port() -> AsyncIterator[HealthPort]:
    port = HealthPort(Condition())
    await port.open(Settings(health_listen="127.0.0.1:0"))
    yield port
    port.close()


async def ask(port: HealthPort, *pieces: bytes) -> bytes:
    """Send a request in pieces and return what comes until the end."""
    reader, writer = await asyncio.open_connection(*port.address)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_a_request_may_come_in_pieces(port: HealthPort) -> None:
    assert status(await ask(port, LIVE)) == 200
    assert status(await ask(port, LIVE[:7], LIVE[7:-1], LIVE[-1:])) == 200


async def test_a_request_that_is_too_long_is_hung_up_on(port: HealthPort) -> None:
    assert await ask(port, b"GET /healthz HTTP/1.1\r\nX: ", b"x" * MAX_REQUEST) == b""


async def test_who_says_nothing_is_hung_up_on(
    port: HealthPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PATIENCE_S", 0.01)

    assert await ask(port, b"GET") == b""


async def test_only_so_many_are_listened_to_at_a_time(port: HealthPort) -> None:
    silent = [await asyncio.open_connection(*port.address) for _ in range(MAX_CONNECTIONS)]

    assert await ask(port, LIVE) == b""

    for _, writer in silent:
        writer.close()

    async def is_answered() -> bool:
        return await ask(port, LIVE) != b""

    await eventually(is_answered)


async def test_close_hangs_up() -> None:
    port = HealthPort(Condition())
    await port.open(Settings(health_listen="127.0.0.1:0"))
    reader, writer = await asyncio.open_connection(*port.address)
    writer.write(b"GET")
    await eventually(lambda: bool(port._probes))

    port.close()

    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_it_is_off_by_default() -> None:
    port = HealthPort(Condition())

    await port.open(Settings())

    assert port._server is None
    port.close()


async def test_an_address_that_is_taken_is_a_configuration_error(port: HealthPort) -> None:
    host, number = port.address

    with pytest.raises(ConfigError, match=r"health_listen: cannot listen on 127.0.0.1:\d+: "):
        await HealthPort(Condition()).open(Settings(health_listen=f"{host}:{number}"))
