"""What does this server still have to say, and is it done? HOT: `receive` sees every reply.

HOT rule: rows and everything else that only passes are skipped by `framing.scan`; the read goes on
as it came. Only the messages in `_INTEREST` are looked at, because pooling hangs on them.

A `ServerSession` belongs to one `ServerConnection` and lives from the end of its login to its
close. While it is linked its replies belong to `client`; replies to queries of our own (a SET that
gives it the client's parameters, a check, a reset) are swallowed and never reach anyone.

Which ReadyForQuery answers which request is the one thing a pooler must never get wrong. The
client's `owed` lists its requests in order; each ReadyForQuery takes the oldest away. Two rules of
the protocol make requests that are never answered, and take them off the list:

  - After an error in a segment (Parse, Bind ... up to a Sync) the server discards everything up to
    the Sync, a Query too. So a segment that does not end in the read that began it is listed
    message by message, and its answers are counted off one by one.
  - A server in copy-in mode ignores Sync (PostgreSQL documentation, "COPY Operations"), so Syncs
    sent before the CopyDone go when the copy ends.
"""

from __future__ import annotations

from typing import Final

from pgpool_lite.errors import ServerError, ServerProtocolError
from pgpool_lite.session.client import CUT, RELAY, SETTLED, ClientSession
from pgpool_lite.session.connection import ServerSide
from pgpool_lite.session.entries import (
    ANSWERED_BY,
    ANSWERS,
    IS_COPY_END,
    IS_IN_SEGMENT,
    IS_REQUEST,
    IS_UNSENT,
)
from pgpool_lite.session.parameters import TrackedParameters, Values
from pgpool_lite.session.statements import ServerStatements
from pgpool_lite.session.states import ServerState
from pgpool_lite.wire import backend, codes
from pgpool_lite.wire.framing import interest_in, message_end, scan
from pgpool_lite.wire.frontend import CancelKey, encode_query

#: Two more bits for verdicts: a query of our own has been answered; the client is owed nothing.
OWN_DONE: Final = 8
ANSWERED: Final = 16

#: A ParameterStatus or CommandComplete is held until it is whole; nothing honest is longer.
HOLD_LIMIT: Final = 1_048_576

_PASSING: Final = (
    codes.PARSE_COMPLETE,
    codes.BIND_COMPLETE,
    codes.CLOSE_COMPLETE,
    codes.NOTIFICATION_RESPONSE,
    codes.COPY_DONE,
    codes.COPY_DATA,
    codes.COPY_OUT_RESPONSE,
    codes.COMMAND_COMPLETE,
    codes.DATA_ROW,
    codes.EMPTY_QUERY_RESPONSE,
    codes.FUNCTION_CALL_RESPONSE,
    codes.NO_DATA,
    codes.NOTICE_RESPONSE,
    codes.PARAMETER_DESCRIPTION,
    codes.PORTAL_SUSPENDED,
    codes.ROW_DESCRIPTION,
)
#: Everything that does not merely pass needs attention, unknown types too: they end the session.
_INTEREST: Final = interest_in(*(set(range(256)) - set(_PASSING)))
#: While a copy from the client is open, its CommandComplete matters as well.
_INTEREST_IN_COPY: Final = interest_in(*(set(range(256)) - set(_PASSING)), codes.COMMAND_COMPLETE)

#: An idle server may only send a notice, a notification, a changed parameter, or its last error.
_INTEREST_IDLE: Final = interest_in(
    *(set(range(256)) - {codes.NOTICE_RESPONSE, codes.NOTIFICATION_RESPONSE})
)

#: Messages of interest whose body matters; of the others the header is enough.
_NEEDED_WHOLE: Final = interest_in(codes.READY_FOR_QUERY, codes.PARAMETER_STATUS)
_NEEDED_WHOLE_OWN: Final = interest_in(
    codes.READY_FOR_QUERY, codes.PARAMETER_STATUS, codes.ERROR_RESPONSE
)
_ALL: Final = bytes([1]) * 256

_READY_SIZE: Final = 6
_READY_HEAD: Final = b"Z\0\0\0\5"
_STATUS_IDLE: Final = codes.STATUS_IDLE
_STATUSES: Final = b"ITE"

#: In a segment that is listed message by message, what ends an answer matters as well.
_INTEREST_IN_DETAIL: Final = interest_in(*(set(range(256)) - set(_PASSING)), *ANSWERS)
#: The rewriter must see DEALLOCATE ALL and DISCARD ALL go by.
_INTEREST_IN_TAGS: Final = _INTEREST_IN_COPY
_TAGS_OF_ALL: Final = (b"C\0\0\0\x13DEALLOCATE ALL\0", b"C\0\0\0\x10DISCARD ALL\0")
#: SQLSTATE and a word of "cached plan must not change result type"; the rest is translated.
_STALE_PLAN: Final = b"\0C0A000\0"
_STALE_PLAN_ROUTINE: Final = b"\0RRevalidateCachedQuery\0"


