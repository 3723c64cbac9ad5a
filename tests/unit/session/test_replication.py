"""Replication: who asks for it, and a stream that runs in both directions at once.

The conversations follow the PostgreSQL documentation, "Streaming Replication Protocol": after
CopyBothResponse both sides send CopyData, each ends its direction with CopyDone, and then the
command's results follow, a CommandComplete for each, and ReadyForQuery.
"""

from __future__ import annotations

import pytest

from pgpool_lite.errors import ServerProtocolError
from pgpool_lite.session.replication import Dedication, Replication, ReplicationKind
from tests.unit.pairs import Pair
from tests.wire_messages import (
    CommandComplete,
    CopyData,
    CopyDone,
    ErrorResponse,
    Query,
    ReadyForQuery,
    message,
)

START = Query("START_REPLICATION 0/0")
CopyBothResponse = message("W", b"\0\0\0")
ENDED = CommandComplete("COPY 0") + CommandComplete("START_REPLICATION")
LOGICAL = Replication(ReplicationKind.LOGICAL, "-c a=b")


def dedicated() -> Pair:
    """Return a replication client linked to its own server."""
    pair = Pair()
    pair.client_session.replication = LOGICAL
    pair.server_session.dedication = Dedication(pair.client_session, LOGICAL)
    return pair


# --- who asks for it ---


@pytest.mark.parametrize("value", ["true", "yes", "on", "1", "YES", "t", "tru"])
def test_a_true_value_asks_for_physical_replication(value: str) -> None:
    asked = Replication.asked_for({"replication": value})

    assert asked == Replication(ReplicationKind.PHYSICAL)
    assert asked.kind.parameter == "yes"


def test_the_word_database_asks_for_logical_replication_with_any_options() -> None:
    asked = Replication.asked_for({"replication": "database", "options": "-c a=b"})

    assert asked == LOGICAL
    assert asked.kind.parameter == "database"


@pytest.mark.parametrize("value", ["", "no", "off", "0", "o", "Database", "nonsense"])
def test_any_other_value_asks_for_none(value: str) -> None:
    assert Replication.asked_for({"replication": value}) is None
    assert Replication.asked_for({}) is None


# --- the stream ---


def test_a_stream_keeps_the_pair_together_while_both_sides_send() -> None:
    pair = dedicated().client(START).server(CopyBothResponse)

    assert not pair.server(CopyData(b"wal")).is_settled
    assert not pair.client(CopyData(b"status")).is_settled
    assert not pair.server(CopyData(b"wal") * 3).is_settled
    assert pair.at_client == CopyBothResponse + CopyData(b"wal") * 4
    assert pair.at_server == START + CopyData(b"status")


def test_a_stream_that_the_client_ends_is_settled_by_its_ready_for_query() -> None:
    pair = dedicated().client(START).server(CopyBothResponse, CopyData(b"wal"))
    pair.client(CopyDone()).server(CopyData(b"late"), CopyDone())
    assert (pair.owed, pair.is_settled) == ("Qc", False)

    assert pair.server(ENDED).owed == "Q"
    assert pair.server(ReadyForQuery()).is_settled


def test_a_stream_that_the_server_ends_goes_on_until_the_client_has_ended_it_too() -> None:
    """Story: the timeline of a standby ends. It says CopyDone and waits for the client's."""
    pair = dedicated().client(START).server(CopyBothResponse, CopyDone())
    assert not pair.is_settled

    pair.client(CopyDone()).server(ENDED, ReadyForQuery())

    assert (pair.owed, pair.is_settled) == ("", True)
    assert pair.client(Query("IDENTIFY_SYSTEM")).owed == "Q"


def test_a_server_that_shuts_down_completes_a_stream_alone() -> None:
    pair = dedicated().client(START).server(CopyBothResponse)

    pair.server(CommandComplete("COPY 0"))

    assert pair.at_client == CopyBothResponse + CommandComplete("COPY 0")
    assert not pair.is_settled


def test_a_stream_that_fails_is_settled_although_the_client_goes_on() -> None:
    pair = dedicated().client(START).server(CopyBothResponse)

    pair.server(ErrorResponse("slot is gone"), ReadyForQuery()).client(CopyData(b"late"))

    assert pair.client(CopyDone(), Query("IDENTIFY_SYSTEM")).owed == "Q"
    assert pair.server(CommandComplete("IDENTIFY_SYSTEM"), ReadyForQuery()).is_settled


@pytest.mark.parametrize("cut", range(1, len(CopyBothResponse + ENDED + ReadyForQuery())))
def test_a_stream_is_settled_however_the_replies_are_cut(cut: int) -> None:
    said = CopyBothResponse + ENDED + ReadyForQuery()
    pair = dedicated().client(START, CopyDone()).server(said[:cut])

    assert not pair.is_settled
    assert pair.server(said[cut:]).is_settled


def test_a_shared_server_cannot_stream() -> None:
    with pytest.raises(ServerProtocolError):
        Pair().client(START).server(CopyBothResponse)
