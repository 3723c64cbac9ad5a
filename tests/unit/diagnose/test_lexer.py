"""The lexer of SQL texts: what is a word, what is a constant, where a statement ends."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.diagnose.lexer import HEAD_LIMIT, TokenKind, statements, tokens

# Pieces that begin, end and nest everything the lexer knows, to be put together at random.
PIECES = [
    *(b"'", b"''", b'"', b'""', b"E'", b"\\", b"\\'", b"$$", b"$a$", b"$1", b"a$", b"/*", b"*/"),
    *(
        b"--",
        b"\n",
        b";",
        b"(",
        b")",
        b"SET ",
        b"begin ",
        b"atomic ",
        b"case ",
        b"end ",
        b"create ",
    ),
    *(b"\xff", b"\x00", b".", b"1e5", b"U&'", b"set_config", b",", b"false", b" ", b"-", b"/"),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join) | st.binary(max_size=60)


def seen(sql: bytes) -> list[tuple[str, bytes]]:
    return [(each.kind.value, each.text) for each in tokens(sql)]


def split(sql: bytes) -> list[bytes]:
    return [sql[each.start : each.end] for each in statements(sql)]


def test_a_word_is_folded_to_lower_case() -> None:
    assert seen(b"Select FOO_1$") == [("word", b"select"), ("word", b"foo_1$")]


def test_a_quoted_identifier_is_no_keyword_and_keeps_its_case() -> None:
    assert seen(b'"Set" "a""b"') == [("name", b"Set"), ("name", b'a"b')]


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        (b"'SET x'", b"SET x"),
        (b"'it''s'", b"it's"),
        (rb"'back\'", b"back\\"),
        (rb"E'it\'s'", b"it's"),
        (rb"e'a\\'", b"a\\"),
        (b"N'x'", b"x"),
        (b"U&'x'", b"x"),
        (b"$$a 'b' $1$$", b"a 'b' $1"),
        (b"$fn$a $$ b$fn$", b"a $$ b"),
        (b"'no end", b"no end"),
        (b"$a$ no end $b$", b" no end $b$"),
    ],
)
def test_a_constant_is_one_token(sql: bytes, value: bytes) -> None:
    assert seen(sql) == [("string", value)]


def test_a_dollar_in_a_word_begins_no_constant() -> None:
    assert seen(b"a$b$ c") == [("word", b"a$b$"), ("word", b"c")]


def test_a_parameter_is_no_dollar_quote() -> None:
    assert seen(b"$1,$2") == [("parameter", b"$1"), ("symbol", b","), ("parameter", b"$2")]


@pytest.mark.parametrize(
    "comment",
    [b"-- SET x\n", b"/* SET x */", b"/* a /* SET x */ b */", b"/* ' */", b"-- '\r\n", b"/**/"],
)
def test_a_comment_is_nothing(comment: bytes) -> None:
    assert seen(b"a" + comment + b" b") == [("word", b"a"), ("word", b"b")]


@pytest.mark.parametrize("unfinished", [b"/* SET x", b"/* /* */ SET x", b"-- SET x"])
def test_an_unfinished_comment_reaches_to_the_end(unfinished: bytes) -> None:
    assert seen(b"a " + unfinished) == [("word", b"a")]


def test_bytes_that_are_no_utf_8_are_letters() -> None:
    assert seen(b"caf\xe9 \xff\xfe") == [("word", b"caf\xe9"), ("word", b"\xff\xfe")]


def test_numbers_are_numbers() -> None:
    assert seen(b"1 2.5e7 .5 0x1f") == [
        ("number", each) for each in (b"1", b"2.5e7", b".5", b"0x1f")
    ]


def test_statements_end_at_semicolons_and_empty_ones_are_none() -> None:
    assert split(b";; BEGIN ; select ';' ; /* ; */ ; COMMIT") == [
        b"BEGIN",
        b"select ';'",
        b"COMMIT",
    ]


def test_a_semicolon_in_parentheses_ends_nothing() -> None:
    rule = b"CREATE RULE r AS ON INSERT TO t DO (NOTIFY a; NOTIFY b)"

    assert split(rule + b"; SELECT 1") == [rule, b"SELECT 1"]


def test_the_body_of_a_function_is_part_of_its_statement() -> None:
    function = (
        b"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC"
        b" SELECT CASE WHEN true THEN 1 END; SELECT 2; END"
    )

    assert split(function + b"; SET x = 1") == [function, b"SET x = 1"]


def test_a_transaction_begins_no_body() -> None:
    assert split(b"BEGIN; SELECT CASE 1 WHEN 1 THEN 2 END; END") == [
        b"BEGIN",
        b"SELECT CASE 1 WHEN 1 THEN 2 END",
        b"END",
    ]


def test_no_more_than_the_head_of_a_text_is_read() -> None:
    text = b"select '" + b"x" * HEAD_LIMIT + b"'; SET x = 1"

    assert [each.kind for each in tokens(text)] == [TokenKind.WORD, TokenKind.STRING]
    assert len(list(statements(text))) == 1


@given(TEXTS)
def test_every_text_has_tokens_in_order_that_do_not_overlap(sql: bytes) -> None:
    places = [(token.start, token.end) for token in tokens(sql)]

    assert all(start < end <= len(sql) for start, end in places)
    assert all(end <= start for (_, end), (start, _) in pairwise(places))


@given(TEXTS)
def test_white_space_behind_a_text_changes_no_token_but_an_unfinished_constant(sql: bytes) -> None:
    whole = list(tokens(sql))

    assert whole == [*tokens(sql + b"\n")][: len(whole)] or whole[-1].kind in (
        TokenKind.STRING,
        TokenKind.NAME,
    )


@given(TEXTS)
def test_statements_have_all_tokens_but_their_semicolons(sql: bytes) -> None:
    kept = [token for statement in statements(sql) for token in statement.tokens]
    left_out = [token for token in tokens(sql) if token not in kept]

    assert {token.text for token in left_out} <= {b";"}


@pytest.mark.parametrize(
    "piece",
    [b"/*", b"*/", b"'", b"''", b'"', b"$a$", b"$", b"(", b"a.", b"--", b"E'\\", b"\\", b"1"],
)
def test_the_worst_texts_are_read_in_as_many_steps_as_they_have_bytes(piece: bytes) -> None:
    text = (piece * HEAD_LIMIT)[:HEAD_LIMIT]

    assert len(list(tokens(text))) <= HEAD_LIMIT
