"""What stops a throw-away PostgreSQL when this process cannot: a shell that waits for our end.

The guard reads from a pipe that only we hold. A line on it means that all is cleaned up; its end
without a line means that we died, however it happened, SIGKILL included: then the guard shuts the
server down and removes the folder. Used by Cluster only.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# $1 is the data folder, $2 the folder to remove. SIGINT is PostgreSQL's fast shutdown. The server
# is gone when its postmaster.pid is; its process may linger as a zombie where nobody reaps it.
_SCRIPT = """
read -r done && exit
pid=$(head -n 1 "$1/postmaster.pid" 2>/dev/null)
[ -n "$pid" ] && kill -INT "$pid" 2>/dev/null
while [ -n "$pid" ] && [ -e "$1/postmaster.pid" ] && kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
rm -rf "$2"
"""


@contextmanager
def guard(data: Path, folder: Path) -> Iterator[None]:
    """Stop the server of `data` and remove `folder` if this process dies inside the block."""
    # A session of its own keeps a Ctrl-C at the terminal, and the terminal's end, from the guard.
    process = subprocess.Popen(
        ["/bin/sh", "-c", _SCRIPT, "pgpool-lite-guard", data, folder],
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.communicate(b"done\n")
