"""Who has the servers of a pool, since when, and doing what? What a client that waits must know.

Looked at when somebody is told that there is no server for it, and only then. A client hears the
names and statements of its own user's clients only: others may be other people, and what they run
is none of its business. Of those it hears how many they are, in which state, and since when.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from pgpool_lite.config import PoolMode
from pgpool_lite.pool.failures import hint_for_failure
from pgpool_lite.pool.pool import Pool
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.parameters import APPLICATION_NAME
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.statement_head import last_statement, without_values
from pgpool_lite.session.states import ClientState, ServerState
from pgpool_lite.wire import codes

#: Characters of a name that are shown; an application may call itself anything.
SHOWN_NAME: Final = 63

IDLE_IN_TRANSACTION: Final = "idle in transaction"
IDLE_IN_FAILED: Final = "idle in a failed transaction"
IDLE_IN_SESSION: Final = "kept by an idle session"
ACTIVE: Final = "active"
REPLICATING: Final = "replicating"

#: Servers that nobody has, by their state.
_UNHELD: Final = {
    ServerState.LOGIN: "being opened",
    ServerState.IDLE: "idle",
    ServerState.USED: "to be checked",
    ServerState.TESTED: "being checked or reset",
    ServerState.BEING_CANCELED: "waiting for a cancel request to end",
}

_HINTS: Final = {
    IDLE_IN_TRANSACTION: "Transactions that wait for their client hold the servers: commit, or"
    " close the session, before doing anything else, on every path (with session.begin() in"
    " SQLAlchemy, transaction.atomic() in Django, $transaction in Prisma, defer tx.Rollback with"
    " pgx). idle_transaction_timeout ends those that are forgotten. In pg_stat_activity their state"
    " is 'idle in transaction', so a look for 'active' does not find them.",
    IDLE_IN_SESSION: "With pool_mode = session a client keeps its server until it disconnects: set"
    " pool_mode = transaction, give the application's own pool fewer connections, or raise"
    " default_pool_size.",
    ACTIVE: "All servers are at work: look for slow queries in pg_stat_activity. A larger"
    " default_pool_size helps as long as PostgreSQL has processors and disks to spare.",
    REPLICATING: "Replication clients keep their servers: raise pool_size for this database.",
}
_HINTS_OF: Final = {IDLE_IN_FAILED: IDLE_IN_TRANSACTION}


@dataclass(slots=True)
class Holding:
    """The holders that do the same, and the one that has done so for longest."""

    doing: str
    count: int
    oldest: ServerSession
    oldest_s: float


def describe(pool: Pool, asker: ClientSession, now: float) -> str:
    """Return who has the pool's servers, in a sentence for `asker`, who has none."""
    size = f" of {pool.rules.pool_size}" if pool.rules.pool_size else ""
    said = [_of_holding(holding, asker) for holding in holdings(pool, now)]
    said += _unheld(pool)
    servers = f"{pool.server_count}{size} servers of {pool.database.name}/{pool.user}"
    parts = [f"{servers}: {'; '.join(said)}." if said else f"{servers} are open."]
    waiting = len(pool.clients[ClientState.WAITING]) + len(pool.clients[ClientState.LOGIN])
    if waiting > 1:
        parts.append(
            f"{waiting} clients wait, the oldest for {duration(_longest_wait(pool, now))}."
        )
    if pool.database.is_paused:
        parts.append("The database is paused.")
    if pool.failure:
        parts.append(f"The last login at the server failed: {pool.failure}.")
    if pool.starves_in is not None:
        limit, count = pool.starves_in.limit_name, pool.starves_in.server_count
        parts.append(f"{limit} is reached: other pools have {count - pool.server_count} servers.")
    return " ".join(parts)


def advise(pool: Pool, now: float) -> str:
    """Return what to change so that there is a server, "" where nothing speaks for itself."""
    if pool.database.is_paused:
        return "PAUSE was given on the console; RESUME there lets clients go on."
    if pool.failure:
        return hint_for_failure(pool.failure)
    if pool.starves_in is not None:
        return f"Raise {pool.starves_in.limit_name}, or lower the sizes of the other pools."
    most = max(holdings(pool, now), key=lambda holding: holding.count, default=None)
    if most is None:
        return ""
    return _HINTS[_HINTS_OF.get(most.doing, most.doing)]


def holdings(pool: Pool, now: float) -> list[Holding]:
    """Return what the holders of a pool's servers do, the most common first."""
    found: dict[str, Holding] = {}
    for server in pool.servers[ServerState.ACTIVE]:
        client = server.client
        if client is None:
            continue
        doing = _doing(server, client, pool)
        held_s = now - _held_since(client, doing)
        holding = found.get(doing)
        if holding is None:
            found[doing] = Holding(doing, 1, server, held_s)
            continue
        holding.count += 1
        if held_s > holding.oldest_s:
            holding.oldest, holding.oldest_s = server, held_s
    return sorted(found.values(), key=lambda holding: -holding.count)


def duration(seconds: float) -> str:
    """Return a time as PostgreSQL shows it: 00:03:10."""
    minutes, second = divmod(int(max(seconds, 0)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02}:{minute:02}:{second:02}"


def _doing(server: ServerSession, client: ClientSession, pool: Pool) -> str:
    if client.replication is not None:
        return REPLICATING
    if client.single or client.owed or client.unsynced or client.body_left:
        return ACTIVE
    if server.status == codes.STATUS_IN_BLOCK:
        return IDLE_IN_TRANSACTION
    if server.status == codes.STATUS_FAILED:
        return IDLE_IN_FAILED
    return IDLE_IN_SESSION if pool.rules.mode is PoolMode.SESSION else ACTIVE


def _held_since(client: ClientSession, doing: str) -> float:
    """Return when the client began what it does: its transaction, or its idle session."""
    if doing in (IDLE_IN_SESSION, REPLICATING):
        return client.requested_at
    return client.xact_started_at or client.requested_at


def _of_holding(holding: Holding, asker: ClientSession) -> str:
    said = f"{holding.count} {holding.doing}, oldest {duration(holding.oldest_s)}"
    client = holding.oldest.client
    assert client is not None
    if client.user != asker.user:
        return f"{said}, a client of another user"
    return ", ".join((said, *_names(client), *_last(holding.oldest)))


def _names(client: ClientSession) -> Iterable[str]:
    application = client.parameters[APPLICATION_NAME] or ""
    if application:
        shown = application[:SHOWN_NAME]
        yield f"application {shown!r}"
    yield f"client C-0x{client.id:x}"


def _last(server: ServerSession) -> Iterable[str]:
    """Yield what the holder asked last, its values left out: it is another client's data."""
    statement = without_values(last_statement(server))
    if statement:
        yield f"last `{statement}`"


def _unheld(pool: Pool) -> Iterator[str]:
    for state, doing in _UNHELD.items():
        if pool.servers[state]:
            yield f"{len(pool.servers[state])} {doing}"


def _longest_wait(pool: Pool, now: float) -> float:
    since = [client.waiting_since for client in pool.clients[ClientState.WAITING]]
    since += [client.connected_at for client in pool.clients[ClientState.LOGIN]]
    return now - min(since, default=now)
