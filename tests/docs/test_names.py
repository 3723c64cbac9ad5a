"""Do the files, classes, functions and pages that the documentation names exist?

A file is written as `pool/pool.py`, from the package's folder or the project's; what is in it
follows in a code span of its own: `pool/pool.py` `Pool.link`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Page, pages

PACKAGE = ROOT / "pgpool_lite"

_FILE = re.compile(r"`(?P<file>[\w./-]+\.(?:py|md))`(?:\s+`(?P<symbol>[A-Za-z_][\w.]*)(?:\(\))?`)?")
_LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (?P<text>.*)$", re.MULTILINE)

PAGES = pages()
IDS = [page.name for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_file_that_is_named_exists(page: Page) -> None:
    missing = [name for name, _ in _mentions(page) if _locate(page, name) is None]

    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_everything_that_is_named_in_a_file_is_there(page: Page) -> None:
    missing = [
        f"{name} {symbol}"
        for name, symbol in _mentions(page)
        if symbol and not _has(_locate(page, name), symbol)
    ]

    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_link_leads_somewhere(page: Page) -> None:
    broken = [
        match["target"] for match in _LINK.finditer(page.prose) if _is_broken(page, match["target"])
    ]

    assert broken == []


def _mentions(page: Page) -> Iterator[tuple[str, str]]:
    for match in _FILE.finditer(page.prose):
        yield match["file"], match["symbol"] or ""


def _locate(page: Page, name: str) -> Path | None:
    candidates = (PACKAGE / name, ROOT / name, page.path.parent / name)
    return next((path for path in candidates if path.is_file()), None)


def _has(path: Path | None, symbol: str) -> bool:
    if path is None:
        return False
    parts = path.relative_to(ROOT).with_suffix("").parts
    found: object = importlib.import_module(".".join(parts))
    for name in symbol.split("."):
        if not hasattr(found, name):
            return False
        found = getattr(found, name)
    return True


def _is_broken(page: Page, target: str) -> bool:
    if "://" in target:
        return False
    name, _, anchor = target.partition("#")
    path = page.path.parent / name if name else page.path
    return not path.exists() or (bool(anchor) and anchor not in _anchors(path))


def _anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = _HEADING.findall(path.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}
