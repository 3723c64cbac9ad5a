"""What may one client have in flight? Nobody who has logged in can fill memory, or stop the others.

Each story here was one: a client sent what costs PostgreSQL nothing, or answers nothing, and the
pooler kept a note of every message, or looked at all notes again for each.
"""

from __future__ import annotations

from itertools import count

import pytest

from pgpool_lite.proxy.client_connection import ClientConnection
from pgpool_lite.proxy.server_connection import ServerConnection
from pgpool_lite.session import meaning, outstanding
from pgpool_lite.session.refusals import StatementRules
from tests.unit.world import World, state_of, transport_of
from tests.wire_messages import (
    Bind,
    CloseStatement,
    CopyDone,
    Flush,
    Parse,
    Query,
    ReadyForQuery,
    Sync,
    message,
)

PARSE_COMPLETE, BIND_COMPLETE, CLOSE_COMPLETE = message("1"), message("2"), message("3")
COPY_IN = message("G", b"\0\0\0")


def rewriting_pair(*, limit: int = 200) -> tuple[ClientConnection, ServerConnection]:
    """Return a client whose statements are mapped, and the server it will get."""
    rules = StatementRules(rejects=False, limit=limit, answers_like_postgres=True)
    world = World(pool_size=1, statements=rules)
    return world.add_client(rewrites=True), world.add_server()


def say_until_refused(client: ClientConnection, said: bytes, times: int) -> int:
    """Say the same again and again; return how often it was taken before the client was closed."""
    for number in range(times):
        client.data_received(said)
        if state_of(client) == "CLOSED":
            return number
    return times


def test_promise_4_who_sends_sync_without_end_into_a_copy_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server in COPY ignores Sync, so nothing stopped a client who sent it for ever: each Sync
    stayed in the list of what is owed.
    """
    monkeypatch.setattr(meaning, "MAX_OWED", 1_000)
    world = World(pool_size=1)
    client, server = world.add_client(), world.add_server()
    client.data_received(Query("COPY t FROM STDIN"))
    server.data_received(COPY_IN)

    assert say_until_refused(client, Sync() * 100, 50) == 10
    assert b"C54000\0Mtoo many requests in flight" in transport_of(client).written
    assert state_of(server) == "CLOSED"


def test_what_is_owed_is_bounded_for_a_client_with_names_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(meaning, "MAX_OWED", 1_000)
    client, server = rewriting_pair()
    client.data_received(Query("COPY t FROM STDIN"))
    server.data_received(COPY_IN)

    assert say_until_refused(client, Sync() * 100, 50) == 10


def test_a_copy_with_as_many_syncs_as_drivers_send_is_none_of_that() -> None:
    world = World(pool_size=1)
    client, server = world.add_client(), world.add_server()
    client.data_received(Query("COPY t FROM STDIN"))
    server.data_received(COPY_IN)

    client.data_received(Sync() * 10_000 + CopyDone())
    server.data_received(message("C", b"COPY 0\0") + ReadyForQuery())

    assert not client.session.owed
    assert state_of(server) == "IDLE"


def test_promise_4_who_prepares_and_closes_without_end_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Parse of a statement that the server has, and Close, are answered by us. Behind a message
    that PostgreSQL answers at the next Sync only, they stayed, each with what would undo it.
    """
    monkeypatch.setattr(outstanding, "MAX_CHANGES", 1_000)
    client, server = rewriting_pair()
    client.data_received(Parse("SELECT 1", "a") + Sync())
    server.data_received(PARSE_COMPLETE + ReadyForQuery())
    client.data_received(Parse("SELECT 2"))  # PostgreSQL keeps the answer until a Sync or Flush

    assert say_until_refused(client, (CloseStatement("a") + Parse("SELECT 1", "a")) * 50, 50) == 10
    assert b"C54000\0Mtoo many messages without a Sync" in transport_of(client).written


