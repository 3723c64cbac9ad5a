"""What does this server still have to say, and is it done? HOT: `receive` sees every reply.

HOT rule: rows and everything else that only passes are skipped by `framing.scan`; the read goes on
as it came. Only the messages in `INTEREST` are looked at, because pooling hangs on them.

A `ServerSession` lives from the end of its connection's login to its close. While it is linked its
replies belong to `client`; replies to queries of our own (a SET that gives it the client's
parameters, a check, a reset) are swallowed and never reach anyone.

Which ReadyForQuery answers which request is the one thing a pooler must never get wrong. The
client's `owed` lists its requests in order; each ReadyForQuery takes the oldest away. Two rules of
the protocol make requests that are never answered, and take them off the list:

  - After an error in a segment (Parse, Bind ... up to a Sync) the server discards everything up to
    the Sync, a Query too. So a segment that does not end in the read that began it is listed
    message by message, and its answers are counted off one by one.
  - A server that reads COPY data ignores Sync. What that means is told in `copying`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pgpool_lite.errors import ServerError, ServerProtocolError
from pgpool_lite.session import copying, interest
from pgpool_lite.session.client import CUT, RELAY, SETTLED, ClientSession
from pgpool_lite.session.connection import ServerSide
from pgpool_lite.session.endpoint import Endpoint
from pgpool_lite.session.entries import (
    ANSWERED_BY,
    HAS_ANSWER,
    IS_IN_SEGMENT,
    IS_REQUEST,
    IS_SILENT,
)
from pgpool_lite.session.interest import (
    ASYNCHRONOUS,
    INTEREST,
    INTEREST_IN_DETAIL,
    NEEDED_WHOLE,
    READY_HEAD,
    READY_IDLE,
    READY_SIZE,
    STATUS_IDLE,
    TABLES,
    unexpected,
    whole_end,
)
from pgpool_lite.session.own_queries import OwnQueries
from pgpool_lite.session.parameters import TrackedParameters, Values
from pgpool_lite.session.refusals import explain_deallocate, explain_passed
from pgpool_lite.session.replication import Dedication
from pgpool_lite.session.statements import ServerStatements
from pgpool_lite.session.states import ServerState
from pgpool_lite.wire import codes
from pgpool_lite.wire.framing import scan
from pgpool_lite.wire.frontend import CancelKey

#: One more bit for verdicts: the client is owed nothing.
ANSWERED: Final = 16

_QUERY: Final = codes.QUERY
_USUAL: Final = RELAY | ANSWERED | SETTLED


class ServerSession(OwnQueries):
    """One server connection after its login: transaction status, replies, parameters."""

    #: Its socket, known from `attach` on.
    connection: ServerSide

    __slots__ = (
        "asked",
        "cancel_key",
        "cancels_in_flight",
        "close_reason",
        "connected_at",
        "connection",
        "copying",
        "dedication",
        "endpoint",
        "forbids_blocks",
        "has_begun",
        "has_said_fatal",
        "id",
        "is_congested",
        "keeps_client",
        "released_at",
        "requested_at",
        "retires_at",
        "status",
        "tail",
        "teaches",
    )

    def __init__(
        self,
        session_id: int,
        tracked: TrackedParameters,
        statements: ServerStatements,
        connected_at: float = 0.0,
    ) -> None:
        """Start with a connection that is about to be opened; `logged_in` completes it."""
        # --- identity: the number in SHOW SERVERS, what a CancelRequest must say, our socket ---
        self.id = session_id
        self.cancel_key = CancelKey(0, b"")
        self.is_congested = False  # what is written piles up, for it does not read: send no more
        self.endpoint: Endpoint | None = None  # where it leads, once that is chosen
        self.dedication: Dedication | None = None  # to the replication client that has it alone
        self.tail = b""  # start of a message that must be whole, or of a header
        self.body_left = 0  # bytes still to come of a message whose head has been taken
        self.dropping = False  # that message came to nobody, so its rest goes to nobody
        self.cut = b""  # what to relay in place of the read, when the verdict is CUT
        self.has_said_fatal = False  # to the client: it is about to close the connection
        self.is_at_answer = True  # the next message begins the answer to the oldest request
        self.status: int = codes.STATUS_IDLE  # of the transaction, by the last ReadyForQuery
        self.swallowing = 0  # queries of our own whose answers come before the client's
        self.own_failure = ""  # what to say when such a query fails
        self.own_refusal = ""  # what the server said when it refused a connect_query
        self.copying = copying.NOT
        self.has_begun = False  # in doubt: something of the answer to the oldest request has come
        self.forbids_blocks = False  # statement pooling: a transaction block ends the pairing
        self.keeps_client = False  # session pooling, replication: what is said unasked is for it
        self.teaches = True  # errors of PostgreSQL that pooling has caused are explained
        self.close_reason = ""  # why it must not be used again once it is free; "" while it may
        self.ledger = None  # what clients have left here; None: nothing, or nobody looks
        self.errand = None  # what is to be run here before the next client comes
        self.statements = statements
        self.tracked = tracked
        self.parameters: Values = tracked.values_of({})  # as this server last reported them
        # --- pairing ---
        self.state = ServerState.LOGIN
        self.client: ClientSession | None = None
        #: The read that began the query that its client last sent; see `statement_head`. A sweep
        #: lets go of it once the server is idle.
        self.asked = b""
        self.cancels_in_flight = 0  # CancelRequests on their way here: it is not reused meanwhile
        self.connected_at = connected_at
        self.requested_at = connected_at
        self.released_at = connected_at
        self.retires_at = float("inf")

    def logged_in(self, cancel_key: CancelKey, parameters: Values) -> None:
        """Take over what the server said during its login."""
        self.cancel_key = cancel_key
        self.parameters = parameters

    def attach(self, connection: ServerSide, relay: Callable[[bytes], None]) -> None:
        """Know the server's socket from now on by `connection`, and write to it by `relay`."""
        self.connection = connection
        self.relay = relay

    def is_settled(self) -> bool:
        """Say whether the pair may part: all answered, nothing open, nothing half-sent."""
        client = self.client
        return (
            self.status == STATUS_IDLE
            and client is not None
            and not (
                client.single
                or client.owed
                or client.unsynced
                or client.body_left
                or self.body_left
                or self.tail
                or self.swallowing
            )
        )

    def is_mid_answer(self) -> bool:
        """Say whether the client has got half a message, and would take our words for the rest."""
        return self.body_left > 0 and not self.dropping

    def receive(self, data: bytes) -> int:
        """Take one read; return RELAY or CUT, with SETTLED and OWN_DONE as they apply.

        Raises ServerProtocolError when `data` is not what the protocol allows here, ServerError
        when a query of our own failed; the server must be closed then.
        """
        client = self.client
        if self.tail or self.dropping:
            return self._continue(data)
        if client is None:
            return self._swallow(data, self.body_left)
        if not client.single or self.swallowing or self.body_left or self.copying:
            return self._take_unusual(data, client)
        # The usual read: the whole answer to the one request, and nothing behind it.
        pos = scan(data, 0, INTEREST)
        if pos != len(data) - READY_SIZE or not data.endswith(READY_IDLE):
            client.list_single()
            return self._follow(data, 0, pos, client)
        statements = self.statements
        statements.ready_count += 1
        if client.single == _QUERY:
            statements.unnamed = None  # a Query takes it away
        client.single = 0
        self.status = STATUS_IDLE
        self.is_at_answer = True
        return _USUAL

    def _take_unusual(self, data: bytes, client: ClientSession) -> int:
        """Take a read that does not begin the answer to a single request."""
        client.list_single()
        if self.swallowing:
            return self._swallow(data, self.body_left)
        return self._follow(data, 0, self.body_left, client)

    def _continue(self, data: bytes) -> int:
        """Take a read that goes on with a message held, or with one that is being dropped."""
        if self.dropping:
            left = self.body_left
            self.body_left = max(left - len(data), 0)
            self.dropping = self.body_left > 0
            data = data[left:]
            if not data:
                self.cut = b""
                return CUT
        data = self.tail + data
        self.tail = b""
        self.cut = data
        verdict = self.receive(data)
        return verdict if verdict & CUT else verdict ^ (RELAY | CUT)

    def _follow(self, data: bytes, start: int, pos: int, client: ClientSession) -> int:
        """Walk over the client's replies from `pos` on; relay from `start` on."""
        end = len(data)
        owed = client.owed
        pieces: list[bytes] | None = None
        change: bytes | None
        answer_start = start if self.is_at_answer else -1  # of the answer to the oldest request
        if start < pos <= end and owed and IS_SILENT[owed[0]]:  # made up in the midst of a message
            pieces = [data[start:pos], client.take_silent()]
            start = pos
        while pos < end:
            if owed and IS_IN_SEGMENT[owed[0]] and not self.copying:
                pos = scan(data, pos, INTEREST_IN_DETAIL)
            else:
                pos = scan(data, pos, TABLES[self.copying])
            if pos >= end:
                break
            # The usual message of interest, recognised without a call.
            if data.startswith(READY_HEAD, pos) and pos + READY_SIZE <= end:
                self._ready(data[pos + 5], client)
                pos = after = answer_start = pos + READY_SIZE
                if not owed or not IS_SILENT[owed[0]]:
                    continue
                change = None
            else:
                needed = NEEDED_WHOLE if client.rewriter is None else INTEREST_IN_DETAIL
                after = whole_end(data, pos, needed)
                if after == 0:
                    self.is_at_answer = pos == answer_start
                    return self._hold(data, pieces, start, pos)
                change = self._attend(data, pos, after, client, pos == answer_start)
                if self.swallowing:  # a segment was asked again: what is left is not the client's
                    return self._swallow_rest(
                        data, after, b"".join([*(pieces or ()), data[start:pos]])
                    )
            if owed and IS_SILENT[owed[0]]:
                made_up = client.take_silent()
                if made_up:
                    change = (data[pos:after] if change is None else change) + made_up
            if change is not None:
                if pieces is None:
                    pieces = []
                pieces += (data[start:pos], change)
                start = after
            pos = after
        self.body_left = pos - end
        self.is_at_answer = pos == answer_start
        verdict = RELAY
        if start or pieces:
            self.cut = b"".join([*(pieces or ()), data[start:]])
            verdict = CUT
        if owed or client.unsynced:
            return verdict
        if self.status == STATUS_IDLE and not (self.body_left or client.body_left):
            return verdict | ANSWERED | SETTLED
        return verdict | ANSWERED

    def _ready(self, status: int, client: ClientSession) -> None:
        """Take a ReadyForQuery: the client's oldest request has its answer."""
        if status != STATUS_IDLE:
            if status not in interest.STATUSES:
                raise ServerProtocolError(f"server sent ReadyForQuery with status 0x{status:02x}")
            if self.forbids_blocks:
                raise ServerError("transaction blocks not allowed in statement pooling mode")
        self.status = status
        self.statements.ready_count += 1
        owed = client.owed
        if self.copying and copying.is_in_doubt(self.copying):
            has_begun, self.has_begun = self.has_begun, False
            if not (has_begun or (owed and not HAS_ANSWER[owed[0]])):
                copying.take_doubtful_sync(client)
                return
        if not owed:
            raise ServerProtocolError("server sent ReadyForQuery that nobody asked for")
        if not IS_REQUEST[owed[0]]:
            raise ServerProtocolError("server sent ReadyForQuery before its other answers")
        if owed[0] == _QUERY:
            self.statements.unnamed = None  # a Query takes it away
        del owed[0]

    def _attend(
        self, data: bytes, pos: int, after: int, client: ClientSession, is_first_answer: bool
    ) -> bytes | None:
        """Take a message other than ReadyForQuery that pooling hangs on.

        Return what goes to the client in its place, None for the message itself.
        """
        message_type = data[pos]
        if not ASYNCHRONOUS[message_type]:
            self.has_begun = True
        if message_type == codes.PARAMETER_STATUS:
            name, value = self._note_parameter(data[pos + codes.HEADER_SIZE : after])
            client.parameters = self.tracked.with_value(client.parameters, name, value)
        elif message_type == codes.COPY_IN_RESPONSE:
            copying.begin(client)
            self.copying = copying.OPEN
        elif message_type == codes.COPY_BOTH_RESPONSE and self.dedication is not None:
            self.copying = copying.BOTH
        elif message_type == codes.ERROR_RESPONSE:
            return self._fail(data[pos:after], client, is_first_answer)
        elif ANSWERED_BY[message_type]:
            return self._end_answer(data, pos, client)
        elif INTEREST[message_type]:
            raise unexpected(message_type)
        return None

    def _end_answer(self, data: bytes, pos: int, client: ClientSession) -> bytes | None:
        """Take a message that may be the last answer to one of a segment's messages."""
        rewriter, owed = client.rewriter, client.owed
        message_type = data[pos]
        if message_type == codes.COMMAND_COMPLETE:
            if data.startswith(interest.TAGS_OF_ALL, pos):
                if rewriter is not None:
                    rewriter.deallocated_all(self.statements)
                else:
                    self.statements.clear()
            if self.copying == copying.OPEN:
                self.copying = copying.NOT
                copying.end(client)
            elif self.copying == copying.BOTH:
                self.copying = copying.NOT
                copying.end_both(client)
        if owed and IS_IN_SEGMENT[owed[0]]:
            if rewriter is not None:
                return b"" if rewriter.answered(message_type) else None
            if owed[0] in ANSWERED_BY[message_type]:
                del owed[0]
        return None

    def _fail(self, message: bytes, client: ClientSession, is_first_answer: bool) -> bytes | None:
        """Take an ErrorResponse; return a better one, if there is."""
        rewriter, owed = client.rewriter, client.owed
        better = None
        if not (owed or client.unsynced or self.keeps_client) and self.status == STATUS_IDLE:
            self.close_reason = "server closes the connection"
            return b""  # it stands behind the last answer: the client is rid of this server
        self.has_said_fatal = interest.FATAL in message
        if self.has_said_fatal:
            self.close_reason = "server closes the connection"
        if rewriter is not None and interest.tells_of_stale_plan(message):
            again = rewriter.plan_is_stale(self, is_first_answer=is_first_answer)
            if again:
                self.ask_again(again)
                return b""
        is_in_segment = bool(owed) and IS_IN_SEGMENT[owed[0]]
        if rewriter is not None:
            if is_in_segment:
                better = rewriter.failed(message)
            else:
                rewriter.failed_plain(is_first_answer=is_first_answer)
        if self.copying == copying.OPEN:
            self.copying = copying.NOT
            if copying.fail(client):
                self.copying = copying.IN_DOUBT
                self.has_begun = bool(owed) and owed[0] == _QUERY
                self.close_reason = "COPY failed while a Sync was in flight"
        elif self.copying == copying.BOTH:
            self.copying = copying.NOT
        elif is_in_segment:
            client.fail_segment()
        refusal = client.watch.words_for(message) if client.watch is not None else None
        if refusal is not None or not self.teaches:
            return refusal or better
        if rewriter is not None and better is None:
            better = explain_deallocate(message, rewriter.book)
        if client.names_pass:
            better = explain_passed(message, self.id, self.cancel_key.pid)
        return better

    def _hold(self, data: bytes, pieces: list[bytes] | None, start: int, pos: int) -> int:
        """Keep what stands at `pos` until it is whole; relay what stands before it."""
        self.tail = data[pos:]
        self.body_left = 0
        self.cut = b"".join([*(pieces or ()), data[start:pos]])
        return CUT
