"""What has a process tree used, CPU and memory, and how does it end without leaving anything?

`targets.py` starts poolers through `Child`; `compare.py` reads `Child.cpu_s` before and after each
run, and memory when it starts. Nothing here knows what the process is.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")

# A pooler without clients ends within milliseconds; one that takes this long is stuck.
STOP_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """The part of /proc/PID/stat that is needed to add up a tree."""

    pid: int
    parent_pid: int
    cpu_ticks: int
    # Those of the children that have ended and been waited for.
    children_ticks: int


def parse_stat(text: str) -> ProcessStat:
    """Read one /proc/PID/stat line: see proc(5), fields 1, 4 and 14 to 17.

    The command name, field 2, may itself hold blanks and parentheses: the fields are counted from
    its last closing one.
    """
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return ProcessStat(
        pid=int(head.split(maxsplit=1)[0]),
        parent_pid=int(fields[1]),
        cpu_ticks=sum(int(ticks) for ticks in fields[11:13]),
        children_ticks=sum(int(ticks) for ticks in fields[13:15]),
    )


def tree_pids(root_pid: int, proc: Path = PROC) -> list[int]:
    """Return the numbers of a process and all its descendants; none where there is no /proc."""
    stats = {stat.pid: stat for stat in _read_stats(proc)}
    return sorted(stat.pid for stat in stats.values() if _descends(stat, root_pid, stats))


def tree_cpu_s(root_pid: int, proc: Path = PROC) -> float | None:
    """Return the user and system time of a process and all its descendants, in seconds.

    None where there is no /proc, or no such process any more.
    """
    stats = {stat.pid: stat for stat in _read_stats(proc)}
    if root_pid not in stats:
        return None
    tree = [stat for stat in stats.values() if _descends(stat, root_pid, stats)]
    return sum(_cpu_s(stat, proc) for stat in tree)


def _cpu_s(stat: ProcessStat, proc: Path) -> float:
    """Return a process's own CPU seconds, to the nanosecond where Linux tells, and its children's.

    A tick is 10 ms, which is a third of what a result of 36 MB may take. A thread that has ended
    is missing in the finer figure; poolers keep theirs.
    """
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    try:
        own_s = sum(
            int(path.read_text(encoding="utf-8").split()[0]) / 1e9
            for path in (proc / str(stat.pid) / "task").glob("*/schedstat")
        )
    except OSError:  # it, or a thread of it, has just ended
        own_s = 0.0
    return (own_s or stat.cpu_ticks * tick_s) + stat.children_ticks * tick_s


def tree_resident_kb(root_pid: int, proc: Path = PROC) -> int | None:
    """Return the resident memory of a process and all its descendants, in KB.

    Pages that several of them share count once for each. None where it cannot be read.
    """
    stats = {stat.pid: stat for stat in _read_stats(proc)}
    if root_pid not in stats:
        return None
    tree = [stat.pid for stat in stats.values() if _descends(stat, root_pid, stats)]
    return sum(_resident_kb(proc / str(pid)) for pid in tree)


def _resident_kb(folder: Path) -> int:
    """Read VmRSS of /proc/PID/status: see proc(5). A process that has just ended has none."""
    with suppress(OSError):
        for line in (folder / "status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


def _read_stats(proc: Path) -> Iterator[ProcessStat]:
    for path in proc.glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended between the listing and the reading
            yield parse_stat(path.read_text(encoding="utf-8", errors="replace"))


def _descends(stat: ProcessStat, root_pid: int, stats: Mapping[int, ProcessStat]) -> bool:
    current: ProcessStat | None = stat
    while current is not None:
        if current.pid == root_pid:
            return True
        current = stats.get(current.parent_pid)
    return False


class Child:
    """A process that this program started, in a session of its own.

    Owned by the `running` context that yields it. Being in another session it does not get the
    terminal's Ctrl-C: it ends when the context does, after whatever still uses it.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        """Take over a process that was started with `start_new_session`."""
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        """The process id, which is also its process group's."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def cpu_s(self) -> float | None:
        """Return the CPU seconds of its whole tree so far; None where they cannot be read."""
        return tree_cpu_s(self.pid)

    def tree_pids(self) -> list[int]:
        """Return the process ids of its whole tree."""
        return tree_pids(self.pid)

    def resident_kb(self) -> int | None:
        """Return its whole tree's resident memory in KB; None where it cannot be read."""
        return tree_resident_kb(self.pid)

    def wait(self) -> int:
        """Wait until it ends by itself; return its exit status."""
        return self._process.wait()

    def interrupt(self) -> None:
        """Send SIGINT and wait until it has ended."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(STOP_TIMEOUT_S)

    def last_words(self) -> str:
        """Return the last two lines it wrote, which usually say why it ended."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return " / ".join(lines[-2:]) or "it wrote nothing"

    def stop(self) -> None:
        """Ask the process to end, then end its whole group."""
        if self.is_running:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT_S)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def running(
    command: Sequence[str],
    *,
    log: Path,
    directory: Path | None = None,
    run_as: str | None = None,
) -> Iterator[Child]:
    """Run a command for the length of the context; its output goes to the file `log`.

    `run_as` names another user to run it as; only root may do that.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            start_new_session=True,
            user=run_as,
            group=None if run_as is None else pwd.getpwnam(run_as).pw_gid,
            extra_groups=None if run_as is None else [],
        )
    child = Child(process, log)
    try:
        yield child
    finally:
        child.stop()
