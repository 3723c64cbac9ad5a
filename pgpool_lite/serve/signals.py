"""What does each signal do? What it does to PgBouncer, and the log says it in PgBouncer's words.

| signal | effect |
|---|---|
| SIGHUP | RELOAD |
| SIGUSR1, SIGUSR2 | PAUSE, RESUME |
| SIGTERM, SIGINT | SHUTDOWN WAIT_FOR_CLIENTS, WAIT_FOR_SERVERS; a second one of either: at once |
| SIGQUIT | SHUTDOWN |
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

from pgpool_lite.console.controls import ShutdownMode
from pgpool_lite.errors import ConfigError
from pgpool_lite.proxy.logs import LOGGER
from pgpool_lite.proxy.runtime import Runtime
from pgpool_lite.serve import systemd


def handle_signals(runtime: Runtime) -> None:
    """Have the running event loop obey signals from now on."""
    loop = asyncio.get_running_loop()
    for number, handler in _Handlers(runtime).by_number.items():
        loop.add_signal_handler(number, handler)


def obey_orders(runtime: Runtime, orders: int) -> None:
    """Have the running event loop obey the numbers of signals that come by a pipe.

    Its end is the leader's: nobody is left who could tell this process to end, so it does.
    """
    handlers = _Handlers(runtime).by_number
    loop = asyncio.get_running_loop()

    def read() -> None:
        numbers = os.read(orders, 64)
        for number in numbers:
            handlers[signal.Signals(number)]()
        if not numbers:
            loop.remove_reader(orders)
            LOGGER.error("the leader is gone, fast exit")
            runtime.hang_up()

    loop.add_reader(orders, read)


class _Handlers:
    """One method per signal. Owned by the event loop, which lives as long as the process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.by_number: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGHUP: self.reload,
            signal.SIGUSR1: self.pause,
            signal.SIGUSR2: self.resume,
            signal.SIGTERM: self.wait_for_clients,
            signal.SIGINT: self.wait_for_servers,
            signal.SIGQUIT: self.end_at_once,
        }

    def reload(self) -> None:
        LOGGER.info("got SIGHUP, re-reading config")
        systemd.notify_reloading()
        try:
            self._runtime.reload()
        except ConfigError as error:
            LOGGER.error("%s; the old configuration stays in force", error.message)
        systemd.notify_ready()

    def pause(self) -> None:
        if self._runtime.is_globally_paused:
            LOGGER.info("got SIGUSR1, but already paused")
            return
        LOGGER.info("got SIGUSR1, pausing all activity")
        self._runtime.pause(None)

    def resume(self) -> None:
        if self._runtime.is_shutting_down:
            LOGGER.info("got SIGUSR2 while shutting down, ignoring")
        elif not self._runtime.is_globally_paused:
            LOGGER.info("got SIGUSR2, but not paused")
        else:
            LOGGER.info("got SIGUSR2, continuing from PAUSE")
            self._runtime.resume(None)

    def wait_for_clients(self) -> None:
        self._shut_down(
            "SIGTERM", ShutdownMode.WAIT_FOR_CLIENTS, "waiting for all clients disconnect"
        )

    def wait_for_servers(self) -> None:
        self._shut_down(
            "SIGINT",
            ShutdownMode.WAIT_FOR_SERVERS,
            "waiting for all servers connections to be released",
        )

    def end_at_once(self) -> None:
        LOGGER.info("got SIGQUIT, fast exit")
        systemd.notify_stopping()
        self._runtime.hang_up()

    def _shut_down(self, name: str, mode: ShutdownMode, waiting: str) -> None:
        if self._runtime.is_shutting_down:
            LOGGER.info("got %s while shutting down, fast exit", name)
            self._runtime.hang_up()
            return
        LOGGER.info("got %s, shutting down, %s", name, waiting)
        systemd.notify_stopping()
        self._runtime.shut_down(mode)
