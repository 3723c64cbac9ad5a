"""`pgpool-lite dev`: PostgreSQL, a transaction port and a session port, in one command.

Called by cli.py. Reads top to bottom as it runs: PostgreSQL, the two poolers, the lines to paste,
the live state until a signal, and everything away again.
"""

from __future__ import annotations

import asyncio
import errno
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pgpool_lite.config.profiles import DEFAULT as DEFAULT_PROFILE
from pgpool_lite.config.profiles import Profile, default_values, load_profile
from pgpool_lite.dev import announce
from pgpool_lite.dev.binaries import Choice, find_binaries
from pgpool_lite.dev.cluster import Cluster
from pgpool_lite.errors import ConfigError
from pgpool_lite.pooler import Pooler

CHOICES: dict[str, Choice] = {"auto": "auto", "system": "system", "embedded": "embedded"}

DEFAULT_PORT = 6543
DEFAULT_SESSION_PORT = 5432
DEFAULT_POOL_SIZE = 5

# Fast enough to watch a burst, slow enough to read.
REFRESH_S = 0.5

# How many ports above the one asked for are tried.
PORTS_TRIED = 100

# Transactions leave these for a look at the server itself when the pools have taken the rest:
# superuser_reserved_connections (3 by default), and as many for tools on the direct port.
SPARE_CONNECTIONS = 6

_CLEAR_LINE = "\r\x1b[K"


@dataclass(frozen=True, slots=True)
class DevOptions:
    """What the command line chose."""

    # "auto", "system" or "embedded" programs for a server of our own, or the URL of a running one.
    postgres: str = "auto"
    # Where a server of our own keeps its data; None throws it away at the end.
    data: Path | None = None
    host: str = "127.0.0.1"
    # None: as the profile has it, else 6543, 5432 and 5.
    port: int | None = None
    session_port: int | None = None
    pool_size: int | None = None
    # The pooler that is stood in for.
    profile: str = DEFAULT_PROFILE
    # max_connections of a server of our own; the session port uses what the pool leaves of it.
    max_connections: int = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """What is started: the options, and where they say nothing the profile."""

    host: str
    port: int
    session_port: int
    pool_size: int
    max_connections: int
    profile: Profile

    @classmethod
    def of(cls, options: DevOptions) -> Plan:
        """Return what the options come to; raises ConfigError for a profile that is none."""
        profile = load_profile(options.profile)
        own_size = default_values(options.profile).get("default_pool_size", DEFAULT_POOL_SIZE)
        return cls(
            options.host,
            _first(options.port, profile.port, DEFAULT_PORT),
            _first(options.session_port, profile.session_port, DEFAULT_SESSION_PORT),
            _first(options.pool_size, int(own_size)),
            options.max_connections,
            profile,
        )


def _first(*candidates: int | None) -> int:
    return next(each for each in candidates if each is not None)


async def run_dev(options: DevOptions) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP and return the exit code.

    Raises ConfigError where PostgreSQL cannot be had as chosen, ServerError where it fails to
    start. However it ends, nothing is left behind but `options.data`.
    """
    stopping, plan = asyncio.Event(), Plan.of(options)
    with _set_on_signals(stopping):
        async with AsyncExitStack() as stack:
            dsn, about = await stack.enter_async_context(_postgres(options))
            pooled = await stack.enter_async_context(_pooled_port(plan, dsn))
            session = await stack.enter_async_context(_session_port(plan, dsn))
            _print_lines(plan, about, pooled, session)
            ends = [
                asyncio.create_task(_set_at_the_end_of(each, stopping))
                for each in (pooled, session)
            ]
            await _show_until(stopping, pooled, session)
        await asyncio.gather(*ends)
    return 0


async def _set_at_the_end_of(pooler: Pooler, stopping: asyncio.Event) -> None:
    """Take SHUTDOWN on one pooler's console as meant for all."""
    await pooler.wait_until_stopped()
    stopping.set()