def test_promise_4_who_closes_names_without_end_in_one_segment_is_refused() -> None:
    """A segment remembers the names that it changes until its Sync. With each name the set of
    them was copied: a client who closed 45,000 unknown names held everybody up for a minute.
    """
    client, _ = rewriting_pair()
    client.data_received(Parse("SELECT 1", "a"))
    numbers = count()

    while state_of(client) != "CLOSED":
        client.data_received(
            b"".join(CloseStatement(f"{next(numbers)}{'x' * 1_000}") for _ in range(100))
        )

    assert 14_000 <= next(numbers) <= 16_000  # long after what anybody needs
    assert b"C54000\0Mtoo many messages without a Sync" in transport_of(client).written


def test_many_names_in_one_segment_are_taken_in_one_look_each() -> None:
    """As above: the same must stay possible, and take a moment."""
    client, server = rewriting_pair()

    client.data_received(b"".join(CloseStatement(f"n{number}") for number in range(20_000)))
    client.data_received(Sync())
    server.data_received(ReadyForQuery())

    assert transport_of(client).written == CLOSE_COMPLETE * 20_000 + ReadyForQuery()


def test_who_has_too_much_in_flight_waits_until_it_is_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a Sync is in flight, answers will come: an honest client is not closed, but waits."""
    monkeypatch.setattr(outstanding, "MAX_CHANGES", 10)
    client, server = rewriting_pair()
    batch = b"".join(Parse(f"SELECT {number}") for number in range(12)) + Sync()
    client.data_received(batch)
    client.data_received(Parse("SELECT 'later'") + Sync())
    before = transport_of(server).written

    server.data_received(PARSE_COMPLETE * 12 + ReadyForQuery())

    assert before == batch
    assert transport_of(server).written == batch + Parse("SELECT 'later'") + Sync()


def test_unknown_names_are_explained_a_thousand_times_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each Bind of an unknown name kept a ready explanation of 1 KB behind a query that takes long,
    for messages of 20 bytes.
    """
    monkeypatch.setattr(outstanding, "MAX_ERRORS", 10)
    client, server = rewriting_pair()
    client.data_received(Query("SELECT pg_sleep(60)"))
    refused = (Bind(statement="unknown") + Sync()) * 4

    for _ in range(50):
        client.data_received(refused)

    assert transport_of(server).written.count(Sync()) == 12
    assert state_of(client) == "ACTIVE"


def test_many_answers_of_ours_between_a_servers_are_put_in_one_by_one() -> None:
    """For each message that was taken out of a read, all pieces before it were copied: a read of
    255 KB took seven seconds.
    """
    client, server = rewriting_pair(limit=1)
    client.data_received(Parse("SELECT 1", "a") + Parse("SELECT 2", "b") + Sync())
    server.data_received(PARSE_COMPLETE + CLOSE_COMPLETE + PARSE_COMPLETE + ReadyForQuery())
    before = len(transport_of(client).written)
    for _ in range(20):
        client.data_received((Bind(statement="a") + Bind(statement="b")) * 400)

    server.data_received((CLOSE_COMPLETE + PARSE_COMPLETE + BIND_COMPLETE) * 16_000)

    assert transport_of(client).written[before:] == BIND_COMPLETE * 16_000
    assert not client.session.owed


def test_a_long_parse_that_comes_byte_by_byte_is_looked_at_now_and_then() -> None:
    """A Parse of a name is held whole, up to 4 MB. Each read of one byte copied all that was held,
    so that a client who sent a byte at a time kept the pooler busy with ten packets a millisecond.
    """
    client, server = rewriting_pair()
    said = Parse("x" * 1_000_000, "a") + Sync()
    client.data_received(said[:-1_000])
    assert client.session.rewriter is not None
    held = client.session.tail

    for pos in range(len(said) - 1_000, len(said) - 6):
        client.data_received(said[pos : pos + 1])

    assert client.session.tail is held  # the very object: nothing was put together meanwhile
    client.data_received(said[-6:])
    assert transport_of(server).written == Parse("x" * 1_000_000, "PGBOUNCER_1") + Sync()


def test_a_bind_whose_name_comes_late_goes_on_in_time() -> None:
    """What is held is looked at again when as much has come again, or the message is whole."""
    client, server = rewriting_pair()
    said = Bind("v" * 20_000, statement="") + Flush()

    for pos in range(0, len(said), 3):
        client.data_received(said[pos : pos + 3])

    assert transport_of(server).written.endswith(said[-100:])
