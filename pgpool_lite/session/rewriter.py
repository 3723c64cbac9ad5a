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

and each answer takes the oldest off (`outstanding`). A segment that needs none of this, the usual
one, stands in `owed` as one entry and costs nothing on the way back.

The books are kept as messages are sent. If the server then reports an error, it discards the rest
of the segment, so what those messages changed in the books is undone.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Final

from pgpool_lite.errors import ClientProtocolError
from pgpool_lite.session import copying
from pgpool_lite.session.entries import IS_SILENT, SEGMENT
from pgpool_lite.session.meaning import (
    COPY_END,
    EXTENDED,
    HOLD_LIMIT,
    MEANINGS,
    REQUEST,
    TERMINATE,
    check_known,
    check_owed,
)
from pgpool_lite.session.outstanding import Outstanding
from pgpool_lite.session.refusals import StatementRules
from pgpool_lite.session.renaming import CHANGED, KEEP, MORE, WAIT, Renaming
from pgpool_lite.session.statements import (
    ParseCounters,
    ServerStatements,
    StatementRegistry,
)
from pgpool_lite.session.usual import take_usual, unrenamed
from pgpool_lite.wire import codes
from pgpool_lite.wire.framing import message_end

if TYPE_CHECKING:
    from pgpool_lite.session.client import ClientSession
    from pgpool_lite.session.server import ServerSession

_LENGTH: Final = Struct("!i")
_ONE_SEGMENT: Final = bytes([SEGMENT])


