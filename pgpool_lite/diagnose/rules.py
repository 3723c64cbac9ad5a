"""The rules PL001 and so on: what a session keeps that transaction pooling takes away. One table.

Each rule has its page, docs/rules/ID.md. What a statement must look like to break one is in
`statements.py` and `calls.py` of this folder.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final


class Kind(enum.Enum):
    """What it is that stays on a server connection, or is looked for there."""

    SETTING = "setting"
    PREPARED = "prepared statement"
    LISTEN = "channel"
    TEMP_TABLE = "temporary table"
    HELD_CURSOR = "held cursor"
    ADVISORY_LOCK = "advisory lock"
    ADVISORY_UNLOCK = "advisory unlock"
    SEQUENCE = "sequence value"
    ROLE = "role"
    LIBRARY = "library"
    SESSION = "whole session"
    TRANSACTION = "transaction"


class Harm(enum.Enum):
    """What is wrong with a statement in transaction mode."""

    #: It leaves something on the server, and the server's next client finds it.
    LEAVES = "leaves"
    #: It relies on what an earlier transaction left, maybe on another server.
    RELIES = "relies"
    #: It takes away what may be somebody else's.
    WIPES = "wipes"


class Severity(enum.Enum):
    """How bad it is; the words of SARIF."""

    ERROR = "error"  # another client gets wrong results or errors, or waits for ever
    WARNING = "warning"  # the statement itself does not do what it is for
    NOTE = "note"  # it does nothing, or more than is meant


class Evidence(enum.Enum):
    """By what a running pooler can notice it."""

    TEXT = "statement text"
    TAG = "command tag"
    STATUS = "ParameterStatus"
    ASKING = "asking the server"


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to break transaction mode."""

    id: str
    #: In lower case with hyphens, to be read.
    name: str
    kind: Kind
    #: What happens, in one sentence.
    story: str
    #: What to do instead, in one sentence.
    advice: str
    severity: Severity
    harm: Harm
    evidence: tuple[Evidence, ...]
    #: Whether a ROLLBACK takes it back.
    is_transactional: bool = True

    @property
    def page(self) -> str:
        """Where it is explained, from the project's root."""
        return f"docs/rules/{self.id}.md"


_SESSION_URL = "the direct URL or a pool in session mode"

