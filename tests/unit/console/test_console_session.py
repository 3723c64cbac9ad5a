"""The console's side of the protocol, as transcripts."""

from __future__ import annotations

import struct
from decimal import Decimal

import pytest

from pgpool_lite.console.session import MAX_MESSAGE, MAX_NAMED
from pgpool_lite.console.values import INT4, INT8, NUMERIC, TEXT, encode_cell
from pgpool_lite.errors import ClientProtocolError
from pgpool_lite.wire.frontend import CancelKey
from tests.console_client import Console, split
from tests.wire_messages import (
    Bind,
    ClosePortal,
    CloseStatement,
    CopyData,
    DescribePortal,
    DescribeStatement,
    Execute,
    Flush,
    Parse,
    Query,
    Sync,
    Terminate,
    message,
    text,
)

STATE_COLUMNS = "T key,value"
STATE_ROWS = ["D active|yes", "D paused|no"]


def bind_in(*formats: int) -> bytes:
    codes = struct.pack(f"!h{len(formats)}h", len(formats), *formats)
    return message("B", text("") + text("") + b"\0\0" + b"\0\0" + codes)


def test_the_welcome_says_what_pgbouncer_says() -> None:
    welcome = split(Console().session.welcome(CancelKey(7, b"abcd")))

    assert list(map(str, welcome)) == [
        "R Ok",
        "S pgbouncer.version=1.26.1",
        "S server_version=1.26.1/bouncer",
        "S client_encoding=UTF8",
        "S server_encoding=UTF8",
        "S DateStyle=ISO",
        "S TimeZone=GMT",
        "S standard_conforming_strings=on",
        "S is_superuser=on",
        "K",
        "Z I",
    ]


def test_a_login_and_every_command_are_counted() -> None:
    console = Console()
    console.says(Query("SHOW STATE"), Query("SHOW STATE"), Query("nonsense"))

    counters = console.registry.console.stats.now

    assert (counters.client_login_count, counters.query_count, counters.xact_count) == (1, 2, 2)


# --- simple queries ---


def test_queries_in_one_read_are_answered_one_by_one() -> None:
    answer = [STATE_COLUMNS, *STATE_ROWS, "C SHOW", "Z I"]

    assert Console().says(Query("SHOW STATE"), Query("SHOW STATE")) == answer * 2


def test_a_query_may_arrive_byte_by_byte() -> None:
    console = Console()
    heard = [line for byte in Query("SHOW STATE") for line in console.says(bytes((byte,)))]

    assert heard == [STATE_COLUMNS, *STATE_ROWS, "C SHOW", "Z I"]


def test_after_an_error_the_next_query_is_answered() -> None:
    assert Console().says(Query("nonsense"), Query("SHOW STATE"))[2:] == [
        STATE_COLUMNS,
        *STATE_ROWS,
        "C SHOW",
        "Z I",
    ]


def test_nothing_is_read_behind_terminate() -> None:
    console = Console()

    assert console.says(Terminate(), Query("SHOW STATE")) == []
    assert console.session.is_leaving


# --- extended queries ---


def test_the_welcome_has_the_notice_of_login_notify_message() -> None:
    session = Console().session

    greeting = [str(each) for each in split(session.welcome(CancelKey(1, b"abcd"), "mind the gap"))]

    assert greeting[-2:] == ["N NOTICE 00000 mind the gap", "Z I"]


def test_a_statement_is_parsed_described_bound_and_executed() -> None:
    assert Console().says(
        Parse("SHOW STATE"), DescribeStatement(), Bind(), DescribePortal(), Execute(), Sync()
    ) == ["1", "t", STATE_COLUMNS, "2", STATE_COLUMNS, *STATE_ROWS, "C SHOW", "Z I"]


def test_a_named_statement_serves_again_until_it_is_closed() -> None:
    console = Console()
    console.says(Parse("SHOW STATE", "s"), Sync())

    again = [Bind(statement="s", portal="p"), Execute("p"), ClosePortal("p"), Sync()]
    assert console.says(*again) == ["2", *STATE_ROWS, "C SHOW", "3", "Z I"]
    assert console.says(*again) == ["2", *STATE_ROWS, "C SHOW", "3", "Z I"]

    assert console.says(CloseStatement("s"), *again) == [
        "3",
        'E ERROR 26000 prepared statement "s" does not exist',
        "Z I",
    ]


def test_a_command_without_rows_has_no_columns() -> None:
    console = Console()

    assert console.says(Parse("RELOAD"), Bind(), DescribePortal(), Execute(), Sync()) == [
        "1",
        "2",
        "n",
        "C RELOAD",
        "Z I",
    ]


def test_rows_come_in_portions_when_execute_has_a_limit() -> None:
    console = Console()

    assert console.says(Parse("SHOW STATE"), Bind(), Execute("", 1), Execute("", 1), Sync()) == [
        "1",
        "2",
        "D active|yes",
        "s",
        "D paused|no",
        "C SHOW",
        "Z I",
    ]


def test_flush_is_no_end_of_a_segment() -> None:
    console = Console()

    assert console.says(Parse("SHOW STATE"), Flush()) == ["1"]


def test_after_an_error_everything_up_to_sync_is_skipped() -> None:
    console = Console()

    assert console.says(
        Parse("nonsense"), Bind(), Execute(), Query("SHOW STATE"), Sync(), Query("SHOW STATE")
    ) == [
        "E ERROR 08P01 invalid command 'nonsense', use SHOW HELP;",
        "Z I",
        STATE_COLUMNS,
        *STATE_ROWS,
        "C SHOW",
        "Z I",
    ]


