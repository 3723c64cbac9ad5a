"""How does DEALLOCATE in SQL find a statement that was prepared through the protocol?

Only with sql_prepared_statements = track; without it nothing here runs. PDO, DBD::Pg and ruby-pg
prepare through the protocol and free by `DEALLOCATE name`, but servers know a statement by another
name and keep it for other clients. So a statement of the client's name is made for the DEALLOCATE
to find. It has no text, and nobody else can have meant it, for whatever the server has of that name
is closed before:

      from the client    Query DEALLOCATE a                   Execute of a portal of DEALLOCATE a
      to the server      Parse, Bind                          [Close a] [Parse a] Execute
                         [Close a] [Parse a] Execute
                         Close, Sync

What stands in brackets is ours, and so is all but Execute and Sync in place of a Query. PostgreSQL
itself says CommandComplete, and in a failed transaction 25P02; of a name that the client has not
prepared there is no Parse, so that it says 26000. PREPARE and EXECUTE in SQL are refused.

A Query in an open segment, and several statements in one text, pass as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Final

from pgpool_lite.session import refusals, sql_heads
from pgpool_lite.session.client import REWRITE, ClientSession
from pgpool_lite.session.entries import DEALLOCATING, OWN_BIND, OWN_CLOSE, OWN_PARSE
from pgpool_lite.session.renaming import CHANGED, KEEP, MAX_NAMES, MAX_PARSE, WAIT, Renaming
from pgpool_lite.session.rewriter import Rewriter, tell_nobody
from pgpool_lite.session.statements import SERVER_NAME_PREFIX, Statement
from pgpool_lite.wire import codes
from pgpool_lite.wire.framing import message_end
from pgpool_lite.wire.frontend import encode

if TYPE_CHECKING:
    from pgpool_lite.session.outstanding import Outstanding
    from pgpool_lite.session.refusals import StatementRules
    from pgpool_lite.session.server import ServerSession
    from pgpool_lite.session.statements import ParseCounters, StatementRegistry

#: Portals of DEALLOCATE that one client may have open; of more, PostgreSQL says 26000.
MAX_PORTALS: Final = 1000

_BIND_UNNAMED: Final = encode(codes.BIND, bytes(8))
_EXECUTE_UNNAMED: Final = encode(codes.EXECUTE, bytes(5))
_CLOSE_PORTAL: Final = encode(codes.CLOSE, b"P\0")
_SYNC: Final = encode(codes.SYNC)
_LENGTH: Final = Struct("!i")
_UNNAMED_TEXT: Final = codes.HEADER_SIZE + 1  # where the text of an unnamed Parse begins


def session_class(rules: StatementRules | None) -> type[ClientSession]:
    """Return what a client of a pool with these rules is: resolved once, at its login."""
    return TrackingSession if rules is not None and rules.tracks_sql else ClientSession


class TrackingSession(ClientSession):
    """A client whose simple queries may name prepared statements."""

    __slots__ = ()

    def receive(self, data: bytes) -> int:
        """Take one read as `ClientSession` does, but for a Query that the rewriter must see."""
        if data[0] == codes.QUERY and self.rewrites and sql_heads.word(data, codes.HEADER_SIZE):
            self.list_single()
            return REWRITE
        return super().receive(data)


def make_rewriter(
    session: ClientSession,
    registry: StatementRegistry,
    rules: StatementRules,
    counters: ParseCounters,
    on_deallocate: Callable[[], None],
    on_retry: Callable[[], None],
) -> Rewriter:
    """Give a client that names its first statement a rewriter, and return that.

    `on_deallocate` is told of each DEALLOCATE in SQL that is made to find its statement, `on_retry`
    of each segment that is asked again since a migration has changed what it returns.
    """
    if isinstance(session, TrackingSession):
        tracking = TrackingRewriter(session, registry, rules, counters)
        tracking.on_deallocate(on_deallocate)
        rewriter: Rewriter = tracking
    else:
        rewriter = Rewriter(session, registry, rules, counters)
    rewriter.on_retry = on_retry
    session.rewriter = rewriter
    return rewriter


class TrackingRewriter(Rewriter):
    """A client's stream, as long as it may name prepared statements in SQL too."""

    __slots__ = ("_tracking",)

    def __init__(
        self,
        session: ClientSession,
        registry: StatementRegistry,
        rules: StatementRules,
        counters: ParseCounters,
    ) -> None:
        """Begin with a client that has prepared nothing yet."""
        super().__init__(session, registry, rules, counters)
        self._renaming = self._tracking = TrackingRenaming(
            session, self._outstanding, registry, rules, counters
        )
        self.book = self._tracking.book

    def on_deallocate(self, told: Callable[[], None]) -> None:
        """Have `told` called at each DEALLOCATE of a statement that the client has prepared."""
        self._tracking.on_deallocate = told

    def rewrite(self, data: bytes, server: ServerSession) -> bytes:
        """Return what goes to `server` in place of a read, as `Rewriter` does."""
        tracking = self._tracking
        if not (tracking.has_deallocated or sql_heads.word(data, _UNNAMED_TEXT)):
            return super().rewrite(data, server)
        tracking.server_book = server.statements
        tracking.server_has_failed = server.status == codes.STATUS_FAILED
        return self._rewrite(data)

    def _walk(self, data: bytes, pos: int) -> bytes:
        """Look at the messages from `pos` on; put others in place of some Queries."""
        session, tracking = self._session, self._tracking
        pieces: list[bytes] = []
        start = 0  # first byte that is not in `pieces`
        while (query := _find_query(data, pos)) >= 0:
            pieces.append(super()._walk(data[start:query], pos - start))
            if self.left or session.is_leaving:
                self.left += data[query:] if self.left else b""
                return b"".join(pieces)
            end = message_end(data, query)
            outcome = KEEP if session.unsynced else tracking.take_query(data, query, end)
            if outcome == KEEP:
                pieces.append(super()._walk(data[query:end], 0))
            elif outcome == CHANGED:
                pieces.append(tracking.changed)
                self._end_segment(codes.SYNC, is_whole=True)
            else:
                self._stop(outcome, data, query)
                return b"".join(pieces)
            start = pos = end
        if start < len(data):
            pieces.append(super()._walk(data[start:], pos - start))
        return b"".join(pieces)


