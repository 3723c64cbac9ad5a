"""A benchmark that is interrupted leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

MARK = "PGPOOL_LITE_BENCH_MARK"


def processes_marked(mark: str) -> list[str]:
    """Return the process ids whose environment holds the mark."""
    return [
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/environ")
        if mark.encode() in environment_of(path)
    ]


def environment_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended, or it is somebody else's
        return b""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="there is no /proc to look for processes in")
def test_an_interrupted_benchmark_leaves_no_process_and_prints_what_is_done() -> None:
    mark = uuid.uuid4().hex
    command = [sys.executable, "-m", "bench", "--builds", "interpreted", "--modes", "simple"]
    with subprocess.Popen(
        [*command, "--clients", "2", "--scale", "1", "--seconds", "1", "--rounds", "1000"],
        env=os.environ | {MARK: mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as bench:
        assert bench.stderr is not None
        seen = next(line for line in bench.stderr if "round 1/1000  pgpool_lite" in line)
        marked_before = processes_marked(mark)
        bench.send_signal(signal.SIGINT)
        printed, errors = bench.communicate(timeout=30)

    assert "transactions/s" in seen
    assert len(marked_before) > 1
    assert bench.returncode == 130, errors
    assert "pgpool_lite interpreted" in printed
    assert processes_marked(mark) == []
