"""One console for several processes: asks each of them, and answers as one.

A client's console belongs to whichever process accepted it. With `workers`, that process puts the
same query to every process of its crew, itself included, through the Unix sockets in the private
folder; a console that came by one of these answers for its own process alone. PAUSE and its like
are done when all are done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from pgpool_lite.config.place import Place
from pgpool_lite.console import commands
from pgpool_lite.console.answers import Answer, CommandError, Done, Pending, Rows
from pgpool_lite.console.commands import Command, Request
from pgpool_lite.console.grammar import Assignment, parse
from pgpool_lite.console.merging import KEYS, LISTED, merge
from pgpool_lite.console.values import TEXT, Cell, rows_as_json
from pgpool_lite.pool.registry import CONSOLE
from pgpool_lite.proxy.doorway import unix_address
from pgpool_lite.wire import codes
from pgpool_lite.wire.backend import Column, ServerMessage, decode_data_row, decode_error
from pgpool_lite.wire.framing import message_end
from pgpool_lite.wire.frontend import TERMINATE, encode_query, encode_startup

#: A process that does not answer the login within this is not asked: it is being replaced.
_PATIENCE_S: Final = 5.0
#: Commands that have done their work if one process could carry them out.
_ONE_IS_ENOUGH: Final = frozenset({"kill_client", "resume"})


@dataclass(slots=True)
class Voice:
    """What one process has answered."""

    rows: list[list[bytes | None]] = field(default_factory=list)
    tag: str = ""
    notice: ServerMessage | None = None
    error: ServerMessage | None = None


class Chorus:
    """Asks the whole crew. Owned by the runtime of one process of it."""

    def __init__(self, place: Place, listen_port: int, on_answer: Callable[[], None]) -> None:
        """Know where the others are; `on_answer` is called when a query has been answered."""
        self._addresses = [unix_address(folder, listen_port) for folder in place.socket_dirs]
        self._on_answer = on_answer
        self._tasks: set[asyncio.Task[list[Voice | None]]] = set()

    def prepare(self, text: str) -> Command:
        """Return the command that a query stands for, put to all; raises CommandError."""
        own = commands.prepare(text)
        statement = parse(text)
        if statement is None:
            raise AssertionError("what has been prepared has been understood")
        if isinstance(statement, Assignment):
            is_fake = statement.key.lower() in commands.FAKE_PARAMETERS
            return own if is_fake else self._command(own, text, "set")
        word, what = statement.word, statement.argument.lower()
        if word not in ("show", "select"):
            return self._command(own, text, word)
        if what not in KEYS and what not in LISTED:
            return own  # the same in every process
        plain = commands.prepare(f"SHOW {what}")
        assert plain.columns is not None
        return self._table(own, plain.columns, what, is_json=bool(statement.option))

    def is_internal(self, transport: asyncio.Transport) -> bool:
        """Say whether a connection came by the private folder: from a process of the crew."""
        return transport.get_extra_info("sockname") in self._addresses

    async def close(self) -> None:
        """Give up what is being asked."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- what is made of the answers ---

    def _table(
        self, own: Command, columns: Sequence[Column], what: str, *, is_json: bool
    ) -> Command:
        def combine(voices: list[Voice | None]) -> Answer:
            heard = [voice for voice in voices if voice is not None and voice.error is None]
            tables = [[_read(row, columns) for row in voice.rows] for voice in heard]
            rows = merge(what, [column.name for column in columns], tables)
            return Rows([(rows_as_json(columns, rows),)] if is_json else rows)

        return Command(own.columns, lambda request: self._ask(f"SHOW {what}", combine))

    def _command(self, own: Command, text: str, word: str) -> Command:
        def combine(voices: list[Voice | None]) -> Answer | None:
            if word == "shutdown" and not any(voices):
                return None  # answered by the end of the connection
            return done(voices, is_one_enough=word in _ONE_IS_ENOUGH)

        def run(request: Request) -> Answer | Pending:
            if not request.is_admin:
                return own.run(request)  # which refuses, or only seems to do something
            return self._ask(text, combine)

        return Command(own.columns, run)

    def _ask(self, text: str, combine: Callable[[list[Voice | None]], Answer | None]) -> Pending:
        task = asyncio.get_running_loop().create_task(self._gather(text))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda done: self._on_answer())
        return Pending(lambda: combine(task.result()) if task.done() else None)

    # --- asking ---

    async def _gather(self, text: str) -> list[Voice | None]:
        """Return what each process answers, None for one that cannot be reached."""
        # All are there before the first is asked: SHUTDOWN ends whoever hears it.
        consoles = await asyncio.gather(*map(_open, self._addresses))
        try:
            for console in consoles:
                if console is not None:
                    console[1].write(encode_query(text))
            return await asyncio.gather(*map(_hear, consoles))
        finally:
            for console in consoles:
                if console is not None:
                    console[1].write(TERMINATE)
                    console[1].close()


_Console = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _open(address: str) -> _Console | None:
    """Log in at the console of one process; return None where that fails."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            reader, writer = await asyncio.open_unix_connection(address)
            writer.write(encode_startup({"user": CONSOLE, "database": CONSOLE}))
            greeting = await _read_answer(reader)
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return None
    if greeting.error is not None:
        writer.close()
        return None
    return reader, writer


async def _hear(console: _Console | None) -> Voice | None:
    """Return what one process answers; None if it ended instead."""
    if console is None:
        return None
    try:
        return await _read_answer(console[0])
    except (OSError, asyncio.IncompleteReadError):
        return None


async def _read_answer(reader: asyncio.StreamReader) -> Voice:
    """Read up to ReadyForQuery; an error during a login ends it, too."""
    voice = Voice()
    while True:
        header = await reader.readexactly(codes.HEADER_SIZE)
        body = await reader.readexactly(message_end(header, 0) - codes.HEADER_SIZE)
        if header[0] == codes.DATA_ROW:
            voice.rows.append(decode_data_row(body))
        elif header[0] == codes.COMMAND_COMPLETE:
            voice.tag = body[:-1].decode("utf-8", "surrogateescape")
        elif header[0] == codes.NOTICE_RESPONSE:
            voice.notice = decode_error(body)
        elif header[0] == codes.ERROR_RESPONSE:
            voice.error = decode_error(body)
            if voice.error.severity == "FATAL":
                return voice
        elif header[0] == codes.READY_FOR_QUERY:
            return voice


def done(voices: Sequence[Voice | None], *, is_one_enough: bool) -> Answer:
    """Return the common answer to a command; raises CommandError where one refuses."""
    willing = next((voice for voice in voices if voice is not None and voice.error is None), None)
    refused = next((voice.error for voice in voices if voice is not None and voice.error), None)
    if refused is not None and not (is_one_enough and willing is not None):
        raise CommandError(
            refused.message, sqlstate=refused.sqlstate, detail=refused.detail, hint=refused.hint
        )
    missing = [str(number) for number, voice in enumerate(voices, 1) if voice is None]
    if willing is None or (missing and not is_one_enough):
        raise CommandError(
            f"worker {', '.join(missing)} did not answer",
            detail="It is being replaced, and the others have done what they were told.",
            hint="Say it again.",
        )
    notice = willing.notice
    return Done(willing.tag, notice.message if notice else "", notice.detail if notice else "")


def _read(row: Sequence[bytes | None], columns: Sequence[Column]) -> tuple[Cell, ...]:
    """Return the values of a row that was sent as text."""
    return tuple(
        None
        if value is None
        else int(value)
        if column.type_oid != TEXT
        else value.decode("utf-8", "surrogateescape")
        for value, column in zip(row, columns, strict=True)
    )
