"""A cancel request must strike the query that was meant, and no other."""

from __future__ import annotations

import pytest

from pgpool_lite.pool.cancel import CancelRequest
from pgpool_lite.pool.pool import Pool
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.states import ClientState, ServerState
from tests.unit.pool.helpers import add_client, check, linked_pair, make_pool


class Requester:
    """The connection on which a CancelRequest came."""

    def __init__(self) -> None:
        self.is_closed = False

    def hang_up(self) -> None:
        self.is_closed = True


def make_request(pool: Pool, server: ServerSession) -> tuple[CancelRequest, Requester]:
    requester = Requester()
    return CancelRequest(pool, server, requester.hang_up, 0.0), requester


def counts(pool: Pool) -> tuple[int, int]:
    """Return how many requests wait and how many are under way."""
    requests = pool.cancel_requests
    return len(requests[ClientState.WAITING_CANCEL]), len(requests[ClientState.ACTIVE_CANCEL])


def test_a_request_waits_is_under_way_and_is_gone() -> None:
    pool = make_pool()
    _, server = linked_pair(pool)
    request, requester = make_request(pool, server)
    assert (counts(pool), server.cancels_in_flight) == ((1, 0), 0)

    request.begin()
    assert (counts(pool), server.cancels_in_flight) == ((0, 1), 1)

    assert request.end(1.0) is None
    assert (counts(pool), server.cancels_in_flight) == ((0, 0), 0)
    assert requester.is_closed
    assert server.state is ServerState.ACTIVE


def test_a_request_that_never_began_can_end() -> None:
    pool = make_pool()
    _, server = linked_pair(pool)
    request, requester = make_request(pool, server)

    assert request.end(1.0) is None
    assert (requester.is_closed, server.cancels_in_flight) == (True, 0)


def test_promise_2_a_released_server_waits_until_its_last_cancel_is_through() -> None:
    pool = make_pool()
    _, server = linked_pair(pool)
    waiting = add_client(pool, 2)
    pool.link(waiting, 0.0)
    first, second = make_request(pool, server)[0], make_request(pool, server)[0]
    first.begin()
    second.begin()

    assert pool.release(server, 1.0) is None
    assert server.state is ServerState.BEING_CANCELED
    assert first.end(2.0) is None
    assert server.state is ServerState.BEING_CANCELED
    assert second.end(3.0) is waiting
    check(pool)


def test_a_server_whose_cancel_is_through_may_be_idle() -> None:
    pool = make_pool()
    _, server = linked_pair(pool)
    request, _ = make_request(pool, server)
    request.begin()
    pool.release(server, 1.0)

    assert request.end(2.0) is None
    assert server.state is ServerState.IDLE


def test_a_server_that_broke_meanwhile_stays_closed() -> None:
    pool = make_pool()
    _, server = linked_pair(pool)
    request, _ = make_request(pool, server)
    request.begin()
    pool.remove_server(server)

    assert request.end(1.0) is None
    assert server.state is ServerState.CLOSED


def test_a_request_loses_its_point_when_its_query_is_over() -> None:
    pool = make_pool()
    _, server = linked_pair(pool)
    request, _ = make_request(pool, server)
    assert not request.has_lost_its_point()

    pool.release(server, 1.0)

    assert request.has_lost_its_point()


def test_promise_2_a_request_loses_its_point_when_its_server_serves_another_client() -> None:
    """Story: a client asks for a cancel, but all cancel connections are taken. Its query ends, and
    its server goes straight to the next waiting client. The request must not strike that one.
    """
    pool = make_pool()
    _, server = linked_pair(pool)
    request, _ = make_request(pool, server)
    pool.link(add_client(pool, 2), 0.0)
    pool.release(server, 1.0)
    assert server.state is ServerState.ACTIVE

    assert request.has_lost_its_point()


@pytest.mark.parametrize(("pool_size", "allowed"), [(2, 2), (1, 1), (0, 1)])
def test_as_many_requests_may_be_under_way_as_the_pool_has_servers(
    pool_size: int, allowed: int
) -> None:
    pool = make_pool(pool_size=pool_size)
    _, server = linked_pair(pool)
    for _ in range(allowed):
        request, _requester = make_request(pool, server)
        assert request.may_begin()
        request.begin()

    assert not make_request(pool, server)[0].may_begin()


def test_a_move_that_is_not_in_the_tables_is_a_bug() -> None:
    pool = make_pool()
    _, server = linked_pair(pool)
    request, _ = make_request(pool, server)
    request.end(1.0)

    with pytest.raises(AssertionError, match="a cancel request cannot go to ACTIVE_CANCEL"):
        request.begin()
