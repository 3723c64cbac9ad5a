"""What has passed through a database, in total and on average: PgBouncer's SHOW STATS numbers.

Counters are plain attributes, bumped where the thing happens. Averages are made once per
`stats_period` from the difference of two snapshots, so nothing is averaged on the hot path.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields

from pgpool_lite.session.statements import ParseCounters

_SECONDS_TO_US = 1_000_000


@dataclass(slots=True)
class Counters(ParseCounters):
    """Totals since the start. Bytes are clients' bytes; times are in seconds."""

    server_assignment_count: int = 0
    xact_count: int = 0
    query_count: int = 0
    bytes_received: int = 0  # from clients
    bytes_sent: int = 0  # to clients
    xact_time: float = 0.0  # linked to a server, from the first message to the last answer
    query_time: float = 0.0  # from a request to its last answer
    wait_time: float = 0.0  # clients waiting for a server
    client_login_count: int = 0

    def copy(self) -> Counters:
        """Return a snapshot."""
        return Counters(*astuple(self))

    def add(self, other: Counters) -> None:
        """Add another's counters to these, to sum over databases."""
        for name in COUNTER_NAMES:
            setattr(self, name, getattr(self, name) + getattr(other, name))


_TIMES = frozenset({"xact_time", "query_time", "wait_time"})


@dataclass(slots=True)
class Averages:
    """What one stats_period looked like: per second, or microseconds per event for times."""

    server_assignment_count: int = 0
    xact_count: int = 0
    query_count: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0
    xact_time: int = 0
    query_time: int = 0
    wait_time: int = 0
    client_parse_count: int = 0
    server_parse_count: int = 0
    bind_count: int = 0
    client_login_count: int = 0


#: In the order in which SHOW STATS has them.
COUNTER_NAMES = tuple(field.name for field in fields(Averages))


class Stats:
    """One database's counters, and the averages of its last full period. Owned by the database."""

    __slots__ = ("averages", "now", "period_started_at", "start_of_period")

    def __init__(self, started_at: float) -> None:
        """Start counting at an instant of the runtime's clock."""
        self.now = Counters()
        self.averages = Averages()
        self.start_of_period = Counters()
        self.period_started_at = started_at

    def end_period(self, now: float) -> None:
        """Make averages of the period that ends `now`, and start the next one."""
        elapsed = now - self.period_started_at
        if elapsed <= 0:
            return
        self.averages = average(self.start_of_period, self.now, elapsed)
        self.start_of_period = self.now.copy()
        self.period_started_at = now


def average(before: Counters, after: Counters, elapsed_s: float) -> Averages:
    """Return the averages of a period between two snapshots, rounded down as PgBouncer does."""
    gained = {name: getattr(after, name) - getattr(before, name) for name in COUNTER_NAMES}
    per_second = {
        name: int(gain / elapsed_s) for name, gain in gained.items() if name not in _TIMES
    }
    return Averages(
        **per_second,
        xact_time=_per_event(gained["xact_time"], gained["xact_count"]),
        query_time=_per_event(gained["query_time"], gained["query_count"]),
        wait_time=_per_event(gained["wait_time"], gained["server_assignment_count"]),
    )


def microseconds(seconds: float) -> int:
    """Return whole microseconds, the unit in which SHOW prints times."""
    return int(seconds * _SECONDS_TO_US)


def _per_event(seconds: float, events: int) -> int:
    return microseconds(seconds / events) if events else 0
