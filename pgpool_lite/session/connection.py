"""What the pairing needs from whoever holds the sockets, as narrow as it can be.

Sessions are paired below the floor that owns sockets, but bytes must get from one socket to the
other. So each session carries its connection, known only by these few methods, and beside it
what every query needs, `relay`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pgpool_lite.errors import ClientError

if TYPE_CHECKING:
    from pgpool_lite.session.server import ServerSession


class Connection(Protocol):
    """One side's socket as the other side sees it."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the other end."""

    @property
    def own_address(self) -> tuple[str, int]:
        """Host and port of our end."""

    @property
    def tls(self) -> str:
        """Version and cipher of its TLS; "" without."""

    def pause_reading(self) -> None:
        """Take nothing more from the socket: the other side's buffer is full."""

    def resume_reading(self) -> None:
        """Go on taking from the socket."""


class ClientSide(Connection, Protocol):
    """A client's socket."""

    def go_on(self, server: ServerSession) -> None:
        """Let the client have what it waited for: a server, or in LOGIN the server's welcome."""

    def send_held(self, server: ServerSession) -> None:
        """Send what was held back until `server` had accepted the client's parameters."""

    def look_again(self) -> None:
        """Go on with what waited for answers of the server, if they are there."""

    def follow_rules(self) -> bool:
        """Treat prepared statements by the pool's new rules; False: not now, but ask again."""

    def refuse(self, error: ClientError) -> None:
        """Tell the client why it is closed, and close it."""


class ServerSide(Connection, Protocol):
    """A server's socket."""

    def close(self) -> None:
        """Close the socket once everything written has gone out."""
