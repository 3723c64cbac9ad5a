"""Several processes as one: `workers = N`. The leader starts them, watches them, passes signals on.

The leader never serves a client and has no event loop, so it may fork at any time. A member learns
what to do by a pipe: one byte is one signal, and the pipe's end is the leader's. Members ignore
signals of their own, because a terminal and systemd signal all processes of a group at once, and
each would count them twice. A member that dies is replaced; one that ends well was told to.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pgpool_lite.config import Settings
from pgpool_lite.errors import ConfigError
from pgpool_lite.proxy.doorway import claim_socket_file, release_socket_file, unix_address
from pgpool_lite.proxy.logs import LOGGER
from pgpool_lite.serve import systemd

#: Signals that are passed on; the last three end the crew.
ORDERS: Final = (
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
)
_ENDING: Final = ORDERS[3:]
#: What a member says when clients may come; anything else is why they may not.
UP: Final = b"\0"
#: A member that dies again and again is replaced once a second.
_SECONDS_BETWEEN_STARTS: Final = 1.0


@dataclass(slots=True)
class Member:
    """One process of the crew. Owned by the leader; replaced when it dies."""

    index: int
    pid: int
    #: Where its orders are written to.
    orders: int
    started_at: float


@dataclass(frozen=True, slots=True)
class Errand:
    """What a new process is given on its way."""

    index: int
    #: Where its orders come from, and where to say that it is up.
    orders: int
    news: int


class Leader:
    """Starts and watches the members; lives as long as the process."""

    def __init__(
        self, count: int, run_member: Callable[[Errand], int], open_log: Callable[[], None]
    ) -> None:
        """Lead nobody yet; `run_member` is what a new process does until its end."""
        self._count = count
        self._run_member = run_member
        self._open_log = open_log
        self._members: dict[int, Member] = {}
        #: Places whose member has died, and when the next may be started.
        self._vacant: dict[int, float] = {}
        self._is_ending = False

    def run(self) -> int:
        """Lead the crew to its end and return the exit code.

        Raises ConfigError if a member does not come up, and leaves none behind then.
        """
        with _signals() as wake_up:
            failure = self._start_all()
            if failure is not None:
                self._obey(signal.SIGQUIT)
                self._watch(wake_up)
                raise ConfigError(failure)
            LOGGER.info("process up: %d workers", self._count)
            systemd.notify_ready()
            self._watch(wake_up)
        return 0

    # --- starting ---

    def _start_all(self) -> str | None:
        """Start the members one by one; return why one did not come up, if so."""
        for index in range(self._count):
            with os.fdopen(self._start(index), "rb") as news:
                told = news.read()
            if told != UP:
                return _text_of(told) or f"worker {index + 1} died while it was starting"
        return None

    def _start(self, index: int) -> int:
        """Start one member; return where it says that it is up, which is also where it ends."""
        orders_out, orders_in = os.pipe()
        news_out, news_in = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(orders_in)
            os.close(news_out)
            self._be_member(Errand(index, orders_out, news_in))
        os.close(orders_out)
        os.close(news_in)
        self._members[pid] = Member(index, pid, orders_in, time.monotonic())
        return news_out

    def _be_member(self, errand: Errand) -> None:
        """Go on as a member, to the end of the process."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for member in self._members.values():
                os.close(member.orders)  # else they would not see the leader's end
            for number in ORDERS:
                signal.signal(number, signal.SIG_IGN)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            status = self._run_member(errand)
        except ConfigError as error:
            try:
                os.write(errand.news, _bytes_of(error.message))
            except BrokenPipeError:  # nobody waits for one that replaces another
                LOGGER.critical("worker %d: %s", errand.index + 1, error.message)
        except Exception:
            LOGGER.critical("worker %d", errand.index + 1, exc_info=True)
        finally:
            os._exit(status)  # nothing of the leader's may be undone here

    # --- watching ---

    def _watch(self, wake_up: int) -> None:
        """Obey signals and replace members until all have ended."""
        while self._members or self._vacant:
            for number in _wait(wake_up, self._pause_s()):
                if number == signal.SIGCHLD:
                    self._bury()
                else:
                    self._obey(signal.Signals(number))
            self._fill_places()

    def _pause_s(self) -> float | None:
        """Return how long there is nothing to do unless a signal comes."""
        if not self._vacant:
            return None
        return max(min(self._vacant.values()) - time.monotonic(), 0.0)

    def _obey(self, number: signal.Signals) -> None:
        if number == signal.SIGHUP:
            systemd.notify_reloading()
            self._open_log()
        elif number in _ENDING:
            self._end()
        for member in self._members.values():
            with suppress(BrokenPipeError):
                os.write(member.orders, bytes((number,)))
        if number == signal.SIGHUP:
            systemd.notify_ready()

    def _end(self) -> None:
        """Replace nobody from now on."""
        if not self._is_ending:
            systemd.notify_stopping()
        self._is_ending = True
        self._vacant.clear()

    def _bury(self) -> None:
        """Take note of members that have ended."""
        while self._members:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            member = self._members.pop(pid, None)
            if member is None:
                continue
            os.close(member.orders)
            code = os.waitstatus_to_exitcode(status)
            if code == 0:
                self._end()  # by SHUTDOWN on the console, which tells all of them
            elif not self._is_ending:
                self._open_log()  # RELOAD on the console may have opened another one meanwhile
                LOGGER.error(
                    "worker %d [%d] ended by %s, starting another",
                    *(member.index + 1, pid, f"signal {-code}" if code < 0 else f"exit {code}"),
                )
                self._vacant[member.index] = member.started_at + _SECONDS_BETWEEN_STARTS

    def _fill_places(self) -> None:
        now = time.monotonic()
        for index, due in list(self._vacant.items()):
            if due <= now:
                del self._vacant[index]
                os.close(self._start(index))


