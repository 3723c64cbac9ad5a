"""How is the process that runs told to make room? Against one that speaks by hand."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pgpool_lite.config import Settings, from_keywords
from pgpool_lite.errors import ConfigError
from pgpool_lite.serve.takeover import refuse_neighbour, take_over

READY = b"Z\x00\x00\x00\x05I"
WELCOME = b"R\x00\x00\x00\x08\x00\x00\x00\x00" + READY
SHUT_DOWN = b"C\x00\x00\x00\x0dSHUTDOWN\x00" + READY
REFUSED = b"E\x00\x00\x00\x05\x00"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return from_keywords(unix_socket_dir=str(tmp_path), listen_port=6000)


@contextmanager
def old_process(folder: Path, *answers: bytes) -> Iterator[list[bytes]]:
    """A process that answers each thing it is told, then hangs up; yield what it was told."""
    told: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / ".s.PGSQL.6000"))
        listening.listen()

        def serve() -> None:
            probe, _ = listening.accept()
            probe.close()
            console, _ = listening.accept()
            with console:
                for answer in answers:
                    told.append(console.recv(1000))
                    console.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield told
        thread.join()


def test_the_process_that_runs_is_told_to_wait_for_its_clients(
    tmp_path: Path, settings: Settings
) -> None:
    with old_process(tmp_path, WELCOME, SHUT_DOWN) as told:
        assert take_over(settings)

    assert told[1][5:] == b"SHUTDOWN WAIT_FOR_CLIENTS\0"
    assert list(tmp_path.iterdir()) == []


def test_one_that_ends_without_a_last_word_has_made_room_too(
    tmp_path: Path, settings: Settings
) -> None:
    with old_process(tmp_path, WELCOME, b""):
        assert take_over(settings)


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ([REFUSED], "refuses SHUTDOWN WAIT_FOR_CLIENTS"),
        ([WELCOME, REFUSED], "refuses SHUTDOWN WAIT_FOR_CLIENTS"),
        ([b""], "the process that runs hung up"),
    ],
)
def test_one_that_does_not_make_room_keeps_its_place(
    tmp_path: Path, settings: Settings, answers: list[bytes], sentence: str
) -> None:
    with (
        old_process(tmp_path, *answers),
        pytest.raises(ConfigError, match=f"takeover failed: .*{sentence}"),
    ):
        take_over(settings)

    assert (tmp_path / ".s.PGSQL.6000").is_socket()


def test_where_nobody_runs_there_is_nothing_to_take_over(settings: Settings) -> None:
    refuse_neighbour(settings)
    assert not take_over(settings)


def test_a_neighbour_is_left_alone(tmp_path: Path, settings: Settings) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / ".s.PGSQL.6000"))
        listening.listen()

        with pytest.raises(ConfigError, match="unix socket is in use, cannot continue"):
            refuse_neighbour(settings)
