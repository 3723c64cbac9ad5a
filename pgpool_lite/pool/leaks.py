"""What is done about session state that a client has left: the books of a pool, and its policy.

`enter` writes into a server's ledger what has happened; `is_pinned` and `set_errand` answer what
`Pool` asks at a release of a server whose ledger is not clean: does the client keep it
(session_leaks = pin), and what must be run there first (reset). Such a server `retires` at once as
far as the hot path can see, so that each of its releases is looked at with care.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pgpool_lite.config import SessionLeaks
from pgpool_lite.diagnose.journal import TEXT_LIMIT, Cleared, Leak
from pgpool_lite.diagnose.leaks import effects_of
from pgpool_lite.diagnose.rules import Harm, Kind, rule
from pgpool_lite.pool import following
from pgpool_lite.pool.mends import Mend, Mends
from pgpool_lite.pool.rules import PoolRules
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.evidence import Effect, standing
from pgpool_lite.session.ledger import Entry, Errand, Ledger, Party
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.victims import hear
from pgpool_lite.session.watch import Watch

if TYPE_CHECKING:
    from pgpool_lite.pool.pool import Pool

#: Why a server is closed whose client was pinned to it.
PINNED_CLIENT_LEFT: Final = "its pinned client left"
#: Why a server is closed that has something on it which no statement takes back.
UNCLEANABLE: Final = "what a client left cannot be taken back"


@dataclass(slots=True)
class LeakCounters:
    """What has come of session_leaks in one pool since the start."""

    leak_count: int = 0
    victim_count: int = 0
    refusal_count: int = 0
    pin_count: int = 0
    reset_count: int = 0
    #: Seconds for which servers were cleaned, and so were nobody's.
    reset_time: float = 0.0
    #: Leaks that could not be noted, because there were too many.
    dropped_count: int = 0
    #: What did not break.
    mends: Mends = field(default_factory=Mends)


def enter(
    server: ServerSession,
    pool: Pool,
    watch: Watch,
    effects: list[Effect],
    now: float,
    *,
    follows: bool = True,
) -> list[tuple[Leak, Effect]]:
    """Write what has happened on a server into its ledger.

    Return what the client is to be told of, and the log: once per rule. `follows`: settings may go
    with their client.
    """
    counters = pool.leak_counters
    told: list[tuple[Leak, Effect]] = []
    ledger = server.ledger or Ledger()
    was_clean, stood = server.ledger is None, ledger.stands
    finds_its_own = is_pinned(server, pool.rules)
    if follows:
        effects = following.sift(server, pool, watch, ledger, effects)
    for effect in standing(effects):
        change = effect.change
        if isinstance(change, Cleared):
            ledger.clear(change)
            continue
        if change.rule.harm is Harm.LEAVES:
            counters.leak_count += 1
            culprit = watch.party(effect.statement, effect.tags, now)
            if ledger.record(change, culprit) is None:
                counters.dropped_count += 1
        elif finds_its_own:
            continue  # what it relies on is here
        if change.rule.id not in watch.told:
            watch.told.add(change.rule.id)
            told.append((change, effect))
    dropped, watch.evidence.dropped = watch.evidence.dropped, 0
    ledger.dropped += dropped
    counters.dropped_count += dropped
    server.ledger = None if ledger.is_clean else ledger
    if ledger.stands and not stood and pool.rules.session_leaks is SessionLeaks.PIN:
        _count_pin(ledger, counters, now)
    if was_clean is not (server.ledger is None):
        pool.apply_rules(server)
    return told


def _count_pin(ledger: Ledger, counters: LeakCounters, now: float) -> None:
    """Count a client that keeps its server from now on, by the rule that it broke first."""
    counters.pin_count += 1
    first = next(iter(ledger.entries.values()), None)
    counters.mends.note(Mend.PIN, first.leak.rule.id if first is not None else "", now)


def notice_victim(
    server: ServerSession, pool: Pool, watch: Watch, data: bytes, now: float
) -> list[Entry]:
    """Return what a client is the first to find on its server, as far as `data` can notice it."""
    ledger = server.ledger
    assert ledger is not None
    found = ledger.notice(watch.party_of_read(data, now), hear(data, names_pass=watch.names_pass))
    pool.leak_counters.victim_count += len(found)
    return found


def needs_care(server: ServerSession, rules: PoolRules) -> bool:
    """Say whether something stands on a server that its release has to do with."""
    ledger = server.ledger
    does_something = rules.session_leaks in (SessionLeaks.PIN, SessionLeaks.RESET)
    return ledger is not None and (does_something or ledger.is_following)


def is_pinned(server: ServerSession, rules: PoolRules) -> bool:
    """Say whether the client of a server is pinned to it, for good or until its SET is known."""
    ledger = server.ledger
    is_kept = rules.session_leaks is SessionLeaks.PIN
    return ledger is not None and (is_kept or ledger.is_following)


def set_errand(server: ServerSession, client: ClientSession | None, pool: Pool) -> None:
    """Decide what is to be run on a server that `client` has released, or that it is closed."""
    rules = pool.rules
    if needs_care(server, rules):
        server.retires_at = server.connected_at + rules.server_lifetime_s
        if is_pinned(server, rules):
            server.close_reason = server.close_reason or PINNED_CLIENT_LEFT
            return
    if rules.reset_query:
        return  # it cleans as well
    watch = client.watch if client is not None else None
    if rules.verifies_leaks and watch is not None:
        server.errand = Errand(VERIFICATION, watch.party("", "", server.released_at))
    else:
        _set_cleaning(server, pool)


def _set_cleaning(server: ServerSession, pool: Pool) -> None:
    """Have a server cleaned if the rules want it, and closed if it cannot be."""
    if server.ledger is None or pool.rules.session_leaks is not SessionLeaks.RESET:
        return
    sql = cleaning_sql(server.ledger, pool.database.settings.connect_query or "")
    if sql:
        server.errand = Errand(sql)
    else:
        server.close_reason = server.close_reason or UNCLEANABLE


def has_more_to_do(server: ServerSession, pool: Pool, now: float) -> bool:
    """Take the answer to a query of our own on a server in TESTED; say whether one more follows."""
    errand, server.errand = server.errand, None
    if errand is None:
        _note_reset_query(server, pool)
    elif errand.suspect is None:
        pool.leak_counters.reset_count += 1
        pool.leak_counters.reset_time += now - server.requested_at
        server.ledger = None
        pool.apply_rules(server)
    else:
        _set_cleaning(server, pool)
    return server.errand is not None


def _note_reset_query(server: ServerSession, pool: Pool) -> None:
    """Note what a reset query, or a check, has taken off a server."""
    if not pool.rules.reset_query:
        return
    for cleared in effects_of(pool.rules.reset_query.encode(), in_transaction=False)[1]:
        if cleared.kind is Kind.SETTING:
            following.forget(server, cleared.name)
        if server.ledger is not None:
            server.ledger.clear(cleared)
    if server.ledger is not None and server.ledger.is_clean:
        server.ledger = None


# --- asking ---

_VISIBLE: Final = {
    "setting": rule("PL001"),
    "role": rule("PL003"),
    "advisory lock": rule("PL004"),
    "temporary table": rule("PL006"),
    "held cursor": rule("PL007"),
    "prepared statement": rule("PL009"),
    "channel": rule("PL011"),
}
_VISIBLE_KINDS: Final = frozenset(each.kind for each in _VISIBLE.values())
#: Asks a server what stands on it: kind, name and value. What the pooler prepares there is left
#: out; what else has come by the protocol is a client's, whose names pass as they are.
VERIFICATION: Final = """\
SELECT 'setting', name, setting FROM pg_catalog.pg_settings WHERE source = 'session'
UNION ALL SELECT 'role', 'role', current_user WHERE current_user <> session_user
UNION ALL SELECT 'advisory lock', CASE objsubid WHEN 1
 THEN (classid::pg_catalog.int8 << 32 | objid::pg_catalog.int8)::pg_catalog.text
 ELSE classid || ', ' || objid END, ''
 FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid()
