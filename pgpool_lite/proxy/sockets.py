"""What a socket tells and is told: who is at its ends, and how the kernel is to treat it."""

from __future__ import annotations

import asyncio
import pwd
import re
import socket
from struct import Struct
from typing import Final, Protocol

from pgpool_lite.config import Settings
from pgpool_lite.wire.channel_binding import end_point_binding

#: How IPv6 writes an IPv4 address. RFC 4291, section 2.5.5.2.
_MAPPED: Final = "::ffff:"
#: How the name of a Unix socket ends for which PostgreSQL's clients look.
_UNIX_PORT: Final = re.compile(r"/\.s\.PGSQL\.([0-9]{1,5})$")
#: What Linux tells of a Unix socket's peer: process, user, group. unix(7), SO_PEERCRED.
_UCRED: Final = Struct("3i")


class TunableSocket(Protocol):
    """A socket as far as it is tuned; an event loop's transports show one of their own class."""

    @property
    def family(self) -> int:
        """The address family."""

    def setsockopt(self, level: int, option: int, value: int, /) -> None:
        """Set an option."""


class Receiver(Protocol):
    """What a transport calls: asyncio's Protocol, less `connection_made`, which only a first has.

    A class that inherits from `asyncio.Protocol` is an ordinary one of Python's, however it is
    compiled: each of its fields is looked up by name. Those of a class that only looks like one
    are read from where they lie (docs/design/decisions.md).
    """

    def data_received(self, data: bytes) -> None:
        """Take a read."""

    def eof_received(self) -> bool | None:
        """Note that the peer will send no more; say whether to keep the connection open."""

    def pause_writing(self) -> None:
        """Write no more for now: the transport's buffer is full."""

    def resume_writing(self) -> None:
        """Write again."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Clear up: the socket is closed."""


def as_protocol(receiver: Receiver) -> asyncio.Protocol:
    """Return a receiver as what event loops ask for."""
    return receiver  # type: ignore[return-value]  # it looks like one


def hand_over(transport: asyncio.Transport, receiver: Receiver) -> None:
    """Have `receiver` told of everything that comes from now on."""
    transport.set_protocol(as_protocol(receiver))


def peer_address(transport: asyncio.Transport) -> tuple[str, int]:
    """Return host and port of the other end; of a Unix socket "unix" and the port in its name."""
    return _address(transport, "peername", "sockname")


def own_address(transport: asyncio.Transport) -> tuple[str, int]:
    """Return host and port of this end; port 0 for a Unix socket that we have dialed."""
    return _address(transport, "sockname")


def _address(transport: asyncio.Transport, *ends: str) -> tuple[str, int]:
    """Return host and port of the first end; a Unix socket has a name at the listening end only."""
    for end in ends:
        name = transport.get_extra_info(end)
        if isinstance(name, tuple) and len(name) >= 2:
            return _plain_host(str(name[0])), int(name[1])
        found = _UNIX_PORT.search(name.decode() if isinstance(name, bytes) else str(name))
        if found:
            return "unix", int(found[1])
    return "unix", 0


def _plain_host(host: str) -> str:
    """Return an IPv4 address as such, by whatever socket it came.

    Sockets that a service manager passes on may take both versions, and show ::ffff:10.0.0.1 then:
    HBA rules for IPv4 would be about nobody, those that reject as well.
    """
    return host.removeprefix(_MAPPED) if "." in host else host


def is_unix(transport: asyncio.Transport) -> bool:
    """Tell whether the connection stays on this machine, by a Unix socket."""
    return bool(transport.get_extra_info("socket").family == socket.AF_UNIX)


def tls_name(transport: asyncio.Transport | None) -> str:
    """Return version and cipher of a connection's TLS, as SHOW and the log name it; "" without."""
    session = transport.get_extra_info("ssl_object") if transport is not None else None
    cipher = session.cipher() if session is not None else None
    return f"{session.version()}/{cipher[0]}" if session is not None and cipher else ""


def channel_binding(transport: asyncio.Transport) -> bytes:
    """Return the tls-server-end-point data of the server we are connected to; b"" without."""
    session = transport.get_extra_info("ssl_object")
    certificate = session.getpeercert(binary_form=True) if session is not None else None
    return end_point_binding(certificate) if certificate else b""


