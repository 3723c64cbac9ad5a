"""Do the tables over the entries of `owed` say the same of each entry?"""

from __future__ import annotations

import pytest

from pgpool_lite.session import entries
from pgpool_lite.wire import codes

FRONTEND = (codes.PARSE, codes.BIND, codes.DESCRIBE, codes.EXECUTE, codes.CLOSE)
OURS = (
    entries.NAMED_PARSE,
    entries.OWN_PARSE,
    entries.OWN_CLOSE,
    entries.FAKE_PARSE,
    entries.FAKE_CLOSE,
    entries.REFUSED,
    entries.EXPLAINED,
    entries.MARK,
)


@pytest.mark.parametrize("entry", OURS, ids=chr)
def test_an_entry_of_ours_is_no_frontend_message(entry: int) -> None:
    others = {codes.SYNC, codes.QUERY, codes.FUNCTION_CALL, codes.COPY_DONE, codes.COPY_FAIL}

    assert entry not in {*FRONTEND, *others}


def test_no_two_entries_are_the_same() -> None:
    assert len({*FRONTEND, *OURS}) == len(FRONTEND) + len(OURS)


@pytest.mark.parametrize("entry", [*FRONTEND, *OURS], ids=chr)
def test_an_entry_of_a_segment_is_neither_a_request_nor_the_end_of_a_copy(entry: int) -> None:
    assert entries.IS_IN_SEGMENT[entry]
    assert not entries.IS_REQUEST[entry]
    assert entry != entries.COPY_END


@pytest.mark.parametrize("entry", [*FRONTEND, *OURS], ids=chr)
def test_an_entry_is_answered_by_the_server_or_by_us_unless_it_must_fail(entry: int) -> None:
    by_server = any(entry in answered for answered in entries.ANSWERED_BY)
    by_us = entry in entries.FAKE_ANSWERS

    assert by_server + by_us + (entry == entries.REFUSED) == 1
    assert by_us == bool(entries.IS_UNSENT[entry])


@pytest.mark.parametrize("entry", [*FRONTEND, *OURS], ids=chr)
def test_what_is_swallowed_was_sent_and_can_be_undone(entry: int) -> None:
    if entries.IS_SWALLOWED[entry]:
        assert not entries.IS_UNSENT[entry]
        assert entries.HAS_UNDO[entry]


def test_rows_and_notices_answer_nothing() -> None:
    for message_type in (codes.DATA_ROW, codes.NOTICE_RESPONSE, codes.PARAMETER_DESCRIPTION):
        assert not entries.ANSWERED_BY[message_type]
