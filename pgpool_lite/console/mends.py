"""SHOW MENDS: what works here and would break behind another pooler, how often, and when last?

Not one of PgBouncer's tables. One row per pool, kind of mending and rule that was broken; empty
where nothing is mended (`pool/mends.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pgpool_lite.console.fields import Field, Table, View, field, named_fields, table, time_text
from pgpool_lite.console.tables import sorted_pools, wall_time
from pgpool_lite.console.values import INT8, TEXT
from pgpool_lite.pool.mends import would_break


@dataclass(frozen=True, slots=True)
class MendStatus:
    """One kind of mending in one pool."""

    database: str
    user: str
    mend: str
    #: Whose page, docs/rules/ID.md, tells more; "" for what breaks none.
    rule: str
    times: int
    last: datetime
    breaks: str


def _mends(view: View) -> Iterator[MendStatus]:
    for pool in sorted_pools(view.registry):
        for (mend, rule_id), mended in pool.leak_counters.mends.by_kind.items():
            yield MendStatus(
                database=pool.database.name,
                user=pool.user,
                mend=mend.value,
                rule=rule_id,
                times=mended.count,
                last=wall_time(mended.last_at + view.wall_offset_s),
                breaks=would_break(mend, rule_id),
            )


_FIELDS: Final[list[Field[MendStatus]]] = [
    *named_fields(TEXT, "database", "user", "mend", "rule"),
    *named_fields(INT8, "times"),
    field("last", TEXT, lambda mend: time_text(mend.last)),
    *named_fields(TEXT, "breaks"),
]

MENDS: Final[Table] = table(_FIELDS, _mends)
