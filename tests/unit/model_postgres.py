"""What would PostgreSQL answer? A server that knows the message flow and nothing of SQL.

Follows the PostgreSQL documentation, "Message Flow": what a Sync ends, what an error skips, what
COPY ignores. Its answer depends only on the bytes it was sent, never on when or how they came; so
one model spoken to directly tells what a client must see through a pooler.

Its statements are words: BEGIN, COMMIT, ROLLBACK, FAIL, COPY (from the client), SET name='value',
SHOW name, nothing, and anything else gives one row that repeats it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tests.wire_messages import (
    CommandComplete,
    DataRow,
    ErrorResponse,
    ParameterStatus,
    ReadyForQuery,
    RowDescription,
    message,
)

_SET = re.compile(r"SET (\w+)='(.*)'")
#: A row of COPY data that cannot be read.
BAD_ROW = b"bad\n"


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
        #: Extended-query messages came since the last Sync.
        self.is_unsynced = False
        #: A COPY failed, and its client may not know yet.
        self.may_have_late_copy = False
        self.is_gone = False
        self._data = b""
        #: Texts of prepared statements by name, and of the unnamed portal.
        self.statements: dict[str, str] = {}
        self._portal = ""
        self._said = b""

    @property
    def has_half_a_message(self) -> bool:
        """Some message has not arrived whole."""
        return bool(self._data)

    def receive(self, data: bytes) -> bytes:
        """Take bytes from the client; return what is said to them."""
        self._data += data
        self._said = b""
        while len(self._data) >= 5:
            end = 1 + int.from_bytes(self._data[1:5], "big")
            if len(self._data) < end:
                break
            kind, body = chr(self._data[0]), self._data[5:end]
            self._data = self._data[end:]
            self._take(kind, body)
        return self._said

    def _take(self, kind: str, body: bytes) -> None:
        if kind == "X":
            self.is_gone = True
        elif self.copying:
            self._take_copy(kind, body)
        elif kind in "dcf":
            pass  # a COPY failed while its client was still sending
        elif kind == "S":
            self.is_skipping = self.is_unsynced = False
            self._ready()
        elif not self.is_skipping:
            self.may_have_late_copy = False
            self._take_request(kind, body)

    def _take_request(self, kind: str, body: bytes) -> None:
        try:
            if kind == "Q":
                self.is_unsynced = False
                self._run(body[:-1].decode(), "simple")
            elif kind == "H":
                pass
            else:
                self.is_unsynced = True
                self._take_extended(kind, body)
        except ModelError as error:
            self._fail(str(error))
            self.is_skipping = kind != "Q"
        if kind == "Q" and not self.copying:
            self._ready()

    def _take_extended(self, kind: str, body: bytes) -> None:
        first, second = [*body.split(b"\0"), b""][:2]
        if kind == "P":
            self._prepare(first.decode(), second.decode())
        elif kind == "B":
            self._portal = self._find(second.decode())
            self._say(message("2"))
        elif kind == "D":
            is_statement = first.startswith(b"S") and self._find(first[1:].decode()) is not None
            self._say(message("t", b"\0\0") * is_statement + message("n"))
        elif kind == "C":
            self.statements.pop(first[1:].decode(), None)
            self._say(message("3"))
        else:
            assert kind == "E"
            self._run(self._portal, "extended")

    def _prepare(self, name: str, sql: str) -> None:
        if name and name in self.statements:
            raise ModelError(f'prepared statement "{name}" already exists')
        self.statements[name] = sql
        self._say(message("1"))

    def _find(self, name: str) -> str:
        if name not in self.statements:
            raise ModelError(f'prepared statement "{name}" does not exist')
        return self.statements[name]

    def _run(self, sql: str, how: str) -> None:
        for statement in sql.split(";"):
            if self.status == "E" and statement not in ("COMMIT", "ROLLBACK"):
                raise ModelError("current transaction is aborted")
            self._run_one(statement, how)

    def _run_one(self, statement: str, how: str) -> None:
        change = _SET.fullmatch(statement)
        if statement == "":
            self._say(message("I"))
        elif statement == "BEGIN":
            self.status = "T"
            self._say(CommandComplete("BEGIN"))
        elif statement in ("COMMIT", "ROLLBACK"):
            self.status = "I"
            self._say(CommandComplete(statement))
        elif statement.startswith("FAIL"):
            self.may_have_late_copy = "COPY" in statement
            raise ModelError(statement)
        elif statement == "COPY":
            self.copying = how
            self._say(message("G", b"\0\0\0"))
        elif change:
            self.parameters[change[1]] = change[2]
            self._say(CommandComplete("SET") + ParameterStatus(change[1], change[2]))
        else:
            name = statement.removeprefix("SHOW ")
            self._say(RowDescription("it") + DataRow(self.parameters.get(name, statement)))
            self._say(CommandComplete("SELECT 1"))

    def _take_copy(self, kind: str, body: bytes) -> None:
        if kind in "HS":
            return  # ignored while copying
        if kind == "d" and body != BAD_ROW:
            return
        how, self.copying = self.copying, ""
        if kind == "c":
            self._say(CommandComplete("COPY 1"))
        else:
            self.may_have_late_copy = kind == "d"
            self._fail("COPY failed")
            self.is_skipping = how == "extended"
        if how == "simple":
            self._ready()

    def _fail(self, sentence: str) -> None:
        self._say(ErrorResponse(sentence))
        if self.status == "T":
            self.status = "E"

    def _ready(self) -> None:
        self._say(ReadyForQuery(self.status))

    def _say(self, data: bytes) -> None:
        self._said += data
