"""The quick look at a text: what it calls harmless must be so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.diagnose.leaks import may_leak
from pgpool_lite.session.entries import SEGMENT
from pgpool_lite.session.evidence import MAX_OPEN, Effect, Evidence
from pgpool_lite.session.parameters import TrackedParameters
from pgpool_lite.session.watch import MAX_TEXTS, Watch, first_text, is_harmless
from tests.unit.pairs import make_client
from tests.wire_messages import Bind, Execute, Parse, Query, Sync

WORDS = (
    *("SELECT", "INSERT", "update", "DELETE", "BEGIN", "COMMIT", "SET", "a", "1", ";", "; ", " "),
    *("pg_advisory_lock(1)", "SET_CONFIG('a', 'b', false)", "currval('s')", "LASTVAL()", "\n"),
    *("INTO TEMP t", "RESET ALL", "LISTEN c", "--", "/*", "*/", "'", "$$", "CREATE TEMP TABLE"),
    "pg_temp.t",
)


@given(st.lists(st.sampled_from(WORDS), max_size=6))
def test_what_is_harmless_at_a_glance_is_harmless_at_a_closer_look(words: list[str]) -> None:
    text = " ".join(words).encode() + b"\0"

    assert not (is_harmless(text, 0, len(text)) and may_leak(text[:-1]))


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT abalance FROM pgbench_accounts WHERE aid = 1",
        b"UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = 1;",
        b"INSERT INTO t (a) VALUES ($1) RETURNING id",
        b"BEGIN",
        b"begin;",
        b"COMMIT",
    ],
)
def test_the_usual_statements_are_harmless_at_a_glance(text: bytes) -> None:
    data = b"12345" + text + b"\0"

    assert is_harmless(data, 5, len(data))


@pytest.mark.parametrize(
    "text", [b"SELECT 1; SET a.b = 1", b"SET a.b = 1", b"SELECT pg_try_ADVISORY_lock(1)", b""]
)
def test_what_is_not_sure_is_looked_at_more_closely(text: bytes) -> None:
    assert not is_harmless(text + b"\0", 0, len(text) + 1)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (Query("SELECT 1") + Query("SELECT 2"), b"SELECT 1"),
        (Parse("SELECT 1", "a") + Bind(statement="a") + Execute() + Sync(), b"SELECT 1"),
        (Query("SELECT 1")[:9], b"SELE"),
        (Parse("SELECT 1", "a")[:6], b""),
        (Bind(), b""),
        (b"Q\0\0", b""),
        (b"", b""),
    ],
)
def test_the_text_that_a_read_begins_with(data: bytes, text: bytes) -> None:
    assert first_text(data) == text


def test_what_is_remembered_of_one_client_is_bounded() -> None:
    watch = Watch(make_client(), TrackedParameters())

    for number in range(MAX_TEXTS + 5):
        watch.look(Parse("SET a.b = 1", f"s{number}"))

    assert watch.evidence.dropped == 5


def test_what_is_open_of_one_client_is_bounded() -> None:
    client = make_client()
    watch = Watch(client, TrackedParameters())

    for _ in range(MAX_OPEN + 5):
        watch.look(Query("SET a.b = 1"))

    assert (len(watch.evidence.waiting), watch.evidence.dropped) == (MAX_OPEN, 5)


def test_with_nothing_owed_what_is_left_is_taken_to_have_happened() -> None:
    client = make_client()
    watch = Watch(client, TrackedParameters())
    watch.look(Query("SET a.b = 1"))
    client.owed.append(SEGMENT)
    assert watch.leftover() == []

    client.owed.clear()

    [effect] = watch.leftover()
    assert effect.statement == "SET a.b = 1"
    assert watch.evidence.waiting == []


def test_evidence_that_is_not_open_has_nothing_to_settle() -> None:
    evidence = Evidence()

    assert not evidence.is_open
    nothing: list[Effect] = []
    assert evidence.settle() == nothing
