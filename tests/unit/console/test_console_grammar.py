"""What counts as a command, and what it says."""

from __future__ import annotations

import pytest

from pgpool_lite.console.grammar import Assignment, Call, parse


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("SHOW POOLS", Call("show", "POOLS")),
        (" \n show\tpools ; ", Call("show", "pools")),
        ("reload;", Call("reload", "")),
        ('PAUSE "my ""db"""', Call("pause", 'my "db"')),
        ('"SHOW" "version"', Call("show", "version")),
        ("PAUSE my-app.test", Call("pause", "my-app.test")),
        ("kill_client 12", Call("kill_client", "12")),
        ("show pools JSON;", Call("show", "pools", "json")),
    ],
)
def test_a_command_is_a_word_and_maybe_an_argument(text: str, call: Call) -> None:
    assert parse(text) == call


@pytest.mark.parametrize(
    ("text", "assignment"),
    [
        ("SET query_timeout = 3", Assignment("query_timeout", "3")),
        ("set query_timeout=1.5;", Assignment("query_timeout", "1.5")),
        ("set query_timeout TO 3 ;", Assignment("query_timeout", "3")),
        ("set stats_users = 'ann, o''neill'", Assignment("stats_users", "ann, o'neill")),
        ("set stats_users to'ann'", Assignment("stats_users", "ann")),
        ("set server_check_query = ''", Assignment("server_check_query", "")),
        ('set "query_timeout" = "3"', Assignment("query_timeout", "3")),
        ("set auth_file = /etc/users.txt", Assignment("auth_file", "/etc/users.txt")),
    ],
)
def test_a_set_has_a_key_and_a_value(text: str, assignment: Assignment) -> None:
    assert parse(text) == assignment


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ; ",
        "show stats; show pools",
        "show stats bla bla",
        "show stats 'bla'",
        "show 'version'",
        "show stats -- comment",
        "set datestyle = iso, mdy",
        "set tomato 3",
        "set x = 'open",
        "SHOW POOLS;;",
    ],
)
def test_everything_else_is_no_command(text: str) -> None:
    assert parse(text) is None
