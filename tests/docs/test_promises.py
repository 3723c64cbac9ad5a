"""Has every promise of the pages that make promises a test that holds it?"""

from __future__ import annotations

import re

import pytest

from tests.architecture.source import functions, modules
from tests.docs.pages import Page, page, table_rows

BEHAVIOR = page("docs/behavior.md")
SECURITY = page("docs/security.md")
RELIABILITY = page("docs/reliability.md")

#: Of what the page says, the parts whose lines name no test: who is trusted, what must be accepted.
_UNTESTED = ("is trusted", "**can**", "A core dump does", "A `--to` URL")

_PROMISE = re.compile(r"^- (?P<text>.*(?:\n  .*)*)", re.MULTILINE)
_TEST = re.compile(r"`(?P<file>[\w/]+\.py)::(?P<test>\w+)`")


def test_every_promise_names_the_test_that_holds_it() -> None:
    unheld = [
        match["text"]
        for match in _PROMISE.finditer(BEHAVIOR.text)
        if not _TEST.search(match["text"])
    ]

    assert unheld == []


def test_every_line_about_what_an_attacker_cannot_do_names_its_test() -> None:
    _, _, told = SECURITY.text.partition("## What is bounded before a login")
    lines = [match["text"] for match in _PROMISE.finditer(told)]
    rows = [" ".join(row) for row in table_rows(SECURITY.text)]

    assert len(lines) > 20
    assert [
        line
        for line in (*lines, *rows)
        if not _TEST.search(line) and not line.startswith(_UNTESTED)
    ] == []


@pytest.mark.parametrize(
    "told", [BEHAVIOR, SECURITY, RELIABILITY], ids=["behavior", "security", "reliability"]
)
def test_every_test_that_is_named_exists(told: Page) -> None:
    existing = {
        (module.place.removeprefix("tests/"), function.name)
        for module in modules("tests")
        for function in functions(module)
    }
    named = {(match["file"], match["test"]) for match in _TEST.finditer(told.text)}

    assert sorted(named - existing) == []


def test_each_of_the_eight_promises_names_tests_that_have_its_number() -> None:
    told = dict(re.findall(r"^(\d)\. (.*)$", BEHAVIOR.section("The eight promises"), re.MULTILINE))
    tests = {number: [match["test"] for match in _TEST.finditer(told[number])] for number in told}

    assert sorted(told) == list("12345678")
    assert {
        number: [test for test in named if number not in test.partition("_promise")[2]]
        for number, named in tests.items()
    } == {number: [] for number in told}
    assert min(map(len, tests.values())) > 0
