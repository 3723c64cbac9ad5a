"""What secret has this user? Our question to PostgreSQL (auth_query), and how its answer is read.

An `AuthQuery` belongs to one client that is logging in, and is asked once, on a server connection
of auth_user. Whoever drives it sends `question` and feeds what comes back to `receive` until
`is_done`; then `found` or `failure` tells how it went.

The one who waits for the answer has proved nothing yet, so nothing it said reaches the server but
its user name, as the value of a parameter. In front stands RESET search_path: the servers of
auth_user's pool may have served others, and auth_query's unqualified names must mean what they
mean to the role (CVE-2025-12819).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pgpool_lite.errors import ServerProtocolError
from pgpool_lite.wire import backend, codes
from pgpool_lite.wire.framing import message_end
from pgpool_lite.wire.frontend import SYNC, encode_extended_query

#: A secret may have 65,530 bytes; no message of an answer is much longer.
MAX_MESSAGE: Final = 131_072

#: PgBouncer's MAX_USERNAME.
_MAX_NAME: Final = 127
_COLUMN_COUNT: Final = 2

_PASSED_OVER: Final = frozenset(
    {codes.PARSE_COMPLETE, codes.BIND_COMPLETE, codes.NO_DATA, codes.COMMAND_COMPLETE}
    | {codes.NOTICE_RESPONSE, codes.PARAMETER_STATUS}
)


@dataclass(frozen=True, slots=True)
class FoundUser:
    """A user of whom auth_query knows."""

    #: As the query returned it.
    name: str
    #: None for who has no password, or one that has expired: nothing may prove to be this user.
    secret: str | None = field(repr=False)


class AuthQuery:
    """One question and its answer, byte by byte."""

    def __init__(self, sql: str, user: str) -> None:
        """Ask `sql` with the user's name as its only parameter."""
        #: What to send; the whole of it at once.
        self.question = b"".join(
            (encode_extended_query("RESET search_path"), encode_extended_query(sql, user), SYNC)
        )
        #: The answer is complete.
        self.is_done = False
        #: What the last row says; None when there was no row.
        self.found: FoundUser | None = None
        #: Why there is no answer, in words for the log; "" if there is one.
        self.failure = ""
        self._data = b""

    def receive(self, data: bytes) -> None:
        """Take a read from the server.

        Raises ServerProtocolError for what is no answer to a query: the server must be closed.
        """
        self._data += data
        while not self.is_done and len(self._data) >= codes.HEADER_SIZE:
            after = message_end(self._data, 0)
            if not codes.HEADER_SIZE <= after <= MAX_MESSAGE:
                raise ServerProtocolError("response from auth_query has an impossible size")
            if after > len(self._data):
                break
            body = self._data[codes.HEADER_SIZE : after]
            self._handle(self._data[0], body)
            self._data = self._data[after:]

    def _handle(self, message_type: int, body: bytes) -> None:
        if message_type == codes.READY_FOR_QUERY:
            self.is_done = True
        elif message_type == codes.ROW_DESCRIPTION:
            self._check_width(int.from_bytes(body[:2], "big"))
        elif message_type == codes.DATA_ROW:
            self._take_row(backend.decode_data_row(body))
        elif message_type == codes.ERROR_RESPONSE:
            said = backend.decode_error(body)
            self._fail(f"error in auth_query: {said.severity}: {said.message}")
        elif message_type not in _PASSED_OVER:
            raise ServerProtocolError("unexpected response from auth_query")

    def _check_width(self, count: int) -> bool:
        if count != _COLUMN_COUNT:
            self._fail(f"expected {_COLUMN_COUNT} columns from auth_query, not {count}")
        return count == _COLUMN_COUNT

    def _take_row(self, values: list[bytes | None]) -> None:
        if not self._check_width(len(values)):
            return
        name, secret = values
        if name is None:
            self._fail("auth_query response contained null user name")
        elif len(name) > _MAX_NAME:
            self._fail("auth_query response contained a user name that is too long")
        else:
            self.found = FoundUser(_text(name), _text(secret) if secret is not None else None)

    def _fail(self, reason: str) -> None:
        self.failure = self.failure or reason


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
