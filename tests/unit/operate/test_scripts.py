"""What of a script for psql is SQL."""

from __future__ import annotations

import pytest

from pgpool_lite.operate.scripts import sql_of_script


@pytest.mark.parametrize(
    ("script", "sql"),
    [
        ("SELECT 1;\n", "SELECT 1;"),
        ("\\set aid random(1, 10)\nSELECT :aid;", "SELECT :aid;"),
        ("  \\connect app\nSELECT 1;", "SELECT 1;"),
        ("SELECT 1 \\gset x_\nSELECT 2;", "SELECT 1 ; SELECT 2;"),
        ("SELECT 1 \\;\nSELECT 2;", "SELECT 1 \\; SELECT 2;"),
        ("COPY t (a) FROM stdin;\n1\tSET x;\n\\.\nSELECT 1;", "COPY t (a) FROM stdin; SELECT 1;"),
        ("COPY t FROM stdin;\r\nx\r\n\\.\r\nSELECT 1;", "COPY t FROM stdin; SELECT 1;"),
        ("copy t from STDIN with (format csv);\nit's\n", "copy t from STDIN with (format csv);"),
        ("COPY t TO stdout;\nSELECT 1;", "COPY t TO stdout; SELECT 1;"),
    ],
)
def test_what_is_not_for_postgresql_is_blanked(script: str, sql: str) -> None:
    found = sql_of_script(script.encode())

    assert " ".join(found.decode().split()) == sql
    assert len(found) == len(script)
    assert found.count(b"\n") == script.count("\n")