def test_a_portal_does_not_outlive_its_sync() -> None:
    console = Console()
    console.says(Parse("SHOW STATE"), Bind(portal="p"), Sync())

    assert console.says(Execute("p"), Sync()) == [
        'E ERROR 34000 portal "p" does not exist',
        "Z I",
    ]


def test_parameters_are_refused() -> None:
    assert Console().says(Parse("KILL_CLIENT $1"), Bind("12"), Execute(), Sync()) == [
        "1",
        "E ERROR 0A000 the console takes no parameters",
        "Z I",
    ]


def test_a_statements_name_is_taken_until_it_is_closed() -> None:
    assert Console().says(Parse("SHOW STATE", "s"), Parse("RELOAD", "s"), Sync()) == [
        "1",
        'E ERROR 42P05 prepared statement "s" already exists',
        "Z I",
    ]


def test_statements_are_limited_in_number() -> None:
    console = Console()
    console.says(*(Parse("SHOW STATE", f"s{number}") for number in range(MAX_NAMED)))

    assert console.says(Parse("SHOW STATE", "more"), Sync()) == [
        f"E ERROR 08P01 too many prepared statements: a console client may have {MAX_NAMED}",
        "Z I",
    ]


def test_a_command_that_waits_holds_up_what_follows() -> None:
    console = Console()
    console.controls.is_settled = False
    assert console.says(Parse("PAUSE app"), Bind(), Execute(), Sync()) == ["1", "2"]
    assert console.says(Query("SHOW STATE")) == []

    console.controls.is_settled = True

    assert list(map(str, console.goes_on())) == [
        "C PAUSE",
        "Z I",
        STATE_COLUMNS,
        *STATE_ROWS,
        "C SHOW",
        "Z I",
    ]


# --- result formats ---


def test_columns_are_sent_in_binary_when_the_client_asks_for_it() -> None:
    console = Console()
    console.says(Parse("SHOW LISTS"), bind_in(1))

    described, *rows = console.hears(DescribePortal(), Execute())

    assert described.body.endswith(struct.pack("!hih", 4, -1, 1))
    assert rows[0].body == struct.pack("!hi9sii", 2, 9, b"databases", 4, 2)


def test_each_column_may_have_a_format_of_its_own() -> None:
    console = Console()
    console.says(Parse("SHOW LISTS"), bind_in(0, 1))

    assert console.hears(Execute())[0].body.endswith(struct.pack("!ii", 4, 2))


@pytest.mark.parametrize(
    ("formats", "sentence"),
    [
        ((2,), "unsupported format code in Bind"),
        ((0, 1, 0), "Bind has 3 result formats for 2 columns"),
    ],
)
def test_impossible_formats_are_refused(formats: tuple[int, ...], sentence: str) -> None:
    assert Console().says(Parse("SHOW LISTS"), bind_in(*formats), Sync()) == [
        "1",
        f"E ERROR 08P01 {sentence}",
        "Z I",
    ]


def test_binary_integers_are_big_endian() -> None:
    assert encode_cell(-2, INT4, 1) == b"\xff\xff\xff\xfe"
    assert encode_cell(2**40, INT8, 1) == struct.pack("!q", 2**40)
    assert encode_cell("ä", TEXT, 1) == "ä".encode()
    assert encode_cell(None, INT4, 1) is None


@pytest.mark.parametrize(
    "number", [0, 1, 9_999, 10_000, 12_345_678, 10**12, 2**63, -1, -100_000_000, 500_000_001]
)
def test_binary_numerics_are_base_ten_thousand(number: int) -> None:
    encoded = encode_cell(number, NUMERIC, 1)

    assert encoded is not None
    count, weight, sign, scale = struct.unpack_from("!hhHh", encoded)
    digits = struct.unpack_from(f"!{count}h", encoded, 8)
    value = sum(Decimal(10_000) ** (weight - pos) * digit for pos, digit in enumerate(digits))
    assert (-value if sign else value) == number
    assert scale == 0
    assert not digits or digits[-1]


# --- what the protocol does not allow ---


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(CopyData(b"x"), id="copy data"),
        pytest.param(message("k"), id="an unknown type"),
        pytest.param(b"Q\0\0\0\3", id="an impossible length"),
        pytest.param(b"Q" + struct.pack("!i", MAX_MESSAGE + 1), id="a message that is too long"),
        pytest.param(message("Q", b"no end"), id="a string without end"),
        pytest.param(message("B", b"\0\0\0"), id="a Bind that is cut short"),
        pytest.param(message("B", b"\0\0\0\0\0\1"), id="a Bind without its values"),
        pytest.param(message("D", b"X\0"), id="a Describe of nothing"),
        pytest.param(message("C", b""), id="an empty Close"),
        pytest.param(message("E", b"\0\0"), id="an Execute without limit"),
    ],
)
def test_what_breaks_the_protocol_ends_the_session(data: bytes) -> None:
    with pytest.raises(ClientProtocolError):
        Console().says(data)


def test_what_piles_up_behind_a_waiting_command_is_bounded() -> None:
    console = Console()
    console.controls.is_settled = False
    console.says(Query("PAUSE"))

    with pytest.raises(ClientProtocolError):
        console.says(b"x" * (MAX_MESSAGE + 1))
