"""Does a client leave something on its server? Looks at the texts it sends. HOT while it is on.

HOT rule: a harmless text costs a `glance`, a message that is no text its header.

A `Watch` belongs to one client session whose pool has session_leaks. It sees each read before the
session does. A Query or Parse that has not arrived whole is kept until it has, or until enough of
it is there to be judged: what is not looked at must not be on its way. Nothing else is kept.

Texts go through `glance`, then through `diagnose`. The text of a Parse that leaves something
is remembered under the statement's name; so of the Binds that follow only those are looked at that
name such a one, and none while there is none. A Bind counts as the statement's running. What comes
of it is told by `evidence`.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from pgpool_lite.diagnose.journal import TEXT_LIMIT
from pgpool_lite.diagnose.leaks import Cleared, Leak, effects_of
from pgpool_lite.diagnose.rules import Harm, Kind, Severity, rule
from pgpool_lite.session.entries import IS_REQUEST
from pgpool_lite.session.evidence import Effect, Evidence
from pgpool_lite.session.glance import is_harmless
from pgpool_lite.session.ledger import Party, head_of, tags_of
from pgpool_lite.session.meaning import HOLD_LIMIT, MEANINGS, REQUEST
from pgpool_lite.session.parameters import APPLICATION_NAME, TrackedParameters
from pgpool_lite.session.tracking import TrackingSession
from pgpool_lite.session.usual import bind_of_usual
from pgpool_lite.wire import codes
from pgpool_lite.wire.framing import message_end

if TYPE_CHECKING:
    from pgpool_lite.session.client import ClientSession

#: Texts of prepared statements that are remembered of one client, and their bytes.
MAX_TEXTS: Final = 1_000
MAX_TEXT_BYTES: Final = 1_048_576

_LENGTH: Final = Struct("!i").unpack_from
_QUERY: Final = codes.QUERY
_PARSE: Final = codes.PARSE
_BIND: Final = codes.BIND
_CLOSE: Final = codes.CLOSE
_HEADER_SIZE: Final = codes.HEADER_SIZE
#: "This client prepared it in SQL": followed where sql_prepared_statements = track.
_SQL_NAME_RULE: Final = "PL010"
#: "Somebody's prepared statement": by PREPARE, or by a Parse whose name passes as it is.
_PREPARED: Final = rule("PL009")
_STATEMENT: Final = ord("S")


def _is_usual_segment(data: bytes) -> bool:
    """Say whether a read is one harmless segment as most drivers send it: see `usual`.

    Saves the walk over its messages: 60 % of what an extended query costs here (bench/micro.py).
    """
    bind = bind_of_usual(data)
    return not bind or (bind > 0 and is_harmless(data[6:bind]))


class Watch:
    """What is known of one client's statements. Owned by its session."""

    __slots__ = (
        "_head",
        "_is_inside",
        "_left",
        "_requests",
        "_session",
        "_text_bytes",
        "_texts",
        "evidence",
        "is_listening",
        "notices",
        "refused",
        "reply",
        "said",
        "told",
        "tracked",
        "wishes",
    )

    def __init__(self, session: ClientSession, tracked: TrackedParameters) -> None:
        """Begin with a client that has said nothing yet."""
        self._session = session
        self.tracked = tracked
        #: What the client asked for at login: what its parameters are reset to.
        self.wishes = session.parameters
        self.evidence = Evidence()
        #: The server's answers matter, or something waits to be told.
        self.is_listening = False
        # --- the stream ---
        #: Bytes still to come of a message that passes, and the start of one that is kept.
        self._left = 0
        self._head = b""
        #: The next read does not begin at a message, or is not to pass.
        self._is_inside = False
        #: Requests that have passed in the read at hand.
        self._requests = 0
        # --- prepared statements that leave something ---
        self._texts: dict[bytes, bytes] = {}
        self._text_bytes = 0
        # --- for the client ---
        #: Answers to what was refused, to be sent at once, before what passes.
        self.reply = b""
        #: What was refused and is not logged yet.
        self.refused: list[Leak] = []
        #: Notices to be sent as soon as no message is half sent.
        self.notices = b""
        #: What the client has been told of, by rule.
        self.told: set[str] = set()
        #: The head of what it has said before it has a server.
        self.said = b""

    # --- from the client ---

    def look(self, data: bytes) -> bytes:
        """Take one read; return what is to pass of it, the very object if all of it is."""
        if not self._is_inside and len(data) > _HEADER_SIZE:
            if data[0] == _QUERY:
                if message_end(data, 0) == len(data) and is_harmless(data[5:]):
                    return data
            elif not self._texts and _is_usual_segment(data):
                return data
        self._requests = 0
        return self._look_closely(data)

    def _look_closely(self, data: bytes) -> bytes:
        """Look at a read that is not the usual one."""
        return self._walk(data)

    def _walk(self, data: bytes) -> bytes:
        """Look at each message; return what is to pass."""
        if self._head:
            data = self._head + data
            self._head = b""
        pos = self._left
        end = len(data)
        while end - pos >= _HEADER_SIZE:
            message_type = data[pos]
            (length,) = _LENGTH(data, pos + 1)
            if length < 4:
                pos = end  # the session says what is wrong with it
                break
            after = pos + 1 + length
            if message_type in (_QUERY, _PARSE):
                if after > end and end - pos < HOLD_LIMIT:
                    break
                leak = self._take_text(data, pos, min(after, end))
                if leak is not None:
                    return self._refuse(data, pos, after, leak)
            elif message_type == _BIND and self._texts:
                self._take_bind(data, pos, min(after, end))
            elif message_type == _CLOSE and self._session.names_pass:
                self._take_close(data, pos, after)
            if MEANINGS[message_type] == REQUEST:
                self._requests += 1
            pos = after
        self._left = max(pos - end, 0)
        if pos < end:
            self._head = data[pos:]
            data = data[:pos]
        self._is_inside = bool(self._left or self._head)
        return data

    def _refuse(self, data: bytes, pos: int, after: int, leak: Leak) -> bytes:
        """Put an error in place of a message: only where statements are refused."""
        raise AssertionError("this watch refuses nothing")

    def _judge(self, leaks: list[Leak]) -> Leak | None:
        """Return a leak that the statement is to be refused for: here none is."""
        return None

    def _take_text(self, data: bytes, pos: int, end: int) -> Leak | None:
        """Look at a Query or Parse; return why it is to be refused, if it is."""
        start = pos + _HEADER_SIZE
        is_parse = data[pos] == _PARSE
        name = b""
        if is_parse:
            name_end = data.find(0, start, end)
            if name_end < 0:
                return None  # nobody can have such a name
            name, start = data[start:name_end], name_end + 1
            if self._texts:
                self._forget_text(name)
        text_end = data.find(0, start, end)
        if text_end < 0:
            text_end = end  # the rest has not come
        text = data[start:text_end]
        if name and self._session.names_pass:
            refused = self._take_name(name, text)
            if refused is not None:
                return refused
        if is_harmless(text):
            return None
        leaks, cleared = self._effects_of(text)
        refused = self._judge(leaks)
        if refused is not None or not (leaks or cleared):
            return refused
        if is_parse:
            self._remember_text(name, text)
        else:
            self._expect(text, leaks, cleared)
        return None

    def _take_bind(self, data: bytes, pos: int, end: int) -> None:
        """Look at a Bind, which may run a statement that leaves something."""
        portal_end = data.find(0, pos + _HEADER_SIZE, end)
        name_end = data.find(0, portal_end + 1, end) if portal_end >= 0 else -1
        text = self._texts.get(data[portal_end + 1 : name_end]) if name_end >= 0 else None
        if text is not None:
            leaks, cleared = self._effects_of(text)
            self._expect(text, leaks, cleared)

    def _take_name(self, name: bytes, text: bytes) -> Leak | None:
        """Look at a Parse whose name passes as it is: the server keeps it for whoever comes."""
        leaks = [Leak(_PREPARED, _shown(name), "", 0)]
        refused = self._judge(leaks)
        if refused is None:
            self._expect(text, leaks, [])
        return refused

    def _take_close(self, data: bytes, pos: int, after: int) -> None:
        """Look at a Close, which takes a statement off that came by its own name."""
        name = data[pos + _HEADER_SIZE + 1 : after - 1]
        if name and data[pos + _HEADER_SIZE] == _STATEMENT:
            self._expect(b"", [], [Cleared(Kind.PREPARED, _shown(name))])

    def _effects_of(self, text: bytes) -> tuple[list[Leak], list[Cleared]]:
        """Return what a text does that concerns other clients, where it runs now."""
        session = self._session
        server = session.server
        is_in_block = server is not None and server.status != codes.STATUS_IDLE
        in_transaction = is_in_block or session.is_waiting_for_answers() or self._requests > 0
        leaks, cleared = effects_of(text, in_transaction=in_transaction)
        return [leak for leak in leaks if self._concerns_others(leak)], cleared

    def _concerns_others(self, leak: Leak) -> bool:
        """Say whether a leak is one here: what follows its client is none."""
        if leak.rule.severity is Severity.NOTE:
            return False
        if leak.rule.kind is Kind.SETTING:
            return not self.tracked.follows(self._session.parameters, leak.name)
        return leak.rule.id != _SQL_NAME_RULE or not isinstance(self._session, TrackingSession)

    def _expect(self, text: bytes, leaks: list[Leak], cleared: list[Cleared]) -> None:
        statement, tags = head_of(text), tags_of(text)
        changes: list[Leak | Cleared] = [*cleared, *leaks]
        effects = [Effect(change, statement, tags) for change in changes]
        if effects:
            session = self._session
            before = sum(IS_REQUEST[entry] for entry in bytes(session.owed))
            before += session.single > 0
            self.is_listening = True
            self.evidence.expect(effects, before + self._requests + 1)

    def _remember_text(self, name: bytes, text: bytes) -> None:
        if len(self._texts) < MAX_TEXTS and self._text_bytes + len(text) <= MAX_TEXT_BYTES:
            self._texts[name] = text
            self._text_bytes += len(text)
        else:
            self.evidence.dropped += 1

    def _forget_text(self, name: bytes) -> None:
        self._text_bytes -= len(self._texts.pop(name, b""))

    # --- from the server ---

    def words_for(self, message: bytes) -> bytes | None:
        """Return our ErrorResponse for a server's about a refused statement, None for any other."""
        return None

    def listen_on(self) -> None:
        """See whether the server's answers matter still."""
        evidence = self.evidence
        self.is_listening = bool(evidence.waiting or evidence.block or self.notices)

    def leftover(self) -> list[Effect]:
        """Return what is not decided although nothing is owed any more."""
        session = self._session
        if not self.evidence.waiting or session.is_waiting_for_answers() or session.raw_waits:
            return []
        return self.evidence.settle()

    # --- where another watch takes its place ---

    @property
    def is_at_rest(self) -> bool:
        """Nothing of a read is kept, nothing is open, and nothing is to be said."""
        return not (self._is_inside or self.evidence.is_open or self.reply or self.notices)

    def take_over(self, other: Watch) -> None:
        """Go on with what another watch, at rest, knows of the client."""
        self.wishes, self.evidence, self.told = other.wishes, other.evidence, other.told
        self._texts, self._text_bytes = other._texts, other._text_bytes

    # --- about the client ---

    @property
    def names_pass(self) -> bool:
        """The names of its prepared statements reach servers as they are."""
        return self._session.names_pass

    def party(self, statement: str, tags: str, now: float) -> Party:
        """Return the client as it is now, with what it said."""
        session = self._session
        address, port = session.connection.address
        return Party(
            client_id=session.id,
            user=session.user,
            address=address,
            port=port,
            application_name=session.parameters[APPLICATION_NAME] or "",
            tags=tags,
            statement=statement,
            at=now,
        )

    def party_of_read(self, data: bytes, now: float) -> Party:
        """Return the client as it is now, with the first text in a read of it."""
        text = first_text(data)
        return self.party(head_of(text), tags_of(text), now)


def first_text(data: bytes) -> bytes:
    """Return the text of the Query or Parse that a read begins with, b"" for any other."""
    if data[:1] not in (b"Q", b"P"):
        return b""
    end = 1 + int(_LENGTH(data, 1)[0]) if len(data) >= _HEADER_SIZE else 0
    start = _HEADER_SIZE if data[0] == _QUERY else data.find(0, _HEADER_SIZE) + 1
    return data[start:end].split(b"\0", 1)[0] if 0 < start < end else b""


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "replace")[:TEXT_LIMIT]


def leaves(leak: Leak) -> bool:
    """Say whether something stands on the server because of it."""
    return leak.rule.harm is Harm.LEAVES
