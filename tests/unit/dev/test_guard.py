"""What does the guard do when its process is done, and when its process dies?"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgpool_lite.dev.guard import guard

# Holds a guard open, says so, and dies as hard as a process can.
DIE_INSIDE = """
import os, signal, sys
from pathlib import Path
from pgpool_lite.dev.guard import guard

with guard(Path(sys.argv[1]), Path(sys.argv[2])):
    os.kill(os.getpid(), signal.SIGKILL)
"""

# What PostgreSQL does at SIGINT, in small: it removes its postmaster.pid and ends.
SHUT_DOWN_FAST = 7
STAND_IN = """
import os, signal, sys
from pathlib import Path

def shut_down(*_):
    pid_file.unlink()
    os._exit(7)

pid_file = Path(sys.argv[1])
signal.signal(signal.SIGINT, shut_down)
pid_file.write_text(f"{os.getpid()}\\n")
print("up", flush=True)
signal.pause()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder" / "data").mkdir(parents=True)
    return tmp_path / "folder"


@pytest.fixture
def server(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands in for PostgreSQL: it has a postmaster.pid."""
    pid_file = folder / "data" / "postmaster.pid"
    with subprocess.Popen(["/bin/sleep", "60"]) as process:
        pid_file.write_text(f"{process.pid}\n{folder}\n")
        yield process
        process.kill()


def die_inside(data: Path, folder: Path) -> int:
    """Run DIE_INSIDE; return how it ended, once the guard is gone too: it holds our pipe."""
    died = subprocess.run(
        [sys.executable, "-c", DIE_INSIDE, data, folder], stderr=subprocess.PIPE, check=False
    )
    return died.returncode


def test_a_guard_whose_process_is_done_touches_nothing(
    folder: Path, server: subprocess.Popen[bytes]
) -> None:
    with guard(folder / "data", folder):
        pass

    assert folder.exists()
    assert server.poll() is None


def test_a_guard_whose_process_was_killed_removes_the_folder(folder: Path) -> None:
    assert die_inside(folder / "data", folder) == -signal.SIGKILL

    assert not folder.exists()


def test_a_guard_whose_process_was_killed_shuts_the_server_down_first(folder: Path) -> None:
    command: list[str | Path] = [sys.executable, "-c", STAND_IN, folder / "data" / "postmaster.pid"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()

        die_inside(folder / "data", folder)

        assert server.wait() == SHUT_DOWN_FAST
    assert not folder.exists()
