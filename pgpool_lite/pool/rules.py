"""The limits and habits of one pool, resolved from all the places where they can be set.

PgBouncer lets a setting stand in [pgbouncer], be overridden per database and again per user. A
pool asks for each number often and should not know of these places, so they are resolved once,
when the pool is made and when the configuration is reloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pgpool_lite.config import (
    DatabaseSettings,
    PoolMode,
    PreparedStatementErrors,
    PreparedStatements,
    SessionLeaks,
    Settings,
    SqlPreparedStatements,
    UserSettings,
)
from pgpool_lite.session.refusals import StatementRules

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PoolRules:
    """What holds for one (database, user). Times in seconds; 0 switches a limit off."""

    mode: PoolMode = PoolMode.TRANSACTION
    pool_size: int = 20
    min_pool_size: int = 0
    #: Servers that a pool may have on top for a client that has waited for this long; 0: never.
    reserve_size: int = 0
    reserve_timeout_s: float = 5.0
    #: Servers of the database, and of the user, over all pools; 0: any number.
    max_db_connections: int = 0
    max_user_connections: int = 0
    round_robin: bool = False
    #: Sent to a server before its next client, "" for none.
    reset_query: str = ""
    #: Idle for longer than this, a server is checked before it is used.
    check_delay_s: float = 30.0
    #: None: no checks. The empty query, `<empty>` in the file, does nothing but be answered.
    check_query: str | None = ""
    server_lifetime_s: float = 3600.0
    server_idle_timeout_s: float = 600.0
    login_retry_s: float = 15.0
    query_timeout_s: float = 0.0
    #: The same for clients that still wait for a server; a user's own does not count there.
    waiting_query_timeout_s: float = 0.0
    query_wait_timeout_s: float = 120.0
    query_wait_notify_s: float = 5.0
    idle_transaction_timeout_s: float = 0.0
    transaction_timeout_s: float = 0.0
    client_idle_timeout_s: float = 0.0
    #: What holds instead for clients that logged in as one of these users.
    own_query_wait_timeouts_s: Mapping[str, float] = field(default_factory=dict)
    own_client_idle_timeouts_s: Mapping[str, float] = field(default_factory=dict)
    client_login_timeout_s: float = 60.0
    cancel_wait_timeout_s: float = 10.0
    #: How named prepared statements are treated; None: names pass as they are.
    statements: StatementRules | None = None
    #: What happens when a client leaves session state behind.
    session_leaks: SessionLeaks = SessionLeaks.OFF
    #: A released server is asked what stands on it.
    verifies_leaks: bool = False
    #: What clients are told of the pool at login, as ParameterStatus; PgBouncer's words.
    told: tuple[tuple[str, str], ...] = ()
    #: A pool whose server user is fixed is kept at min_pool_size even without clients.
    has_forced_user: bool = False
    #: An obsolete server is closed between two transactions of a session already.
    closes_fast: bool = False
    #: Errors say what is behind them (teaching).
    teaches: bool = True

    @property
    def checks_every_use(self) -> bool:
        """A released server is checked before its next client, however soon that comes."""
        return self.check_query is not None and not self.check_delay_s and not self.reset_query

    @property
    def names_pass(self) -> bool:
        """Names of statements pass as they are although servers are shared."""
        return self.statements is None and self.mode is not PoolMode.SESSION


def resolve(
    settings: Settings,
    database: DatabaseSettings,
    user: UserSettings,
    users: Iterable[UserSettings] = (),
) -> PoolRules:
    """Return what holds where these meet: the user's word, else the database's, else everyone's.

    `user` is who the pool's servers log in as. Clients may have come as one of `users`: some
    timeouts of theirs follow them.
    """
    mode = _first(user.pool_mode, database.pool_mode, settings.pool_mode)
    statement_limit = _statement_limit(settings, database)
    needs_reset = mode is PoolMode.SESSION or settings.server_reset_query_always
    return PoolRules(
        mode=mode,
        pool_size=_first(user.pool_size, database.pool_size, settings.default_pool_size),
        min_pool_size=min_pool_size(settings, database),
        reserve_size=_first(
            user.reserve_pool_size, database.reserve_pool_size, settings.reserve_pool_size
        ),
        reserve_timeout_s=settings.reserve_pool_timeout,
        max_db_connections=_first(database.max_db_connections, settings.max_db_connections),
        max_user_connections=_first(user.max_user_connections, settings.max_user_connections),
        round_robin=settings.server_round_robin,
        reset_query=settings.server_reset_query if needs_reset else "",
        check_delay_s=settings.server_check_delay,
        check_query=_check_query(settings.server_check_query),
        server_lifetime_s=_first(database.server_lifetime, settings.server_lifetime),
        server_idle_timeout_s=settings.server_idle_timeout,
        login_retry_s=settings.server_login_retry,
        query_timeout_s=_first(user.query_timeout, settings.query_timeout),
        waiting_query_timeout_s=settings.query_timeout,
        query_wait_timeout_s=_first(database.query_wait_timeout, settings.query_wait_timeout),
        own_query_wait_timeouts_s=_those_set(users, lambda each: each.query_wait_timeout),
        own_client_idle_timeouts_s=_those_set(users, lambda each: each.client_idle_timeout),
        query_wait_notify_s=settings.query_wait_notify,
        idle_transaction_timeout_s=_first(
            user.idle_transaction_timeout, settings.idle_transaction_timeout
        ),
        transaction_timeout_s=_first(user.transaction_timeout, settings.transaction_timeout),
        client_idle_timeout_s=settings.client_idle_timeout,
        client_login_timeout_s=settings.client_login_timeout,
        cancel_wait_timeout_s=settings.cancel_wait_timeout,
        statements=_statement_rules(settings, database, mode),
        session_leaks=_session_leaks(settings, database, user, mode),
        verifies_leaks=settings.session_leaks_verify
        and _session_leaks(settings, database, user, mode) is not SessionLeaks.OFF,
        told=(
            ("pgbouncer.max_prepared_statements", str(statement_limit)),
            ("pgbouncer.pool_mode", mode.value),
        ),
        has_forced_user=database.user is not None,
        closes_fast=settings.server_fast_close,
        teaches=settings.teaching,
    )


def min_pool_size(settings: Settings, database: DatabaseSettings) -> int:
    """Return how many servers each pool of a database is to have; asked for at every sweep."""
    return _first(database.min_pool_size, settings.min_pool_size)


def _those_set(
    users: Iterable[UserSettings], timeout: Callable[[UserSettings], float | None]
) -> dict[str, float]:
    """Return the timeouts of the users that have one of their own."""
    return {user.name: own for user in users if (own := timeout(user)) is not None}


def _statement_rules(
    settings: Settings, database: DatabaseSettings, mode: PoolMode
) -> StatementRules | None:
    """Return how named prepared statements are treated, None where they pass as they are.

    With session pooling they need no help: a client keeps its server.
    """
    limit = _statement_limit(settings, database)
    treatment = _first(database.prepared_statements, settings.prepared_statements)
    if treatment is PreparedStatements.DECIDED:
        treatment = PreparedStatements.REWRITE if limit else PreparedStatements.PASS
    if treatment is PreparedStatements.PASS or mode is PoolMode.SESSION:
        return None
    return StatementRules(
        rejects=treatment is PreparedStatements.REJECT,
        limit=limit or Settings().max_prepared_statements,
        answers_like_postgres=settings.prepared_statement_errors
        is PreparedStatementErrors.POSTGRES,
        tracks_sql=_first(database.sql_prepared_statements, settings.sql_prepared_statements)
        is SqlPreparedStatements.TRACK,
        retries_stale=settings.retry_stale_plans,
        teaches=settings.teaching,
    )


def _session_leaks(
    settings: Settings, database: DatabaseSettings, user: UserSettings, mode: PoolMode
) -> SessionLeaks:
    """Return what happens to session state; in session pooling it is the client's own."""
    if mode is PoolMode.SESSION:
        return SessionLeaks.OFF
    return _first(user.session_leaks, database.session_leaks, settings.session_leaks)


def _statement_limit(settings: Settings, database: DatabaseSettings) -> int:
    return _first(database.max_prepared_statements, settings.max_prepared_statements)


def _check_query(text: str) -> str | None:
    """Return what to send: PgBouncer writes `<empty>` for "" because "" stands for "never"."""
    return "" if text == "<empty>" else text or None


def _first(*candidates: T | None) -> T:
    """Return the first that is set; the last candidate always is."""
    for candidate in candidates:
        if candidate is not None:
            return candidate
    raise AssertionError("the global setting is always set")
