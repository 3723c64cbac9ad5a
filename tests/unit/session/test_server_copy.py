"""COPY from a client: the one place where a Sync is not answered.

The conversations follow the PostgreSQL documentation, "COPY Operations": in copy-in mode Sync and
Flush are ignored until CopyDone, CopyFail or an error.
"""

from __future__ import annotations

import pytest

from pgpool_lite.errors import ClientProtocolError, ServerError, ServerProtocolError
from pgpool_lite.pool.stats import Counters
from pgpool_lite.session.interest import HOLD_LIMIT
from pgpool_lite.session.refusals import StatementRules
from pgpool_lite.session.rewriter import Rewriter
from pgpool_lite.session.statements import StatementRegistry
from tests.unit.pairs import Pair
from tests.unit.session.test_server import CopyInResponse
from tests.wire_messages import (
    Bind,
    CommandComplete,
    CopyData,
    CopyDone,
    CopyFail,
    DataRow,
    ErrorResponse,
    Execute,
    Flush,
    Parse,
    Query,
    ReadyForQuery,
    Sync,
    message,
)

COPY = Query("COPY t FROM STDIN")
EXTENDED_COPY = Parse("COPY t FROM STDIN") + Bind() + Execute()
BOUND = b"1\0\0\0\x042\0\0\0\x04"  # ParseComplete, BindComplete
DONE = CommandComplete("COPY 1")
BROKEN = ErrorResponse("invalid input syntax", sqlstate="22P02")


# --- simple query ---


def test_a_copy_is_settled_by_its_ready_for_query() -> None:
    pair = Pair().client(COPY).server(CopyInResponse)
    pair.client(CopyData(b"1\n")).client(CopyDone())

    assert (pair.owed, pair.is_settled) == ("Qc", False)
    assert pair.server(DONE).owed == "Q"
    assert pair.server(ReadyForQuery()).is_settled


@pytest.mark.parametrize("cut", range(1, len(CopyInResponse + DONE + ReadyForQuery())))
def test_a_copy_is_settled_however_the_replies_are_cut(cut: int) -> None:
    said = CopyInResponse + DONE + ReadyForQuery()
    pair = Pair().client(COPY, CopyData(b"1\n"), CopyDone()).server(said[:cut])

    assert not pair.is_settled
    assert pair.server(said[cut:]).is_settled


def test_a_copy_that_the_client_gives_up_is_settled() -> None:
    pair = Pair().client(COPY).server(CopyInResponse).client(CopyFail("no"))

    assert pair.server(ErrorResponse("COPY from stdin failed"), ReadyForQuery()).is_settled


def test_a_copy_that_fails_before_the_client_is_done_is_settled() -> None:
    pair = Pair().client(COPY).server(CopyInResponse).client(CopyData(b"x\n"))

    assert pair.server(BROKEN, ReadyForQuery()).is_settled


def test_a_copy_that_fails_after_the_client_is_done_is_settled() -> None:
    pair = Pair().client(COPY).server(CopyInResponse).client(CopyData(b"x\n"), CopyDone())

    assert pair.server(BROKEN, ReadyForQuery()).is_settled


def test_a_copy_that_never_opened_is_settled_although_its_data_came_along() -> None:
    """Story: a client sends COPY, data and CopyDone in one go, and the table does not exist.
    PostgreSQL answers the Query and ignores the rest; the CopyDone is owed nothing.
    """
    pair = Pair().client(COPY, CopyData(b"1\n"), CopyDone())

    assert pair.server(ErrorResponse("no such table"), ReadyForQuery()).is_settled


def test_a_copy_done_between_the_error_and_its_ready_for_query_is_owed_nothing() -> None:
    pair = Pair().client(COPY).server(CopyInResponse).server(BROKEN)
    pair.client(CopyData(b"2\n"), CopyDone())

    assert pair.server(ReadyForQuery()).is_settled


def test_a_late_copy_done_in_a_block_is_owed_nothing() -> None:
    pair = Pair().client(Query("BEGIN")).server(ReadyForQuery("T"))
    pair.client(COPY).server(CopyInResponse).server(BROKEN, ReadyForQuery("E"))
    pair.client(CopyDone(), Query("ROLLBACK"))

    assert pair.server(CommandComplete("ROLLBACK"), ReadyForQuery()).is_settled


