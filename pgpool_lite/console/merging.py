"""How do the answers of several processes become one? For `workers`, whose console is one.

Each process answers for itself; here rows that mean the same thing are put together. Connections
are listed one below the other, everything else is added up, apart from what is the same for all, is
the longest wait, or is an average. Pure: who asks, and how, is `proxy/chorus.py`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pgpool_lite.config.place import SHARED
from pgpool_lite.console.values import Cell
from pgpool_lite.pool.registry import CONSOLE

Row = tuple[Cell, ...]
#: The rows that mean the same thing, by the columns' names.
Same = Sequence[dict[str, Cell]]

#: Tables of connections: each process has its own.
LISTED: Final = frozenset(
    {"active_sockets", "clients", "leaks", "links", "peer_pools", "pins", "servers", "sockets"}
)
#: The columns that say which rows mean the same, in tables that are added up.
KEYS: Final = {
    "config": ("key",),
    "databases": ("name",),
    "dns_hosts": ("hostname",),
    "dns_zones": ("zonename",),
    "leak_totals": ("database", "user"),
    "lists": ("list",),
    "mem": ("name",),
    "mends": ("database", "user", "mend", "rule"),
    "pools": ("database", "user"),
    "prepared_statements": ("query", "type_oids"),
    "state": ("key",),
    "stats": ("database",),
    "stats_averages": ("database",),
    "stats_totals": ("database",),
    "totals": ("name",),
    "users": ("name",),
}

#: Which count weighs an average of times.
_WEIGHTS: Final = {
    "xact_time": "xact_count",
    "query_time": "query_count",
    "wait_time": "server_assignment_count",
}
#: SHOW LISTS: what there is of these in each process is the same.
_COMMON_LISTS: Final = frozenset({"databases", "users", "peers", "pools", "dns_names", "dns_zones"})
#: Columns that have one value for all processes, or of which the largest counts.
_LARGEST: Final = frozenset(
    {"count", "disabled", "paused", "port", "serial", "server_lifetime", "size", "ttl"}
)


def merge(what: str, names: Sequence[str], answers: Sequence[Sequence[Row]]) -> list[Row]:
    """Return one table of the answers to SHOW `what`; `names` are its columns'."""
    if what not in KEYS:
        return [row for rows in answers for row in rows]
    groups: dict[Row, list[dict[str, Cell]]] = {}
    for rows in answers:
        for row in rows:
            values = dict(zip(names, row, strict=True))
            groups.setdefault(tuple(values[key] for key in KEYS[what]), []).append(values)
    if what == "totals":
        return _merge_totals(groups)
    combine = _COMBINE.get(what, _add_up)
    return [tuple(combine(same)[name] for name in names) for same in groups.values()]


def _add_up(same: Same) -> dict[str, Cell]:
    """Return one row for several: numbers are added, text is the first's."""
    return {name: _combined(name, same) for name in same[0]}


def _combined(name: str, same: Same) -> Cell:
    values = [row[name] for row in same]
    numbers = [value for value in values if isinstance(value, int)]
    is_console = CONSOLE in (same[0].get("name"), same[0].get("database"))
    if not numbers:
        return next((value for value in values if value is not None), None)
    if name in _LARGEST or (is_console and name == "pool_size"):
        return max(numbers)
    weight = _weight_of(name)
    if weight is not None:
        return _weighted(numbers, [_number(row.get(weight)) for row in same])
    return sum(numbers)


def _weight_of(name: str) -> str | None:
    """Return the column that an average of times weighs by; None for what is no such average."""
    prefix = "avg_" if name.startswith("avg_") else ""
    count = _WEIGHTS.get(name.removeprefix("avg_"))
    # In SHOW STATS_TOTALS the bare name is a total: `_COMBINE` has that table apart.
    return prefix + count if count is not None else None


def _weighted(values: Sequence[int], weights: Sequence[int]) -> int:
    total = sum(weights)
    if not total:
        return max(values)
    return round(sum(a * b for a, b in zip(values, weights, strict=True)) / total)


def _number(value: Cell) -> int:
    return value if isinstance(value, int) else 0


def _add_totals(same: Same) -> dict[str, Cell]:
    """Add rows of SHOW STATS_TOTALS, where no column is an average."""
    return {
        name: value if isinstance(value, str) else sum(_number(row[name]) for row in same)
        for name, value in same[0].items()
    }


def _add_pools(same: Same) -> dict[str, Cell]:
    """Add rows of SHOW POOLS; the longest wait is in two columns."""
    longest = max(same, key=lambda row: (_number(row["maxwait"]), _number(row["maxwait_us"])))
    waits = {name: longest[name] for name in ("maxwait", "maxwait_us")}
    return {**_add_up(same), **waits}


def _add_users(same: Same) -> dict[str, Cell]:
    """Add rows of SHOW USERS, whose sizes are text, and empty where there is none."""
    sizes = {name: _add_texts([row[name] for row in same]) for name in _TEXT_SIZES}
    return {**_add_up(same), **sizes}


_TEXT_SIZES: Final = ("pool_size", "reserve_pool_size")


def _add_texts(values: Sequence[Cell]) -> Cell:
    numbers = [int(value) for value in values if isinstance(value, str) and value.strip()]
    return f"{sum(numbers):9d}" if numbers else values[0]


def _add_settings(same: Same) -> dict[str, Cell]:
    """Return the setting as it is written in the file: what is shared out is added up again."""
    row = dict(same[0])
    if row["key"] in SHARED:
        row["value"] = str(sum(int(str(each["value"])) for each in same))
    return row


def _add_lists(same: Same) -> dict[str, Cell]:
    row = dict(same[0])
    numbers = [_number(each["items"]) for each in same]
    row["items"] = max(numbers) if row["list"] in _COMMON_LISTS else sum(numbers)
    return row


def _merge_states(same: Same) -> dict[str, Cell]:
    """Call the pooler paused while any process is, and active only when all are."""
    row = dict(same[0])
    values = [each["value"] for each in same]
    unusual = "yes" if row["key"] != "active" else "no"
    row["value"] = unusual if unusual in values else values[0]
    return row


def _merge_totals(groups: dict[Row, list[dict[str, Cell]]]) -> list[Row]:
    """Add the rows of SHOW TOTALS, where an average of times stands below its weight."""
    columns = {
        str(name): [_number(row["value"]) for row in same] for (name,), same in groups.items()
    }
    merged: list[Row] = []
    for name, values in columns.items():
        weight = _weight_of(name) if name.startswith("avg_") else None
        merged.append(
            (name, _weighted(values, columns[weight]) if weight is not None else sum(values))
        )
    return merged


_COMBINE: Final[dict[str, Callable[[Same], dict[str, Cell]]]] = {
    "config": _add_settings,
    "lists": _add_lists,
    "pools": _add_pools,
    "state": _merge_states,
    "stats_totals": _add_totals,
    "users": _add_users,
}
