"""Which texts prepare, execute or deallocate a statement, by a look at their heads."""

from __future__ import annotations

import pytest

from pgpool_lite.session.sql_heads import HEAD_LIMIT, deallocated, word

WORDS = {
    b"DEALLOCATE a": "DEALLOCATE",
    b" \t\r\n deallocate a": "DEALLOCATE",
    b"Prepare a AS SELECT 1": "PREPARE",
    b"-- why\nEXECUTE a": "EXECUTE",
    b"/* why **/ execute a(1)": "EXECUTE",
    b'EXECUTE"a"': "EXECUTE",
    b"PREPARE transactions AS SELECT 1": "PREPARE",
    b"PREPARE TRANSACTION 'a'": "",
    b"prepare /**/ transaction 'a'": "",
    b"deallocated": "",
    b"EXECUTE_ME": "",
    b"SELECT 1; EXECUTE a": "",
    b"; EXECUTE a": "",
    b"/* /* nested */ */ EXECUTE a": "",
    b"/* not closed EXECUTE a": "",
    b"--\0EXECUTE a": "",
    b"/*\0*/EXECUTE a": "",
    b" " * HEAD_LIMIT + b"EXECUTE a": "",
    b"": "",
}

NAMES = {
    b"DEALLOCATE a": b"a",
    b"DEALLOCATE PREPARE a": b"a",
    b"DEALLOCATE Some_Name$1": b"some_name$1",
    b'DEALLOCATE "Some ""Name"""': b'Some "Name"',
    b'DEALLOCATE PREPARE"a"': b"a",
    "DEALLOCATE É".encode(): "É".encode(),  # PostgreSQL folds ASCII only, in UTF-8
    b"DEALLOCATE prepare": b"prepare",
    b"DEALLOCATE prepared": b"prepared",
    b'DEALLOCATE "all"': b"all",
    b"DEALLOCATE a ; ; -- done": b"a",
    b"DEALLOCATE a /* key='value' */": b"a",
    b"DEALLOCATE ALL": None,
    b"deallocate prepare all": None,
    b"DEALLOCATE a; SELECT 1": None,
    b"DEALLOCATE a b": None,
    b'DEALLOCATE ""': None,
    b'DEALLOCATE "not closed': None,
    b'DEALLOCATE U&"a"': None,
    b"DEALLOCATE 1": None,
    b"DEALLOCATE": None,
    b"DEALLOCATE " + b"a" * HEAD_LIMIT: None,
    b"EXECUTE a": None,
}


@pytest.mark.parametrize(("text", "found"), WORDS.items())
def test_the_word_that_a_text_begins_with(text: bytes, found: str) -> None:
    assert word(b"before" + text + b"\0", len(b"before")) == found


@pytest.mark.parametrize(("text", "name"), NAMES.items())
def test_the_name_that_a_text_deallocates(text: bytes, name: bytes | None) -> None:
    assert deallocated(b"before" + text + b"\0; behind", len(b"before")) == name


def test_a_text_without_an_end_names_nothing() -> None:
    assert deallocated(b"DEALLOCATE a") is None