@contextmanager
def _set_on_signals(stopping: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    # A signal that our parent told us to ignore (nohup, a shell's background job) stays ignored.
    chosen = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    for number in chosen:
        loop.add_signal_handler(number, stopping.set)
    try:
        yield
    finally:
        for number in chosen:
            loop.remove_signal_handler(number)


@asynccontextmanager
async def _postgres(options: DevOptions) -> AsyncIterator[tuple[str, str]]:
    """Have a PostgreSQL: yield its URL, and a few words about it."""
    if "://" in options.postgres:
        yield options.postgres, "a running PostgreSQL"
        return
    cluster = await asyncio.to_thread(_make_cluster, options)
    starting = asyncio.create_task(asyncio.to_thread(cluster.start))
    try:
        await asyncio.shield(starting)
        yield cluster.dsn(), _describe(cluster)
    finally:
        # If we are cancelled, the thread goes on: only a finished start can be undone.
        await asyncio.wait([starting])
        await asyncio.to_thread(cluster.stop)


def _make_cluster(options: DevOptions) -> Cluster:
    choice = CHOICES.get(options.postgres)
    if choice is None:
        raise ConfigError(
            f'"{options.postgres}" is none of auto, system, embedded or a postgresql:// URL',
            key="--postgres",
        )
    return Cluster(
        find_binaries(choice), data=options.data, max_connections=options.max_connections
    )


def _describe(cluster: Cluster) -> str:
    kept = "kept" if cluster.kept_data else "thrown away at the end"
    return (
        f"PostgreSQL {cluster.binaries.version} ({cluster.binaries.source})"
        f" at {cluster.dsn()}, data in {cluster.data} ({kept})"
    )


def _pooled_port(plan: Plan, dsn: str) -> Pooler:
    return Pooler(
        dsn,
        host=plan.host,
        port=_find_port(plan.host, plan.port),
        pool_size=plan.pool_size,
        pool_mode="transaction",
        profile=plan.profile.name,
        session_leaks="warn",
    )


def _session_port(plan: Plan, dsn: str) -> Pooler:
    return Pooler(
        dsn,
        host=plan.host,
        port=_find_port(plan.host, plan.session_port),
        pool_size=max(plan.max_connections - plan.pool_size - SPARE_CONNECTIONS, 1),
        pool_mode="session",
        profile=plan.profile.name,
    )


def _find_port(host: str, wanted: int) -> int:
    """Return the first free port from `wanted` on; 0 stays 0, any free one.

    Raises ConfigError when all that are tried are taken.
    """
    last = min(wanted + PORTS_TRIED, 65536)
    for port in range(wanted, last):
        if _is_free(host, port):
            return port
    raise ConfigError(f"ports {wanted} to {last - 1} of {host} are all taken")


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # As the listener does: connections of an earlier run that linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            # Anything else that is wrong, another port does not cure: the listener will say it.
            return error.errno != errno.EADDRINUSE
        return True


def _print_lines(plan: Plan, about: str, pooled: Pooler, session: Pooler) -> None:
    lines = [f"# {about}"]
    if plan.profile.name != DEFAULT_PROFILE:
        lines.append(announce.profile_line(plan.profile.name, plan.profile.summary))
    if plan.port not in (0, pooled.port):
        lines.append(announce.moved_line("pooled", plan.port, pooled.port))
    if plan.session_port not in (0, session.port):
        lines.append(announce.moved_line("session", plan.session_port, session.port))
    urls = (announce.as_user(each.dsn, plan.profile.user) for each in (pooled, session))
    lines += announce.env_lines(*urls)
    lines.append(announce.console_line(pooled.console_dsn))
    # Flushed: whoever reads us through a pipe waits for these lines.
    print("\n".join(lines), flush=True)


async def _show_until(stopping: asyncio.Event, pooled: Pooler, session: Pooler) -> None:
    """Redraw the state of the pools until `stopping`; without a terminal, only wait."""
    if not sys.stdout.isatty():
        await stopping.wait()
        return
    before = _take_state(pooled)
    while not stopping.is_set():
        now = _take_state(pooled)
        width = shutil.get_terminal_size().columns
        line = announce.state_line(before, now, _take_state(session), width)
        print(_CLEAR_LINE + line, end="", flush=True)
        before = now
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), REFRESH_S)
    print(flush=True)


def _take_state(pooler: Pooler) -> announce.State:
    return announce.add_up(pooler.pools(), pooler.stats(), time.monotonic())
