"""Writes docs/errors.md out of the lessons: `python -m tests.docs.errors`."""

from __future__ import annotations

from collections.abc import Iterator

from pgpool_lite.pool.failures import FAILURES
from pgpool_lite.pool.lessons import (
    HEADINGS,
    LESSONS,
    OF_CLIENTS,
    OF_SERVERS,
    SERVERS,
    WAITING,
    Lesson,
)
from tests.docs.pages import ROOT

TARGET = ROOT / "docs" / "errors.md"

_HEAD = """\
# Errors, and what to change

Every error and notice that the pooler itself sends has PgBouncer's severity, SQLSTATE and sentence,
and says besides in DETAIL what happened, with names and figures where there are any, and in HINT
what to change. psql shows both; drivers have them as `detail` and `hint` of the error (asyncpg,
pg, postgres.js), `diag.message_detail` (psycopg), `Detail` and `Hint` (pgx, Npgsql). `teaching =
off` leaves both out: severity, SQLSTATE and sentence are all that PgBouncer sends.

The figures are looked at when an error is sent; nothing is kept for it. A client that waited in
vain reads who has the servers:

```
FATAL:  query_wait_timeout
DETAIL:  Waited 00:02:00 for a server. 5 of 5 servers of app/alice: 4 idle in transaction, oldest
00:03:10, application 'api', client C-0x2a, last `UPDATE orders SET total = ? WHERE id = ?`; 1
active, oldest 00:00:01, application 'report', client C-0x31, last `SELECT count(*) FROM orders`. 7
clients wait, the oldest for 00:02:00.
HINT:  Transactions that wait for their client hold the servers: commit, or close the session, ...
```

Names and statements are those of the same user's clients only, and values in a statement are left
out. Of other users' clients it says how many they are,
what they do and since when. A refused login reads the same for a wrong password and for a user that
does not exist; the reason is in the pooler's log.

This page is generated from `pool/lessons.py` by `python -m tests.docs.errors`; a test compares the
two, and another one reads the source for sentences that are missing here. `...` stands for what
differs. Errors about named prepared statements have [a page of their own](prepared-statements.md).
"""

_FAILURES = """
PostgreSQL's own refusals of the pooler's login are passed on with its SQLSTATE and sentence. The
HINT, also behind `server login has been failing`, goes by what was said:

| what was said | what to change |
|---|---|"""

_UNKNOWN = "Whatever else breaks the protocol"


def render() -> str:
    """Return the whole page."""
    lines = [_HEAD.rstrip()]
    for heading in HEADINGS:
        lines += [
            f"\n## {heading}\n",
            "| sentence | what happened | what to change |",
            "|---|---|---|",
        ]
        lines += [_row(f"`{each.sentence}`", each) for each in LESSONS if each.heading == heading]
        lines += [
            _row(_UNKNOWN, each) for each in (OF_CLIENTS, OF_SERVERS) if each.heading == heading
        ]
        if heading == SERVERS:
            lines += [_FAILURES, *_failures()]
    return "\n".join(lines) + "\n"


def _row(sentence: str, lesson: Lesson) -> str:
    looked_up = "who has the servers" if lesson.heading == WAITING else "it says"
    cells = (sentence, lesson.detail or looked_up, lesson.hint or "it says")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _failures() -> Iterator[str]:
    for pattern, hint in FAILURES:
        words = pattern.replace("\\.", ".").replace(".*", "...").replace("|", "`, `")
        yield f"| `{words}` | {hint} |"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
