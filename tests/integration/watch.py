"""What do the integration tests ask a pooler about itself?"""

from __future__ import annotations

from collections.abc import Callable

from pgpool_lite.pooler import Pooler


def linked_servers(pooler: Pooler) -> int:
    """Return how many servers are linked to a client now."""
    return sum(pool.sv_active for pool in pooler.pools())


def waiting_clients(pooler: Pooler) -> int:
    """Return how many clients wait for a server now."""
    return sum(pool.cl_waiting for pool in pooler.pools())


def no_server_is_linked(pooler: Pooler) -> Callable[[], bool]:
    """Return the condition that every server is free again."""
    return lambda: linked_servers(pooler) == 0


def a_server_is_linked(pooler: Pooler) -> Callable[[], bool]:
    """Return the condition that one server is linked."""
    return lambda: linked_servers(pooler) == 1


def clients_wait(pooler: Pooler, count: int) -> Callable[[], bool]:
    """Return the condition that `count` clients wait for a server."""
    return lambda: waiting_clients(pooler) == count
