"""What does a console client say, and what is it answered? The protocol, without its socket.

A `ConsoleSession` belongs to one `ConsoleConnection`. Reads go in by `receive`; `answer` takes the
next message, carries it out and returns what to send. One message at a time, so that whoever holds
the socket can stop when the client does not read its answers.

PgBouncer's console knows simple queries only. This one also speaks the extended protocol, for
drivers that know nothing else: no parameters, results in text or binary. Portals live until Sync,
as there is no transaction that would keep them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final, TypeVar

from pgpool_lite.console.answers import SHOW_TAG, Answer, CommandError, Done, Pending, Rows
from pgpool_lite.console.clients import ConsoleClient
from pgpool_lite.console.commands import Command, Request, prepare
from pgpool_lite.console.messages import (
    decode_bind,
    decode_execute,
    decode_parse,
    decode_target,
)
from pgpool_lite.console.values import (
    BINARY_FORMAT,
    TEXT_FORMAT,
    Cell,
    encode_cell,
    row_description,
)
from pgpool_lite.errors import FEATURE_NOT_SUPPORTED, ClientProtocolError
from pgpool_lite.pool.stats import Counters
from pgpool_lite.pool.teaching import Scene, explain
from pgpool_lite.version import PGBOUNCER_VERSION
from pgpool_lite.wire import backend, codes
from pgpool_lite.wire.backend import Column
from pgpool_lite.wire.frontend import CancelKey, decode_query, encode

N = TypeVar("N")

#: No command comes near; it is also what may pile up behind a command that waits.
MAX_MESSAGE: Final = 65_536
#: Statements and portals one client may have; asyncpg keeps up to 100 statements.
MAX_NAMED: Final = 256

_LENGTH: Final = Struct("!i").unpack_from
_PORTAL_SUSPENDED: Final = encode(codes.PORTAL_SUSPENDED)

#: What PgBouncer says after a login to the console.
WELCOME: Final = {
    "pgbouncer.version": PGBOUNCER_VERSION,
    "server_version": f"{PGBOUNCER_VERSION}/bouncer",
    "client_encoding": "UTF8",
    "server_encoding": "UTF8",
    "DateStyle": "ISO",
    "TimeZone": "GMT",
    "standard_conforming_strings": "on",
    "is_superuser": "on",
}


@dataclass(slots=True)
class Portal:
    """A command that is bound: in which formats it answers, and what is left of its answer."""

    command: Command
    formats: tuple[int, ...]
    #: None until it has been carried out.
    rows_left: list[tuple[Cell, ...]] | None = None


class ConsoleSession:
    """One console client after its login."""

    def __init__(
        self,
        client: ConsoleClient,
        counters: Counters,
        make_request: Callable[[], Request],
        on_refusal: Callable[[CommandError], None],
        prepare: Callable[[str], Command] = prepare,
    ) -> None:
        """Start a session; `make_request` looks at the pooler as it is at that moment.

        `prepare` tells what a query stands for: for this process, or for all of a crew.
        """
        self.client = client
        self._counters = counters
        self._make_request = make_request
        self._on_refusal = on_refusal
        self._prepare = prepare
        #: Bytes read, and where those begin that are not taken yet: an incomplete message, or what
        #: came behind a Pending.
        self._data = b""
        self._pos = 0
        #: The command that is not done, and what makes bytes of its answer.
        self._pending: Pending | None = None
        self._encode: Callable[[Answer], bytes]
        #: What follows a refusal of that command: ReadyForQuery, or nothing.
        self._is_extended = False
        #: After an error in the extended protocol, everything up to Sync is skipped.
        self._is_skipping = False
        self._statements: dict[str, Command] = {}
        self._portals: dict[str, Portal] = {}
        #: The client has said Terminate.
        self.is_leaving = False
        self._handlers: Final[dict[int, Callable[[bytes], bytes]]] = {
            codes.QUERY: self._query,
            codes.PARSE: self._parse,
            codes.BIND: self._bind,
            codes.DESCRIBE: self._describe,
            codes.EXECUTE: self._execute,
            codes.CLOSE: self._close,
            codes.SYNC: self._sync,
            codes.FLUSH: lambda body: b"",
            codes.TERMINATE: self._terminate,
        }
        counters.client_login_count += 1

    @property
    def is_pending(self) -> bool:
        """A command has been given that is not done yet."""
        return self._pending is not None

    def welcome(self, key: CancelKey, notice: str = "") -> bytes:
        """Return what ends the client's login, with a NOTICE if it is to get one."""
        return b"".join(
            (
                backend.AUTHENTICATION_OK,
                *(backend.parameter_status(name, value) for name, value in WELCOME.items()),
                backend.backend_key_data(key),
                backend.notice_response(notice) if notice else b"",
                backend.READY_IDLE,
            )
        )

    def receive(self, data: bytes) -> None:
        """Take one read; raises ClientProtocolError when too much piles up behind a command."""
        self._data = self._data[self._pos :] + data
        self._pos = 0
        if self._pending is not None and len(self._data) > MAX_MESSAGE:
            raise ClientProtocolError(
                f"client sent more than {MAX_MESSAGE} bytes while its command was waiting"
            )

    def answer(self) -> bytes | None:
        """Go on: return the answer to the next message, or None when there is nothing to do now.

        Raises ClientProtocolError when the message is not what the protocol allows.
        """
        if self._pending is not None:
            return self._ask(self._pending)
        message = None if self.is_leaving else self._take()
        if message is None:
            return None
        message_type, body = message
        handler = self._handlers.get(message_type)
        if handler is None:
            raise ClientProtocolError(f"unsupported packet type for admin console: {message_type}")
        if self._is_skipping and message_type not in (codes.SYNC, codes.TERMINATE):
            return b""
        self._is_extended = message_type != codes.QUERY
        self.client.message_size = codes.HEADER_SIZE + len(body)
        try:
            return handler(body)
        except CommandError as error:
            return self._refuse(error)
        finally:
            self.client.message_size = 0

    def _take(self) -> tuple[int, bytes] | None:
        """Take the next message off the data, if it is there whole."""
        data, pos = self._data, self._pos
        if len(data) - pos < codes.HEADER_SIZE:
            return None
        (length,) = _LENGTH(data, pos + 1)
        if not 4 <= length <= MAX_MESSAGE:
            raise ClientProtocolError(
                f"console message of type {data[pos]} has an impossible length: {length}"
            )
        end = pos + 1 + length
        if len(data) < end:
            return None
        self._pos = end
        return data[pos], data[pos + codes.HEADER_SIZE : end]

    # --- carrying out ---

    def _run(self, command: Command, encode_answer: Callable[[Answer], bytes]) -> bytes:
        """Carry a command out and return its encoded answer, empty while that is to come."""
        self._counters.query_count += 1
        self._counters.xact_count += 1
        answer = command.run(self._make_request())
        if isinstance(answer, Pending):
            self._pending = answer
            self._encode = encode_answer
            return b""
        return encode_answer(answer)

    def _ask(self, pending: Pending) -> bytes | None:
        """Return the answer of the command that was not done, if it is done now."""
        try:
            answer = pending.ask()
        except CommandError as error:
            self._pending = None
            return self._refuse(error)
        if answer is None:
            return None
        self._pending = None
        return self._encode(answer)

    def _refuse(self, error: CommandError) -> bytes:
        self._on_refusal(error)
        settings = self._make_request().view.registry.config.settings
        response = backend.error_response(explain(error, Scene(settings)), severity="ERROR")
        if self._is_extended:
            self._is_skipping = True
            return response
        return response + backend.READY_IDLE

    # --- simple query ---

    def _query(self, body: bytes) -> bytes:
        # A simple query ends whatever the extended protocol has left open.
        self._portals.clear()
        command = self._prepare(decode_query(body))
        return self._run(command, lambda answer: _encode_simple(command, answer))

    # --- extended query ---

    def _parse(self, body: bytes) -> bytes:
        name, text = decode_parse(body)
        if name and name in self._statements:
            raise CommandError(f'prepared statement "{name}" already exists', sqlstate="42P05")
        _keep(self._statements, name, self._prepare(text), "prepared statements")
        return backend.PARSE_COMPLETE

    def _bind(self, body: bytes) -> bytes:
        bind = decode_bind(body)
        command = self._statement(bind.statement)
        if bind.parameter_count:
            raise CommandError(
                "the console takes no parameters",
                sqlstate=FEATURE_NOT_SUPPORTED,
                hint="Write the value into the command.",
            )
        formats = _formats_of(command.columns or (), bind.formats)
        _keep(self._portals, bind.portal, Portal(command, formats), "portals")
        return backend.BIND_COMPLETE

    def _describe(self, body: bytes) -> bytes:
        kind, name = decode_target(body, "Describe")
        if kind == "P":
            portal = self._portal(name)
            return _describe(portal.command.columns, portal.formats)
        columns = self._statement(name).columns
        return backend.NO_PARAMETERS + _describe(columns, _formats_of(columns or (), ()))

    def _execute(self, body: bytes) -> bytes:
        name, limit = decode_execute(body)
        portal = self._portal(name)
        if portal.rows_left is not None:
            return _take_rows(portal, limit)
        return self._run(portal.command, lambda answer: _begin(portal, answer, limit))

    def _close(self, body: bytes) -> bytes:
        kind, name = decode_target(body, "Close")
        if kind == "P":
            self._portals.pop(name, None)
        else:
            self._statements.pop(name, None)
        return backend.CLOSE_COMPLETE

    def _sync(self, body: bytes) -> bytes:
        self._is_skipping = False
        self._portals.clear()
        return backend.READY_IDLE

    def _terminate(self, body: bytes) -> bytes:
        self.is_leaving = True
        return b""

    def _statement(self, name: str) -> Command:
        command = self._statements.get(name)
        if command is None:
            raise CommandError(f'prepared statement "{name}" does not exist', sqlstate="26000")
        return command

    def _portal(self, name: str) -> Portal:
        portal = self._portals.get(name)
        if portal is None:
            raise CommandError(f'portal "{name}" does not exist', sqlstate="34000")
        return portal


