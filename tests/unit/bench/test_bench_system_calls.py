"""strace's table is read by the names of the calls, and shown per unit."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import LeftOut
from bench.pgbench import Mode, PgbenchWorkload
from bench.postgres import Database
from bench.processes import running
from bench.system_calls import SystemCalls, count_system_calls, parse_table, trace
from bench.targets import Target
from bench.workload import RunResult

WORKLOAD = PgbenchWorkload(Mode.SIMPLE, 16)
TABLE = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 61.19    0.041210          10      4040           write
 38.81    0.026140           6      4041         1 read
------ ----------- ----------- --------- --------- ----------------
100.00    0.067350           8      8081         1 total
"""


def test_calls_are_read_with_and_without_errors_and_their_sum_is_not_one() -> None:
    assert parse_table(TABLE) == {"write": 4040, "read": 4041}


def test_an_empty_table_has_no_calls() -> None:
    assert parse_table("") == {}


def test_the_most_frequent_calls_are_shown_first_and_rare_ones_only_counted() -> None:
    calls = SystemCalls("x", WORKLOAD, {"getpid": 0.01, "read": 2.0, "write": 3.0})

    assert str(calls) == "5.01 (write 3.00, read 2.00)"


def test_postgresql_itself_is_not_traced() -> None:
    direct = Target("direct", "", "", Database("h", 1, "u", "", "d"), None)

    assert count_system_calls(direct, WORKLOAD) is None


def test_without_strace_the_reason_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(["sleep", "60"], log=tmp_path / "log") as child:
        monkeypatch.setenv("PATH", str(tmp_path))

        with pytest.raises(LeftOut, match="system calls: strace is not installed"):
            trace(child, lambda: RunResult(1, 1))
