"""What is this client owed, and what may it do next? HOT: `receive` sees every byte of a client.

HOT rule: for messages that pass unchanged, ints and offsets only; the read goes on as it came.

A `ClientSession` belongs to one `ClientConnection` and lives from the end of its login to its
close. It counts the replies its client is owed, and cuts a read only where it must:

  - a small message that has not arrived whole waits in `tail` until it has, so that nobody takes a
    server for half a query; a large one is streamed from its head on;
  - late COPY messages (the server has long reported an error) are dropped while no server is
    linked, as PostgreSQL ignores them between queries;
  - nothing behind a Terminate is read.

It does not know about pools, sockets or time; those who do set the fields below "pairing".
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Final

from pgpool_lite.session import copying, entries
from pgpool_lite.session.connection import ClientSide
from pgpool_lite.session.entries import IS_REQUEST, IS_SILENT, SEGMENT
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
from pgpool_lite.session.parameters import Values
from pgpool_lite.session.states import ClientState
from pgpool_lite.wire import codes, frontend
from pgpool_lite.wire.framing import message_end
from pgpool_lite.wire.frontend import CancelKey

if TYPE_CHECKING:
    from pgpool_lite.session.replication import Replication
    from pgpool_lite.session.rewriter import Rewriter
    from pgpool_lite.session.server import ServerSession
    from pgpool_lite.session.watch import Watch

#: Verdicts of `receive`: what the connection is to do with the read. They are bits.
RELAY: Final = 1  # pass the very object on
CUT: Final = 2  # pass `cut` on instead; it may be empty
SETTLED: Final = 4  # nothing is owed and nothing is open: the pair may part
REWRITE: Final = 32  # nothing has been looked at: this read is the rewriter's

_LENGTH: Final = Struct("!i").unpack_from
# As globals of this module: an attribute of another costs twice as much, at every query.
_QUERY: Final = codes.QUERY
_HEADER_SIZE: Final = codes.HEADER_SIZE
_GOODBYE: Final = frontend.TERMINATE
_WAITING: Final = ClientState.WAITING
_LOGIN: Final = ClientState.LOGIN
_RUNS: Final = copying.RUNS


class ClientSession:
    """One client after its login: replies owed, message boundaries, parameters."""

    #: Its socket, known from `attach` on.
    connection: ClientSide
    #: Hop 6: write these bytes, this very object, to the client. The transport's own method, for a
    #: method of ours around it would cost a call per query.
    relay: Callable[[bytes], None]
    #: For mypyc: what `let_go` deletes.
    __deletable__ = ("connection", "relay")

    __slots__ = (
        "ahead",
        "behind",
        "body_left",
        "cancel_key",
        "connected_at",
        "connection",
        "cut",
        "dropping",
        "id",
        "is_congested",
        "is_leaving",
        "is_proven",
        "names_pass",
        "notified_of",
        "owed",
        "parameters",
        "peer_pid",
        "query_started_at",
        "raw_waits",
        "relay",
        "replication",
        "requested_at",
        "rewriter",
        "rewrites",
        "server",
        "single",
        "skipping",
        "state",
        "tail",
        "unsynced",
        "user",
        "waiting_since",
        "watch",
        "xact_started_at",
    )

    def __init__(
        self,
        session_id: int,
        cancel_key: CancelKey,
        parameters: Values,
        connected_at: float = 0.0,
    ) -> None:
        """Start a session whose client has logged in with these parameter values."""
        # --- identity: the number in SHOW CLIENTS, what BackendKeyData told ---
        self.id = session_id
        self.cancel_key = cancel_key
        self.user = ""  # as it logged in; the pool may belong to another, who it becomes
        self.peer_pid = 0  # of its process, where it came by a Unix socket
        self.is_congested = False  # what is written piles up, for it does not read: go on no more
        self.replication: Replication | None = None  # None for a usual client
        # --- the stream ---
        self.tail = b""  # start of a small message that has not arrived whole
        #: Bytes still to come of a message whose head has been relayed (or dropped).
        self.body_left = 0
        self.dropping = False  # the body that is still to come, instead of relaying it
        self.cut = b""  # what to relay in place of the read, when the verdict is CUT
        self.is_leaving = False  # the client has said Terminate
        # --- replies ---
        #: What is not yet answered, oldest first, a byte each: see `entries`.
        self.owed = bytearray()
        self.single = 0  # the usual entry, with nothing else in flight: see `list_single`
        #: Extended-query messages went out since the last Sync: the server waits for one.
        self.unsynced = False
        #: What the server does with the messages of the open segment: see `copying`.
        self.skipping = copying.RUNS
        # --- named prepared statements ---
        self.rewrites = False  # reads that may name them go to the rewriter, made for the first
        #: Names of statements pass although servers are shared; errors about them are explained.
        self.names_pass = False
        self.rewriter: Rewriter | None = None
        #: Reads wait for the rewriter to look at them, once there is a server; so must this one.
        self.raw_waits = False
        self.watch: Watch | None = None  # looks out for what the client leaves on servers
        # --- session parameters ---
        #: Values of the tracked parameters, as this client knows them.
        self.parameters = parameters
        #: A server has accepted these values once; until then they are tried before use.
        self.is_proven = False
        # --- pairing: moved by Pool, read by everyone ---
        self.state = _LOGIN
        self.server: ServerSession | None = None
        #: Its neighbours among those who wait for a server. Kept by `pool.line.Line`.
        self.ahead: ClientSession | None = None
        self.behind: ClientSession | None = None
        #: Instants by the runtime's clock; 0.0 stands for "not now".
        self.connected_at = connected_at
        self.requested_at = connected_at
        self.waiting_since = 0.0
        #: The `waiting_since` of the wait that it was last told of (query_wait_notify).
        self.notified_of = 0.0
        self.query_started_at = 0.0
        self.xact_started_at = 0.0

    def attach(self, connection: ClientSide, relay: Callable[[bytes], None]) -> None:
        """Know the client's socket from now on by `connection`, and write to it by `relay`."""
        self.connection = connection
        self.relay = relay

    def let_go(self) -> None:
        """Know nobody any more who knows the session: its socket is closed, and nobody will ask.

        All of them would stay until the garbage collector comes by, for which each login paid 2,000
        instructions of 74,000.
        """
        del self.connection, self.relay
        self.rewriter = self.watch = None

    def receive(self, data: bytes) -> int:
        """Take one read; return RELAY or CUT, with SETTLED if the end of a body settles the pair.

        REWRITE alone: the read may name prepared statements, and nothing of it has been taken.

        Raises ClientProtocolError when `data` is not what the protocol allows; the session is of
        no further use then.
        """
        # The usual read of a simple client, one whole Query, taken without a walk. It saves 0.5 us
        # of the 3.4 us that a query costs in Python (bench/micro.py).
        if (
            len(data) >= _HEADER_SIZE
            and data[0] == _QUERY
            and message_end(data, 0) == len(data)
            and not (self.body_left or self.tail or self.unsynced or self.raw_waits)
        ):
            if self.single or self.owed:
                self.list_single()
                self.owed.append(_QUERY)
            else:
                self.single = _QUERY
            if self.rewriter is not None:
                self.rewriter.book.drop_unnamed()  # a Query takes it away
            return RELAY
        if self.single:
            self.list_single()
        if self.rewrites and (self.rewriter is not None or not self._just_leaves(data)):
            return REWRITE
        if self.body_left or self.tail:
            return self._continue(data)
        return self._scan(data, 0)

    def _just_leaves(self, data: bytes) -> bool:
        """Say whether a read is a Terminate, of a client that has nothing under way.

        Who has never named a statement needs no rewriter to leave: made and taken apart again it
        costs a tenth of what Python does for a client that connects for one query.
        """
        return (
            data == _GOODBYE
            and self.server is None
            and self.state is not _WAITING
            and not (self.body_left or self.tail or self.raw_waits or self.is_waiting_for_answers())
        )

    def is_waiting_for_answers(self) -> bool:
        """Say whether anything is in flight: a request, or a segment that is open."""
        return bool(self.single or self.owed or self.unsynced)

    def list_single(self) -> None:
        """Put the usual request into `owed`, if there is one: somebody is about to look there.

        A whole Query or segment with nothing else in flight stands in `single` only. To enter it
        into the list and take it off again costs 900 instructions per query (callgrind, compiled).
        """
        if self.single:
            self.owed.append(self.single)
            self.single = 0

    def _scan(self, data: bytes, pos: int) -> int:
        """Walk over the messages from `pos` on, count what is owed, find where to cut."""
        start = pos if self.dropping else 0  # first byte to relay
        segment = -1  # where a segment begins that this read has opened and not closed
        linked = self.server is not None
        end = len(data)
        owed = self.owed
        check_owed(owed)
        while pos < end:
            if end - pos < codes.HEADER_SIZE:
                return self._hold(data, start, segment, pos)
            message_type = data[pos]
            meaning = MEANINGS[message_type]
            (length,) = _LENGTH(data, pos + 1)
            after = pos + 1 + length
            if meaning == 0 or length < 4:
                check_known(message_type, length)
            if after > end and not linked and length <= HOLD_LIMIT:
                return self._hold(data, start, segment, pos)
            if meaning == REQUEST:
                if self.unsynced and message_type != codes.SYNC:
                    self._request_in_segment(data, segment, pos)
                else:
                    owed.append(message_type if segment < 0 else SEGMENT)
                    self.unsynced = False
                    self.skipping = _RUNS
                segment = -1
            elif meaning == EXTENDED:
                if not self.unsynced:
                    self.unsynced = True
                    segment = pos
                elif segment < 0 and not self.skipping:
                    owed.append(message_type)
                elif segment < 0:
                    copying.check_skipped(self)
            elif meaning == TERMINATE:
                return self._leave(data, start, pos)
            elif pos == start and not linked and self.state is not _WAITING:
                start = after  # a late COPY message, or a Flush of nothing
            elif meaning == COPY_END:
                segment = self._note_copy_end(data, segment, pos)
            pos = after
        self.body_left = pos - end
        self.dropping = start == pos > end
        if segment >= 0:
            self._note_segment(data, segment, min(pos, end))
        elif len(owed) == 1 and not (self.unsynced or self.body_left) and IS_REQUEST[owed[0]]:
            self.single = owed.pop()
        if start == 0:
            return RELAY
        self.cut = data[start:]
        return CUT

    def _request_in_segment(self, data: bytes, segment: int, pos: int) -> None:
        """Note a Query or FunctionCall where Sync would belong: a server in error discards it."""
        if segment >= 0:
            self._note_segment(data, segment, pos)
        if self.skipping:
            copying.check_skipped(self)
        else:
            self.owed.append(data[pos])
            self.unsynced = False

    def _note_copy_end(self, data: bytes, segment: int, pos: int) -> int:
        """List a CopyDone or CopyFail in its place, and so its segment; return -1, for that."""
        if segment >= 0:
            self._note_segment(data, segment, pos)
        if self.owed:
            self.owed.append(entries.COPY_END)
        return -1

    def _note_segment(self, data: bytes, pos: int, end: int) -> None:
        """List the messages of a segment one by one, for want of a Sync that answers for all."""
        while end - pos >= codes.HEADER_SIZE:
            if MEANINGS[data[pos]] == EXTENDED:
                self.owed.append(data[pos])
            pos += 1 + int(_LENGTH(data, pos + 1)[0])

    def _continue(self, data: bytes) -> int:
        """Take a read that does not begin at a message."""
        return self._continue_body(data) if self.body_left else self._continue_tail(data)

    def _continue_body(self, data: bytes) -> int:
        """Take a read that begins inside a streamed (or dropped) body."""
        left = self.body_left
        if left < len(data):
            self.body_left = 0
            verdict = self._scan(data, left)
        else:
            self.body_left = left - len(data)
            verdict = RELAY
            if self.dropping:
                self.cut = b""
                self.dropping = self.body_left > 0
                verdict = CUT
        if not self.body_left and self.server is not None and self.server.is_settled():
            verdict |= SETTLED
        return verdict

    def _continue_tail(self, data: bytes) -> int:
        """Take a read that goes on with a held message."""
        data = self.tail + data
        self.tail = b""
        if self._scan(data, 0) == RELAY:
            self.cut = data
        return CUT

    def _hold(self, data: bytes, start: int, segment: int, pos: int) -> int:
        """Keep what stands at `pos`, part of a small message, until the rest has come."""
        self.tail = data[pos:]
        self.dropping = False
        self.cut = data[start:pos]
        if segment >= 0:
            self._note_segment(data, segment, pos)
        return CUT

    def _leave(self, data: bytes, start: int, pos: int) -> int:
        """Note the Terminate at `pos`; what stands before it is still to be relayed."""
        self.is_leaving = True
        self.cut = data[start:pos]
        return CUT

    # --- on the way back ---

    def take_silent(self) -> bytes:
        """Take off what the server says nothing to; return the answers that we make up."""
        if self.rewriter is not None:
            return self.rewriter.take_silent()
        owed = self.owed
        while owed and IS_SILENT[owed[0]]:
            del owed[0]
        return b""

    def fail_segment(self) -> None:
        """Note that the segment being answered has failed: up to its Sync, all is discarded."""
        sync = self.next_sync()
        if sync >= 0:
            self.owed[: sync + 1] = bytes([codes.SYNC])
        else:
            self.owed.clear()
            self.unsynced = True
            self.skipping = copying.DISCARDS

    def next_sync(self) -> int:
        """Return where in `owed` the next Sync stands, be it that of a whole segment, or -1.

        A Query in a segment may stand before it: if that is discarded, so is what is behind it.
        """
        places = (self.owed.find(codes.SYNC), self.owed.find(SEGMENT))
        return min((place for place in places if place >= 0), default=-1)
