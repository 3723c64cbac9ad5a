"""Where does one server connection lead? Known from the moment it is opened to its end.

The connector chooses it, SHOW SERVERS and the log name it, a cancel request is sent to the same
place, and when a host name loses an address this tells which servers stand on it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of one host, and the port."""

    #: As configured: the name that was resolved, or the address itself.
    host: str
    #: An IP address, or the directory of a Unix socket; "@" and a name is an abstract one.
    address: str
    port: int

    @property
    def is_unix(self) -> bool:
        """It is a Unix socket."""
        return is_socket_directory(self.address)

    @property
    def shown(self) -> tuple[str, int]:
        """Host and port for the log and SHOW; every Unix socket is called "unix"."""
        return "unix" if self.is_unix else self.address, self.port

    @property
    def socket_path(self) -> str:
        """The Unix socket's path, in the form in which the kernel takes it: unix(7)."""
        path = f"{self.address}/.s.PGSQL.{self.port}"
        return f"\0{path[1:]}" if path.startswith("@") else path


def is_socket_directory(host: str) -> bool:
    """Say whether a host is the directory of a Unix socket, or an abstract one's name."""
    return host.startswith(("/", "@"))
