"""Which workloads have a name, and what does each name stand for?"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from enum import StrEnum

from bench.doors import Door
from bench.idle import CLIENTS, QUICK_CLIENTS, Idle
from bench.pgbench import Mode, PgbenchWorkload, Script
from bench.transfer import Kind, Transfer
from bench.workload import Workload

ALL = "all"


class Name(StrEnum):
    """What --workloads takes, in the order in which they run.

    Idle clients come first: what the others leave behind in a pooler's memory would serve them.
    """

    IDLE = "idle"
    SELECT = "select"
    TLS = "tls"
    CONNECT = "connect"
    CONNECT_SCRAM = "connect-scram"
    TPCB = "tpcb"
    NARROW = "narrow"
    WIDE = "wide"
    COPY_IN = "copy-in"


# What pgbench runs in simple mode, at each number of clients, and through which door.
SIMPLE = {
    Name.TLS: (Script.SELECT, Door.TLS),
    Name.CONNECT: (Script.CONNECT, Door.OPEN),
    Name.CONNECT_SCRAM: (Script.CONNECT, Door.SCRAM),
    Name.TPCB: (Script.TPCB, Door.OPEN),
}


def parse_names(text: str) -> list[Name]:
    """Read the option's value; names run in the order in which they are listed above."""
    if text == ALL:
        return list(Name)
    chosen = text.split(",")
    if unknown := set(chosen) - set(Name):
        allowed = ", ".join([ALL, *Name])
        raise argparse.ArgumentTypeError(f"choose from {allowed}, not {min(unknown)!r}")
    return [name for name in Name if name in chosen]


def make_workloads(
    names: Sequence[Name],
    *,
    modes: Sequence[Mode],
    clients: Sequence[int],
    streams: Sequence[int],
    is_quick: bool,
    pgbench: str,
) -> list[Workload]:
    """Return the workloads of these names.

    `select` comes in each mode, the others of pgbench's in the simple one; all at each number of
    clients, and transfers at each number of streams. Transfers and idle clients are fewer where it
    is to be quick.
    """

    def make(name: Name) -> Iterator[Workload]:
        if name is Name.SELECT:
            for mode in modes:
                for number in clients:
                    yield PgbenchWorkload(mode, number, Script.SELECT, pgbench)
        elif name is Name.IDLE:
            yield Idle(QUICK_CLIENTS if is_quick else CLIENTS)
        elif name.value in set(Kind):
            for number in streams:
                yield Transfer.of(Kind(name.value), number, is_quick=is_quick)
        else:
            script, door = SIMPLE[name]
            for number in clients:
                yield PgbenchWorkload(Mode.SIMPLE, number, script, pgbench, door)

    return [workload for name in names for workload in make(name)]


def most_clients(workloads: Sequence[Workload]) -> int:
    """Return how many clients a pooler must let in at once."""
    return max(each.clients for each in workloads)