class Rewriter:
    """One client's stream, as long as it names prepared statements. Owned by its session."""

    __slots__ = (
        "_missing",
        "_more",
        "_outstanding",
        "_registry",
        "_renaming",
        "_session",
        "book",
        "left",
        "on_retry",
        "reply",
    )

    def __init__(
        self,
        session: ClientSession,
        registry: StatementRegistry,
        rules: StatementRules,
        counters: ParseCounters,
    ) -> None:
        """Begin with a client that has prepared nothing yet."""
        self._session = session
        self._registry = registry
        self._outstanding = Outstanding(session)
        self._outstanding.teaches = rules.teaches
        #: Told of each segment that is asked again (retry_stale_plans).
        self.on_retry: Callable[[], None] = tell_nobody
        self._renaming = Renaming(session, self._outstanding, registry, rules, counters)
        #: What the client has prepared.
        self.book = self._renaming.book
        #: Answers made up while the server owes nothing: for the client, at once.
        self.reply = b""
        #: The end of a read that waits; the connection keeps it until `may_go_on`.
        self.left = b""
        #: What came behind the session's `tail`, and how much more is to come before it is worth
        #: another look: as much again, or each read of a byte would cost a look at megabytes.
        self._more = bytearray()
        self._missing = 0

    def follow(self, rules: StatementRules) -> None:
        """Go by other rules from now on: a reload."""
        self._renaming.rules = rules
        self._outstanding.teaches = rules.teaches

    # --- before a server is there ---

    def first_request(self, data: bytes) -> bytes:
        """Return what of a read is work for a server, b"" while that is nothing.

        Only for a client that has no server and waits for none. Late COPY messages and a Flush of
        nothing are dropped, a small message that is not whole is kept in the session's `tail`.
        """
        session = self._session
        if (
            not (session.tail or session.body_left)
            and len(data) >= codes.HEADER_SIZE
            and MEANINGS[data[0]] == EXTENDED
            and 0 < message_end(data, 0) <= len(data)
        ):
            return data  # the usual read: a whole message to begin with
        data = self._with_tail(data)
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
        session, renaming = self._session, self._renaming
        renaming.server_book = server.statements
        if not (session.owed or session.unsynced or session.tail or session.body_left):
            usual = take_usual(data, renaming)
            if usual is not None:
                session.single = SEGMENT
                return usual
        renaming.server_has_failed = server.status == codes.STATUS_FAILED
        return self._rewrite(data)

    def _rewrite(self, data: bytes) -> bytes:
        """Return what goes to the server in place of a read that is not the usual one."""
        session, outstanding = self._session, self._outstanding
        check_owed(session.owed)
        if outstanding.is_sure():
            self._renaming.used.clear()
            outstanding.settle()
        if not session.owed:
            self.book.changes.clear()
        if session.tail:
            if len(data) < self._missing:
                self._more += data
                self._missing -= len(data)
                return b""
            data = self._with_tail(data)
        if session.body_left >= len(data):
            session.body_left -= len(data)
            return data
        rewritten = self._walk(data, session.body_left)
        outstanding.list_entries()
        if session.owed and IS_SILENT[session.owed[0]]:
            server = session.server
            if server is None or not server.is_mid_answer():  # else it goes behind that message
                self.reply += outstanding.take_silent()
        return rewritten

    def _with_tail(self, data: bytes) -> bytes:
        """Return `data` behind what is held, which is held no longer."""
        session = self._session
        data = b"".join((session.tail, self._more, data))
        session.tail = b""
        self._more.clear()
        self._missing = 0
        return data

    def _walk(self, data: bytes, pos: int) -> bytes:
        """Look at the messages from `pos` on; return `data` with what goes in their place."""
        session, renaming = self._session, self._renaming
        pieces: list[bytes] = []
        start = 0  # first byte that is not in `pieces`
        end = len(data)
        is_whole = not session.unsynced  # the segment at hand begins in this read
        is_full = self._outstanding.is_full()
        while pos < end:
            if end - pos < codes.HEADER_SIZE:
                end = self._stop(MORE, data, pos)
                break
            message_type = data[pos]
            meaning = MEANINGS[message_type]
            (length,) = _LENGTH.unpack_from(data, pos + 1)
            check_known(message_type, length)
            after = pos + 1 + length
            if after > end and length <= HOLD_LIMIT and meaning in (REQUEST, EXTENDED):
                end = self._stop(MORE, data, pos)
                break
            if meaning == EXTENDED and session.skipping:
                copying.check_skipped(session)
            elif meaning == EXTENDED and is_full:
                end = self._stop_full(data, pos)
                break
            elif meaning == EXTENDED:
                session.unsynced = True
                outcome = renaming.take(message_type, data, pos, after, is_whole)
                if outcome not in (KEEP, CHANGED):
                    end = self._stop(outcome, data, pos)
                    break
                if outcome == CHANGED:
                    pieces += (data[start:pos], renaming.changed)
                    start = renaming.resume
            elif meaning == REQUEST:
                self._end_segment(message_type, is_whole)
                is_whole = True
            elif meaning == COPY_END:
                self._outstanding.note_copy_end()
            elif meaning == TERMINATE:
                session.is_leaving = True
                end = pos
                break
            pos = after
        session.body_left = max(pos - end, 0)
        if not pieces:
            return data if end == len(data) else data[:end]
        pieces.append(data[start:end])
        return b"".join(pieces)

    def _stop(self, outcome: int, data: bytes, pos: int) -> int:
        """Keep what stands at `pos`, for more of it or for answers; return the end of what goes."""
        if outcome == MORE:
            self._session.tail = data[pos:]
            self._missing = _worth_waiting_for(data, pos)
        else:
            self.left = data[pos:]
        return pos

    def _stop_full(self, data: bytes, pos: int) -> int:
        """Have the message at `pos` wait until answers make room; none come before a Sync."""
        if self.may_go_on():
            raise ClientProtocolError(
                "too many messages without a Sync",
                sqlstate="54000",
                detail="What they change must be kept until PostgreSQL has answered them.",
                hint="Send a Sync now and then.",
            )
        return self._stop(WAIT, data, pos)

    def _end_segment(self, message_type: int, is_whole: bool) -> None:
        """Note a Sync, Query or FunctionCall: what comes next is a segment of its own."""
        session = self._session
        if message_type != codes.SYNC:
            if session.skipping:
                copying.check_skipped(session)
                return  # the server discards it
            if message_type == codes.QUERY:
                self._renaming.drop_unnamed()
        if not session.owed:
            has_parsed = codes.PARSE in self._outstanding.entries
            self._renaming.parsed_at = self._renaming.server_book.ready_count if has_parsed else -1
            if has_parsed and is_whole and self._outstanding.is_plain:
                self.book.changes.clear()  # should it fail, it is undone by `failed_plain`
        self._outstanding.end_segment(message_type, is_whole=is_whole)
        session.unsynced = False
        session.skipping = copying.RUNS

    def may_go_on(self) -> bool:
        """Say whether what waits in `left` can be looked at again."""
        return self._outstanding.is_sure()

    # --- from the server ---

    def take_silent(self) -> bytes:
        """Return the answers to make up now, to messages that were not sent."""
        return self._outstanding.take_silent()

    def answered(self, message_type: int) -> bool:
        """Take note of a message that may end an answer; say whether to swallow it."""
        return self._outstanding.answered(message_type)

    def failed(self, message: bytes) -> bytes | None:
        """Undo a segment that failed; return a better ErrorResponse, if there is one."""
        return self._outstanding.failed(message)

    def failed_plain(self, *, is_first_answer: bool) -> None:
        """Note an error in a segment that stands in `owed` as one entry.

        Such a segment parses the unnamed statement first if at all, so an error that is its first
        answer means that there is none now.
        """
        renaming = self._renaming
        if is_first_answer and renaming.parsed_at == renaming.server_book.ready_count:
            renaming.fail_unnamed()

    def plan_is_stale(self, server: ServerSession, *, is_first_answer: bool) -> bytes:
        """Have the statements just bound prepared anew everywhere: a migration changed one.

        Return what to send in place of the segment that has met it, b"" if the client must know:
        only with retry_stale_plans, where nothing has run or been passed on, and nothing is open or
        in flight that has failed with it.
        """
        session, renaming = self._session, self._renaming
        again = b""
        if (
            renaming.rules.retries_stale
            and is_first_answer
            and session.owed == _ONE_SEGMENT
            and not (session.unsynced or session.body_left or server.copying)
            and server.status == codes.STATUS_IDLE
            and (session.watch is None or not session.watch.is_listening)
        ):
            again = unrenamed(server.asked, renaming)
        for statement in renaming.used:
            self._registry.renew(statement)
        if again:
            session.owed.clear()
            again = self.rewrite(again, server)
            self.on_retry()
        return again

    def deallocated_all(self, server_book: ServerStatements) -> None:
        """Note that the server has dropped all named statements: DEALLOCATE ALL, DISCARD ALL.

        What was prepared by messages in flight behind it stays. `server_book` is that server's:
        the Query may have taken the short cut, past `rewrite`.
        """
        later = self._outstanding.changed_in_flight()
        self.book.clear(later)
        server_book.clear(later)


def tell_nobody() -> None:
    """Do nothing."""


def _worth_waiting_for(data: bytes, pos: int) -> int:
    """Return how many more bytes of the message at `pos` are worth another look at it."""
    held = len(data) - pos
    if held < codes.HEADER_SIZE:
        return 0
    (length,) = _LENGTH.unpack_from(data, pos + 1)
    return min(held, 1 + int(length) - held)
