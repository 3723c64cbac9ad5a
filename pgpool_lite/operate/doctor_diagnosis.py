"""What does the evidence mean? Remarks in the order in which a client meets trouble. Pure.

A remark is `ok`, a `note` (good to know, maybe on purpose), or a `problem`: something does not work
or will not for long. The command's exit code goes by whether there is a problem.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pgpool_lite.operate.doctor_blame import Blame, Who, blame_for
from pgpool_lite.operate.doctor_drivers import Found
from pgpool_lite.operate.doctor_evidence import (
    Arrival,
    ConsoleView,
    Evidence,
    LockHolder,
    Names,
    Pooling,
    Refusal,
    Sessions,
    Sharing,
    Trial,
)
from pgpool_lite.pool.holders import duration

#: A transaction that is idle for longer than this is leaked, or as good as.
LEAKED_AFTER_S: Final = 60.0
#: PostgreSQL is nearly full beyond this share of max_connections.
NEARLY_FULL: Final = 0.9


class Verdict(StrEnum):
    """How bad is it?"""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that was found."""

    verdict: Verdict
    #: What was looked at, in a word or two.
    about: str
    says: str
    #: What to change, "" where nothing has to be.
    change: str = ""


def diagnose(evidence: Evidence) -> list[Remark]:
    """Return everything that the evidence has to say."""
    remarks = [*_of_message(evidence.message), *_of_arrival("login", evidence.pooled)]
    if evidence.direct is not None:
        remarks += _of_arrival("direct login", evidence.direct)
        remarks += _of_both(evidence.pooled, evidence.direct)
    if evidence.pooling is not None:
        remarks += _of_pooling(evidence.pooling, evidence.pooled)
    remarks += _of_trials(evidence.trials)
    if evidence.console is not None and not _is_out_of_reach(evidence.pooled):
        remarks += _of_console(evidence.console, evidence.sessions)
    if evidence.sessions is not None:
        remarks += _of_sessions(evidence.sessions)
        remarks += _of_locks(evidence.sessions.locks, evidence.pooling)
    return remarks


def found_in(evidence: Evidence) -> Found:
    """Return what decides about drivers' configuration."""
    pooling = evidence.pooling or Pooling()
    return Found(
        is_shared=pooling.sharing is not Sharing.KEPT,
        keeps_names=pooling.names is Names.KEPT and not pooling.names_collide,
        has_direct=evidence.direct is not None,
        refused=tuple(trial.name for trial in evidence.trials if trial.refusal is not None),
    )


# --- how far a client comes ---


def _of_message(message: str) -> Iterator[Remark]:
    if not message:
        return
    blame = blame_for(Refusal(message))
    verdict = Verdict.NOTE if blame.who is Who.UNKNOWN else Verdict.PROBLEM
    yield Remark(verdict, "the message", f"{_who(blame)}{blame.says}", blame.change)


def _of_arrival(about: str, arrival: Arrival) -> Iterator[Remark]:
    refusal = arrival.login_refusal or arrival.transaction_refusal
    if refusal is not None:
        blame = blame_for(refusal)
        stage = "refused" if arrival.login_refusal else "let in, but the transaction failed"
        said = f"{arrival.place}: {stage}: {refusal}. {_who(blame)}{blame.says}"
        yield Remark(Verdict.PROBLEM, about, _with_detail(said, refusal), blame.change)
        return
    tls = "with TLS" if arrival.is_encrypted else "without TLS"
    yield Remark(
        Verdict.OK,
        about,
        f"{arrival.place}, {tls}: in after {arrival.login_ms:.0f} ms, a transaction took"
        f" {arrival.transaction_ms:.1f} ms. {_answers(arrival)}",
    )


def _is_out_of_reach(arrival: Arrival) -> bool:
    refusal = arrival.login_refusal
    return refusal is not None and blame_for(refusal).who is Who.NETWORK


def _who(blame: Blame) -> str:
    return "" if blame.who is Who.UNKNOWN else f"This is {blame.who}. "


def _with_detail(said: str, refusal: Refusal) -> str:
    more = " ".join(part for part in (refusal.detail, refusal.hint) if part)
    return f"{said} It says: {more}" if more else said


def _answers(arrival: Arrival) -> str:
    """Return who it is that answers."""
    server = f"PostgreSQL {arrival.server_version}" if arrival.server_version else "PostgreSQL"
    if arrival.pooler_version:
        return f"A pooler answers ({arrival.pooler_version}), before {server}."
    if arrival.is_pooled:
        return f"A pooler answers, before {server}: the process that ran the query is another."
    return f"{server} answers itself, or a pooler that passes its keys on."


