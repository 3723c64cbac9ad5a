"""What is one answer made of, when several processes were asked and not all agree?"""

from __future__ import annotations

import pytest

from pgpool_lite.console.answers import CommandError, Done
from pgpool_lite.proxy.chorus import Voice, done
from pgpool_lite.wire.backend import ServerMessage

DONE = Voice(tag="PAUSE")
REFUSED = Voice(error=ServerMessage("ERROR", "08P01", "already paused", hint="RESUME ends it."))


def test_what_all_have_done_is_done() -> None:
    told = Voice(tag="SET", notice=ServerMessage("NOTICE", "", "after a restart", "only then"))

    assert done([DONE, DONE], is_one_enough=False) == Done("PAUSE")
    assert done([told, told], is_one_enough=False) == Done("SET", "after a restart", "only then")


def test_one_that_refuses_refuses_for_all() -> None:
    with pytest.raises(CommandError, match="already paused") as refusal:
        done([DONE, REFUSED], is_one_enough=False)

    assert (refusal.value.sqlstate, refusal.value.hint) == ("08P01", "RESUME ends it.")


def test_some_commands_need_one_process_only() -> None:
    assert done([REFUSED, DONE, None], is_one_enough=True) == Done("PAUSE")
    with pytest.raises(CommandError, match="already paused"):
        done([REFUSED, REFUSED], is_one_enough=True)


@pytest.mark.parametrize("is_one_enough", [True, False])
def test_nobody_there_is_an_error(is_one_enough: bool) -> None:
    with pytest.raises(CommandError, match="worker 1, 2 did not answer"):
        done([None, None], is_one_enough=is_one_enough)


def test_one_that_did_not_hear_a_command_is_named() -> None:
    with pytest.raises(CommandError, match="worker 2 did not answer") as error:
        done([DONE, None], is_one_enough=False)

    assert "the others have done" in error.value.detail
