"""What a server was last asked: the read itself is kept, and only the one that begins a query."""

from __future__ import annotations

from pgpool_lite.session.statement_head import last_statement
from pgpool_lite.wire.backend import PARSE_COMPLETE
from tests.unit.pairs import WELCOME
from tests.unit.world import World
from tests.wire_messages import (
    Bind,
    CommandComplete,
    Execute,
    Parse,
    Query,
    ReadyForQuery,
    Sync,
)

SELECT = Query("SELECT 1")
BEGIN = Query("BEGIN")
IN_BLOCK = CommandComplete("BEGIN") + ReadyForQuery("T")
DONE = CommandComplete("SELECT 1") + ReadyForQuery()
NAMED = {**WELCOME, "application_name": "psql"}


def test_a_server_keeps_the_read_that_began_its_query() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()

    client.data_received(BEGIN)
    assert server.session.asked is BEGIN
    server.data_received(IN_BLOCK)
    assert server.session.asked is BEGIN
    client.data_received(SELECT)
    assert server.session.asked is SELECT


def test_what_is_asked_before_the_answer_has_come_is_not_what_a_server_does() -> None:
    world = World()
    client, server = world.add_client(), world.add_server()

    client.data_received(BEGIN)
    client.data_received(SELECT)

    assert server.session.asked is BEGIN


def test_what_a_waiting_client_asked_is_kept_once_it_has_its_server() -> None:
    world = World()
    holder, waiting, server = world.add_client(), world.add_client(), world.add_server()
    holder.data_received(SELECT)
    waiting.data_received(BEGIN)

    server.data_received(DONE)

    assert server.session.client is waiting.session
    assert server.session.asked == BEGIN


def test_a_query_behind_a_set_of_parameters_is_kept_without_it() -> None:
    world = World()
    client, server = world.add_client(NAMED), world.add_server()

    client.data_received(SELECT)

    assert server.session.asked is SELECT


def test_who_has_asked_a_server_for_nothing_is_not_shown_what_another_asked() -> None:
    """A Parse that the server has already is answered without it, but the two are linked."""
    world = World()
    first, second = world.add_client(rewrites=True), world.add_client(rewrites=True)
    server = world.add_server()
    first.data_received(Parse("SELECT 1", "s") + Sync())
    server.data_received(PARSE_COMPLETE + ReadyForQuery())

    second.data_received(Parse("SELECT 1", "s"))

    assert server.session.client is second.session
    assert last_statement(server.session) == ""


def test_a_prepared_statement_is_told_by_its_text() -> None:
    world = World()
    client, server = world.add_client(rewrites=True), world.add_server()
    client.data_received(Parse("SELECT 1", "s") + Sync())
    server.data_received(PARSE_COMPLETE + ReadyForQuery())

    client.data_received(Bind(statement="s") + Execute() + Sync())

    assert last_statement(server.session) == "SELECT 1"
