"""How many system calls does a pooler make for each transaction? strace counts them.

They are most of what a relay costs. strace slows every one of them down, so it looks at a rehearsal
of its own, after the rounds that are measured.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import LeftOut
from bench.processes import Child, running
from bench.targets import Target
from bench.workload import RunResult, Workload

ATTACH_TIMEOUT_S = 10.0
# What a pooler calls less often than this per unit is not worth a word.
LEAST_SHOWN = 0.05


@dataclass(frozen=True, slots=True)
class SystemCalls:
    """How often a target made each system call, per unit of a workload."""

    target: str
    workload: Workload
    per_unit: Mapping[str, float]

    @property
    def total(self) -> float:
        """All of them together, per unit."""
        return sum(self.per_unit.values())

    def __str__(self) -> str:
        """Say the sum, and the calls by name, the most frequent first."""
        ordered = sorted(self.per_unit.items(), key=lambda item: -item[1])
        shown = (f"{name} {count:.2f}" for name, count in ordered if count >= LEAST_SHOWN)
        return f"{self.total:.2f} ({', '.join(shown)})"


def count_system_calls(target: Target, workload: Workload) -> SystemCalls | None:
    """Rehearse a workload under strace; None where the target has no process of its own.

    Raises LeftOut where there is no strace, or where it may not look.
    """
    if target.child is None:
        return None
    calls, result = trace(target.child, lambda: workload.rehearse(target))
    per_unit = {name: count / result.units for name, count in calls.items()}
    return SystemCalls(target.name, workload, per_unit)


def trace(child: Child, action: Callable[[], RunResult]) -> tuple[dict[str, int], RunResult]:
    """Count the system calls of a process and its descendants while the action runs."""
    strace = shutil.which("strace")
    if strace is None:
        raise LeftOut("system calls: strace is not installed")
    pids = child.tree_pids() or [child.pid]
    with tempfile.TemporaryDirectory() as folder:
        table, log = Path(folder, "table"), Path(folder, "log")
        command = [strace, "-c", "-f", "-o", str(table)]
        command += [word for pid in pids for word in ("-p", str(pid))]
        with running(command, log=log) as tracer:
            _await_attached(tracer, log, pids)
            result = action()
            tracer.interrupt()
        return parse_table(table.read_text(encoding="utf-8")), result


def _await_attached(tracer: Child, log: Path, pids: Sequence[int]) -> None:
    deadline = time.monotonic() + ATTACH_TIMEOUT_S
    while tracer.is_running and time.monotonic() < deadline:
        if log.read_text(encoding="utf-8", errors="replace").count("attached") >= len(pids):
            return
        time.sleep(0.02)
    raise LeftOut(f"system calls: {tracer.last_words().replace(str(pids[0]), 'PID')}")


def parse_table(text: str) -> dict[str, int]:
    """Read the table of `strace -c`: the calls by name, without the row of their sum."""
    rows = [line.split() for line in text.splitlines()]
    counted = [row for row in rows if len(row) >= 5 and row[3].isdecimal() and row[-1] != "total"]
    return {row[-1]: int(row[3]) for row in counted}
