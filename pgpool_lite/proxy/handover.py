"""How does a listening socket close without resetting anybody, where others share its port?

Closing it resets whom the kernel has let in, and whose handshake is under way: a connection belongs
to the socket that its SYN came to (so_reuseport), and only net.ipv4.tcp_migrate_req, off by
default, lets it move. So, before it closes, no handshake may be under way, and none may begin:

      0 s        tcp_defer_accept is switched off. Who has connected and says nothing is kept by the
                 kernel; it asks such a client once more within a second, and lets it in then.
      ANSWER_S   SYNs are dropped: at once if nobody `is_half_way`. Their clients send them again
                 after a second (RFC 6298), when only the other sockets are left; handshakes under
                 way come to their end.
      + OPENING_S   the doorway accepts who is left, and closes.

All sockets of the port may do so at once, and no process needs to know another's place among them,
as a program that steers (SO_ATTACH_REUSEPORT_CBPF) would. The doorway keeps the time.
"""

from __future__ import annotations

import socket
from array import array
from struct import Struct
from typing import Final, Protocol

#: The kernel's first pause before it repeats a SYN-ACK is 1 s: TCP_TIMEOUT_INIT. Some more, for its
#: timer's grain and the way to the client.
ANSWER_S: Final = 1.3
#: A handshake that takes longer is reset in the end. Less than the second after which a client
#: repeats its SYN, so that the repetition finds the socket closed.
OPENING_S: Final = 0.5
#: What the kernel knows of connections; the local address and the state of each are the second and
#: the fourth word of its line. proc(5).
_TABLES: Final = ("/proc/net/tcp", "/proc/net/tcp6")
_SYN_RECV: Final = b"03"
#: SO_ATTACH_FILTER, which the module socket does not name. asm-generic/socket.h.
_ATTACH_FILTER: Final = 26
#: struct sock_filter and struct sock_fprog of linux/filter.h.
_INSTRUCTION: Final = Struct("=HBBI")
_PROGRAM: Final = Struct("HP")
#: Classic BPF over a segment from its TCP header on: pass all but those with SYN and without ACK.
_DROP_SYN: Final = (
    (0x30, 0, 0, 13),  # load the byte with the flags
    (0x54, 0, 0, 0x12),  # and: SYN, ACK
    (0x15, 0, 1, 0x02),  # equal to SYN alone?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFF_FFFF),  # pass
)


class ListeningSocket(Protocol):
    """A listening socket as far as it is told what to do with newcomers."""

    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> None:
        """Set an option."""


def is_possible() -> bool:
    """Say whether this system can do it; only Linux can."""
    return hasattr(socket, "TCP_DEFER_ACCEPT")


def let_in_the_silent(listening: ListeningSocket) -> None:
    """Have the kernel let clients in that have not said anything, those as well that wait now."""
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 0)


def is_half_way(port: int) -> bool:
    """Say whether anybody has a handshake under way at a port: to be asked behind the above.

    So it is with who has connected and says nothing, as long as tcp_defer_accept keeps it out. True
    as well where the kernel does not tell.
    """
    ending = b":%04X" % port
    try:
        for table in _TABLES:
            with open(table, "rb") as lines:
                for line in lines:
                    words = line.split(None, 4)
                    if words[3] == _SYN_RECV and words[1].endswith(ending):
                        return True
    except OSError:
        return True
    return False


def drop_newcomers(listening: ListeningSocket) -> None:
    """Have the kernel drop what would begin another connection, and go on with those begun.

    Accepted sockets inherit the filter, and never get what it drops. It stays on a socket that
    another process holds as well, so it is for sockets of our own. Raises OSError where the kernel
    takes no filters.
    """
    program = array("B", b"".join(_INSTRUCTION.pack(*each) for each in _DROP_SYN))
    address, _ = program.buffer_info()
    described = _PROGRAM.pack(len(_DROP_SYN), address)
    listening.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, described)
