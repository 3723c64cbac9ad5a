"""What does one query cost in Python, without a socket? `python -m bench.micro`.

Plays a query and its answer through the two connections, their sessions and the pool, with
transports that throw away what is written. What is left is our own code: the part of a query's cost
that a change to it can change. Clients take turns, 10, 1,000 and 10,000 of them: what they cost
more when they are many is memory that has left the processor's cache, and nothing else. `scan` is
what a header costs in a read full of short rows.

The figures move with the machine and with what else it does, so compare only what was measured
together; the best of several rounds is printed. Instructions do not move: count them with
`valgrind --tool=callgrind python -m bench.micro --queries N` for two N, and divide the difference.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice
from typing import TypeVar

from pgpool_lite.config import config_for_url
from pgpool_lite.pool.pool import Pool
from pgpool_lite.pool.registry import Registry
from pgpool_lite.proxy.client_connection import ClientConnection
from pgpool_lite.proxy.dispatcher import Dispatcher
from pgpool_lite.proxy.logs import ConnectionLog
from pgpool_lite.proxy.server_connection import ServerConnection
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.interest import INTEREST
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.statements import ServerStatements
from pgpool_lite.wire import backend, codes
from pgpool_lite.wire.framing import scan
from pgpool_lite.wire.frontend import CancelKey, encode, encode_query

T = TypeVar("T")
Ask = Callable[[bytes], None]

ROUNDS = 5
QUERIES = 100_000
CLIENTS = (10, 1_000, 10_000)

#: What uvloop reads at once from a result of short rows.
SHORT_ROW = backend.data_row([b"0"])
ROWS = SHORT_ROW * (256_000 // len(SHORT_ROW))

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

    def is_reading(self) -> bool:
        """Never stop."""
        return True


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


@dataclass(frozen=True, slots=True)
class Scene:
    """One pool: its clients, and the one idle server that they share."""

    pool: Pool
    clients: list[ClientConnection]
    server: ServerConnection


def make_scene(client_count: int = 1) -> Scene:
    """Return so many clients and an idle server, with nothing behind their transports."""
    config = config_for_url("postgresql://bench@127.0.0.1/bench")
    registry = Registry(config, time.monotonic())
    dispatcher = Dispatcher(registry, time.monotonic, ConnectionLog(lambda: config.settings))
    pool = registry.pool_for(registry.find_database("bench", time.monotonic()), "bench")
    pool.set_rules(replace(pool.rules, pool_size=1))  # whoever waits knows that no server will come
    clients = [_make_client(registry, pool, dispatcher) for _ in range(client_count)]
    return Scene(pool, clients, _make_server(registry, pool, dispatcher))


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


def measure_case(case: Case, client_count: int, queries: int) -> float:
    """Return what a query and its answer cost when so many clients take turns, in seconds."""
    scene = make_scene(client_count)
    answer = scene.server.data_received
    asks: list[Ask] = [client.data_received for client in scene.clients]
    question, reply = case.question, case.answer
    if case.preparation is not None:
        for ask in asks:
            ask(case.preparation[0])
            answer(case.preparation[1])

    def play(turns: list[Ask]) -> None:
        for ask in turns:
            ask(question)
            answer(reply)

    return _best(play, list(islice(cycle(asks), queries)))


def measure_hand_over(case: Case, client_count: int, queries: int) -> float:
    """Return what it costs to serve the client that waited longest, when all the others wait."""
    scene = make_scene(client_count)
    answer = scene.server.data_received
    if case.preparation is not None:
        for client in scene.clients:
            client.data_received(case.preparation[0])
            answer(case.preparation[1])
    for client in scene.clients:
        client.data_received(case.question)

    def play(turns: list[Ask]) -> None:
        for ask in turns:  # the first is linked; its answer gives the server to the second
            answer(case.answer)
            ask(case.question)

    # Whole circles: each round goes on where the last one ended.
    circle: list[Ask] = [client.data_received for client in scene.clients]
    return _best(play, circle * (queries // client_count))


def measure_link(client_count: int, queries: int) -> float:
    """Return what `Pool.link` and `Pool.release` cost together."""
    scene = make_scene(client_count)
    pool, server = scene.pool, scene.server.session

    def play(turns: list[ClientSession]) -> None:
        for session in turns:
            pool.link(session, 1.0)
            pool.release(server, 1.0)

    return _best(play, list(islice(cycle([each.session for each in scene.clients]), queries)))


def measure_scan(rounds: int) -> float:
    """Return what one message costs that is skipped."""

    def play(reads: list[bytes]) -> None:
        for read in reads:
            scan(read, 0, INTEREST)

    return _best(play, [ROWS] * rounds) * len(SHORT_ROW) / len(ROWS)


def _best(play: Callable[[list[T]], None], turns: list[T]) -> float:
    """Return the seconds per turn of the best of several rounds."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        play(turns)
        seconds.append(time.perf_counter() - start)
    return min(seconds) / len(turns)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line per operation: a figure for each number of clients, and how it grows."""
    parser = argparse.ArgumentParser(prog="python -m bench.micro", description=__doc__)
    parser.add_argument("--queries", type=int, default=QUERIES, help="per round")
    queries = max(parser.parse_args(arguments).queries, max(CLIENTS))
    titles = (f"{count:>8,}" for count in CLIENTS)
    print(f"us of Python, by number of clients{'':6}", *titles, "  growth")
    rows: dict[str, Callable[[int, int], float]] = {
        **{f"{case.name} query": partial(measure_case, case) for case in CASES},
        **{f"{case.name} query, all wait": partial(measure_hand_over, case) for case in CASES},
        "link and release": measure_link,
    }
    for name, measure in rows.items():
        figures = [measure(count, queries) * 1e6 for count in CLIENTS]
        shown = (f"{figure:8.2f}" for figure in figures)
        print(f"{name:40}", *shown, f"{figures[-1] / figures[0]:7.2f}x")
    print(f"{'scan, per message':40} {measure_scan(max(queries // 1000, 1)) * 1e6:8.3f}")


if __name__ == "__main__":
    main()
