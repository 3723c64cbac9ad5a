"""What would PostgreSQL answer? A server that knows the message flow and nothing of SQL.

Follows the PostgreSQL documentation, "Message Flow": what a Sync ends, what an error skips, what
COPY ignores. Its answer depends only on the bytes it was sent, never on when or how they came; so
one model spoken to directly tells what a client must see through a pooler. That it answers as the
real one does is tested by `tests/integration/test_model.py`.

Its statements are words:

    BEGIN, COMMIT, ROLLBACK
    SET name='value', SHOW name
    FAIL, SYNTAX             fails when it is run, when it is parsed
    COPY                     from the client; a row that is BAD_ROW fails
    COPY VIEW, COPY CHECKED  fails as soon as it is open, at its CopyDone
    FAIL COPY                never opens
    COPY OUT                 to the client, one row
    nothing                  the empty query
    anything else            gives one row that repeats it

A Query may have several of them between semicolons.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tests.wire_messages import (
    CommandComplete,
    CopyData,
    CopyDone,
    DataRow,
    ErrorResponse,
    ParameterStatus,
    ReadyForQuery,
    RowDescription,
    message,
)

_SET = re.compile(r"SET (\w+)='(.*)'")
_EXITS = ("COMMIT", "ROLLBACK")
#: Words that give no row.
_UTILITY = re.compile(r"BEGIN|COMMIT|ROLLBACK|FAIL( .*)?|COPY( .*)?|SET .*|")
#: A row of COPY data that cannot be read.
BAD_ROW = b"bad\n"
NOTICE = message("N", b"SWARNING\0VWARNING\0C25P01\0Mno transaction, or already one\0\0")
ABORTED = "current transaction is aborted"


class ModelError(Exception):
    """A statement failed."""


class ModelPostgres:
    """One session of a PostgreSQL, after its login."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        self.parameters = dict(parameters)
        self.status = "I"
        #: "" or how the COPY that is open was begun: "simple" or "extended".
        self.copying = ""
        #: An extended-query message failed: everything up to the next Sync is skipped.
        self.is_skipping = False
        #: Extended-query messages came since the last Sync that was not ignored.
        self.is_unsynced = False
        #: A COPY failed, and its client may not know yet.
        self.may_have_late_copy = False
        #: It has closed the connection.
        self.is_gone = False
        #: Texts of prepared statements by name.
        self.statements: dict[str, str] = {}
        self._portal: str | None = None  # the text of the unnamed one
        self._is_portal_done = False
        self._data = b""
        self._said = b""
        # Of the COPY that is open: its word, and what its Query has behind it.
        self._copy = ""
        self._rest: list[str] = []
        # --- what nobody outside can know ---
        #: A pooler may have lost count: `docs/design/decisions.md`, "Counting replies".
        self.is_ambiguous = False
        #: Ends, in what was said last, of answers to Syncs that the COPY might have ignored.
        self.doubtful_ends: list[int] = []
        self._sync_count = 0  # since a COPY of a segment has opened, up to its end
        self._is_in_doubt = False  # a COPY has failed, and its client has not ended it yet
        self._is_discarding = False  # the same, or a Sync in doubt may have ended that

    @property
    def has_half_a_message(self) -> bool:
        """Some message has not arrived whole."""
        return bool(self._data)

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the client; return what is said to them."""
        self._data += data
        self._said = b""
        self.doubtful_ends = []
        while len(self._data) >= 5 and not self.is_gone:
            end = 1 + int.from_bytes(self._data[1:5], "big")
            if len(self._data) < end:
                break
            kind, body = chr(self._data[0]), self._data[5:end]
            self._data = self._data[end:]
            self._doubt(kind)
            self._take(kind, body)
        return self._said

    def client_knows(self) -> None:
        """Note that the client has heard everything: a Sync that it sends now is not in doubt."""
        self._is_in_doubt = False
        self._is_discarding = self._is_discarding and (self.is_skipping or bool(self.copying))

    def _doubt(self, kind: str) -> None:
        """Note what a message means to somebody who does not know how far a COPY was read."""
        if kind == "S":
            self._sync_count += 1
            self._is_discarding = self._is_discarding and (self._is_in_doubt or bool(self.copying))
        elif kind in "cf":
            self._is_in_doubt = False
        elif kind in "PBDECQF" and self._is_discarding:
            self.is_ambiguous |= bool(self._sync_count)
        elif kind in "PBDECQF":
            self._is_in_doubt = False

    def _take(self, kind: str, body: bytes) -> None:
        if self.copying:
            self._take_copy(kind, body)
        elif kind == "X":
            self.is_gone = True
        elif kind in "dcf":
            pass  # a COPY failed while its client was still sending
        elif kind == "S":
            self._sync()
        elif not self.is_skipping:
            self.may_have_late_copy = False
            self._take_request(kind, body)

    def _sync(self) -> None:
        self.is_skipping = self.is_unsynced = False
        if self.status == "I":
            self._portal = None
        self._ready()
        if self._is_in_doubt:
            self.doubtful_ends.append(len(self._said))

    def _take_request(self, kind: str, body: bytes) -> None:
        try:
            if kind == "Q":
                self._query(body[:-1].decode())
            elif kind == "F":
                self.is_unsynced = False
                self._say(message("V", b"\0\0\0\0017"))
            elif kind != "H":
                self.is_unsynced = True
                self._take_extended(kind, body)
        except ModelError as error:
            self._fail(str(error), "simple" if kind in "QF" else "extended")
        if kind == "F" or (kind == "Q" and not self.copying):
            self._ready()

    def _query(self, sql: str) -> None:
        self.is_unsynced = False
        self.statements.pop("", None)
        if "SYNTAX" in sql.split(";"):
            raise ModelError("syntax error")
        self._run_all(sql.split(";"))

    def _run_all(self, words: list[str]) -> None:
        """Run what a Query has, up to a COPY or to its end."""
        for number, word in enumerate(words):
            if word:
                self._check_status(word)
            self._portal, self._is_portal_done = word, True
            self._run(word, "simple")
            if self.copying:
                self._rest = words[number + 1 :]
                return
            self._portal = None

    def _take_extended(self, kind: str, body: bytes) -> None:
        first, second = [*body.split(b"\0"), b""][:2]
        if kind == "P":
            self._prepare(first.decode(), second.decode())
        elif kind == "B":
            word = self._find(second.decode())
            self._check_status(word)
            self._portal, self._is_portal_done = word, False
            self._say(message("2"))
        elif kind == "D":
            self._describe(first[:1].decode(), first[1:].decode())
        elif kind == "C":
            self.statements.pop(first[1:].decode(), None)
            self._say(message("3"))
        else:
            assert kind == "E"
            self._execute()

    def _prepare(self, name: str, sql: str) -> None:
        if not name:
            self.statements.pop("", None)
        if sql == "SYNTAX":
            raise ModelError("syntax error")
        if sql:
            self._check_status(sql)
        if name and name in self.statements:
            raise ModelError(f'prepared statement "{name}" already exists')
        self.statements[name] = sql
        self._say(message("1"))

    def _describe(self, what: str, name: str) -> None:
        word = self._find(name) if what == "S" else self._open_portal()
        gives_rows = not _UTILITY.fullmatch(word)
        if gives_rows:
            self._check_status(word)
        if what == "S":
            self._say(message("t", b"\0\0"))
        self._say(RowDescription("it") if gives_rows else message("n"))

    def _execute(self) -> None:
        word = self._open_portal()
        if word:
            self._check_status(word)
        if not self._is_portal_done:
            self._is_portal_done = bool(word)
            self._run(word, "extended")
        elif _UTILITY.fullmatch(word):
            raise ModelError('portal "" cannot be run')
        else:
            self._say(CommandComplete("SELECT 0"))

    def _find(self, name: str) -> str:
        if name not in self.statements:
            raise ModelError(f'prepared statement "{name}" does not exist')
        return self.statements[name]

    def _open_portal(self) -> str:
        if self._portal is None:
            raise ModelError('portal "" does not exist')
        return self._portal

    def _check_status(self, word: str) -> None:
        if self.status == "E" and word not in _EXITS:
            raise ModelError(ABORTED)

    def _run(self, word: str, how: str) -> None:
        change = _SET.fullmatch(word)
        if word == "":
            self._say(message("I"))
        elif word == "BEGIN":
            self._say(NOTICE * (self.status == "T") + CommandComplete("BEGIN"))
            self.status = "T"
        elif word in _EXITS:
            tag = "ROLLBACK" if self.status == "E" else word
            self._say(NOTICE * (self.status == "I") + CommandComplete(tag))
            self.status = "I"
        elif word == "COPY OUT":
            self._say(message("H", b"\0\0\0") + CopyData(b"row\n") + CopyDone())
            self._say(CommandComplete("COPY 1"))
        elif word.startswith("COPY"):
            self._begin_copy(word, how)
        elif word.startswith("FAIL"):
            self.may_have_late_copy = "COPY" in word
            raise ModelError(word)
        elif change:
            self.parameters[change[1]] = change[2]
            self._say(CommandComplete("SET") + ParameterStatus(change[1], change[2]))
        else:
            name = word.removeprefix("SHOW ")
            self._say(RowDescription("it") * (how == "simple"))
            self._say(DataRow(self.parameters.get(name, word)) + CommandComplete("SELECT 1"))

    # --- COPY from the client ---

    def _begin_copy(self, word: str, how: str) -> None:
        self._say(message("G", b"\0\0\0"))
        self.copying, self._copy = how, word
        self._sync_count = 0
        self._is_discarding = how == "extended"
        if word == "COPY VIEW":
            self.copying = ""
            self.may_have_late_copy = self._is_in_doubt = True
            raise ModelError("cannot copy to view")

    def _take_copy(self, kind: str, body: bytes) -> None:
        if kind in "HS" or (kind == "d" and body != BAD_ROW):
            return  # Flush and Sync are ignored
        how = self.copying
        if kind == "d":
            self._fail_copy("bad row")
        elif kind == "c" and self._copy == "COPY CHECKED":
            self._fail_copy("check failed")
        elif kind == "c":
            self._end_copy()
        elif kind == "f":
            self._fail_copy("COPY from stdin failed")
        else:
            self._say(ErrorResponse("unexpected message type during COPY from stdin"))
            lost = "terminating connection because protocol synchronization was lost"
            self._say(ErrorResponse(lost, severity="FATAL", sqlstate="08P01"))
            self.is_gone = True
        if how == "simple" and not (self.copying or self.is_gone):
            self._ready()
        if kind in "cf":
            self._is_in_doubt = False

    def _end_copy(self) -> None:
        how, self.copying = self.copying, ""
        self._is_discarding = self._is_in_doubt = False
        self._say(CommandComplete("COPY 1"))
        if how == "simple":
            self._portal = None
            try:
                self._run_all(self._rest)
            except ModelError as error:
                self._fail(str(error), how)

    def _fail_copy(self, sentence: str) -> None:
        how, self.copying = self.copying, ""
        self.may_have_late_copy = self._is_in_doubt = True
        self._fail(sentence, how)

    def _fail(self, sentence: str, how: str) -> None:
        self._say(ErrorResponse(sentence))
        if self.status == "I":
            self._portal = None  # else it stays, to be described, until the block has ended
        self.is_skipping = how == "extended"
        if self.status == "T":
            self.status = "E"

    def _ready(self) -> None:
        self._say(ReadyForQuery(self.status))

    def _say(self, data: bytes) -> None:
        self._said += data
