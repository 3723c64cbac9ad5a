"""The question for a user's secret, and everything PostgreSQL may answer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.errors import ServerProtocolError
from pgpool_lite.session.auth_query import MAX_MESSAGE, AuthQuery, FoundUser
from tests.unit.feeding import feed_every_way
from tests.wire_messages import (
    CommandComplete,
    DataRow,
    ErrorResponse,
    ParameterStatus,
    ReadyForQuery,
    RowDescription,
    message,
)

SQL = "SELECT usename, passwd FROM lookup($1)"
PARSED = message("1") + message("2")
ASKED = PARSED + message("n") + CommandComplete("RESET") + PARSED
HEAD = ASKED + RowDescription("usename", "passwd")
END = CommandComplete("SELECT 1") + ReadyForQuery()


def answered(data: bytes) -> AuthQuery:
    query = AuthQuery(SQL, "dave")
    query.receive(data)
    assert query.is_done
    return query


def test_it_resets_the_search_path_and_asks_with_the_name_as_a_parameter() -> None:
    question = AuthQuery(SQL, "o'neill").question

    assert question.index(b"RESET search_path\0") < question.index(SQL.encode() + b"\0")
    assert b"\0\0\0\7o'neill" in question
    assert question.endswith(b"S\0\0\0\4")


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (b"", None),
        (DataRow("dave", "secret"), FoundUser("dave", "secret")),
        (DataRow("dave", ""), FoundUser("dave", "")),
        (DataRow("dave", None), FoundUser("dave", None)),
        (DataRow("Dave", "x" * 65_530), FoundUser("Dave", "x" * 65_530)),
        (DataRow("eve", "1") + DataRow("dave", "2"), FoundUser("dave", "2")),
    ],
)
def test_the_last_row_is_the_answer(rows: bytes, found: FoundUser | None) -> None:
    query = answered(HEAD + rows + END)

    assert (query.found, query.failure) == (found, "")


def test_an_answer_may_come_in_any_pieces_and_among_notices() -> None:
    def read(pieces: Sequence[bytes]) -> FoundUser | None:
        query = AuthQuery(SQL, "dave")
        for piece in pieces:
            query.receive(piece)
        assert query.is_done
        return query.found

    notes = message("N", b"SNOTICE\0Mhear, hear\0\0") + ParameterStatus("search_path", "public")
    found = feed_every_way(read, notes + HEAD + notes + DataRow("dave", "secret") + END)

    assert found == FoundUser("dave", "secret")


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (
            ASKED + ErrorResponse('relation "lookup" does not exist') + ReadyForQuery(),
            'error in auth_query: ERROR: relation "lookup" does not exist',
        ),
        (
            ASKED + RowDescription("one") + DataRow("1") + END,
            "expected 2 columns from auth_query, not 1",
        ),
        (
            HEAD + DataRow("dave", "secret", "more") + END,
            "expected 2 columns from auth_query, not 3",
        ),
        (
            HEAD + DataRow(None, "secret") + END,
            "auth_query response contained null user name",
        ),
        (
            HEAD + DataRow("d" * 128, "secret") + END,
            "auth_query response contained a user name that is too long",
        ),
    ],
)
def test_an_answer_that_is_none_says_why(answer: bytes, failure: str) -> None:
    assert answered(answer).failure == failure


@pytest.mark.parametrize(
    "answer",
    [
        ASKED + message("I"),
        ASKED + message("G", b"\0\0\0"),
        HEAD + message("D", b"\0\2\0\0\0\4"),
        HEAD + message("D", b"\0\1\0\0\0\1ab"),
        HEAD + message("D"),
        HEAD + b"D" + (MAX_MESSAGE + 1).to_bytes(4, "big"),
    ],
)
def test_what_is_no_answer_to_a_query_is_the_servers_fault(answer: bytes) -> None:
    with pytest.raises(ServerProtocolError):
        AuthQuery(SQL, "dave").receive(answer)


def test_a_found_secret_does_not_show() -> None:
    assert "hush" not in repr(FoundUser("dave", "hush"))


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_the_servers_fault(data: bytes) -> None:
    with suppress(ServerProtocolError):
        AuthQuery(SQL, "dave").receive(HEAD + data)
