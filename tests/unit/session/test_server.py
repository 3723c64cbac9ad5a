"""Which replies are whose, when a server is done, and what it may not say."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.errors import ServerError, ServerProtocolError
from pgpool_lite.session.client import RELAY, SETTLED
from pgpool_lite.session.interest import HOLD_LIMIT
from pgpool_lite.session.server import ANSWERED
from tests.unit.feeding import feed_every_way
from tests.unit.pairs import TRACKED, WELCOME, Pair, link, make_client, make_server, owe
from tests.wire_messages import (
    Bind,
    CommandComplete,
    DataRow,
    ErrorResponse,
    Execute,
    ParameterStatus,
    Parse,
    Query,
    ReadyForQuery,
    RowDescription,
    Sync,
    message,
    text,
)

SEGMENT = Parse("SELECT 1") + Bind() + Execute() + Sync()

ROWS = RowDescription("id") + DataRow("1") + DataRow("2") + CommandComplete("SELECT 2")
CopyInResponse = message("G", b"\0\0\0")
CopyOutResponse = message("H", b"\0\0\0")
NOTICE = message("N", b"SNOTICE\0C00000\0Mhi\0\0")
NOTIFICATION = message("A", b"\0\0\0\7channel\0payload\0")
NEXT = NOTICE


@dataclass
class Seen:
    """All that can be told of a pair after the server's reads."""

    at_client: bytes
    owed: str
    status: str
    is_settled: bool


def read_owing(owed: bytes, *, unsynced: bool = False) -> Reader:
    return Reader(owed, unsynced)


class Reader:
    """Feeds a fresh server whose client is owed these requests."""

    def __init__(self, owed: bytes, unsynced: bool) -> None:
        self.owed = owed
        self.unsynced = unsynced

    def __call__(self, reads: Sequence[bytes]) -> Seen:
        pair = Pair()
        pair.client_session.unsynced = self.unsynced
        owe(pair.client_session, self.owed)
        for data in reads:
            pair.server(data)
        status = chr(pair.server_session.status)
        return Seen(pair.at_client, pair.owed, status, pair.is_settled)


def with_value(name: str, value: str) -> dict[str, str]:
    return {**WELCOME, name: value}


# --- counting ReadyForQuery ---

ANSWERS = {
    "a simple query": (b"Q", ROWS + ReadyForQuery(), "", "I", True),
    "an error": (b"Q", ErrorResponse("no") + ReadyForQuery(), "", "I", True),
    "a block begins": (b"Q", CommandComplete("BEGIN") + ReadyForQuery("T"), "", "T", False),
    "a block fails": (b"Q", ErrorResponse("no") + ReadyForQuery("E"), "", "E", False),
    "the first of two": (b"QQ", ROWS + ReadyForQuery(), "Q", "I", False),
    "all of a pipeline": (b"QSF", (ROWS + ReadyForQuery()) * 3, "", "I", True),
    "a block within a pipeline": (
        b"QQQ",
        ReadyForQuery("T") + ReadyForQuery("E") + ReadyForQuery("I"),
        "",
        "I",
        True,
    ),
    "no answer yet": (b"S", message("1") + message("2") + ROWS, "S", "I", False),
    "a copy out": (
        b"Q",
        CopyOutResponse + message("d", b"Z\0\0\0\5I") + message("c") + ReadyForQuery(),
        "",
        "I",
        True,
    ),
    "everything else that passes": (
        b"S",
        b"".join(message(kind) for kind in "123nstIV") + NOTICE + NOTIFICATION + ReadyForQuery(),
        "",
        "I",
        True,
    ),
}


@pytest.mark.parametrize(
    ("owed", "said", "left", "status", "settled"), ANSWERS.values(), ids=ANSWERS.keys()
)
def test_replies_pass_and_are_counted_however_they_are_cut(
    owed: bytes, said: bytes, left: str, status: str, settled: bool
) -> None:
    seen = feed_every_way(read_owing(owed), said, then=NEXT)

    assert seen == Seen(said, left, status, settled)


