"""What a watch keeps of one client, and what it takes for settled."""

from __future__ import annotations

import pytest

from pgpool_lite.diagnose.leaks import Cleared, Leak
from pgpool_lite.diagnose.rules import Kind, rule
from pgpool_lite.session.entries import SEGMENT
from pgpool_lite.session.evidence import MAX_OPEN, Effect, Evidence, standing
from pgpool_lite.session.parameters import TrackedParameters
from pgpool_lite.session.watch import MAX_TEXTS, Watch, first_text
from tests.unit.pairs import make_client
from tests.wire_messages import Bind, ClosePortal, CloseStatement, Execute, Parse, Query, Sync


@pytest.mark.parametrize("passes", [True, False])
def test_a_name_that_passes_as_it_is_is_left_and_taken_off(passes: bool) -> None:
    client = make_client()
    client.names_pass = passes
    watch = Watch(client, TrackedParameters())
    segment = Parse("SELECT 1", "a") + Bind(statement="a") + Execute() + Sync()

    assert watch.look(segment) is segment
    watch.look(ClosePortal("a") + CloseStatement("") + CloseStatement("a") + Sync())

    changes = [each.change for request in watch.evidence.waiting for each in request.effects]
    assert changes == ([Leak(rule("PL009"), "a", "", 0), Cleared(Kind.PREPARED, "a")] * passes)


def test_what_a_transaction_takes_off_again_does_not_count() -> None:
    lock, unlock = Leak(rule("PL004"), "7", "", 0), Cleared(Kind.ADVISORY_LOCK, "7")
    plan, gone = Leak(rule("PL009"), "a", "", 0), Cleared(Kind.PREPARED, "")
    attempt = Leak(rule("PL010"), "a", "", 0)
    changes: list[Leak | Cleared] = [unlock, lock, plan, lock, attempt, unlock, plan, gone]

    left = standing([Effect(change, "", "") for change in changes])

    assert [each.change for each in left] == [unlock, lock, attempt, gone]


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
