"""What is believed of a host name, and for how long."""

from __future__ import annotations

import pytest

from pgpool_lite.pool.names import NameCache


@pytest.fixture
def names() -> NameCache:
    return NameCache()


def test_a_name_is_looked_up_first(names: NameCache) -> None:
    assert not names.is_fresh("db", now=0.0)
    assert names.take("db") == ()


def test_an_answer_is_believed_until_it_expires(names: NameCache) -> None:
    names.note_found("db", ("10.0.0.1",), expires_at=15.0)

    assert names.is_fresh("db", now=15.0)
    assert not names.is_fresh("db", now=15.1)


def test_that_there_is_nothing_is_believed_too(names: NameCache) -> None:
    names.note_failed("db", expires_at=15.0)

    assert names.is_fresh("db", now=15.0)
    assert names.take("db") == ()


def test_addresses_take_turns_and_the_others_follow(names: NameCache) -> None:
    names.note_found("db", ("1", "2", "3"), expires_at=15.0)

    assert names.take("db") == ("1", "2", "3")
    assert names.take("db") == ("2", "3", "1")
    assert names.take("db") == ("3", "1", "2")
    assert names.take("db") == ("1", "2", "3")


def test_a_first_answer_takes_nothing_away(names: NameCache) -> None:
    assert names.note_found("db", ("1", "2"), expires_at=15.0) == ()


def test_what_a_later_answer_lacks_has_vanished(names: NameCache) -> None:
    names.note_found("db", ("1", "2", "3"), expires_at=15.0)

    assert names.note_found("db", ("4", "2"), expires_at=30.0) == ("1", "3")


def test_a_look_up_that_fails_says_nothing_about_the_addresses_before(names: NameCache) -> None:
    names.note_found("db", ("1", "2"), expires_at=15.0)
    names.note_failed("db", expires_at=30.0)

    assert names.note_found("db", ("1",), expires_at=45.0) == ("2",)


def test_names_are_shown_with_the_seconds_left_to_them(names: NameCache) -> None:
    names.note_found("b.example.com", ("1", "2"), expires_at=15.0)
    names.note_failed("a.example.com", expires_at=5.0)

    shown = [(host.name, host.ttl_s, host.addresses) for host in names.names(now=10.0)]

    assert shown == [("a.example.com", 0.0, ()), ("b.example.com", 5.0, ("1", "2"))]


def test_a_zone_is_what_stands_behind_the_first_dot(names: NameCache) -> None:
    for name in ("a.example.com", "b.example.com", "localhost", "c.test"):
        names.note_found(name, ("1",), expires_at=15.0)

    assert names.zones() == {"example.com": 2, "test": 1}
