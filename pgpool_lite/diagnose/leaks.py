"""What does an SQL text leave on its server connection? `effects_of`, behind a cheap `may_leak`.

A pooler that keeps a ledger asks `may_leak` of every statement and `effects_of` of the few that it
points out; `pgpool-lite lint` asks `effects_of` of whole files. What happens inside of functions,
DO blocks and SQL that is put together at run time cannot be seen in a text.
"""

from __future__ import annotations

import re
from typing import Final

from pgpool_lite.diagnose.journal import Cleared, Journal, Leak
from pgpool_lite.diagnose.lexer import HEAD_LIMIT, statements
from pgpool_lite.diagnose.rules import Kind
from pgpool_lite.diagnose.statements import read

__all__ = ["FOLLOWED", "Cleared", "Leak", "effects_of", "is_followed", "may_leak"]

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


# White space and comments in front, then the word that tells what a statement is. An ordinary one
# leaves nothing, unless by what is called in it.
_ORDINARY: Final = re.compile(
    rb"(?:[\s;(]|--[^\n\r]*+|/\*(?:[^*/]|\*(?!/)|/(?!\*))*+\*/)*+"
    rb"(?:select|insert|update|delete|with|values|merge|table|begin|commit|rollback|end|start|show"
    rb"|savepoint|release|copy|notify|abort|explain|alter|truncate|vacuum|analyze|\Z)(?![\w$\x80-\xff])"
)


def may_leak(sql_head: bytes) -> bool:
    """Say whether a text is worth `effects_of`; False for nearly all ordinary statements.

    Never False where `effects_of` would find something.
    """
    low = sql_head[:HEAD_LIMIT].lower()
    if _ORDINARY.match(low) is None:
        return True
    end = low.find(b";")
    if end >= 0 and low[end:].strip(b"; \t\n\r\f\v"):
        return True
    return (
        b"advisory_" in low
        or b"set_config" in low
        or b"currval" in low
        or b"lastval" in low
        or b"pg_temp" in low
        or (b"temp" in low and b"into" in low)
    )