def _keep(things: dict[str, N], name: str, thing: N, what: str) -> None:
    """Add a statement or portal, replacing its namesake, up to a limit."""
    if name not in things and len(things) >= MAX_NAMED:
        raise CommandError(f"too many {what}: a console client may have {MAX_NAMED}")
    things[name] = thing


def _formats_of(columns: Sequence[Column], asked: Sequence[int]) -> tuple[int, ...]:
    """Return one format per column for those that a Bind asks for."""
    if any(code not in (TEXT_FORMAT, BINARY_FORMAT) for code in asked):
        raise CommandError("unsupported format code in Bind")
    if len(asked) <= 1:
        return (asked[0] if asked else TEXT_FORMAT,) * len(columns)
    if len(asked) != len(columns):
        raise CommandError(f"Bind has {len(asked)} result formats for {len(columns)} columns")
    return tuple(asked)


def _describe(columns: Sequence[Column] | None, formats: Sequence[int]) -> bytes:
    return backend.NO_DATA if columns is None else row_description(columns, formats)


def _encode_simple(command: Command, answer: Answer) -> bytes:
    """Return the whole answer to a simple query."""
    if isinstance(answer, Done):
        return _encode_done(answer) + backend.READY_IDLE
    columns = command.columns or ()
    formats = _formats_of(columns, ())
    head = row_description(columns, formats)
    rows = _encode_rows(answer.rows, columns, formats)
    return b"".join((head, rows, backend.command_complete(SHOW_TAG), backend.READY_IDLE))


def _begin(portal: Portal, answer: Answer, limit: int) -> bytes:
    """Return what the first Execute of a portal brings."""
    if isinstance(answer, Rows):
        portal.rows_left = answer.rows
        return _take_rows(portal, limit)
    portal.rows_left = []
    return _encode_done(answer)


def _take_rows(portal: Portal, limit: int) -> bytes:
    """Return up to `limit` of the rows that are left (0: all), and whether there are more."""
    rows = portal.rows_left or []
    count = limit if limit > 0 else len(rows)
    portal.rows_left = rows[count:]
    encoded = _encode_rows(rows[:count], portal.command.columns or (), portal.formats)
    more = _PORTAL_SUSPENDED if portal.rows_left else backend.command_complete(SHOW_TAG)
    return encoded + more


def _encode_rows(
    rows: Iterable[tuple[Cell, ...]], columns: Sequence[Column], formats: Sequence[int]
) -> bytes:
    types = [each.type_oid for each in columns]
    return b"".join(backend.data_row(list(map(encode_cell, row, types, formats))) for row in rows)


def _encode_done(done: Done) -> bytes:
    notice = backend.notice_response(done.notice, done.detail) if done.notice else b""
    return notice + backend.command_complete(done.tag)
