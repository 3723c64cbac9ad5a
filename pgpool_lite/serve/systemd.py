"""What is the service manager told, and which sockets does it pass on? sd_notify(3) and
sd_listen_fds(3), both of which PgBouncer uses; neither needs systemd's library.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

#: Where passed descriptors begin: SD_LISTEN_FDS_START.
_FIRST_DESCRIPTOR = 3


def notify(*lines: str) -> None:
    """Tell the service manager, if one listens, what state we are in: "READY=1" and the like."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    # It may have gone, and nobody else is to suffer from that.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.connect(address)
        manager.send("\n".join(lines).encode())


def notify_ready() -> None:
    """Say that clients may come, at start and after a reload."""
    notify("READY=1")


def notify_reloading() -> None:
    """Say that a reload begins; `notify_ready` ends it. Type=notify-reload wants the time."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def notify_stopping() -> None:
    """Say that the process is on its way out."""
    notify("STOPPING=1")


def passed_sockets() -> list[socket.socket]:
    """Return the listening sockets that the service manager opened for us, once."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = os.environ.get("LISTEN_FDS", "0")
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    if not count.isdecimal():
        return []
    return [
        socket.socket(fileno=number)
        for number in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count))
    ]
