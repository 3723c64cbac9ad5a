"""How does the process leave the terminal? PgBouncer's -d, before there is an event loop."""

from __future__ import annotations

import os

from pgpool_lite.config import Settings
from pgpool_lite.errors import ConfigError


def check_daemon(settings: Settings) -> None:
    """Raise ConfigError where a process in the background could neither be found nor be heard."""
    if not settings.pidfile:
        raise ConfigError("daemon needs pidfile configured", key="pidfile")
    if not (settings.logfile or settings.syslog):
        raise ConfigError("daemon needs logfile or syslog configured", key="logfile")


def go_to_background() -> None:
    """Go on as a process of its own session, without a terminal; the caller's process ends here.

    The second fork gives up the session's lead, so that no terminal can become ours again.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    if null > 2:
        os.close(null)
    _fork_and_leave()
    os.setsid()
    _fork_and_leave()


def _fork_and_leave() -> None:
    if os.fork():
        os._exit(0)
