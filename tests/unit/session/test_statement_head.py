"""What people are shown of a statement: its head, on one line, without what is secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.session.statement_head import HEAD_LENGTH, KEPT_SIZE, head_of
from pgpool_lite.session.statements import ServerStatements, StatementRegistry
from tests.wire_messages import (
    Bind,
    CopyData,
    CopyDone,
    DescribePortal,
    Execute,
    FunctionCall,
    Parse,
    Query,
    Sync,
)

RUN = DescribePortal() + Execute() + Sync()


def server_that_has(text: bytes) -> ServerStatements:
    registry = StatementRegistry()
    books = ServerStatements(registry)
    books.add(registry.find_or_make(text + b"\0\0\0"))
    return books


# --- which statement ---


def test_a_query_is_shown_on_one_line() -> None:
    assert head_of(Query("UPDATE orders\n\tSET paid = true\r\n WHERE id = 7  ")) == (
        "UPDATE orders SET paid = true WHERE id = 7"
    )


def test_a_statement_that_is_parsed_and_bound_in_one_read_is_shown() -> None:
    assert head_of(Parse("SELECT $1") + Bind("secret") + RUN) == "SELECT $1"


def test_of_several_statements_in_a_read_the_last_is_shown() -> None:
    read = Parse("BEGIN") + Bind() + Execute() + Parse("SELECT 1") + Bind() + RUN

    assert head_of(read) == "SELECT 1"


def test_a_prepared_statement_is_shown_by_the_text_that_its_server_has() -> None:
    read = Bind(statement="PGBOUNCER_1") + RUN

    assert head_of(read, server_that_has(b"SELECT 2")) == "SELECT 2"


def test_an_unnamed_statement_of_an_earlier_read_is_shown_by_its_text() -> None:
    books = ServerStatements(StatementRegistry())
    books.unnamed = b"SELECT 3\0\0\0"

    assert head_of(Bind() + RUN, books) == "SELECT 3"


def test_a_prepared_statement_that_nobody_wrote_down_is_shown_by_its_name() -> None:
    read = Bind(statement="P0_1") + RUN

    assert head_of(read, server_that_has(b"SELECT 2")) == "prepared statement P0_1"
    assert head_of(read) == "prepared statement P0_1"


def test_an_unnamed_statement_that_nobody_knows_is_not_made_up() -> None:
    assert head_of(Bind() + RUN, ServerStatements(StatementRegistry())) == ""
    assert head_of(Bind() + RUN) == ""


def test_a_function_call_is_shown_by_its_number() -> None:
    assert head_of(FunctionCall(1598)) == "function call, OID 1598"


@pytest.mark.parametrize("read", [b"", Sync(), CopyData(b"SELECT 1") + CopyDone(), b"Q\0\0"])
def test_a_read_without_a_statement_shows_nothing(read: bytes) -> None:
    assert head_of(read) == ""


def test_an_impossible_length_ends_the_search() -> None:
    assert head_of(b"Q\0\0\0\3" + Query("SELECT 1")) == ""


# --- how much of it ---


def test_a_long_statement_is_cut_to_the_length_of_a_line() -> None:
    head = head_of(Query("SELECT " + "x" * 200))

    assert len(head) == HEAD_LENGTH
    assert head.endswith("xxx...")


def test_a_statement_of_which_only_the_head_was_read_is_shown() -> None:
    assert head_of(Query("SELECT 1, 2, 3")[:13]) == "SELECT 1"


def test_no_more_is_looked_at_than_is_kept() -> None:
    behind = Query(" " * KEPT_SIZE) + Query("SELECT 1")

    assert head_of(behind) == head_of(behind[:KEPT_SIZE]) == ""


def test_text_that_is_not_utf_8_is_shown_as_far_as_it_can_be() -> None:
    read = Query("SELECT '?'").replace(b"?", b"\xe4")

    assert head_of(read) == "SELECT '\N{REPLACEMENT CHARACTER}'"


def test_a_statement_cannot_move_the_cursor_of_who_reads_it() -> None:
    assert head_of(Query("SELECT '\x1b[2J'")) == "SELECT '\N{REPLACEMENT CHARACTER}[2J'"


@given(st.binary(max_size=300))
def test_whatever_a_read_holds_its_head_is_one_short_line(read: bytes) -> None:
    head = head_of(read)

    assert len(head) <= HEAD_LENGTH
    assert head.isprintable()


# --- secrets ---


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ALTER ROLE ann PASSWORD 's3cret'", "ALTER ROLE ann PASSWORD ..."),
        ("ALTER USER ann WITH password'' 's3cret'", "ALTER USER ann WITH password..."),
        (
            "CREATE ROLE ann LOGIN ENCRYPTED PASSWORD E'it\\'s3cret' CREATEDB",
            "CREATE ROLE ann LOGIN ENCRYPTED PASSWORD E...",
        ),
        ("CREATE USER ann PASSWORD $tag$s3cret$tag$", "CREATE USER ann PASSWORD ..."),
        ("CREATE USER ann PASSWORD\n/* new */ 's3cret'", "CREATE USER ann PASSWORD /* new */ ..."),
        (
            "CREATE USER MAPPING FOR ann SERVER s OPTIONS (user 'a', password 's3cret')",
            "CREATE USER MAPPING FOR ann SERVER s OPTIONS (user 'a', password ...",
        ),
        (
            "CREATE SUBSCRIPTION s CONNECTION 'host=h password=s3cret' PUBLICATION p",
            "CREATE SUBSCRIPTION s CONNECTION 'host=h password...",
        ),
        (
            "SELECT dblink_connect('postgresql://ann:s3cret@h/d')",
            "SELECT dblink_connect('postgresql://ann:...@h/d')",
        ),
        ("SELECT dblink('passwd=s3cret', 'q')", "SELECT dblink('passwd..."),
    ],
)
def test_a_password_is_left_out(text: str, shown: str) -> None:
    assert head_of(Query(text)) == shown
    assert "s3cret" not in head_of(Parse(text))


def test_a_statement_that_only_names_a_password_is_shown_whole() -> None:
    text = "SELECT password_hash FROM users WHERE id IN (7, 8)"

    assert head_of(Query(text)) == text
