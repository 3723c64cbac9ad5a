"""Who is next among those who wait, and who stands beside whom."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.pool.line import Line
from pgpool_lite.session.client import ClientSession
from tests.unit.pairs import make_client


def line_of(*clients: ClientSession) -> Line:
    line = Line()
    for client in clients:
        line.join(client)
    return line


def make_clients(count: int) -> list[ClientSession]:
    return [make_client(number) for number in range(count)]


def test_an_empty_line_has_no_first() -> None:
    line = line_of()

    assert (line.first, len(line), list(line)) == (None, 0, [])


def test_who_joined_first_is_first_and_the_next_one_follows() -> None:
    first, second, third = make_clients(3)
    line = line_of(first, second, third)

    line.leave(first)

    assert (line.first, list(line)) == (second, [second, third])


def test_who_has_left_may_join_again_at_the_end() -> None:
    first, second = make_clients(2)
    line = line_of(first, second)

    line.leave(first)
    line.join(first)

    assert list(line) == [second, first]


def test_a_client_is_in_the_line_from_join_to_leave() -> None:
    first, second = make_clients(2)
    line = line_of(first)

    assert (first in line, second in line) == (True, False)
    line.leave(first)
    assert first not in line


def test_whoever_leaves_while_the_line_is_gone_over_disturbs_nobody() -> None:
    clients = make_clients(4)
    line = line_of(*clients)
    met = []

    for client in line:
        met.append(client)
        line.leave(client)

    assert (met, line.first, len(line)) == (clients, None, 0)


def test_to_leave_from_the_middle_touches_the_neighbours_only_however_long_the_line() -> None:
    clients = make_clients(1000)
    line = line_of(*clients)
    before = [(client.ahead, client.behind) for client in clients]

    line.leave(clients[500])

    after = [(client.ahead, client.behind) for client in clients]
    changed = [place for place in range(1000) if before[place] != after[place]]
    assert changed == [499, 500, 501]
    assert (clients[500].ahead, clients[500].behind) == (None, None)


@given(st.lists(st.integers(min_value=0, max_value=5)))
def test_it_is_a_list_of_those_who_wait_whatever_they_do(moves: list[int]) -> None:
    clients = make_clients(6)
    line, expected = line_of(), list[ClientSession]()
    for number in moves:
        client = clients[number]
        if client in expected:
            expected.remove(client)
            line.leave(client)
        else:
            expected.append(client)
            line.join(client)
        assert list(line) == expected
        assert len(line) == len(expected)
        assert line.first is (expected[0] if expected else None)
