"""What a client is owed, and where its reads are cut."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.errors import ClientProtocolError
from pgpool_lite.session.client import CUT, RELAY, SETTLED, ClientSession
from pgpool_lite.session.meaning import HOLD_LIMIT
from pgpool_lite.session.states import ClientState
from tests.unit.feeding import feed_every_way
from tests.unit.pairs import Pair, link, make_client, make_server, owed_by
from tests.wire_messages import (
    Bind,
    CloseStatement,
    CopyData,
    CopyDone,
    CopyFail,
    DescribePortal,
    Execute,
    Flush,
    FunctionCall,
    Parse,
    Query,
    ReadyForQuery,
    Sync,
    Terminate,
    message,
)

BATCH = Parse("SELECT 1") + Bind() + DescribePortal() + Execute()
LARGE = HOLD_LIMIT + 1


@dataclass
class Seen:
    """All that can be told of a client after its reads."""

    relayed: bytes
    owed: str
    unsynced: bool
    is_leaving: bool
    is_between_messages: bool


def read_linked(reads: Sequence[bytes]) -> Seen:
    return _read(reads, is_linked=True)


def read_unlinked(reads: Sequence[bytes]) -> Seen:
    """Feed a client that waits for a server from its first request on."""
    return _read(reads, is_linked=False)


def _read(reads: Sequence[bytes], *, is_linked: bool) -> Seen:
    client = make_client()
    if is_linked:
        link(client, make_server())
    relayed = b""
    for data in reads:
        verdict = client.receive(data)
        relayed += client.cut if verdict & CUT else data
        if relayed and not is_linked:
            client.state = ClientState.WAITING
    between = not client.body_left and not client.tail
    return Seen(relayed, requests_of(client), client.unsynced, client.is_leaving, between)


def requests_of(client: ClientSession) -> str:
    """Return types of the requests not yet answered, whether a segment stands there as one entry.

    Its other messages are listed as well when it came in more than one read.
    """
    return "".join(kind for kind in owed_by(client).decode() if kind in "QsSFc").upper()


# --- what is owed ---

OWED = {  # C: a CopyDone or CopyFail, the end of a COPY
    "a simple query": (Query("SELECT 1"), "Q", False),
    "three simple queries": (Query("SELECT 1") * 3, "QQQ", False),
    "a function call": (FunctionCall(1598), "F", False),
    "a batch and its Sync": (BATCH + Sync(), "S", False),
    "a batch that waits for Sync": (BATCH + Flush(), "", True),
    "a Sync of nothing": (Sync(), "S", False),
    "a pipeline": ((BATCH + Sync()) * 2 + Query("SELECT 1"), "SSQ", False),
    "a new batch behind a Sync": (BATCH + Sync() + CloseStatement("s"), "S", True),
    "a query that ends a batch": (BATCH + Query("SELECT 1"), "Q", False),
    "a copy in one go": (
        Query("COPY t FROM STDIN") + CopyData(b"1\n") + CopyData(b"2\n") + CopyDone(),
        "QC",
        False,
    ),
    "a copy that is given up": (Query("COPY t FROM STDIN") + CopyFail("no"), "QC", False),
}


@pytest.mark.parametrize(("said", "owed", "unsynced"), OWED.values(), ids=OWED.keys())
def test_a_linked_client_is_owed_the_same_however_it_is_read(
    said: bytes, owed: str, unsynced: bool
) -> None:
    seen = feed_every_way(read_linked, said)

    assert seen == Seen(said, owed, unsynced, is_leaving=False, is_between_messages=True)


@pytest.mark.parametrize(("said", "owed", "unsynced"), OWED.values(), ids=OWED.keys())
def test_a_client_without_a_server_is_owed_the_same_however_it_is_read(
    said: bytes, owed: str, unsynced: bool
) -> None:
    seen = feed_every_way(read_unlinked, said)

    assert seen == Seen(said, owed, unsynced, is_leaving=False, is_between_messages=True)


@pytest.mark.parametrize("message_type", "QSF")
def test_a_request_is_remembered_by_its_type(message_type: str) -> None:
    client = make_client()

    client.receive(message(message_type, b"body"))

    assert requests_of(client) == message_type


# --- what is passed on ---


def test_promise_3_a_read_of_whole_messages_passes_as_it_came() -> None:
    assert make_client().receive(BATCH + Sync()) == RELAY


def test_promise_3_a_linked_clients_read_passes_as_it_came_wherever_a_body_is_cut() -> None:
    pair = Pair()

    assert pair.client_session.receive((BATCH + Sync() + Query("SELECT 1"))[:-3]) == RELAY
    assert pair.client_session.receive(b" 1\0") == RELAY


def test_a_small_message_is_held_until_it_is_whole_so_that_nobody_takes_a_server_for_half() -> None:
    client, query = make_client(), Query("SELECT 1")

    assert (client.receive(query[:7]), client.cut, requests_of(client)) == (CUT, b"", "")
    assert (client.receive(query[7:]), client.cut, requests_of(client)) == (CUT, query, "Q")


def test_what_stands_before_half_a_message_passes() -> None:
    client = make_client()

    verdict = client.receive(Query("SELECT 1") + Query("SELECT 2")[:6])

    assert (verdict, client.cut, client.tail) == (CUT, Query("SELECT 1"), Query("SELECT 2")[:6])


def test_half_a_header_is_held_even_while_linked() -> None:
    pair = Pair().client(Query("SELECT 1") + b"Q\0")

    assert (pair.at_server, pair.owed) == (Query("SELECT 1"), "Q")


def test_promise_4_a_large_message_streams_from_its_head_on() -> None:
    client, query = make_client(), Query("x" * LARGE)

    assert client.receive(query[:100]) == RELAY
    assert (requests_of(client), client.tail, client.body_left) == ("Q", b"", len(query) - 100)
    assert client.receive(query[100:]) == RELAY
    assert client.body_left == 0


def test_promise_4_the_largest_message_that_is_held_has_hold_limit_bytes() -> None:
    client = make_client()
    at_limit = message("Q", b"x" * (HOLD_LIMIT - 4))

    client.receive(at_limit[:-1])

    assert len(client.tail) == HOLD_LIMIT
    assert make_client().receive(message("Q", b"x" * (HOLD_LIMIT - 3))[:-1]) == RELAY


def test_a_large_body_is_counted_across_reads_and_followed_by_the_next_message() -> None:
    pair, query = Pair(), Query("x" * LARGE)

    pair.client(query[:9]).client(query[9:99]).client(query[99:] + Sync())

    assert (pair.at_server, pair.owed) == (query + Sync(), "QS")


def test_messages_of_a_waiting_client_count_too() -> None:
    client = make_client()
    client.receive(Query("COPY t FROM STDIN"))
    client.state = ClientState.WAITING

    assert client.receive(CopyData(b"1\n") + CopyDone()) == RELAY
    assert requests_of(client) == "QC"


# --- when the pair may part ---


def test_the_end_of_a_large_body_settles_what_was_answered_early() -> None:
    pair = Pair().client(Query("SELECT 1"))
    copy = CopyData(b"x" * LARGE)
    pair.client(copy[:9]).server(ReadyForQuery())

    assert not pair.is_settled
    assert pair.client(copy[9:-1]).verdict == RELAY
    assert pair.client(copy[-1:]).verdict == RELAY | SETTLED


def test_the_end_of_a_large_body_does_not_settle_what_is_still_owed() -> None:
    query = Query("x" * LARGE)
    pair = Pair().client(query[:9])

    assert pair.client(query[9:]).verdict == RELAY


# --- late COPY, Flush of nothing ---

LATE = {
    "CopyData": CopyData(b"1\n"),
    "CopyDone": CopyDone(),
    "CopyFail": CopyFail("no"),
    "all of them": CopyData(b"1\n") * 3 + CopyDone(),
    "Flush": Flush(),
    "a large one": CopyData(b"x" * LARGE),
}


@pytest.mark.parametrize("late", LATE.values(), ids=LATE.keys())
def test_a_late_copy_message_is_dropped_while_no_server_is_linked(late: bytes) -> None:
    assert read_unlinked([late]) == Seen(b"", "", False, False, True)
    assert read_unlinked([late + Query("SELECT 1")]).relayed == Query("SELECT 1")
    assert read_unlinked([late[:7], late[7:] + Query("SELECT 1")]).relayed == Query("SELECT 1")


def test_late_copy_is_dropped_however_it_is_cut() -> None:
    late = CopyData(b"1\n") + CopyDone() + CopyData(b"2\n")

    assert feed_every_way(read_unlinked, late).relayed == b""


def test_a_large_late_copy_message_is_dropped_in_pieces() -> None:
    client, late = make_client(), CopyData(b"x" * LARGE)

    cuts = []
    for piece in (late[:9], late[9:99], late[99:]):
        assert client.receive(piece) == CUT
        cuts.append(client.cut)

    assert (cuts, client.dropping, client.body_left) == ([b"", b"", b""], False, 0)


def test_a_query_behind_a_large_late_copy_message_passes() -> None:
    client, late = make_client(), CopyData(b"x" * LARGE)
    client.receive(late[:9])

    assert client.receive(late[9:] + Query("SELECT 1")[:8]) == CUT
    assert client.cut == b""
    assert client.receive(Query("SELECT 1")[8:]) == CUT
    assert client.cut == Query("SELECT 1")


def test_copy_messages_of_a_linked_client_pass() -> None:
    pair = Pair().client(CopyData(b"1\n"), CopyDone())

    assert pair.at_server == CopyData(b"1\n") + CopyDone()


# --- the end ---


def test_nothing_behind_a_terminate_is_read() -> None:
    client = make_client()

    assert client.receive(Query("SELECT 1") + Terminate() + b"\xff" * 9) == CUT
    assert (client.cut, client.is_leaving) == (Query("SELECT 1"), True)


def test_a_terminate_is_recognised_however_it_is_cut() -> None:
    seen = feed_every_way(read_linked, Query("SELECT 1") + Terminate(), then=b"")

    assert seen == Seen(Query("SELECT 1"), "Q", False, True, True)


# --- bad input ---


@pytest.mark.parametrize("length", [b"\0\0\0\3", b"\0\0\0\0", b"\xff\xff\xff\xff"])
def test_an_impossible_length_is_the_clients_fault(length: bytes) -> None:
    with pytest.raises(ClientProtocolError, match="message 'Q' claims a length of"):
        make_client().receive(b"Q" + length)


@pytest.mark.parametrize(
    ("message_type", "name"), [(b"p", "'p'"), (b"Z", "'Z'"), (b"\0", "'0x00'"), (b"\xff", "'0xff'")]
)
def test_an_unknown_type_is_the_clients_fault(message_type: bytes, name: str) -> None:
    with pytest.raises(ClientProtocolError, match="unknown pkt") as caught:
        make_client().receive(message_type + b"\0\0\0\4")

    assert name in caught.value.detail


def test_a_bad_message_behind_good_ones_is_found_however_it_is_cut() -> None:
    def blame(reads: Sequence[bytes]) -> str:
        with pytest.raises(ClientProtocolError) as caught:
            read_linked(reads)
        return caught.value.message

    assert feed_every_way(blame, Query("SELECT 1") + b"?\0\0\0\4", then=b"") == "unknown pkt"


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=10), st.booleans())
def test_random_bytes_raise_nothing_but_client_protocol_errors(
    reads: list[bytes], is_linked: bool
) -> None:
    client = make_client()
    if is_linked:
        link(client, make_server())
    _receive_all(client, reads)

    assert len(client.tail) <= HOLD_LIMIT + 1


FRONTEND = st.tuples(st.sampled_from(b"QPBDECSHFdcfX"), st.integers(-1, 70_000)).map(
    lambda head: bytes((head[0],)) + head[1].to_bytes(4, "big", signed=True)
)


@given(st.lists(FRONTEND | st.binary(min_size=1, max_size=30_000), max_size=8), st.booleans())
def test_promise_4_what_a_client_makes_us_keep_is_bounded(
    reads: list[bytes], is_linked: bool
) -> None:
    client = make_client()
    if is_linked:
        link(client, make_server())
    _receive_all(client, reads)

    assert len(client.tail) <= (4 if is_linked else HOLD_LIMIT + 1)


def _receive_all(client: ClientSession, reads: list[bytes]) -> None:
    with suppress(ClientProtocolError):
        for data in reads:
            client.receive(data)
