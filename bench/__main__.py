"""Does pgpool_lite relay as cheaply as PgBouncer? Runs both and direct PostgreSQL, in turn.

`python -m bench --help` lists the options; README.md says how to read the table. Progress goes to
standard error and the result to standard output.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from bench import report
from bench.compare import Outcome, Plan, compare, say
from bench.errors import BenchError, LeftOut
from bench.pgbench import Length, Mode, Workload, prepare_tables
from bench.postgres import Postgres, provide
from bench.targets import PoolSettings, Target, direct, pgbouncer, pgpool_lite
from pgpool_lite.errors import PgPoolLiteError

# Beyond the clients and both pools: PostgreSQL's reserved connections, psql, a person looking on.
SPARE_CONNECTIONS = 20


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
    add("--clients", type=_numbers, default=[16], metavar="N[,N...]", help="default: 16")
    add("--modes", type=_modes, default=list(Mode), metavar="MODE[,MODE...]", help="default: all")
    add("--rounds", type=int, default=3, help="rounds of each workload (default: 3)")
    add("--pool-size", type=int, default=20, help="of both poolers (default: 20)")
    add("--scale", type=int, default=10, help="of pgbench's tables, where they are made")
    add("--postgres", metavar="URL", help="measure this server instead of a throw-away one")
    add("--pgbouncer", metavar="PATH", help="the real PgBouncer, where it is not on the PATH")
    add("--json", type=Path, metavar="FILE", help="write machine, versions, commands, all runs")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=int, default=5, help="of each run (default: 5)")
    length.add_argument("--transactions", type=int, default=0, help="per client and run instead")
    length.add_argument("--quick", action="store_true", help="one second per run: a first look")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Start PostgreSQL and the targets, run the plan, print the tables."""
    clients: list[int] = options.clients
    max_client_conn = max(clients) + SPARE_CONNECTIONS
    settings = PoolSettings(options.pool_size, max_client_conn)
    outcome = Outcome()
    with ExitStack() as stack:
        max_connections = max_client_conn + 2 * settings.pool_size
        postgres = stack.enter_context(provide(options.postgres, max_connections=max_connections))
        plan = make_plan(options, postgres)
        tables = prepare_tables(postgres, options.scale)
        say(f"PostgreSQL {postgres.version()}, pgbench tables: {tables}")
        targets = start_targets(stack, postgres, settings, options.pgbouncer, outcome)
        setting = report.describe_setting(targets, postgres.version())
        try:
            compare(targets, plan, outcome)
        finally:
            print(setting, report.render(outcome, plan), sep="\n\n")
            if options.json is not None:
                document = report.as_json(outcome, plan, targets, setting)
                options.json.write_text(document, encoding="utf-8")
    return 0 if any(run.target == "pgpool_lite" for run in outcome.runs) else 1


def make_plan(options: argparse.Namespace, postgres: Postgres) -> Plan:
    """Turn the options into workloads: each mode at each number of clients."""
    return Plan(
        program=postgres.programs.find("pgbench"),
        workloads=[
            Workload(mode, clients) for mode in options.modes for clients in options.clients
        ],
        rounds=options.rounds,
        length=Length(1 if options.quick else options.seconds, options.transactions),
    )


def start_targets(
    stack: ExitStack,
    postgres: Postgres,
    settings: PoolSettings,
    pgbouncer_path: str | None,
    outcome: Outcome,
) -> list[Target]:
    """Start every target that can run here; the reason for each other goes to the outcome."""
    database = postgres.database
    contexts: list[AbstractContextManager[Target]] = [
        pgpool_lite(database, settings),
        pgbouncer(database, settings, pgbouncer_path),
        direct(database, postgres.version()),
    ]
    targets: list[Target] = []
    for context in contexts:
        try:
            targets.append(stack.enter_context(context))
        except LeftOut as reason:
            outcome.left_out.append(str(reason))
            say(f"left out: {reason}")
    if not Path("/proc").is_dir():
        outcome.left_out.append("CPU per transaction: this system has no /proc to read it from")
    return targets


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _modes(text: str) -> list[Mode]:
    try:
        return [Mode(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"choose from {', '.join(Mode)}, not {text!r}") from None


if __name__ == "__main__":
    sys.exit(main())
