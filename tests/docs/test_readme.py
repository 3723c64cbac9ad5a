"""Do the commands and snippets that the documentation shows work as shown?"""

from __future__ import annotations

import re
import shlex
from collections.abc import Awaitable, Callable

import pytest

from pgpool_lite import cli
from pgpool_lite.dev.cluster import Cluster
from tests.docs.pages import ROOT, page, pages

README = page("README.md")
RUN_COMMAND = (
    "python3 -m venv .venv && .venv/bin/pip install -q -e '.[dev]' && .venv/bin/pgpool-lite dev"
)
TEST_COMMAND = (
    "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]'"
    " && .venv/bin/pytest -q -n auto --dist worksteal"
)


def _shown_commands() -> list[str]:
    """Return the calls of `pgpool-lite` in code blocks of all pages, their comments left out."""
    lines = {
        line.partition("  #")[0].strip()
        for each in pages()
        for block in each.code_blocks("sh")
        for line in block.splitlines()
    }
    return sorted(line for line in lines if line.startswith("pgpool-lite "))


def test_two_commands_of_one_line_run_it_and_test_it() -> None:
    commands = [block.strip() for block in README.code_blocks("sh") if ".venv" in block]

    assert commands == [RUN_COMMAND, TEST_COMMAND]


def test_continuous_integration_finds_the_command_of_the_tests() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    pattern = script.partition("grep -x '")[2].partition("' README.md")[0]

    assert [line for line in README.text.splitlines() if re.fullmatch(pattern, line)] == [
        TEST_COMMAND
    ]


@pytest.mark.parametrize("command", _shown_commands())
def test_a_command_that_is_shown_is_understood(command: str) -> None:
    options = cli._parser().parse_args(shlex.split(command)[1:])

    assert callable(options.command)


@pytest.mark.parametrize("name", ["README.md", "docs/quickstart.md"])
async def test_a_test_that_is_shown_passes(name: str, postgres: Cluster) -> None:
    (shown,) = page(name).code_blocks("python")
    runnable = shown.replace("postgresql://postgres@127.0.0.1/app", postgres.dsn(dbname="app"))
    found: dict[str, Callable[[], Awaitable[None]]] = {}
    exec(compile(runnable, name, "exec"), found)

    await next(found[each] for each in found if each.startswith("test_"))()
