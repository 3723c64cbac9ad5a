"""Which addresses does a host name have now? Asked of the operating system, without waiting for it.

The system's own resolver (getaddrinfo, in a thread of the event loop) reads /etc/hosts and all else
that this machine is configured with. It tells no TTL; how long an answer holds is `pool.names`'.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from pgpool_lite.config import Settings
from pgpool_lite.pool.registry import Registry
from pgpool_lite.proxy.logs import LOGGER


class Resolver:
    """Looks host names up, each one once at a time. Owned by the connector."""

    def __init__(
        self,
        registry: Registry,
        settings: Callable[[], Settings],
        clock: Callable[[], float],
        ask: Callable[[str], Awaitable[list[str]]] | None = None,
    ) -> None:
        """Keep what is found in the registry's names; look nothing up yet.

        `ask` returns the addresses of a name, or raises OSError; it is the operating system.
        """
        self._registry = registry
        self._settings = settings
        self._clock = clock
        self._ask = ask or _ask_system
        self._look_ups: dict[str, asyncio.Task[None]] = {}

    async def addresses(self, name: str) -> tuple[str, ...]:
        """Return the addresses of a host name, the one to try first in front; () for none."""
        names = self._registry.names
        if not names.is_fresh(name, self._clock()):
            await asyncio.shield(self._look_up(name))
        return names.take(name)

    def _look_up(self, name: str) -> asyncio.Task[None]:
        """Begin to look a name up, or join the look-up that is under way."""
        task = self._look_ups.get(name)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._find(name))
            self._look_ups[name] = task
            self._registry.names.under_way.add(name)
            task.add_done_callback(lambda _: self._done(name))
        return task

    def _done(self, name: str) -> None:
        del self._look_ups[name]
        self._registry.names.under_way.discard(name)

    async def _find(self, name: str) -> None:
        registry, settings = self._registry, self._settings()
        try:
            found = await self._ask(name)
        except (OSError, UnicodeError) as error:  # a name that cannot be is a UnicodeError
            LOGGER.warning("DNS lookup failed: %s: %s", name, error)
            registry.names.note_failed(name, self._clock() + settings.dns_nxdomain_ttl)
            return
        expires_at = self._clock() + settings.dns_max_ttl
        vanished = registry.names.note_found(name, tuple(dict.fromkeys(found)), expires_at)
        registry.retire_addresses(name, vanished)

    async def close(self) -> None:
        """Give up every look-up."""
        tasks = list(self._look_ups.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _ask_system(name: str) -> list[str]:
    """Return the addresses of a name, in the order in which the system would have them tried."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]
