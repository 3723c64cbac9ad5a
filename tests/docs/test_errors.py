"""Is docs/errors.md what the lessons say, and does every HINT lead to a heading of it?"""

from __future__ import annotations

import re

from pgpool_lite.pool.lessons import LESSONS, OF_CLIENTS, OF_SERVERS, PAGE, anchor
from tests.docs.errors import TARGET, render


def test_the_page_is_what_the_lessons_say() -> None:
    assert TARGET.read_text(encoding="utf-8") == render(), "python -m tests.docs.errors"


def test_every_hint_leads_to_a_heading_of_the_page() -> None:
    headings = re.findall(r"^## (.*)$", render(), re.MULTILINE)
    anchors = {f"{PAGE}#{anchor(heading)}" for heading in headings}

    assert {each.anchor for each in (*LESSONS, OF_CLIENTS, OF_SERVERS)} <= anchors
