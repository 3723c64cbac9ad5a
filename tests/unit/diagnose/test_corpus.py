"""What the rules say of the statements that real programs sent: all of it, and nothing false.

The statements are in tests/corpus, where the README says how they were recorded.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from pgpool_lite.diagnose.leaks import effects_of, is_followed, may_leak
from tests.docs.pages import page, table_rows

CORPUS = Path(__file__).resolve().parents[2] / "corpus"

# Each with how many different statements it is told of.
FINDINGS = {
    # Scripts, initialisation, and all query modes.
    "pgbench": {},
    # `iterator()` and `dumpdata` outside of a transaction: a cursor WITH HOLD per query set.
    "django": {"PL007 _django_curs": 4, "PL008 _django_curs": 8},
    # asyncpg switches jit off while it looks at types, and on again: a SET, though for a moment.
    "sqlalchemy": {"PL002 jit": 2},
    "alembic": {},
    # Its session is meant to be its own.
    "pg_dump": {
        "PL001 extra_float_digits": 1,
        "PL001 idle_in_transaction_session_timeout": 1,
        "PL001 lock_timeout": 1,
        "PL001 row_security": 1,
        "PL001 statement_timeout": 1,
        "PL001 synchronize_seqscans": 1,
        "PL002 ": 1,
        "PL002 search_path": 1,
        "PL009 dumpenumtype": 1,
        "PL009 getcolumnacls": 1,
    },
}

every_program = pytest.mark.parametrize("program", FINDINGS)


def statements_of(program: str) -> list[tuple[bytes, bool]]:
    """Return each statement, and whether a transaction block was open in front of it."""
    lines = (CORPUS / f"{program}.jsonl").read_text(encoding="utf-8").splitlines()
    return [(each["sql"].encode(), each["in_transaction"]) for each in map(json.loads, lines)]


@every_program
def test_what_is_told_of_a_program_is_true_and_nothing_else_is_told(program: str) -> None:
    told = Counter(
        f"{leak.rule.id} {re.sub('_[0-9].*', '', leak.name)}"
        for sql, in_transaction in statements_of(program)
        for leak in effects_of(sql, in_transaction=in_transaction)[0]
        if not is_followed(leak)
    )

    assert told == FINDINGS[program]


@every_program
def test_a_cheap_look_misses_nothing_of_a_program(program: str) -> None:
    missed = [
        sql
        for sql, in_transaction in statements_of(program)
        if not may_leak(sql) and effects_of(sql, in_transaction=in_transaction) != ([], [])
    ]

    assert missed == []


def test_the_page_of_the_corpus_counts_right() -> None:
    rows = table_rows(page("tests/corpus/README.md").text)
    counted = {row[0].strip("`"): (int(row[3]), int(row[4])) for row in rows[: len(FINDINGS)]}

    assert counted == {
        f"{program}.jsonl": (len(statements_of(program)), sum(told.values()))
        for program, told in FINDINGS.items()
    }
