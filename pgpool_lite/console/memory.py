"""SHOW MEM: how many objects of which kind are there, and how large is one?

PgBouncer shows its slabs, under names that are kept here so that who looks for `client_cache` finds
it. Python has no slabs: `size` is what one object takes itself, without the texts, lists and
buffers it refers to, and nothing is kept free. What has no counterpart here has no size and none in
use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from pgpool_lite.config import PeerSettings, UserSettings
from pgpool_lite.console.fields import Table, View
from pgpool_lite.console.values import INT4, TEXT, Cell, column
from pgpool_lite.pool.database import Database
from pgpool_lite.pool.pool import Pool
from pgpool_lite.pool.registry import Registry
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.statements import Statement

#: PgBouncer's names in its order; the kind of object that is ours, and how many there are.
_KINDS: Final[list[tuple[str, type | None, Callable[[Registry], int]]]] = [
    ("user_cache", UserSettings, lambda registry: len(registry.config.users)),
    ("credentials_cache", str, lambda registry: len(registry.config.secrets)),
    ("db_cache", Database, lambda registry: len(registry.databases) + 1),
    ("peer_cache", PeerSettings, lambda registry: len(registry.config.peers)),
    ("peer_pool_cache", None, lambda registry: 0),
    ("pool_cache", Pool, lambda registry: len(registry.pools)),
    ("outstanding_request_cache", None, lambda registry: 0),
    ("server_cache", ServerSession, lambda registry: _server_count(registry)),
    ("client_cache", ClientSession, lambda registry: registry.client_count),
    ("iobuf_cache", None, lambda registry: 0),
    ("var_list_cache", None, lambda registry: 0),
    (
        "server_prepared_statement_cache",
        Statement,
        lambda registry: len(registry.statements.statements()),
    ),
]


def _server_count(registry: Registry) -> int:
    return sum(pool.server_count for pool in registry.pools.values())


def _rows(view: View) -> Iterator[tuple[Cell, ...]]:
    for name, kind, count in _KINDS:
        size = kind.__basicsize__ if kind is not None else 0
        used = count(view.registry)
        yield name, size, used, 0, size * used


_COLUMNS: Final = (
    column("name", TEXT),
    *(column(name, INT4) for name in ("size", "used", "free", "memtotal")),
)
MEM: Final = Table(_COLUMNS, lambda view: list(_rows(view)))
