"""The console's socket: what is written when, who is listed, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from pgpool_lite.config import Config, DatabaseSettings, Settings, from_keywords
from pgpool_lite.pool.applicants import Admission, Applicant, Origin
from pgpool_lite.pool.challenges import TRUST
from pgpool_lite.pool.registry import Registry
from pgpool_lite.proxy.chorus import Chorus
from pgpool_lite.proxy.console_connection import ConsoleConnection
from tests.console_client import RecordingControls, split
from tests.wire_messages import Query, Terminate, message

STATE = ["T key,value", "D active|yes", "D paused|no", "C SHOW", "Z I"]


class Host(RecordingControls):
    """A runtime that does nothing but stand there."""

    def __init__(self) -> None:
        super().__init__()
        databases = {"app": DatabaseSettings(name="app")}
        self.registry = Registry(Config(settings=from_keywords(), databases=databases), 0.0)
        self.consoles: set[ConsoleConnection] = set()
        self.console_waiters: set[ConsoleConnection] = set()
        self.chorus: Chorus | None = None
        self.now = 0.0
        self.clock: Callable[[], float] = lambda: self.now

    @property
    def settings(self) -> Settings:
        return self.registry.config.settings


class Wire(asyncio.Transport):
    """A transport that keeps what is written; its buffer is full whenever `is_full` says so."""

    def __init__(self) -> None:
        super().__init__(
            {
                "peername": ("10.0.0.9", 50_508),
                "sockname": ("10.0.0.1", 6432),
                "socket": SimpleNamespace(family=socket.AF_INET),
            }
        )
        self.written = b""
        self.protocol: asyncio.BaseProtocol | None = None
        self.is_full = False
        self.is_paused = False
        self._is_closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self._is_closing
        self.written += data
        if self.is_full:
            assert self.protocol is not None
            self.protocol.pause_writing()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True

    def heard(self) -> list[str]:
        """Return what has been written since the last call, as a transcript."""
        data, self.written = self.written, b""
        return [str(each) for each in split(data)]


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def wire() -> Wire:
    return Wire()


def connect(
    host: Host, wire: Wire, *, is_stats_user: bool = False, rest: bytes = b""
) -> ConsoleConnection:
    applicant = Applicant("root", host.registry.console, Origin(("unix", 0)), (), "psql")
    admission = Admission(applicant, "root", TRUST, is_console=True)
    admission.is_stats_user = is_stats_user
    return ConsoleConnection(host, wire, admission, host.registry.next_id(), rest)


def test_a_client_is_welcomed_and_listed(host: Host, wire: Wire) -> None:
    connection = connect(host, wire)

    assert (wire.heard()[0], wire.protocol) == ("R Ok", connection)
    assert host.consoles == {connection}
    assert connection.client.address == ("10.0.0.9", 50_508)
    assert host.registry.console.stats.now.client_login_count == 1


def test_what_came_with_the_login_is_answered(host: Host, wire: Wire) -> None:
    connect(host, wire, rest=Query("SHOW STATE"))

    assert wire.heard()[-5:] == STATE


def test_every_console_sees_all_consoles(host: Host, wire: Wire) -> None:
    connect(host, Wire())
    connection = connect(host, wire)
    wire.heard()

    connection.data_received(Query("SHOW CLIENTS"))

    assert [line[0] for line in wire.heard()] == ["T", "D", "D", "C", "Z"]


def test_a_stats_user_may_only_look(host: Host, wire: Wire) -> None:
    connection = connect(host, wire, is_stats_user=True)
    wire.heard()

    connection.data_received(Query("RELOAD"))

    assert wire.heard() == ["E ERROR 08P01 admin access needed", "Z I"]


def test_a_command_that_waits_is_answered_by_a_recheck(host: Host, wire: Wire) -> None:
    host.is_settled = False
    connection = connect(host, wire)
    wire.heard()
    connection.data_received(Query("PAUSE app"))
    connection.recheck()
    assert (wire.heard(), host.console_waiters) == ([], {connection})

    host.is_settled = True
    connection.recheck()

    assert (wire.heard(), host.console_waiters) == (["C PAUSE", "Z I"], set())


def test_a_client_that_leaves_while_its_command_waits_is_forgotten(host: Host, wire: Wire) -> None:
    host.is_settled = False
    connection = connect(host, wire)
    connection.data_received(Query("PAUSE"))

    assert connection.eof_received() is False
    connection.connection_lost(None)

    assert (host.consoles, host.console_waiters) == (set(), set())
    assert host.is_globally_paused


def test_answers_stop_while_the_client_does_not_read_them(host: Host, wire: Wire) -> None:
    connection = connect(host, wire)
    wire.heard()
    wire.is_full = True
    connection.data_received(Query("SHOW STATE") * 3)
    assert (wire.heard(), wire.is_paused) == (STATE, True)

    wire.is_full = False
    connection.resume_writing()

    assert (wire.heard(), wire.is_paused) == (STATE * 2, False)


def test_terminate_closes_the_connection(host: Host, wire: Wire) -> None:
    connection = connect(host, wire)

    connection.data_received(Terminate())

    assert wire.is_closing()
    assert not host.consoles


@pytest.mark.parametrize("data", [message("k"), b"Q\0\0\0\0"])
def test_who_breaks_the_protocol_is_told_and_closed(host: Host, wire: Wire, data: bytes) -> None:
    connection = connect(host, wire)
    wire.heard()

    connection.data_received(data)

    assert wire.heard()[0].startswith("E FATAL 08P01 ")
    assert wire.is_closing()


def test_too_much_behind_a_waiting_command_closes_the_connection(host: Host, wire: Wire) -> None:
    host.is_settled = False
    connection = connect(host, wire)
    connection.data_received(Query("PAUSE"))

    connection.data_received(b"x" * 70_000)

    assert wire.is_closing()
    assert not host.console_waiters


def test_a_console_that_kills_itself_is_not_answered(host: Host, wire: Wire) -> None:
    connection = connect(host, wire)
    wire.heard()

    connection.data_received(Query(f"KILL_CLIENT {connection.client.id}"))

    assert wire.heard() == ["E FATAL 08P01 admin forced disconnect"]
    assert wire.is_closing()


def test_the_end_of_the_pooler_closes_the_connection(host: Host, wire: Wire) -> None:
    connection = connect(host, wire)

    connection.close()
    connection.connection_lost(None)

    assert wire.is_closing()
    assert not host.consoles


def test_a_closed_connection_does_not_resume(host: Host, wire: Wire) -> None:
    connection = connect(host, wire)
    connection.pause_writing()
    connection.close()
    wire.heard()

    connection.pause_writing()
    connection.resume_writing()

    assert wire.heard() == []


def test_refusals_and_the_end_are_logged(
    host: Host, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    connection = connect(host, wire)
    name = f"C-0x{connection.client.id:x}: pgbouncer/root@10.0.0.9:50508"

    with caplog.at_level(logging.INFO, "pgpool_lite"):
        connection.data_received(Query("PAUSE nosuch"))
        host.now = 7.9
        connection.data_received(Terminate())

    assert caplog.messages == [
        "PAUSE 'nosuch' command issued",
        "no such database: nosuch",
        f"{name} pooler error: no such database: nosuch",
        f"{name} closing because: client close request (age=7s)",
    ]
