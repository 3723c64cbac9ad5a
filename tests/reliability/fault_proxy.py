"""What does a network do at its worst, at a place of the conversation that a test names?

A `FaultProxy` listens, passes every connection on to its target, and does to each what its plan
says, where the plan says: at a byte of a direction, or at a message of it.

    after_commit = Fault(Action.RESET, Toward.CLIENT, kind="C", begins=b"COMMIT")
    async with FaultProxy(postgres, lambda number: after_commit) as proxy:
        pooler = await make_pooler(to=proxy.url)

The same plan does the same at the same places, whatever the network does to the pieces. It stands
between a client and the pooler as well as between the pooler and PostgreSQL. Of TLS it sees bytes.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum, auto
from types import TracebackType
from typing import Protocol

from tests.wire_client import eventually
from tests.wire_messages import GSSENC_CODE, SSL_CODE

# What follows is sent byte by byte; longer answers would only take longer.
TRICKLE_SIZE = 200
READ_SIZE = 1 << 16


class Address(Protocol):
    """Anything that listens."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


class Action(Enum):
    """What happens at the place."""

    RESET = auto()  # both sides get a TCP RST
    HALF_CLOSE = auto()  # the receiver sees the end of the stream; the other direction goes on
    STALL = auto()  # nothing more passes until `release`
    SILENCE = auto()  # nothing more passes, ever, and the sender does not notice
    GARBAGE = auto()  # other bytes come in between
    TRICKLE = auto()  # what follows comes byte by byte


class Toward(Enum):
    """The direction that is struck."""

    SERVER = auto()
    CLIENT = auto()


@dataclass(frozen=True, slots=True)
class Fault:
    """One action at one place of one connection."""

    action: Action
    toward: Toward
    # The place: so many bytes of the direction still pass; or
    byte: int = -1
    # behind the `count`-th message of this type whose body begins so; or, with an offset, behind so
    # many bytes of it.
    kind: str = ""
    begins: bytes = b""
    count: int = 1
    offset: int = -1
    # What comes in between.
    garbage: bytes = b""


Plan = Callable[[int], Fault | None]


def nothing_happens(number: int) -> Fault | None:
    """Plan nothing for connection `number`."""
    return None


