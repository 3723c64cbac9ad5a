"""auth_ident_file: maps from the users of a system to those of PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.config.ident import IdentMap, read_ident
from pgpool_lite.errors import ConfigError

FILE = Path("ident.conf")


def read(text: str) -> Mapping[str, IdentMap]:
    return read_ident(FILE, lambda path: text)


def error(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return caught.value.message


def test_a_map_has_all_lines_of_its_name() -> None:
    maps = read(
        """\
        # map system-user database-user
        staff ann app # by day
        ops   root all

        staff "ann" "all"
        staff "b ""c"" d" app
        """
    )

    assert list(maps) == ["staff", "ops"]
    assert maps["staff"].allows("ann", "app")
    assert maps["staff"].allows("ann", "all")
    assert maps["staff"].allows('b "c" d', "app")


@pytest.mark.parametrize(
    ("system_user", "user", "allowed"),
    [
        ("ann", "app", True),
        ("ann", "other", False),
        ("bob", "app", False),
        ("root", "app", True),
        ("root", "anybody", True),
        ("roo", "app", False),
    ],
)
def test_a_pair_allows_one_user_or_all(system_user: str, user: str, allowed: bool) -> None:
    staff = read("staff ann app\nstaff root all")["staff"]

    assert staff.allows(system_user, user) is allowed


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("staff", "expected a system user"),
        ("staff ann", "expected a database user, or all"),
        ("staff ann app more", "unsupported parameters at the end of the line"),
        ("staff ann app,other", "unsupported parameters at the end of the line"),
        ('"staff" ann app', "expected the name of a map without quotes"),
        (", ann app", "expected the name of a map"),
        ('staff "ann app', "expected a closing double quote"),
    ],
)
def test_a_bad_line_is_named_with_its_reason(line: str, reason: str) -> None:
    message = error(f"\n{line}\nstaff")

    assert message.startswith(f"ident.conf:2: could not parse ident config line 2: {reason}")
    assert "could not parse ident config line 3: expected a system user" in message


@given(st.text(alphabet=st.sampled_from('staff ann all,"#\t\n'), max_size=60))
def test_any_text_is_maps_or_a_configuration_error(text: str) -> None:
    with suppress(ConfigError):
        assert sum(len(each.pairs) for each in read(text).values()) <= text.count("\n") + 1
