"""Which latency did 50, 95 and 99 % of the transactions stay within?

Read from the log that pgbench itself writes, of which each line is one sampled transaction: the
mean hides the few clients that wait long, and an average of percentiles would hide them too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.workload import Percentiles

# Of "client transaction latency script seconds microseconds": see pgbench, Per-Transaction Logging.
LATENCY_US_FIELD = 2


def read_latencies(folder: Path) -> list[float]:
    """Return the latency in milliseconds of each line in all of a folder's logs."""
    return [latency for path in folder.iterdir() for latency in _parse(path.read_text("utf-8"))]


def _parse(text: str) -> Iterator[float]:
    for line in text.splitlines():
        field = line.split()[LATENCY_US_FIELD]
        if field.isdecimal():  # "skipped" and "failed" are no latencies
            yield int(field) / 1000


def percentiles(latencies_ms: Sequence[float]) -> Percentiles | None:
    """Return the percentiles of a sample; None of an empty one, as a very short run may leave."""
    if not latencies_ms:
        return None
    ordered = sorted(latencies_ms)
    return Percentiles(*(_nearest_rank(ordered, percent) for percent in (50, 95, 99)))


def _nearest_rank(ordered: Sequence[float], percent: int) -> float:
    """Return the least value that so many percent do not exceed."""
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(rank, 1) - 1]
