"""What a login costs that can be counted: writes, and questions to the socket."""

from __future__ import annotations

import asyncio
import logging
import socket

import pytest

from pgpool_lite.config import config_for_url
from pgpool_lite.proxy.anteroom import LOOK_EVERY, RESERVED_DESCRIPTORS
from pgpool_lite.proxy.client_connection import ClientConnection
from pgpool_lite.proxy.client_login import ClientLoginConnection
from pgpool_lite.proxy.runtime import Runtime
from pgpool_lite.wire.frontend import encode_sasl_initial, encode_sasl_response
from pgpool_lite.wire.scram import ScramClient
from tests.console_client import split
from tests.unit.pairs import WELCOME
from tests.unit.world import FakeTransport
from tests.wire_messages import StartupMessage

STARTUP = StartupMessage({"user": "alice", "database": "app", "application_name": "psql"})
CONSOLE = StartupMessage({"user": "alice", "database": "pgbouncer"})


class Socket:
    """A TCP socket with a number, and nothing behind it."""

    family = socket.AF_INET

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.options: list[int] = []

    def fileno(self) -> int:
        return self._descriptor

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self.options.append(option)


class Transport(FakeTransport):
    """A fake transport that notes what it is asked, and for whom it reads."""

    def __init__(self, descriptor: int = 10) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.protocol: asyncio.BaseProtocol | None = None
        self._socket = Socket(descriptor)

    def get_extra_info(self, name: str, default: object = None) -> object:
        self.asked.append(name)
        return self._socket if name == "socket" else super().get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol


def make_runtime(url: str = "postgresql://alice@127.0.0.1/app", **settings: object) -> Runtime:
    """Return a pooler that is not started, whose pool of alice has been welcomed by a server."""
    quiet = {"log_connections": False, "log_disconnections": False, **settings}
    runtime = Runtime(config_for_url(url, **quiet))
    registry = runtime.registry
    pool = registry.pool_for(registry.find_database("app", 0.0), "alice")
    pool.welcome = dict(WELCOME)
    return runtime


def arrive(runtime: Runtime, descriptor: int = 10) -> tuple[ClientLoginConnection, Transport]:
    """Let a client come to the door."""
    newcomer, transport = ClientLoginConnection(runtime), Transport(descriptor)
    newcomer.connection_made(transport)
    return newcomer, transport


def prove(newcomer: ClientLoginConnection, transport: Transport) -> None:
    """Answer what a client by SCRAM is asked."""
    client = ScramClient("secret", lambda: "client-nonce")
    newcomer.data_received(encode_sasl_initial("SCRAM-SHA-256", client.first()))
    newcomer.data_received(encode_sasl_response(client.final(transport.writes[-1][9:])))


def shown(data: bytes) -> list[str]:
    """Return the lines of a transcript, one for each message."""
    return [str(message) for message in split(data)]


# --- writes ---


def test_a_client_that_is_trusted_gets_its_whole_welcome_in_one_write() -> None:
    newcomer, transport = arrive(make_runtime())

    newcomer.data_received(STARTUP)

    [welcome] = transport.writes
    told = shown(welcome)
    assert (told[0], told[-1]) == ("R Ok", "Z I")
    assert "S application_name=psql" in told
    assert isinstance(transport.protocol, ClientConnection)


def test_a_login_by_scram_takes_three_writes_the_last_with_the_whole_welcome() -> None:
    newcomer, transport = arrive(make_runtime("postgresql://alice:secret@127.0.0.1/app"))

    newcomer.data_received(STARTUP)
    prove(newcomer, transport)

    offer, challenge, welcome = map(shown, transport.writes)
    assert (offer, challenge) == (["R SASL SCRAM-SHA-256"], ["R SASLContinue"])
    assert welcome[:2] == ["R SASLFinal", "R Ok"]
    assert welcome[-1] == "Z I"


def test_a_client_of_the_console_hears_that_it_has_proved_itself_before_its_welcome() -> None:
    runtime = make_runtime("postgresql://alice:secret@127.0.0.1/app")
    newcomer, transport = arrive(runtime)

    newcomer.data_received(CONSOLE)
    prove(newcomer, transport)

    told = shown(transport.written)
    assert told[2:4] == ["R SASLFinal", "R Ok"]
    assert told[-1] == "Z I"


def test_who_must_wait_for_the_first_server_hears_that_it_has_proved_itself_at_once() -> None:
    runtime = make_runtime("postgresql://alice:secret@127.0.0.1/app")
    runtime.dispatcher.open_server = lambda pool, client: None
    for pool in runtime.registry.pools.values():
        pool.welcome = None
    newcomer, transport = arrive(runtime)

    newcomer.data_received(STARTUP)
    prove(newcomer, transport)

    assert shown(transport.writes[-1]) == ["R SASLFinal"]
    assert transport.protocol is None


# --- questions to the socket ---


def test_a_usual_client_is_asked_for_nothing_but_its_address() -> None:
    runtime = make_runtime()
    arrive(runtime)  # the first one's descriptor is looked at
    newcomer, transport = arrive(runtime)

    newcomer.data_received(STARTUP)

    assert transport.asked == ["peername"]


def test_the_descriptor_of_one_newcomer_in_so_many_is_looked_at() -> None:
    runtime = make_runtime()

    transports = [arrive(runtime)[1] for _ in range(2 * LOOK_EVERY)]

    looked_at = [number for number, each in enumerate(transports) if "socket" in each.asked]
    assert looked_at == [0, LOOK_EVERY]


def test_while_descriptors_are_short_each_newcomer_is_looked_at_and_refused(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.ERROR)
    monkeypatch.setattr("resource.getrlimit", lambda kind: (100, 100))
    runtime = make_runtime(log_pooler_errors=False)
    high = 100 - RESERVED_DESCRIPTORS

    refused = [arrive(runtime, high)[1] for _ in range(3)]
    _, inside = arrive(runtime, high - 1)

    assert [each.is_closing() for each in refused] == [True] * 3
    assert not inside.is_closing()
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_each_newcomers_socket_gets_its_buffers_where_they_have_a_size() -> None:
    runtime = make_runtime(tcp_socket_buffer=65_536)

    transports = [arrive(runtime)[1] for _ in range(3)]

    sizes = [socket.SO_SNDBUF, socket.SO_RCVBUF]
    assert [each._socket.options for each in transports] == [sizes] * 3
