"""What `pgpool-lite dev` shows: lines for a .env file, and one line of pool state. Pure text.

Called by command.py. Everything but the settings themselves is a `#` comment, so the whole output
can go into a .env file as it is. Nothing here prints, measures time or knows a terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

CONSOLE_DATABASE = "pgbouncer"

# What Prisma's and Vercel's templates append for a pooled URL. `pgbouncer=true` keeps Prisma 5
# from named prepared statements; 15 s covers a database that has to wake up.
PRISMA_PARAMETERS = "pgbouncer=true&connect_timeout=15"


class PoolCounts(Protocol):
    """The part of a pool's status that is shown."""

    @property
    def database(self) -> str:
        """The database of the pool."""

    @property
    def cl_active(self) -> int:
        """Clients that are linked to a server, or need none now."""

    @property
    def cl_waiting(self) -> int:
        """Clients that wait for a server."""

    @property
    def sv_active(self) -> int:
        """Servers that are linked to a client."""

    @property
    def sv_idle(self) -> int:
        """Servers that are ready for a client."""


class TransactionCount(Protocol):
    """The part of a database's statistics that is shown."""

    @property
    def xact_count(self) -> int:
        """Transactions so far."""


@dataclass(frozen=True, slots=True)
class State:
    """All pools of one port, added up at one instant; the console's own are left out."""

    at: float
    clients_active: int
    clients_waiting: int
    servers_active: int
    servers_idle: int
    xact_count: int


def add_up(pools: Iterable[PoolCounts], stats: Mapping[str, TransactionCount], now: float) -> State:
    """Return the sums over these pools and these databases."""
    counted = [pool for pool in pools if pool.database != CONSOLE_DATABASE]
    return State(
        at=now,
        clients_active=sum(pool.cl_active for pool in counted),
        clients_waiting=sum(pool.cl_waiting for pool in counted),
        servers_active=sum(pool.sv_active for pool in counted),
        servers_idle=sum(pool.sv_idle for pool in counted),
        xact_count=sum(
            count.xact_count for name, count in stats.items() if name != CONSOLE_DATABASE
        ),
    )


def state_line(before: State, now: State, session: State, width: int) -> str:
    """Return the pooled port's state, the rate since `before`, and the session port's clients.

    The line is cut to less than `width` columns, so that redrawing it in place never scrolls;
    the pooled port's part fits into 80.
    """
    line = (
        f"clients {now.clients_active} active {now.clients_waiting} waiting"
        f" | servers {now.servers_active} active {now.servers_idle} idle"
        f" | {transactions_per_s(before, now):.0f} transactions/s"
        f" | session port: clients {session.clients_active} active"
        f" {session.clients_waiting} waiting"
    )
    return line[: max(width - 1, 0)]


def transactions_per_s(before: State, now: State) -> float:
    """Return the rate of transactions between two states; 0 for two of the same instant."""
    elapsed_s = now.at - before.at
    return (now.xact_count - before.xact_count) / elapsed_s if elapsed_s > 0 else 0.0


def env_lines(pooled_dsn: str, session_dsn: str) -> list[str]:
    """Return the settings under the names that Prisma, Drizzle, Vercel and Supabase use."""
    return [
        f'DATABASE_URL="{pooled_dsn}"',
        f'DIRECT_URL="{session_dsn}"',
        f'POSTGRES_PRISMA_URL="{with_parameters(pooled_dsn, PRISMA_PARAMETERS)}"',
        f'POSTGRES_URL_NON_POOLING="{session_dsn}"',
    ]


def with_parameters(dsn: str, parameters: str) -> str:
    """Return the URL with more parameters behind those it has."""
    return f"{dsn}{'&' if '?' in dsn else '?'}{parameters}"


def console_line(console_dsn: str) -> str:
    """Return the line that tells how to open the admin console."""
    return f"# console: psql '{console_dsn}' -c 'SHOW POOLS'"


def profile_line(name: str, summary: str) -> str:
    """Return the line that says which pooler is stood in for."""
    return f"# profile {name}: {summary}"


def as_user(url: str, name: str) -> str:
    """Return a URL with its user written as the stood-in pooler has it: `{user}` in `name`.

    A URL with a password stays as it is, for that belongs to the user's own name.
    """
    scheme, separator, rest = url.partition("://")
    user, at, place = rest.rpartition("@")
    if not at or ":" in user:
        return url
    return f"{scheme}{separator}{name.replace('{user}', user)}@{place}"


def moved_line(which: str, wanted: int, got: int) -> str:
    """Return the line that says that a port is not the one asked for."""
    return f"# NOTE: port {wanted} is taken; the {which} port is {got}"
