"""Does docs/protocol-support.md list every message and code that the package knows?"""

from __future__ import annotations

import pytest

from pgpool_lite.session.client import ClientSession
from pgpool_lite.wire import codes
from pgpool_lite.wire.frontend import CancelKey
from tests.architecture.source import ROOT
from tests.docs.pages import page, table_rows

PAGE = page("docs/protocol-support.md")

FRONTEND = "# Frontend messages"
BACKEND = "# Backend messages"
STATUS = "# Transaction status"
STARTUP = "# The Int32 that stands where"
AUTHENTICATION = "# Authentication requests"

# CopyData and CopyDone have one constant each for both directions.
BOTH_WAYS = {("d", "CopyData"), ("c", "CopyDone")}


@pytest.mark.parametrize(
    ("heading", "comment", "more"),
    [
        ("Frontend messages", FRONTEND, set[tuple[str, str]]()),
        ("Backend messages", BACKEND, BOTH_WAYS),
    ],
)
def test_every_message_type_has_a_row(
    heading: str, comment: str, more: set[tuple[str, str]]
) -> None:
    rows = {(row[0].strip("`"), row[1]) for row in table_rows(PAGE.section(heading))}

    assert rows == {(chr(code), _message_name(name)) for name, code in _codes(comment)} | more


@pytest.mark.parametrize(
    ("heading", "comment"),
    [("Start-up packets", STARTUP), ("Authentication requests", AUTHENTICATION)],
)
def test_every_code_of_the_login_has_a_row(heading: str, comment: str) -> None:
    rows = {row[0].strip("`") for row in table_rows(PAGE.section(heading))}

    assert {str(code) for name, code in _codes(comment) if name != "PROTOCOL_MAJOR"} <= rows


def test_every_transaction_status_has_a_row() -> None:
    rows = {row[0].strip("`") for row in table_rows(PAGE.section("Transaction status"))}

    assert rows == {chr(code) for _, code in _codes(STATUS)}


@pytest.mark.parametrize("row", table_rows(PAGE.section("Frontend messages")), ids=lambda r: r[1])
def test_a_message_is_said_to_be_counted_if_it_leaves_an_answer_and_no_segment_open(
    row: list[str],
) -> None:
    client = ClientSession(1, CancelKey(1, b"key!"), ())
    message = row[0].strip("`").encode() + b"\0\0\0\4"
    is_for_logins = row[1] == "PasswordMessage"

    client.receive(b"" if is_for_logins else message)

    is_counted = bool(client.single or client.owed) and not client.unsynced
    assert is_counted == row[2].startswith("relayed, counted")


def _codes(comment: str) -> list[tuple[str, int]]:
    """Return the constants that follow a comment in wire/codes.py, up to the next paragraph."""
    text = (ROOT / "pgpool_lite" / "wire" / "codes.py").read_text(encoding="utf-8")
    paragraph = text[text.index(comment) :].partition("\n\n")[0]
    names = [line.partition(":")[0] for line in paragraph.splitlines() if ": Final" in line]
    return [(name, int(getattr(codes, name))) for name in names]


def _message_name(constant: str) -> str:
    """Return the documented name: COPY_DATA is CopyData."""
    special = {"PASSWORD": "PasswordMessage", "AUTHENTICATION": "AuthenticationXXX"}
    return special.get(constant, constant.title().replace("_", ""))
