"""What does each command of the console do, and who may give it?

`prepare` reads a query and returns a `Command`: the columns it will answer with, and what carries
it out. Texts, SQLSTATEs and tags are PgBouncer 1.26.1's; DETAIL and HINT are ours, PgBouncer sends
none. Effects go through `Controls`, so nothing here touches a connection.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pgpool_lite.config.assign import is_setting
from pgpool_lite.console.answers import SHOW_TAG, Answer, CommandError, Done, Pending, Rows
from pgpool_lite.console.controls import Controls, ShutdownMode
from pgpool_lite.console.fields import Table, View
from pgpool_lite.console.grammar import Assignment, parse
from pgpool_lite.console.show import TABLES
from pgpool_lite.console.values import TEXT, column, rows_as_json
from pgpool_lite.errors import (
    CONFIG_FILE_ERROR,
    ClientError,
    ConfigError,
    LoginRejected,
)
from pgpool_lite.pool.database import Database
from pgpool_lite.pool.registry import CONSOLE
from pgpool_lite.wire.backend import Column

_LOG: Final = logging.getLogger("pgpool_lite")

#: Parameters that drivers set or ask for without need. PgBouncer answers so and changes nothing.
FAKE_PARAMETERS: Final = {
    "client_encoding": "UTF-8",
    "datestyle": "ISO",
    "default_transaction_isolation": "read committed",
    "extra_float_digits": "2",
    "standard_conforming_strings": "on",
    "timezone": "GMT",
}

_HELP: Final = """
\tSHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION
\tSHOW PEERS|PEER_POOLS
\tSHOW SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE
\tSHOW DNS_HOSTS|DNS_ZONES
\tSHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS
\tSHOW LINKS|LEAKS|PINS|LEAK_TOTALS|MENDS|PREPARED_STATEMENTS
\tSHOW <table> JSON
\tSET key = arg
\tRELOAD
\tPAUSE [<db>]
\tRESUME [<db>]
\tDISABLE <db>
\tENABLE <db>
\tRECONNECT [<db>]
\tKILL [<db>]
\tKILL_CLIENT <client_id>
\tSHUTDOWN
\tSHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS
\tWAIT_CLOSE [<db>]"""

#: Of a query that is no command, this much is repeated to the client and in the log.
_LONGEST_SHOWN: Final = 1000

_NO_TRANSACTIONS: Final = "The console has no transactions: turn autocommit on in your driver."
_TRANSACTION_WORDS: Final = frozenset({"begin", "start", "commit", "rollback", "end", "savepoint"})


@dataclass(frozen=True, slots=True)
class Request:
    """Who gives a command, and what it stands on."""

    controls: Controls
    view: View
    is_admin: bool


@dataclass(frozen=True, slots=True)
class Command:
    """A query that has been understood."""

    #: Of the rows it answers with; None when it answers with none.
    columns: tuple[Column, ...] | None
    run: Callable[[Request], Answer | Pending]


def prepare(text: str) -> Command:
    """Return the command that a query stands for; raises CommandError when it is none."""
    statement = parse(text)
    if statement is None:
        raise _invalid(text)
    if isinstance(statement, Assignment):
        return _assignment(statement)
    word, argument = statement.word, statement.argument
    if word in ("show", "select"):
        command = _show(argument.lower(), statement.option)
    elif word in _COMMANDS and not statement.option:
        command = _plain(word, argument)
    else:
        command = None
    if command is None:
        raise _invalid(text)
    return command


def _plain(word: str, argument: str) -> Command | None:
    allowed = _ARGUMENTS.get(word)
    if allowed is not None and argument.lower() not in allowed:
        return None
    carry_out = _COMMANDS[word]

    def run(request: Request) -> Answer | Pending:
        _require_admin(request)
        return carry_out(request, argument)

    return Command(None, run)


def _invalid(text: str) -> CommandError:
    first_word = re.match(r"\W*(\w*)", text)
    if first_word is not None and first_word[1].lower() in _TRANSACTION_WORDS:
        hint = _NO_TRANSACTIONS
    else:
        usable = sorted(word.upper() for word in _COMMANDS)
        hint = f"Commands are: SHOW, SET, {', '.join(usable)}."
    return CommandError(f"invalid command '{text[:_LONGEST_SHOWN]}', use SHOW HELP;", hint=hint)


def _require_admin(request: Request) -> None:
    if not request.is_admin:
        raise CommandError(
            "admin access needed", detail="Users in stats_users may only look, with SHOW."
        )


# --- SHOW and SET ---


def _show(what: str, option: str) -> Command | None:
    command = _show_plain(what)
    if command is None or not option:
        return command
    return _as_json(command) if option == "json" else None


def _show_plain(what: str) -> Command | None:
    if what in FAKE_PARAMETERS:
        value = FAKE_PARAMETERS[what]
        return Command((column(what, TEXT),), lambda request: Rows([(value,)]))
    if what == "help":
        return Command(None, lambda request: Done(SHOW_TAG, "Console usage", _HELP))
    return _show_table(TABLES[what]) if what in TABLES else None


def _show_table(table: Table) -> Command:
    return Command(table.columns, lambda request: Rows(table.rows(request.view)))


def _as_json(command: Command) -> Command | None:
    """Return what answers with the same rows as one text; None where there are no rows."""
    columns = command.columns
    if columns is None:
        return None

    def run(request: Request) -> Answer | Pending:
        answer = command.run(request)
        rows = answer.rows if isinstance(answer, Rows) else []
        return Rows([(rows_as_json(columns, rows),)])

    return Command((column("json", TEXT),), run)


def _assignment(assignment: Assignment) -> Command:
    if assignment.key.lower() in FAKE_PARAMETERS:
        return Command(None, lambda request: Done("SET", "SET ignored"))

    def run(request: Request) -> Answer:
        _require_admin(request)
        try:
            notice = request.controls.set_setting(assignment.key, assignment.value)
        except ConfigError as error:
            if not is_setting(assignment.key):
                _LOG.error("unknown parameter: pgbouncer/%s", assignment.key)
            raise CommandError("SET failed", detail=error.message) from None
        return Done(f"SET {assignment.key}={assignment.value}", notice)

    return Command(None, run)


# --- the pooler as a whole ---


def _reload(request: Request, argument: str) -> Answer:
    _LOG.info("RELOAD command issued")
    try:
        request.controls.reload()
    except ConfigError as error:
        _LOG.error("%s; the old configuration stays in force", error.message)
        raise CommandError(
            "RELOAD failed, see logs for additional details",
            sqlstate=CONFIG_FILE_ERROR,
            detail=error.message,
        ) from None
    return Done("RELOAD")


_SHUTDOWN_MODES: Final = {
    "": ShutdownMode.IMMEDIATE,
    "wait_for_servers": ShutdownMode.WAIT_FOR_SERVERS,
    "wait_for_clients": ShutdownMode.WAIT_FOR_CLIENTS,
}


def _shutdown(request: Request, argument: str) -> Answer | Pending:
    mode = _SHUTDOWN_MODES[argument.lower()]
    _LOG.info("SHUTDOWN %scommand issued", f"{argument.upper()} " if argument else "")
    request.controls.shut_down(mode)
    if mode is ShutdownMode.IMMEDIATE:
        # Answered by the end of the connection, so that who waits for it knows that all is over.
        return Pending(lambda: None)
    return Done("SHUTDOWN")


# --- databases ---


def _pause(request: Request, argument: str) -> Answer | Pending:
    controls = request.controls
    _refuse_if_paused(controls)
    database = _target(request, argument, "PAUSE", "cannot pause admin db")
    controls.pause(database)

    def ask() -> Answer | None:
        if controls.is_paused(database):
            return Done("PAUSE")
        is_wanted = controls.is_globally_paused if database is None else database.is_paused_by_name
        if not is_wanted:
            raise CommandError("PAUSE was ended by RESUME before all clients had finished")
        return None

    return _when(ask)


def _resume(request: Request, argument: str) -> Answer:
    controls = request.controls
    _note("RESUME", argument)
    if not argument:
        _refuse_resume(request)
        controls.resume(None)
        return Done("RESUME")
    database = _existing(request, argument)
    if not database.is_paused_by_name:
        raise CommandError(f"database {argument} is not paused")
    controls.resume(database)
    return Done("RESUME")


def _refuse_resume(request: Request) -> None:
    if request.controls.is_shutting_down:
        raise CommandError("pooler is shutting down")
    if not request.controls.is_globally_paused:
        databases = request.view.registry.databases.values()
        paused = ", ".join(sorted(each.name for each in databases if each.is_paused_by_name))
        hint = f"Paused by name, to be resumed by name: {paused}." if paused else ""
        raise CommandError("pooler is not paused", hint=hint)


def _reconnect(request: Request, argument: str) -> Answer:
    database = _target(request, argument, "RECONNECT", "cannot reconnect admin db")
    request.controls.reconnect(database)
    return Done("RECONNECT")


def _wait_close(request: Request, argument: str) -> Answer | Pending:
    controls = request.controls
    database = _target(request, argument, "WAIT_CLOSE", "cannot wait in admin db")
    return _when(lambda: Done("WAIT_CLOSE") if controls.is_closed(database) else None)


def _kill(request: Request, argument: str) -> Answer:
    _refuse_if_paused(request.controls)
    database = _target(request, argument, "KILL", "cannot kill admin db")
    request.controls.kill(database)
    return Done("KILL")


def _kill_client(request: Request, argument: str) -> Answer:
    digits = re.match(r"\s*[+-]?([0-9]+)", argument)  # what C's scanf reads
    if digits is None:
        raise CommandError(
            "invalid client pointer supplied", hint="Give the id that SHOW CLIENTS shows."
        )
    # No id has more digits; int() refuses numbers of some thousand.
    if "-" in digits[0] or len(digits[1]) > 18 or not _close_client(request, int(digits[1])):
        raise CommandError("client not found")
    return Done("KILL_CLIENT")


def _close_client(request: Request, client_id: int) -> bool:
    for client in request.view.console_clients:
        if client.id == client_id:
            client.connection.refuse(ClientError("admin forced disconnect"))
            return True
    return request.controls.kill_client(client_id)


def _disable(request: Request, argument: str) -> Answer:
    database = _required(request, argument, "DISABLE", "cannot disable admin db")
    request.controls.disable(database)
    return Done("DISABLE")


def _enable(request: Request, argument: str) -> Answer:
    database = _required(request, argument, "ENABLE", "cannot enable admin db")
    request.controls.enable(database)
    return Done("ENABLE")


# --- helpers ---


def _note(command: str, argument: str) -> None:
    name = f"'{argument}' " if argument else ""
    _LOG.info("%s %scommand issued", command, name)


def _when(ask: Callable[[], Answer | None]) -> Answer | Pending:
    """Return the answer if there is one already."""
    return ask() or Pending(ask)


def _refuse_if_paused(controls: Controls) -> None:
    if controls.is_globally_paused:
        raise CommandError("already paused", hint="RESUME ends the pause.")


def _target(request: Request, argument: str, command: str, refusal: str) -> Database | None:
    """Return the database that a command names, None if it names none."""
    _note(command, argument)
    return _find(request, argument, refusal) if argument else None


def _required(request: Request, argument: str, command: str, refusal: str) -> Database:
    if not argument:
        raise CommandError("a database is required")
    _note(command, argument)
    return _find(request, argument, refusal)


def _find(request: Request, name: str, refusal: str) -> Database:
    """Return a database, made from `*` if need be."""
    if name == CONSOLE:
        raise CommandError(f"{refusal}: {name}")
    try:
        return request.view.registry.keep_database(name, request.view.now)
    except LoginRejected as error:
        raise CommandError(error.message, detail=error.detail, hint=error.hint) from None


def _existing(request: Request, name: str) -> Database:
    """Return a database that has been there before."""
    if name == CONSOLE:
        return request.view.registry.console
    database = request.view.registry.databases.get(name)
    if database is None:
        raise CommandError(f"no such database: {name}")
    return database


_COMMANDS: Final[dict[str, Callable[[Request, str], Answer | Pending]]] = {
    "disable": _disable,
    "enable": _enable,
    "kill": _kill,
    "kill_client": _kill_client,
    "pause": _pause,
    "reconnect": _reconnect,
    "reload": _reload,
    "resume": _resume,
    "shutdown": _shutdown,
    "wait_close": _wait_close,
}
#: Every first word that means something; `select` is another word for `show`.
COMMAND_WORDS: Final = frozenset({*_COMMANDS, "select", "set", "show"})
#: Commands whose argument is not a name: what may stand there.
_ARGUMENTS: Final[dict[str, frozenset[str]]] = {
    "reload": frozenset({""}),
    "shutdown": frozenset(_SHUTDOWN_MODES),
}
