"""What has been mended here that would have broken behind another pooler? Counted per pool.

A mending works so well that nobody notices it, until the program meets a pooler that does not mend.
So each is counted, and SHOW MENDS says what would break. Kept in `LeakCounters`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pgpool_lite.diagnose.rules import RULES


class Mend(enum.Enum):
    """A kind of mending; its value is its word in SHOW MENDS."""

    STARTUP = "start-up parameter"
    SETTING = "setting"
    PIN = "pin"
    DEALLOCATE = "deallocate"
    STALE_PLAN = "stale plan"


#: What happens elsewhere to a client with such a parameter.
_STARTUP_BREAKS: Final = (
    "PgBouncer refuses the client: unsupported startup parameter, or drops the parameter where"
    " ignore_startup_parameters says so."
)
_DEALLOCATE_BREAKS: Final = (
    "DEALLOCATE names a statement that was prepared by the protocol; PgBouncer calls it otherwise"
    " on its servers, so PostgreSQL says that it does not exist."
)
_STALE_PLAN_BREAKS: Final = (
    "A migration has changed what a prepared statement returns; PostgreSQL fails the query: cached"
    " plan must not change result type."
)
#: By kind; a pin and a setting break the rule that they are counted under.
_BREAKS: Final = {
    Mend.STARTUP: _STARTUP_BREAKS,
    Mend.DEALLOCATE: _DEALLOCATE_BREAKS,
    Mend.STALE_PLAN: _STALE_PLAN_BREAKS,
}
_STORIES: Final = {rule.id: rule.story for rule in RULES}


@dataclass(slots=True)
class Mended:
    """How often something was mended, and when last, by the runtime's clock."""

    count: int = 0
    last_at: float = 0.0


class Mends:
    """What has been mended in one pool. Owned by its counters."""

    __slots__ = ("by_kind",)

    def __init__(self) -> None:
        """Begin with nothing mended."""
        #: By kind, and by the rule that was broken; "" where there is none.
        self.by_kind: dict[tuple[Mend, str], Mended] = {}

    def note(self, mend: Mend, rule_id: str, now: float) -> None:
        """Count one mending."""
        mended = self.by_kind.setdefault((mend, rule_id), Mended())
        mended.count += 1
        mended.last_at = now

    def noter(self, mend: Mend, clock: Callable[[], float]) -> Callable[[], None]:
        """Return what counts one mending of a kind that breaks no rule, whenever it is called."""

        def note() -> None:
            self.note(mend, "", clock())

        return note


def would_break(mend: Mend, rule_id: str) -> str:
    """Return what happens where it is not mended; "" for a pin whose rule is not known."""
    return _BREAKS.get(mend) or _STORIES.get(rule_id, "")
