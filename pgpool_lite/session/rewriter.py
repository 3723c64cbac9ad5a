"""How does a named statement follow its client from server to server? HOT for extended queries.

HOT rule: of Bind, Describe and Close only the names are looked at; bodies pass as they came. All
that one read turns into leaves in one write.

A `Rewriter` belongs to one client session. On the way to the server (`rewrite`):

  Parse     of a statement that the server has: not sent, ParseComplete is made up;
            else sent under the name that servers know it by
  Bind,     of a statement that the server lacks: its Parse goes in front, and its answer is
  Describe  swallowed; the name is replaced
  Close     never sent: the server keeps the statement for others; CloseComplete is made up
  too many  on one server: Close of the one not used for longest, whose answer is swallowed

The unnamed statement follows too. A client may parse it, Sync, and bind it after another Sync; by
then it may have another server, which holds somebody else's unnamed statement.

On the way back answers must appear exactly where PostgreSQL would have put them. The client's
`owed` therefore lists, besides what was sent, what is to be swallowed and what is made up:

      sent to the server      [Parse own]  Bind  Execute  Sync
      owed                     p      1     B     E       S
      from the server          1            2   D.. C     Z
      to the client                   1     2   D.. C     Z

and each answer takes the oldest off (`answered`). A segment that needs none of this, the usual
one, stands in `owed` as its Sync alone and costs nothing on the way back.

The books are kept as messages are sent. If the server then reports an error, it discards the rest
of the segment, so what those messages changed in the books is undone (`failed`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Final, Protocol

from pgpool_lite.errors import ClientError, ClientProtocolError, PgPoolLiteError
from pgpool_lite.session import advice
from pgpool_lite.session.entries import (
    ANSWERED_BY,
    EXPLAINED,
    FAKE_ANSWERS,
    FAKE_CLOSE,
    FAKE_PARSE,
    HAS_ERROR,
    HAS_UNDO,
    IS_SWALLOWED,
    IS_UNSENT,
    MARK,
    NAMED_PARSE,
    OWN_CLOSE,
    OWN_PARSE,
    REFUSED,
)
from pgpool_lite.session.meaning import (
    COPY_END,
    EXTENDED,
    HOLD_LIMIT,
    MEANINGS,
    REQUEST,
    TERMINATE,
    check_known,
)
from pgpool_lite.session.statements import (
    SERVER_NAME_PREFIX,
    ClientStatements,
    ServerStatements,
    Statement,
    StatementRegistry,
)
from pgpool_lite.wire import backend, codes
from pgpool_lite.wire.frontend import encode

if TYPE_CHECKING:
    from pgpool_lite.session.client import ClientSession
    from pgpool_lite.session.server import ServerSession

_LENGTH: Final = Struct("!i")

# What is to be done with a message of a segment.
_KEEP: Final = 0
_CHANGED: Final = 1  # `_changed` goes in place of its bytes up to `_resume`
_MORE: Final = 2  # its names have not arrived yet
_WAIT: Final = 3  # what it names rests on answers that are still out

#: A named Parse is held whole, for its text is looked up. Longer ones are refused.
MAX_PARSE: Final = 4 * 1_048_576
#: A header and the two names of a Bind; PostgreSQL truncates names to 63 bytes.
MAX_NAMES: Final = 140_000
#: What one client may have prepared at a time: names, and bytes of names and texts.
MAX_CLIENT_STATEMENTS: Final = 10_000
MAX_CLIENT_BYTES: Final = 64 * 1_048_576

#: A Bind that fails on every server (26000), sent in place of what we refuse: so PostgreSQL itself
#: skips to the Sync and fails the transaction, as it would have; only the words become ours.
_NOWHERE: Final = encode(codes.BIND, b"\0pgpool_lite refuses this\0" + bytes(6))

Undo = Callable[[], None]


@dataclass(frozen=True, slots=True)
class StatementRules:
    """How prepared statements are treated in one pool."""

    #: Named statements are refused (`prepared_statements = reject`).
    rejects: bool = False
    #: Statements kept on one server; PgBouncer's max_prepared_statements.
    limit: int = 200
    #: Answer 42P05 and 26000 and go on, as PostgreSQL does; PgBouncer closes the client.
    answers_like_postgres: bool = False


class ParseCounters(Protocol):
    """What the rewriter counts; a pool's `Counters` has these among others."""

    client_parse_count: int
    server_parse_count: int
    bind_count: int


