"""What is still to be answered, and what does an error undo? The way back of rewritten messages.

The client's `owed` lists one entry per message (`entries`); this keeps what belongs to the entries:
for each one that changed the books, how to change them back, and for each one that is sure to fail,
what to say. An answer takes the oldest entry off. An error takes off everything up to the Sync, for
the server discards all that, and undoes it in reverse.

Books are kept as messages are sent, so what segments in flight have changed is not sure: if one
fails, it changes back. A message of a later segment that names such a thing waits (`is_unsure`).
Inside one segment nothing need wait: if the first fails, so does the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from pgpool_lite.errors import PgPoolLiteError
from pgpool_lite.session.entries import (
    ANSWERED_BY,
    COPY_END,
    FAKE_ANSWERS,
    HAS_ERROR,
    HAS_UNDO,
    IS_SILENT,
    IS_SWALLOWED,
    REFUSED,
    SEGMENT,
)
from pgpool_lite.session.statements import Statement
from pgpool_lite.wire import backend, codes

if TYPE_CHECKING:
    from pgpool_lite.session.client import ClientSession

#: Called with True for the message that failed itself, with False for those discarded behind it.
Undo = Callable[[bool], None]

#: What can be unsure: a client's name for a statement (b"" for the unnamed one), or a statement on
#: the server at hand.
Thing = bytes | Statement

_ENDINGS: Final = (SEGMENT, codes.SYNC, codes.QUERY)

#: What one client may have in flight before it must wait for answers. A message whose answer is
#: made up costs PostgreSQL nothing, so nothing else would ever stop who sends such without end.
#: Sockets hold 6 MB, so many of the shortest statements that are really sent. Tests change these.
MAX_CHANGES = 100_000
MAX_ERRORS = 1_000
MAX_UNSURE = 16 * 1_048_576  # bytes of names, each with its place in a dict
_PLACE: Final = 128


class Outstanding:
    """What belongs to one client's `owed`. Owned by its rewriter."""

    __slots__ = (
        "_errors",
        "_session",
        "_touched",
        "_touched_size",
        "_undo",
        "_unsure",
        "_unsure_size",
        "entries",
        "is_plain",
        "new_undo",
        "teaches",
    )

    def __init__(self, session: ClientSession) -> None:
        """Begin with nothing owed."""
        self._session = session
        # In the order of the entries that have one; see HAS_UNDO and HAS_ERROR.
        self._undo: deque[tuple[Undo, Sequence[Thing]]] = deque()
        self._errors: deque[PgPoolLiteError] = deque()
        #: Changed by segments in flight, and by the segment at hand. They are sets; an empty dict
        #: takes less.
        self._unsure: dict[Thing, None] = {}
        self._touched: dict[Thing, None] = {}
        self._unsure_size = 0
        self._touched_size = 0
        # --- the segment at hand, as far as the read at hand has it ---
        self.entries = bytearray()
        self.new_undo: list[tuple[Undo, Sequence[Thing]]] = []
        #: Nothing is swallowed, made up or to be undone: its Sync can stand for all of it.
        self.is_plain = True
        #: Errors have DETAIL and HINT (teaching).
        self.teaches = True

    # --- on the way to the server ---

    def note(self, entry: int, undo: Undo, *things: Thing) -> None:
        """List a message that changes the books about `things`, which an error would undo."""
        self.entries.append(entry)
        self.new_undo.append((undo, things))
        self._touch(things)
        self.is_plain = False

    def note_error(self, entry: int, error: PgPoolLiteError) -> None:
        """List a message that will fail, and what to say then."""
        self.entries.append(entry)
        self._errors.append(error)
        self.is_plain = False

    def note_copy_end(self) -> None:
        """List a CopyDone or CopyFail: its place among the others tells."""
        self.entries.append(COPY_END)
        self.is_plain = False

    def end_segment(self, message_type: int, *, is_whole: bool) -> None:
        """List a Sync, or a Query or FunctionCall in its place; the segment is over.

        `is_whole`: it began in the read at hand.
        """
        if is_whole and self.is_plain and message_type == codes.SYNC:
            if self.entries:
                message_type = SEGMENT
            self.entries.clear()
            self.new_undo.clear()
        else:
            self.list_entries()
        self._session.owed.append(message_type)
        self.is_plain = True
        if self._touched:
            self._unsure.update(self._touched)
            self._unsure_size += self._touched_size
            self._touched.clear()
            self._touched_size = 0

    def list_entries(self) -> None:
        """List the segment at hand message by message: it is not plain, or not over."""
        if self.entries:
            self._session.owed += self.entries
            self._undo += self.new_undo
            self.entries.clear()
            self.new_undo.clear()

    # --- what is sure ---

    def is_sure(self) -> bool:
        """Say whether every segment that has ended is answered."""
        owed = self._session.owed
        return not owed or not any(entry in owed for entry in _ENDINGS)

    def settle(self) -> None:
        """Note that everything is sure."""
        self._unsure.clear()
        self._unsure_size = 0

    def is_full(self) -> bool:
        """Say whether so much is in flight that answers must come before there may be more."""
        return (
            len(self._undo) > MAX_CHANGES
            or len(self._errors) > MAX_ERRORS
            or self._unsure_size + self._touched_size > MAX_UNSURE
        )

    def touch(self, thing: Thing) -> None:
        """Note that the segment at hand changes the books about `thing`."""
        self._touch((thing,))

    def _touch(self, things: Iterable[Thing]) -> None:
        for thing in things:
            if thing not in self._touched:
                self._touched[thing] = None
                self._touched_size += _PLACE + (len(thing) if isinstance(thing, bytes) else 0)

    def changed_in_flight(self) -> frozenset[Thing]:
        """Return what messages change that were sent and are not answered yet."""
        return frozenset(thing for _, things in self._undo for thing in things)

    def is_unsure(self, *things: Thing | None) -> bool:
        """Say whether what the books say about one of them hangs on earlier segments' answers."""
        if not self._unsure:
            return False
        return any(thing in self._unsure and thing not in self._touched for thing in things)

    # --- on the way back ---

    def take_silent(self) -> bytes:
        """Take off what the server says nothing to; return the answers to make up."""
        owed = self._session.owed
        made_up = bytearray()
        while owed and IS_SILENT[owed[0]]:
            made_up += FAKE_ANSWERS[owed[0]]
            if HAS_UNDO[owed[0]]:
                self._undo.popleft()
            del owed[0]
        return bytes(made_up)

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
        """Undo what the segment being answered has changed, up to its Sync.

        Return an ErrorResponse to show in place of the server's, if there is a better one.
        """
        owed = self._session.owed
        better = None
        if HAS_ERROR[owed[0]]:
            error = self._errors[0]
            if not self.teaches:
                error = PgPoolLiteError(error.message, sqlstate=error.sqlstate)
            if owed[0] == REFUSED or b"\0C" + error.sqlstate.encode() in message:
                better = backend.error_response(error, severity="ERROR")
            else:
                better = backend.explained(message, error)
        sync = self._session.next_sync()
        cleared = bytes(owed[:sync] if sync >= 0 else owed)
        undos = [self._undo.popleft() for entry in cleared if HAS_UNDO[entry]]
        for entry in cleared:
            if HAS_ERROR[entry]:
                self._errors.popleft()
        for number, (undo, _) in reversed(list(enumerate(undos))):
            undo(number == 0 and bool(HAS_UNDO[cleared[0]]))
        return better
