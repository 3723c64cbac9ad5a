"""What is the service manager told, and which sockets come from it?"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgpool_lite.serve import systemd


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield manager


def test_each_state_is_told(manager: socket.socket) -> None:
    systemd.notify_ready()
    systemd.notify_reloading()
    systemd.notify_stopping()

    ready, reloading, stopping = (manager.recv(100).decode() for _ in range(3))
    assert (ready, stopping) == ("READY=1", "STOPPING=1")
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", reloading)


def test_an_abstract_address_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"pgpool-lite-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")

        systemd.notify_ready()

        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all"])
def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)

    systemd.notify_ready()


def test_sockets_that_are_passed_are_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        monkeypatch.setattr(systemd, "_FIRST_DESCRIPTOR", os.dup(opened.fileno()))
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")

        (taken,) = systemd.passed_sockets()

        with taken:
            assert taken.getsockname() == opened.getsockname()
        assert systemd.passed_sockets() == []


@pytest.mark.parametrize(
    ("pid", "count"), [("1", "1"), pytest.param(str(os.getpid()), "many", id="own-many"), ("", "1")]
)
def test_sockets_for_another_process_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, pid: str, count: str
) -> None:
    monkeypatch.setenv("LISTEN_PID", pid)
    monkeypatch.setenv("LISTEN_FDS", count)

    assert systemd.passed_sockets() == []
