"""Every door takes every input that is kept, and what can be made of these."""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from tests.fuzz import corpus
from tests.fuzz.doors import DOORS
from tests.fuzz.mutation import mutate

#: Inputs made per door; what costs most has most to find.
EXAMPLES = int(os.environ.get("PGPOOL_LITE_TEST_EXAMPLES", "0"))
USUAL = {"relay": 1200}

INPUTS = {door: corpus.inputs_of(door) for door in DOORS}


@pytest.mark.parametrize("door", DOORS)
def test_a_door_takes_every_input_that_is_kept(door: str) -> None:
    for data in INPUTS[door]:
        DOORS[door](data)


@pytest.mark.parametrize("door", DOORS)
def test_a_door_takes_what_is_made_of_them(door: str) -> None:
    """A failure shows the input, and the seed that `mutate` makes it of."""

    @settings(max_examples=EXAMPLES or USUAL.get(door, 300), deadline=None, database=None)
    @given(seed=st.integers(0, 2**64))
    def look(seed: int) -> None:
        data = mutate(INPUTS[door], Random(seed))
        note(f"{door} {data!r}")
        DOORS[door](data)

    look()


def test_every_door_has_inputs_that_are_kept_and_none_is_kept_for_no_door() -> None:
    assert {path.stem for path in corpus.FOLDER.glob("*.txt")} == set(DOORS)
    assert [door for door, inputs in INPUTS.items() if len(inputs) < 2] == []


def test_an_input_is_made_again_from_its_number() -> None:
    assert list(_made(7)) == list(_made(7)) != list(_made(8))


def _made(seed: int) -> Iterator[bytes]:
    random = Random(seed)
    for _ in range(20):
        yield mutate(INPUTS["relay"], random)
