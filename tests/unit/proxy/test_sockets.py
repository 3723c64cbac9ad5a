"""What a socket says of its ends."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing
from dataclasses import replace

import pytest

from pgpool_lite.config import Settings
from pgpool_lite.proxy.sockets import own_address, peer_address, tune_listening


class Socket(asyncio.Transport):
    """A transport that knows its ends."""

    def __init__(self, end: object) -> None:
        super().__init__({"peername": end, "sockname": end})


@pytest.mark.parametrize(
    ("end", "address"),
    [
        (("10.0.0.1", 5432), ("10.0.0.1", 5432)),
        (("fe80::1", 5432, 0, 2), ("fe80::1", 5432)),
        (("::ffff:10.0.0.1", 5432, 0, 0), ("10.0.0.1", 5432)),
        (("::ffff:a00:1:2", 5432, 0, 0), ("::ffff:a00:1:2", 5432)),
        ("/tmp/.s.PGSQL.6432", ("unix", 6432)),
        (b"\0pooler/.s.PGSQL.6432", ("unix", 6432)),
        ("/tmp/elsewhere", ("unix", 0)),
        (None, ("unix", 0)),
    ],
)
def test_an_ipv4_client_has_an_ipv4_address_by_whatever_socket_it_came(
    end: object, address: tuple[str, int]
) -> None:
    """Story: a socket of systemd's takes IPv6 and IPv4, and a rule of the HBA file that rejects an
    IPv4 network let in who came by it from there.
    """
    assert (peer_address(Socket(end)), own_address(Socket(end))) == (address, address)


# --- what clients inherit ---


def options_of_next(listening: socket.socket) -> dict[str, int]:
    """Let one more client in; return what was set on its socket."""
    names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
    with closing(socket.create_connection(listening.getsockname())):
        accepted, _ = listening.accept()
    with closing(accepted):
        found = {
            name: accepted.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names
        }
        is_probed = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    return {**found, "SO_KEEPALIVE": is_probed}


def test_clients_inherit_what_the_listening_socket_was_told_also_that_nothing_holds_any_more() -> (
    None
):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        usual = options_of_next(listening)
        settings = Settings(tcp_keepidle=77, tcp_keepintvl=7, tcp_keepcnt=3, tcp_user_timeout=4321)

        tune_listening(listening, settings)
        tuned = options_of_next(listening)
        tune_listening(listening, replace(settings, tcp_keepalive=False, tcp_user_timeout=0))
        reset = options_of_next(listening)

    assert tuned == {
        "TCP_KEEPIDLE": 77,
        "TCP_KEEPINTVL": 7,
        "TCP_KEEPCNT": 3,
        "TCP_USER_TIMEOUT": 4321,
        "SO_KEEPALIVE": 1,
    }
    assert reset == usual
