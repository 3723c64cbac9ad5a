"""Which configuration does a command line describe, and when is it one of PgBouncer's?"""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from pgpool_lite.console.tables import VERSION_TEXT
from pgpool_lite.errors import ConfigError
from pgpool_lite.serve.arguments import add_serve, complete, configuration, keywords

COMMANDS = ("serve", "dev")


def parse(*words: str) -> argparse.Namespace:
    """Return what `pgpool-lite serve` makes of the words."""
    parser = argparse.ArgumentParser()
    add_serve(parser.add_subparsers())
    return parser.parse_args(["serve", *words])


@pytest.mark.parametrize(
    "words",
    [
        ["pgbouncer.ini"],
        ["-d", "pgbouncer.ini"],
        ["-R", "-d", "/etc/pgbouncer/pgbouncer.ini"],
        ["--quiet", "anything"],
        ["-u", "postgres", "anything"],
    ],
)
def test_a_command_line_of_pgbouncers_needs_no_word_serve(words: list[str]) -> None:
    assert complete(words, COMMANDS) == ["serve", *words]


def test_a_file_of_any_name_is_a_configuration(tmp_path: Path) -> None:
    ini = tmp_path / "pool"
    ini.write_text("[pgbouncer]\n")

    assert complete([str(ini)], COMMANDS) == ["serve", str(ini)]


@pytest.mark.parametrize(
    "words", [[], ["serve", "x.ini"], ["dev", "-q"], ["--help"], ["-V"], ["serv"]]
)
def test_other_command_lines_stay_as_they_are(words: list[str]) -> None:
    assert complete(words, COMMANDS) == words


def test_pgbouncers_options_are_understood_short_and_long() -> None:
    short = parse("-d", "-q", "-R", "-u", "nobody", "-vv", "x.ini")
    long = parse(
        *("--daemon", "--quiet", "--reboot", "--user=nobody", "--verbose", "--verbose", "x.ini")
    )

    assert short == long
    assert (short.daemon, short.quiet, short.reboot, short.verbose) == (True, True, True, 2)


def test_options_become_settings() -> None:
    options = parse("-u", "nobody", "-vv", "--set", "peer_id=3", "--to", "postgresql://h/app")

    settings = configuration(options, keywords(options)).settings

    assert (settings.user, settings.verbose, settings.peer_id) == ("nobody", 2, 3)


@pytest.mark.parametrize(
    ("words", "address"),
    [
        ([], (("127.0.0.1",), 6543)),
        (["--set", "listen_port=7000"], (("127.0.0.1",), 7000)),
        (["--set", "listen_addr=*"], (("*",), 6543)),
        (["--set", "listen_port=7000", "--listen", "::1:8000"], (("::1",), 8000)),
    ],
)
def test_the_address_that_comes_with_to_gives_way_to_an_explicit_one(
    words: list[str], address: tuple[tuple[str, ...], int]
) -> None:
    options = parse("--to", "postgresql://h/app", *words)

    settings = configuration(options, keywords(options)).settings

    assert (settings.listen_addr, settings.listen_port) == address


def test_without_options_the_file_decides(tmp_path: Path) -> None:
    ini = tmp_path / "pgbouncer.ini"
    ini.write_text("[pgbouncer]\nverbose = 1\nuser = somebody\n")
    options = parse(str(ini))

    settings = configuration(options, keywords(options)).settings

    assert (settings.user, settings.verbose) == ("somebody", 1)


def test_a_setting_needs_an_equals_sign() -> None:
    with pytest.raises(ConfigError, match="--set wants KEY=VALUE, not 'verbose'"):
        keywords(parse("--set", "verbose", "x.ini"))


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_the_version_is_told_behind_the_command_too(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        parse(option)

    assert end.value.code == 0
    assert capsys.readouterr().out == f"{VERSION_TEXT}\n"