class ServerSession:
    """One server connection after its login: transaction status, replies, parameters."""

    __slots__ = (
        "body_left",
        "cancel_key",
        "cancels_in_flight",
        "client",
        "close_reason",
        "connected_at",
        "connection",
        "copying_in",
        "cut",
        "forbids_blocks",
        "id",
        "interest",
        "is_at_answer",
        "own_failure",
        "parameters",
        "released_at",
        "requested_at",
        "retires_at",
        "state",
        "statements",
        "status",
        "swallowing",
        "tail",
        "tracked",
    )

    def __init__(
        self,
        session_id: int,
        tracked: TrackedParameters,
        statements: ServerStatements,
        connected_at: float = 0.0,
    ) -> None:
        """Start with a connection that is about to be opened; `logged_in` completes it."""
        # --- identity ---
        #: Number in SHOW SERVERS and in the log; never used again.
        self.id = session_id
        #: What the server wants to see in a CancelRequest.
        self.cancel_key = CancelKey(0, b"")
        #: The connection around this session, set by that connection.
        self.connection: ServerSide

        # --- the stream ---
        #: Start of a message that must be whole, or of a header.
        self.tail = b""
        #: Bytes still to come of a message whose head has been relayed (or swallowed).
        self.body_left = 0
        #: What to relay in place of the read, when the verdict is CUT.
        self.cut = b""
        #: Which messages `receive` looks at now.
        self.interest = _INTEREST_IN_TAGS
        #: The next message begins the answer to the oldest request.
        self.is_at_answer = True

        # --- replies ---
        #: Transaction status as the last ReadyForQuery said it.
        self.status: int = codes.STATUS_IDLE
        #: Queries of our own whose answers come before the client's, and are swallowed.
        self.swallowing = 0
        #: What to say when such a query fails.
        self.own_failure = ""
        #: The server reads COPY data: it sent CopyInResponse, and neither end nor error since.
        self.copying_in = False
        #: Statement pooling: a transaction block ends the pairing at once.
        self.forbids_blocks = False
        #: Why this server must not be used again once it is free; "" while it may.
        self.close_reason = ""

        # --- named prepared statements ---
        #: What this server has prepared, for any client whose names are rewritten.
        self.statements = statements

        # --- session parameters ---
        self.tracked = tracked
        #: Values of the tracked parameters, as this server last reported them.
        self.parameters: Values = tracked.values_of({})

        # --- pairing: moved by Pool, read by everyone ---
        self.state = ServerState.LOGIN
        self.client: ClientSession | None = None
        #: CancelRequests on their way to this server; while there is one it is not reused.
        self.cancels_in_flight = 0
        #: Instants by the runtime's clock.
        self.connected_at = connected_at
        self.requested_at = connected_at
        self.released_at = connected_at
        self.retires_at = float("inf")

    def logged_in(self, cancel_key: CancelKey, parameters: Values) -> None:
        """Take over what the server said during its login."""
        self.cancel_key = cancel_key
        self.parameters = parameters

    def is_settled(self) -> bool:
        """Say whether the pair may part: all answered, nothing open, nothing half-sent."""
        client = self.client
        return (
            self.status == _STATUS_IDLE
            and client is not None
            and not (
                client.owed
                or client.unsynced
                or client.body_left
                or self.body_left
                or self.tail
                or self.swallowing
            )
        )

    def adopt(self, client: ClientSession) -> bytes:
        """Return the Query that gives this server the client's parameters, or b"" if it has them.

        The caller sends it in front of the client's own messages; its answer is swallowed.
        """
        sql = self.tracked.difference_sql(client.parameters, self.parameters)
        return self.ask(sql, "invalid server parameter") if sql else b""

    def ask(self, sql: str, failure: str) -> bytes:
        """Return a Query of our own and expect its answer; `receive` says OWN_DONE when it came.

        Only while the server owes nothing to anybody. `failure` is what the log and a linked
        client read when the server refuses it.
        """
        self.swallowing += 1
        self.own_failure = failure
        self.statements.unnamed = None  # a Query takes it away
        return encode_query(sql)

    def receive(self, data: bytes) -> int:
        """Take one read; return RELAY or CUT, with SETTLED and OWN_DONE as they apply.

        Raises ServerProtocolError when `data` is not what the protocol allows here, ServerError
        when a query of our own failed; the server must be closed then.
        """
        client = self.client
        if self.tail:
            return self._continue_tail(data)
        if client is None or self.swallowing:
            return self._swallow(data, self.body_left)
        return self._follow(data, 0, self.body_left, client)

    def _continue_tail(self, data: bytes) -> int:
        """Take a read that goes on with a held message."""
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
        answer_start = pos if self.is_at_answer else -1  # where the oldest request's answer begins
        while pos < end:
            is_listed = owed and IS_IN_SEGMENT[owed[0]]
            pos = scan(data, pos, _INTEREST_IN_DETAIL if is_listed else self.interest)
            if pos >= end:
                break
            # The usual message of interest, recognised without a call.
            if data.startswith(_READY_HEAD, pos) and pos + _READY_SIZE <= end:
                self._ready(data[pos + 5], client)
                pos = answer_start = pos + _READY_SIZE
                if not owed or not IS_UNSENT[owed[0]]:
                    continue
                after, change = pos, b""
            else:
                after = _message_end(data, pos, _NEEDED_WHOLE if client.rewriter is None else _ALL)
                if after == 0:
                    return self._hold(data, pieces, start, pos)
                change = self._attend(data, pos, after, client, pos == answer_start)
            if client.rewriter is not None and owed and IS_UNSENT[owed[0]]:
                change = (data[pos:after] if change is None else change) + (
                    client.rewriter.take_unsent()
                )
            if change is not None:
                pieces = [*(pieces or ()), data[start:pos], change]
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
        return verdict | (ANSWERED | SETTLED if self.is_settled() else ANSWERED)

    def _ready(self, status: int, client: ClientSession) -> None:
        """Take a ReadyForQuery: the client's oldest request has its answer."""
        if status != _STATUS_IDLE:
            if status not in _STATUSES:
                raise ServerProtocolError(f"server sent ReadyForQuery with status 0x{status:02x}")
            if self.forbids_blocks:
                raise ServerError("transaction blocks not allowed in statement pooling mode")
        self.status = status
        owed = client.owed
        while owed:
            answered = owed[0]
            if IS_IN_SEGMENT[answered]:
                raise ServerProtocolError("server sent ReadyForQuery before its other answers")
            del owed[0]
            if IS_REQUEST[answered]:
                if answered == codes.QUERY:
                    self.statements.unnamed = None
                return  # passed over: a CopyDone whose copy never opened, or is over
        if not self.close_reason:
            raise ServerProtocolError("server sent ReadyForQuery that nobody asked for")

    def _attend(
        self, data: bytes, pos: int, after: int, client: ClientSession, is_first_answer: bool
    ) -> bytes | None:
        """Take a message other than ReadyForQuery that pooling hangs on.

        Return what goes to the client in its place, None for the message itself.
        """
        message_type = data[pos]
        if message_type == codes.PARAMETER_STATUS:
            name, value = self._note_parameter(data[pos + codes.HEADER_SIZE : after])
            client.parameters = self.tracked.with_value(client.parameters, name, value)
        elif message_type == codes.COPY_IN_RESPONSE:
            self.copying_in = True
            self.interest = _INTEREST_IN_COPY
        elif message_type == codes.ERROR_RESPONSE:
            return self._fail(data[pos:after], client, is_first_answer)
        elif ANSWERED_BY[message_type]:
            return self._end_answer(data, pos, client)
        else:
            raise _unexpected(message_type)
        return None

    def _end_answer(self, data: bytes, pos: int, client: ClientSession) -> bytes | None:
        """Take a message that may be the last answer to one of a segment's messages."""
        rewriter, owed = client.rewriter, client.owed
        message_type = data[pos]
        if message_type == codes.COMMAND_COMPLETE:
            if rewriter is not None and data.startswith(_TAGS_OF_ALL, pos):
                rewriter.deallocated_all()
            if self.copying_in:
                self._end_copy(client, failed=False)
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
        if rewriter is not None and _STALE_PLAN in message and _STALE_PLAN_ROUTINE in message:
            rewriter.plan_is_stale()
        if self.copying_in:
            self._end_copy(client, failed=True)
        elif owed and IS_IN_SEGMENT[owed[0]]:
            better = rewriter.failed(message) if rewriter is not None else None
            _fail_segment(client)
        elif rewriter is not None:
            rewriter.failed_plain(is_first_answer=is_first_answer)
        return better

    def _end_copy(self, client: ClientSession, *, failed: bool) -> None:
        """Take the Syncs that a copy-in swallowed off the list of requests owed.

        The list looks like [Query or nothing, Syncs ignored, CopyDone, Sync that ends the batch].
        """
        self.copying_in = False
        self.interest = _INTEREST_IN_TAGS
        owed = client.owed
        first = 1 if owed and owed[0] == codes.QUERY else 0
        copy_end = next((i for i in range(first, len(owed)) if IS_COPY_END[owed[i]]), None)
        if copy_end is not None:
            del owed[first : copy_end + 1]
        elif failed and len(owed) > first:
            # The error came before the client's CopyDone. The Sync behind Execute was ignored, but
            # had the error struck before the server read it, it will be answered: do not rely on
            # counting any more, end with this transaction.
            del owed[first:]
            client.unsynced = client.is_skipping = True
            self.close_reason = "COPY failed while a Sync was in flight"

    def _swallow(self, data: bytes, pos: int) -> int:
        """Take replies that are not the client's: to our own queries, or to nobody."""
        end = len(data)
        interest = _INTEREST if self.swallowing else _INTEREST_IDLE
        while True:
            pos = scan(data, pos, interest)
            if pos >= end:
                self.body_left = pos - end
                self.cut = b""
                return CUT
            after = _message_end(data, pos, _NEEDED_WHOLE_OWN)
            if after == 0:
                return self._hold(data, None, pos, pos)
            if data[pos] != codes.READY_FOR_QUERY:
                self._attend_own(data, pos, after)
            elif self._own_ready(data[pos + 5]):
                return self._after_own(data, after)
            pos = after

    def _attend_own(self, data: bytes, pos: int, after: int) -> None:
        """Take a message that answers a query of our own, or comes to an idle server."""
        body = data[pos + codes.HEADER_SIZE : after]
        if data[pos] == codes.PARAMETER_STATUS:
            self._note_parameter(body)
        elif data[pos] == codes.ERROR_RESPONSE:
            said = backend.decode_error(body)
            reason = self.own_failure if self.swallowing else "server closed the connection"
            raise ServerError(reason, detail=f"{said.severity} {said.sqlstate} {said.message}")
        else:
            raise _unexpected(data[pos])

    def _own_ready(self, status: int) -> bool:
        """Take the ReadyForQuery of a query of our own; say whether it was the last one."""
        if not self.swallowing:
            raise ServerProtocolError("idle server got dirty")
        if status != codes.STATUS_IDLE:
            raise ServerError(self.own_failure, detail="It left a transaction open.")
        self.swallowing -= 1
        return not self.swallowing

    def _after_own(self, data: bytes, after: int) -> int:
        """Go on behind the answer to a query of our own."""
        client = self.client
        if client is None:
            return self._swallow(data, after) | OWN_DONE
        client.parameters = self.parameters  # as the server spells them: utf-8 is now UTF8
        client.is_proven = True
        return self._follow(data, after, after, client) | OWN_DONE

    def _note_parameter(self, body: bytes) -> tuple[str, str]:
        """Remember what the server reports; return name and value."""
        name, value = backend.decode_parameter_status(body)
        self.parameters = self.tracked.with_value(self.parameters, name, value)
        return name, value

    def _hold(self, data: bytes, pieces: list[bytes] | None, start: int, pos: int) -> int:
        """Keep what stands at `pos` until it is whole; relay what stands before it."""
        self.tail = data[pos:]
        self.body_left = 0
        self.is_at_answer = False
        self.cut = b"".join([*(pieces or ()), data[start:pos]])
        return CUT


