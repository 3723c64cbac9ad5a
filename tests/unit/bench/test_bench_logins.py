"""The logins that `bench.logins` plays are whole ones: their clients are in, and leave nothing."""

from __future__ import annotations

import pytest

from bench.logins import Case, cases, main


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_login_is_played_to_its_end(case: Case) -> None:
    case.log_in_and_leave()
    case.log_in_and_leave()

    assert case.runtime.registry.client_count == 0
    assert case.runtime.registry.census.everybody.client_count == 0


def test_so_many_logins_are_played_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--count", "3"])

    assert not capsys.readouterr().out
