"""Does pgpool_lite relay as cheaply as PgBouncer? Runs both and direct PostgreSQL, in turn.

`python -m bench --help` lists the options; README.md says how to read the table. Progress goes to
standard error and the result to standard output.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from bench import report
from bench.builds import Kind, build
from bench.compare import Outcome, Plan, compare, say
from bench.doors import Door
from bench.errors import BenchError, LeftOut, require
from bench.idle import raise_descriptor_limit
from bench.markdown import as_markdown
from bench.pgbench import Mode, prepare_tables
from bench.postgres import Database, Postgres, provide
from bench.targets import PoolSettings, Target, direct, floor, pgbouncer, pgpool_lite
from bench.workload import Length
from bench.workloads import Name, make_workloads, most_clients, parse_names
from pgpool_lite.errors import PgPoolLiteError

# Beyond the clients and both pools: PostgreSQL's reserved connections, psql, a person looking on.
SPARE_CONNECTIONS = 20

ROUNDS = 3
SECONDS = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; return 0 when pgpool_lite was measured, else 1, and 130 on Ctrl-C."""
    options = parse_arguments(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return run(options)
    except (BenchError, PgPoolLiteError) as error:
        say(f"bench: {error}")
        return 1
    except KeyboardInterrupt:
        say("bench: interrupted")
        return 130


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--clients", type=_numbers, default=[16], metavar="N,...", help="default: 16")
    streams = "of each large transfer, which they share out (default: 1,4)"
    add("--streams", type=_numbers, default=[1, 4], metavar="N,...", help=streams)
    names = f"all, or of {', '.join(Name)} (default: select)"
    add("--workloads", type=parse_names, default=[Name.SELECT], metavar="NAME,...", help=names)
    modes = f"of {', '.join(Mode)} (default: all)"
    add("--modes", type=_modes, default=list(Mode), metavar="MODE,...", help=modes)
    builds = "of pgpool_lite: compiled, interpreted (default: both)"
    add("--builds", type=_builds, default=list(Kind), metavar="BUILD,...", help=builds)
    workers = "processes of pgpool_lite, a row for each number (default: 1)"
    add("--workers", type=_numbers, default=[1], metavar="N,...", help=workers)
    leaks = "measure pgpool_lite with this session_leaks, too: warn, error, pin or reset"
    add("--leaks", default="", metavar="MODE", help=leaks)
    add("--floor", action="store_true", help="measure a loop that only forwards, too")
    add("--rounds", type=int, help=f"of each workload (default: {ROUNDS}, 1 with --quick)")
    add("--pool-size", type=int, default=20, help="of both poolers (default: 20)")
    add("--scale", type=int, default=10, help="of pgbench's tables, where they are made")
    add("--postgres", metavar="URL", help="measure this server instead of a throw-away one")
    add("--pgbouncer", metavar="PATH", help="the real PgBouncer, where it is not on the PATH")
    add("--json", type=Path, metavar="FILE", help="write machine, versions, commands, all runs")
    add("--markdown", type=Path, metavar="FILE", help="write the tables for the documentation")
    add("--plot", type=Path, metavar="FILE", help="draw ratios to PgBouncer (needs matplotlib)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=int, help=f"of each run (default: {SECONDS})")
    length.add_argument("--transactions", type=int, default=0, help="per client and run instead")
    length.add_argument("--quick", action="store_true", help="short and small: a first look")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Start PostgreSQL and the targets, run the plan, print the tables."""
    raise_descriptor_limit()
    if options.plot is not None:
        require("matplotlib")
    outcome = Outcome()
    with ExitStack() as stack:
        max_connections = count_connections(options)
        postgres = stack.enter_context(provide(options.postgres, max_connections=max_connections))
        plan = make_plan(options, postgres)
        # Twice, because PgBouncer counts those that are still leaving while others come.
        max_client_conn = 2 * most_clients(plan.workloads) + SPARE_CONNECTIONS
        settings = PoolSettings(options.pool_size, max_client_conn)
        doors = list(dict.fromkeys(each.door for each in plan.workloads))
        tables = prepare_tables(postgres, options.scale)
        say(f"PostgreSQL {postgres.version()}, pgbench tables: {tables}")
        targets = start_targets(stack, postgres, settings, doors, options, outcome)
        setting = report.describe_setting(targets, postgres.version())
        try:
            compare(targets, plan, outcome)
        finally:
            print(setting, report.render(outcome, plan), sep="\n\n")
            if options.json is not None:
                document = report.as_json(outcome, plan, targets, setting)
                options.json.write_text(document, encoding="utf-8")
            if options.markdown is not None:
                page = as_markdown(outcome, plan, setting, shown_command(), options.plot)
                options.markdown.write_text(page, encoding="utf-8")
            if options.plot is not None:
                draw(outcome, options.plot)
    return 0 if any(run.target.startswith("pgpool_lite") for run in outcome.runs) else 1


def draw(outcome: Outcome, output: Path) -> None:
    """Draw the picture; matplotlib, which it needs, is an extra."""
    from bench.plot import draw_ratios

    draw_ratios(outcome.runs, output)


def count_connections(options: argparse.Namespace) -> int:
    """Return how many connections all targets need at once, for they are all up all the time."""
    clients: list[int] = [*options.clients, *options.streams]
    pool_size: int = options.pool_size
    rows = len(options.builds) * (len(options.workers) + bool(options.leaks))
    pools = (rows + 1) * len(Door)
    return 2 * max(clients) + pools * pool_size + SPARE_CONNECTIONS


def shown_command() -> str:
    """Return the command line, without what a URL may hold."""
    return " ".join(["python -m bench", *(re.sub(r"//.*", "//...", arg) for arg in sys.argv[1:])])


def make_plan(options: argparse.Namespace, postgres: Postgres) -> Plan:
    """Turn the options into workloads, and how often and how long each is run."""
    seconds = 1 if options.quick else SECONDS
    return Plan(
        workloads=make_workloads(
            options.workloads,
            modes=options.modes,
            clients=options.clients,
            streams=options.streams,
            is_quick=options.quick,
            pgbench=postgres.programs.find("pgbench"),
        ),
        rounds=options.rounds or (1 if options.quick else ROUNDS),
        length=Length(options.seconds or seconds, options.transactions),
    )


def start_targets(
    stack: ExitStack,
    postgres: Postgres,
    settings: PoolSettings,
    doors: Sequence[Door],
    options: argparse.Namespace,
    outcome: Outcome,
) -> list[Target]:
    """Start every target that can run here; the reason for each other goes to the outcome.

    Poolers are started once for each door, the rest has only the open one.
    """
    database = postgres.database
    contexts: list[AbstractContextManager[Target]] = []
    for door in doors:
        behind = replace(settings, door=door)
        contexts += [
            built(database, behind, kind, workers)
            for kind in options.builds
            for workers in options.workers
        ]
        if options.leaks:
            watched = replace(behind, session_leaks=options.leaks)
            contexts += [built(database, watched, kind, 1) for kind in options.builds]
        contexts.append(pgbouncer(database, behind, options.pgbouncer))
    contexts += [floor(database)] if options.floor else []
    contexts.append(direct(database, postgres.version()))
    targets: list[Target] = []
    for context in contexts:
        try:
            targets.append(stack.enter_context(context))
        except LeftOut as reason:
            if str(reason) not in outcome.left_out:  # the same at each door
                outcome.left_out.append(str(reason))
                say(f"left out: {reason}")
    if not Path("/proc").is_dir():
        outcome.left_out.append("CPU per transaction: this system has no /proc to read it from")
    return targets


@contextmanager
def built(database: Database, settings: PoolSettings, kind: Kind, workers: int) -> Iterator[Target]:
    """Make a build of pgpool_lite and run it before the database."""
    with build(kind) as made, pgpool_lite(database, settings, made, workers) as target:
        yield target


def _numbers(text: str) -> list[int]:
    numbers = [int(part) for part in text.split(",")]
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"{min(numbers)} is too few")
    return numbers


def _modes(text: str) -> list[Mode]:
    try:
        return [Mode(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"choose from {', '.join(Mode)}, not {text!r}") from None


def _builds(text: str) -> list[Kind]:
    try:
        return [Kind(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"choose from {', '.join(Kind)}, not {text!r}") from None


if __name__ == "__main__":
    sys.exit(main())
