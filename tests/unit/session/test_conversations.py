"""Whole conversations, written down as a DBA reads them: C is the client, S is the server.

Each runs with every turn whole, byte by byte, and split at every offset; whatever the cut, both
ends see the same bytes, and the pair is settled at the same turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.unit.pairs import Pair
from tests.wire_messages import (
    Bind,
    CommandComplete,
    CopyData,
    CopyDone,
    CopyFail,
    DataRow,
    DescribePortal,
    DescribeStatement,
    ErrorResponse,
    Execute,
    Flush,
    Parse,
    Query,
    ReadyForQuery,
    RowDescription,
    Sync,
    message,
)

WORDS: dict[str, Callable[..., bytes]] = {
    "Query": Query,
    "Parse": Parse,
    "Bind": Bind,
    "Describe": DescribePortal,
    "DescribeStatement": DescribeStatement,
    "Execute": Execute,
    "Flush": Flush,
    "Sync": Sync,
    "CopyDone": CopyDone,
    "CopyFail": CopyFail,
    "RowDescription": RowDescription,
    "DataRow": DataRow,
    "CommandComplete": CommandComplete,
    "ErrorResponse": ErrorResponse,
    "ReadyForQuery": ReadyForQuery,
    "CopyData": lambda text: CopyData(text.encode()),
    "CopyInResponse": lambda: message("G", b"\0\0\0"),
    "CopyOutResponse": lambda: message("H", b"\0\0\0"),
    "ParseComplete": lambda: message("1"),
    "BindComplete": lambda: message("2"),
    "NoData": lambda: message("n"),
    "PortalSuspended": lambda: message("s"),
}

CONVERSATIONS = {
    "a simple query": """
        C  Query SELECT 1
        S  RowDescription one | DataRow 1 | CommandComplete SELECT 1 | ReadyForQuery I
        settled
    """,
    "a transaction": """
        C  Query BEGIN
        S  CommandComplete BEGIN | ReadyForQuery T
        C  Query INSERT INTO t VALUES (1)
        S  CommandComplete INSERT 0 1 | ReadyForQuery T
        C  Query COMMIT
        S  CommandComplete COMMIT | ReadyForQuery I
        settled
    """,
    "a transaction that fails": """
        C  Query BEGIN
        S  CommandComplete BEGIN | ReadyForQuery T
        C  Query SELECT 1/0
        S  ErrorResponse division by zero | ReadyForQuery E
        C  Query ROLLBACK
        S  CommandComplete ROLLBACK | ReadyForQuery I
        settled
    """,
    "an extended query": """
        C  Parse SELECT 1 | Bind | Describe | Execute | Sync
        S  ParseComplete | BindComplete | NoData | CommandComplete SELECT 1 | ReadyForQuery I
        settled
    """,
    "a batch in two flushes": """
        C  Parse SELECT 1 | DescribeStatement | Flush
        S  ParseComplete | NoData
        C  Bind | Execute | Sync
        S  BindComplete | CommandComplete SELECT 1 | ReadyForQuery I
        settled
    """,
    "a pipeline whose answers come one by one": """
        C  Parse SELECT 1 | Bind | Execute | Sync | Parse SELECT 2 | Bind | Execute | Sync
        S  ParseComplete | BindComplete | CommandComplete SELECT 1 | ReadyForQuery I
        S  ParseComplete | BindComplete | CommandComplete SELECT 1 | ReadyForQuery I
        settled
    """,
    "a copy to the server": """
        C  Query COPY t FROM STDIN
        S  CopyInResponse
        C  CopyData 1 | CopyData 2 | CopyDone
        S  CommandComplete COPY 2 | ReadyForQuery I
        settled
    """,
    "a copy given up": """
        C  Query COPY t FROM STDIN
        S  CopyInResponse
        C  CopyData 1 | CopyFail changed my mind
        S  ErrorResponse COPY from stdin failed | ReadyForQuery I
        settled
    """,
    "a copy as libpq does it with parameters": """
        C  Parse COPY t FROM STDIN | Bind | Describe | Execute | Sync
        S  ParseComplete | BindComplete | NoData | CopyInResponse
        C  CopyData 1 | CopyDone | Sync
        S  CommandComplete COPY 1 | ReadyForQuery I
        settled
    """,
    "a copy to the client": """
        C  Query COPY t TO STDOUT
        S  CopyOutResponse | CopyData 1 | CopyDone | CommandComplete COPY 1 | ReadyForQuery I
        settled
    """,
    "a portal in pieces": """
        C  Query BEGIN
        S  CommandComplete BEGIN | ReadyForQuery T
        C  Parse SELECT 1 | Bind | Execute | Sync
        S  ParseComplete | BindComplete | DataRow 1 | PortalSuspended | ReadyForQuery T
        C  Execute | Sync
        S  DataRow 2 | CommandComplete SELECT 1 | ReadyForQuery T
        C  Query COMMIT
        S  CommandComplete COMMIT | ReadyForQuery I
        settled
    """,
}


def turns(conversation: str) -> Iterator[tuple[str, bytes]]:
    """Yield who speaks, and all bytes of that turn; "settled" with none."""
    for line in conversation.split("\n"):
        speaker, _, said = line.strip().partition("  ")
        if speaker:
            yield speaker, b"".join(map(_encode, said.split(" | "))) if said else b""


def _encode(text: str) -> bytes:
    word, _, argument = text.strip().partition(" ")
    return WORDS[word](argument) if argument else WORDS[word]()


def play(conversation: str, cut: Callable[[bytes], list[bytes]]) -> tuple[bytes, bytes, list[str]]:
    """Return what arrived at the server, at the client, and the end of which turns was settled."""
    pair, settled = Pair(), []
    for number, (speaker, data) in enumerate(turns(conversation)):
        say = pair.client if speaker == "C" else pair.server
        for read in cut(data) if data else []:
            say(read)
        if pair.is_settled and speaker == "S":
            settled.append(f"turn {number}")
    return pair.at_server, pair.at_client, settled


@pytest.mark.parametrize("conversation", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
def test_promise_3_a_conversation_is_the_same_however_it_is_cut(conversation: str) -> None:
    said = list(turns(conversation))
    whole = play(conversation, lambda data: [data])

    assert whole[0] == b"".join(data for speaker, data in said if speaker == "C")
    assert whole[1] == b"".join(data for speaker, data in said if speaker == "S")
    assert play(conversation, _bytes_of) == whole
    for offset in range(1, max(len(data) for _, data in said)):
        assert play(conversation, partial(_halves, at=offset)) == whole, offset


@pytest.mark.parametrize("conversation", CONVERSATIONS.values(), ids=CONVERSATIONS.keys())
def test_promise_2_a_conversation_is_settled_at_its_end_and_no_earlier(conversation: str) -> None:
    last_turn = len(list(turns(conversation))) - 2

    assert play(conversation, lambda data: [data])[2] == [f"turn {last_turn}"]


def _bytes_of(data: bytes) -> list[bytes]:
    return [data[pos : pos + 1] for pos in range(len(data))]


def _halves(data: bytes, at: int) -> list[bytes]:
    return [part for part in (data[:at], data[at:]) if part]
