"""How does a CancelRequest get to the peer that has its client? On a connection of its own.

[peers] says where they are. A peer answers nothing and hangs up when PostgreSQL has been told, as
PostgreSQL itself does, so a forwarded request looks like any other at each step of its way.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from pgpool_lite.config import PeerSettings
from pgpool_lite.pool.peering import ForwardedCancel, PeerPool, one_hop_on, peer_of
from pgpool_lite.proxy.doorway import unix_address
from pgpool_lite.proxy.logs import LOGGER
from pgpool_lite.wire.frontend import CancelKey, encode_cancel_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgpool_lite.proxy.runtime import Runtime


class Peers:
    """Passes cancel requests on. Owned by the runtime, and lives as long."""

    def __init__(self, runtime: Runtime) -> None:
        """Pass on nothing yet."""
        self._runtime = runtime
        self._tasks: set[asyncio.Task[None]] = set()

    def is_elsewhere(self, key: CancelKey) -> bool:
        """Say whether a key comes from another process than this one."""
        own_id = self._runtime.settings.peer_id
        return bool(own_id) and peer_of(key) != own_id

    def pass_on(self, key: CancelKey, hang_up: Callable[[], None]) -> None:
        """Pass a CancelRequest on, or hang up where nobody is to have it."""
        registry = self._runtime.registry
        peer_id, next_key = peer_of(key), one_hop_on(key)
        if next_key is None:
            LOGGER.debug("failed to forward cancel request because its TTL was exhausted")
        elif peer_id not in registry.config.peers:
            LOGGER.debug("could not find peer %d to forward cancel request to", peer_id)
        else:
            LOGGER.debug("forwarding cancellation request to peer %d", peer_id)
            pool = registry.peer_pools.setdefault(peer_id, PeerPool(peer_id))
            if not pool.is_full:
                pool.add(ForwardedCancel(next_key, hang_up, self._runtime.clock()))
                self._begin_next(pool)
                return
        hang_up()

    def sweep(self) -> None:
        """Give up requests that have waited for their turn for longer than cancel_wait_timeout."""
        limit_s, now = self._runtime.settings.cancel_wait_timeout, self._runtime.clock()
        for pool in self._runtime.registry.peer_pools.values():
            for request in pool.overdue(now, limit_s):
                pool.end(request)

    async def close(self) -> None:
        """Give up everything that is under way."""
        for pool in self._runtime.registry.peer_pools.values():
            for request in list(pool.requests):
                pool.end(request)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin_next(self, pool: PeerPool) -> None:
        config = self._runtime.registry.config
        peer = config.peers.get(pool.peer_id)
        if peer is None:  # a reload took it away
            for each in list(pool.requests):
                pool.end(each)
            return
        limit = peer.pool_size
        request = pool.begin_next(config.settings.default_pool_size if limit is None else limit)
        if request is not None:
            task = asyncio.get_running_loop().create_task(self._carry(pool, peer, request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, pool: PeerPool, peer: PeerSettings, request: ForwardedCancel) -> None:
        transport: asyncio.Transport | None = None
        try:
            async with asyncio.timeout(self._runtime.settings.cancel_wait_timeout or None):
                transport, messenger = await _connect(peer)
                pool.connected(request)
                transport.write(encode_cancel_request(request.key))
                await messenger.closed
        except (TimeoutError, OSError, UnicodeError) as error:
            reason = str(error) or "cancel_wait_timeout"
            LOGGER.warning("cancel request to peer %d failed: %s", pool.peer_id, reason)
        finally:
            if transport is not None:
                transport.close()
            pool.end(request)
        self._begin_next(pool)


class _Messenger(asyncio.Protocol):
    """A connection to a peer, which closes it when the request has struck. Never encrypted, as
    between PgBouncer's peers.
    """

    def __init__(self) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)


async def _connect(peer: PeerSettings) -> tuple[asyncio.Transport, _Messenger]:
    """Connect to a peer, by TCP or through its Unix socket; raises OSError."""
    loop = asyncio.get_running_loop()
    if peer.host.startswith(("/", "@")):
        address = unix_address(peer.host, peer.port)
        return await loop.create_unix_connection(_Messenger, address)
    return await loop.create_connection(_Messenger, peer.host, peer.port)
