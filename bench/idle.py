"""What does a client cost that is connected and does nothing? Most clients of a pooler do that."""

from __future__ import annotations

import resource
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace

from bench.doors import Door
from bench.errors import LeftOut
from bench.raw_client import RawClient
from bench.targets import Target
from bench.workload import Length, RunResult, Unit

CLIENTS = 8000
QUICK_CLIENTS = 1000
REHEARSED_CLIENTS = 20

# What a pooler opens besides its clients: servers, logs, libraries.
SPARE_DESCRIPTORS = 200


@dataclass(frozen=True, slots=True)
class Idle:
    """So many clients that log in, one after the other, and stay."""

    clients: int

    door = Door.OPEN
    unit = Unit.CLIENT
    # Memory that was used once stays with the process: a second round would find no growth.
    rounds = 1

    def lasts(self, length: Length) -> str:
        """Say how long it takes: until the last has logged in."""
        return "once"

    def command(self, length: Length) -> str:
        """Say what it does."""
        return f"{self.clients} logins, connections kept open"

    def run(self, target: Target, length: Length) -> RunResult:
        """Let them all log in, and divide the pooler's growth among them."""
        if not target.is_pooler:
            raise LeftOut("each client would be a server process")
        require_descriptors(self.clients + SPARE_DESCRIPTORS)
        before = target.resident_kb()
        started_at = time.perf_counter()
        with ExitStack() as stack:
            for _ in range(self.clients):
                stack.enter_context(RawClient(target.database)).release_buffer()
            took_s = time.perf_counter() - started_at
            after = target.resident_kb()
        growth = None if before is None or after is None else (after - before) / self.clients
        return RunResult(self.clients, self.clients / took_s, resident_kb=growth)

    def rehearse(self, target: Target) -> RunResult:
        """Let a few in, for what the first client of a pool costs once."""
        return replace(self, clients=REHEARSED_CLIENTS).run(target, Length())

    def __str__(self) -> str:
        """Name it as the tables do."""
        return f"idle, {self.clients:,} clients"


def raise_descriptor_limit() -> None:
    """Allow this process, and so the poolers it starts, as many descriptors as it may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def require_descriptors(count: int) -> None:
    """Raise LeftOut when this process may not open so many."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < count:
        raise LeftOut(f"it takes {count} open files, and {soft} are allowed: see ulimit -n")
