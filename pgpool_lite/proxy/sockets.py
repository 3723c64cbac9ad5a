"""What a socket tells and is told: who is at its ends, and whether it probes a silent peer."""

from __future__ import annotations

import asyncio
import socket
from struct import Struct
from typing import Final

from pgpool_lite.config import Settings

#: What Linux tells of a Unix socket's peer: process, user, group. unix(7), SO_PEERCRED.
_UCRED: Final = Struct("3i")


def peer_address(transport: asyncio.Transport) -> tuple[str, int]:
    """Return host and port of the other end; ("unix", 0) for a unix socket."""
    return _address(transport, "peername")


def own_address(transport: asyncio.Transport) -> tuple[str, int]:
    """Return host and port of this end; ("unix", 0) for a unix socket."""
    return _address(transport, "sockname")


def _address(transport: asyncio.Transport, end: str) -> tuple[str, int]:
    name = transport.get_extra_info(end)
    if isinstance(name, tuple) and len(name) >= 2:
        return str(name[0]), int(name[1])
    return "unix", 0


def peer_uid(transport: asyncio.Transport) -> int | None:
    """Return the user id of the process at the other end of a Unix socket; None for any other."""
    peer_socket = transport.get_extra_info("socket")
    if peer_socket.family != socket.AF_UNIX or not hasattr(socket, "SO_PEERCRED"):
        return None
    size = _UCRED.size
    _, uid, _ = _UCRED.unpack(peer_socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(uid)


def keep_alive(transport: asyncio.Transport, settings: Settings) -> None:
    """Have the kernel probe a silent peer: tcp_keepalive, tcp_keepidle, tcp_keepintvl, tcp_keepcnt.

    Of the last three, 0 leaves the kernel's own figure. A unix socket needs none of it.
    """
    tcp_socket = transport.get_extra_info("socket")
    if not settings.tcp_keepalive or tcp_socket.family == socket.AF_UNIX:
        return
    tcp_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", settings.tcp_keepidle),
        ("TCP_KEEPINTVL", settings.tcp_keepintvl),
        ("TCP_KEEPCNT", settings.tcp_keepcnt),
    ):
        if value and hasattr(socket, option):  # macOS has other names for some of them
            tcp_socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), int(value))