def test_two_copies_in_one_query_are_two() -> None:
    pair = Pair().client(Query("COPY a FROM STDIN; COPY b FROM STDIN"))
    pair.server(CopyInResponse).client(CopyDone()).server(DONE, CopyInResponse)

    assert pair.client(CopyDone()).server(DONE).owed == "Q"
    assert pair.server(ReadyForQuery()).is_settled


def test_the_command_complete_of_an_ordinary_query_changes_nothing() -> None:
    pair = Pair().client(COPY).server(CopyInResponse).client(CopyDone()).server(DONE)

    assert pair.server(CommandComplete("SELECT 1")).owed == "Q"


def test_a_query_behind_a_copy_has_its_own_answer() -> None:
    pair = Pair().client(COPY, CopyData(b"1\n"), CopyDone(), Query("SELECT 1"))

    assert pair.server(CopyInResponse, DONE, ReadyForQuery()).owed == "Q"
    assert pair.server(CommandComplete("SELECT 1"), ReadyForQuery()).is_settled


def test_a_sync_within_a_simple_copy_is_not_answered() -> None:
    pair = Pair().client(COPY).server(CopyInResponse).client(Sync(), Flush(), CopyDone())

    assert pair.server(DONE, ReadyForQuery()).is_settled


# --- extended query ---


def test_the_sync_sent_along_with_execute_is_not_answered() -> None:
    """libpq sends Sync behind every Execute, before it knows that a copy began."""
    pair = Pair().client(EXTENDED_COPY, Sync()).server(BOUND, CopyInResponse)
    pair.client(CopyData(b"1\n"), CopyDone(), Sync())

    assert (pair.owed, pair.is_settled) == ("scS", False)
    assert pair.server(DONE).owed == "S"
    assert pair.server(ReadyForQuery()).is_settled


def test_a_copy_behind_flush_is_settled_by_its_one_sync() -> None:
    pair = Pair().client(EXTENDED_COPY, Flush()).server(BOUND, CopyInResponse)
    pair.client(CopyDone(), Sync())

    assert pair.server(DONE, ReadyForQuery()).is_settled


def test_a_pipeline_before_the_copy_keeps_its_answers() -> None:
    pair = Pair().client(Parse("SELECT 1"), Bind(), Execute(), Sync(), EXTENDED_COPY, Sync())
    pair.server(BOUND, CommandComplete("SELECT 1"), ReadyForQuery(), BOUND, CopyInResponse)
    pair.client(CopyDone(), Sync())

    assert pair.server(DONE).owed == "S"
    assert pair.server(ReadyForQuery()).is_settled


def test_promise_3_two_pipelined_copies_keep_their_marks_apart() -> None:
    one = EXTENDED_COPY + CopyDone() + Sync()
    pair = Pair().client(one, one, Query("SELECT 1"))

    assert pair.server(BOUND, CopyInResponse, DONE, ReadyForQuery()).owed == "PBEcSQ"
    assert pair.server(BOUND, CopyInResponse, DONE, ReadyForQuery()).owed == "Q"


def test_promise_3_a_copy_given_up_keeps_the_answers_of_what_is_behind_it() -> None:
    pair = Pair().client(EXTENDED_COPY, Flush()).server(BOUND, CopyInResponse)
    pair.client(CopyFail("no"), Sync(), Sync(), Query("SELECT 1"))

    pair.server(ErrorResponse("COPY from stdin failed"), ReadyForQuery())

    assert (pair.owed, pair.server_session.close_reason) == ("SQ", "")


def test_an_extended_copy_that_fails_before_the_client_knows_is_settled_by_its_last_sync() -> None:
    pair = Pair().client(EXTENDED_COPY, Flush()).server(BOUND, CopyInResponse)
    pair.client(CopyData(b"x\n")).server(BROKEN).client(CopyDone(), Sync())

    assert pair.server(ReadyForQuery()).is_settled


def test_an_extended_copy_that_never_opened_is_settled_by_the_sync_sent_along() -> None:
    pair = Pair().client(EXTENDED_COPY, Sync())

    assert pair.server(ErrorResponse("no such table"), ReadyForQuery()).is_settled


