"""Did what a client did stay on its server? What its statements may leave, until that is known.

A statement that may leave something is noted when it is sent; whether it did is known from what
the server answers. The answers are looked at only while something is open here:

  ErrorResponse     nothing of this request happened, but for what no rollback takes back, if a
                    statement of it was complete before
  CommandComplete   COMMIT, ROLLBACK, SAVEPOINT and their like say what becomes of a block
  ReadyForQuery     the request is over; with status I so is its transaction

Which request a ReadyForQuery answers is counted from the client's `owed`. Where that goes wrong,
because a COPY has swallowed a Sync, say, the rest is taken to have happened once nothing is owed.
ROLLBACK TO takes back what came since the last SAVEPOINT that was seen here, whatever its name.

What no rollback takes back waits for the end of its transaction as well: until then nobody else can
find it, and a lock or a prepared statement that is taken off again by then is no leak.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pgpool_lite.diagnose.journal import Cleared, Leak
from pgpool_lite.diagnose.rules import Harm, Kind
from pgpool_lite.wire import codes
from pgpool_lite.wire.framing import interest_in, message_end, scan

if TYPE_CHECKING:
    from pgpool_lite.session.server import ServerSession

#: What one client may have open: statements that leave something in one transaction, or pipelined.
MAX_OPEN: Final = 1_000

#: What no rollback takes back, beside the rules that say so.
_FOR_GOOD: Final = frozenset({Kind.ADVISORY_LOCK, Kind.PREPARED, Kind.LIBRARY})
_TELLING: Final = interest_in(
    codes.COMMAND_COMPLETE, codes.ERROR_RESPONSE, codes.NOTICE_RESPONSE, codes.READY_FOR_QUERY
)
_ROLLBACK: Final = b"ROLLBACK\0"
_COMMIT: Final = b"COMMIT\0"
_BEGINNINGS: Final = (b"BEGIN\0", b"START TRANSACTION\0")
_SAVEPOINT: Final = b"SAVEPOINT\0"
_RELEASE: Final = b"RELEASE\0"
#: Where in the source PostgreSQL says "you don't own a lock"; the words themselves are translated.
_NOT_OWNER: Final = b"\0RLockRelease\0"


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that a statement does to its server, and how the statement begins."""

    change: Leak | Cleared
    statement: str
    tags: str

    @property
    def is_for_good(self) -> bool:
        """Say whether it stays when its transaction is rolled back."""
        change = self.change
        if isinstance(change, Cleared):
            return change.kind in _FOR_GOOD
        return change.rule.harm is not Harm.LEAVES or not change.rule.is_transactional

    @property
    def is_attempt(self) -> bool:
        """Say whether it counts even if the statement fails: it relied on something."""
        return isinstance(self.change, Leak) and self.change.rule.harm is not Harm.LEAVES


@dataclass(slots=True)
class Request:
    """What one Query or segment does, once it is answered."""

    effects: list[Effect]
    #: ReadyForQuery messages up to its own.
    answers_left: int


