"""What does the doctor do to find out? Logs in as a client would, and asks; nothing is changed.

Every step takes a few seconds at most and leaves nothing behind: transactions are rolled back, the
one statement that is prepared is closed, connections are hung up. Where a step cannot be taken the
evidence says so, and the next one is tried.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Final

from pgpool_lite.config import DatabaseSettings
from pgpool_lite.console.values import Cell
from pgpool_lite.errors import PgPoolLiteError, ServerError
from pgpool_lite.operate.dialogue import Dialogue, Reply, Unanswered
from pgpool_lite.operate.doctor_evidence import (
    Arrival,
    ConsoleView,
    Evidence,
    IdleSession,
    LockHolder,
    Names,
    Pooling,
    Refusal,
    Sessions,
    Sharing,
    Trial,
    Waiting,
)
from pgpool_lite.pool.registry import CONSOLE
from pgpool_lite.session.statement_head import without_values
from pgpool_lite.wire import codes
from pgpool_lite.wire.frontend import encode, encode_string

#: A client that has no server after this long is taken for one that waits for it.
PATIENCE_S: Final = 2.0
#: Rounds in which two clients try to meet on one server.
ROUNDS: Final = 3

NAME: Final = "pgpool-lite doctor"
PID: Final = "SELECT pg_backend_pid()"

#: Start-up parameters that drivers send: name, what is sent, what is asked for afterwards.
TRIALS: Final = (
    ("extra_float_digits", "2", "extra_float_digits", "2"),
    ("statement_timeout", "5s", "statement_timeout", "5s"),
    ("search_path", "public", "search_path", "public"),
    ("options", "-c statement_timeout=5s", "statement_timeout", "5s"),
)

_IS_CLIENT: Final = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
_SETTINGS: Final = (
    "SELECT current_setting('max_connections')::int,"
    " current_setting('superuser_reserved_connections')::int"
)
_COUNTS: Final = (
    "SELECT coalesce(state, 'hidden'), count(*)::int FROM pg_stat_activity"
    f" WHERE {_IS_CLIENT} GROUP BY 1 ORDER BY 1"
)
_IDLE: Final = (
    "SELECT pid, coalesce(application_name, ''), state,"
    " extract(epoch FROM now() - state_change)::int, left(coalesce(query, ''), 2000)"
    f" FROM pg_stat_activity WHERE {_IS_CLIENT} AND state LIKE 'idle in transaction%'"
    " ORDER BY state_change LIMIT 5"
)
# The server that we are given may hold a lock too: the doctor takes none, so an earlier client did.
_LOCKS: Final = (
    "SELECT pid, coalesce(application_name, ''),"
    " CASE WHEN pid = pg_backend_pid() THEN 'idle' ELSE coalesce(state, '') END,"
    " CASE objsubid WHEN 1 THEN ((classid::bigint << 32) | objid::bigint)::text"
    " ELSE classid || ', ' || objid END,"
    " CASE WHEN granted THEN 1 ELSE 0 END,"
    " coalesce(extract(epoch FROM now() - state_change)::int, 0)"
    " FROM pg_locks LEFT JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory'"
    " ORDER BY granted DESC, pid LIMIT 20"
)
#: What of SHOW CONFIG tells about limits.
_LIMITS: Final = (
    *("pool_mode", "default_pool_size", "max_client_conn", "max_db_connections"),
    *("max_prepared_statements", "query_wait_timeout", "ignore_startup_parameters"),
)


def examine(
    target: DatabaseSettings, direct: DatabaseSettings | None, message: str = ""
) -> Evidence:
    """Return all there is to see through `target`, and past it by `direct`."""
    pooled = arrive(target)
    evidence = Evidence(pooled, arrive(direct) if direct is not None else None, message=message)
    if pooled.is_well:
        evidence = replace(evidence, pooling=_meet(target), trials=_try_parameters(target))
    if pooled.is_pooled or pooled.pooler_version or not pooled.is_well:
        evidence = replace(evidence, console=_look_at_console(target))
    source = direct if evidence.direct is not None and evidence.direct.is_well else target
    if source is not target or pooled.is_well:
        assert source is not None
        evidence = replace(evidence, sessions=_look_at_sessions(source))
    return evidence


# --- one client ---


def arrive(target: DatabaseSettings) -> Arrival:
    """Log in and have one transaction."""
    seen = Arrival(place=_place(target))
    try:
        dialogue = _open(target)
    except PgPoolLiteError as error:
        return replace(seen, login_refusal=_refusal(error))
    with dialogue:
        seen = replace(
            seen,
            login_ms=dialogue.login_s * 1000,
            is_encrypted=dialogue.is_encrypted,
            server_version=dialogue.parameters.get("server_version", ""),
            pooler_version=dialogue.parameters.get("pgbouncer.version", ""),
            key_pid=dialogue.key_pid,
        )
        began_at = time.monotonic()
        try:
            dialogue.ask("BEGIN")
            pid = _number(dialogue.ask(PID))
            dialogue.ask("COMMIT")
        except PgPoolLiteError as error:
            return replace(seen, transaction_refusal=_refusal(error))
    return replace(seen, backend_pid=pid, transaction_ms=(time.monotonic() - began_at) * 1000)


def _place(target: DatabaseSettings) -> str:
    host = target.hosts[0] if target.hosts else "the Unix socket"
    return f"{host}:{target.port}/{_database(target)} as {target.user}"


def _database(target: DatabaseSettings) -> str:
    return target.dbname or target.name


def _open(target: DatabaseSettings, parameters: Mapping[str, str] | None = None) -> Dialogue:
    asked = {"application_name": NAME, **(parameters or {})}
    return Dialogue(target, _database(target), asked)


# --- two clients ---


def _meet(target: DatabaseSettings) -> Pooling:
    """Find out whether two clients share servers, and what becomes of a named statement then."""
    with ExitStack() as dialogues:
        try:
            one = dialogues.enter_context(_open(target))
            first_pid = _number(one.ask(PID))
            try:
                other = dialogues.enter_context(_open(target))
                sharing = _find_sharing(one, other, first_pid)
            except Unanswered:
                return _try_names(Pooling(Sharing.KEPT, second_waits=True), one, one)
            found = Pooling(sharing)
            return _try_names(found, one, other)
        except PgPoolLiteError:
            return Pooling()


def _find_sharing(one: Dialogue, other: Dialogue, first_pid: int) -> Sharing:
    """Have the one come back while the other has a transaction open."""
    for _ in range(ROUNDS):
        other.ask("BEGIN", PATIENCE_S)
        other_pid = _number(other.ask(PID))
        try:
            if other_pid == first_pid:
                return Sharing.SHARED  # it was the other's a moment ago
            if _number(_ask_or_wait(one, other)) != first_pid:
                return Sharing.SHARED
        finally:
            other.ask("ROLLBACK")
    return Sharing.KEPT


def _ask_or_wait(one: Dialogue, other: Dialogue) -> Reply:
    """Ask for the pid; where that has to wait for the other's transaction, end that first."""
    try:
        return one.ask(PID, PATIENCE_S)
    except Unanswered:
        other.ask("ROLLBACK")
        return one.finish()


