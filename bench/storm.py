"""What does pooling save a burst of short-lived clients? The same burst, without and with a pool.

200 clients come within a second, first straight at a PostgreSQL with max_connections=100, then
through a pool of 5. `python -m bench.storm` prints what became of them and draws it.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.builds import in_place
from bench.compare import say
from bench.errors import BenchError, require
from bench.postgres import Database, Postgres, provide
from bench.targets import PoolSettings, Target, pgbouncer, pgpool_lite
from pgpool_lite.errors import PgPoolLiteError

if TYPE_CHECKING:  # asyncpg is an extra: whoever lacks it gets a sentence, not a traceback
    from bench.burst import Figures, Storm

# Applications do not connect as superusers, and so leave PostgreSQL its reserved connections.
APPLICATION = "application"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both storms; return 0 when no client failed through the pool, else 1."""
    options = parse_arguments(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run(options)
    except (BenchError, PgPoolLiteError) as error:
        say(f"storm: {error}")
        return 1
    except KeyboardInterrupt:
        say("storm: interrupted")
        return 130


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    title = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m bench.storm", description=title)
    add = parser.add_argument
    add("--clients", type=int, default=200, help="default: 200")
    add("--pool-size", type=int, default=5, help="default: 5")
    add("--max-connections", type=int, default=100, help="of the throw-away server (default: 100)")
    add("--postgres", metavar="URL", help="use this server instead of a throw-away one")
    add("--pgbouncer", metavar="PATH", help="through the real PgBouncer instead of pgpool_lite")
    picture = parser.add_mutually_exclusive_group()
    picture.add_argument("--output", type=Path, default=Path("docs/storm.png"), metavar="FILE")
    picture.add_argument("--no-picture", action="store_true", help="print the figures only")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Run both storms, print the figures, draw the picture."""
    require("asyncpg")
    if not options.no_picture:
        require("matplotlib", "use --no-picture")
    with provide(options.postgres, max_connections=options.max_connections) as postgres:
        direct, pooled, figures = run_both(postgres, options)
    print(describe(direct, pooled, figures))
    if not options.no_picture:
        draw(direct, pooled, figures, options.output)
    return 1 if pooled.failures else 0


def run_both(postgres: Postgres, options: argparse.Namespace) -> tuple[Storm, Storm, Figures]:
    """Run the storm at PostgreSQL itself, then through the pool."""
    from bench.burst import Figures, plan_clients, run_storm

    plans = plan_clients(options.clients)
    with application_role(postgres) as application:
        say(f"{options.clients} clients straight at PostgreSQL {postgres.version()} ...")
        direct = asyncio.run(run_storm(plans, application, postgres.database))
        with choose_pooler(application, options) as pooler:
            say(f"{options.clients} clients through {pooler.name}, pool of {options.pool_size} ...")
            pooled = asyncio.run(run_storm(plans, pooler.database, postgres.database))
    figures = Figures(
        clients=len(plans),
        max_connections=int(postgres.query("SHOW max_connections")),
        reserved_connections=int(postgres.query("SHOW superuser_reserved_connections")),
        pool_size=options.pool_size,
        pooler=pooler.name,
    )
    return direct, pooled, figures


@contextmanager
def application_role(postgres: Postgres) -> Iterator[Database]:
    """Yield the database as an ordinary role sees it; on someone's own server, as they do."""
    if postgres.is_ours:
        postgres.query(f"CREATE ROLE {APPLICATION} LOGIN")
        yield replace(postgres.database, user=APPLICATION)
    else:
        yield postgres.database


def choose_pooler(
    application: Database, options: argparse.Namespace
) -> AbstractContextManager[Target]:
    """Return the pooler that was asked for, not yet started."""
    settings = PoolSettings(options.pool_size, max_client_conn=2 * options.clients)
    if options.pgbouncer is not None:
        return pgbouncer(application, settings, options.pgbouncer)
    return pgpool_lite(application, settings, in_place())


def describe(direct: Storm, pooled: Storm, figures: Figures) -> str:
    """Return what became of the clients, as a table and each error with its count."""
    lines = [
        f"{figures.clients} clients within a second, max_connections = {figures.max_connections}",
        "",
        f"  {'':<22}{'failed':>12}{'server connections':>22}{'seconds':>10}",
    ]
    names = ("straight at PostgreSQL", f"through a pool of {figures.pool_size}")
    for name, storm in zip(names, (direct, pooled), strict=True):
        failed = f"{len(storm.failures)} of {figures.clients}"
        lines.append(f"  {name:<22}{failed:>12}{storm.peak:>22}{storm.took_s:>10.1f}")
    errors = Counter(result.error for storm in (direct, pooled) for result in storm.failures)
    lines += ["", *(f"  {count} x {error}" for error, count in errors.most_common())]
    return "\n".join(lines).rstrip()


def draw(direct: Storm, pooled: Storm, figures: Figures, output: Path) -> None:
    """Draw both storms into one PNG file."""
    from bench.picture import draw_storms

    output.parent.mkdir(parents=True, exist_ok=True)
    draw_storms(direct, pooled, figures, output)
    say(f"picture: {output}")


if __name__ == "__main__":
    sys.exit(main())
