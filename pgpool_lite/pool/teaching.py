"""What does a client read of an error: PgBouncer's sentence alone, or what is behind it as well?

`explain` is asked at the boundary where an error becomes bytes, once per error that is sent. With
`teaching = off` it takes everything but severity, SQLSTATE and sentence away. Else it keeps what
the error brought along and adds what is missing: who holds the servers where a client had to wait
in vain (`holders`), figures that the pool knows, and the standing text of `lessons`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from pgpool_lite.config import Settings
from pgpool_lite.config.profiles import load_profile
from pgpool_lite.errors import ClientProtocolError, PgPoolLiteError, ServerAtFault
from pgpool_lite.pool import holders
from pgpool_lite.pool.failures import hint_for_failure
from pgpool_lite.pool.lessons import OF_CLIENTS, OF_SERVERS, Lesson, find_lesson
from pgpool_lite.pool.pool import Pool
from pgpool_lite.session.client import ClientSession

#: PgBouncer's words for a client that has to wait (query_wait_notify).
NO_SERVER_YET: Final = "No server connection available in postgres backend, client being queued"


class Names(Protocol):
    """What somebody calls itself who has not come in."""

    @property
    def user(self) -> str:
        """The user it wants to be."""

    @property
    def database(self) -> str:
        """The database it wants to have."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Where an error is sent: what may be looked at to explain it."""

    settings: Settings
    pool: Pool | None = None
    client: ClientSession | None = None
    now: float = 0.0
    #: Who wants in, and where to, in its own words; None where that is over.
    stranger: Names | None = None


def explain(error: PgPoolLiteError, scene: Scene) -> PgPoolLiteError:
    """Return the error as its client is to read it; the one given is not changed."""
    message, sqlstate = _in_the_words_of_the_profile(error, scene)
    if not scene.settings.teaching:
        return PgPoolLiteError(message, sqlstate=sqlstate)
    lesson = lesson_of(error)
    detail, hint = error.detail, error.hint
    if scene.pool is not None and scene.client is not None:
        known, advice = _look(error.message, scene.pool, scene.client, scene.now)
        detail, hint = detail or known, hint or advice
    if lesson is not None:
        detail, hint = detail or lesson.detail, hint or lesson.hint
        hint = f"{hint} See {lesson.anchor}." if hint else f"See {lesson.anchor}."
    return PgPoolLiteError(message, sqlstate=sqlstate, detail=detail, hint=hint)


def _in_the_words_of_the_profile(error: PgPoolLiteError, scene: Scene) -> tuple[str, str]:
    """Return sentence and SQLSTATE as the pooler that is stood in for has them."""
    profile = load_profile(scene.settings.profile)
    if not profile.errors:
        return error.message, error.sqlstate
    return profile.said(error.message, error.sqlstate, _values(scene))


def _values(scene: Scene) -> dict[str, str]:
    """Return what may stand in a profile's sentences, by name."""
    settings, pool, client, stranger = scene.settings, scene.pool, scene.client, scene.stranger
    mode = pool.rules.mode if pool is not None else settings.pool_mode
    wait_s = pool.rules.query_wait_timeout_s if pool is not None else settings.query_wait_timeout
    user = client.user if client is not None else ""
    database = pool.database.name if pool is not None else ""
    if stranger is not None:
        user, database = stranger.user, stranger.database
    return {
        "user": user,
        "database": database,
        "max_client_conn": str(settings.max_client_conn),
        "query_wait_timeout_ms": f"{wait_s * 1000:.0f}",
        "Pool_mode": mode.value.capitalize(),
    }


def lesson_of(error: PgPoolLiteError) -> Lesson | None:
    """Return what there is to say of an error by its sentence, or else by who is to blame."""
    lesson = find_lesson(error.message)
    if lesson is None and isinstance(error, ClientProtocolError):
        return OF_CLIENTS
    if lesson is None and isinstance(error, ServerAtFault):
        return OF_SERVERS
    return lesson


def _look(message: str, pool: Pool, client: ClientSession, now: float) -> tuple[str, str]:
    """Return DETAIL and HINT that only a look at the pool can give, "" where there is nothing."""
    if message.startswith("server login has been failing"):
        return "", hint_for_failure(pool.failure)
    look = _LOOKS.get(message)
    return look(pool, client, now) if look is not None else ("", "")


def _at_waiting(pool: Pool, client: ClientSession, now: float) -> tuple[str, str]:
    waited_s = now - (client.waiting_since or client.connected_at)
    holding = holders.describe(pool, client, now)
    detail = f"Waited {holders.duration(waited_s)} for a server. {holding}"
    return detail, holders.advise(pool, now)


def _at_login(pool: Pool, client: ClientSession, now: float) -> tuple[str, str]:
    return (_at_waiting(pool, client, now)[0], hint_for_failure(pool.failure))


def _at_idle_transaction(pool: Pool, client: ClientSession, now: float) -> tuple[str, str]:
    limit = pool.rules.idle_transaction_timeout_s
    return (
        f"The client left a transaction open, for {_open_for(client, now)} by now, and sent nothing"
        f" for longer than idle_transaction_timeout = {limit:g} s. PostgreSQL has rolled it back."
    ), ""


def _at_transaction(pool: Pool, client: ClientSession, now: float) -> tuple[str, str]:
    limit = pool.rules.transaction_timeout_s
    return (
        f"The transaction was open for {_open_for(client, now)}; transaction_timeout is"
        f" {limit:g} s. PostgreSQL has rolled it back."
    ), ""


def _at_query(pool: Pool, client: ClientSession, now: float) -> tuple[str, str]:
    ran_s = now - client.query_started_at if client.query_started_at else 0.0
    return (
        f"The query ran for {holders.duration(ran_s)}; query_timeout is"
        f" {pool.rules.query_timeout_s:g} s."
    ), ""


def _at_idle(pool: Pool, client: ClientSession, now: float) -> tuple[str, str]:
    rules = pool.rules
    limit = rules.own_client_idle_timeouts_s.get(client.user, rules.client_idle_timeout_s)
    return (
        f"The client asked for nothing for {holders.duration(now - client.requested_at)};"
        f" client_idle_timeout is {limit:g} s. No transaction was open."
    ), ""


def _open_for(client: ClientSession, now: float) -> str:
    return holders.duration(now - (client.xact_started_at or client.requested_at))


#: What is looked at, by sentence.
_LOOKS: Final[dict[str, Callable[[Pool, ClientSession, float], tuple[str, str]]]] = {
    "query_wait_timeout": _at_waiting,
    "query_timeout": _at_waiting,
    NO_SERVER_YET: _at_waiting,
    "client_login_timeout (server down)": _at_login,
    "idle transaction timeout": _at_idle_transaction,
    "transaction timeout": _at_transaction,
    "query timeout": _at_query,
    "client_idle_timeout": _at_idle,
}
