"""What becomes of one message that names a prepared statement? HOT for extended queries.

HOT rule: only the names are looked at; what stands behind them passes as it came.

`Renaming.take` looks at one message of a segment and says what to do with it: keep it, put
something in its place, or stop here. The books change as it goes, and how to change them back is
noted in `Outstanding`.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from pgpool_lite.errors import ClientError, ClientProtocolError
from pgpool_lite.session import refusals
from pgpool_lite.session.entries import (
    EXPLAINED,
    FAKE_CLOSE,
    FAKE_PARSE,
    MARK,
    NAMED_PARSE,
    OWN_CLOSE,
    OWN_PARSE,
    REFUSED,
)
from pgpool_lite.session.meaning import HOLD_LIMIT
from pgpool_lite.session.outstanding import Outstanding, Undo
from pgpool_lite.session.refusals import StatementRules
from pgpool_lite.session.statements import (
    SERVER_NAME_PREFIX,
    ClientStatements,
    ParseCounters,
    ServerStatements,
    Statement,
    StatementRegistry,
)
from pgpool_lite.wire import codes
from pgpool_lite.wire.frontend import encode, text_and_types

if TYPE_CHECKING:
    from pgpool_lite.session.client import ClientSession

# What is to be done with a message.
KEEP: Final = 0
CHANGED: Final = 1  # `changed` goes in place of its bytes up to `resume`
MORE: Final = 2  # its names have not arrived yet
WAIT: Final = 3  # what it names hangs on answers that are still out

MAX_PARSE: Final = 4 * 1_048_576  # a named Parse is held whole; longer ones are refused
MAX_NAMES: Final = 140_000  # a header and the two names of a Bind

#: A Bind that fails on every server (26000), sent in place of what we refuse: so PostgreSQL itself
#: skips to the Sync and fails the transaction, as it would have; only the words become ours.
_NOWHERE: Final = encode(codes.BIND, b"\0pgpool_lite refuses this\0" + bytes(6))
_CLOSE_UNNAMED: Final = encode(codes.CLOSE, b"S\0")
_TOO_LARGE: Final = b"\0too large to keep"  # an unnamed text that was streamed

_LENGTH: Final = Struct("!i")
_STATEMENT: Final = ord("S")
_UNNAMED: Final = b""
_MALFORMED: Final = "failed to parse packet"


class Renaming:
    """The messages of one client that name prepared statements. Owned by its rewriter."""

    __slots__ = (
        "_outstanding",
        "_registry",
        "_session",
        "book",
        "changed",
        "counters",
        "parsed_at",
        "resume",
        "rules",
        "server_book",
        "server_has_failed",
        "used",
    )

    def __init__(
        self,
        session: ClientSession,
        outstanding: Outstanding,
        registry: StatementRegistry,
        rules: StatementRules,
        counters: ParseCounters,
    ) -> None:
        """Keep the book of a client that has prepared nothing yet."""
        self._session = session
        self._outstanding = outstanding
        self._registry = registry
        self.rules = rules
        self.counters = counters
        self.book = ClientStatements(registry)
        self.used: list[Statement] = []  # bound since all was answered: one may prove stale
        #: When the plain segment that parsed the unnamed statement last was sent, by the count of
        #: the server's ReadyForQuery; -1: none. Nothing was in flight then.
        self.parsed_at = -1
        self.server_book = ServerStatements(registry)  # of the server that the client has now
        self.server_has_failed = False  # its transaction, by its last word
        #: After CHANGED: what to send, and where in the read to go on.
        self.changed = b""
        self.resume = 0

    def take(self, message_type: int, data: bytes, pos: int, after: int, is_whole: bool) -> int:
        """Say what is to be done with the message of a segment at `pos`.

        `after` is where it ends, maybe beyond `data`; `is_whole`: the segment began in this read.
        Raises ClientError for what ends the client.
        """
        if message_type == codes.BIND:
            return self._bind(data, pos, after)
        if message_type == codes.EXECUTE:
            self._outstanding.entries.append(codes.EXECUTE)
            return KEEP
        if message_type == codes.PARSE:
            return self._parse(data, pos, after, is_whole)
        return self._describe_or_close(message_type, data, pos, after)

    # --- whose names are where ---

    def _bind(self, data: bytes, pos: int, after: int) -> int:
        limit = min(after, len(data))
        portal_end = data.find(0, pos + codes.HEADER_SIZE, limit)
        name_end = data.find(0, portal_end + 1, limit) if portal_end >= 0 else -1
        if name_end < 0:
            return self._need_more("Bind", data, after, len(data) - pos, MAX_NAMES)
        if name_end == portal_end + 1:
            outcome = self._use_unnamed(codes.BIND, pos)
        else:
            outcome = self._use_named(codes.BIND, data, pos, portal_end + 1, name_end)
        self.counters.bind_count += outcome != WAIT
        return outcome

    def _describe_or_close(self, message_type: int, data: bytes, pos: int, after: int) -> int:
        if after > len(data):
            return self._need_more("Describe or Close", data, after, after - pos, MAX_NAMES)
        name_start = pos + codes.HEADER_SIZE + 1
        name_end = data.find(0, name_start, after)
        if after < name_start or (data[name_start - 1] == _STATEMENT and name_end < 0):
            raise ClientProtocolError(_MALFORMED)
        if data[name_start - 1] != _STATEMENT:
            self._outstanding.entries.append(message_type)
            return KEEP
        if message_type == codes.CLOSE:
            return self._close(data[name_start:name_end], pos, after)
        if name_start == name_end:
            return self._use_unnamed(codes.DESCRIBE, pos)
        return self._use_named(codes.DESCRIBE, data, pos, name_start, name_end)

    def _need_more(self, name: str, data: bytes, after: int, size: int, limit: int) -> int:
        """Wait for more of a message, unless `size`, what it takes or has brought, is too much."""
        if after <= len(data):
            raise ClientProtocolError(_MALFORMED)
        if size > limit:
            raise ClientProtocolError(f"{name} packet too large to be looked at", sqlstate="54000")
        return MORE

    # --- using a statement ---

    def _use_named(
        self, message_type: int, data: bytes, pos: int, name_start: int, name_end: int
    ) -> int:
        """Replace the name in a Bind or Describe, and see that the server has the statement."""
        name = data[name_start:name_end]
        statement = self.book.names.get(name)
        if self._outstanding.is_unsure(name, statement):
            return WAIT
        if statement is None:
            return self._unknown(message_type, name, pos)
        own_parse = b""
        if self.server_book.has(statement):
            statement.hits += 1
        else:
            own_parse = self._prepare(statement, OWN_PARSE)
        self._outstanding.entries.append(message_type)
        if message_type == codes.BIND:
            self.used.append(statement)
        (length,) = _LENGTH.unpack_from(data, pos + 1)
        new_name = statement.name
        self.changed = b"".join(
            (
                own_parse,
                data[pos : pos + 1],
                _LENGTH.pack(length + len(new_name) - len(name)),
                data[pos + codes.HEADER_SIZE : name_start],
                new_name,
            )
        )
        self.resume = name_end
        return CHANGED

    def _use_unnamed(self, message_type: int, pos: int) -> int:
        """See that the server's unnamed statement is this client's before it is named."""
        if self._outstanding.is_unsure(_UNNAMED):
            return WAIT
        server_book = self.server_book
        mine = self.book.unnamed
        if mine is not None and mine is server_book.unnamed:
            self._outstanding.entries.append(message_type)
            return KEEP
        if mine is not None and mine.startswith(_TOO_LARGE):
            raise refusals.of_unnamed_too_large()
        server_book.unnamed = mine
        self._outstanding.touch(_UNNAMED)
        if mine is None:  # the server must say that there is none, not run somebody else's
            self._outstanding.note(OWN_CLOSE, lambda _: server_book.forget_unnamed())
            self.changed = _CLOSE_UNNAMED
        else:
            self._outstanding.note(OWN_PARSE, lambda _: server_book.forget_unnamed())
            self.changed = encode(codes.PARSE, b"\0" + mine)
            self.counters.server_parse_count += 1
        self._outstanding.entries.append(message_type)
        self.resume = pos
        return CHANGED

    # --- preparing ---

    def _parse(self, data: bytes, pos: int, after: int, is_whole: bool) -> int:
        limit = min(after, len(data))
        name_start = pos + codes.HEADER_SIZE
        name_end = data.find(0, name_start, limit)
        if name_end < 0:
            return self._need_more("Parse", data, after, len(data) - pos, MAX_NAMES)
        if name_end == name_start:
            return self._parse_unnamed(data, pos, after, is_whole)
        if after > limit:
            return self._need_more("Parse", data, after, after - pos, MAX_PARSE)
        name, key = data[name_start:name_end], text_and_types(data, name_end + 1, after)
        taken = self.book.names.get(name)
        if taken is not None and not self._outstanding.is_sure():
            return WAIT  # DEALLOCATE ALL may be in flight
        if self._outstanding.is_unsure(name, self._registry.find(key)):
            return WAIT
        self.counters.client_parse_count += 1
        refusal = refusals.of_parse(
            self.rules, self.book, self._session, name, len(name) + len(key)
        )
        self.resume = after
        if refusal is not None and name in self.book.names and not self.rules.rejects:
            return self._parse_again(name, key, refusal)
        if refusal is not None:
            return self._refuse(refusal)
        return self._parse_named(name, self._registry.find_or_make(key))

    def _parse_named(self, name: bytes, statement: Statement) -> int:
        book = self.book
        book.add(name, statement)
        if self._may_make_up() and self.server_book.has(statement):
            statement.hits += 1
            self._outstanding.note(FAKE_PARSE, lambda _: book.remove_if(name, statement), name)
            self.changed = b""
        else:
            self.changed = self._prepare(
                statement, NAMED_PARSE, name, lambda _: book.remove_if(name, statement)
            )
        return CHANGED

    def _may_make_up(self) -> bool:
        """Say whether ParseComplete can be told from here: a failed transaction would refuse it."""
        return self._outstanding.is_sure() and not self.server_has_failed

    def _parse_again(self, name: bytes, key: bytes, refusal: ClientError) -> int:
        """Have the server refuse a Parse whose name is taken; it may find another error first."""
        statement = self.book.names[name]
        first = b""
        if not self.server_book.has(statement):
            first = self._prepare(statement, OWN_PARSE)
        self._outstanding.note_error(EXPLAINED, refusal)
        self.changed = first + encode(codes.PARSE, statement.name + b"\0" + key)
        return CHANGED

    def _parse_unnamed(self, data: bytes, pos: int, after: int, is_whole: bool) -> int:
        """Remember the unnamed statement, so that it can follow; it is sent as it came."""
        if after <= len(data):
            key = data[pos + codes.HEADER_SIZE + 1 : after]
        elif after - pos <= HOLD_LIMIT:
            return MORE
        else:
            key = _TOO_LARGE + bytes(1)  # an object of its own
        server_book = self.server_book
        change = self.book.change_unnamed(key)
        server_book.unnamed = key

        def undo(is_failing: bool) -> None:
            server_book.forget_unnamed()
            if is_failing:
                change.value = None  # PostgreSQL drops the old one before it looks at the text
            else:
                change.is_void = True
            self.book.settle_unnamed()

        # At the head of a whole segment with nothing in flight, its failure shows by itself: the
        # error is the first answer (`failed_plain`). Elsewhere it must be listed.
        if self._outstanding.entries or self._session.owed or not is_whole:
            self._outstanding.is_plain = False
        self._outstanding.touch(_UNNAMED)
        self._outstanding.entries.append(codes.PARSE)
        self._outstanding.new_undo.append((undo, ()))
        return KEEP

    def _prepare(
        self, statement: Statement, entry: int, name: bytes = b"", also_undo: Undo | None = None
    ) -> bytes:
        """Return the Parse that gives the server a statement, behind a Close that makes room."""
        server_book = self.server_book
        statement.misses += 1
        self.counters.server_parse_count += 1
        message = b""
        if statement in server_book.held:
            message += self._close_on_server(statement)  # under a name of before a migration
        while len(server_book.held) >= max(self.rules.limit, 1):
            message += self._close_on_server(server_book.oldest())
        server_book.add(statement)

        def undo(is_failing: bool) -> None:
            server_book.remove(statement)
            if also_undo is not None:
                also_undo(is_failing)

        self._outstanding.note(entry, undo, statement, *([name] if name else []))
        return message + encode(codes.PARSE, statement.name + b"\0" + statement.key)

    def _close_on_server(self, statement: Statement) -> bytes:
        server_book = self.server_book
        name = server_book.remove(statement)
        assert name is not None
        self._outstanding.note(
            OWN_CLOSE, lambda _: server_book.put_back(statement, name), statement
        )
        return encode(codes.CLOSE, b"S" + name + b"\0")

    def _close(self, name: bytes, pos: int, after: int) -> int:
        """Close the client's statement; the server keeps a named one, for others."""
        if not name:
            self.drop_unnamed()
            self._outstanding.entries.append(codes.CLOSE)
            return KEEP
        if self._outstanding.is_unsure(name):
            return WAIT
        book = self.book
        statement = book.remove(name)

        def undo(is_failing: bool) -> None:
            if statement is not None and name not in book.names:
                book.add(name, statement)

        self._outstanding.note(FAKE_CLOSE, undo, name)
        self.changed = b""
        self.resume = after
        return CHANGED

    # --- saying no ---

    def _unknown(self, message_type: int, name: bytes, pos: int) -> int:
        """Let the server say that there is no such statement, or close the client for it."""
        error = refusals.of_unknown(self.rules, self._session, name)
        if not name.startswith(SERVER_NAME_PREFIX):
            self._outstanding.note_error(EXPLAINED, error)
            return KEEP
        # A server might have it, for somebody else.
        refusal = refusals.of_unknown_to_servers(name, error)
        self._outstanding.note_error(REFUSED, refusal)
        self._outstanding.entries.append(message_type)
        self.changed = _NOWHERE  # and then the message itself, which the server discards
        self.resume = pos
        return CHANGED

    def _refuse(self, refusal: ClientError) -> int:
        """Send what is sure to fail in place of a message; the answer becomes `refusal`."""
        self._outstanding.note_error(REFUSED, refusal)
        self.changed = _NOWHERE
        return CHANGED

    # --- the unnamed statement, and what a migration made stale ---

    def drop_unnamed(self) -> None:
        """Note that the unnamed statement goes: by a Query, or by Close."""
        self._outstanding.touch(_UNNAMED)
        server_book = self.server_book
        change = self.book.change_unnamed(None)
        server_book.forget_unnamed()
        if not (self._session.unsynced or self._session.owed or self._outstanding.entries):
            return  # nothing in flight could fail and have this discarded

        def undo(is_failing: bool) -> None:
            server_book.forget_unnamed()
            change.is_void = True
            self.book.settle_unnamed()

        self._outstanding.note(MARK, undo)

    def fail_unnamed(self) -> None:
        """Note that the Parse of the unnamed statement with nothing before it has failed."""
        self.book.fail_unnamed()
        self.server_book.unnamed = None