class Evidence:
    """What a client has done that may stay, as far as that is open. Owned by its watch."""

    __slots__ = (
        "_has_completed",
        "_has_failed",
        "_is_rolled_back",
        "_marks",
        "block",
        "dropped",
        "has_stray_unlock",
        "waiting",
    )

    def __init__(self) -> None:
        """Begin with nothing open."""
        #: Not answered yet, in the order in which it was sent.
        self.waiting: list[Request] = []
        #: Done in the transaction block that is open; how much was done at each savepoint.
        self.block: list[Effect] = []
        self._marks: list[int] = []
        #: Of the request being answered: a statement is complete, or has failed; ROLLBACK was one.
        self._has_completed = False
        self._has_failed = False
        self._is_rolled_back = False
        #: The server has said that it does not hold a lock that was to be taken off.
        self.has_stray_unlock = False
        #: What was not noted, because too much is open.
        self.dropped = 0

    @property
    def is_open(self) -> bool:
        """Something may still turn out one way or the other."""
        return bool(self.waiting or self.block)

    def expect(self, effects: list[Effect], answers_left: int) -> None:
        """Note what a statement does that is on its way; so many ReadyForQuery messages tell."""
        if len(self.waiting) + len(self.block) >= MAX_OPEN:
            self.dropped += len(effects)
        else:
            self.waiting.append(Request(effects, answers_left))

    def hear(self, server: ServerSession, data: bytes) -> list[Effect]:
        """Look at a read from the server before anybody else does; return what has happened."""
        own_answers = server.swallowing
        pos = server.body_left
        if server.tail:
            data, pos = server.tail + data, 0
        happened: list[Effect] = []
        while True:
            pos = scan(data, pos, _TELLING)
            if len(data) - pos < codes.HEADER_SIZE:
                return happened
            after = message_end(data, pos)
            if not pos < after <= len(data):
                return happened  # it is held, or passes unseen
            message_type = data[pos]
            if own_answers:
                own_answers -= message_type == codes.READY_FOR_QUERY
            elif message_type == codes.READY_FOR_QUERY:
                self._end_request(data[pos + codes.HEADER_SIZE], happened)
            elif message_type == codes.ERROR_RESPONSE:
                self._has_failed = True
            elif message_type == codes.NOTICE_RESPONSE:
                self.has_stray_unlock |= _NOT_OWNER in data[pos:after]
            else:
                self._complete(data[pos + codes.HEADER_SIZE : after], happened)
            pos = after

    def settle(self) -> list[Effect]:
        """Return what is left although nothing is owed any more: it is taken to have happened."""
        left = [effect for request in self.waiting for effect in request.effects]
        self.waiting.clear()
        return left

    def _complete(self, tag: bytes, happened: list[Effect]) -> None:
        """Take a statement's command tag."""
        self._has_completed = True
        if tag == _ROLLBACK:
            self._is_rolled_back = True
        elif tag == _COMMIT:
            self._keep(happened)
        elif tag in _BEGINNINGS and self._is_rolled_back:
            self._take_back(0)
            self._keep(happened)
        elif tag == _SAVEPOINT:
            self._marks.append(len(self.block))
        elif tag == _RELEASE and self._marks:
            self._marks.pop()

    def _end_request(self, status: int, happened: list[Effect]) -> None:
        """Take a ReadyForQuery: a request is over, and maybe its transaction."""
        is_idle = status == codes.STATUS_IDLE
        if self._is_rolled_back and not is_idle:
            self._take_back(self._marks[-1] if self._marks else 0)
        elif self._is_rolled_back or (self._has_failed and is_idle):
            self._take_back(0)
        done = self._answered()
        if self._has_failed:
            stays = self._has_completed
            done = [each for each in done if each.is_attempt or (stays and each.is_for_good)]
        happened += [each for each in done if each.is_attempt]
        self.block += [each for each in done if not each.is_attempt]
        if is_idle:
            self._keep(happened)
        self._has_completed = self._has_failed = self._is_rolled_back = False

    def _answered(self) -> list[Effect]:
        """Take off the requests that are answered now; return what they do."""
        done: list[Effect] = []
        for request in self.waiting:
            request.answers_left -= 1
            if not request.answers_left:
                done += request.effects
        if done:
            self.waiting = [each for each in self.waiting if each.answers_left > 0]
        return done

    def _keep(self, happened: list[Effect]) -> None:
        """Note that the transaction is over: what is left of the block stays."""
        happened += self.block
        self.block.clear()
        self._marks.clear()
        self._is_rolled_back = False

    def _take_back(self, mark: int) -> None:
        """Note that what came since a mark was rolled back."""
        self.block[mark:] = [each for each in self.block[mark:] if each.is_for_good]


def standing(effects: list[Effect]) -> list[Effect]:
    """Return what counts of the effects of one transaction: not what it has taken off again.

    One unlock takes back one lock, and is used up by that.
    """
    counts: list[Effect] = []
    for effect in effects:
        change = effect.change
        if not isinstance(change, Cleared):
            counts.append(effect)
            continue
        gone = [
            index
            for index, each in enumerate(counts)
            if isinstance(each.change, Leak)
            and each.change.rule.harm is Harm.LEAVES
            and each.change.rule.kind is change.kind
            and change.name in ("", each.change.name)
        ]
        if change.kind is Kind.ADVISORY_LOCK and change.name and gone:
            del counts[gone[-1]]
            continue
        for index in reversed(gone):
            del counts[index]
        counts.append(effect)
    return counts
