"""What does an SQL text leave on its server connection? `effects_of`, behind a cheap `may_leak`.

A pooler that keeps a ledger asks `may_leak` of every statement and `effects_of` of the few that it
points out; `pgpool-lite lint` asks `leaks_in_script` of whole files. What happens inside of
functions, DO blocks and SQL that is put together at run time cannot be seen in a text.
"""

from __future__ import annotations

import re
from typing import Final

from pgpool_lite.diagnose.journal import Cleared, Journal, Leak
from pgpool_lite.diagnose.lexer import HEAD_LIMIT, statements
from pgpool_lite.diagnose.rules import Kind
from pgpool_lite.diagnose.statements import read

__all__ = [
    "FOLLOWED",
    "Cleared",
    "Leak",
    "effects_of",
    "is_followed",
    "leaks_in_script",
    "may_leak",
]

#: Settings that follow their client from server to server: PostgreSQL reports each change of them.
#: Written as `Leak.name` has them; track_extra_parameters adds to these, IntervalStyle by default.
FOLLOWED: Final = frozenset(
    {
        *("client_encoding", "datestyle", "timezone", "standard_conforming_strings"),
        *("application_name", "intervalstyle"),
    }
)


def is_followed(leak: Leak) -> bool:
    """Say whether a leak is a setting that the pooler carries after its client: no harm is done."""
    return leak.rule.kind is Kind.SETTING and leak.name in FOLLOWED


def effects_of(sql: bytes, *, in_transaction: bool) -> tuple[list[Leak], list[Cleared]]:
    """Return what a text does that breaks a rule, in order, and what it takes off its server.

    `in_transaction`: whether a transaction block is open in front of this text; BEGIN, COMMIT and
    ROLLBACK inside are followed. The text is taken for one Query: everything in it succeeds, and it
    reaches one server. What it leaves and clears again by itself is no leak; so, to keep a ledger,
    apply what is cleared first. A leak in a transaction that is still open at the end of the text
    is one if that transaction commits (`Rule.is_transactional`). Never raises.
    """
    journal = Journal(in_transaction=in_transaction)
    for statement in statements(sql):
        journal.begin_statement(statement.start)
        read(statement, journal)
    return journal.effects()


def leaks_in_script(sql: bytes, *, single_transaction: bool = False) -> list[Leak]:
    """Return what breaks a rule in a file of statements, of any length.

    They are taken as psql sends them: each outside of BEGIN and COMMIT is a transaction of its own,
    so what it leaves is left whatever the next one clears. With `single_transaction` there is a
    BEGIN in front of the first one.
    """
    leaks: list[Leak] = []
    journal = Journal(in_transaction=False)
    if single_transaction:
        journal.begin()
    for statement in statements(sql, len(sql)):
        journal.begin_statement(statement.start)
        read(statement, journal)
        if not journal.in_block:
            leaks += journal.effects()[0]
            journal = Journal(in_transaction=False)
    return leaks + journal.effects()[0]


# An ordinary statement leaves nothing, unless by what is called in it. Told by its first word.
_ORDINARY_WORDS: Final = (
    *(b"select", b"insert", b"update", b"delete", b"with", b"values", b"merge", b"table"),
    *(b"begin", b"commit", b"rollback", b"end", b"start", b"abort", b"savepoint", b"release"),
    *(b"show", b"copy", b"notify", b"explain", b"alter", b"truncate", b"vacuum", b"analyze"),
)
_COMMON: Final = frozenset(
    (*_ORDINARY_WORDS, *(word + b";" for word in (b"begin", b"commit", b"rollback", b"end")), b";")
)
# The same behind parentheses and comments, or with something other than white space behind it. A
# comment in a comment is left to `effects_of`. Atomic groups: Python 3.11.2 loses its place where a
# possessive repeat ends on a lookahead.
_ORDINARY: Final = re.compile(
    rb"(?>(?:[\s;(]|--[^\n\r]*+|/\*(?>(?:[^*/]|\*(?!/)|/(?!\*))*)\*/)*)(?:\Z|(?:%b)(?![\w$\x80-\xff]))"
    % b"|".join(_ORDINARY_WORDS)
)
# Nothing shorter begins with an ordinary word and calls a function that matters.
_SHORTEST_CALL: Final = len(b"with lastval(")


def may_leak(sql_head: bytes) -> bool:
    """Say whether a text is worth `effects_of`; False for nearly all ordinary statements.

    Never False where `effects_of` would find something. Costs some ten calls of `bytes` methods.
    """
    low = sql_head.lower() if len(sql_head) <= HEAD_LIMIT else sql_head[:HEAD_LIMIT].lower()
    words = low.split(None, 1)
    if words and words[0] not in _COMMON and _ORDINARY.match(low) is None:
        return True
    end = low.find(b";")
    if 0 <= end < len(low) - 1 and low[end:].strip(b"; \t\n\r\f\v"):
        return True
    if len(low) < _SHORTEST_CALL:
        return False
    find = low.find  # half the time of `in`, which tries first whether it is given a number
    return (
        find(b"advisory_") >= 0
        or find(b"set_config") >= 0
        or find(b"currval") >= 0
        or find(b"lastval") >= 0
        or (find(b"temp") >= 0 and (find(b"into") >= 0 or find(b"pg_temp") >= 0))
    )