def test_promise_3_a_read_of_whole_replies_passes_as_it_came() -> None:
    pair = Pair().client(Query("SELECT 1"))

    assert pair.server_session.receive(ROWS) == RELAY
    assert pair.server_session.receive(ReadyForQuery()) == RELAY | ANSWERED | SETTLED


def test_promise_3_rows_pass_as_they_came_wherever_a_body_is_cut() -> None:
    pair = Pair().client(Query("SELECT 1"))

    assert pair.server_session.receive(ROWS[:-3]) == RELAY
    assert pair.server_session.receive(ROWS[-3:]) == RELAY


def test_answered_is_said_when_nothing_is_owed_though_the_block_is_open() -> None:
    pair = Pair().client(Query("BEGIN")).server(ReadyForQuery("T"))

    assert pair.verdict == RELAY | ANSWERED


def test_promise_3_a_query_in_a_failed_segment_is_discarded_with_the_segment_behind_it() -> None:
    """Story: Bind fails, and the server discards all up to the Sync, the Query and what is sent
    behind it too. So that ReadyForQuery is the only one.
    """
    pair = Pair().client(Parse("SELECT 1"), Bind(), Query("SELECT 2"), SEGMENT, Query("SELECT 3"))

    assert pair.server(message("1"), ErrorResponse("no")).owed == "SQ"
    assert pair.server(ReadyForQuery()).owed == "Q"


def test_promise_5_a_server_that_has_said_fatal_is_not_used_again() -> None:
    pair = Pair().client(Query("SELECT 1"))

    pair.server(ROWS, ReadyForQuery(), ErrorResponse("shutting down", severity="FATAL"))

    assert pair.is_settled
    assert pair.server_session.close_reason == "server closes the connection"


def test_promise_2_a_batch_without_sync_keeps_the_pair() -> None:
    seen = read_owing(b"Q", unsynced=True)([ReadyForQuery()])

    assert not seen.is_settled


def test_promise_2_half_a_message_behind_ready_for_query_keeps_the_pair() -> None:
    pair = Pair().client(Query("SELECT 1"))

    assert not pair.server(ReadyForQuery() + NOTICE[:3]).is_settled
    assert pair.server(NOTICE[3:]).is_settled
    assert not pair.client(Query("SELECT 1")).server(ReadyForQuery() + NOTICE[:9]).is_settled
    assert pair.server(NOTICE[9:]).is_settled


def test_an_unlinked_server_is_not_settled() -> None:
    assert not make_server().is_settled()


def test_a_ready_for_query_that_nobody_asked_for_is_the_servers_fault() -> None:
    with pytest.raises(ServerProtocolError, match="ReadyForQuery that nobody asked for"):
        Pair().server(ReadyForQuery())


def test_promise_5_a_transaction_status_without_a_name_is_the_servers_fault() -> None:
    with pytest.raises(ServerProtocolError, match="ReadyForQuery with status 0x58"):
        Pair().client(Query("SELECT 1")).server(ReadyForQuery("X"))


def test_statement_pooling_forbids_transaction_blocks() -> None:
    pair = Pair().client(Query("BEGIN"))
    pair.server_session.forbids_blocks = True

    with pytest.raises(ServerError, match="transaction blocks not allowed in statement pooling"):
        pair.server(CommandComplete("BEGIN"), ReadyForQuery("T"))


def test_statement_pooling_allows_what_ends_idle() -> None:
    pair = Pair().client(Query("SELECT 1"))
    pair.server_session.forbids_blocks = True

    assert pair.server(ROWS, ReadyForQuery()).is_settled


# --- parameters ---


