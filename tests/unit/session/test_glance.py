"""The quick look at a text: what it calls harmless must be so, of whichever shape it has seen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.diagnose.leaks import may_leak
from pgpool_lite.session import glance
from pgpool_lite.session.glance import MAX_SHAPE_SIZE, MAX_SHAPES, is_harmless

WORDS = (
    *("SELECT", "INSERT", "update", "DELETE", "BEGIN", "COMMIT", "SET", "a", "1", ";", "; ", " "),
    *("pg_advisory_lock(1)", "SET_CONFIG('a', 'b', false)", "currval('s')", "LASTVAL()", "\n"),
    *("INTO TEMP t", "RESET ALL", "LISTEN c", "--", "/*", "*/", "'", "$$", "CREATE TEMP TABLE"),
    *("pg_temp.t", "207", "9", "\t", "with", "ROLLBACK", "x"),
)
TEXTS = st.builds(
    lambda glue, words: glue.join(words),
    st.sampled_from((" ", "")),
    st.lists(st.sampled_from(WORDS), max_size=6),
)


@pytest.fixture(autouse=True)
def shapes() -> Iterator[set[bytes]]:
    """What is remembered, empty before each test and behind it."""
    glance._harmless_shapes.clear()
    yield glance._harmless_shapes
    glance._harmless_shapes.clear()


@given(TEXTS)
def test_what_is_harmless_at_a_glance_is_harmless_at_a_closer_look(text: str) -> None:
    assert is_harmless(text.encode() + b"\0") is not may_leak(text.encode())


@given(TEXTS, st.lists(st.integers(0, 9), min_size=1))
def test_texts_of_one_shape_are_judged_alike(text: str, digits: list[int]) -> None:
    other = "".join(
        str(digits[index % len(digits)]) if each.isdigit() else each.swapcase()
        for index, each in enumerate(text)
    )

    verdicts = {is_harmless(text.encode()), is_harmless(other.encode())}

    assert verdicts == {not may_leak(text.encode())} == {not may_leak(other.encode())}


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT abalance FROM pgbench_accounts WHERE aid = 1",
        b"UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = 1;",
        b"INSERT INTO t (a) VALUES ($1) RETURNING id",
        b"WITH a AS (SELECT 1) SELECT * FROM a",
        b"BEGIN",
        b"begin;",
        b"COMMIT",
        b"SAVEPOINT a1",
    ],
)
def test_the_usual_statements_are_harmless_and_remembered(text: bytes, shapes: set[bytes]) -> None:
    assert is_harmless(text + b"\0")
    assert len(shapes) == 1


@pytest.mark.parametrize(
    "text", [b"SELECT 1; SET a.b = 1", b"SET a.b = 1", b"SELECT pg_try_ADVISORY_lock(1)"]
)
def test_what_is_not_sure_is_looked_at_more_closely(text: bytes, shapes: set[bytes]) -> None:
    assert not is_harmless(text + b"\0")
    assert not shapes


def test_a_text_ends_at_its_first_zero_byte() -> None:
    assert is_harmless(b"SELECT 1;\0\0\x02\0\0\0\x17advisory_")


def test_what_is_remembered_is_bounded(shapes: set[bytes]) -> None:
    for number in range(MAX_SHAPES + 3):
        assert is_harmless(b"SELECT " + bytes([97 + number // 26**i % 26 for i in range(3)]))

    assert len(shapes) == 3


def test_long_texts_are_judged_each_time(shapes: set[bytes]) -> None:
    assert is_harmless(b"SELECT " + b"a" * MAX_SHAPE_SIZE)
    assert not is_harmless(b"SELECT " + b"a" * MAX_SHAPE_SIZE + b", lastval()")
    assert not shapes
