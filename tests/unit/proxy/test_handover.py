"""What the kernel does with newcomers to a socket that is about to be closed."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from pgpool_lite.proxy import handover


@pytest.fixture(params=["127.0.0.1", "::1"])
def listening(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    """A listening socket, by either version of IP."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.create_server((request.param, 0), family=family) as made:
        made.settimeout(10)
        yield made


def test_who_says_nothing_is_let_in_when_tcp_defer_accept_ends(listening: socket.socket) -> None:
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
    with socket.create_connection(listening.getsockname()[:2]) as silent:
        handover.let_in_the_silent(listening)

        accepted, address = listening.accept()

        with accepted:
            assert address == silent.getsockname()


def test_who_says_nothing_is_half_way_and_who_is_let_in_is_not(listening: socket.socket) -> None:
    address = listening.getsockname()[:2]
    assert not handover.is_half_way(address[1])

    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
    with socket.create_connection(address) as client:
        assert handover.is_half_way(address[1])

        client.sendall(b"hello")
        with listening.accept()[0]:
            assert not handover.is_half_way(address[1])


def test_where_the_kernel_does_not_tell_somebody_may_be_half_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handover, "_TABLES", ("/no/such/table",))

    assert handover.is_half_way(1)


def test_who_has_begun_goes_on_while_newcomers_are_dropped(listening: socket.socket) -> None:
    address = listening.getsockname()[:2]
    with socket.create_connection(address) as early:
        handover.drop_newcomers(listening)
        with listening.accept()[0] as accepted:
            early.sendall(b"still there")

            assert accepted.recv(11) == b"still there"

        with pytest.raises(TimeoutError):
            socket.create_connection(address, timeout=0.1)