class Place:
    """Finds the place of a fault in one direction of one connection."""

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        # The first message to a server has no type byte; the first byte from one may be an N.
        self._is_start = True
        self._kept = b""
        self._body_left = 0
        # Bytes up to the place, once it is known.
        self._left = fault.byte
        self._count = fault.count

    def take(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Return what passes, and what stands behind the place; None: it has not come."""
        data = self._kept + data
        self._kept = b""
        if self._left < 0:
            end = self._walk(data)
            if self._left < 0:
                self._kept = data[end:]
                return data[:end], None
        if self._left > len(data):
            self._left -= len(data)
            return data, None
        return data[: self._left], data[self._left :]

    def _walk(self, data: bytes) -> int:
        """Look at the messages until the place is found; return where what must be kept begins."""
        fault, pos = self._fault, self._body_left
        while pos < len(data):
            is_untyped = self._is_start and fault.toward is Toward.SERVER
            head_size = 4 if is_untyped else 5
            if self._is_start and fault.toward is Toward.CLIENT and data[pos : pos + 1] == b"N":
                pos += 1  # no TLS
                continue
            if len(data) - pos < head_size:
                self._body_left = 0
                return pos
            body = pos + head_size
            end = body - 4 + int.from_bytes(data[body - 4 : body], "big")
            if len(data) < min(end, body + max(len(fault.begins), 4)):
                self._body_left = 0
                return pos
            if self._is_it(data, pos, body, is_untyped=is_untyped):
                self._left = end if fault.offset < 0 else min(pos + fault.offset, end)
                return pos
            self._is_start = is_untyped and int.from_bytes(data[body : body + 4], "big") in (
                SSL_CODE,
                GSSENC_CODE,
            )
            pos = end
        self._body_left = pos - len(data)
        return len(data)

    def _is_it(self, data: bytes, pos: int, body: int, *, is_untyped: bool) -> bool:
        fault = self._fault
        kind = "" if is_untyped else chr(data[pos])
        if kind != fault.kind or not data.startswith(fault.begins, body):
            return False
        self._count -= 1
        return self._count == 0


class Leg(asyncio.Protocol):
    """One socket of a connection that passes through."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.transport: asyncio.Transport | None = None
        self.other: Leg
        # What is to be written as soon as there is a connection, and whether it ends there.
        self._early = b""
        self._has_ended = False

    # A stream socket always comes with a Transport; uvloop's does not say so by its class.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        if self._early:
            transport.write(self._early)
        if self._has_ended:
            transport.write_eof()
        self._link.leg_opened(self)

    def data_received(self, data: bytes) -> None:
        self._link.passes(self, data)

    def eof_received(self) -> bool:
        self.other.end()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._link.leg_lost(self, exc)

    def pause_writing(self) -> None:
        self.other.pause()

    def resume_writing(self) -> None:
        self.other.resume()

    def pause(self) -> None:
        """Take nothing more from this socket."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        """Go on taking from this socket."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Send, as soon as there is somebody, and as long."""
        if self.transport is None:
            self._early += data
        elif data and not (self._has_ended or self.transport.is_closing()):
            self.transport.write(data)

    def end(self) -> None:
        """Send nothing more, but go on receiving."""
        if not (self._has_ended or self.transport is None or self.transport.is_closing()):
            self.transport.write_eof()
        self._has_ended = True

    def close(self) -> None:
        """Close the socket behind what was written."""
        if self.transport is not None:
            self.transport.close()

    def reset(self) -> None:
        """Close the socket by a TCP RST."""
        if self.transport is None or self.transport.is_closing():
            self.abort()
            return
        raw = self.transport.get_extra_info("socket")
        # Linger on, for zero seconds: closing then discards what is unsent and resets.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def abort(self) -> None:
        """Close the socket at once."""
        if self.transport is not None:
            self.transport.abort()


class Link:
    """One connection that passes through, and what is to happen to it."""

    def __init__(self, proxy: FaultProxy, fault: Fault | None) -> None:
        self._proxy = proxy
        self._fault = fault
        self._place = Place(fault) if fault is not None else None
        self.has_struck = False
        self._lost_count = 0
        self.client, self.server = Leg(self), Leg(self)
        self.client.other, self.server.other = self.server, self.client
        # What is held back by a stall, or goes byte by byte.
        self._held = b""

    def leg_opened(self, leg: Leg) -> None:
        """Connect to the target as soon as somebody has come, unless they left meanwhile."""
        if leg is self.client:
            self._proxy.spawn(self._connect())
        elif self._lost_count:
            leg.abort()

    async def _connect(self) -> None:
        target = self._proxy.target
        try:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: self.server, target.host, target.port)
        except OSError:
            self.client.reset()

    def leg_lost(self, leg: Leg, exc: Exception | None) -> None:
        """Let the other side know in the same way."""
        self._lost_count += 1
        if self._lost_count == 2 or leg.other.transport is None:
            self._proxy.links.discard(self)
        if exc is None:
            leg.other.close()
        else:
            leg.other.reset()

    def passes(self, source: Leg, data: bytes) -> None:
        """Pass a read on, as far as nothing happens to it."""
        fault, place = self._fault, self._place
        toward = Toward.SERVER if source is self.client else Toward.CLIENT
        if fault is None or place is None or fault.toward is not toward:
            source.other.write(data)
        elif not self.has_struck:
            data, rest = place.take(data)
            source.other.write(data)
            if rest is not None:
                self.has_struck = True
                self._proxy.note(fault)
                self._strike(fault, source, rest)
        else:
            self._after(fault, source, data)

    def _strike(self, fault: Fault, source: Leg, rest: bytes) -> None:
        if fault.action is Action.RESET:
            self.client.reset()
            self.server.reset()
        elif fault.action is Action.HALF_CLOSE:
            source.other.end()
        elif fault.action is Action.STALL:
            source.pause()
            self._held = rest
        elif fault.action is Action.GARBAGE:
            source.other.write(fault.garbage + rest)
        elif fault.action is Action.TRICKLE:
            self._trickle(source, rest, TRICKLE_SIZE)

    def _after(self, fault: Fault, source: Leg, data: bytes) -> None:
        """Take what comes behind the place."""
        if fault.action is Action.GARBAGE or (fault.action is Action.TRICKLE and not self._held):
            source.other.write(data)
        elif fault.action in (Action.STALL, Action.TRICKLE):
            self._held += data

    def _trickle(self, source: Leg, data: bytes, left: int) -> None:
        """Send a byte, and the next one in the loop's next round."""
        self._held += data
        if left and self._held:
            source.other.write(self._held[:1])
            self._held = self._held[1:]
            asyncio.get_running_loop().call_soon(self._trickle, source, b"", left - 1)
        else:
            source.other.write(self._held)
            self._held = b""

    def release(self) -> None:
        """End a stall."""
        fault = self._fault
        if fault is not None and fault.action is Action.STALL and self.has_struck:
            source = self.client if fault.toward is Toward.SERVER else self.server
            source.other.write(self._held)
            self._held, self._place = b"", None
            source.resume()


class FaultProxy:
    """Listens on a port of its own, from `async with` to its end."""

    host = "127.0.0.1"

    def __init__(self, target: Address, plan: Plan = nothing_happens) -> None:
        self.target = target
        # What happens to the connection of this number; may be replaced at any time.
        self.plan = plan
        self.port = 0
        self.links: set[Link] = set()
        self.accepted_count = 0
        # What has happened, and how often.
        self.struck: dict[tuple[Action, Toward], int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> FaultProxy:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, self.host, 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for link in list(self.links):
            link.client.reset()
            link.server.reset()
        await eventually(lambda: not self.links)
        # Handles close in the loop's next rounds.
        for _ in range(3):
            await asyncio.sleep(0)

    @property
    def url(self) -> str:
        """Where the pooler finds the database app behind this."""
        return f"postgresql://postgres@{self.host}:{self.port}/app"

    @property
    def struck_count(self) -> int:
        """How many faults have happened."""
        return sum(self.struck.values())

    def note(self, fault: Fault) -> None:
        """Count a fault that happens."""
        what = (fault.action, fault.toward)
        self.struck[what] = self.struck.get(what, 0) + 1

    def release(self) -> None:
        """End all stalls."""
        for link in list(self.links):
            link.release()

    def cut_all(self) -> None:
        """Reset every connection there is."""
        for link in list(self.links):
            link.client.reset()
            link.server.reset()

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run a coroutine that ends with the proxy at the latest."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _accept(self) -> Leg:
        self.accepted_count += 1
        link = Link(self, self.plan(self.accepted_count))
        self.links.add(link)
        return link.client
