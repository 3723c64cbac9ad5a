"""What have clients left on one server, who was it, and who found it first?

A `Ledger` belongs to one `ServerSession` and lives as long as that; it is made for the first leak.
Entries come from `watch`, once the transaction that left them is known to have committed, and go
when a client takes them back, when the server is cleaned, and with the server. What a rule says
about a statement is `diagnose`'s business; what is done about it, the pool's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from pgpool_lite.diagnose.journal import Cleared, Leak
from pgpool_lite.diagnose.rules import Kind
from pgpool_lite.session.victims import Heard, is_felt

if TYPE_CHECKING:
    from pgpool_lite.session.evidence import Effect

#: What is kept of one server. A client that makes up names should not be able to fill our memory.
MAX_ENTRIES: Final = 100
#: Characters that are kept of a statement, and of a name or value.
STATEMENT_LIMIT: Final = 200
NAME_LIMIT: Final = 64


@dataclass(frozen=True, slots=True)
class Party:
    """A client as it was at the moment, and what it said."""

    client_id: int
    user: str
    address: str
    port: int
    application_name: str
    #: Of a comment as sqlcommenter writes it: route=/orders controller=orders.
    tags: str
    #: How its statement begins.
    statement: str
    #: By the runtime's clock.
    at: float

    @property
    def name(self) -> str:
        """What log lines and notices call it."""
        parts = [f"{self.address}:{self.port}"] if self.address else []
        parts += [each for each in (self.application_name, self.tags) if each]
        return f"client C-0x{self.client_id:x}" + (f" ({', '.join(parts)})" if parts else "")


@dataclass(slots=True)
class Entry:
    """One thing that stands on a server."""

    leak: Leak
    culprit: Party
    #: How often it was left; of a session lock, how often it is held.
    count: int = 1
    #: Who was the first to run with it.
    victim: Party | None = None


@dataclass(frozen=True, slots=True)
class Errand:
    """A query of our own that a released server answers before its next client comes."""

    sql: str
    #: Whom to blame for what its answer tells; None: it cleans, and tells nothing.
    suspect: Party | None = None


class Ledger:
    """What stands on one server. Owned by its session."""

    __slots__ = ("asked", "dropped", "entries", "unnoticed", "unread")

    def __init__(self) -> None:
        """Know of nothing."""
        self.entries: dict[tuple[Kind, str], Entry] = {}
        #: Leaks that found the ledger full.
        self.dropped = 0
        #: Entries that have found no victim yet.
        self.unnoticed = 0
        #: Settings that follow their client once it is known what was set: not asked for yet, and
        #: asked for. By name, with what set them.
        self.unread: dict[str, Effect] = {}
        self.asked: dict[str, Effect] = {}

    @property
    def is_clean(self) -> bool:
        """Nothing stands on the server, and nothing is to be asked of it."""
        return not (self.stands or self.is_following)

    @property
    def stands(self) -> bool:
        """Something stands on the server."""
        return bool(self.entries or self.dropped)

    @property
    def is_following(self) -> bool:
        """It is still to be seen what a setting was set to, before the client may go on."""
        return bool(self.unread or self.asked)

    def record(self, leak: Leak, culprit: Party) -> Entry | None:
        """Note that a client has left something; None: there are too many entries already."""
        key = (leak.rule.kind, leak.name)
        known = self.entries.get(key)
        if known is None and len(self.entries) >= MAX_ENTRIES:
            self.dropped += 1
            return None
        entry = self.entries[key] = Entry(leak, culprit, known.count + 1 if known else 1)
        if known is not None and known.culprit.client_id == culprit.client_id:
            entry.victim = known.victim
        self.count()
        return entry

    def clear(self, cleared: Cleared) -> None:
        """Note that something was taken off the server. One unlock takes back one of many locks."""
        held = self.entries.get((cleared.kind, cleared.name))
        if cleared.kind is Kind.ADVISORY_LOCK and held is not None and held.count > 1:
            held.count -= 1
            return
        self.entries = {
            key: entry
            for key, entry in self.entries.items()
            if key[0] is not cleared.kind or cleared.name not in ("", key[1])
        }
        self.count()

    def wipe(self) -> None:
        """Note that the server has been cleaned of everything."""
        self.entries = {}
        self.dropped = 0
        self.unnoticed = 0
        self.unread = {}
        self.asked = {}

    def notice(self, victim: Party, heard: Heard) -> list[Entry]:
        """Return the entries that a client is the first to find, by what it says; note that."""
        found = [
            entry
            for entry in self.entries.values()
            if entry.victim is None
            and entry.culprit.client_id != victim.client_id
            and is_felt(entry.leak, heard)
        ]
        for entry in found:
            entry.victim = victim
        self.count()
        return found

    def count(self) -> None:
        """Count the entries without a victim anew."""
        self.unnoticed = sum(entry.victim is None for entry in self.entries.values())


# --- what a client said ---

#: sqlcommenter: comma-separated key='value' pairs, both percent-encoded, in a comment at the end.
_COMMENT: Final = re.compile(rb"/\*\s*([\w%.-]+='[^*]*')\s*\*/[\s;\0]*\Z")
_TAG: Final = re.compile(rb"([\w%.-]+)\s*=\s*'((?:[^'\\]|\\.)*)'")
#: Of a comment at the end so much is looked at.
_COMMENT_LIMIT: Final = 1024


def tags_of(text: bytes) -> str:
    """Return the tags of a trailing sqlcommenter comment as name=value words; "" if it has none."""
    found = _COMMENT.search(text, max(len(text) - _COMMENT_LIMIT, 0))
    if found is None:
        return ""
    words = [
        f"{_shown(unquote_to_bytes(name))}={_shown(unquote_to_bytes(value))}"
        for name, value in _TAG.findall(found[1])
    ]
    return " ".join(words)[:STATEMENT_LIMIT]


def head_of(text: bytes) -> str:
    """Return how a statement begins, on one line."""
    head = text[: 4 * STATEMENT_LIMIT].split(b"\0", 1)[0]
    return " ".join(head.decode("utf-8", "replace").split())[:STATEMENT_LIMIT]


def _shown(text: bytes) -> str:
    return text.decode("utf-8", "replace")[:NAME_LIMIT]
