"""Why a crew does not come up is what the member said that could not."""

from __future__ import annotations

import pytest

from pgpool_lite.errors import ConfigError
from pgpool_lite.serve.crew import Errand, Leader


def no_log() -> None:
    """Open no log."""


@pytest.mark.parametrize("sentence", ["no such folder: étoile", "no such folder: \udce9toile"])
def test_a_members_reason_comes_through_the_pipe_as_it_was(sentence: str) -> None:
    # One with a lone surrogate could not be encoded, and the leader said that the worker had died.
    def fail(errand: Errand) -> int:
        raise ConfigError(sentence)

    with pytest.raises(ConfigError) as refusal:
        Leader(2, fail, no_log).run()

    assert refusal.value.message == sentence
