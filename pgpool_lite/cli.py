"""The command line: `pgpool-lite serve`, `dev`, `check` and others. Arguments and exit codes.

Exit codes: 0 after a clean end, 1 when the configuration or the environment is wrong (one line on
stderr says what), 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pgpool_lite.config.profiles import DEFAULT as DEFAULT_PROFILE
from pgpool_lite.config.profiles import NAMES as PROFILES
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
  pgpool-lite check pgbouncer.ini
      what is wrong with that file, and what would run
  pgpool-lite show pools --json
      a table of a running pooler's console
  pgpool-lite lint migrations/ app/
      which statements break in transaction mode, in SQL files and programs
  pgpool-lite doctor $DATABASE_URL
      what a client meets there, through any pooler, and what to change

A command line of PgBouncer's is one of ours: the word serve may be left out in front of it.
"""

_COMMANDS = ("serve", "dev", "check", "show", "lint", "doctor")


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
    _add_check(commands)
    _add_show(commands)
    _add_lint(commands)
    _add_doctor(commands)
    return parser


# --- check and show ---


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    check = commands.add_parser(
        "check",
        help="say what is wrong with a configuration file, and what would run",
        description="Print one line per finding, with file and line: `error` stops the pooler,"
        " `pgbouncer` is what PgBouncer refuses or reads otherwise, `note` does not do what one may"
        " expect. Then what would run, without secrets. Exit code 1 after an error.",
    )
    check.add_argument("file", type=Path, help="pgbouncer.ini")
    check.set_defaults(command=_check)


def _check(options: argparse.Namespace) -> int:
    from pgpool_lite.operate.check import run_check

    return run_check(options.file)


def _add_show(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    show = commands.add_parser(
        "show",
        help="print a table of a running pooler's console",
        description="Ask the console of a running pooler, or of a PgBouncer: pools, clients,"
        " servers, links, stats, databases and so on; help lists them.",
    )
    show.add_argument("what", help="what stands behind SHOW")
    show.add_argument(
        "--url",
        help="postgresql:// URL of the console (user pgbouncer at the Unix socket /tmp, port 6432)",
    )
    show.add_argument("--json", action="store_true", help="as a JSON array of objects")
    show.set_defaults(command=_show)


def _show(options: argparse.Namespace) -> int:
    from pgpool_lite.operate.show import run_show

    return run_show(options.what, options.url, as_json=options.json)


# --- lint ---


def _add_lint(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    lint = commands.add_parser(
        "lint",
        help="find statements that break in transaction mode, in SQL files and programs",
        description="Print what in the files leaves something on a server connection, or relies on"
        " what was left. Programs are searched for string literals that look like SQL. Exit code 0:"
        " nothing found; 1: something found; 2: wrong arguments.",
    )
    lint.add_argument("paths", nargs="+", metavar="FILE|DIR", help="- is standard input, as SQL")
    lint.add_argument("--format", choices=("text", "json", "sarif"), default="text")
    for option, text in (("--select", "only these rules"), ("--ignore", "not these rules")):
        lint.add_argument(option, action="append", default=[], metavar="PL001,...", help=text)
    lint.add_argument(
        "-1",
        "--single-transaction",
        action="store_true",
        help="each SQL file runs in one transaction, as with psql -1 and most migration tools",
    )
    lint.set_defaults(command=_lint)


def _lint(options: argparse.Namespace) -> int:
    from pgpool_lite.operate.lint import run_lint

    return run_lint(options)


# --- doctor ---


def _add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="find out why an application has trouble with its database URL",
        description="Connect as a client would, through any pooler, and say what works and what"
        " does not: whose limit is reached, how servers are shared, named statements, start-up"
        " parameters, forgotten transactions and locks; and which lines of configuration fit each"
        " driver. Changes nothing, and prints no secrets. Exit code 1 if something is wrong.",
    )
    doctor.add_argument("url", metavar="URL", help="the URL that the application uses")
    doctor.add_argument("--direct", metavar="URL", help="a URL that leads past the pooler")
    doctor.add_argument(
        "--error", default="", metavar="TEXT", help="an error from the application's log"
    )
    doctor.add_argument("--json", action="store_true", help="everything, as one JSON object")
    doctor.set_defaults(command=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from pgpool_lite.operate.doctor import run_doctor

    return run_doctor(options.url, options.direct, options.error, as_json=options.json)


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
    dev.add_argument("--port", type=int, help="transaction mode (default 6543)")
    dev.add_argument("--session-port", type=int, help="session mode (default 5432)")
    dev.add_argument("--pool-size", type=int, metavar="N", help="servers (default 5)")
    dev.add_argument(
        "--profile",
        default=DEFAULT_PROFILE,
        choices=PROFILES,
        metavar="NAME",
        help=f"which pooler to stand in for: {', '.join(PROFILES)}",
    )
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
                profile=options.profile,
            )
        )
    )
