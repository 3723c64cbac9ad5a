"""The command line: `pgpool-lite serve`, `pgpool-lite dev`. Arguments, the event loop, exit codes.

Exit codes: 0 after a clean end, 1 when the configuration or the environment is wrong (one line on
stderr says what), 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path

from pgpool_lite.config import Config, config_for_url, load, with_keywords
from pgpool_lite.console.controls import ShutdownMode
from pgpool_lite.console.tables import VERSION_TEXT
from pgpool_lite.errors import ConfigError, PgPoolLiteError
from pgpool_lite.proxy.doorway import raise_descriptor_limit
from pgpool_lite.proxy.logs import LOGGER, open_log
from pgpool_lite.proxy.runtime import Runtime

_EPILOG = """\
examples:
  pgpool-lite dev
      a throw-away PostgreSQL with a pooled and a direct URL, until Ctrl-C
  pgpool-lite serve --to postgresql://app:secret@db.example:5432/app --pool-size 20
      a pool in front of a server, without any file
  pgpool-lite serve pgbouncer.ini
      the pool that your PgBouncer configuration describes
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(arguments)
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
    parser.add_argument("--version", action="version", version=VERSION_TEXT)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_serve(commands)
    _add_dev(commands)
    return parser


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = commands.add_parser(
        "serve",
        help="run the pooler in front of a PostgreSQL server",
        description="Run the pooler: with PgBouncer's configuration file, or with --to and no file."
        " SIGHUP reloads the file; SIGTERM waits for clients to leave, SIGINT for their"
        " transactions; a second one, or SIGQUIT, ends at once.",
    )
    serve.add_argument("file", nargs="?", type=Path, help="pgbouncer.ini")
    serve.add_argument("--to", metavar="URL", help="postgresql:// URL of the server")
    serve.add_argument(
        "--listen", metavar="HOST:PORT", help="where clients connect (with --to: 127.0.0.1:6543)"
    )
    serve.add_argument("--pool-size", type=int, metavar="N", help="servers per database and user")
    serve.add_argument("--pool-mode", choices=("session", "transaction", "statement"))
    serve.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any setting of [pgbouncer]; may be repeated",
    )
    serve.add_argument("-q", "--quiet", action="store_true", help="do not log to stderr")
    serve.set_defaults(command=_serve)


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


# --- serve ---


def _serve(options: argparse.Namespace) -> int:
    keywords = _keywords(options)
    config = _configuration(options, keywords)
    open_log(config.settings, is_quiet=options.quiet)
    raise_descriptor_limit()
    return _run(_serve_until_stopped(config, keywords, is_quiet=options.quiet))


def _keywords(options: argparse.Namespace) -> dict[str, object]:
    """Return the settings that the arguments name; raises ConfigError."""
    if (options.file is None) == (options.to is None):
        raise ConfigError("name a configuration file, or a server with --to (and not both)")
    keywords: dict[str, object] = dict(_key_and_value(item) for item in options.set)
    if options.pool_size is not None:
        keywords["default_pool_size"] = options.pool_size
    if options.pool_mode is not None:
        keywords["pool_mode"] = options.pool_mode
    listen = options.listen or ("127.0.0.1:6543" if options.to else None)
    if listen is not None:
        keywords["listen_addr"], keywords["listen_port"] = _host_and_port(listen)
    return keywords


def _configuration(options: argparse.Namespace, keywords: dict[str, object]) -> Config:
    """Return what the arguments describe; raises ConfigError."""
    if options.to is not None:
        return config_for_url(options.to, **{"unix_socket_dir": "", **keywords})
    config = load(options.file)
    return replace(config, settings=with_keywords(config.settings, keywords))


def _key_and_value(item: str) -> tuple[str, str]:
    key, equals, value = item.partition("=")
    if not equals:
        raise ConfigError(f"--set wants KEY=VALUE, not {item!r}")
    return key.strip(), value.strip()


def _host_and_port(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit():
        raise ConfigError(f"--listen wants HOST:PORT, not {listen!r}")
    return host.strip("[]") or "*", int(port)


async def _serve_until_stopped(
    config: Config, overrides: dict[str, object], *, is_quiet: bool
) -> int:
    runtime = Runtime(config, overrides=overrides)
    await runtime.start()
    _handle_signals(runtime, is_quiet=is_quiet)
    LOGGER.info("process up: %s", VERSION_TEXT)
    try:
        await runtime.stopped.wait()
    finally:
        await runtime.stop()
    return 0


def _handle_signals(runtime: Runtime, *, is_quiet: bool) -> None:
    """Give the signals PgBouncer's meaning."""
    loop = asyncio.get_running_loop()

    def shut_down(name: str, mode: ShutdownMode, waiting_for: str) -> None:
        if mode is ShutdownMode.IMMEDIATE or runtime.shutdown_mode is not None:
            LOGGER.info("got %s, fast exit", name)
            mode = ShutdownMode.IMMEDIATE
        else:
            LOGGER.info("got %s, shutting down, waiting for %s", name, waiting_for)
        runtime.shut_down(mode)

    def reload() -> None:
        LOGGER.info("got SIGHUP, re-reading config")
        try:
            runtime.reload()
            open_log(runtime.settings, is_quiet=is_quiet)
        except ConfigError as error:
            LOGGER.error("%s; the old configuration stays in force", error.message)

    for name, mode, waiting_for in (
        ("SIGTERM", ShutdownMode.WAIT_FOR_CLIENTS, "all clients disconnect"),
        ("SIGINT", ShutdownMode.WAIT_FOR_SERVERS, "all servers connections to be released"),
        ("SIGQUIT", ShutdownMode.IMMEDIATE, ""),
    ):
        loop.add_signal_handler(signal.Signals[name], shut_down, name, mode, waiting_for)
    loop.add_signal_handler(signal.SIGHUP, reload)


# --- dev ---


def _dev(options: argparse.Namespace) -> int:
    from pgpool_lite.dev.command import DevOptions, run_dev

    return _run(
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


def _run(work: Coroutine[None, None, int]) -> int:
    """Run on uvloop where there is one: it makes every hop about a quarter cheaper."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(work)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
