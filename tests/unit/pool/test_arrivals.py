"""Who gives way when more clients are logging in than there may be?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.pool.arrivals import Arrivals

HERE, THERE = "10.0.0.1", "10.0.0.2"


def test_the_oldest_gives_way_to_a_newcomer_beyond_the_limit() -> None:
    arrivals: Arrivals[str] = Arrivals()

    found = [arrivals.add(name, HERE, 2, 0) for name in ("first", "second", "third")]

    assert found == [None, None, ("first", "max_pending_logins")]


def test_of_one_address_the_oldest_of_that_address_gives_way() -> None:
    arrivals: Arrivals[str] = Arrivals()
    arrivals.add("elsewhere", THERE, 0, 1)

    found = [arrivals.add(name, HERE, 0, 1) for name in ("first", "second")]

    assert found == [None, ("first", "max_pending_logins_per_address")]


def test_who_has_proved_itself_or_gone_counts_no_more() -> None:
    arrivals: Arrivals[str] = Arrivals()
    arrivals.add("first", HERE, 1, 1)
    arrivals.remove("first")
    arrivals.remove("first")

    assert arrivals.add("second", HERE, 1, 1) is None


@given(steps=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.booleans())))
def test_there_are_never_more_than_both_limits_allow_and_nothing_is_left(
    steps: list[tuple[int, int, bool]],
) -> None:
    arrivals: Arrivals[int] = Arrivals()
    present: dict[int, int] = {}
    for number, (_, address, is_leaving) in enumerate(steps):
        if is_leaving and present:
            leaver = next(iter(present))
            arrivals.remove(leaver)
            del present[leaver]
            continue
        present[number] = address
        found = arrivals.add(number, str(address), 3, 2)
        if found is not None:
            arrivals.remove(found[0])
            del present[found[0]]
        assert len(arrivals) == len(present) <= 3
        assert max(map(list(present.values()).count, present.values()), default=0) <= 2
    for each in present:
        arrivals.remove(each)

    assert len(arrivals) == len(arrivals._by_address) == 0