def _of_both(pooled: Arrival, direct: Arrival) -> Iterator[Remark]:
    """Yield what follows from one way being open and the other not."""
    if direct.is_well and direct.is_pooled:
        says = "The direct URL leads to a pooler too: the process that ran the query is another."
        yield Remark(Verdict.NOTE, "direct login", says, "Give migrations a URL of PostgreSQL's.")
    if pooled.is_well is direct.is_well:
        return
    if direct.is_well:
        says = "PostgreSQL itself lets the client in, so the trouble lies with the pooler."
        yield Remark(Verdict.PROBLEM, "the way", says, "The pooler's log has the other half.")
    else:
        says = "The pooler lets the client in and PostgreSQL does not, with this direct URL."
        yield Remark(Verdict.PROBLEM, "the way", says, "Check the direct URL first.")


# --- pooling ---


def _of_pooling(pooling: Pooling, pooled: Arrival) -> Iterator[Remark]:
    if pooling.sharing is Sharing.SHARED:
        says = (
            "Transaction pooling: between two transactions another client had the server. What"
            " belongs to a session (SET, LISTEN, temporary tables, session advisory locks) does not"
            " stay."
        )
        yield Remark(Verdict.NOTE, "pooling", says)
    elif pooling.sharing is Sharing.KEPT:
        is_pool = pooled.is_pooled or pooled.pooler_version
        kind = "Session pooling" if is_pool else "No pooling to be seen"
        says = f"{kind}: a client keeps its server until it disconnects, with all session state."
        yield Remark(Verdict.NOTE, "pooling", says)
    else:
        says = "Two clients at once could not be had, so how servers are shared is not known."
        yield Remark(Verdict.NOTE, "pooling", says)
    if pooling.second_waits:
        says = "A second client got no server while the first was connected: there is only one."
        change = "Raise default_pool_size, or use transaction pooling."
        yield Remark(Verdict.PROBLEM, "pool size", says, change)
    yield from _of_names(pooling)


def _of_names(pooling: Pooling) -> Iterator[Remark]:
    about = "named statements"
    change = (
        "Set max_prepared_statements above 0 in the pooler (PgBouncer 1.21 or newer), or switch"
        " them off in the driver, see below."
    )
    refusal = f": {pooling.names_refusal}" if pooling.names_refusal else ""
    if pooling.names is Names.LOST:
        says = f"A statement was prepared in one transaction and unknown in the next{refusal}."
        yield Remark(Verdict.PROBLEM, about, says, change)
    elif pooling.names is Names.REFUSED:
        yield Remark(Verdict.PROBLEM, about, f"They are refused{refusal}.", change)
    elif pooling.names_collide:
        says = "Another client met this one's statement under the same name (42P05 already exists)."
        yield Remark(Verdict.PROBLEM, about, says, change)
    elif pooling.names is Names.KEPT:
        says = "A statement prepared in one transaction works in the next."
        yield Remark(Verdict.OK, about, says)


def _of_trials(trials: tuple[Trial, ...]) -> Iterator[Remark]:
    about = "start-up parameters"
    refused = [trial for trial in trials if trial.refusal is not None]
    dropped = [trial for trial in trials if trial.refusal is None and not trial.is_applied]
    if refused:
        names = ", ".join(trial.name for trial in refused)
        said = refused[0].refusal
        assert said is not None
        says = f"Refused: {names}. It says: {said}."
        yield Remark(Verdict.NOTE, about, says, blame_for(said).change)
    if dropped:
        names = ", ".join(trial.name for trial in dropped)
        says = f"Accepted, but without effect: {names}."
        change = "Use ALTER ROLE ... SET, or SET LOCAL in each transaction."
        yield Remark(Verdict.NOTE, about, says, change)
    applied = [trial.name for trial in trials if trial.is_applied]
    if applied:
        yield Remark(Verdict.OK, about, f"Taken over: {', '.join(applied)}.")


# --- limits ---


