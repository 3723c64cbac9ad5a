"""What a socket says of its ends."""

from __future__ import annotations

import asyncio

import pytest

from pgpool_lite.proxy.sockets import own_address, peer_address


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
