"""Whose client a cancel key names, in PgBouncer's layout, and how requests queue for a peer."""

from __future__ import annotations

import pytest

from pgpool_lite.pool.peering import (
    MAX_REQUESTS,
    ForwardedCancel,
    PeerPool,
    Stage,
    mark,
    one_hop_on,
    peer_of,
    with_all_hops,
)
from pgpool_lite.wire.frontend import CancelKey

RANDOM = CancelKey(0x7A_AA_AA_AA, b"\xaa\xaa\xaa\xa8")


def as_bytes(key: CancelKey) -> bytes:
    """Return the key as it stands in BackendKeyData and CancelRequest."""
    return key.pid.to_bytes(4, "big") + key.secret


# --- keys ---


def test_a_key_has_the_peer_in_bytes_1_and_2_and_three_hops_in_the_last_bits() -> None:
    # PgBouncer: cancel_key[1] = id & 0xFF, cancel_key[2] = id >> 8, cancel_key[7] |= 3.
    assert as_bytes(mark(RANDOM, 0x1234)) == bytes.fromhex("7a3412aa aaaaaaab")


@pytest.mark.parametrize("peer_id", [1, 255, 256, 16383])
def test_a_peer_is_read_as_it_was_written(peer_id: int) -> None:
    assert peer_of(mark(RANDOM, peer_id)) == peer_id


def test_without_peers_a_key_is_all_random() -> None:
    assert mark(RANDOM, 0) is RANDOM


def test_a_key_may_be_passed_on_three_times() -> None:
    keys = [mark(RANDOM, 1)]
    while (further := one_hop_on(keys[-1])) is not None:
        keys.append(further)

    assert [as_bytes(key)[7] & 3 for key in keys] == [3, 2, 1, 0]
    assert [with_all_hops(key) for key in keys] == [keys[0]] * 4


# --- requests ---


class Requester:
    """The connection that a CancelRequest came by."""

    def __init__(self, now: float = 0.0) -> None:
        self.is_closed = False
        self.request = ForwardedCancel(RANDOM, self.hang_up, now)

    def hang_up(self) -> None:
        self.is_closed = True


def counts(pool: PeerPool) -> tuple[int, int, int]:
    """Return how many wait, connect and are under way."""
    return pool.count(Stage.WAITING), pool.count(Stage.CONNECTING), pool.count(Stage.ACTIVE)


def test_a_request_waits_connects_is_under_way_and_is_gone() -> None:
    pool, requester = PeerPool(7), Requester()
    request = requester.request

    pool.add(request)
    assert counts(pool) == (1, 0, 0)
    assert pool.begin_next(1) is request
    assert counts(pool) == (0, 1, 0)
    pool.connected(request)
    assert counts(pool) == (0, 0, 1)
    pool.end(request)
    assert (counts(pool), requester.is_closed) == ((0, 0, 0), True)


@pytest.mark.parametrize(("limit", "begun"), [(0, 1), (1, 1), (2, 2), (5, 3)])
def test_pool_size_are_under_way_at_a_time_in_the_order_they_came(limit: int, begun: int) -> None:
    pool = PeerPool(7)
    requests = [Requester().request for _ in range(3)]
    for request in requests:
        pool.add(request)

    took = [pool.begin_next(limit) for _ in requests]

    assert took == [*requests[:begun], *[None] * (3 - begun)]


def test_no_more_than_a_thousand_requests_are_on_their_way() -> None:
    """Story: keys of a peer can be made up, and one that does not answer holds each request for
    seconds, whether its sender is still there or not.
    """
    pool = PeerPool(7)
    requests = [Requester().request for _ in range(MAX_REQUESTS)]
    for request in requests:
        assert not pool.is_full
        pool.add(request)

    assert pool.is_full
    pool.end(requests[0])
    assert not pool.is_full


def test_requests_that_wait_for_too_long_are_found() -> None:
    pool = PeerPool(7)
    early, late = Requester(0.0).request, Requester(9.0).request
    pool.add(early)
    pool.add(late)

    assert pool.overdue(10.5, 10.0) == [early]
    assert pool.overdue(10.5, 0.0) == []
    pool.begin_next(1)
    assert pool.overdue(99.0, 10.0) == [late]


def test_a_request_ends_once() -> None:
    pool, requester = PeerPool(7), Requester()
    pool.add(requester.request)
    pool.end(requester.request)
    requester.is_closed = False

    pool.end(requester.request)

    assert not requester.is_closed
