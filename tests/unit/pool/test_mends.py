"""What has been mended is counted by kind and rule, and each says what breaks elsewhere."""

from __future__ import annotations

import pytest

from pgpool_lite.pool.mends import Mend, Mends, would_break


def test_mendings_are_counted_by_kind_and_rule_with_the_last_instant() -> None:
    mends = Mends()

    mends.note(Mend.SETTING, "PL001", 1.0)
    mends.note(Mend.SETTING, "PL002", 2.0)
    mends.note(Mend.SETTING, "PL001", 3.0)

    found = {key: (each.count, each.last_at) for key, each in mends.by_kind.items()}
    assert found == {(Mend.SETTING, "PL001"): (2, 3.0), (Mend.SETTING, "PL002"): (1, 2.0)}


def test_a_noter_reads_the_clock_when_it_is_called() -> None:
    mends, now = Mends(), iter([5.0, 6.0])
    note = mends.noter(Mend.DEALLOCATE, lambda: next(now))
    assert not mends.by_kind

    note()
    note()

    mended = mends.by_kind[Mend.DEALLOCATE, ""]
    assert (mended.count, mended.last_at) == (2, 6.0)


@pytest.mark.parametrize(
    ("mend", "rule_id", "words"),
    [
        (Mend.STARTUP, "", "unsupported startup parameter"),
        (Mend.DEALLOCATE, "", "DEALLOCATE names a statement"),
        (Mend.SETTING, "PL001", "SET outlives the transaction"),
        (Mend.PIN, "PL004", "A session advisory lock belongs to"),
    ],
)
def test_each_says_what_would_break(mend: Mend, rule_id: str, words: str) -> None:
    assert words in would_break(mend, rule_id)


def test_a_pin_whose_rule_is_not_known_says_nothing() -> None:
    assert would_break(Mend.PIN, "") == ""
