"""Which statements exist, who has them, and when are they forgotten?"""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.session.statements import (
    ClientStatements,
    ServerStatements,
    Statement,
    StatementRegistry,
)


def key_of(sql: str, *types: int) -> bytes:
    """Return what a Parse says behind the statement's name."""
    return sql.encode() + b"\0" + struct.pack(f"!h{len(types)}I", len(types), *types)


ONE, TWO = key_of("SELECT 1"), key_of("SELECT 2")


class Books:
    """A registry, one client, one server."""

    def __init__(self) -> None:
        self.registry = StatementRegistry()
        self.client = ClientStatements(self.registry)
        self.server = ServerStatements(self.registry)

    def statement(self, key: bytes = ONE) -> Statement:
        return self.registry.find_or_make(key)


def test_a_text_and_its_types_make_one_statement() -> None:
    books = Books()

    first = books.statement(key_of("SELECT $1", 23))

    assert books.statement(key_of("SELECT $1", 23)) is first
    assert books.statement(key_of("SELECT $1", 25)) is not first
    assert books.statement(key_of("SELECT $1")) is not first


def test_a_statement_shows_its_text_and_types() -> None:
    statement = Books().statement(key_of("SELECT $1, 'é'", 23, 0))

    assert (statement.text, statement.type_oids) == ("SELECT $1, 'é'", [23, 0])


def test_names_for_servers_are_never_used_again() -> None:
    books = Books()
    first = books.statement()
    books.client.add(b"a", first)
    books.client.remove(b"a")

    assert (first.name, books.statement().name) == (b"PGBOUNCER_1", b"PGBOUNCER_2")


def test_a_statement_that_a_client_has_is_kept_and_then_forgotten() -> None:
    books = Books()
    books.client.add(b"a", books.statement())
    assert len(books.registry) == 1

    books.client.remove(b"a")

    assert len(books.registry) == 0


def test_a_statement_that_only_a_server_has_is_kept_and_then_forgotten() -> None:
    books = Books()
    statement = books.statement()
    books.client.add(b"a", statement)
    books.server.add(statement)
    books.client.remove(b"a")
    assert books.registry.statements() == [statement]

    books.server.remove(statement)

    assert books.registry.statements() == []


def test_two_names_for_one_statement_count_twice() -> None:
    books = Books()
    statement = books.statement()
    books.client.add(b"a", statement)
    books.client.add(b"b", statement)

    books.client.remove(b"a")

    assert (statement.client_count, len(books.registry)) == (1, 1)


def test_the_size_of_a_client_is_that_of_its_names_and_texts() -> None:
    books = Books()
    books.client.add(b"name", books.statement())
    assert books.client.size == len(b"name") + len(ONE)

    books.client.clear()

    assert (books.client.size, books.client.names) == (0, {})


def test_removing_what_is_not_there_does_nothing() -> None:
    books = Books()

    assert books.client.remove(b"never") is None
    assert books.server.remove(books.statement()) is None


def test_a_server_has_a_statement_under_its_present_name_only() -> None:
    books = Books()
    statement = books.statement()
    books.server.add(statement)
    assert books.server.has(statement)

    books.registry.renew(statement)

    assert not books.server.has(statement)
    assert books.server.remove(statement) == b"PGBOUNCER_1"


def test_the_oldest_is_the_one_not_used_for_longest() -> None:
    books = Books()
    one, two = books.statement(ONE), books.statement(TWO)
    books.server.add(one)
    books.server.add(two)
    assert books.server.oldest() is one

    books.server.has(one)

    assert books.server.oldest() is two


def test_a_closed_server_has_nothing() -> None:
    books = Books()
    books.server.add(books.statement(ONE))
    books.server.add(books.statement(TWO))

    books.server.clear()

    assert (len(books.server.held), len(books.registry)) == (0, 0)


def test_a_stray_is_on_its_server_only() -> None:
    books = Books()
    stray = Statement(b"", b"mine")
    books.server.add(stray)
    name = books.server.remove(stray)
    assert name == b"mine"
    books.server.put_back(stray, name)
    assert books.server.oldest() is stray
    assert books.registry.statements() == []


def test_what_is_put_back_is_counted_again() -> None:
    books = Books()
    statement = books.statement()
    books.server.add(statement)
    name = books.server.remove(statement)
    assert name is not None

    books.server.put_back(statement, name)

    assert (statement.server_count, books.registry.statements()) == (1, [statement])
    assert books.server.has(statement)


@given(st.lists(st.tuples(st.sampled_from("cCsS"), st.sampled_from(["a", "b"]), st.booleans())))
def test_the_registry_has_exactly_what_somebody_has(actions: list[tuple[str, str, bool]]) -> None:
    books = Books()
    for action, name, is_first in actions:
        statement = books.statement(ONE if is_first else TWO)
        if action == "c" and name.encode() not in books.client.names:
            books.client.add(name.encode(), statement)
        elif action == "C":
            books.client.remove(name.encode())
        elif action == "s":
            books.server.add(statement)
        elif action == "S":
            books.server.remove(statement)
        books.registry.drop_unused(statement)

        assert set(books.registry.statements()) == {
            *books.client.names.values(),
            *books.server.held,
        }
