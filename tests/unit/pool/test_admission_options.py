"""The start-up parameter `options`: PostgreSQL's command line, as far as we take it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.errors import LoginRejected
from pgpool_lite.pool.wishes import split_options
from tests.unit.pool.test_admission import Door

BAD_OPTIONS = (
    "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed"
)

# --- options ---


@pytest.mark.parametrize(
    ("options", "wishes"),
    [
        ("", {}),
        ("   ", {}),
        ("-c timezone=UTC", {"TimeZone": "UTC"}),
        ("-ctimezone=UTC", {"TimeZone": "UTC"}),
        ("--timezone=UTC", {"TimeZone": "UTC"}),
        ("-c  timezone=UTC --datestyle=ISO", {"TimeZone": "UTC", "DateStyle": "ISO"}),
        (r"-c application_name=a\ b\\c", {"application_name": r"a b\c"}),
        ("-c application_name=a=b", {"application_name": "a=b"}),
        ("-c application_name=", {"application_name": ""}),
        ("-c timezone=UTC -c timezone=GMT", {"TimeZone": "GMT"}),
    ],
)
def test_options_are_read_like_a_command_line(options: str, wishes: dict[str, str]) -> None:
    assert Door().wishes(options=options) == wishes


@pytest.mark.parametrize(
    "options", ["x", "-x", "-", "-c", "-c timezone", "--timezone", "-c =UTC", "-d 1", "- c a=b"]
)
def test_promise_7_other_options_are_refused(options: str) -> None:
    with pytest.raises(LoginRejected) as caught:
        Door().admit(options=options)

    assert caught.value.message == BAD_OPTIONS


def test_untracked_options_are_refused() -> None:
    with pytest.raises(LoginRejected) as caught:
        Door().admit(options="-c enable_seqscan=off")

    assert caught.value.message == "unsupported startup parameter in options: enable_seqscan"


@pytest.mark.parametrize("ignored", ["enable_seqscan", "options"])
def test_untracked_options_can_be_dropped_on_demand(ignored: str) -> None:
    door = Door(ignore_startup_parameters=(ignored,))

    assert door.wishes(options="-c enable_seqscan=off -c timezone=UTC") == {"TimeZone": "UTC"}


def test_a_replication_client_may_have_any_options() -> None:
    options = "-c enable_seqscan=off nonsense"

    assert Door().wishes(options=options, replication="database", TimeZone="UTC") == {
        "TimeZone": "UTC"
    }


@pytest.mark.parametrize("value", ["no", "nonsense"])
def test_a_client_that_wants_no_replication_is_a_usual_one(value: str) -> None:
    with pytest.raises(LoginRejected):
        Door().admit(options="-c enable_seqscan=off", replication=value)


#: What C's isspace takes for a space, and pg_split_opts with it.
SPACES = " \t\n\v\f\r"


def split_as_postgresql(options: str) -> Iterator[str]:
    """Split as pg_split_opts does: blanks part words, and backslash takes one character as it is.

    PostgreSQL documentation, "Parameter Key Words", `options`.
    """
    word, is_escaped, is_word = "", False, False
    for character in options:
        if character in SPACES and not is_escaped:
            if is_word:
                yield word
            word, is_word = "", False
        elif character == "\\" and not is_escaped:
            is_escaped, is_word = True, True
            continue
        else:
            word, is_word = word + character, True
        is_escaped = False
    if is_word:
        yield word


def escape(text: str) -> str:
    return "".join("\\" + each if each in SPACES + "\\" else each for each in text)


NAME = st.text("abc_.", min_size=1, max_size=5)
VALUE = st.text(st.sampled_from("ab=-c'\"\\" + SPACES + "é\xa0"), max_size=8)
GAP = st.text(SPACES, min_size=1, max_size=3)


@given(st.lists(st.tuples(st.sampled_from(["-c", "-c ", "--"]), NAME, VALUE, GAP), max_size=5))
def test_options_are_split_as_postgresql_splits_them(
    options: list[tuple[str, str, str, str]],
) -> None:
    text = "".join(f"{form}{name}={escape(value)}{gap}" for form, name, value, gap in options)
    tight = "".join(f"--{name}={escape(value)}{gap}" for _, name, value, gap in options)
    words = [f"{name}={value}" for _, name, value, _ in options]

    assert [word.removeprefix("--") for word in split_as_postgresql(tight)] == words
    assert list(split_options(text)) == words


@given(st.text("-c=a\\ \t", max_size=20))
def test_whatever_the_options_are_nothing_but_a_refusal_is_raised(options: str) -> None:
    with suppress(LoginRejected):
        words = list(split_options(options))
        assert len(words) <= len(options)


def test_a_backslash_at_the_end_escapes_nothing_and_is_gone() -> None:
    assert list(split_as_postgresql("-ca=b\\")) == ["-ca=b"]
    assert list(split_options("-c a=b\\")) == ["a=b"]
