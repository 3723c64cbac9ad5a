"""Watched connections: what is a leak, who is told, where the NOTICE stands, and who is spared."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from pgpool_lite.config import SessionLeaks, Settings
from pgpool_lite.proxy.client_connection import ClientConnection
from pgpool_lite.proxy.guarded import GuardedClientConnection, GuardedServerConnection
from pgpool_lite.proxy.server_connection import ServerConnection
from pgpool_lite.proxy.watched import (
    WatchedClientConnection,
    WatchedServerConnection,
    client_class,
    renew,
    server_class,
)
from pgpool_lite.session.refusing import RefusingWatch
from tests.unit.watching import Watched, heard
from tests.unit.world import state_of, transport_of
from tests.wire_messages import (
    Bind,
    CommandComplete,
    CopyData,
    DataRow,
    ErrorResponse,
    Execute,
    Parse,
    Query,
    ReadyForQuery,
    Sync,
    Terminate,
    message,
)

SET = "SET search_path TO tenant_42"
STAYS = "N NOTICE 00000 PL001: search_path = tenant_42 stays on a server connection that is shared"
DONE = CommandComplete("SET") + ReadyForQuery()
IN_BLOCK = CommandComplete("SET") + ReadyForQuery("T")
FAILED = ErrorResponse("no") + ReadyForQuery()
PREPARED = message("1") + message("2") + CommandComplete("SET") + ReadyForQuery()


# --- what is a leak ---


def test_a_set_outside_of_a_block_is_one_once_it_is_answered() -> None:
    watched = Watched()
    client, server = watched.add_client(), watched.add_server()

    assert watched.ask(client, SET, answer=DONE) == [STAYS, "C SET", "Z I"]
    assert watched.names(server) == ["search_path"]


def test_a_set_that_fails_is_none() -> None:
    watched = Watched()
    client, server = watched.add_client(), watched.add_server()

    assert watched.ask(client, SET, answer=FAILED) == ["E ERROR XX000 no", "Z I"]
    assert watched.entries(server) == []


def test_in_a_block_it_is_one_when_the_block_commits() -> None:
    watched = Watched()
    client, server = watched.add_client(), watched.add_server()

    watched.ask(client, "BEGIN", answer=CommandComplete("BEGIN") + ReadyForQuery("T"))
    assert watched.ask(client, SET, answer=IN_BLOCK) == ["C SET", "Z T"]
    answer = CommandComplete("COMMIT") + ReadyForQuery()
    assert watched.ask(client, "COMMIT", answer=answer) == [STAYS, "C COMMIT", "Z I"]
    assert watched.names(server) == ["search_path"]


@pytest.mark.parametrize(
    "end", [CommandComplete("ROLLBACK") + ReadyForQuery(), FAILED], ids=["rolled back", "failed"]
)
def test_in_a_block_that_does_not_commit_it_is_none(end: bytes) -> None:
    watched = Watched()
    client, server = watched.add_client(), watched.add_server()

    watched.ask(client, "BEGIN", answer=CommandComplete("BEGIN") + ReadyForQuery("T"))
    watched.ask(client, SET, answer=IN_BLOCK)
    watched.ask(client, "COMMIT", answer=end)

    assert watched.entries(server) == []
    assert watched.ask(client, "SELECT 1")[0] == "C SET"  # nothing is told late either


def test_a_session_lock_survives_a_rollback_and_a_setting_does_not() -> None:
    watched = Watched()
    client, server = watched.add_client(), watched.add_server()

    watched.ask(client, "BEGIN", answer=CommandComplete("BEGIN") + ReadyForQuery("T"))
    watched.ask(client, "SELECT pg_advisory_lock(42); " + SET, answer=IN_BLOCK)
    watched.ask(client, "ROLLBACK", answer=CommandComplete("ROLLBACK") + ReadyForQuery())

    assert watched.names(server) == ["42"]


def test_rollback_to_a_savepoint_takes_back_what_came_since() -> None:
    watched = Watched()
    client, server = watched.add_client(), watched.add_server()

    watched.ask(client, "BEGIN", answer=CommandComplete("BEGIN") + ReadyForQuery("T"))
    watched.ask(client, "SET lock_timeout = 1", answer=IN_BLOCK)
    watched.ask(client, "SAVEPOINT a", answer=CommandComplete("SAVEPOINT") + ReadyForQuery("T"))
    watched.ask(client, SET, answer=IN_BLOCK)
    back = CommandComplete("ROLLBACK") + ReadyForQuery("T")
    watched.ask(client, "ROLLBACK TO a", answer=back)
    watched.ask(client, "COMMIT", answer=CommandComplete("COMMIT") + ReadyForQuery())

    assert watched.names(server) == ["lock_timeout"]


def test_a_released_savepoint_is_no_mark_any_more() -> None:
    watched = Watched()
    client, server = watched.add_client(), watched.add_server()

    watched.ask(client, "BEGIN", answer=CommandComplete("BEGIN") + ReadyForQuery("T"))
    watched.ask(client, "SET lock_timeout = 1", answer=IN_BLOCK)
    watched.ask(client, "SAVEPOINT a", answer=CommandComplete("SAVEPOINT") + ReadyForQuery("T"))
    watched.ask(client, "RELEASE a", answer=CommandComplete("RELEASE") + ReadyForQuery("T"))
    back = CommandComplete("ROLLBACK") + ReadyForQuery("T")
    watched.ask(client, "ROLLBACK TO b", answer=back)
    watched.ask(client, "COMMIT", answer=CommandComplete("COMMIT") + ReadyForQuery())

    assert watched.entries(server) == []


def test_several_statements_of_one_query_that_ends_a_block_and_begins_one() -> None:
    watched = Watched()
    client, server = watched.add_client(), watched.add_server()

    watched.ask(client, "BEGIN; " + SET, answer=IN_BLOCK)
    tags = CommandComplete("ROLLBACK") + CommandComplete("BEGIN") + CommandComplete("SET")
    watched.ask(client, "ROLLBACK; BEGIN; SET lock_timeout = 1", answer=tags + ReadyForQuery("T"))
    watched.ask(client, "COMMIT", answer=CommandComplete("COMMIT") + ReadyForQuery())

    assert watched.names(server) == ["lock_timeout"]


@pytest.mark.parametrize(
    "text",
    [
        "SET LOCAL search_path TO a",
        "SET application_name = 'follows its client'",
        "SELECT pg_advisory_xact_lock(42)",
        "CREATE TEMP TABLE t (a int) ON COMMIT DROP",
        "SELECT 'SET search_path TO a'",
    ],
)
def test_what_looks_like_one_and_is_none(text: str) -> None:
    watched = Watched()
    client, server = watched.add_client(), watched.add_server()

    assert watched.ask(client, text) == ["C SET", "Z I"]
    assert watched.entries(server) == []


def test_of_pipelined_queries_each_answer_counts_for_its_own() -> None:
    watched = Watched()
    client, server = watched.add_client(), watched.add_server()

    watched.ask(
        client, "SELECT 1", SET, "SET lock_timeout = x", "SELECT 1", answer=DONE + DONE + FAILED
    )

    assert watched.names(server) == ["search_path"]
    server.data_received(DONE)
    assert state_of(server) == "IDLE"


def test_what_the_client_takes_back_is_gone() -> None:
    watched = Watched()
    client, server = watched.add_client(), watched.add_server()

    watched.ask(client, SET)
    watched.ask(client, "SELECT pg_advisory_lock(1)")
    watched.ask(client, "RESET search_path")
    assert watched.names(server) == ["1"]
    watched.ask(client, "DISCARD ALL")

    assert server.session.ledger is None


# --- prepared statements ---


@pytest.mark.parametrize("name", ["", "s1"])
def test_a_prepared_statement_leaves_something_when_it_is_run(name: str) -> None:
    watched = Watched()
    client, server = watched.add_client(), watched.add_server()

    watched.ask(client, Parse(SET, name), Sync(), answer=message("1") + ReadyForQuery())
    assert watched.entries(server) == []
    answer = message("2") + CommandComplete("SET") + ReadyForQuery()
    told = watched.ask(client, Bind(statement=name), Execute(), Sync(), answer=answer)

    assert told == [STAYS, "2", "C SET", "Z I"]
    assert watched.names(server) == ["search_path"]


def test_another_statement_of_the_same_name_leaves_what_it_leaves() -> None:
    watched = Watched()
    client, server = watched.add_client(), watched.add_server()

    watched.ask(client, Parse(SET), Sync(), answer=message("1") + ReadyForQuery())
    watched.ask(client, Parse("SELECT 1"), Bind(), Execute(), Sync(), answer=PREPARED)

    assert watched.entries(server) == []


def test_one_segment_is_one_transaction() -> None:
    watched = Watched()
    client, server = watched.add_client(), watched.add_server()
    batch = [Parse(SET), Bind(), Execute(), Parse("SELECT 1/0"), Bind(), Execute(), Sync()]

    answer = message("1") + message("2") + CommandComplete("SET") + FAILED
    watched.ask(client, *batch, answer=answer)

    assert watched.entries(server) == []


def test_with_statements_mapped_to_servers_it_is_the_same() -> None:
    watched = Watched(rewrites=True)
    client, server = watched.add_client(), watched.add_server()

    told = watched.ask(
        client, Parse(SET, "a"), Bind(statement="a"), Execute(), Sync(), answer=PREPARED
    )

    assert told[0] == STAYS
    assert watched.names(server) == ["search_path"]


# --- the stream ---


def test_a_harmless_read_goes_on_as_the_object_it_was() -> None:
    watched = Watched()
    client, server = watched.add_client(), watched.add_server()
    reads = [Query("SELECT 1"), Parse("SELECT 1") + Bind() + Execute() + Sync()]

    for read in reads:
        watched.ask(client, read, answer=DONE)

    assert [id(write) for write in transport_of(server).writes] == [id(read) for read in reads]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20])
def test_a_set_is_found_wherever_the_read_ends(size: int) -> None:
    watched = Watched()
    client, server = watched.add_client(), watched.add_server()
    data = Query("BEGIN") + Query(SET) + Query("COMMIT")

    for start in range(0, len(data), size):
        client.data_received(data[start : start + size])
    begun = CommandComplete("BEGIN") + ReadyForQuery("T")
    answer = begun + IN_BLOCK + CommandComplete("COMMIT") + ReadyForQuery()
    for start in range(0, len(answer), size):
        server.data_received(answer[start : start + size])

    assert transport_of(server).written == data
    assert watched.names(server) == ["search_path"]
    assert sorted(heard(client)) == sorted(
        [STAYS, "C BEGIN", "Z T", "C SET", "Z T", "C COMMIT", "Z I"]
    )


def test_a_notice_never_stands_inside_a_message() -> None:
    watched = Watched()
    client, server = watched.add_client(), watched.add_server()
    row = DataRow("x" * 100)

    client.data_received(Query("SELECT set_config('a.b', 'c', false)"))
    server.data_received(row[:50])
    server.data_received(row[50:] + DONE)

    assert heard(client) == [
        "D <100 bytes>",
        "C SET",
        "Z I",
        "N NOTICE 00000 PL002: a.b = c stays on a server connection that is shared",
    ]


def test_a_statement_of_megabytes_is_judged_by_its_head_and_streamed() -> None:
    watched = Watched()
    client, server = watched.add_client(), watched.add_server()
    data = Query(SET + " -- " + "x" * 3_000_000)

    for start in range(0, len(data), 262_144):
        client.data_received(data[start : start + 262_144])
    assert transport_of(server).written == data
    server.data_received(DONE)

    assert watched.names(server) == ["search_path"]
    assert len(watched.entries(server)[0].culprit.statement) == 200


def test_a_statement_that_is_not_utf_8_is_told_of_with_replacements() -> None:
    watched = Watched()
    client, server = watched.add_client(), watched.add_server()

    told = watched.ask(client, message("Q", b"SET a.b = '\xff\xfe'\0"))

    assert told[0].startswith("N NOTICE 00000 PL001: a.b = ")
    assert watched.names(server) == ["a.b"]


def test_a_length_that_no_message_has_closes_the_client_as_ever() -> None:
    watched = Watched()
    client, server = watched.add_client(), watched.add_server()

    client.data_received(b"Q\0\0\0\1junk")

    assert (state_of(client), state_of(server)) == ("CLOSED", "IDLE")


def test_copy_data_passes_unseen_however_it_looks() -> None:
    watched = Watched()
    client, server = watched.add_client(), watched.add_server()

    client.data_received(Query("COPY t FROM STDIN"))
    server.data_received(message("G", b"\0\0\0"))
    client.data_received(CopyData(Query(SET) * 9)[:60])
    client.data_received(CopyData(Query(SET) * 9)[60:])
    client.data_received(message("c"))
    server.data_received(CommandComplete("COPY 1") + ReadyForQuery())

    assert watched.entries(server) == []
    assert state_of(server) == "IDLE"


# --- who is told ---


def test_a_client_is_told_of_each_rule_once() -> None:
    watched = Watched()
    client, _ = watched.add_client(), watched.add_server()

    assert watched.ask(client, SET)[0] == STAYS
    assert watched.ask(client, "SET lock_timeout = 1") == ["C SET", "Z I"]
    assert watched.ask(client, "LISTEN c")[0].startswith("N NOTICE 00000 PL011: channel c stays")
    assert watched.ask(watched.add_client(), SET)[0] == STAYS


def test_the_log_names_culprit_and_victim(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched()
    a, b, _ = watched.add_client(), watched.add_client(), watched.add_server()
    caplog.set_level(logging.WARNING, "pgpool_lite")

    watched.ask(a, SET + " /*route='%2Forders',controller='orders'*/")
    watched.world.clock.now += 185
    watched.ask(b, "SELECT now()")

    assert [record.getMessage().split(" ", 2)[2] for record in caplog.records] == [
        f"session_leaks: PL001 search_path = tenant_42, `{SET}"
        " /*route='%2Forders',controller='orders'*/`",
        "session_leaks: PL001 ran with search_path = tenant_42, left by client"
        f" C-0x{a.session.id:x} (127.0.0.1:5432, route=/orders controller=orders), 3 minutes ago,"
        f" `{SET} /*route='%2Forders',controller='orders'*/`",
    ]


def test_the_first_victim_is_kept_and_the_culprit_is_none() -> None:
    watched = Watched()
    a, b, c = watched.add_client(), watched.add_client(), watched.add_client()
    server = watched.add_server()

    watched.ask(a, SET)
    watched.ask(a, "SELECT 1")
    assert watched.entries(server)[0].victim is None
    watched.ask(b, "TABLE t")
    watched.ask(c, "SELECT 3")

    victim = watched.entries(server)[0].victim
    assert victim is not None
    assert (victim.client_id, victim.statement) == (b.session.id, "TABLE t")


def test_what_must_be_named_to_be_noticed_finds_its_victim_by_name() -> None:
    watched = Watched()
    a, b, server = watched.add_client(), watched.add_client(), watched.add_server()

    watched.ask(a, "CREATE TEMP TABLE orders (a int)")
    watched.ask(b, "SELECT * FROM reorders")
    assert watched.entries(server)[0].victim is None
    watched.ask(b, Parse("SELECT * FROM orders"), Bind(), Execute(), Sync(), answer=PREPARED)

    victim = watched.entries(server)[0].victim
    assert victim is not None
    assert victim.statement == "SELECT * FROM orders"


def test_a_client_that_had_to_wait_is_a_victim_too() -> None:
    watched = Watched()
    a, b, server = watched.add_client(), watched.add_client(), watched.add_server()

    a.data_received(Query(SET))
    b.data_received(Query("TABLE t"))
    server.data_received(DONE)

    victim = watched.entries(server)[0].victim
    assert victim is not None
    assert (victim.client_id, victim.statement) == (b.session.id, "TABLE t")


# --- advisory locks ---


def test_an_unlock_that_reaches_another_server_names_both_sides() -> None:
    watched = Watched()
    a, b = watched.add_client(), watched.add_client()
    first, second = watched.add_server(), watched.add_server()

    watched.ask(a, "SELECT pg_advisory_lock(42)")  # on the second, which came last
    b.data_received(Query("SELECT pg_sleep(9)"))
    assert b.session.server is second.session
    warning = message("N", b"SWARNING\0C01000\0Myou don't own a lock\0RLockRelease\0\0")
    told = watched.ask(a, "SELECT pg_advisory_unlock(42)", answer=warning + DONE)

    assert a.session.server is None
    assert watched.names(second) == ["42"]
    assert [each for each in told if "its unlock arrived on another" in each] == [
        "N NOTICE 00000 PL005: an advisory lock is held by one server connection, and its unlock"
        " arrived on another"
    ]
    said = transport_of(a).written.decode("utf-8", "replace")
    assert f"arrived on server connection S-0x{first.session.id:x}" in said
    assert f"held on server connection S-0x{second.session.id:x}" in said
    assert "use the direct URL" in said


def test_a_stray_unlock_of_a_lock_that_nobody_has_says_so() -> None:
    watched = Watched()
    client, _ = watched.add_client(), watched.add_server()
    warning = message("N", b"SWARNING\0C01000\0Myou don't own a lock\0RLockRelease\0\0")

    watched.ask(client, "SELECT pg_advisory_unlock(42)", answer=warning + DONE)

    assert "holds it is not known" in transport_of(client).written.decode("utf-8", "replace")


# --- who pays ---


@pytest.mark.parametrize(
    ("mode", "settings", "client", "server"),
    [
        (SessionLeaks.OFF, Settings(), ClientConnection, ServerConnection),
        (SessionLeaks.WARN, Settings(), WatchedClientConnection, WatchedServerConnection),
        (
            SessionLeaks.OFF,
            Settings(max_packet_size=99),
            GuardedClientConnection,
            GuardedServerConnection,
        ),
        (
            SessionLeaks.PIN,
            Settings(max_packet_size=99),
            WatchedClientConnection,
            WatchedServerConnection,
        ),
    ],
)
def test_connections_are_watched_only_where_that_is_wanted(
    mode: SessionLeaks,
    settings: Settings,
    client: type[ClientConnection],
    server: type[ServerConnection],
) -> None:
    pool = Watched(mode).pool

    assert client_class(settings, pool) is client
    assert server_class(settings, pool) is server


def test_a_client_at_rest_gets_another_connection_where_its_pool_watches_otherwise() -> None:
    watched = Watched()
    client, _ = watched.add_client(), watched.add_server()
    watched.ask(client, Parse(SET, "s"), Bind(statement="s"), Execute(), Sync())
    session, pool, told = client.session, watched.pool, client.session.watch
    assert told is not None

    def follow(mode: SessionLeaks, *, is_at_rest: bool = True) -> bool:
        pool.rules = replace(pool.rules, session_leaks=mode)
        connection = session.connection
        assert isinstance(connection, ClientConnection)
        return renew(connection, watched.world.dispatcher, is_at_rest=is_at_rest)

    assert follow(SessionLeaks.PIN, is_at_rest=False)
    assert (session.connection, session.watch) == (client, told)
    assert not follow(SessionLeaks.ERROR, is_at_rest=False)
    assert follow(SessionLeaks.ERROR)
    assert isinstance(session.watch, RefusingWatch)
    assert session.watch.told == {"PL001"}
    session.watch.look(Query("SELECT")[:8])
    assert not follow(SessionLeaks.OFF)
    session.watch.look(Query("SELECT")[8:])
    assert follow(SessionLeaks.OFF)
    assert not isinstance(session.connection, WatchedClientConnection)
    assert follow(SessionLeaks.WARN)
    assert isinstance(session.connection, WatchedClientConnection)
    assert not isinstance(client.session.watch, RefusingWatch)


def test_a_replication_client_is_not_watched() -> None:
    assert client_class(Settings(), Watched().pool, is_watched=False) is ClientConnection


def test_guarded_connections_are_watched_and_guarded() -> None:
    watched = Watched(max_packet_size=100)
    a, b, server = watched.add_client(), watched.add_client(), watched.add_server()

    a.data_received(Query(SET))
    b.data_received(Query("SELECT 1"))
    server.data_received(DONE + DONE[:0])
    server.data_received(DONE)
    b.data_received(Query("x" * 100))

    assert watched.names(server) == ["search_path"]
    assert heard(b)[-1].startswith("E FATAL 08P01 bad packet header")


def test_a_client_that_leaves_at_once_leaves_what_it_has_set() -> None:
    watched = Watched()
    client, server = watched.add_client(), watched.add_server()

    watched.ask(client, SET)
    client.data_received(Terminate())

    assert (state_of(client), state_of(server)) == ("CLOSED", "IDLE")
    assert watched.names(server) == ["search_path"]
