"""What does the command line say? PgBouncer's options, our own, and the configuration they make.

PgBouncer's options mean what they mean there, so that `exec pgpool-lite serve "$@"` stands in for
the `pgbouncer` command, and `pgpool-lite` itself does: `complete` puts in the word `serve` where
somebody wrote a command line of PgBouncer's.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path

from pgpool_lite.config import Config, config_for_url, load
from pgpool_lite.console.tables import VERSION_TEXT
from pgpool_lite.errors import ConfigError

#: Options that are the whole command line's, and need no command.
_GLOBAL = ("-h", "--help", "-V", "--version")

#: Where clients connect to a pooler that has no file, unless it is told.
_LISTEN_WITH_TO = ("127.0.0.1", 6543)


def complete(words: Sequence[str], commands: Collection[str]) -> list[str]:
    """Return the words with `serve` in front, if they are a command line for `pgbouncer`.

    That is one which begins with an option, or with a file instead of a command.
    """
    first = words[0] if words else ""
    is_option = first.startswith("-") and first not in _GLOBAL
    is_file = first.endswith(".ini") or Path(first).is_file()
    if first not in commands and (is_option or is_file):
        return ["serve", *words]
    return list(words)


def add_serve(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """Add the command `serve` and return its parser."""
    serve = commands.add_parser(
        "serve",
        help="run the pooler in front of a PostgreSQL server",
        description="Run the pooler: with PgBouncer's configuration file, or with --to and no file."
        " SIGHUP reloads the file; SIGTERM waits for clients to leave, SIGINT for their"
        " transactions; a second one, or SIGQUIT, ends at once. SIGUSR1 pauses, SIGUSR2 resumes.",
    )
    serve.add_argument("file", nargs="?", type=Path, help="pgbouncer.ini")
    _add_pgbouncers_options(serve)
    serve.add_argument("--to", metavar="URL", help="postgresql:// URL of the server")
    serve.add_argument(
        "--listen", metavar="HOST:PORT", help="where clients connect (with --to: 127.0.0.1:6543)"
    )
    serve.add_argument("--pool-size", type=int, metavar="N", help="servers per database and user")
    serve.add_argument("--workers", type=int, metavar="N", help="processes that serve together")
    serve.add_argument("--pool-mode", choices=("session", "transaction", "statement"))
    serve.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any setting of [pgbouncer]; may be repeated",
    )
    return serve


def _add_pgbouncers_options(serve: argparse.ArgumentParser) -> None:
    serve.add_argument(
        "-d", "--daemon", action="store_true", help="run in the background; needs a pidfile"
    )
    serve.add_argument("-q", "--quiet", action="store_true", help="do not log to stderr")
    serve.add_argument(
        "-R",
        "--reboot",
        action="store_true",
        help="take port and Unix socket over from the process that runs, which then drains",
    )
    serve.add_argument(
        "-u", "--user", metavar="USER", help="become this user; wins over the setting"
    )
    serve.add_argument("-v", "--verbose", action="count", default=0, help="log more; repeatable")
    serve.add_argument("-V", "--version", action="version", version=VERSION_TEXT)


# --- the configuration ---


def keywords(options: argparse.Namespace) -> dict[str, object]:
    """Return the settings that the arguments name; raises ConfigError.

    --to brings an address of its own, which gives way to --set; --listen does not.
    """
    if (options.file is None) == (options.to is None):
        raise ConfigError("name a configuration file, or a server with --to (and not both)")
    chosen: dict[str, object] = dict(_key_and_value(item) for item in options.set)
    if options.pool_size is not None:
        chosen["default_pool_size"] = options.pool_size
    if options.workers is not None:
        chosen["workers"] = options.workers
    if options.pool_mode is not None:
        chosen["pool_mode"] = options.pool_mode
    if options.verbose:
        chosen["verbose"] = options.verbose
    if options.user is not None:
        chosen["user"] = options.user
    if options.listen is not None:
        chosen["listen_addr"], chosen["listen_port"] = _host_and_port(options.listen)
    elif options.to is not None:
        host, port = _LISTEN_WITH_TO
        chosen = {"listen_addr": host, "listen_port": port, **chosen}
    return chosen


def configuration(options: argparse.Namespace, keywords: dict[str, object]) -> Config:
    """Return what the arguments describe; raises ConfigError."""
    if options.to is not None:
        return config_for_url(options.to, **{"unix_socket_dir": "", **keywords})
    return load(options.file, keywords)


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
