"""Which message of a stream is not allowed, wherever the network cuts it."""

from __future__ import annotations

import pytest

from pgpool_lite.wire.codes import QUERY
from pgpool_lite.wire.guard import MessageGuard
from tests.wire_messages import Query, Sync

# Type, length and the text with its zero: 9 and 106 bytes.
SHORT = Query("abc")
LONG = Query("x" * 100)


def first_offence(guard: MessageGuard, *reads: bytes) -> bytes:
    """Return what the guard finds in the first read in which it finds something."""
    return next(filter(None, map(guard.find_offence, reads)), b"")


@pytest.mark.parametrize(("max_size", "is_found"), [(105, True), (106, False)])
def test_the_size_counts_type_and_length(max_size: int, is_found: bool) -> None:
    assert bool(MessageGuard(max_size).find_offence(SHORT + LONG + SHORT)) is is_found


@pytest.mark.parametrize("cut", range(1, len(SHORT + LONG)))
def test_where_the_network_cuts_a_message_makes_no_difference(cut: int) -> None:
    data = SHORT + LONG

    found = first_offence(MessageGuard(50), data[:cut], data[cut:])

    assert len(found) >= 5
    assert LONG.startswith(found)
    assert first_offence(MessageGuard(106), data[:cut], data[cut:], SHORT) == b""


def test_a_stream_that_comes_byte_by_byte_is_followed() -> None:
    data = SHORT + LONG + SHORT + Sync()
    reads = [data[pos : pos + 1] for pos in range(len(data))]

    assert first_offence(MessageGuard(106), *reads) == b""
    assert first_offence(MessageGuard(106, forbidden=ord("S")), *reads) == Sync()


def test_up_to_eight_bytes_of_the_offender_are_shown() -> None:
    assert MessageGuard(50).find_offence(LONG).hex() == "5100000069787878"


def test_a_forbidden_type_is_found_whatever_its_size() -> None:
    assert MessageGuard(1000, forbidden=QUERY).find_offence(Sync() + SHORT) == SHORT[:8]


@pytest.mark.parametrize("length", [b"\0\0\0\3", b"\xff\xff\xff\xff"])
def test_a_length_that_cannot_be_is_an_offence(length: bytes) -> None:
    assert MessageGuard(1000).find_offence(b"Q" + length)
