"""Large transfers ask for what they say, and what arrives is checked."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier

import pytest

from bench.errors import BenchError, LeftOut
from bench.idle import Idle, require_descriptors
from bench.postgres import Database
from bench.raw_client import RawClient, readable
from bench.targets import Target
from bench.transfer import Kind, Transfer
from bench.workload import Length

WELCOME = b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I"
ERROR = b"E\0\0\0\x1aSERROR\0C42501\0Mnot you\0\0"


@contextmanager
def server_that_says(*answers: bytes) -> Iterator[Database]:
    """Yield where a server listens that answers each thing it is sent with the next of these."""

    def serve(connection: socket.socket) -> None:
        for answer in answers:
            connection.recv(65536)
            connection.sendall(answer)

    with server_of(serve) as database:
        yield database


@contextmanager
def server_of(*conversations: Callable[[socket.socket], None]) -> Iterator[Database]:
    """Yield where a server listens that has one of these with each client, all at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as threads:

        def serve(conversation: Callable[[socket.socket], None]) -> None:
            connection, _ = listener.accept()
            with connection:
                conversation(connection)

        done = [threads.submit(serve, each) for each in conversations]
        yield Database("127.0.0.1", listener.getsockname()[1], "me", "", "me")
        for each in done:
            each.result()


def test_a_narrow_result_is_many_rows_of_one_byte() -> None:
    narrow = Transfer.of(Kind.NARROW)

    assert narrow.command(Length()) == "SELECT 1 FROM generate_series(1, 3000000);"
    assert narrow.lasts(Length()) == "36 MB"


@pytest.mark.parametrize("kind", [Kind.WIDE, Kind.COPY_IN])
def test_the_others_move_400_mb(kind: Kind) -> None:
    assert Transfer.of(kind).lasts(Length()) in ("402 MB", "404 MB")


def test_a_quick_transfer_is_a_tenth() -> None:
    assert Transfer.of(Kind.NARROW, is_quick=True).rows == 300_000


def test_an_answer_is_read_to_its_end() -> None:
    with (
        server_that_says(WELCOME, b"D" * 100 + b"Z\0\0\0\x05I") as database,
        RawClient(database) as client,
    ):
        assert client.query("SELECT 1") == 106


def test_an_error_is_a_sentence() -> None:
    with (
        server_that_says(WELCOME, ERROR) as database,
        RawClient(database) as client,
        pytest.raises(BenchError, match="not you"),
    ):
        client.query("SELECT 1")


def test_too_few_bytes_are_an_error() -> None:
    with (
        server_that_says(WELCOME, b"Z\0\0\0\x05I") as database,
        pytest.raises(BenchError, match="6 bytes arrived of 120"),
    ):
        Transfer(Kind.NARROW, 10).run(Target("x", "", "", database, None), Length())


def test_several_clients_share_the_rows_out() -> None:
    narrow, copy_in = Transfer.of(Kind.NARROW, 4), Transfer.of(Kind.COPY_IN, 4)

    assert narrow.command(Length()) == (
        "SELECT 1 FROM generate_series(1, 750000);  -- from 4 clients at once"
    )
    assert narrow.lasts(Length()) == "36 MB"
    assert str(narrow) == "narrow, 4 streams of 750,000 rows of 1 byte"
    assert str(copy_in) == "copy-in, 4 streams of 99,968 lines of 1,000 bytes"
    assert copy_in.command(Length()).endswith(
        "-- 99968 lines of 1000 bytes, from 4 clients at once"
    )


def test_several_clients_transfer_at_once() -> None:
    asked = Barrier(2, timeout=10)

    def answer_once_both_have_asked(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(WELCOME)
        connection.recv(65536)
        asked.wait()
        connection.sendall(b"D" * 60 + b"Z\0\0\0\x05I")

    with server_of(answer_once_both_have_asked, answer_once_both_have_asked) as database:
        result = Transfer(Kind.NARROW, 10, 2).run(Target("x", "", "", database, None), Length())

    assert result.units == 120 / 1_000_000


def test_where_one_client_fails_none_is_waited_for() -> None:
    logged_in = Barrier(2, timeout=10)

    def fail(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(WELCOME)
        connection.recv(65536)
        logged_in.wait()
        connection.sendall(ERROR)

    def never_answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(WELCOME)
        connection.recv(65536)
        logged_in.wait()
        assert connection.recv(65536) == b""

    with (
        server_of(fail, never_answer) as database,
        pytest.raises(BenchError, match="not you"),
    ):
        Transfer(Kind.NARROW, 10, 2).run(Target("x", "", "", database, None), Length())


def test_where_a_password_is_asked_for_the_row_is_left_out() -> None:
    with (
        server_that_says(b"R\0\0\0\x08\0\0\0\x03") as database,
        pytest.raises(LeftOut, match="asks for a password"),
    ):
        RawClient(database)


def test_a_closed_connection_is_a_sentence() -> None:
    with (
        server_that_says(b"") as database,
        pytest.raises(BenchError, match="no login"),
    ):
        RawClient(database)


def test_what_is_no_error_response_is_shown_as_it_is() -> None:
    assert readable(b"HTTP/1.1") == "b'HTTP/1.1'"


def test_idle_clients_need_a_pooler() -> None:
    direct = Target("direct", "", "", Database("h", 1, "u", "", "d"), None, is_pooler=False)

    with pytest.raises(LeftOut, match="each client would be a server process"):
        Idle(8000).run(direct, Length())


def test_too_few_open_files_are_said_before_anybody_connects() -> None:
    with pytest.raises(LeftOut, match="takes 1000000000 open files"):
        require_descriptors(10**9)