# --- signals without an event loop ---


@contextmanager
def _signals() -> Iterator[int]:
    """Have signals come as bytes; yield where to read them."""
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.fileno())
        before = {number: signal.signal(number, _note) for number in (*ORDERS, signal.SIGCHLD)}
        try:
            yield reader.fileno()
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)


def _note(number: int, _: object) -> None:
    """Do nothing: the byte is what counts, but a signal without a handler would end us."""


def _wait(descriptor: int, timeout_s: float | None) -> bytes:
    """Return the numbers of the signals that have come, waiting for the first."""
    ready, _, _ = select.select([descriptor], [], [], timeout_s)
    return os.read(descriptor, 256) if ready else b""


# --- what the pipe carries ---


def _bytes_of(message: str) -> bytes:
    """Encode why a member does not come up; bytes of a file that are not UTF-8 stay themselves."""
    return message.encode("utf-8", "surrogateescape")


def _text_of(told: bytes) -> str:
    """Reverse `_bytes_of`."""
    return told.decode("utf-8", "surrogateescape")


# --- what the members share ---


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yield a folder that nobody else may enter, with a place for each member's Unix socket."""
    with TemporaryDirectory(prefix="pgpool-lite-") as name:
        yield Path(name)


@contextmanager
def shared_unix_socket(settings: Settings) -> Iterator[list[socket.socket]]:
    """Yield the listening Unix socket that all members accept from, none if there is to be none.

    Raises ConfigError where it cannot be had.
    """
    address = unix_address(settings.unix_socket_dir, settings.listen_port)
    if not address:
        yield []
        return
    shown = address.replace("\0", "@")
    with socket.socket(socket.AF_UNIX) as shared:
        claimed = None
        try:
            if not address.startswith("\0"):
                Path(address).unlink(missing_ok=True)  # of a process that was killed
            shared.bind(address)
            if not address.startswith("\0"):
                claimed = claim_socket_file(Path(address), settings)
            shared.listen(settings.listen_backlog)
        except (OSError, LookupError) as error:
            raise ConfigError(f"cannot listen on unix:{shown}: {error}") from None
        try:
            LOGGER.info("listening on unix:%s", shown)
            yield [shared]
        finally:
            if claimed is not None:
                release_socket_file(*claimed)