def test_a_changed_parameter_is_noted_for_both_and_passes() -> None:
    said = ParameterStatus("TimeZone", "Europe/Berlin") + ReadyForQuery()

    def read(reads: Sequence[bytes]) -> tuple[bytes, dict[str, str], dict[str, str]]:
        pair = Pair().client(Query("SET TIME ZONE 'Europe/Berlin'"))
        for data in reads:
            pair.server(data)
        return (
            pair.at_client,
            TRACKED.named(pair.client_session.parameters),
            TRACKED.named(pair.server_session.parameters),
        )

    expected = with_value("TimeZone", "Europe/Berlin")
    assert feed_every_way(read, said, then=NEXT) == (said, expected, expected)


def test_a_parameter_that_is_not_tracked_passes_and_changes_nothing() -> None:
    pair = Pair().client(Query("SET ROLE x"))
    before = pair.server_session.parameters

    pair.server(ParameterStatus("is_superuser", "off"))

    assert pair.at_client == ParameterStatus("is_superuser", "off")
    assert pair.server_session.parameters is before


def test_a_malformed_parameter_is_the_servers_fault() -> None:
    with pytest.raises(ServerProtocolError, match="malformed ParameterStatus"):
        Pair().server(message("S", b"TimeZone"))


# --- bad input ---


@pytest.mark.parametrize("kind", "RKvW?\x00\xff")
def test_promise_5_a_message_that_has_no_place_in_a_session_ends_the_server(kind: str) -> None:
    data = kind.encode("latin-1") + b"\0\0\0\x08body"

    with pytest.raises(ServerProtocolError, match="unknown pkt"):
        Pair().client(Query("SELECT 1")).server(data)


@pytest.mark.parametrize(
    "data",
    [b"Z\0\0\0\4", b"Z\0\0\0\6II", b"D\0\0\0\3", b"E\xff\xff\xff\xff", b"S\0\0\0\0"],
    ids=["short Z", "long Z", "D 3", "E -1", "S 0"],
)
def test_a_wrong_length_is_the_servers_fault_however_it_is_cut(data: bytes) -> None:
    def blame(reads: Sequence[bytes]) -> str:
        with pytest.raises(ServerProtocolError) as caught:
            read_owing(b"Q")(reads)
        return caught.value.message

    assert "with a wrong length" in feed_every_way(blame, data, then=b"")


def test_promise_4_a_message_that_must_be_whole_has_a_limit() -> None:
    head = b"S" + (HOLD_LIMIT + 1).to_bytes(4, "big") + b"TimeZone"

    with pytest.raises(ServerProtocolError, match="message 'S' of 1048578 bytes"):
        Pair().server(head)


def test_promise_4_a_reply_that_passes_has_no_limit() -> None:
    head = b"D\x7f\xff\xff\xff"
    pair = Pair().client(Query("SELECT 1")).server(head)

    assert pair.verdict == RELAY
    assert pair.server_session.body_left == 2**31 - len(head)


BACKEND = st.tuples(st.sampled_from(b"123ACDEGHIKNRSTVWZcdnst"), st.integers(-1, 2_000_000)).map(
    lambda head: bytes((head[0],)) + head[1].to_bytes(4, "big", signed=True)
)


@given(
    st.lists(BACKEND | st.binary(min_size=1, max_size=3_000), max_size=8),
    st.booleans(),
    st.integers(0, 1),
    st.binary(max_size=4),
)
def test_random_bytes_raise_nothing_but_server_errors_and_keep_memory_bounded(
    reads: list[bytes], is_linked: bool, own_queries: int, owed: bytes
) -> None:
    server = make_server()
    if is_linked:
        client = make_client()
        owe(client, owed)
        link(client, server)
    for _ in range(own_queries):
        server.ask("SELECT 1", "test query failed")
    with suppress(ServerError):
        for data in reads:
            server.receive(data)

    assert len(server.tail) <= HOLD_LIMIT + 1


def test_a_parameter_status_of_one_byte_reads_is_held_in_full() -> None:
    said = message("S", text("TimeZone") + text("x" * 500))

    assert feed_every_way(read_owing(b"Q"), said, then=NEXT) == Seen(said, "Q", "I", False)