RULES: Final = (
    Rule(
        "PL001",
        "session-setting",
        Kind.SETTING,
        "SET outlives the transaction: the next client of this server connection runs with the new"
        " value, and this client's next transaction may run without it.",
        "Use SET LOCAL inside the transaction, or give the role or the database the value:"
        " ALTER ROLE ... SET.",
        Severity.ERROR,
        Harm.LEAVES,
        (Evidence.TEXT, Evidence.TAG, Evidence.STATUS, Evidence.ASKING),
    ),
    Rule(
        "PL002",
        "session-set-config",
        Kind.SETTING,
        "set_config(name, value, false) is a SET in the shape of a function: the value stays on the"
        " server connection for whoever comes next.",
        "Pass true as the third argument, inside the transaction that needs the value.",
        Severity.ERROR,
        Harm.LEAVES,
        (Evidence.TEXT, Evidence.STATUS, Evidence.ASKING),
    ),
    Rule(
        "PL003",
        "session-role",
        Kind.ROLE,
        "SET ROLE and SET SESSION AUTHORIZATION outlive the transaction: the next client works with"
        " this one's rights.",
        "Use SET LOCAL ROLE inside the transaction, or log in as that role.",
        Severity.ERROR,
        Harm.LEAVES,
        (Evidence.TEXT, Evidence.STATUS, Evidence.ASKING),
    ),
    Rule(
        "PL004",
        "session-advisory-lock",
        Kind.ADVISORY_LOCK,
        "A session advisory lock belongs to the server connection: once the transaction is over the"
        " client cannot be sure to reach that connection again, and the lock stays.",
        "Use pg_advisory_xact_lock, which ends with the transaction; for migrations use "
        + _SESSION_URL
        + ".",
        Severity.ERROR,
        Harm.LEAVES,
        (Evidence.TEXT, Evidence.ASKING),
        is_transactional=False,
    ),
    Rule(
        "PL005",
        "advisory-unlock-elsewhere",
        Kind.ADVISORY_UNLOCK,
        "The unlock comes in another transaction than its lock, so it may arrive on another server"
        " connection: it returns false with a warning, and the lock stays where it is.",
        "Use pg_advisory_xact_lock, which needs no unlock, or " + _SESSION_URL + ".",
        Severity.WARNING,
        Harm.RELIES,
        (Evidence.TEXT,),
    ),
    Rule(
        "PL006",
        "temporary-table",
        Kind.TEMP_TABLE,
        "A temporary table belongs to the server connection: the next transaction may not find it,"
        " and another client meets it when it makes its own, or reads it in place of a real table.",
        "Create it inside the transaction with ON COMMIT DROP, or drop it in the same transaction.",
        Severity.ERROR,
        Harm.LEAVES,
        (Evidence.TEXT, Evidence.ASKING),
    ),
    Rule(
        "PL007",
        "held-cursor",
        Kind.HELD_CURSOR,
        "A cursor WITH HOLD outlives its transaction on one server connection, with all its rows in"
        " memory or on disk; the client's next FETCH may reach another one.",
        "Declare it without WITH HOLD and fetch inside the transaction, or page by key.",
        Severity.ERROR,
        Harm.LEAVES,
        (Evidence.TEXT, Evidence.ASKING),
    ),
    Rule(
        "PL008",
        "fetch-in-another-transaction",
        Kind.HELD_CURSOR,
        "FETCH, MOVE or CLOSE of a cursor that another transaction declared: it may reach a server"
        " connection where that cursor is not, or where another client's has the same name.",
        "Declare the cursor and fetch from it in one transaction.",
        Severity.WARNING,
        Harm.RELIES,
        (Evidence.TEXT,),
    ),
    Rule(
        "PL009",
        "sql-prepare",
        Kind.PREPARED,
        "PREPARE makes a statement on one server connection: the next transaction may not find it,"
        " and another client that prepares the same name is refused.",
        "Leave preparing to the driver's protocol, which the pooler follows, or set"
        " sql_prepared_statements = track.",
        Severity.ERROR,
        Harm.LEAVES,
        (Evidence.TEXT, Evidence.TAG, Evidence.ASKING),
        is_transactional=False,
    ),
    Rule(
        "PL010",
        "sql-execute-in-another-transaction",
        Kind.PREPARED,
        "EXECUTE or DEALLOCATE of a statement that another transaction prepared: it may reach a"
        " server connection that does not know the name, or knows it as another client's.",
        "Leave preparing to the driver's protocol, which the pooler follows, or set"
        " sql_prepared_statements = track.",
        Severity.WARNING,
        Harm.RELIES,
        (Evidence.TEXT, Evidence.TAG),
    ),
    Rule(
        "PL011",
        "listen",
        Kind.LISTEN,
        "LISTEN registers the server connection: notifications go to whichever client holds it when"
        " they come, and to nobody while it is idle.",
        "Listen on a connection of its own by way of " + _SESSION_URL + "; NOTIFY works anywhere.",
        Severity.ERROR,
        Harm.LEAVES,
        (Evidence.TEXT, Evidence.TAG, Evidence.ASKING),
    ),
    Rule(
        "PL012",
        "sequence-value-of-another-transaction",
        Kind.SEQUENCE,
        "currval and lastval tell what this server connection drew last: another client's value, or"
        " an error, unless the same transaction drew it.",
        "Use INSERT ... RETURNING, or keep the value that nextval returned.",
        Severity.WARNING,
        Harm.RELIES,
        (Evidence.TEXT,),
    ),
    Rule(
        "PL013",
        "load-library",
        Kind.LIBRARY,
        "LOAD loads a library into one server process: this client's next transaction may run"
        " without it, and other clients run with it.",
        "Put it into session_preload_libraries of the role, the database or the server.",
        Severity.WARNING,
        Harm.LEAVES,
        (Evidence.TEXT, Evidence.TAG),
        is_transactional=False,
    ),
    Rule(
        "PL014",
        "discard-all",
        Kind.SESSION,
        "DISCARD ALL cleans whichever server connection is at hand, not the one that this client"
        " used before, and throws away plans that other clients had prepared there.",
        "Leave it out: there is no session to clean; switch the driver's reset query off.",
        Severity.NOTE,
        Harm.WIPES,
        (Evidence.TEXT, Evidence.TAG),
    ),
    Rule(
        "PL015",
        "local-outside-transaction",
        Kind.TRANSACTION,
        "What is meant to last for a transaction stands outside of one: it ends with its own"
        " statement, and the next statement is another transaction, maybe on another server.",
        "Put BEGIN in front and COMMIT behind the statements that belong together.",
        Severity.NOTE,
        Harm.RELIES,
        (Evidence.TEXT,),
    ),
)

_BY_ID: Final = {each.id: each for each in RULES}


def rule(id: str) -> Rule:
    """Return the rule with this id; raises KeyError if there is none."""
    return _BY_ID[id]
