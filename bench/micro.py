"""What does one query cost in Python, without a socket? `python -m bench.micro`.

Plays a query and its answer through the two connections, their sessions and the pool, with
transports that throw away what is written. What is left is our own code: the part of a query's cost
that a change to it can change. The figures move with the machine and with what else it does, so
compare only what was measured together; the best of several rounds is printed.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from pgpool_lite.config import config_for_url
from pgpool_lite.pool.pool import Pool
from pgpool_lite.pool.registry import Registry
from pgpool_lite.proxy.client_connection import ClientConnection
from pgpool_lite.proxy.dispatcher import Dispatcher
from pgpool_lite.proxy.logs import ConnectionLog
from pgpool_lite.proxy.server_connection import ServerConnection
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.statements import ServerStatements
from pgpool_lite.wire import backend, codes
from pgpool_lite.wire.frontend import CancelKey, encode, encode_query

ROUNDS = 5
QUERIES = 100_000

TEXT = b"SELECT abalance FROM pgbench_accounts WHERE aid = $1;"
ONE_VALUE = b"\0\0\0\1\0\0\0\0041234\0\0"
EXECUTE = encode(codes.EXECUTE, bytes(5)) + encode(codes.SYNC)
ROW = backend.data_row([b"0"]) + backend.command_complete("SELECT 1") + backend.READY_IDLE
DESCRIBED_ROW = backend.row_description([backend.Column("abalance")]) + ROW


class NoTransport(asyncio.Transport):
    """Throws away what is written."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Do nothing."""

    def is_closing(self) -> bool:
        """Never close."""
        return False


@dataclass(frozen=True, slots=True)
class Case:
    """One way of asking, and the answer."""

    name: str
    question: bytes
    answer: bytes
    #: Asked and answered once, before the clock starts.
    preparation: tuple[bytes, bytes] | None = None


CASES = (
    Case("simple", encode_query("SELECT 1 FROM pgbench_accounts WHERE aid = 1234"), DESCRIBED_ROW),
    Case(
        "extended",
        encode(codes.PARSE, b"\0" + TEXT + b"\0\0\0")
        + encode(codes.BIND, b"\0\0" + ONE_VALUE)
        + encode(codes.DESCRIBE, b"P\0")
        + EXECUTE,
        backend.PARSE_COMPLETE + backend.BIND_COMPLETE + DESCRIBED_ROW,
    ),
    Case(
        "prepared",
        encode(codes.BIND, b"\0P0_1\0" + ONE_VALUE) + encode(codes.DESCRIBE, b"P\0") + EXECUTE,
        backend.BIND_COMPLETE + DESCRIBED_ROW,
        (
            encode(codes.PARSE, b"P0_1\0" + TEXT + b"\0\0\0") + encode(codes.SYNC),
            backend.PARSE_COMPLETE + backend.READY_IDLE,
        ),
    ),
)


def make_pair() -> tuple[ClientConnection, ServerConnection]:
    """Return a client and an idle server of one pool, with nothing behind their transports."""
    config = config_for_url("postgresql://bench@127.0.0.1/bench")
    registry = Registry(config, time.monotonic())
    dispatcher = Dispatcher(registry, time.monotonic, ConnectionLog(lambda: config.settings))
    pool = registry.pool_for(registry.find_database("bench", time.monotonic()), "bench")
    return _make_client(registry, pool, dispatcher), _make_server(registry, pool, dispatcher)


def _make_client(registry: Registry, pool: Pool, dispatcher: Dispatcher) -> ClientConnection:
    values = registry.tracked.values_of({"client_encoding": "UTF8"})
    session = ClientSession(registry.next_id(), CancelKey(1, b"none"), values, time.monotonic())
    session.rewrites = pool.rules.statements is not None
    pool.add_client(session)
    pool.admit(session)
    return ClientConnection(session, pool, NoTransport(), dispatcher)


def _make_server(registry: Registry, pool: Pool, dispatcher: Dispatcher) -> ServerConnection:
    statements = ServerStatements(registry.statements)
    session = ServerSession(registry.next_id(), registry.tracked, statements, time.monotonic())
    pool.add_server(session, time.monotonic())
    values = registry.tracked.values_of({"client_encoding": "UTF8"})
    session.logged_in(CancelKey(2, b"none"), values)
    connection = ServerConnection(session, pool, NoTransport(), dispatcher)
    pool.server_logged_in(session, time.monotonic())
    return connection


def measure(case: Case) -> float:
    """Return the best of several rounds, in microseconds per query."""
    client, server = make_pair()
    if case.preparation is not None:
        question, answer = case.preparation
        client.data_received(question)
        server.data_received(answer)
    return min(_round(client, server, case) for _ in range(ROUNDS)) / QUERIES * 1e6


def _round(client: ClientConnection, server: ServerConnection, case: Case) -> float:
    ask, answer = client.data_received, server.data_received
    question, reply = case.question, case.answer
    start = time.perf_counter()
    for _ in range(QUERIES):
        ask(question)
        answer(reply)
    return time.perf_counter() - start


def main() -> None:
    """Print one line per way of asking."""
    for case in CASES:
        print(f"{case.name:10} {measure(case):6.2f} us of Python per query")


if __name__ == "__main__":
    main()
