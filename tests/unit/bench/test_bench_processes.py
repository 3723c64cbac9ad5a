"""CPU time is added up over a process tree, and a child ends with its context."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bench.processes import (
    ProcessStat,
    parse_stat,
    running,
    tree_cpu_s,
    tree_pids,
    tree_resident_kb,
)


def stat_line(pid: int, parent_pid: int, ticks: tuple[int, int, int, int], name: str = "x") -> str:
    """Return a /proc/PID/stat line with all fields that matter here."""
    times = " ".join(str(tick) for tick in ticks)
    return f"{pid} ({name}) S {parent_pid} 1 1 0 -1 4194560 9 0 0 0 {times} 20 0 1 0 100 200 300\n"


def write_proc(proc: Path, *lines: str) -> Path:
    for line in lines:
        folder = proc / line.split()[0]
        folder.mkdir()
        (folder / "stat").write_text(line)
    (proc / "self").mkdir()
    return proc


def test_a_stat_line_gives_the_parent_and_all_four_times() -> None:
    stat = parse_stat(stat_line(7, 3, (100, 20, 3, 4)))

    assert stat == ProcessStat(pid=7, parent_pid=3, cpu_ticks=120, children_ticks=7)


def test_a_command_name_may_hold_blanks_and_parentheses() -> None:
    stat = parse_stat(stat_line(7, 3, (1, 1, 0, 0), name="a) R 9 (b"))

    assert stat == ProcessStat(pid=7, parent_pid=3, cpu_ticks=2, children_ticks=0)


def test_the_tree_includes_grandchildren_and_nobody_else(tmp_path: Path) -> None:
    proc = write_proc(
        tmp_path,
        stat_line(1, 0, (1000, 0, 0, 0)),
        stat_line(10, 1, (10, 0, 0, 0)),
        stat_line(11, 10, (20, 0, 0, 0)),
        stat_line(12, 11, (30, 0, 0, 0)),
        stat_line(20, 1, (500, 0, 0, 0)),
    )

    assert tree_cpu_s(10, proc) == pytest.approx(60 / os.sysconf("SC_CLK_TCK"))


def test_time_by_the_nanosecond_wins_over_ticks(tmp_path: Path) -> None:
    proc = write_proc(tmp_path, stat_line(10, 1, (9, 9, 0, 0)))
    for thread, line in (("10", "1500000000 7 3\n"), ("11", "250000000 7 3\n")):
        (proc / "10" / "task" / thread).mkdir(parents=True)
        (proc / "10" / "task" / thread / "schedstat").write_text(line)

    assert tree_cpu_s(10, proc) == 1.75


def test_a_process_that_is_gone_has_no_cpu_time(tmp_path: Path) -> None:
    assert tree_cpu_s(10, write_proc(tmp_path, stat_line(1, 0, (1, 0, 0, 0)))) is None


def test_a_system_without_proc_has_no_cpu_time(tmp_path: Path) -> None:
    assert tree_cpu_s(10, tmp_path / "absent") is None


def test_a_tree_is_a_process_and_all_that_descend_from_it(tmp_path: Path) -> None:
    nothing = (0, 0, 0, 0)
    family = ((10, 1), (11, 10), (12, 11), (13, 1))
    proc = write_proc(tmp_path, *(stat_line(pid, parent, nothing) for pid, parent in family))

    assert tree_pids(10, proc) == [10, 11, 12]


def test_resident_memory_is_added_up_over_the_tree(tmp_path: Path) -> None:
    lines = (stat_line(10, 1, (0, 0, 0, 0)), stat_line(11, 10, (0, 0, 0, 0)))
    proc = write_proc(tmp_path, *lines)
    (proc / "10" / "status").write_text("Name:\tx\nVmRSS:\t   20480 kB\nThreads:\t1\n")
    (proc / "11" / "status").write_text("Name:\tx\nVmRSS:\t     512 kB\n")

    assert tree_resident_kb(10, proc) == 20992


def test_a_process_that_is_gone_has_no_memory(tmp_path: Path) -> None:
    assert tree_resident_kb(10, tmp_path) is None


def test_a_child_ends_with_its_context(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import signal; signal.pause()"]

    with running(command, log=tmp_path / "log") as child:
        was_running = child.is_running

    assert was_running
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_a_child_that_ended_by_itself_leaves_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('one'); print('two'); print('three')"]

    with running(command, log=tmp_path / "log") as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

        assert child.last_words() == "two / three"
