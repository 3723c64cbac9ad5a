"""Which literals of a program look like SQL, and where they stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.operate.literals import (
    GO,
    JAVA,
    JAVASCRIPT,
    LANGUAGES,
    PHP,
    PYTHON,
    RUBY,
    Language,
    sql_texts,
)


def found(source: str, language: Language) -> list[str]:
    """Return the texts with white space collapsed; each must stand where it says."""
    data = source.encode()
    texts = list(sql_texts(data, language))
    assert all(data[text.place(at)] == text.sql[at] for text in texts for at in range(5))
    return [" ".join(text.sql.decode().split()) for text in texts]


@pytest.mark.parametrize(
    ("language", "source"),
    [
        (PYTHON, "f('SELECT 1')"),
        (PYTHON, 'f("""\nSELECT 1\n""")'),
        (PYTHON, "f('''SELECT 1''')"),
        (PYTHON, "rf'SELECT 1'"),
        (PYTHON, "x = 'it' # don't\nf('SELECT 1')"),
        (PYTHON, "x = 'open\nf('SELECT 1')"),
        (JAVASCRIPT, "sql`SELECT 1`"),
        (JAVASCRIPT, "// don't\nq('SELECT 1') /* ' */"),
        (JAVASCRIPT, 'q("SELECT 1")'),
        (GO, "db.Exec(`SELECT 1`)"),
        (GO, 'x := \'"\'; db.Exec("SELECT 1")'),
        (JAVA, 's.execute("""\n  SELECT 1\n""");'),
        (JAVA, 's.execute("SELECT 1");'),
        (RUBY, "execute 'SELECT 1' # it's"),
        (RUBY, 'execute "\nSELECT 1"'),
        (RUBY, "execute <<~SQL\n  SELECT 1\nSQL\n"),
        (RUBY, "execute(<<-'SQL', x)\n  SELECT 1\n  SQL\n"),
        (PHP, "$db->query('SELECT 1'); // it's"),
        (PHP, "$db->query(<<<SQL\nSELECT 1\nSQL);"),
        (PHP, "$db->query(<<<'SQL'\n  SELECT 1\n  SQL);"),
    ],
)
def test_a_literal_is_found_in_each_language(language: Language, source: str) -> None:
    assert found(source, language) == ["SELECT 1"]


@pytest.mark.parametrize(
    ("language", "source"),
    [
        (PYTHON, "('SELECT 1 '  # why\n  f'FROM t')"),
        (PYTHON, "'SELECT 1 ' + \\\n 'FROM t'"),
        (JAVASCRIPT, "'SELECT 1 ' +\n 'FROM t'"),
        (GO, '"SELECT 1 " +\n "FROM t"'),
        (JAVA, '"SELECT 1 " // why\n + "FROM t"'),
        (RUBY, "'SELECT 1 ' \\\n 'FROM t'"),
        (PHP, "'SELECT 1 ' .\n 'FROM t'"),
    ],
)
def test_neighbouring_literals_are_one_text(language: Language, source: str) -> None:
    assert found(source, language) == ["SELECT 1 FROM t"]


def test_long_comments_between_literals_are_given_up_at_once() -> None:
    # With a pattern that tries again, each word of the comment would double the time.
    comments = "# r # u # b # f" * 200

    assert found(f"f('SELECT 1', {comments}\n g('SELECT 2')", PYTHON) == ["SELECT 1", "SELECT 2"]


def test_literals_with_code_between_them_are_two_texts() -> None:
    assert found("f('SELECT 1', 'SELECT 2')", PYTHON) == ["SELECT 1", "SELECT 2"]


@pytest.mark.parametrize(
    "source",
    [
        "# 'SELECT 1'",
        "'nothing SELECT 1'",
        "'Set x to 1'",
        "'set status to active'",
        "'set role and rights'",
        "'Listen to this'",
        "'LISTEN AND LEARN'",
        "'Load \\'x\\''",
        "'Prepare for landing as usual'",
        "'begin'",
        "'discard all hope'",
        "'declare victory'",
        "'create table t (a int)'",
    ],
)
def test_what_reads_like_english_is_no_sql(source: str) -> None:
    assert found(source, PYTHON) == []


@pytest.mark.parametrize(
    "sql",
    [
        "SET x = 1",
        "SET LOCAL {name} TO x",
        "set search_path to x",
        "set session app.x = 1",
        "set role admin",
        "SET LOCAL ROLE {name};",
        "set session authorization 'a'",
        "Set time zone 'UTC'",
        "set session characteristics as transaction read only",
        "(select 1)",
        "/* why */ with a as (select 1) select 2",
        "create temp table t (a int)",
        "CREATE OR REPLACE TEMPORARY VIEW v AS SELECT 1",
        "create table if not exists pg_temp.t (a int)",
        "declare c cursor with hold for select 1",
        "BEGIN; SET x = 1; COMMIT",
        "DISCARD ALL",
        "discard all;",
        "LISTEN jobs",
        "LISTEN jobs;",
        "LOAD 'x'",
        "PREPARE p (int) AS SELECT $1",
    ],
)
def test_what_can_break_a_rule_is_sql(sql: str) -> None:
    assert found(f'"""{sql}"""', PYTHON) == [sql]


def test_escapes_are_read_and_places_kept() -> None:
    source = rb'f("\nSELECT \"a\" \\ " + "\tLOAD")'

    (text,) = sql_texts(source, JAVASCRIPT)

    assert text.sql == b'\nSELECT "a" \\ \tLOAD'
    assert source[text.place(text.sql.index(b"LOAD")) :] == b'LOAD")'


def test_a_raw_literal_of_go_knows_no_escapes() -> None:
    (text,) = sql_texts(rb"`SELECT '\n'`", GO)

    assert text.sql == rb"SELECT '\n'"


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)
@pytest.mark.parametrize("source", [b"'", b'"""', b"`x", b"/*", b"<<~SQL\nx", b"\\", b"\xff'\xff'"])
def test_a_program_that_is_cut_off_has_no_texts(language: Language, source: bytes) -> None:
    assert list(sql_texts(source, language)) == []


# What begins, ends and joins literals, to be put together at random.
PIECES = [
    *("'", '"', '"""', "`", "\\", "\\n", "\n", "#", "//", "/*", "*/", "+", ".", "f", "<<~SQL\n"),
    *("<<<SQL\n", "SQL", "SELECT 1", "SET x_y = 1", " ", "é", "${x}", "\x00"),
]


@given(
    st.lists(st.sampled_from(PIECES), max_size=30).map("".join),
    st.sampled_from(sorted(LANGUAGES)),
)
def test_any_program_has_texts_that_stand_where_they_say(source: str, suffix: str) -> None:
    data = source.encode()

    for text in sql_texts(data, LANGUAGES[suffix]):
        places = [text.place(at) for at in range(len(text.sql))]
        assert places == sorted(set(places))
        assert places[-1] < len(data)
