"""Does the model of PostgreSQL that unit tests speak to answer as the real one does?

Drawn conversations, written down in the model's words, are held with both: every kind of message in
any order, COPY first of all. Each ends in Terminate, so that all answers are there when the real
one hangs up.

    PGPOOL_LITE_TEST_EXAMPLES   how many conversations are tried, at random, instead of the usual
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pgpool_lite.dev.cluster import Cluster
from tests.integration.conftest import Connect, skip_where_queries_in_segments_fail
from tests.unit.model_postgres import BAD_ROW, ModelPostgres
from tests.wire_messages import (
    BackendMessage,
    Bind,
    CloseStatement,
    CopyData,
    CopyDone,
    CopyFail,
    DescribePortal,
    DescribeStatement,
    Execute,
    Flush,
    FunctionCall,
    Parse,
    Query,
    Sync,
    Terminate,
)

EXAMPLES = int(os.environ.get("PGPOOL_LITE_TEST_EXAMPLES", "0"))

TABLES = r"""
    CREATE DOMAIN model_row AS text CHECK (VALUE <> 'bad');
    CREATE TABLE model_rows (it model_row);
    CREATE TABLE model_checked (it model_row);
    CREATE VIEW model_view AS SELECT 'row' AS it;
    CREATE FUNCTION model_fail() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END';
    CREATE TRIGGER fails AFTER INSERT ON model_checked EXECUTE FUNCTION model_fail();
"""
CLEARING = "DROP TABLE model_rows, model_checked; DROP VIEW model_view; DROP DOMAIN model_row;"

#: The model's words in SQL; all others give a row.
SQL = {
    "BEGIN": "BEGIN",
    "COMMIT": "COMMIT",
    "ROLLBACK": "ROLLBACK",
    "FAIL": "DO $$BEGIN RAISE 'failed'; END$$",
    "SYNTAX": "SELEC",
    "COPY": "COPY model_rows FROM STDIN",
    "COPY VIEW": "COPY model_view FROM STDIN",
    "COPY CHECKED": "COPY model_checked FROM STDIN",
    "FAIL COPY": "COPY model_nowhere FROM STDIN",
    "COPY OUT": "COPY (SELECT 'row') TO STDOUT",
    "": "",
}
#: Of int4abs(int4), which has this oid in every version of PostgreSQL.
CALL = FunctionCall(1397, "-7")

Translate = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Said:
    """A message or some; `build` takes what turns words into SQL."""

    shown: str
    build: Callable[[Translate], bytes]

    def __repr__(self) -> str:
        return self.shown


def in_words(text: str) -> str:
    """Return the text as the model understands it."""
    return text


def in_sql(text: str) -> str:
    """Return the text as PostgreSQL understands it."""
    return ";".join(SQL.get(word, f"SELECT '{word}' AS it") for word in text.split(";"))


def query(text: str) -> Said:
    return Said(f"query({text!r})", lambda translate: Query(translate(text)))


def parse(text: str, name: str = "") -> Said:
    return Said(f"parse({text!r}, {name!r})", lambda translate: Parse(translate(text), name))


def run(text: str) -> Said:
    """Return the messages of a segment that runs one word, without its Sync."""
    return Said(f"run({text!r})", lambda translate: Parse(translate(text)) + Bind() + Execute())


def fixed(shown: str, data: bytes) -> Said:
    return Said(shown, lambda _: data)


SYNC = fixed("SYNC", Sync())
FLUSH = fixed("FLUSH", Flush())
ROW = fixed("ROW", CopyData(b"row\n"))
WRONG_ROW = fixed("WRONG_ROW", CopyData(BAD_ROW))
DONE = fixed("DONE", CopyDone())
FAIL = fixed("FAIL", CopyFail("no"))

COPIES = ("COPY", "COPY CHECKED", "COPY VIEW", "FAIL COPY")
WORDS = ("one", "FAIL", "SYNTAX", "COPY OUT", "", "BEGIN", "COMMIT", "ROLLBACK", *COPIES)
TEXTS = (
    "COPY;COPY",
    "COPY;two",
    "one;COPY",
    "COPY;FAIL;COPY",
    "COPY VIEW;COPY",
    "one;two",
    "COPY CHECKED;one",
    "COPY;SYNTAX",
)
RUNS = [run(word) for word in (*WORDS, *COPIES, *COPIES)]
QUERIES = [query(text) for text in (*WORDS, *COPIES, *TEXTS)]
PIECES = [
    *(parse(word, name) for word in ("one", "COPY", "SYNTAX", "FAIL") for name in ("", "s")),
    *(fixed(f"bind({name!r})", Bind(statement=name)) for name in ("", "s")),
    *(fixed(f"describe({name!r})", DescribeStatement(name)) for name in ("", "s")),
    fixed("DESCRIBE_PORTAL", DescribePortal()),
    *[fixed("EXECUTE", Execute())] * 2,
    fixed("CLOSE", CloseStatement("s")),
    fixed("CALL", CALL),
]
conversations = st.lists(
    st.one_of(
        *map(
            st.sampled_from,
            (
                [ROW, WRONG_ROW, WRONG_ROW],
                *[[DONE, DONE, FAIL]] * 2,
                *[[SYNC, SYNC, FLUSH]] * 2,
                RUNS,
                QUERIES,
                PIECES,
            ),
        )
    ),
    min_size=3,
    max_size=20,
)


@pytest.fixture
async def tables(postgres: Cluster) -> AsyncIterator[None]:
    """What the words of COPY are about."""
    with psycopg.connect(postgres.dsn(dbname="app"), autocommit=True) as connection:
        connection.execute(TABLES)
        yield
        connection.execute(CLEARING + "DROP FUNCTION model_fail")


def shown(data: bytes) -> list[str]:
    """Return a transcript without what the model leaves out: wording, types and numbers of rows."""
    lines = []
    while data:
        end = 1 + int.from_bytes(data[1:5], "big")
        message = BackendMessage(chr(data[0]), data[5:end])
        data = data[end:]
        lines.append(_shown(message))
    return lines


def _shown(message: BackendMessage) -> str:
    if message.type in "EN":
        return f"{message.type} {message.fields['S']}"
    if message.type == "C":
        return f"C {str(message).split(' ')[1]}"
    return message.type if message.type in "GHV" else str(message)


@settings(
    max_examples=EXAMPLES or 200,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(said=conversations)
@example([run("COPY VIEW"), SYNC, ROW, DONE, SYNC, query("one")])
@example([run("COPY"), SYNC, WRONG_ROW, SYNC, DONE, SYNC, query("one")])
@example([query("COPY;COPY"), DONE, SYNC, DONE, SYNC, query("one")])
async def test_the_model_answers_as_postgresql_does(
    tables: None, postgres: Cluster, connect: Connect, said: list[Said]
) -> None:
    client = await connect(postgres)
    skip_where_queries_in_segments_fail(client)
    model = ModelPostgres({})

    await client.send(*(each.build(in_sql) for each in said), Flush(), Terminate())

    expected = model.receive(b"".join(each.build(in_words) for each in said) + Terminate())
    assert shown(await client.bytes_until_closed()) == shown(expected)