def test_promise_5_an_error_before_copy_done_with_a_sync_in_flight_retires_the_server() -> None:
    pair = Pair().client(EXTENDED_COPY, Sync()).server(BOUND, CopyInResponse)
    pair.client(CopyData(b"x\n")).server(BROKEN)

    assert pair.server_session.close_reason == "COPY failed while a Sync was in flight"
    assert not pair.is_settled
    assert pair.client(CopyDone(), Sync()).server(ReadyForQuery()).is_settled


def test_a_server_that_retires_may_answer_once_more_than_we_counted() -> None:
    pair = Pair().client(EXTENDED_COPY, Sync()).server(BOUND, CopyInResponse, BROKEN)
    pair.server(ReadyForQuery()).client(Query("SELECT 1")).server(ReadyForQuery())

    assert (pair.owed, pair.is_settled) == ("Q", False)
    assert pair.server(CommandComplete("SELECT 1"), ReadyForQuery()).is_settled


def test_promise_2_a_copy_that_fails_before_its_sync_is_read_is_answered_twice() -> None:
    """Story: CopyInResponse is sent before the BEFORE STATEMENT triggers run. A slow trigger fails
    when the client has long sent its data, CopyDone and the second Sync. PostgreSQL then skips to
    the *first* Sync and answers that, ignores the copy messages, and answers the second Sync too.
    A server that is reused after the first of the two gives its next client a foreign answer.
    """
    pair = Pair().client(EXTENDED_COPY, Sync()).server(BOUND, CopyInResponse)
    pair.client(CopyData(b"1\n"), CopyDone(), Sync())

    pair.server(ErrorResponse("the trigger said no"), ReadyForQuery())

    assert pair.server_session.close_reason


def test_promise_2_a_query_leaves_the_marks_of_the_copies_behind_it() -> None:
    one = EXTENDED_COPY + CopyDone() + Sync()
    pair = Pair().client(Query("SELECT 1"), one, one, Query("SELECT 2"))
    pair.server(CommandComplete("SELECT 1"), ReadyForQuery())

    pair.server(BOUND, CopyInResponse, DONE, ReadyForQuery())
    pair.server(BOUND, CopyInResponse, DONE, ReadyForQuery())

    assert (pair.owed, pair.is_settled) == ("Q", False)


def test_a_copy_whose_sync_comes_in_a_later_read_is_settled() -> None:
    pair = Pair().client(EXTENDED_COPY + CopyDone()).client(Sync())

    assert pair.server(BOUND, CopyInResponse, DONE, ReadyForQuery()).is_settled


def test_promise_2_a_copy_whose_sync_was_ignored_keeps_the_pair_until_the_next_one() -> None:
    """Story: the Sync behind Execute is ignored, so after CopyDone the segment is still open, and
    its transaction too. A pooler that counts that Sync gives the open transaction to somebody else.
    """
    pair = Pair().client(EXTENDED_COPY, Sync()).server(BOUND, CopyInResponse)
    pair.client(CopyData(b"1\n"), CopyDone()).server(DONE)

    assert not pair.is_settled
    assert pair.client(Sync()).server(ReadyForQuery()).is_settled


# --- Syncs in doubt ---

SELECTED = CommandComplete("SELECT 1") + ReadyForQuery()
SEGMENT = Parse("SELECT 1") + Bind() + Execute() + Sync()


def test_promise_3_a_query_behind_a_sync_in_doubt_has_its_own_answer() -> None:
    """Story: the row before the Sync is bad, so PostgreSQL answers the Query, then the Sync, then
    the next Query. A pooler that takes the second ReadyForQuery for the next Query's parts the pair
    before that one's answer has come.
    """
    pair = Pair().client(COPY, CopyData(b"x\n"), Sync(), CopyDone(), Query("SELECT 1"))

    pair.server(CopyInResponse, BROKEN, ReadyForQuery(), ReadyForQuery())

    assert (pair.owed, pair.is_settled) == ("Q", False)
    assert pair.server(SELECTED).is_settled


NOTICE = message("N", b"SNOTICE\0C00000\0Mhi\0\0")
#: What PostgreSQL may say of a segment's COPY that fails, with another segment behind it: whether
#: or not it had read the first Sync; and with what may come at any moment in between.
FAILURES = {
    "the Sync was read": BROKEN + ReadyForQuery() + BOUND + SELECTED,
    "the Sync was not read": BROKEN + ReadyForQuery() * 2 + BOUND + SELECTED,
    "a notice in between": BROKEN + NOTICE + ReadyForQuery() + NOTICE + ReadyForQuery() + SELECTED,
}


