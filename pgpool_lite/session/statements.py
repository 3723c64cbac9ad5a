"""Which prepared statements exist, and which client and which server has them? The books.

A client prepares a statement under a name of its own choice; the next transaction may run on
another server, which has never heard of it. So the pooler keeps three books:

      one for all      text and types  ──►  Statement, with the name that servers know it by
      per client       client's name   ──►  Statement
      per server       Statements prepared there, least recently used first, and whose unnamed one

Two clients that prepare the same text share one Statement, whatever they call it, and a server
prepares it once. The books are kept as messages are *sent*, before their answers come; what an
error undoes is put back by `rewriter`. Nothing here reads or writes a message.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

#: Servers know statement n as PGBOUNCER_n: PgBouncer's name, which people grep for in
#: pg_prepared_statements. The number is never used again.
SERVER_NAME_PREFIX: Final = b"PGBOUNCER_"


@dataclass(slots=True)
class ParseCounters:
    """What is counted of prepared statements; a pool's `Counters` are these and others."""

    client_parse_count: int = 0  # Parse messages from clients, of named statements
    server_parse_count: int = 0  # Parse messages that we sent to servers for them
    bind_count: int = 0


class Statement:
    """One text with its parameter types, as long as some client or server has it."""

    __slots__ = ("client_count", "hits", "key", "misses", "name", "server_count")

    def __init__(self, key: bytes, name: bytes) -> None:
        """Note the body of the Parse behind its name, and the name for servers."""
        #: Query text, zero byte, parameter types: what a Parse says behind the statement's name.
        #: Empty for a stray, which is on one server only to be closed there: nobody shares it.
        self.key = key
        #: What servers know it by; renewed when a migration has made its plans stale.
        self.name = name
        #: Names of clients that mean it, and servers that have it.
        self.client_count = 0
        self.server_count = 0
        #: How often a server had it when it was needed, and how often it had to be prepared there.
        self.hits = 0
        self.misses = 0

    @property
    def text(self) -> str:
        """The query."""
        return self.key.split(b"\0", 1)[0].decode("utf-8", "replace")

    @property
    def type_oids(self) -> list[int]:
        """The parameter types that the client declared; 0 where it left one open."""
        types = self.key[self.key.index(b"\0") + 3 :]
        return [int.from_bytes(types[pos : pos + 4], "big") for pos in range(0, len(types), 4)]


class StatementRegistry:
    """All statements that some client or server has. Owned by the registry of pools."""

    def __init__(self) -> None:
        """Know none."""
        self._by_key: dict[bytes, Statement] = {}
        self._last_number = 0

    def __len__(self) -> int:
        """Return how many statements there are."""
        return len(self._by_key)

    def statements(self) -> list[Statement]:
        """Return all of them, oldest first."""
        return list(self._by_key.values())

    def find(self, key: bytes) -> Statement | None:
        """Return the statement with that text and those types, if there is one."""
        return self._by_key.get(key)

    def find_or_make(self, key: bytes) -> Statement:
        """Return the statement with that text and those types."""
        statement = self._by_key.get(key)
        if statement is None:
            statement = self._by_key[key] = Statement(key, self._next_name())
        return statement

    def renew(self, statement: Statement) -> None:
        """Give a statement a new name for servers: what they have under the old one is stale."""
        statement.name = self._next_name()

    def drop_unused(self, statement: Statement) -> None:
        """Forget a statement that no client and no server has any more."""
        is_unused = not statement.client_count and not statement.server_count
        if is_unused and self._by_key.get(statement.key) is statement:
            del self._by_key[statement.key]

    def keep(self, statement: Statement) -> None:
        """Reverse `drop_unused`: somebody has the statement after all."""
        if statement.key:
            self._by_key.setdefault(statement.key, statement)

    def _next_name(self) -> bytes:
        self._last_number += 1
        return SERVER_NAME_PREFIX + str(self._last_number).encode()


@dataclass(slots=True)
class UnnamedChange:
    """A Parse of the unnamed statement, or its end, that segments in flight have brought about."""

    #: The body of the Parse; None: there is no unnamed statement any more.
    value: bytes | None
    #: It never happened: the server discarded the message.
    is_void: bool = False