class Rewriter:
    """One client's prepared statements, and the messages that name them."""

    __slots__ = (
        "_changed",
        "_counters",
        "_entries",
        "_errors",
        "_is_plain",
        "_new_undo",
        "_registry",
        "_resume",
        "_rules",
        "_server_book",
        "_session",
        "_touched",
        "_undo",
        "_unsure",
        "_used",
        "book",
        "left",
        "reply",
    )

    def __init__(
        self,
        session: ClientSession,
        registry: StatementRegistry,
        rules: StatementRules,
        counters: ParseCounters,
    ) -> None:
        """Keep the books of a client that has prepared nothing yet."""
        self._session = session
        self._registry = registry
        self._rules = rules
        self._counters = counters
        self.book = ClientStatements(registry)
        #: Answers made up while the server owes nothing: for the client, at once.
        self.reply = b""
        # --- what waits for answers, in the order of the session's `owed` ---
        self._undo: deque[Undo] = deque()
        self._errors: deque[PgPoolLiteError] = deque()
        #: Statements bound since the server last owed nothing: one of them may prove stale.
        self._used: list[Statement] = []
        # --- what is not sure ---
        #: Names and statements that segments in flight have changed in the books: should one of
        #: them fail, the books change back. What comes in later segments and names them waits.
        self._unsure: set[bytes | Statement] = set()
        #: The same for the segment at hand, which may rely on it: if it fails, it fails as a whole.
        self._touched: set[bytes | Statement] = set()
        #: The end of a read that waits; the connection keeps it until `may_go_on`.
        self.left = b""
        # --- the read at hand ---
        self._server_book = ServerStatements(registry)
        self._changed = b""
        self._resume = 0
        # --- the segment at hand, as far as this read has it ---
        self._entries = bytearray()
        self._new_undo: list[Undo] = []
        self._is_plain = True

    # --- before a server is there ---

    def first_request(self, data: bytes) -> bytes:
        """Return what of a read is work for a server, b"" while that is nothing.

        Only for a client that has no server and waits for none. Late COPY messages and a Flush of
        nothing are dropped, a small message that is not whole is kept in the session's `tail`.
        """
        session = self._session
        data = session.tail + data
        session.tail = b""
        pos = min(session.body_left, len(data))
        session.body_left -= pos
        while len(data) - pos >= codes.HEADER_SIZE:
            meaning = MEANINGS[data[pos]]
            (length,) = _LENGTH.unpack_from(data, pos + 1)
            check_known(data[pos], length)
            after = pos + 1 + length
            if meaning == TERMINATE:
                session.is_leaving = True
                return b""
            if meaning in (REQUEST, EXTENDED):
                if after > len(data) and length <= HOLD_LIMIT:
                    break
                return data[pos:]
            session.body_left = max(after - len(data), 0)
            pos = min(after, len(data))
        session.tail = data[pos:]
        return b""

    # --- to the server ---

    def rewrite(self, data: bytes, server: ServerSession) -> bytes:
        """Return what goes to `server` in place of a read; keep the books, list what is owed.

        Raises ClientError for what ends the client.
        """
        session = self._session
        self._server_book = server.statements
        if self.may_go_on():
            self._used.clear()
            self._unsure.clear()
        if session.tail:
            data = session.tail + data
            session.tail = b""
        end = len(data)
        pos = session.body_left
        if pos >= end:
            session.body_left = pos - end
            return data
        pieces: list[bytes] = []
        start = 0
        is_whole = not session.unsynced  # the segment at hand begins in this read
        while pos < end:
            if end - pos < codes.HEADER_SIZE:
                end = self._hold(data, pos)
                break
            message_type = data[pos]
            meaning = MEANINGS[message_type]
            (length,) = _LENGTH.unpack_from(data, pos + 1)
            check_known(message_type, length)
            after = pos + 1 + length
            if after > end and length <= HOLD_LIMIT and meaning in (REQUEST, EXTENDED):
                end = self._hold(data, pos)
                break
            if meaning == EXTENDED:
                if not session.is_skipping:
                    session.unsynced = True
                    outcome = self._take(message_type, data, pos, after, is_whole)
                    if outcome == _MORE:
                        end = self._hold(data, pos)
                        break
                    if outcome == _WAIT:
                        self.left = data[pos:]
                        end = pos
                        break
                    if outcome == _CHANGED:
                        pieces += (data[start:pos], self._changed)
                        start = self._resume
            elif meaning == REQUEST:
                self._end_segment(message_type, is_whole)
                is_whole = True
            elif meaning == COPY_END:
                self._entries.append(message_type)
                self._is_plain = False
            elif meaning == TERMINATE:
                session.is_leaving = True
                end = pos
                break
            pos = after
        session.body_left = max(pos - end, 0)
        self._list_entries()
        self._reply_at_once()
        if not pieces:
            return data if end == len(data) else data[:end]
        pieces.append(data[start:end])
        return b"".join(pieces)

    def _hold(self, data: bytes, pos: int) -> int:
        """Keep what stands at `pos` for the next read; return `pos`, the end of this one."""
        self._session.tail = data[pos:]
        return pos

    def _end_segment(self, message_type: int, is_whole: bool) -> None:
        """Note a Sync, Query or FunctionCall: what comes next is a segment of its own."""
        session = self._session
        if message_type != codes.SYNC:
            if session.is_skipping:
                return
            if message_type == codes.QUERY:
                self._drop_unnamed()
            self._list_entries()
        elif is_whole and self._is_plain:
            self._entries.clear()
            self._new_undo.clear()
        else:
            self._list_entries()
        session.owed.append(message_type)
        session.unsynced = session.is_skipping = False
        self._is_plain = True
        if self._touched:
            self._unsure |= self._touched
            self._touched.clear()

    def may_go_on(self) -> bool:
        """Say whether every segment that has ended is answered: then the books are sure."""
        owed = self._session.owed
        return not owed or (owed.find(codes.SYNC) < 0 and owed.find(codes.QUERY) < 0)

    def _is_unsure(self, name: bytes | Statement) -> bool:
        return name in self._unsure and name not in self._touched

    def _list_entries(self) -> None:
        """List the segment at hand message by message: it is not plain, or not over."""
        if self._entries:
            self._session.owed += self._entries
            self._undo += self._new_undo
            self._entries.clear()
            self._new_undo.clear()

    def _reply_at_once(self) -> None:
        """Make up answers to messages in front of which nothing else must be answered."""
        owed = self._session.owed
        if owed and IS_UNSENT[owed[0]]:
            self.reply += self.take_unsent()

    def _drop_unnamed(self) -> None:
        """Note that the unnamed statement goes: by a Query, or by Close."""
        self._touched.add(_UNNAMED)
        book, server_book = self.book, self._server_book
        mine, theirs = book.unnamed, server_book.unnamed
        book.unnamed = server_book.unnamed = None
        if not self._session.unsynced:
            return

        def undo() -> None:
            if book.unnamed is None:
                book.unnamed = mine
            if server_book.unnamed is None:
                server_book.unnamed = theirs

        self._note(MARK, undo)

    def _note(self, entry: int, undo: Undo) -> None:
        """List something that an error would undo."""
        self._entries.append(entry)
        self._new_undo.append(undo)
        self._is_plain = False

    # --- one message ---

    def _take(self, message_type: int, data: bytes, pos: int, after: int, is_whole: bool) -> int:
        """Say what is to be done with a message of a segment."""
        if message_type == codes.BIND:
            return self._bind(data, pos, after)
        if message_type == codes.EXECUTE:
            self._entries.append(codes.EXECUTE)
            return _KEEP
        if message_type == codes.PARSE:
            return self._parse(data, pos, after, is_whole)
        return self._describe_or_close(message_type, data, pos, after)

    def _bind(self, data: bytes, pos: int, after: int) -> int:
        limit = min(after, len(data))
        portal_end = data.find(0, pos + codes.HEADER_SIZE, limit)
        name_end = data.find(0, portal_end + 1, limit) if portal_end >= 0 else -1
        if name_end < 0:
            return self._need_more("Bind", data, pos, after, MAX_NAMES)
        self._counters.bind_count += 1
        if name_end == portal_end + 1:
            return self._use_unnamed(codes.BIND, pos)
        return self._use_named(codes.BIND, data, pos, portal_end + 1, name_end)

    def _describe_or_close(self, message_type: int, data: bytes, pos: int, after: int) -> int:
        if after > len(data):
            return self._need_more("Describe or Close", data, pos, after, MAX_NAMES)
        name_start = pos + codes.HEADER_SIZE + 1
        if after <= name_start or data.find(0, name_start, after) != after - 1:
            name = "Describe" if message_type == codes.DESCRIBE else "Close"
            raise ClientProtocolError(f"broken {name} packet")
        is_unnamed = name_start == after - 1
        if data[name_start - 1] != _STATEMENT:
            self._entries.append(message_type)
            return _KEEP
        if message_type == codes.CLOSE:
            return self._close(data[name_start : after - 1], pos, after)
        if is_unnamed:
            return self._use_unnamed(codes.DESCRIBE, pos)
        return self._use_named(codes.DESCRIBE, data, pos, name_start, after - 1)

    def _need_more(self, name: str, data: bytes, pos: int, after: int, limit: int) -> int:
        """Wait for more of a message, if that may help."""
        if after <= len(data):
            raise ClientProtocolError(f"broken {name} packet")
        if len(data) - pos > limit:
            raise ClientProtocolError(f"{name} packet too large to be looked at", sqlstate="54000")
        return _MORE

    def _use_named(
        self, message_type: int, data: bytes, pos: int, name_start: int, name_end: int
    ) -> int:
        """Replace the name in a Bind or Describe, and see that the server has the statement."""
        name = data[name_start:name_end]
        statement = self.book.names.get(name)
        if self._unsure and (
            self._is_unsure(name) or (statement is not None and self._is_unsure(statement))
        ):
            return _WAIT
        if statement is None:
            return self._unknown(message_type, name, pos)
        own_parse = b""
        if self._server_book.has(statement):
            statement.hits += 1
        else:
            own_parse = self._prepare(statement, OWN_PARSE)
        self._entries.append(message_type)
        if message_type == codes.BIND:
            self._used.append(statement)
        (length,) = _LENGTH.unpack_from(data, pos + 1)
        new_name = statement.name
        self._changed = b"".join(
            (
                own_parse,
                data[pos : pos + 1],
                _LENGTH.pack(length + len(new_name) - len(name)),
                data[pos + codes.HEADER_SIZE : name_start],
                new_name,
            )
        )
        self._resume = name_end
        return _CHANGED

    def _use_unnamed(self, message_type: int, pos: int) -> int:
        """See that the server's unnamed statement is this client's before it is named."""
        if self._is_unsure(_UNNAMED):
            return _WAIT
        server_book = self._server_book
        mine = self.book.unnamed
        if mine is server_book.unnamed:
            self._entries.append(message_type)
            return _KEEP
        if mine is not None and mine.startswith(_TOO_LARGE):
            raise ClientError(
                "unnamed prepared statement too large to follow its client",
                sqlstate="54000",
                hint="Send Parse and Bind in one batch, or keep them in one transaction.",
            )
        theirs = server_book.unnamed
        server_book.unnamed = mine
        self._touched.add(_UNNAMED)
        if mine is None:  # the server must say that there is none, not run somebody else's

            def put_back() -> None:
                server_book.unnamed = theirs

            self._note(OWN_CLOSE, put_back)
            self._changed = _CLOSE_UNNAMED
        else:
            self._note(OWN_PARSE, server_book.forget_unnamed)
            self._changed = encode(codes.PARSE, b"\0" + mine)
            self._counters.server_parse_count += 1
        self._entries.append(message_type)
        self._resume = pos
        return _CHANGED

    def _parse(self, data: bytes, pos: int, after: int, is_whole: bool) -> int:
        limit = min(after, len(data))
        name_start = pos + codes.HEADER_SIZE
        name_end = data.find(0, name_start, limit)
        if name_end < 0:
            return self._need_more("Parse", data, pos, after, MAX_NAMES)
        if name_end == name_start:
            return self._parse_unnamed(data, pos, after, is_whole)
        if after > limit:
            return self._need_more("Parse", data, pos, after, MAX_PARSE)
        name, key = data[name_start:name_end], data[name_end + 1 : after]
        if data.find(0, name_end + 1, after) < 0:
            raise ClientProtocolError("broken Parse packet")
        if self._is_unsure(name):
            return _WAIT
        self._counters.client_parse_count += 1
        self._resume = after
        refusal = self._refusal(name, key)
        if refusal is not None:
            return self._refuse(refusal)
        statement = self._registry.find_or_make(key)
        if self._is_unsure(statement):
            return _WAIT
        return self._parse_named(name, statement)

    def _parse_named(self, name: bytes, statement: Statement) -> int:
        book = self.book
        book.add(name, statement)
        self._touched.add(name)
        if self._server_book.has(statement):
            statement.hits += 1
            self._note(FAKE_PARSE, lambda: book.remove_if(name, statement))
            self._changed = b""
        else:
            self._changed = self._prepare(
                statement, NAMED_PARSE, lambda: book.remove_if(name, statement)
            )
        return _CHANGED

    def _parse_unnamed(self, data: bytes, pos: int, after: int, is_whole: bool) -> int:
        """Remember the unnamed statement, so that it can follow; it is sent as it came."""
        if after <= len(data):
            key = data[pos + codes.HEADER_SIZE + 1 : after]
        elif after - pos <= HOLD_LIMIT:
            return _MORE
        else:
            key = _TOO_LARGE + bytes(1)  # an object of its own; see _use_unnamed
        book, server_book = self.book, self._server_book
        mine, theirs = book.unnamed, server_book.unnamed
        book.unnamed = server_book.unnamed = key

        def undo() -> None:
            if book.unnamed is key:
                book.unnamed = mine
            if server_book.unnamed is key:
                server_book.unnamed = theirs

        # At the head of a whole segment with nothing in flight, its failure shows by itself: the
        # error is the first answer (`failed_plain`). Elsewhere it must be listed.
        if self._entries or self._session.owed or not is_whole:
            self._is_plain = False
        self._touched.add(_UNNAMED)
        self._entries.append(codes.PARSE)
        self._new_undo.append(undo)
        return _KEEP

    def _prepare(self, statement: Statement, entry: int, also_undo: Undo | None = None) -> bytes:
        """Return the Parse that gives the server a statement, behind a Close that makes room."""
        server_book = self._server_book
        statement.misses += 1
        self._counters.server_parse_count += 1
        message = b""
        if statement in server_book.held:
            message += self._close_on_server(statement)  # under a name of before a migration
        while len(server_book.held) >= max(self._rules.limit, 1):
            message += self._close_on_server(server_book.oldest())
        server_book.add(statement)
        self._touched.add(statement)

        def undo() -> None:
            server_book.remove(statement)
            if also_undo is not None:
                also_undo()

        self._note(entry, undo)
        return message + encode(codes.PARSE, statement.name + b"\0" + statement.key)

    def _close_on_server(self, statement: Statement) -> bytes:
        server_book = self._server_book
        name = server_book.remove(statement)
        assert name is not None
        self._touched.add(statement)
        self._note(OWN_CLOSE, lambda: server_book.put_back(statement, name))
        return encode(codes.CLOSE, b"S" + name + b"\0")

    def _close(self, name: bytes, pos: int, after: int) -> int:
        """Close the client's statement; the server keeps a named one, for others."""
        if not name:
            self._drop_unnamed()
            self._entries.append(codes.CLOSE)
            return _KEEP
        if self._is_unsure(name):
            return _WAIT
        self._touched.add(name)
        book = self.book
        statement = book.remove(name)

        def undo() -> None:
            if statement is not None and name not in book.names:
                book.add(name, statement)

        self._note(FAKE_CLOSE, undo)
        self._changed = b""
        self._resume = after
        return _CHANGED

    # --- saying no ---

    def _refusal(self, name: bytes, key: bytes) -> ClientError | None:
        """Return why a named Parse is refused, if it is; raises it if it ends the client."""
        shown = _shown(name)
        if self._rules.rejects:
            return ClientError(
                f'named prepared statement "{shown}" refused',
                sqlstate="0A000",
                detail="The pooler runs with prepared_statements = reject: in transaction pooling"
                " the next transaction may have another server, which does not know the name.",
                hint=advice.hint(shown),
            )
        if name in self.book.names:
            return self._duplicate(shown)
        is_full = len(self.book.names) >= MAX_CLIENT_STATEMENTS
        if is_full or self.book.size + len(name) + len(key) > MAX_CLIENT_BYTES:
            return ClientError(
                "too many prepared statements",
                sqlstate="53400",
                detail=f"One client may have {MAX_CLIENT_STATEMENTS} prepared statements and"
                f" {MAX_CLIENT_BYTES >> 20} MiB of their texts at a time.",
                hint="Close statements that are no longer needed.",
            )
        return None

    def _duplicate(self, shown: str) -> ClientError:
        detail = (
            f'This client (C-0x{self._session.id:x}) has prepared "{shown}" before and not closed'
            " it."
        )
        if self._rules.answers_like_postgres:
            return ClientError(
                f'prepared statement "{shown}" already exists',
                sqlstate="42P05",
                detail=detail,
                hint=advice.hint(shown),
            )
        raise ClientError(
            "prepared statement name is already in use", detail=detail, hint=advice.hint(shown)
        )

    def _unknown(self, message_type: int, name: bytes, pos: int) -> int:
        """Let the server say that there is no such statement, or close the client for it."""
        shown = _shown(name)
        error = ClientError(
            "prepared statement did not exist",
            detail=f'This client (C-0x{self._session.id:x}) has not prepared "{shown}" through the'
            " protocol, or has closed it.",
            hint=advice.hint(shown),
        )
        if not self._rules.answers_like_postgres and not self._rules.rejects:
            raise error
        if name.startswith(SERVER_NAME_PREFIX):  # it might exist there, and be another's
            self._resume = pos
            self._entries.append(message_type)
            self._is_plain = False
            self._changed = _NOWHERE
            return _CHANGED
        self._entries.append(EXPLAINED)
        self._errors.append(error)
        self._is_plain = False
        return _KEEP

    def _refuse(self, error: ClientError) -> int:
        """Send what is sure to fail in place of a message; the answer becomes `error`."""
        self._entries.append(REFUSED)
        self._errors.append(error)
        self._is_plain = False
        self._changed = _NOWHERE
        return _CHANGED

    # --- from the server ---

    def take_unsent(self) -> bytes:
        """Take off what the server was not asked for; return the answers to make up."""
        owed = self._session.owed
        made_up = b""
        while owed and IS_UNSENT[owed[0]]:
            made_up += FAKE_ANSWERS[owed[0]]
            self._undo.popleft()
            del owed[0]
        return made_up

    def answered(self, message_type: int) -> bool:
        """Take off the entry that a message answers, if it does; say whether to swallow it."""
        owed = self._session.owed
        entry = owed[0]
        if entry not in ANSWERED_BY[message_type]:
            return False
        del owed[0]
        if HAS_UNDO[entry]:
            self._undo.popleft()
        if HAS_ERROR[entry]:
            self._errors.popleft()
        return bool(IS_SWALLOWED[entry])

    def failed(self, message: bytes) -> bytes | None:
        """Undo what the segment being answered has changed; return an ErrorResponse to show
        instead, if there is a better one.
        """
        owed = self._session.owed
        failing = owed[0]
        better = None
        if failing == REFUSED:
            better = backend.error_response(self._errors[0], severity="ERROR")
        elif failing == EXPLAINED:
            better = backend.explained(message, self._errors[0])
        sync = owed.find(codes.SYNC)
        cleared = owed[:sync] if sync >= 0 else owed[:]
        undos = [self._undo.popleft() for entry in cleared if HAS_UNDO[entry]]
        for _ in range(sum(HAS_ERROR[entry] for entry in cleared)):
            self._errors.popleft()
        for undo in reversed(undos):
            undo()
        if failing == codes.PARSE:
            self.forget_unnamed()
        del owed[: len(cleared)]
        return better

    def failed_plain(self, *, is_first_answer: bool) -> None:
        """Note an error in a segment that stands in `owed` as its Sync alone."""
        if is_first_answer and len(self._session.owed) == 1:
            self.forget_unnamed()

    def forget_unnamed(self) -> None:
        """Note that this client's unnamed statement is gone, here and on the server."""
        self.book.unnamed = None
        self._server_book.unnamed = None

    def plan_is_stale(self) -> None:
        """Have the statements just used prepared anew everywhere: a migration changed them."""
        for statement in self._used:
            self._registry.renew(statement)

    def deallocated_all(self) -> None:
        """Note that the server has dropped all named statements: DEALLOCATE ALL, DISCARD ALL."""
        self.book.clear()
        self._server_book.clear()


_STATEMENT: Final = ord("S")
_UNNAMED: Final = b""
_CLOSE_UNNAMED: Final = encode(codes.CLOSE, b"S\0")
#: Stands for an unnamed statement that was streamed; no text begins with a zero byte.
_TOO_LARGE: Final = b"\0too large to keep"


def _shown(name: bytes) -> str:
    return name[:64].decode("utf-8", "replace")
