"""Which process has the client that a CancelRequest names? Peers, as PgBouncer encodes them.

Where several processes listen on one port, a CancelRequest may reach another than the one that
told the client its key. So the key carries the process's peer_id, and the request is passed on to
that peer. The layout is PgBouncer 1.26.1's, so that its processes and ours can be peers:

      pid (4 bytes)                     secret (4 bytes)
    | 0rrrrrrr | peer & 0xFF | peer >> 8 | r | r | r | r | rrrrrrTT |

r is random; TT counts the hops left, 3 in the key that a client is told. Peers that do not agree
about who is who could otherwise pass a request around for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from pgpool_lite.wire.frontend import CancelKey

_PEER_BITS: Final = 0x00FFFF00
_HOPS: Final = 0x03
#: Of the secret's bytes, the one that counts hops.
_HOPS_AT: Final = 3
#: Requests that may wait for one peer. Anybody can make them up, and their senders need not stay.
MAX_REQUESTS: Final = 1_000


def mark(key: CancelKey, peer_id: int) -> CancelKey:
    """Return a random key made into one of the process `peer_id`; 0 leaves it as it is."""
    if not peer_id:
        return key
    low, high = peer_id & 0xFF, peer_id >> 8
    pid = key.pid & ~_PEER_BITS | low << 16 | high << 8
    return with_all_hops(CancelKey(pid, key.secret))


def peer_of(key: CancelKey) -> int:
    """Return the peer_id of the process that a key comes from."""
    return key.pid >> 16 & 0xFF | (key.pid >> 8 & 0xFF) << 8


def with_all_hops(key: CancelKey) -> CancelKey:
    """Return the key as its client was told it, whatever hops it has come."""
    return _with_hops(key, _HOPS)


def one_hop_on(key: CancelKey) -> CancelKey | None:
    """Return the key to pass on; None if it has come too far."""
    left = key.secret[_HOPS_AT] & _HOPS
    return _with_hops(key, left - 1) if left else None


def _with_hops(key: CancelKey, count: int) -> CancelKey:
    secret = bytearray(key.secret)
    secret[_HOPS_AT] = secret[_HOPS_AT] & ~_HOPS | count
    return CancelKey(key.pid, bytes(secret))


class Stage(Enum):
    """How far a request has come on its way to a peer."""

    WAITING = auto()
    CONNECTING = auto()
    ACTIVE = auto()  # the peer has it, and hangs up when it is through


class ForwardedCancel:
    """One CancelRequest that a peer is to have. Stands in its peer's pool until it is through."""

    __slots__ = ("hang_up", "key", "requested_at")

    def __init__(self, key: CancelKey, hang_up: Callable[[], None], now: float) -> None:
        """Note a request; `hang_up` closes the requester's connection."""
        self.key = key
        self.hang_up = hang_up
        self.requested_at = now


class PeerPool:
    """The cancel requests on their way to one peer: pool_size at a time. Owned by the registry."""

    def __init__(self, peer_id: int) -> None:
        """Begin without any request."""
        self.peer_id = peer_id
        #: In the order in which they came.
        self.requests: dict[ForwardedCancel, Stage] = {}

    def count(self, stage: Stage) -> int:
        """Return how many requests have come that far."""
        return sum(each is stage for each in self.requests.values())

    @property
    def is_full(self) -> bool:
        """So many requests are on their way that no more can be taken."""
        return len(self.requests) >= MAX_REQUESTS

    def add(self, request: ForwardedCancel) -> None:
        """Have a request wait for its turn."""
        self.requests[request] = Stage.WAITING

    def begin_next(self, limit: int) -> ForwardedCancel | None:
        """Return the request whose turn it is; None if none waits or `limit` are under way."""
        under_way = len(self.requests) - self.count(Stage.WAITING)
        if under_way >= max(limit, 1):
            return None
        waiting = (each for each, stage in self.requests.items() if stage is Stage.WAITING)
        request = next(waiting, None)
        if request is not None:
            self.requests[request] = Stage.CONNECTING
        return request

    def connected(self, request: ForwardedCancel) -> None:
        """Note that the peer is being told."""
        self.requests[request] = Stage.ACTIVE

    def end(self, request: ForwardedCancel) -> None:
        """Forget a request, and close its requester's connection."""
        if self.requests.pop(request, None) is not None:
            request.hang_up()

    def overdue(self, now: float, limit_s: float) -> list[ForwardedCancel]:
        """Return the requests that have waited for longer than cancel_wait_timeout."""
        return [
            each
            for each, stage in self.requests.items()
            if stage is Stage.WAITING and 0 < limit_s < now - each.requested_at
        ]
