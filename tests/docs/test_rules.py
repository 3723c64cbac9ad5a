"""Does each rule have its page and its picture, and do the pages' examples break what they say?"""

from __future__ import annotations

import pytest

from pgpool_lite.diagnose.leaks import leaks_in_script
from pgpool_lite.diagnose.rules import RULES, Rule, rule
from tests.docs.pages import ROOT, page, table_rows

HEADINGS = ("What happens", "How it shows", "Wrong", "Right", "In drivers and ORMs", "Seen by")
TRANSACTION_MODE = page("docs/transaction-mode.md")

every_rule = pytest.mark.parametrize("each", RULES, ids=[each.id for each in RULES])


def broken(sql: str) -> set[str]:
    return {leak.rule.id for leak in leaks_in_script(sql.encode())}


def examples(each: Rule, heading: str) -> str:
    """Return the SQL under a heading of a rule's page."""
    _, _, rest = page(each.page).section(heading).partition("```sql\n")
    return rest.partition("```")[0]


def test_a_page_that_no_rule_has_is_not_there() -> None:
    found = {path.name for path in (ROOT / "docs" / "rules").iterdir()}

    assert found == {f"{each.id}.md" for each in RULES}


@every_rule
def test_a_rule_is_told_with_the_same_words_as_in_the_code(each: Rule) -> None:
    text = page(each.page).text

    assert text.startswith(f"# {each.id} {each.name}\n\n{each.story}\n\n**{each.advice}**\n")
    assert f"\nSeverity: {each.severity.value}: " in text


@every_rule
def test_a_page_says_all_that_it_has_to(each: Rule) -> None:
    sections = [page(each.page).section(heading) for heading in HEADINGS]

    assert [section for section in sections if not section.strip()] == []
    assert table_rows(sections[4]) != []


@every_rule
def test_what_is_shown_as_wrong_breaks_the_rule(each: Rule) -> None:
    assert each.id in broken(examples(each, "Wrong"))


@every_rule
def test_what_is_shown_as_right_breaks_none(each: Rule) -> None:
    assert examples(each, "Right").strip()
    assert broken(examples(each, "Right")) == set()


@every_rule
def test_a_rule_has_its_picture(each: Rule) -> None:
    _, _, rest = TRANSACTION_MODE.text.partition(f"\n### {each.id} {each.name}\n")
    picture = rest.partition("\n### ")[0]

    assert picture.startswith("\n```\n client A")
    assert f"(rules/{each.id}.md)" in picture


@every_rule
def test_a_rule_stands_in_the_table_of_what_works(each: Rule) -> None:
    rows = table_rows(TRANSACTION_MODE.section("What works, and what does not"))

    assert any(f"[{each.id}]" in row[3] for row in rows)


def test_what_can_be_told_of_a_literal_are_the_rules_that_leave_something() -> None:
    told = TRANSACTION_MODE.section("Finding it: pgpool-lite lint").partition(
        "whatever the transaction: "
    )[2]
    ids = [id.strip() for id in told.partition(".\n")[0].split(",")]

    assert ids == [
        "PL001 to PL004",
        *(each.id for each in RULES[5:] if each.harm.value in ("leaves", "wipes")),
    ]
    assert {rule(f"PL00{nth}").harm.value for nth in (1, 2, 3, 4)} == {"leaves"}
