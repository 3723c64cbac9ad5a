"""The command line: `pgpool-lite serve`, `pgpool-lite dev`. Arguments and exit codes.

Exit codes: 0 after a clean end, 1 when the configuration or the environment is wrong (one line on
stderr says what), 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pgpool_lite.console.tables import VERSION_TEXT
from pgpool_lite.errors import PgPoolLiteError
from pgpool_lite.serve.arguments import add_serve, complete
from pgpool_lite.serve.command import serve
from pgpool_lite.serve.loop import run

_EPILOG = """\
examples:
  pgpool-lite dev
      a throw-away PostgreSQL with a pooled and a direct URL, until Ctrl-C
  pgpool-lite serve --to postgresql://app:secret@db.example:5432/app --pool-size 20
      a pool in front of a server, without any file
  pgpool-lite serve pgbouncer.ini
      the pool that your PgBouncer configuration describes

A command line of PgBouncer's is one of ours: the word serve may be left out in front of it.
"""

_COMMANDS = ("serve", "dev")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(complete(words, _COMMANDS))
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except PgPoolLiteError as error:
        print(f"pgpool-lite: {error.message or error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pgpool-lite",
        description="A transaction-mode pooling proxy for PostgreSQL that behaves like PgBouncer.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-V", "--version", action="version", version=VERSION_TEXT)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_serve(commands).set_defaults(command=serve)
    _add_dev(commands)
    return parser


# --- dev ---


def _add_dev(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    dev = commands.add_parser(
        "dev",
        help="start a throw-away PostgreSQL with a pooled and a direct URL",
        description="Start a throw-away PostgreSQL, a transaction-mode port and a session-mode"
        " port in front of it, and print the lines that belong into .env.",
    )
    dev.add_argument(
        "--postgres",
        default="auto",
        metavar="URL|system|embedded",
        help="which PostgreSQL: one that runs, this machine's programs, or those of the wheel",
    )
    dev.add_argument("--data", type=Path, metavar="DIR", help="keep the data there")
    dev.add_argument("--host", default="127.0.0.1", help="where both ports listen")
    dev.add_argument("--port", type=int, default=6543, help="transaction mode (default 6543)")
    dev.add_argument("--session-port", type=int, default=5432, help="session mode (default 5432)")
    dev.add_argument("--pool-size", type=int, default=5, metavar="N", help="servers (default 5)")
    dev.set_defaults(command=_dev)


def _dev(options: argparse.Namespace) -> int:
    from pgpool_lite.dev.command import DevOptions, run_dev

    return run(
        run_dev(
            DevOptions(
                postgres=options.postgres,
                data=options.data,
                host=options.host,
                port=options.port,
                session_port=options.session_port,
                pool_size=options.pool_size,
            )
        )
    )