def certificate_names(transport: asyncio.Transport) -> tuple[str, tuple[str, ...]]:
    """Return the common name in the peer's certificate, and the DNS names beside it.

    Only a certificate that has been verified counts; without one they are "" and nothing.
    """
    session = transport.get_extra_info("ssl_object")
    certificate = (session.getpeercert() if session is not None else None) or {}
    subject = certificate.get("subject", ())
    names = [value for part in subject for key, value in part if key == "commonName"]
    alternatives = certificate.get("subjectAltName", ())
    return "".join(names[:1]), tuple(value for kind, value in alternatives if kind == "DNS")


def peer_uid(transport: asyncio.Transport) -> int | None:
    """Return the user id of the process at the other end of a Unix socket; None for any other."""
    credentials = _credentials(transport)
    return credentials and credentials[1]


def peer_pid(transport: asyncio.Transport) -> int:
    """Return the number of the process at the other end of a Unix socket; 0 for any other."""
    credentials = _credentials(transport)
    return credentials[0] if credentials else 0


def _credentials(transport: asyncio.Transport) -> tuple[int, int, int] | None:
    """Return process, user and group at the other end of a Unix socket, if the system tells."""
    peer_socket = transport.get_extra_info("socket")
    if peer_socket.family != socket.AF_UNIX or not hasattr(socket, "SO_PEERCRED"):
        return None
    size = _UCRED.size
    pid, uid, gid = _UCRED.unpack(
        peer_socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    )
    return pid, uid, gid


def system_user_name(user_id: int) -> str:
    """Return the name of one of the system's users; "" if there is none of that number."""
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return ""


def tune(tcp_socket: TunableSocket, settings: Settings) -> None:
    """Set what the tcp_* settings ask of a socket of either side; a Unix socket needs none of it.

    Keepalive probes (tcp_keepalive and its kin), tcp_user_timeout and tcp_socket_buffer, all tcp(7)
    and socket(7); a 0 leaves the kernel's own figure. Nagle's algorithm is always off. Raises
    OSError for a value that the kernel refuses.
    """
    if tcp_socket.family == socket.AF_UNIX:
        return
    tcp_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if settings.tcp_keepalive:
        tcp_socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _figures(settings).items():
        if value and hasattr(socket, option):  # macOS has other names for some of them
            tcp_socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    set_buffers(tcp_socket, settings)


def set_buffers(tcp_socket: TunableSocket, settings: Settings) -> None:
    """Give a TCP socket the buffers of tcp_socket_buffer; a 0 leaves the kernel's own figure."""
    size = settings.tcp_socket_buffer
    if size and tcp_socket.family != socket.AF_UNIX:
        tcp_socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
        tcp_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


def tune_listening(listening: TunableSocket, settings: Settings) -> None:
    """Have a listening socket's clients tuned as `tune` would, but for their buffers.

    An accepted socket inherits what was set on the listening one, in Linux and in the BSDs, and the
    event loops switch Nagle's algorithm off. Asking it of each client instead takes two system
    calls, and three more in uvloop, which makes a socket object for each: 5 of 24 per login.
    Settings change, so what is 0 now is set back to the kernel's own figure, which a new socket
    has. Raises OSError for a value that the kernel refuses.
    """
    if listening.family == socket.AF_UNIX:
        return
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(settings.tcp_keepalive))
    with socket.socket(listening.family) as untouched:
        for name, value in _figures(settings).items():
            if hasattr(socket, name):
                option = getattr(socket, name)
                usual = untouched.getsockopt(socket.IPPROTO_TCP, option)
                listening.setsockopt(socket.IPPROTO_TCP, option, value or usual)


def _figures(settings: Settings) -> dict[str, int]:
    """Return the options of TCP that the settings give a figure, by their names in tcp(7)."""
    probes = {
        "TCP_KEEPIDLE": settings.tcp_keepidle,
        "TCP_KEEPINTVL": settings.tcp_keepintvl,
        "TCP_KEEPCNT": settings.tcp_keepcnt,
    }
    return {
        **(probes if settings.tcp_keepalive else dict.fromkeys(probes, 0)),
        "TCP_USER_TIMEOUT": settings.tcp_user_timeout,
    }


def defer_accept(listening: TunableSocket, settings: Settings) -> None:
    """Have a listening TCP socket tell of a client only once it has said something.

    PgBouncer's tcp_defer_accept; TCP_DEFER_ACCEPT in tcp(7), which only Linux has.
    """
    if listening.family != socket.AF_UNIX and hasattr(socket, "TCP_DEFER_ACCEPT"):
        wanted = int(settings.tcp_defer_accept)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, wanted)
