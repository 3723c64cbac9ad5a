"""How is a leak told of? The words of notices, refusals and log lines about session state.

What a rule says, and advises, stands in `diagnose.rules`; here it meets one statement of a client.
"""

from __future__ import annotations

from typing import Final

from pgpool_lite.config import SessionLeaks
from pgpool_lite.diagnose.journal import Leak
from pgpool_lite.diagnose.rules import Harm, Kind
from pgpool_lite.errors import FEATURE_NOT_SUPPORTED, ClientError
from pgpool_lite.session.ledger import NAME_LIMIT, Entry
from pgpool_lite.wire.backend import notice_response

#: What becomes of what a client leaves, by session_leaks.
_CONSEQUENCES: Final = {
    SessionLeaks.WARN: "stays on a server connection that is shared",
    SessionLeaks.ERROR: "stays on a server connection that is shared",
    SessionLeaks.PIN: "stays, and so this client keeps its server connection until it disconnects",
    SessionLeaks.RESET: "is taken back before the server connection's next client",
}


def what(leak: Leak) -> str:
    """Return what was left: its kind, its name and its value."""
    name = leak.name[:NAME_LIMIT]
    if leak.rule.kind in (Kind.SETTING, Kind.ROLE):
        return f"{name} = {leak.value[:NAME_LIMIT]}"
    return f"{leak.rule.kind.value} {name}".rstrip()


def leak_notice(leak: Leak, mode: SessionLeaks) -> bytes:
    """Return the NOTICE to a client that has left something, or relied on something left."""
    if leak.rule.harm is Harm.LEAVES:
        sentence = f"{what(leak)} {_CONSEQUENCES.get(mode, _CONSEQUENCES[SessionLeaks.WARN])}"
    else:
        sentence = f"{what(leak)} is looked for on a server connection that is shared"
    return notice_response(f"{leak.rule.id}: {sentence}", detail=leak.rule.story, hint=_hint(leak))


def refusal(leak: Leak) -> ClientError:
    """Return the error in place of a statement that would leave something."""
    return ClientError(
        f"{leak.rule.id}: {what(leak)} refused: it would stay on a server connection that is"
        " shared",
        sqlstate=FEATURE_NOT_SUPPORTED,
        detail=f"The pooler runs with session_leaks = error. {leak.rule.story}",
        hint=_hint(leak),
    )


def _hint(leak: Leak) -> str:
    return f"{leak.rule.advice} See {leak.rule.page}."


def tell_victim(entry: Entry, now: float) -> str:
    """Return the sentence about what a client has found, and whose it is."""
    culprit = entry.culprit
    sentence = f"ran with {what(entry.leak)}, left by {culprit.name}, {ago(now - culprit.at)}"
    return f"{sentence}, `{culprit.statement}`" if culprit.statement else sentence


def stray_unlock_notice(here: str, holder: Entry | None, there: str, now: float) -> bytes:
    """Return the NOTICE about an unlock that has reached a server which does not hold the lock.

    `here` and `there` name that server, and the one on which `holder` stands, if it is known.
    """
    if holder is None:
        detail = f"The unlock arrived on {here}. Which server connection holds it is not known."
    else:
        detail = (
            f"The unlock arrived on {here}. {what(holder.leak).capitalize()} is held on {there},"
            f" taken by {holder.culprit.name} {ago(now - holder.culprit.at)},"
            f" `{holder.culprit.statement}`."
        )
    return notice_response(
        "PL005: an advisory lock is held by one server connection, and its unlock arrived on"
        " another",
        detail=detail,
        hint="Have what takes session locks, such as migrations, use the direct URL, or take"
        " pg_advisory_xact_lock, which needs no unlock. See docs/rules/PL005.md.",
    )


def ago(seconds: float) -> str:
    """Return how long ago something was, in the largest unit that fits."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