class TrackingRenaming(Renaming):
    """The messages of one client that name prepared statements, in SQL too."""

    __slots__ = ("_portals", "has_deallocated", "on_deallocate")

    def __init__(
        self,
        session: ClientSession,
        outstanding: Outstanding,
        registry: StatementRegistry,
        rules: StatementRules,
        counters: ParseCounters,
    ) -> None:
        """Keep the book of a client that has prepared nothing yet."""
        super().__init__(session, outstanding, registry, rules, counters)
        #: The client has parsed a DEALLOCATE: from now on portals are looked at.
        self.has_deallocated = False
        # Which statement each portal of a DEALLOCATE means.
        self._portals: dict[bytes, bytes] = {}
        #: Called when a DEALLOCATE is sent that finds what the protocol has prepared.
        self.on_deallocate: Callable[[], None] = tell_nobody

    # --- simple queries ---

    def take_query(self, data: bytes, pos: int, end: int) -> int:
        """Say what is to be done with the Query at `pos`, outside of a segment.

        `end` is where it ends, maybe beyond `data`.
        """
        start = pos + codes.HEADER_SIZE
        if end > len(data) < start + sql_heads.HEAD_LIMIT:
            return self._need_more("Query", data, end, len(data) - pos, MAX_NAMES)
        word = sql_heads.word(data, start)
        name = sql_heads.deallocated(data, start) if data.find(0, start) == end - 1 else None
        if word and word != sql_heads.DEALLOCATE:
            if end > len(data):
                return self._need_more("Query", data, end, end - pos, MAX_PARSE)
            self.drop_unnamed()
            self._refuse(refusals.of_sql(word))
            self.changed += _SYNC
            return CHANGED
        if name is None or (self.server_has_failed and self._outstanding.is_sure()):
            return KEEP  # PostgreSQL will say that the transaction has failed
        if self._outstanding.is_unsure(name):
            return WAIT
        self.drop_unnamed()
        if name.startswith(SERVER_NAME_PREFIX):
            self._refuse(refusals.of_reserved_name(name))
            self.changed += _SYNC
            return CHANGED
        return self._replace_query(data[start:end], name)

    def _replace_query(self, text: bytes, name: bytes) -> int:
        """Have the server run a DEALLOCATE as a segment, in which it can be undone."""
        outstanding, server_book = self._outstanding, self.server_book
        outstanding.note(OWN_PARSE, lambda _: server_book.forget_unnamed())
        outstanding.entries.append(OWN_BIND)
        start = encode(codes.PARSE, b"\0" + text + bytes(2)) + _BIND_UNNAMED
        self._deallocate(name)
        outstanding.note(OWN_CLOSE, _nothing)
        self.changed = b"".join((start, self.changed, _EXECUTE_UNNAMED, _CLOSE_PORTAL, _SYNC))
        return CHANGED

    # --- segments ---

    def take(self, message_type: int, data: bytes, pos: int, after: int, is_whole: bool) -> int:
        """Say what is to be done with the message of a segment at `pos`."""
        if message_type == codes.EXECUTE and self._portals:
            return self._execute(data, pos, after)
        outcome = super().take(message_type, data, pos, after, is_whole)
        if message_type == codes.BIND and self.has_deallocated and outcome in (KEEP, CHANGED):
            self._note_portal(data, pos)
        return outcome

    def _parse(self, data: bytes, pos: int, after: int, is_whole: bool) -> int:
        limit = min(after, len(data))
        name_end = data.find(0, pos + codes.HEADER_SIZE, limit)
        if name_end >= 0 and after > limit < name_end + 1 + sql_heads.HEAD_LIMIT:
            return self._need_more("Parse", data, after, limit - pos, MAX_PARSE)
        word = sql_heads.word(data, name_end + 1) if name_end >= 0 else ""
        if word and word != sql_heads.DEALLOCATE:
            if after > limit:
                return self._need_more("Parse", data, after, after - pos, MAX_PARSE)
            self.resume = after
            return self._refuse(refusals.of_sql(word))
        self.has_deallocated = self.has_deallocated or bool(word)
        return super()._parse(data, pos, after, is_whole)

    def _note_portal(self, data: bytes, pos: int) -> None:
        """Remember which statement a portal deallocates, if it does."""
        portal_end = data.index(0, pos + codes.HEADER_SIZE)
        portal = data[pos + codes.HEADER_SIZE : portal_end]
        name = data[portal_end + 1 : data.index(0, portal_end + 1)]
        statement = self.book.names.get(name)
        key = self.book.unnamed if not name else statement.key if statement is not None else None
        target = sql_heads.deallocated(key) if key is not None else None
        self._portals.pop(portal, None)
        if target is not None and len(self._portals) < MAX_PORTALS:
            self._portals[portal] = target

    def _execute(self, data: bytes, pos: int, after: int) -> int:
        portal_end = data.find(0, pos + codes.HEADER_SIZE, after)
        name = self._portals.get(data[pos + codes.HEADER_SIZE : portal_end])
        if name is None:
            self._outstanding.entries.append(codes.EXECUTE)
            return KEEP
        if self._outstanding.is_unsure(name):
            return WAIT
        self.resume = after
        if name.startswith(SERVER_NAME_PREFIX):
            return self._refuse(refusals.of_reserved_name(name))
        self._deallocate(name)
        self.changed += data[pos:after]
        return CHANGED

    # --- both ---

    def _deallocate(self, name: bytes) -> None:
        """Have an Execute find the statement that it deallocates, or none; list it."""
        book, server_book = self.book, self.server_book
        statement, stray = book.remove(name), Statement(b"", name)
        self._outstanding.note(OWN_CLOSE, _nothing)
        self.changed = encode(codes.CLOSE, b"S" + name + b"\0")

        def unmade(is_failing: bool) -> None:
            server_book.remove(stray)

        if statement is not None:
            self._outstanding.note(OWN_PARSE, unmade)
            self.changed += encode(codes.PARSE, name + bytes(4))
            self.on_deallocate()

        def undo(is_failing: bool) -> None:
            if statement is not None:
                server_book.add(stray)  # what was made for it, unless `unmade` comes next
                if name not in book.names:
                    book.add(name, statement)

        self._outstanding.note(DEALLOCATING, undo, name)


def _nothing(is_failing: bool) -> None:
    """Undo nothing."""


def _find_query(data: bytes, pos: int) -> int:
    """Return where the first Query begins that may name a statement, -1 if there is none."""
    while len(data) - pos >= codes.HEADER_SIZE:
        (length,) = _LENGTH.unpack_from(data, pos + 1)
        if length < 4:
            break
        if data[pos] == codes.QUERY:
            is_cut = pos + 1 + length > len(data) < pos + sql_heads.HEAD_LIMIT
            if is_cut or sql_heads.word(data, pos + codes.HEADER_SIZE):
                return pos
        pos += 1 + length
    return -1