class ClientStatements:
    """What one client has prepared."""

    __slots__ = ("_registry", "_sure_unnamed", "changes", "names", "size", "unnamed")

    def __init__(self, registry: StatementRegistry) -> None:
        """Start with nothing prepared."""
        self._registry = registry
        self.names: dict[bytes, Statement] = {}
        #: Bytes of names and texts in `names`, for the bound on one client.
        self.size = 0
        #: Body of the client's last unnamed Parse, behind the empty name; None: it has none.
        self.unnamed: bytes | None = None
        #: Changes of `unnamed` that may turn out not to have happened, and what it was before.
        self.changes: list[UnnamedChange] = []
        self._sure_unnamed: bytes | None = None

    def change_unnamed(self, value: bytes | None) -> UnnamedChange:
        """Change the unnamed statement, as long as nothing goes wrong."""
        if not self.changes:
            self._sure_unnamed = self.unnamed
        change = UnnamedChange(value)
        self.changes.append(change)
        self.unnamed = value
        return change

    def drop_unnamed(self) -> None:
        """Note that there is no unnamed statement any more, whatever becomes of what was sent.

        A Query outside of a segment is never discarded, so what was before it no longer matters.
        """
        self.changes.clear()
        self.unnamed = self._sure_unnamed = None

    def fail_unnamed(self) -> None:
        """Note that a Parse with nothing in flight before it has failed; later changes stay."""
        self._sure_unnamed = None
        self.settle_unnamed()

    def settle_unnamed(self) -> None:
        """See what the unnamed statement is after some change has turned out otherwise."""
        happened = (change.value for change in reversed(self.changes) if not change.is_void)
        self.unnamed = next(happened, self._sure_unnamed)

    def add(self, name: bytes, statement: Statement) -> None:
        """Note that the client means `statement` by `name`."""
        self.names[name] = statement
        self._registry.keep(statement)
        self.size += len(name) + len(statement.key)
        statement.client_count += 1

    def remove(self, name: bytes) -> Statement | None:
        """Note that the client means nothing by `name` any more; return what it meant."""
        statement = self.names.pop(name, None)
        if statement is not None:
            self.size -= len(name) + len(statement.key)
            statement.client_count -= 1
            self._registry.drop_unused(statement)
        return statement

    def remove_if(self, name: bytes, statement: Statement) -> None:
        """Remove a name that still means `statement`."""
        if self.names.get(name) is statement:
            self.remove(name)

    def clear(self, kept: Collection[bytes | Statement] = ()) -> None:
        """Forget all names but `kept`: DEALLOCATE ALL, DISCARD ALL, or the client has left."""
        for name in [name for name in self.names if name not in kept]:
            self.remove(name)


class ServerStatements:
    """What one server has prepared for us."""

    __slots__ = ("_registry", "held", "ready_count", "unnamed")

    def __init__(self, registry: StatementRegistry) -> None:
        """Start with a server that has prepared nothing."""
        self._registry = registry
        #: Under which name the server has each statement; least recently used first.
        self.held: OrderedDict[Statement, bytes] = OrderedDict()
        #: Whose unnamed statement it has: the very object in that client's book. None: nobody's
        #: that we know of, which does not mean that it has none.
        self.unnamed: bytes | None = None
        #: How often it has said ReadyForQuery to clients.
        self.ready_count = 0

    def has(self, statement: Statement) -> bool:
        """Say whether the server has a statement under its present name; then it was just used."""
        if self.held.get(statement) is not statement.name:
            return False
        self.held.move_to_end(statement)
        return True

    def add(self, statement: Statement) -> None:
        """Note that the server is being told to prepare a statement."""
        if statement not in self.held:
            statement.server_count += 1
        self.held[statement] = statement.name
        self.held.move_to_end(statement)

    def remove(self, statement: Statement) -> bytes | None:
        """Note that the server has it no more; return the name it had."""
        name = self.held.pop(statement, None)
        if name is not None:
            statement.server_count -= 1
            self._registry.drop_unused(statement)
        return name

    def put_back(self, statement: Statement, name: bytes) -> None:
        """Reverse a `remove` that the server never heard of."""
        if statement not in self.held:
            statement.server_count += 1
            self._registry.keep(statement)
            self.held[statement] = name
            self.held.move_to_end(statement, last=False)

    def forget_unnamed(self) -> None:
        """Note that the server's unnamed statement is not known to be anybody's."""
        self.unnamed = None

    def oldest(self) -> Statement:
        """Return the statement that was not used for longest."""
        return next(iter(self.held))

    def clear(self, kept: Collection[bytes | Statement] = ()) -> None:
        """Forget all but `kept`: DEALLOCATE ALL, DISCARD ALL, or the server is closed."""
        for statement in [statement for statement in self.held if statement not in kept]:
            self.remove(statement)