def _fail_segment(client: ClientSession) -> None:
    """Note that the segment being answered has failed: up to its Sync, nothing more is answered."""
    owed = client.owed
    sync = owed.find(codes.SYNC)
    if sync >= 0:
        del owed[:sync]
    else:
        owed.clear()
        client.unsynced = client.is_skipping = True


def _message_end(data: bytes, pos: int, needed_whole: bytes) -> int:
    """Return where the message at `pos` ends, or 0 if more of it is needed to go on."""
    if len(data) - pos < codes.HEADER_SIZE:
        return 0
    after = message_end(data, pos)
    size = after - pos
    is_ready = data[pos] == codes.READY_FOR_QUERY
    if size < codes.HEADER_SIZE or (is_ready and size != _READY_SIZE):
        raise ServerProtocolError(f"server sent message '{chr(data[pos])}' with a wrong length")
    if after <= len(data) or not needed_whole[data[pos]]:
        return after
    if size > HOLD_LIMIT:
        raise ServerProtocolError(f"server sent message '{chr(data[pos])}' of {size} bytes")
    return 0


def _unexpected(message_type: int) -> ServerProtocolError:
    name = chr(message_type) if 32 < message_type < 127 else f"0x{message_type:02x}"
    return ServerProtocolError(
        "unknown pkt", detail=f"The server sent a message of type '{name}', unexpected here."
    )