UNION ALL SELECT 'temporary table', relname, '' FROM pg_catalog.pg_class
 WHERE relnamespace = pg_catalog.pg_my_temp_schema() AND relkind IN ('r', 'p', 'v', 'S')
UNION ALL SELECT 'held cursor', name, '' FROM pg_catalog.pg_cursors WHERE is_holdable
UNION ALL SELECT 'prepared statement', name, '' FROM pg_catalog.pg_prepared_statements
 WHERE from_sql OR name !~ '^PGBOUNCER_'
UNION ALL SELECT 'channel', channel, '' FROM pg_catalog.pg_listening_channels() AS channel"""


def verify(
    server: ServerSession, pool: Pool, suspect: Party, rows: list[tuple[str, str, str]]
) -> list[Leak]:
    """Take what a server says of itself for its ledger; return what was not known before.

    What the server cannot tell stays as it was noted: libraries, and settings of nobody's (`a.b`).
    """
    usual = following.names_set_by(pool.database.settings.connect_query or "")
    known = following.known_of(server)
    ledger = server.ledger or Ledger()
    found = {
        (_VISIBLE[kind].kind, name): Leak(_VISIBLE[kind], name, value, 0)
        for kind, name, value in rows
        if name not in usual
        and name.lower() not in known
        and not server.tracked.follows(server.parameters, name.lower())
    }
    ledger.entries = {
        key: entry
        for key, entry in ledger.entries.items()
        if key in found or key[0] not in _VISIBLE_KINDS or "." in key[1] or "$" in key[1]
    }
    new = [leak for key, leak in found.items() if key not in ledger.entries]
    for leak in new:
        pool.leak_counters.leak_count += 1
        if ledger.record(leak, suspect) is None:
            pool.leak_counters.dropped_count += 1
    ledger.count()
    server.ledger = None if ledger.is_clean else ledger
    return new


# --- cleaning ---


def cleaning_sql(ledger: Ledger, connect_query: str) -> str:
    """Return the statements that take exactly what a ledger says off its server.

    "" if there are none for it: it says that there is more, or a name cannot be told, or it is of a
    kind that nothing takes back. `connect_query` runs again where a setting or role is reset, for
    it may have set that.
    """
    undos = [_undo(entry.leak) for entry in ledger.entries.values()]
    if ledger.dropped or "" in undos:
        return ""
    if connect_query and any(kind in (Kind.SETTING, Kind.ROLE) for kind, _ in ledger.entries):
        undos.append(connect_query)
    return ";".join(dict.fromkeys(undos))


_WHOLE_KINDS: Final = {
    Kind.ADVISORY_LOCK: "SELECT pg_catalog.pg_advisory_unlock_all()",
    Kind.TEMP_TABLE: "DISCARD TEMP",
}
_VERBS: Final = {
    Kind.LISTEN: "UNLISTEN",
    Kind.HELD_CURSOR: "CLOSE",
    Kind.PREPARED: "DEALLOCATE",
}


def _undo(leak: Leak) -> str:
    """Return the statement that takes a leak back, "" if there is none."""
    kind, name = leak.rule.kind, leak.name
    if kind in _WHOLE_KINDS:
        return _WHOLE_KINDS[kind]
    if kind is Kind.ROLE:
        is_session = name == "session_authorization"
        return "RESET SESSION AUTHORIZATION" if is_session else "RESET ROLE"
    if not name or "\ufffd" in name or len(name) >= TEXT_LIMIT:
        return ""  # what it is called cannot be told
    if kind is Kind.SETTING:
        return "RESET " + ".".join(_quoted(part) for part in name.split("."))
    return f"{_VERBS[kind]} {_quoted(name)}" if kind in _VERBS else ""


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# --- advisory locks ---


def lock_elsewhere(pool: Pool, client_id: int) -> tuple[ServerSession, Entry] | None:
    """Return the server of a pool that holds an advisory lock of a client, and what it holds."""
    for servers in pool.servers.values():
        for server in servers:
            for entry in server.ledger.entries.values() if server.ledger is not None else ():
                is_lock = entry.leak.rule.kind is Kind.ADVISORY_LOCK
                if is_lock and entry.culprit.client_id == client_id:
                    return server, entry
    return None
