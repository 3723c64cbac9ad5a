"""How is a statement refused that would leave something, without harm? session_leaks = error.

A client that has nothing in flight is answered here, and the server never hears of it: an
ErrorResponse, and ReadyForQuery with the transaction status as it was, behind a Query at once,
behind a Parse at the Sync, up to which all is dropped as PostgreSQL drops it. So a transaction
block goes on as if nothing had been asked.

      from the client    Query SET x            Parse SET x   Bind  Execute  Sync
      to the client      E  Z(status)           E                            Z(status)

Where answers are still to come, ours would overtake them. There the server is sent a text that is
sure to fail in place of the statement, and its error gets our words (`words_for`). That fails the
transaction, as any error in a pipeline does. A transaction that has failed already refuses by
itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgpool_lite.diagnose.leaks import Leak
from pgpool_lite.diagnose.rules import Harm
from pgpool_lite.session.leak_words import refusal
from pgpool_lite.session.watch import Watch
from pgpool_lite.wire import backend, codes
from pgpool_lite.wire.framing import message_end
from pgpool_lite.wire.frontend import encode

if TYPE_CHECKING:
    from pgpool_lite.session.client import ClientSession
    from pgpool_lite.session.parameters import TrackedParameters

#: Names a column that there is not, so that PostgreSQL says 42703 as soon as it reads the text.
_MARK: Final = b"pgpool_lite refuses "
_FAILING: Final = b'SELECT "%b%b"\0'


class RefusingWatch(Watch):
    """A client's statements, those that leave something refused."""

    __slots__ = ("_has_passed", "_is_absorbing", "_refusals", "_rest", "_to_drop")

    def __init__(self, session: ClientSession, tracked: TrackedParameters) -> None:
        """Begin with a client that has said nothing yet."""
        super().__init__(session, tracked)
        #: Everything up to a Sync is dropped; bytes still to come of a message that is.
        self._is_absorbing = False
        self._to_drop = 0
        #: Of the read at hand: something has passed, and what is still to be looked at.
        self._has_passed = False
        self._rest = b""
        #: The words for statements that were replaced, by rule.
        self._refusals: dict[str, bytes] = {}

    def _look_closely(self, data: bytes) -> bytes:
        """Return what is to pass of a read, with `reply` to be sent before."""
        pieces: list[bytes] = []
        self._rest = data
        self._has_passed = False
        while self._rest:
            data, self._rest = self._rest, b""
            data = self._drop(data)
            if not data:
                break
            passed = self._walk(data)
            if passed:
                pieces.append(passed)
                self._has_passed = True
        self._is_inside = self._is_inside or self._is_absorbing or self._to_drop > 0
        if len(pieces) == 1:
            return pieces[0]
        return b"".join(pieces)

    # --- refusing ---

    def _judge(self, leaks: list[Leak]) -> Leak | None:
        session = self._session
        server = session.server
        has_failed = server is not None and server.status == codes.STATUS_FAILED
        if has_failed and not (session.is_waiting_for_answers() or self._requests):
            return None  # with nothing in flight that might end the transaction
        for leak in leaks:
            if leak.rule.harm is Harm.LEAVES:
                return leak
        return None

    def _refuse(self, data: bytes, pos: int, after: int, leak: Leak) -> bytes:
        """Put an error in place of the message at `pos`, ours if that may be said at once."""
        self.refused.append(leak)
        self._left = 0
        self._is_inside = False
        self._to_drop = max(after - len(data), 0)
        self._rest = data[after:]
        error = backend.error_response(refusal(leak), severity="ERROR")
        is_parse = data[pos] == codes.PARSE
        session = self._session
        must_queue = session.is_waiting_for_answers() or session.raw_waits
        must_queue = must_queue or (session.server is not None and session.server.is_mid_answer())
        if not (pos or self._has_passed or must_queue):
            self.reply += error
            self._is_absorbing = is_parse
            if not is_parse:
                self.reply += self._ready()
            return b""
        self._refusals[leak.rule.id] = error
        text = _FAILING % (_MARK, leak.rule.id.encode())
        if not is_parse:
            self._requests += 1
            return data[:pos] + encode(codes.QUERY, text)
        name_end = data.index(0, pos + codes.HEADER_SIZE) + 1
        name = data[pos + codes.HEADER_SIZE : name_end]
        return data[:pos] + encode(codes.PARSE, name + text + bytes(2))

    def _ready(self) -> bytes:
        """Return ReadyForQuery with the status of the client's transaction, as it was."""
        server = self._session.server
        return backend.ready_for_query(server.status if server is not None else codes.STATUS_IDLE)

    def _drop(self, data: bytes) -> bytes:
        """Return what is left of a read behind what is to be dropped."""
        if self._to_drop:
            dropped = min(self._to_drop, len(data))
            self._to_drop -= dropped
            data = data[dropped:]
        return self._absorb(data) if self._is_absorbing else data

    def _absorb(self, data: bytes) -> bytes:
        """Drop messages up to a Sync, and answer that; return what stands behind it."""
        data = self._head + data
        self._head = b""
        pos = 0
        while len(data) - pos >= codes.HEADER_SIZE:
            message_type, after = data[pos], message_end(data, pos)
            if message_type == codes.TERMINATE or after < 0:
                self._is_absorbing = False
                return data[pos:]
            if message_type == codes.SYNC and after <= len(data):
                self._is_absorbing = False
                self.reply += self._ready()
                return data[after:]
            if after > len(data):
                self._to_drop = after - len(data)
                return b""
            pos = after
        self._head = data[pos:]
        return b""

    # --- on the way back ---

    def words_for(self, message: bytes) -> bytes | None:
        """Return our ErrorResponse for a server's about a text that was put in place, else None."""
        found = message.find(_MARK)
        if found < 0:
            return None
        start = found + len(_MARK)
        return self._refusals.get(message[start : start + 5].decode("ascii", "replace"))