def _of_console(console: ConsoleView, sessions: Sessions | None) -> Iterator[Remark]:
    if console.refusal is not None:
        says = f"It is not to be seen with this user: {console.refusal}."
        change = "A user in admin_users or stats_users may look; not every pooler has one."
        yield Remark(Verdict.NOTE, "console", says, change)
        return
    limits = ", ".join(f"{key} = {value or 'none'}" for key, value in console.settings.items())
    yield Remark(Verdict.OK, "console", f"{console.version}: {limits}.")
    for pool in console.pools:
        if pool.clients_waiting:
            says = (
                f"{pool.clients_waiting} clients of {pool.database}/{pool.user} wait for a server,"
                f" the oldest for {duration(pool.longest_wait_s)}; {pool.servers_active} servers"
                f" are in use, {pool.servers_idle} idle."
            )
            change = "The pooler's limit: see who holds the servers, then default_pool_size."
            yield Remark(Verdict.PROBLEM, "pool", says, change)
    size = console.settings.get("default_pool_size", "")
    if sessions is not None and size.isdecimal():
        yield from _of_sum(int(size), max(len(console.pools), 1), sessions)


def _of_sum(size: int, pools: int, sessions: Sessions) -> Iterator[Remark]:
    """Yield whether all pools together may ask for more than PostgreSQL has."""
    room = sessions.max_connections - sessions.reserved
    if 0 < room < size * pools:
        says = (
            f"{pools} pools of {size} servers may ask for {size * pools} connections, and"
            f" PostgreSQL has {room} (max_connections {sessions.max_connections} less"
            f" {sessions.reserved} reserved): clients would read 'too many clients already'."
        )
        change = "Lower default_pool_size, or set max_db_connections."
        yield Remark(Verdict.PROBLEM, "limits", says, change)


def _of_sessions(sessions: Sessions) -> Iterator[Remark]:
    if sessions.refusal is not None:
        says = f"PostgreSQL's tables cannot be read: {sessions.refusal}."
        yield Remark(Verdict.NOTE, "sessions", says)
        return
    states = ", ".join(f"{count} {state}" for state, count in sessions.counts.items()) or "nobody"
    room = sessions.max_connections - sessions.reserved
    says = f"{sessions.total} of {room} that PostgreSQL has room for, besides ours: {states}."
    if sessions.total >= NEARLY_FULL * room:
        change = "Have fewer servers: smaller pools, or fewer clients that connect directly."
        yield Remark(Verdict.PROBLEM, "sessions", f"This is PostgreSQL's limit. {says}", change)
    else:
        yield Remark(Verdict.OK, "sessions", says)
    yield from _of_idle(sessions)


def _of_idle(sessions: Sessions) -> Iterator[Remark]:
    if not sessions.idle:
        return
    oldest = sessions.idle[0]
    listed = "; ".join(
        f"pid {each.pid} ({each.application or 'no application_name'}) for {duration(each.idle_s)},"
        f" last {each.statement or 'hidden'}"
        for each in sessions.idle
    )
    says = (
        f"Idle in transaction, oldest first: {listed}. Each keeps its server, and its locks. A look"
        " for state = 'active' in pg_stat_activity does not show them: their state is 'idle in"
        " transaction'."
    )
    if oldest.idle_s < LEAKED_AFTER_S:
        yield Remark(Verdict.NOTE, "idle in transaction", says)
        return
    change = (
        "End transactions on every path, and before other work. idle_transaction_timeout (pooler)"
        " or idle_in_transaction_session_timeout (PostgreSQL) ends those that are forgotten."
    )
    yield Remark(Verdict.PROBLEM, "idle in transaction", says, change)


def _of_locks(locks: tuple[LockHolder, ...], pooling: Pooling | None) -> Iterator[Remark]:
    if not locks:
        return
    listed = "; ".join(
        f"pid {each.pid} ({each.application or 'no application_name'}, {each.state or 'hidden'})"
        f" {'holds' if each.is_granted else 'waits for'} {each.key}"
        for each in locks
    )
    is_shared = pooling is not None and pooling.sharing is Sharing.SHARED
    is_left = any(each.is_granted and each.state == "idle" for each in locks)
    if is_shared and is_left:
        says = f"{listed}. A lock on an idle server outlives its client in transaction pooling."
        change = (
            "Use pg_advisory_xact_lock, or the direct URL (migrations of Prisma, Rails, Alembic)."
            " RECONNECT on the pooler's console, or pg_terminate_backend(pid), frees it now."
        )
        yield Remark(Verdict.PROBLEM, "advisory locks", says, change)
    else:
        yield Remark(Verdict.NOTE, "advisory locks", f"{listed}.")