def _try_names(found: Pooling, one: Dialogue, other: Dialogue) -> Pooling:
    """Prepare a statement by name, and use it in the next transaction, maybe on another server."""
    name = f"doctor_{secrets.token_hex(4)}"
    try:
        one.say(_parse(name) + _SYNC)
    except PgPoolLiteError as error:
        return replace(found, names=Names.REFUSED, names_refusal=_refusal(error))
    if found.sharing is not Sharing.SHARED:
        return _use_name(found, one, name)
    collides = False
    try:
        other.ask("BEGIN", PATIENCE_S)  # takes the server that the statement is on, if it can
        try:
            other.say(_parse(name) + _close(name) + _SYNC)
        except PgPoolLiteError as error:
            collides = error.sqlstate == "42P05"
        found = _use_name(replace(found, names_collide=collides), one, name, other)
    finally:
        with suppress(PgPoolLiteError):
            other.ask("ROLLBACK")
            other.say(_close(name) + _SYNC)
    return found


def _use_name(found: Pooling, one: Dialogue, name: str, other: Dialogue | None = None) -> Pooling:
    try:
        try:
            one.say(_bind(name) + _SYNC, PATIENCE_S)
        except Unanswered:
            if other is None:
                raise
            other.ask("ROLLBACK")  # there is one server only
            one.finish()
        with suppress(PgPoolLiteError):
            one.say(_close(name) + _SYNC)
    except PgPoolLiteError as error:
        return replace(found, names=Names.LOST, names_refusal=_refusal(error))
    return replace(found, names=Names.KEPT)


