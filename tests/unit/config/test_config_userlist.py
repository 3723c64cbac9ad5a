"""auth_file, each rule as PgBouncer 1.26.1 was seen to apply it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.config.userlist import (
    MAX_SECRET_LENGTH,
    MAX_USER_LENGTH,
    read_userlist,
    scan_userlist,
)
from pgpool_lite.errors import ConfigError

FILE = Path("userlist.txt")


def error(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        scan_userlist(text, FILE)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("", {}),
        ("\n \n", {}),
        ('"ann" "x"\n"bob" ""\n', {"ann": "x", "bob": ""}),
        ('  "ann"   "x" whatever "else"\n', {"ann": "x"}),
        ('; "ann" "x"\n"bob" "y"', {"bob": "y"}),
        ('"ann" "x"\r\n"bob" "y"\r\n', {"ann": "x", "bob": "y"}),
        ('"o""neill" "a""""b"', {'o"neill': 'a""b'}),
        ('"ann" "1"\n"ann" "2"\n', {"ann": "2"}),
        ('"" "x"', {"": "x"}),
        ('"ann"\n  "x"\n"bob" "y"', {"ann": "x", "bob": "y"}),
        ('"ann" "SCRAM-SHA-256$4096:c2FsdA==$a:b"', {"ann": "SCRAM-SHA-256$4096:c2FsdA==$a:b"}),
    ],
)
def test_a_line_is_a_user_and_a_secret(text: str, secrets: dict[str, str]) -> None:
    assert scan_userlist(text) == secrets


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("bob y", "user name"),
        ("# comment", "user name"),
        ('"bob', "user name"),
        ('"bob"', "secret"),
        ('"bob" "hush', "secret"),
        ('"bob""y"', "secret"),
    ],
)
def test_a_broken_line_is_refused_with_its_place_and_without_the_secret(
    line: str, what: str
) -> None:
    message = error(f'"ann" "x"\n{line}')
    assert message == (
        f'userlist.txt:2: expected a {what} in double quotes: a line is "user" "secret"; '
        "; is a comment"
    )


def test_the_longest_secret_and_user_pgbouncer_takes_are_taken() -> None:
    user, secret = "u" * MAX_USER_LENGTH, "p" * MAX_SECRET_LENGTH
    assert scan_userlist(f'"{user}" "{secret}"') == {user: secret}


def test_longer_ones_are_refused() -> None:
    assert error('"a" "b"\n"c" "' + "p" * 65531 + '"') == (
        "userlist.txt:2: the secret is 65531 bytes long; at most 65530 are allowed"
    )
    assert error('"' + "u" * 128 + '" "p"') == (
        "userlist.txt:1: the user name is 128 bytes long; at most 127 are allowed"
    )


FIELD = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.dictionaries(FIELD, FIELD))
def test_what_is_written_is_read(secrets: dict[str, str]) -> None:
    def quote(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    lines = [f"{quote(user)} {quote(secret)} ; note\n" for user, secret in secrets.items()]
    assert scan_userlist("; users\n\n" + "".join(lines)) == secrets


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "userlist.txt"
    path.write_text('"ann" "x"\n')
    assert read_userlist(path) == {"ann": "x"}


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "userlist.txt"
    with pytest.raises(ConfigError) as caught:
        read_userlist(path)
    assert str(caught.value) == f"{path}: cannot be read: No such file or directory"
