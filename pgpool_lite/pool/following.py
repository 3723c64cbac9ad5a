"""How does a plain SET follow its client? For pools whose clients are watched.

What a SET was given is not read from its text, where it may be an expression, DEFAULT, or too long.
Once its transaction has committed the server itself is asked for the value, and what it says is
written down: as the server's, and as the client's. Until it has answered, the client keeps its
server. A RESET needs no question: the client's value is again what it asked for at login.

      from the client    SET a = 1                            SELECT ...
      to the server      SET a = 1      [what is a?]          SELECT ...
      from the server               ok               a is 1              rows, and part

What cannot follow is left to session_leaks: a name that is unknown, a value that is no ASCII or
too long, the few of `NEVER_FOLLOWED`, and what `connect_query` sets on every server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgpool_lite.diagnose.journal import TEXT_LIMIT, Cleared, Leak
from pgpool_lite.diagnose.leaks import effects_of
from pgpool_lite.diagnose.rules import Harm, Kind
from pgpool_lite.pool.mends import Mend
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.evidence import Effect
from pgpool_lite.session.following import MAX_SETTINGS, NEVER_FOLLOWED, FollowedParameters, fits
from pgpool_lite.session.ledger import Ledger
from pgpool_lite.session.parameters import quote_literal
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.watch import Watch

if TYPE_CHECKING:
    from pgpool_lite.pool.pool import Pool

#: What a value may have in bytes: it is sent at each change of servers.
MAX_VALUE: Final = 4_000


def sift(
    server: ServerSession, pool: Pool, watch: Watch, ledger: Ledger, effects: list[Effect]
) -> list[Effect]:
    """Take the settings that follow out of what has happened; return the rest, in order.

    A client that has been parted from its server meanwhile is not there to be followed.
    """
    tracked, client = server.tracked, server.client
    if not isinstance(tracked, FollowedParameters) or client is None or client.watch is not watch:
        return effects
    fixed = names_set_by(pool.database.settings.connect_query or "")
    rest = []
    for effect in effects:
        change = effect.change
        if isinstance(change, Cleared):
            rest.append(effect)
            if change.kind is Kind.SETTING:
                _reset(tracked, server, client, ledger, change.name)
        elif (
            change.rule.kind is Kind.SETTING
            and change.rule.harm is Harm.LEAVES
            and _may_follow(change.name)
            and change.name not in fixed
            and (change.name in ledger.unread or len(ledger.unread) < MAX_SETTINGS)
        ):
            ledger.unread[change.name] = effect
        else:
            rest.append(effect)
    return rest


def _may_follow(name: str) -> bool:
    return (
        name.isascii()
        and name.isprintable()
        and 0 < len(name) < TEXT_LIMIT
        and name not in NEVER_FOLLOWED
    )


def _reset(
    tracked: FollowedParameters,
    server: ServerSession,
    client: ClientSession,
    ledger: Ledger,
    name: str,
) -> None:
    """Note that a client has reset a setting, or with "" all of them."""
    forget(server, name)
    mine = tracked.settings_of(client.parameters)
    kept = {key: value for key, value in mine.items() if name not in ("", key)}
    client.parameters = tracked.with_settings(client.parameters, kept)
    ledger.unread = {key: each for key, each in ledger.unread.items() if name not in ("", key)}
    _keep_wishes(client)


def forget(server: ServerSession, name: str) -> None:
    """Note that a setting of a server is again what it comes with; "" means all of them."""
    tracked = server.tracked
    if isinstance(tracked, FollowedParameters):
        there = tracked.settings_of(server.parameters)
        kept = {key: value for key, value in there.items() if name not in ("", key)}
        server.parameters = tracked.with_settings(server.parameters, kept)


def known_of(server: ServerSession) -> dict[str, str]:
    """Return the settings that a server is known to have beside what it comes with."""
    tracked = server.tracked
    if not isinstance(tracked, FollowedParameters):
        return {}
    return tracked.settings_of(server.parameters)


def _keep_wishes(client: ClientSession) -> None:
    """Have a client want what it asked for at login, where it wants nothing else."""
    watch = client.watch
    if watch is None or not isinstance(watch.tracked, FollowedParameters):
        return
    tracked = watch.tracked
    wishes = tracked.settings_of(watch.wishes)
    if wishes:
        mine = tracked.settings_of(client.parameters)
        client.parameters = tracked.with_settings(client.parameters, {**wishes, **mine})


def question(ledger: Ledger) -> str:
    """Return the query that asks a server for what is unread, and note that it is asked."""
    ledger.asked, ledger.unread = ledger.unread, {}
    names = (quote_literal(name) for name in ledger.asked)
    rows = ",".join(f"({name},pg_catalog.current_setting({name},true))" for name in names)
    return (
        "SELECT 'setting',n,CASE WHEN pg_catalog.octet_length(v)"
        f" OPERATOR(pg_catalog.<=) {MAX_VALUE} THEN v END FROM (VALUES {rows}) AS s(n,v)"
    )


def take_answer(
    server: ServerSession, pool: Pool, rows: list[tuple[str, str, str | None]], now: float
) -> list[Effect]:
    """Write down what a server has said of its settings; return the effects that cannot follow.

    They are its client's as well, from now on: what comes behind in the read may change that again.
    """
    tracked, ledger, client = server.tracked, server.ledger, server.client
    assert isinstance(tracked, FollowedParameters)
    assert ledger is not None
    assert client is not None
    asked = ledger.asked
    settings, taken = tracked.settings_of(server.parameters), {}
    for _, name, value in rows:
        more = {**settings, name: value or ""}
        if name in asked and value is not None and value.isascii() and fits(more):
            settings, taken[name] = more, value
            change = asked.pop(name).change
            rule_id = change.rule.id if isinstance(change, Leak) else ""
            pool.leak_counters.mends.note(Mend.SETTING, rule_id, now)
    mine = {**tracked.settings_of(client.parameters), **taken}
    client.parameters = tracked.with_settings(client.parameters, mine)
    server.parameters = tracked.with_settings(server.parameters, settings)
    left = list(asked.values())
    ledger.asked = {}
    return left


def names_set_by(connect_query: str) -> set[str]:
    """Return the settings that connect_query gives every server."""
    leaks, _ = effects_of(connect_query.encode(), in_transaction=False)
    return {leak.name for leak in leaks}
