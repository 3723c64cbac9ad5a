"""What a socket tells and is told: who is at its ends, and whether it probes a silent peer."""

from __future__ import annotations

import asyncio
import socket

from pgpool_lite.config import Settings


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