_SYNC: Final = encode(codes.SYNC)


def _parse(name: str) -> bytes:
    return encode(codes.PARSE, encode_string(name) + encode_string("SELECT 1") + b"\0\0")


def _bind(name: str) -> bytes:
    body = b"\0" + encode_string(name) + b"\0\0" * 3
    return encode(codes.BIND, body) + encode(codes.EXECUTE, b"\0" + b"\0" * 4)


def _close(name: str) -> bytes:
    return encode(codes.CLOSE, b"S" + encode_string(name))


# --- start-up parameters ---


def _try_parameters(target: DatabaseSettings) -> tuple[Trial, ...]:
    return tuple(_try_parameter(target, *each) for each in TRIALS)


def _try_parameter(target: DatabaseSettings, name: str, sent: str, shown: str, value: str) -> Trial:
    try:
        with _open(target, {name: sent}) as dialogue:
            return Trial(name, value, shown=str(dialogue.ask(f"SHOW {shown}").rows[0][0]))
    except PgPoolLiteError as error:
        return Trial(name, value, refusal=_refusal(error))


# --- what others do ---


def _look_at_sessions(target: DatabaseSettings) -> Sessions:
    try:
        with _open(target) as dialogue:
            ((maximum, reserved),) = _rows(dialogue.ask(_SETTINGS))
            counts = _rows(dialogue.ask(_COUNTS))
            idle = _rows(dialogue.ask(_IDLE))
            locks = _rows(dialogue.ask(_LOCKS))
    except PgPoolLiteError as error:
        return Sessions(refusal=_refusal(error))
    return Sessions(
        int(maximum),
        int(reserved),
        {state: int(count) for state, count in counts},
        tuple(
            IdleSession(int(pid), application, state, float(idle_s), without_values(statement))
            for pid, application, state, idle_s, statement in idle
        ),
        tuple(
            LockHolder(int(pid), _other(application), state, key, is_granted == "1", float(idle_s))
            for pid, application, state, key, is_granted, idle_s in locks
        ),
    )


def _other(application: str) -> str:
    """Return a name, "" for the one that we have given a server of the pool ourselves."""
    return "" if application == NAME else application


def _look_at_console(target: DatabaseSettings) -> ConsoleView:
    try:
        with Dialogue(target, CONSOLE, {"application_name": NAME}, PATIENCE_S) as console:
            version = str(console.ask("SHOW VERSION").rows[0][0])
            pools = _named(console.ask("SHOW POOLS"))
            config = _named(console.ask("SHOW CONFIG"))
    except (PgPoolLiteError, IndexError) as error:
        return ConsoleView(refusal=_refusal(error))
    return ConsoleView(
        version=version,
        pools=tuple(_waiting(row) for row in pools if row.get("database") != CONSOLE),
        settings={row["key"]: row["value"] for row in config if row.get("key") in _LIMITS},
    )


def _waiting(row: Mapping[str, str]) -> Waiting:
    def number(name: str) -> int:
        return int(row.get(name) or 0)

    return Waiting(
        row.get("database", ""),
        row.get("user", ""),
        row.get("pool_mode", ""),
        number("cl_waiting"),
        number("maxwait") + number("maxwait_us") / 1e6,
        number("sv_active"),
        number("sv_idle"),
    )


# --- answers ---


def _refusal(error: Exception) -> Refusal:
    if not isinstance(error, PgPoolLiteError):
        return Refusal("the answer is not the one of a console")
    sqlstate = "" if isinstance(error, ServerError) and not _was_said(error) else error.sqlstate
    return Refusal(error.message, sqlstate, error.detail, error.hint)


def _was_said(error: ServerError) -> bool:
    """Say whether the words are PostgreSQL's or a pooler's, not ours."""
    return bool(getattr(error, "severity", ""))


def _number(reply: Reply) -> int:
    return int(str(reply.rows[0][0]))


def _rows(reply: Reply) -> list[list[str]]:
    return [[_text(cell) for cell in row] for row in reply.rows]


def _named(reply: Reply) -> list[dict[str, str]]:
    names = [column.name for column in reply.columns]
    return [dict(zip(names, row, strict=True)) for row in _rows(reply)]


def _text(cell: Cell) -> str:
    return "" if cell is None else str(cell)
