"""What stands on a server: bounded, taken back, found, and put into words."""

from __future__ import annotations

import pytest

from pgpool_lite.diagnose.leaks import effects_of
from pgpool_lite.session.leak_words import ago
from pgpool_lite.session.ledger import MAX_ENTRIES, Ledger, Party, head_of, tags_of
from pgpool_lite.session.victims import Heard


def party(client_id: int = 1) -> Party:
    return Party(client_id, "ann", "10.0.0.7", 40000, "web", "", "", 0.0)


def run(ledger: Ledger, text: str, client_id: int = 1) -> None:
    """Have a client run a text on the ledger's server, in a transaction that commits."""
    leaks, cleared = effects_of(text.encode(), in_transaction=True)
    for each in cleared:
        ledger.clear(each)
    for leak in leaks:
        ledger.record(leak, party(client_id))


def names(ledger: Ledger) -> list[str]:
    return [entry.leak.name for entry in ledger.entries.values()]


def test_a_million_leaks_are_a_hundred_entries_and_a_count() -> None:
    ledger = Ledger()
    [leak], _ = effects_of(b"SET a.b = 1", in_transaction=False)

    for number in range(100_000):
        ledger.record(type(leak)(leak.rule, f"a.b{number}", "1", 0), party())

    assert (len(ledger.entries), ledger.dropped) == (MAX_ENTRIES, 100_000 - MAX_ENTRIES)
    assert ledger.record(leak, party()) is None


def test_the_last_who_leaves_something_is_its_culprit_and_its_victim_is_sought_anew() -> None:
    ledger = Ledger()

    run(ledger, "SET search_path TO a", client_id=1)
    ledger.notice(party(2), Heard(b"SELECT f()", (), False))
    run(ledger, "SET search_path TO b", client_id=2)

    [entry] = ledger.entries.values()
    assert (entry.leak.value, entry.culprit.client_id, entry.count) == ("b", 2, 2)
    assert (entry.victim, ledger.unnoticed) == (None, 1)


def test_who_leaves_it_again_keeps_its_first_victim() -> None:
    ledger = Ledger()

    run(ledger, "SET search_path TO a")
    ledger.notice(party(2), Heard(b"SELECT f()", (), False))
    run(ledger, "SET search_path TO a")

    [entry] = ledger.entries.values()
    assert entry.victim == party(2)
    assert ledger.unnoticed == 0


def test_a_lock_that_is_held_twice_takes_two_unlocks() -> None:
    ledger = Ledger()

    run(ledger, "SELECT pg_advisory_lock(1)")
    run(ledger, "SELECT pg_advisory_lock(1)")
    run(ledger, "SELECT pg_advisory_unlock(1)")
    assert names(ledger) == ["1"]
    run(ledger, "SELECT pg_advisory_unlock(1)")

    assert ledger.is_clean


def test_what_is_taken_back_by_kind_leaves_other_kinds() -> None:
    ledger = Ledger()

    run(ledger, "SET a.b = 1; SET a.c = 2; LISTEN c")
    run(ledger, "RESET ALL")

    assert names(ledger) == ["c"]
    ledger.wipe()
    assert ledger.is_clean


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        (b"SELECT 1 /*route='%2Forders%2F%7Bid%7D',controller='orders'*/",
         "route=/orders/{id} controller=orders"),
        (b"SELECT 1 /* action='a b' */ ;\n", "action=a b"),
        (b"SELECT 1 /*db_driver='django%3A4',framework='x'*/\0", "db_driver=django:4 framework=x"),
        (b"SELECT 1 /* hello */", ""),
        (b"SELECT /*a='b'*/ 1", ""),
        (b"/*a='b'" * 500_000, ""),
        (b"", ""),
    ],
)  # fmt: skip
def test_the_tags_of_sqlcommenter_are_read_from_the_end(text: bytes, tags: str) -> None:
    assert tags_of(text) == tags


def test_the_head_of_a_statement_is_one_line_of_bounded_length() -> None:
    assert head_of(b"SELECT\n\t 1\0rest") == "SELECT 1"
    assert head_of(b"x" * 1_000_000) == "x" * 200
    assert head_of(b"SELECT '\xff'") == "SELECT '\ufffd'"


def test_a_client_is_named_by_what_is_known_of_it() -> None:
    assert party().name == "client C-0x1 (10.0.0.7:40000, web)"
    assert Party(1, "", "", 0, "", "", "", 0.0).name == "client C-0x1"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "just now"),
        (1.9, "1 second ago"),
        (59, "59 seconds ago"),
        (185, "3 minutes ago"),
        (3600, "1 hour ago"),
        (200_000, "2 days ago"),
    ],
)
def test_how_long_ago_something_was(seconds: float, words: str) -> None:
    assert ago(seconds) == words
