"""Who is at the ends of a socket, in the form in which SHOW and the log print it."""

from __future__ import annotations

import asyncio


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
