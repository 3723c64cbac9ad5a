"""What does a server answer to us, not to a client? Queries of our own, and what comes unasked.

A SET that gives a server its next client's parameters, a check, a reset, a connect_query: each is a
Query of ours, and its answer is swallowed. A server that refuses one is of no further use, unless
it was the connect_query. The end of an answer is swallowed as well where the client's segment has
been sent again, as `usual` tells. An idle server may also speak unasked: a notice, a notification,
a changed parameter, or its last error. `OwnQueries` is the part of `ServerSession` that deals with
these; nothing of it runs while a client's answers pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pgpool_lite.errors import ServerError, ServerProtocolError
from pgpool_lite.session import interest
from pgpool_lite.session.client import CUT, ClientSession
from pgpool_lite.session.interest import NEEDED_WHOLE_OWN, unexpected, whole_end
from pgpool_lite.session.ledger import Errand, Ledger
from pgpool_lite.session.parameters import TrackedParameters, Values
from pgpool_lite.session.statements import ServerStatements
from pgpool_lite.session.states import ServerState
from pgpool_lite.wire import backend, codes
from pgpool_lite.wire.framing import scan
from pgpool_lite.wire.frontend import encode_query

#: A bit for verdicts: a query of our own has been answered.
OWN_DONE: Final = 8


class OwnQueries:
    """The part of a server session that answers to us. Fields are explained in `ServerSession`."""

    __slots__ = (
        "body_left",
        "client",
        "cut",
        "dropping",
        "errand",
        "is_at_answer",
        "ledger",
        "own_failure",
        "own_refusal",
        "parameters",
        "relay",
        "state",
        "statements",
        "swallowing",
        "tracked",
    )

    body_left: int
    client: ClientSession | None
    cut: bytes
    dropping: bool
    errand: Errand | None
    is_at_answer: bool
    ledger: Ledger | None
    own_failure: str
    own_refusal: str
    parameters: Values
    #: Hop 4: write these bytes, this very object, to the server. The transport's own method.
    relay: Callable[[bytes], None]
    state: ServerState
    statements: ServerStatements
    swallowing: int
    tracked: TrackedParameters

    def _follow(self, data: bytes, start: int, pos: int, client: ClientSession) -> int:
        raise AssertionError("ServerSession has it")

    def _hold(self, data: bytes, pieces: list[bytes] | None, start: int, pos: int) -> int:
        raise AssertionError("ServerSession has it")

    def adopt(self, client: ClientSession) -> bytes:
        """Return the Query that gives this server the client's parameters, or b"" if it has them.

        The caller sends it in front of the client's own messages; its answer is swallowed.
        """
        sql = self.tracked.difference_sql(client.parameters, self.parameters)
        if not sql:
            return b""
        self.parameters = self.tracked.adopted(client.parameters, self.parameters)
        return self.ask(sql, "invalid server parameter")

    def ask(self, sql: str, failure: str) -> bytes:
        """Return a Query of our own and expect its answer; `receive` says OWN_DONE when it came.

        Only while the server owes nothing to anybody. `failure` is what the log and a linked
        client read when the server refuses it.
        """
        self.swallowing += 1
        self.own_failure = failure
        self.statements.unnamed = None  # a Query takes it away
        return encode_query(sql)

    def ask_again(self, data: bytes) -> None:
        """Send a client's segment once more, whose first message has failed.

        Nobody sees the end of the failed one's answer: the ReadyForQuery.
        """
        self.swallowing += 1
        self.own_failure = "server went on after an error"
        self.is_at_answer = True
        self.relay(data)

    def _swallow_rest(self, data: bytes, pos: int, relayed: bytes) -> int:
        """Swallow from `pos` on; `relayed` is what the client gets of what stands before it."""
        verdict = self._swallow(data, pos)
        self.cut = relayed + self.cut
        return verdict

    def _swallow(self, data: bytes, pos: int) -> int:
        """Take replies that are not the client's: to our own queries, or to nobody."""
        end = len(data)
        table = interest.INTEREST_OWN if self.swallowing else interest.INTEREST_IDLE
        while True:
            pos = scan(data, pos, table)
            if pos >= end:
                self.body_left = pos - end
                self.dropping = pos > end
                self.cut = b""
                return CUT
            after = whole_end(data, pos, NEEDED_WHOLE_OWN)
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
        elif data[pos] == codes.COMMAND_COMPLETE and self.swallowing:
            if data.startswith(interest.TAGS_OF_ALL, pos):
                self.statements.clear()
        elif data[pos] == codes.ERROR_RESPONSE:
            said = backend.decode_error(body)
            if self.swallowing and self.state is ServerState.LOGIN:
                self.own_refusal = f"{said.severity}: {said.message}"
                return
            reason = self.own_failure if self.swallowing else "server closed the connection"
            raise ServerError(reason, detail=f"{said.severity} {said.sqlstate} {said.message}")
        else:
            raise unexpected(data[pos])

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
        # As the server spells them: utf-8 is now UTF8.
        client.parameters = self.tracked.spelled(client.parameters, self.parameters)
        client.is_proven = True
        return self._follow(data, after, after, client) | OWN_DONE

    def _note_parameter(self, body: bytes) -> tuple[str, str]:
        """Remember what the server reports; return name and value."""
        name, value = backend.decode_parameter_status(body)
        self.parameters = self.tracked.with_value(self.parameters, name, value)
        return name, value
