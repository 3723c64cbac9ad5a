"""The life of `pgpool-lite serve`, top to bottom, in the order in which PgBouncer goes about it.

Called by cli.py. What needs the terminal, root or a fork comes before the event loop; from there on
`Runtime` is the pooler, and this waits for its end.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from pgpool_lite.config import Config, Settings
from pgpool_lite.config.place import Place
from pgpool_lite.console.tables import VERSION_TEXT
from pgpool_lite.errors import ConfigError
from pgpool_lite.proxy.doorway import raise_descriptor_limit
from pgpool_lite.proxy.logs import LOGGER, open_log
from pgpool_lite.proxy.runtime import Runtime
from pgpool_lite.serve import arguments, systemd
from pgpool_lite.serve.background import check_daemon, go_to_background
from pgpool_lite.serve.crew import UP, Errand, Leader, private_folder, shared_unix_socket
from pgpool_lite.serve.identity import become, check_pidfile, pidfile, refuse_root
from pgpool_lite.serve.loop import describe, run
from pgpool_lite.serve.signals import handle_signals, obey_orders
from pgpool_lite.serve.takeover import listen_early, refuse_neighbour, take_over


def serve(options: argparse.Namespace) -> int:
    """Run the pooler to its end and return the exit code; raises ConfigError."""
    keywords = arguments.keywords(options)
    config = arguments.configuration(options, keywords)
    settings = config.settings
    is_quiet = options.quiet or options.daemon
    if settings.user:
        become(settings.user)
    if options.file is not None:
        refuse_root(settings.user)
    if options.daemon:
        check_daemon(settings)
    open_log(settings, is_quiet=is_quiet)
    try:
        raise_descriptor_limit()
        early = listen_early(settings) if options.reboot else []
        _make_room(settings, is_reboot=options.reboot)
        if options.daemon:
            go_to_background()
        if settings.workers > 1:
            return _lead(config, keywords, is_quiet=is_quiet)
        return run(_serve_until_stopped(config, keywords, early, is_quiet=is_quiet))
    except ConfigError as error:
        if is_quiet:  # who sees stderr reads it there
            LOGGER.critical("%s", error.message)
        raise


def _make_room(settings: Settings, *, is_reboot: bool) -> None:
    """See that nobody else is where we are to be; raises ConfigError if somebody stays there."""
    if is_reboot:
        LOGGER.warning("Online restart is deprecated, use so_reuseport instead")
        if take_over(settings):
            return
        LOGGER.info("old process not found, try to continue normally")
    else:
        refuse_neighbour(settings)
    check_pidfile(settings.pidfile)


def _log_limits(settings: Settings) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    LOGGER.info(
        "kernel file descriptor limit: %d (hard: %d); max_client_conn: %d",
        *(soft, hard, settings.max_client_conn),
    )


async def _serve_until_stopped(
    config: Config, overrides: dict[str, object], early: list[socket.socket], *, is_quiet: bool
) -> int:
    runtime = Runtime(config, overrides=overrides)
    runtime.on_reload = lambda: open_log(runtime.settings, is_quiet=is_quiet)
    await runtime.start(systemd.passed_sockets(), shared=early)
    _log_limits(config.settings)
    try:
        handle_signals(runtime)
        with pidfile(config.settings.pidfile):
            LOGGER.info(
                "process up: %s, Python %s, %s",
                *(VERSION_TEXT, platform.python_version(), describe()),
            )
            systemd.notify_ready()
            await runtime.stopped.wait()
            systemd.notify_stopping()
    finally:
        await runtime.stop()
    return 0


# --- several processes ---


def _lead(config: Config, overrides: dict[str, object], *, is_quiet: bool) -> int:
    """Serve as `workers` processes, of which this one is the leader."""
    settings = config.settings
    if not settings.listen_port:
        raise ConfigError("they need one port for all: set listen_port", key="workers")
    if systemd.passed_sockets():
        raise ConfigError("they do not share sockets of the service manager", key="workers")
    with private_folder() as folder, shared_unix_socket(settings) as shared:
        for index in range(settings.workers):
            place = Place(index, settings.workers, folder)
            place.adapt(config)  # what cannot be shared out is said before anybody is started
            Path(place.socket_dirs[index]).mkdir()
        _log_limits(settings)

        def run_member(errand: Errand) -> int:
            os.environ.pop("NOTIFY_SOCKET", None)  # the leader speaks for all
            place = Place(errand.index, settings.workers, folder)
            runtime = Runtime(config, overrides=overrides, place=place)
            runtime.on_reload = lambda: open_log(runtime.settings, is_quiet=is_quiet)
            return run(_serve_as_member(runtime, errand, shared))

        with pidfile(settings.pidfile):
            reopen = partial(open_log, settings, is_quiet=is_quiet)
            return Leader(settings.workers, run_member, reopen).run()


async def _serve_as_member(
    runtime: Runtime, errand: Errand, shared: Sequence[socket.socket]
) -> int:
    await runtime.start(shared=shared)
    try:
        obey_orders(runtime, errand.orders)
        LOGGER.info("worker %d up [%d]: %s", errand.index + 1, os.getpid(), VERSION_TEXT)
        with suppress(BrokenPipeError):  # who replaces one that died does not wait for this
            os.write(errand.news, UP)
        os.close(errand.news)
        await runtime.stopped.wait()
    finally:
        await runtime.stop()
    return 0
