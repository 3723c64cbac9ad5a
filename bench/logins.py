"""What does it cost in Python to let a client in? `python -m bench.logins`.

Plays logins through the connection of a newcomer, admission, the pool and the welcome, and the way
out again, with transports that throw away what is written: no socket, no event loop. The figures
are compared as those of `bench.micro` are: only with what was measured together, best of several
rounds. `--count N` plays N logins of each kind once and prints nothing, for valgrind's callgrind.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import time
from base64 import b64decode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pgpool_lite.config import config_for_url
from pgpool_lite.proxy.client_login import ClientLoginConnection
from pgpool_lite.proxy.runtime import Runtime
from pgpool_lite.proxy.sockets import Receiver
from pgpool_lite.wire import codes, frontend
from pgpool_lite.wire.scram import ScramClient, ScramKeys, derive_keys

ROUNDS = 5
LOGINS = 5_000

#: What PostgreSQL 15 reports to a client at the end of its login.
WELCOME = {
    "application_name": "",
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "default_transaction_read_only": "off",
    "in_hot_standby": "off",
    "integer_datetimes": "on",
    "IntervalStyle": "postgres",
    "is_superuser": "off",
    "server_encoding": "UTF8",
    "server_version": "15.8",
    "session_authorization": "bench",
    "standard_conforming_strings": "on",
    "TimeZone": "Etc/UTC",
}
STARTUP = frontend.encode_startup(
    {"user": "bench", "database": "bench", "application_name": "pgbench", "client_encoding": "UTF8"}
)
QUIET = {"log_connections": False, "log_disconnections": False}
CLIENT_NONCE = "rOprNGfwEbeRWgbNEkqO5nZg"


class NoSocket:
    """Stands for a TCP socket that is never read or written."""

    family = socket.AF_INET

    def fileno(self) -> int:
        """Have a number that leaves many others free."""
        return 10

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """Do nothing."""


class NoTransport(asyncio.Transport):
    """Throws away what is written, but for the last of it; passes on to whoever has its socket."""

    def __init__(self) -> None:
        """Have the ends of a TCP connection."""
        super().__init__({"socket": NoSocket(), "peername": ("127.0.0.1", 50_508)})
        self.protocol: Receiver
        self.last = b""

    def set_protocol(self, protocol: asyncio.BaseProtocol | Receiver) -> None:
        """Pass on to another from now on."""
        if isinstance(protocol, asyncio.BaseProtocol):
            assert isinstance(protocol, asyncio.Protocol), "streams only"
        self.protocol = protocol

    def feed(self, data: bytes) -> None:
        """Pass on a read."""
        self.protocol.data_received(data)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it until the next."""
        self.last = bytes(data)

    def close(self) -> None:
        """Do nothing."""

    def get_write_buffer_size(self) -> int:
        """Have nothing left to send."""
        return 0

    def is_closing(self) -> bool:
        """Never close."""
        return False


@dataclass
class Case:
    """One way of letting clients in, by a pooler that is not started."""

    name: str
    url: str
    #: Of the plain password, derived at the first login and kept, as libpq's callers could.
    keys: ScramKeys | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Make the pooler, whose pool has been welcomed by a server already."""
        self.runtime = Runtime(config_for_url(self.url, **QUIET))
        registry = self.runtime.registry
        pool = registry.pool_for(registry.find_database("bench", 0.0), "bench")
        pool.welcome = dict(WELCOME)

    def log_in_and_leave(self) -> None:
        """Play one client from accept to close."""
        transport = NoTransport()
        newcomer = ClientLoginConnection(self.runtime, is_unix=False)
        transport.set_protocol(newcomer)
        newcomer.connection_made(transport)
        newcomer.data_received(STARTUP)
        if transport.last[0] == codes.AUTHENTICATION and len(transport.last) < 100:
            for answer in self._proofs(transport):
                newcomer.data_received(answer)
        assert transport.last.endswith(b"Z\0\0\0\5I")
        transport.feed(frontend.TERMINATE)
        transport.protocol.connection_lost(None)

    def _proofs(self, transport: NoTransport) -> Iterator[bytes]:
        """Yield a SCRAM client's two messages; the second answers what was written meanwhile."""
        client = ScramClient(self.keys or "secret", lambda: CLIENT_NONCE)
        yield frontend.encode_sasl_initial("SCRAM-SHA-256", client.first())
        server_first = transport.last[9:]
        if self.keys is None:
            _, salt, iterations = (part[2:] for part in server_first.split(b","))
            self.keys = derive_keys("secret", b64decode(salt), int(iterations))
        yield frontend.encode_sasl_response(client.final(server_first))


def cases() -> list[Case]:
    """Return the ways that are measured."""
    return [
        Case("trust", "postgresql://bench@127.0.0.1/bench"),
        Case("scram", "postgresql://bench:secret@127.0.0.1/bench"),
    ]


def measure(case: Case) -> float:
    """Return the best of several rounds, in microseconds per login."""
    case.log_in_and_leave()
    return min(_round(case, LOGINS) for _ in range(ROUNDS)) / LOGINS * 1e6


def _round(case: Case, count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        case.log_in_and_leave()
    return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line per way of logging in."""
    parser = argparse.ArgumentParser(prog="python -m bench.logins")
    parser.add_argument("--count", type=int, metavar="N", help="play N logins of each, print none")
    options = parser.parse_args(arguments)
    for case in cases():
        if options.count is None:
            print(f"{case.name:6} {measure(case):6.1f} us of Python per login")
        else:
            _round(case, options.count)


if __name__ == "__main__":
    main()
