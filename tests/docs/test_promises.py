"""Has every promise of docs/behavior.md a test that holds it?"""

from __future__ import annotations

import re

from tests.architecture.source import functions, modules
from tests.docs.pages import page

BEHAVIOR = page("docs/behavior.md")

_PROMISE = re.compile(r"^- (?P<text>.*(?:\n  .*)*)", re.MULTILINE)
_TEST = re.compile(r"`(?P<file>[\w/]+\.py)::(?P<test>\w+)`")


def test_every_promise_names_the_test_that_holds_it() -> None:
    unheld = [
        match["text"]
        for match in _PROMISE.finditer(BEHAVIOR.text)
        if not _TEST.search(match["text"])
    ]

    assert unheld == []


def test_every_test_that_is_named_exists() -> None:
    existing = {
        (module.place.removeprefix("tests/"), function.name)
        for module in modules("tests")
        for function in functions(module)
    }
    named = {(match["file"], match["test"]) for match in _TEST.finditer(BEHAVIOR.text)}

    assert sorted(named - existing) == []
