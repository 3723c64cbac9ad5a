"""pgbench is asked for the right run, and its report is read whatever its version."""

from __future__ import annotations

import pytest

from bench.errors import BenchError
from bench.pgbench import Mode, PgbenchWorkload, Script, parse_output
from bench.workload import Length, RunResult

BY_TIME = """\
pgbench (15.18 (Debian 15.18-0+deb12u1))
transaction type: <builtin: select only>
scaling factor: 10
query mode: simple
number of clients: 16
number of threads: 16
maximum number of tries: 1
duration: 5 s
number of transactions actually processed: 176543
number of failed transactions: 0 (0.000%)
latency average = 0.452 ms
initial connection time = 12.345 ms
tps = 35395.123456 (without initial connection time)
"""

BY_COUNT = """\
number of transactions actually processed: 320/320
latency average = 1.250 ms
tps = 800.5 (including connections establishing)
tps = 812.5 (excluding connections establishing)
"""

WITH_CONNECTS = """\
number of transactions actually processed: 1283
latency average = 62.345 ms
average connection time = 3.210 ms
tps = 256.601 (including reconnection times)
"""

NOTHING_PROCESSED = """\
number of transactions actually processed: 0
latency average = 0.000 ms
tps = 0.000000 (without initial connection time)
"""


def test_a_report_by_time_is_read() -> None:
    assert parse_output(BY_TIME) == RunResult(176543, 35395.123456, 0.452)


def test_a_report_with_a_connection_per_transaction_is_read() -> None:
    assert parse_output(WITH_CONNECTS) == RunResult(1283, 256.601, 62.345)


def test_a_report_by_count_of_an_older_pgbench_is_read() -> None:
    assert parse_output(BY_COUNT) == RunResult(320, 812.5, 1.25)


@pytest.mark.parametrize("text", ["", "pgbench (15.18)\n", NOTHING_PROCESSED])
def test_a_report_without_a_result_is_an_error(text: str) -> None:
    with pytest.raises(BenchError, match="reported no result"):
        parse_output(text)


def test_each_client_has_a_thread_of_its_own() -> None:
    asked = PgbenchWorkload(Mode.PREPARED, 16).command(Length(seconds=5))

    assert asked == "pgbench -n -S -M prepared -c 16 -j 16 -T 5"


def test_threads_are_capped() -> None:
    asked = PgbenchWorkload(Mode.SIMPLE, 500).command(Length(transactions=30))

    assert asked == "pgbench -n -S -M simple -c 500 -j 64 -t 30"


@pytest.mark.parametrize(
    ("script", "title"),
    [
        (Script.SELECT, "pgbench -S -M simple, 16 clients"),
        (Script.CONNECT, "pgbench -S -C -M simple, 16 clients"),
        (Script.TPCB, "pgbench -M simple, 16 clients"),
    ],
)
def test_a_workload_is_named_by_its_options(script: Script, title: str) -> None:
    assert str(PgbenchWorkload(Mode.SIMPLE, 16, script)) == title
