"""Which workloads have a name, and what does each name stand for?"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from enum import StrEnum

from bench.pgbench import Mode, PgbenchWorkload, Script
from bench.workload import Workload

ALL = "all"


class Name(StrEnum):
    """What --workloads takes; all of them run in this order."""

    SELECT = "select"
    CONNECT = "connect"
    TPCB = "tpcb"


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
    is_quick: bool,
    pgbench: str,
) -> list[Workload]:
    """Return the workloads of these names.

    `select` comes in each mode, the other two of pgbench's in the simple one; all three at each
    number of clients.
    """

    def make(name: Name) -> Iterator[Workload]:
        if name is Name.SELECT:
            for mode in modes:
                for number in clients:
                    yield PgbenchWorkload(mode, number, Script.SELECT, pgbench)
        else:
            for number in clients:
                yield PgbenchWorkload(Mode.SIMPLE, number, Script(name.value), pgbench)

    return [workload for name in names for workload in make(name)]
