"""`scan` finds the same messages however they are cut, and makes no object per message."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.wire import codes
from pgpool_lite.wire.framing import interest_in, message_end, scan
from tests.unit.feeding import feed_every_way
from tests.wire_messages import CommandComplete, DataRow, ReadyForQuery, RowDescription, message

#: Offsets grow from two digits of CPython's integers to three.
SLACK = 64

READY = interest_in(codes.READY_FOR_QUERY)
NOTHING = interest_in()
ROWS = RowDescription("id") + DataRow("1") + DataRow(None) + CommandComplete("SELECT 2")


def find_ready(reads: Sequence[bytes]) -> list[bytes]:
    """Return every ReadyForQuery of a stream, scanning it the way a session does."""
    found, tail, body_left = [], b"", 0
    for read in reads:
        data = tail + read
        pos, tail, body_left = body_left, b"", 0
        while pos < len(data):
            pos = scan(data, pos, READY)
            if pos >= len(data):
                break
            if len(data) - pos < 6:
                tail, pos = data[pos:], len(data)
                break
            found.append(data[pos : pos + 6])
            pos += 6
        body_left = pos - len(data)
    return found


@pytest.mark.parametrize(
    ("conversation", "statuses"),
    [
        (ReadyForQuery("I"), "I"),
        (ROWS + ReadyForQuery("T"), "T"),
        (ROWS + ReadyForQuery("I") + ROWS + ReadyForQuery("E"), "IE"),
        (ReadyForQuery("I") * 3, "III"),
        (DataRow("Z\0\0\0\5I") + ReadyForQuery("I"), "I"),
        (message("1") + message("2") + message("n") + ReadyForQuery("I"), "I"),
    ],
    ids=["ready", "rows", "pipeline", "only ready", "a row that looks like ready", "no bodies"],
)
def test_every_ready_for_query_is_found_however_the_stream_is_cut(
    conversation: bytes, statuses: str
) -> None:
    found = feed_every_way(find_ready, conversation)

    assert found == [ReadyForQuery(status) for status in statuses]


def test_the_end_of_the_data_is_returned_when_nothing_needs_attention() -> None:
    assert scan(ROWS, 0, READY) == len(ROWS)


def test_the_message_of_interest_is_where_the_scan_stops() -> None:
    assert scan(ROWS + ReadyForQuery(), 0, READY) == len(ROWS)


def test_the_scan_starts_where_it_is_told() -> None:
    assert scan(b"rest of a body" + ROWS, 14, READY) == 14 + len(ROWS)


def test_a_start_beyond_the_data_is_returned_unchanged() -> None:
    assert scan(ROWS, len(ROWS) + 7, READY) == len(ROWS) + 7


def test_the_end_of_a_cut_body_lies_beyond_the_data() -> None:
    assert scan((ROWS + DataRow("12345"))[:-3], 0, READY) == len(ROWS + DataRow("12345"))


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_cut_header_is_where_the_scan_stops(size: int) -> None:
    assert scan(ROWS + DataRow("1")[:size], 0, READY) == len(ROWS)


@pytest.mark.parametrize("length", [3, 0, -1, -(2**31)])
def test_an_impossible_length_is_where_the_scan_stops(length: int) -> None:
    assert scan(ROWS + b"D" + struct.pack("!i", length), 0, NOTHING) == len(ROWS)


def test_the_longest_message_of_the_protocol_is_no_exception() -> None:
    assert scan(b"D\x7f\xff\xff\xff", 0, NOTHING) == 2**31


def test_message_end_is_behind_the_body() -> None:
    assert message_end(ROWS + DataRow("1"), len(ROWS)) == len(ROWS + DataRow("1"))


@pytest.mark.parametrize("length", [3, 0, -1])
def test_message_end_names_an_impossible_length(length: int) -> None:
    assert message_end(b"D" + struct.pack("!i", length), 0) == -1


def test_interest_is_a_table_of_all_types() -> None:
    table = interest_in(codes.READY_FOR_QUERY, codes.ERROR_RESPONSE)

    assert [chr(i) for i, wanted in enumerate(table) if wanted] == ["E", "Z"]
    assert len(table) == 256


def test_promise_4_scanning_100000_rows_needs_no_more_memory_than_scanning_100() -> None:
    row = DataRow("some value", None)

    assert peak_while_scanning(row * 100_000) <= peak_while_scanning(row * 100) + SLACK
    assert peak_while_scanning(row * 100) < 1_000


def peak_while_scanning(rows: bytes) -> int:
    tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        scan(rows, 0, READY)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@given(st.lists(st.tuples(st.sampled_from("DCTZN"), st.binary(max_size=20)), max_size=20))
def test_the_scan_stops_where_a_plain_walk_would(messages: list[tuple[str, bytes]]) -> None:
    data = b"".join(message(kind, body) for kind, body in messages)
    offsets = [0]
    for _, body in messages:
        offsets.append(offsets[-1] + 5 + len(body))
    wanted = [at for at, (kind, _) in zip(offsets, messages, strict=False) if kind == "Z"]

    assert scan(data, 0, READY) == (wanted[0] if wanted else len(data))


@given(st.binary(max_size=64), st.integers(0, 80))
def test_random_bytes_never_make_the_scan_fail_or_go_back(data: bytes, start: int) -> None:
    assert scan(data, start, READY) >= start
