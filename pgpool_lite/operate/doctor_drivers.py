"""Which lines of configuration fit what was found? For the drivers that people use.

A line is chosen by three things: whether clients share servers between transactions, whether named
statements survive that, and whether there is a way past the pooler for migrations. Nothing of a URL
is repeated: URL and DIRECT_URL stand for the reader's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Found:
    """What decides about a driver's configuration."""

    #: Clients share server connections between transactions.
    is_shared: bool
    #: Named prepared statements work from one transaction to the next.
    keeps_names: bool
    #: There is a URL that leads past the pooler.
    has_direct: bool
    #: Start-up parameters that are refused.
    refused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Advice:
    """One driver's lines, and what to know about them."""

    driver: str
    lines: tuple[str, ...]
    remark: str = ""


def advise(found: Found) -> tuple[Advice, ...]:
    """Return what fits, driver by driver."""
    return tuple(make(found) for make in _DRIVERS)


def _prisma(found: Found) -> Advice:
    needs_switch = found.is_shared and not found.keeps_names
    lines = [f'DATABASE_URL="URL{"?pgbouncer=true" if needs_switch else ""}"']
    if found.is_shared:
        lines.append('DIRECT_URL="DIRECT_URL"   # directUrl = env("DIRECT_URL"), for migrations')
    remark = (
        "P2024 is Prisma's own pool (connection_limit, pool_timeout), not the database's."
        " Migrations need session state (an advisory lock), so they take the direct URL."
    )
    if not needs_switch:
        remark = f"pgbouncer=true is not needed: named statements work here. {remark}"
    return Advice("Prisma", tuple(lines), remark)


def _drizzle(found: Found) -> Advice:
    needs_switch = found.is_shared and not found.keeps_names
    options = ", { prepare: false }" if needs_switch else ""
    lines = [f"postgres(process.env.DATABASE_URL{options})   // postgres.js"]
    lines.append("new Pool({ connectionString: process.env.DATABASE_URL })   // pg: nothing else")
    if found.is_shared:
        lines.append("dbCredentials: { url: process.env.DIRECT_URL }   // drizzle.config.ts")
    return Advice("Drizzle", tuple(lines), _no_session_state(found))


def _sqlalchemy(found: Found) -> Advice:
    lines: tuple[str, ...]
    if found.is_shared and not found.keeps_names:
        lines = (
            'create_engine("postgresql+psycopg://...", connect_args={"prepare_threshold": None})',
            'create_async_engine("postgresql+asyncpg://...", poolclass=NullPool, connect_args={',
            '    "statement_cache_size": 0,',
            '    "prepared_statement_name_func": lambda: f"__asyncpg_{uuid4()}__"})',
        )
    else:
        lines = ('create_engine("postgresql+psycopg://...", pool_pre_ping=True)',)
    return Advice("SQLAlchemy", lines, _no_session_state(found))


def _django(found: Found) -> Advice:
    if not found.is_shared:
        return Advice("Django", ('"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True',))
    lines = ('"DISABLE_SERVER_SIDE_CURSORS": True', '"CONN_MAX_AGE": 0')
    remark = "Named statements are off by default (prepare_threshold None). migrate: direct URL."
    if "options" in found.refused or "search_path" in found.refused:
        remark += ' No "options": "-c search_path=..." in OPTIONS: ALTER ROLE ... SET search_path.'
    return Advice("Django", lines, remark)


def _asyncpg(found: Found) -> Advice:
    if found.is_shared and not found.keeps_names:
        return Advice("asyncpg", ("await asyncpg.create_pool(URL, statement_cache_size=0)",))
    return Advice("asyncpg", ("await asyncpg.create_pool(URL)",), _no_session_state(found))


def _psycopg(found: Found) -> Advice:
    if found.is_shared and not found.keeps_names:
        return Advice("psycopg", ("psycopg.connect(URL, prepare_threshold=None)",))
    return Advice("psycopg", ("psycopg.connect(URL)",), _no_session_state(found))


def _pgx(found: Found) -> Advice:
    if found.is_shared and not found.keeps_names:
        return Advice(
            "pgx",
            ("URL?default_query_exec_mode=exec",),
            "exec uses the unnamed statement; simple_protocol where even that is too much.",
        )
    return Advice("pgx", ("pgxpool.New(ctx, URL)",), _no_session_state(found))


def _jdbc(found: Found) -> Advice:
    needs_switch = found.is_shared and not found.keeps_names
    line = f"jdbc:postgresql://host:port/db{'?prepareThreshold=0' if needs_switch else ''}"
    remark = _no_session_state(found)
    if "extra_float_digits" in found.refused:
        remark = (
            "It sends extra_float_digits at login: the pooler needs ignore_startup_parameters ="
            " extra_float_digits."
        )
    return Advice("JDBC", (line,), remark)


def _rails(found: Found) -> Advice:
    if not found.is_shared:
        return Advice("Rails", ("url: <%= ENV['DATABASE_URL'] %>",))
    lines = [] if found.keeps_names else ["prepared_statements: false"]
    lines.append("advisory_locks: false   # or migrate with the direct URL")
    return Advice("Rails", tuple(lines), "variables: in database.yml are SETs; they do not stay.")


def _no_session_state(found: Found) -> str:
    if not found.is_shared:
        return ""
    way = "the direct URL" if found.has_direct else "a session-mode or direct URL"
    return f"Migrations, LISTEN and session locks: {way}."


_DRIVERS: Final[tuple[Callable[[Found], Advice], ...]] = (
    *(_prisma, _drizzle, _sqlalchemy, _django, _asyncpg, _psycopg, _pgx, _jdbc, _rails),
)
