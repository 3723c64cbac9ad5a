"""What the statements of one text do to their server connection, with transactions followed.

`leaks.py` makes a `Journal` per text, `statements.py` writes into it, one call per thing that a
statement does. What a rollback takes back is taken back here, and what a later statement clears.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pgpool_lite.diagnose.rules import Harm, Kind, Rule

#: So much of a name or a value is kept.
TEXT_LIMIT: Final = 200


@dataclass(frozen=True, slots=True)
class Leak:
    """One statement that breaks a rule."""

    rule: Rule
    #: The parameter, channel, table, cursor, statement or role; of a lock its key as written;
    #: "" if it cannot be told.
    name: str
    #: The new value of a setting or a role, else "".
    value: str
    #: Where in the text the statement begins, in bytes.
    offset: int


@dataclass(frozen=True, slots=True)
class Cleared:
    """One thing, or all of a kind, that a text takes off its server connection."""

    kind: Kind
    #: "" means all of this kind.
    name: str


class Journal:
    """The effects of one text so far. Owned by one call of `effects_of`."""

    __slots__ = (
        "_began",
        "_continues",
        "_entries",
        "_local",
        "_provided",
        "_savepoints",
        "in_block",
        "offset",
    )

    def __init__(self, *, in_transaction: bool) -> None:
        """Begin a text; `in_transaction`: a transaction block is open in front of it."""
        #: Where the statement begins that is being read.
        self.offset = 0
        #: Whether a BEGIN is open.
        self.in_block = in_transaction
        self._entries: list[Leak | Cleared] = []
        # How many entries there were when the transaction began, and at each savepoint.
        self._began = 0
        self._savepoints: list[tuple[bytes, int]] = []
        # What later statements of the text may rely on, by name and by kind only.
        self._provided: set[tuple[Kind, str] | Kind] = set()
        # Whether they may rely on what an open transaction did before this text: on anything.
        self._continues = in_transaction
        # The last statement, if it is for its transaction only and no BEGIN is open.
        self._local: Leak | None = None

    # --- statements ---

    def begin_statement(self, offset: int) -> None:
        """Note where the next statement begins."""
        self.offset = offset
        self._local = None

    def leave(self, rule: Rule, name: str = "", value: str = "") -> None:
        """Note that the statement leaves something on the server."""
        self._break(rule, name, value)
        self.provide(rule.kind, name)

    def clear(self, kind: Kind, name: str = "") -> None:
        """Note that the statement takes something off the server; "" is all of a kind."""
        self._entries.append(Cleared(kind, name[:TEXT_LIMIT]))

    def wipe(self, rule: Rule) -> None:
        """Note that the statement takes away more than it can know of."""
        self._break(rule)

    def provide(self, kind: Kind, name: str = "") -> None:
        """Note what later statements of this text find on the server."""
        self._provided.update((kind, (kind, name)))

    def rely(self, rule: Rule, name: str, *, on: Kind) -> None:
        """Note that the statement needs what only an earlier one can have left.

        It breaks the rule unless this text provided it, or a transaction that was open before.
        """
        found = (on, name) in self._provided or (on, "") in self._provided
        if not (self._continues or found or (not name and on in self._provided)):
            self._break(rule, name)

    def last_for_the_transaction(self, rule: Rule, name: str, value: str = "") -> None:
        """Note a statement that is in vain unless others follow in its transaction."""
        if not self.in_block:
            self._local = self._leak(rule, name, value)

    def _break(self, rule: Rule, name: str = "", value: str = "") -> None:
        self._entries.append(self._leak(rule, name, value))

    def _leak(self, rule: Rule, name: str, value: str) -> Leak:
        return Leak(rule, name[:TEXT_LIMIT], value[:TEXT_LIMIT], self.offset)

    # --- transactions ---

    def begin(self) -> None:
        """Open a transaction block; what stands in front of it in this text belongs to it."""
        self.in_block = True

    def commit(self, *, chain: bool = False) -> None:
        """End the transaction; what was left stays."""
        self._end(chain)

    def roll_back(self, *, chain: bool = False) -> None:
        """End the transaction, and take back what it left and cleared."""
        self._take_back(self._began)
        self._end(chain)

    def save(self, name: bytes) -> None:
        """Make a savepoint."""
        self._savepoints.append((name, len(self._entries)))

    def roll_back_to(self, name: bytes) -> None:
        """Take back what was done since a savepoint; one from before this text is its beginning."""
        for index in range(len(self._savepoints) - 1, -1, -1):
            saved, mark = self._savepoints[index]
            if saved == name:
                del self._savepoints[index + 1 :]
                self._take_back(mark)
                return
        self._savepoints.clear()
        self._take_back(self._began)

    def _end(self, chain: bool) -> None:
        self._began = len(self._entries)
        self._savepoints.clear()
        self.in_block = chain

    def _take_back(self, mark: int) -> None:
        self._entries[mark:] = [each for each in self._entries[mark:] if _survives_rollback(each)]

    # --- the end ---

    def effects(self) -> tuple[list[Leak], list[Cleared]]:
        """Return what breaks a rule once the text has run, and what it cleared."""
        leaks: dict[int, Leak] = {}
        cleared: list[Cleared] = []
        # Where in `leaks` it is that something can still be cleared, by kind and name.
        standing: dict[Kind, dict[str, list[int]]] = {}
        for index, entry in enumerate(self._entries):
            if isinstance(entry, Leak):
                leaks[index] = entry
                if entry.rule.harm is Harm.LEAVES:
                    by_name = standing.setdefault(entry.rule.kind, {})
                    by_name.setdefault(entry.name, []).append(index)
            else:
                cleared.append(entry)
                for gone in _cleared_by(entry, standing):
                    del leaks[gone]
        found = list(leaks.values())
        if self._local is not None and not self.in_block:
            found.append(self._local)
        return found, cleared


_SURVIVING = frozenset({Kind.ADVISORY_LOCK, Kind.PREPARED, Kind.SEQUENCE, Kind.LIBRARY})


def _survives_rollback(entry: Leak | Cleared) -> bool:
    """Say whether a rollback leaves this as it is: locks and prepared statements know none."""
    if isinstance(entry, Leak):
        return entry.rule.harm is not Harm.LEAVES or not entry.rule.is_transactional
    return entry.kind in _SURVIVING


def _cleared_by(cleared: Cleared, standing: dict[Kind, dict[str, list[int]]]) -> list[int]:
    """Take out of `standing` what is cleared; one unlock takes one of several locks of one key."""
    by_name = standing.get(cleared.kind, {})
    if not cleared.name:
        return [index for indexes in standing.pop(cleared.kind, {}).values() for index in indexes]
    if cleared.kind is Kind.ADVISORY_LOCK and by_name.get(cleared.name):
        return [by_name[cleared.name].pop()]
    return by_name.pop(cleared.name, [])