@pytest.mark.parametrize("said", FAILURES.values(), ids=FAILURES.keys())
@pytest.mark.parametrize("behind", [SEGMENT, Query("SELECT 1")])
def test_promise_3_what_is_behind_a_copy_that_fails_has_its_own_answer(
    said: bytes, behind: bytes
) -> None:
    pair = Pair().client(EXTENDED_COPY, Sync()).server(BOUND, CopyInResponse)
    pair.client(CopyData(b"1\n"), CopyDone(), Sync(), behind)

    pair.server(said.removesuffix(SELECTED))

    assert (len(pair.owed), pair.is_settled) == (1, False)
    assert pair.server(SELECTED).is_settled
    assert pair.server_session.close_reason


def test_promise_4_a_row_of_any_size_passes_while_a_sync_is_in_doubt() -> None:
    """Story: in doubt every message is looked at, and to the rewriter a message of interest must be
    whole. A row that is not must neither be kept nor be too long.
    """
    pair = Pair().client(EXTENDED_COPY, Sync()).server(BOUND, CopyInResponse)
    pair.client(CopyDone(), Sync(), Query("SELECT 1"))
    rules, counters = StatementRules(), Counters()
    pair.client_session.rewriter = Rewriter(
        pair.client_session, StatementRegistry(), rules, counters
    )
    row = DataRow("x" * (HOLD_LIMIT + 1))

    pair.server(BROKEN, ReadyForQuery(), row[:100]).server(row[100:])

    assert pair.at_client.endswith(row)
    assert pair.server(SELECTED).is_settled


def test_promise_2_a_segment_sent_before_its_copy_failed_is_answered_in_full() -> None:
    pair = Pair().client(EXTENDED_COPY, Flush()).server(BOUND, CopyInResponse)
    pair.client(Sync(), CopyDone(), Sync(), Parse("SELECT 1"), Bind())
    pair.client(Execute(), Sync())

    pair.server(BROKEN, ReadyForQuery(), ReadyForQuery(), BOUND)

    assert (pair.owed, pair.is_settled) == ("ES", False)
    assert pair.server(SELECTED).is_settled


GIVEN_UP = "COPY failed with more requests in flight behind it"


@pytest.mark.parametrize(
    "behind",
    [SEGMENT, CopyDone() + SEGMENT, CopyDone() + Query("SELECT 1") + Sync(), Parse("SELECT 1")],
)
def test_promise_5_what_may_have_been_discarded_or_not_costs_both_sides(behind: bytes) -> None:
    pair = Pair().client(EXTENDED_COPY, Sync()).client(behind)

    with pytest.raises(ServerError, match=GIVEN_UP):
        pair.server(BOUND, CopyInResponse, BROKEN)


@pytest.mark.parametrize("said", [SEGMENT, Query("SELECT 1"), CopyDone() + Parse("SELECT 1")])
def test_promise_5_what_may_be_discarded_or_not_costs_both_sides(said: bytes) -> None:
    pair = Pair().client(EXTENDED_COPY, Sync()).server(BOUND, CopyInResponse, BROKEN)

    with pytest.raises(ClientProtocolError, match=GIVEN_UP):
        pair.client(said)


# --- servers that do not do as PostgreSQL does ---


def test_promise_5_a_copy_that_ends_before_its_client_is_done_is_the_servers_fault() -> None:
    pair = Pair().client(COPY).server(CopyInResponse)

    with pytest.raises(ServerProtocolError, match="that its client had not ended"):
        pair.server(DONE)


@pytest.mark.parametrize("said", [b"", Sync(), EXTENDED_COPY])
def test_promise_5_a_copy_that_nobody_asked_for_is_the_servers_fault(said: bytes) -> None:
    pair = Pair().client(said) if said else Pair()

    with pytest.raises(ServerProtocolError):
        pair.server(CopyInResponse)


def test_a_server_that_is_ready_in_the_middle_of_a_copy_breaks_the_protocol() -> None:
    """Story, found by fuzzing: a server opened a COPY and was ready without having ended it.

    Nothing was owed then, and an error behind it was looked up in an empty list: IndexError.
    """
    pair = Pair().client(COPY).server(CopyInResponse)

    with pytest.raises(ServerProtocolError, match="in the middle of a COPY"):
        pair.server(ReadyForQuery("T"))
