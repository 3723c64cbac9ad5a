"""Is the pooler alive, and may clients come? Answered by HTTP, for whoever runs containers.

`/healthz` is 200 while the event loop turns, `/readyz` only while clients are let in; 503 says why
not. It is off unless `health_listen` names an address. One GET or HEAD per connection, of a few
hundred bytes and within seconds, is all that is listened to: this is no web server.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from pgpool_lite.config import Settings
from pgpool_lite.config.values import split_address
from pgpool_lite.errors import ConfigError
from pgpool_lite.proxy.logs import LOGGER

#: Longer than what any probe sends; a browser with cookies may be refused.
MAX_REQUEST: Final = 4096
#: Seconds one connection may take, from accept to its request's end.
PATIENCE_S: Final = 5.0
#: Connections at a time: a probe has one, and descriptors are for clients.
MAX_CONNECTIONS: Final = 16

_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


class Condition(Protocol):
    """What the health port knows of the runtime."""

    @property
    def is_shutting_down(self) -> bool:
        """A shutdown has begun."""

    @property
    def is_globally_paused(self) -> bool:
        """PAUSE without a database is in force."""


class HealthPort:
    """Listens for probes, if it is told to. Owned by the runtime, and lives as long."""

    def __init__(self, condition: Condition) -> None:
        """Listen nowhere yet."""
        self._condition = condition
        self._server: asyncio.Server | None = None
        self._probes: set[_Probe] = set()

    async def open(self, settings: Settings) -> None:
        """Listen at `health_listen`; raises ConfigError if that cannot be."""
        if not settings.health_listen:
            return
        host, port = split_address(settings.health_listen)
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: _Probe(self), host, port, reuse_port=settings.so_reuseport or None
            )
        except (OSError, UnicodeError) as error:  # the latter for what IDNA cannot write
            why = error.strerror or error if isinstance(error, OSError) else "not a host's name"
            reason = f"cannot listen on {settings.health_listen}: {why}"
            raise ConfigError(reason, key="health_listen") from None
        LOGGER.info("health port listening on %s:%s", *self.address)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port where it listens."""
        assert self._server is not None
        name = self._server.sockets[0].getsockname()
        return name[0], name[1]

    def close(self) -> None:
        """Listen no more, and hang up."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for probe in list(self._probes):
            probe.hang_up()

    def enter(self, probe: _Probe) -> bool:
        """Take note of a connection; say whether there was room for it."""
        if len(self._probes) >= MAX_CONNECTIONS:
            return False
        self._probes.add(probe)
        return True

    def leave(self, probe: _Probe) -> None:
        """Forget a connection."""
        self._probes.discard(probe)

    def answer(self, request: bytes) -> bytes:
        """Return the whole HTTP response to a request's head."""
        method, _, rest = request.partition(b" ")
        target, _, version = rest.partition(b"\r\n")[0].rpartition(b" ")
        if not version.startswith(b"HTTP/1."):
            status, text = 400, "expected an HTTP/1 request"
        elif method not in (b"GET", b"HEAD"):
            status, text = 405, "expected GET or HEAD"
        else:
            status, text = self._look(target.partition(b"?")[0])
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: text/plain\r\n"
            f"Content-Length: {len(text) + 1}\r\nCache-Control: no-store\r\n"
            "Connection: close\r\n\r\n"
        )
        return (head if method == b"HEAD" else f"{head}{text}\n").encode()

    def _look(self, path: bytes) -> tuple[int, str]:
        if path == b"/healthz":
            return 200, "ok"
        if path != b"/readyz":
            return 404, "expected /healthz or /readyz"
        if self._condition.is_shutting_down:
            return 503, "shutting down"
        return (503, "paused") if self._condition.is_globally_paused else (200, "ok")


class _Probe(asyncio.Protocol):
    """One connection: reads a request's head, answers, hangs up."""

    def __init__(self, port: HealthPort) -> None:
        self._port = port
        self._request = b""
        self._transport: asyncio.Transport
        self._limit: asyncio.TimerHandle

    # A stream socket always comes with a Transport; uvloop's does not say so by its class.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, unless there are too many."""
        self._transport = transport
        self._limit = asyncio.get_running_loop().call_later(PATIENCE_S, self.hang_up)
        if not self._port.enter(self):
            self.hang_up()

    def data_received(self, data: bytes) -> None:
        """Answer once the head is there."""
        self._request += data
        if len(self._request) > MAX_REQUEST:
            self.hang_up()
        elif b"\r\n\r\n" in self._request:
            self._transport.write(self._port.answer(self._request))
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._limit.cancel()
        self._port.leave(self)

    def hang_up(self) -> None:
        """Close at once."""
        self._transport.abort()
