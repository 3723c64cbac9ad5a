"""Can a stranger tell by the clock which users exist? `python -m bench.strangers [ATTEMPTS]`.

A pooler with a user list is started, and logins by SCRAM-SHA-256 are tried in turn: as a user who
exists with a wrong password, and as one who does not. Each attempt has a new connection; the times
of its three answers, to the start-up, the first message and the proof, are compared. What matters
is how far the medians lie apart, beside how far the times of one and the same user lie apart.
"""

from __future__ import annotations

import argparse
import base64
import random
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

PORT = 16432
KNOWN, UNKNOWN = "alice", "mallory"
_INI = """[databases]
app = host=127.0.0.1 port=1
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users.txt
logfile = {folder}/log
"""


def attempt(user: str, port: int = PORT) -> tuple[float, float, float]:
    """Try to log in with a proof that is wrong; return the answers' times in microseconds."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        body = struct.pack("!I", 196608) + f"user\0{user}\0database\0app\0\0".encode()
        _, start_us = _ask(connection, struct.pack("!I", len(body) + 4) + body)
        first = b"n,,n=,r=clientnonce"
        initial = b"SCRAM-SHA-256\0" + struct.pack("!I", len(first)) + first
        answer, first_us = _ask(connection, _message(initial))
        nonce = answer.split(b"r=", 1)[1].split(b",", 1)[0]
        proof = base64.b64encode(bytes(32))
        _, final_us = _ask(connection, _message(b"c=biws,r=%b,p=%b" % (nonce, proof)))
    return start_us, first_us, final_us


def _message(body: bytes) -> bytes:
    return b"p" + struct.pack("!I", len(body) + 4) + body


def _ask(connection: socket.socket, message: bytes) -> tuple[bytes, float]:
    began = time.perf_counter()
    connection.sendall(message)
    answer = connection.recv(4096)
    return answer, (time.perf_counter() - began) * 1e6


def compare(count: int) -> str:
    """Return what `count` attempts of each kind took, as lines of text."""
    times: dict[str, list[tuple[float, ...]]] = {
        KNOWN: [],
        UNKNOWN: [],
        "alice again": [],
        "eve": [],
    }
    for _ in range(count):
        for label in random.sample(list(times), len(times)):
            times[label].append(attempt(label if label in (UNKNOWN, "eve") else KNOWN))
    lines = []
    for which, name in enumerate(("start-up", "client-first", "client-final")):
        for label, pairs in times.items():
            low, median, high = statistics.quantiles([pair[which] for pair in pairs], n=4)
            lines.append(
                f"{name:13} {label:12} median {median:7.1f} us, half of all {low:.1f} to {high:.1f}"
            )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Start a pooler, compare, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.strangers", description=__doc__)
    parser.add_argument("attempts", type=int, nargs="?", default=1000)
    count = parser.parse_args(arguments).attempts
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "users.txt").write_text(f'"{KNOWN}" "alice-secret"\n')
        (folder / "pgbouncer.ini").write_text(_INI.format(port=PORT, folder=folder))
        command = [
            sys.executable,
            "-m",
            "pgpool_lite",
            "-q",
            "-u",
            "root",
            str(folder / "pgbouncer.ini"),
        ]
        with subprocess.Popen(command) as pooler:
            try:
                while pooler.poll() is None and not _is_open():
                    pooler.poll()
                print(compare(count))
            finally:
                pooler.terminate()


def _is_open() -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", PORT)) == 0


if __name__ == "__main__":
    main()
