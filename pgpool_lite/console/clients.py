"""Who is on the console? What SHOW CLIENTS tells of a console client.

A console client belongs to no pool, so the pools' lists do not have it. Each console connection
makes one `ConsoleClient` and keeps it while it lives; whoever shows clients is given them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pgpool_lite.errors import ClientError


class ConsoleSide(Protocol):
    """A console client's socket, as far as commands reach for it."""

    def refuse(self, error: ClientError) -> None:
        """Tell the client why it is closed, and close it."""


@dataclass(slots=True, eq=False)
class ConsoleClient:
    """One client of the console. Owned by its connection."""

    #: Number in SHOW CLIENTS and in the log; never used again.
    id: int
    user: str
    application_name: str
    #: Host and port of the other end, and of ours.
    address: tuple[str, int]
    own_address: tuple[str, int]
    connection: ConsoleSide
    #: Instants by the runtime's clock; the second moves with every message.
    connected_at: float
    requested_at: float
    #: Version and cipher of its TLS; "" without.
    tls: str = ""
    #: Of its process, where it came by a Unix socket.
    peer_pid: int = 0
    #: Bytes of the message that is being answered.
    message_size: int = 0
