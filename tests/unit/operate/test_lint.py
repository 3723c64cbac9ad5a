"""`pgpool-lite lint`: which files, which findings, where, in which format, with which exit code."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from pgpool_lite.cli import main
from pgpool_lite.diagnose.rules import RULES

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, text: str | bytes) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)


def lint(capsys: Captured, *words: str) -> tuple[int, list[str]]:
    """Return the exit code, and `place rule` of each finding."""
    code = main(["lint", *words])
    lines = capsys.readouterr().out.splitlines()
    return code, [f"{line.split(' ')[0]} {line.split(' ')[2]}" for line in lines[::2]]


def test_a_clean_file_is_exit_code_0(capsys: Captured) -> None:
    write("a.sql", "BEGIN; SET LOCAL x = 1; COMMIT;")

    assert lint(capsys, "a.sql") == (0, [])


def test_findings_are_exit_code_1_with_file_line_and_column(capsys: Captured) -> None:
    write("a.sql", "-- one\nSELECT 1; SET x = 1;\n\n  LISTEN a;\n")

    assert lint(capsys, "a.sql") == (1, ["a.sql:2:11: PL001", "a.sql:4:3: PL011"])


def test_a_finding_says_what_it_is_about_and_what_to_do(capsys: Captured) -> None:
    write("a.sql", "SET search_path TO a, b")

    main(["lint", "a.sql"])

    captured = capsys.readouterr()
    first, second = captured.out.splitlines()
    assert first.startswith("a.sql:1:1: error PL001 session-setting: search_path = a, b: SET ")
    assert second.startswith("    Use SET LOCAL ")
    assert second.endswith("(docs/rules/PL001.md)")
    assert captured.err == "1 finding in 1 file\n"


def test_a_column_counts_characters(capsys: Captured) -> None:
    write("a.sql", "SELECT 'äöü'; SET x = 1")

    assert lint(capsys, "a.sql")[1] == ["a.sql:1:15: PL001"]


def test_a_file_is_read_to_its_end(capsys: Captured) -> None:
    write("a.sql", "SELECT 'some text';\n" * 10_000 + "SET x = 1;")

    assert lint(capsys, "a.sql")[1] == ["a.sql:10001:1: PL001"]


def test_each_statement_of_a_script_is_a_transaction_of_its_own(capsys: Captured) -> None:
    write("a.sql", "SET x = 1;\nRESET x;\nINSERT INTO t VALUES (1);\nSELECT currval('s');")

    assert lint(capsys, "a.sql")[1] == ["a.sql:1:1: PL001", "a.sql:4:1: PL012"]


def test_a_script_can_be_one_transaction(capsys: Captured) -> None:
    write("a.sql", "SET x = 1; RESET x; INSERT INTO t VALUES (1); SELECT currval('s'); SET y = 1")

    assert lint(capsys, "-1", "a.sql")[1] == ["a.sql:1:68: PL001"]


def test_a_transaction_of_a_script_is_one(capsys: Captured) -> None:
    write("a.sql", "BEGIN;\nSET x = 1;\nROLLBACK;\nBEGIN;\nSET LOCAL y = 1;\nCOMMIT;\nLISTEN a;")

    assert lint(capsys, "a.sql")[1] == ["a.sql:7:1: PL011"]


def test_a_setting_that_follows_its_client_is_no_finding(capsys: Captured) -> None:
    write("a.sql", "SET TIME ZONE 'UTC'; SET application_name = 'a'; SET client_encoding = 'UTF8'")

    assert lint(capsys, "a.sql") == (0, [])


def test_programs_are_searched_for_literals(capsys: Captured) -> None:
    write("app/a.py", 'def f(c):\n    c.execute("SET search_path TO x")\n')
    write("app/b.ts", "await sql`\n  SELECT pg_advisory_lock(${key})`")

    assert lint(capsys, "app") == (1, ["app/a.py:2:16: PL001", "app/b.ts:2:3: PL004"])


def test_a_literal_may_rely_on_what_the_program_did_before(capsys: Captured) -> None:
    write("a.py", "c.execute('SELECT currval(1)'); c.execute('SET LOCAL x = 1')")

    assert lint(capsys, "a.py") == (0, [])


def test_a_folder_is_searched_for_known_suffixes_but_not_in_what_is_foreign(
    capsys: Captured,
) -> None:
    for name in ("b/x.SQL", "a.sql", "a.txt", ".git/a.sql", "node_modules/a.sql", "v/lib/a.sql"):
        write(name, "SET x = 1")
    write("v/pyvenv.cfg", "")

    assert lint(capsys, ".")[1] == ["a.sql:1:1: PL001", "b/x.SQL:1:1: PL001"]


def test_a_file_that_is_named_is_sql_unless_its_suffix_says_otherwise(capsys: Captured) -> None:
    write("a.txt", "SET x = 1")

    assert lint(capsys, "a.txt")[1] == ["a.txt:1:1: PL001"]


def test_standard_input_is_sql(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"SET x = 1")))

    assert lint(capsys, "-")[1] == ["-:1:1: PL001"]


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_hides_nothing(capsys: Captured, codec: str) -> None:
    write("a.sql", "SET x = 1;\nLISTEN a".encode(codec))

    assert lint(capsys, "a.sql")[1] == ["a.sql:1:1: PL001", "a.sql:2:1: PL011"]


def test_bytes_that_are_no_text_do_not_disturb(capsys: Captured) -> None:
    write("a.sql", b"SELECT '\xff\xfe\x00'; SET x = 1")

    assert lint(capsys, "a.sql")[1] == ["a.sql:1:15: PL001"]


def test_rules_can_be_selected_and_ignored(capsys: Captured) -> None:
    write("a.sql", "SET x = 1; LISTEN a; LOAD 'b';")

    assert lint(capsys, "--select", "PL001,pl011", "a.sql")[1] == [
        "a.sql:1:1: PL001",
        "a.sql:1:12: PL011",
    ]
    assert lint(capsys, "--ignore", "PL001", "--ignore", "PL011", "a.sql")[1] == [
        "a.sql:1:22: PL013"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "SET x = 1; -- pgpool-lite: ignore PL001",
        "-- pgpool-lite: ignore PL001, PL011\nSET x = 1;",
        "-- pgpool-lite: ignore\nSET x = 1;",
        "/* pgpool-lite: ignore-file PL001 */\n\n\nSET x = 1;",
        "\n\nSET x = 1;\n\n-- pgpool-lite: ignore-file",
    ],
)
def test_a_comment_switches_a_rule_off(capsys: Captured, text: str) -> None:
    write("a.sql", text)

    assert lint(capsys, "a.sql") == (0, [])


@pytest.mark.parametrize(
    "text",
    [
        "-- pgpool-lite: ignore PL011\nSET x = 1;",
        "-- pgpool-lite: ignore PL001\n\nSET x = 1;",
        "SET x = 1;\n-- pgpool-lite: ignore PL001",
    ],
)
def test_a_comment_switches_off_no_more_than_it_says(capsys: Captured, text: str) -> None:
    write("a.sql", text)

    assert lint(capsys, "a.sql")[0] == 1


def test_a_comment_of_a_program_switches_a_rule_off(capsys: Captured) -> None:
    write("a.py", "# pgpool-lite: ignore PL001\nc.execute('SET x = 1')\n")

    assert lint(capsys, "a.py") == (0, [])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["missing.sql"], "no such file or folder: missing.sql"),
        (["--select", "PL999", "."], "no rule 'PL999': there are PL001 to PL015"),
        (["--ignore", "", "."], "no rule '': there are PL001 to PL015"),
    ],
)
def test_wrong_arguments_are_exit_code_2(capsys: Captured, words: list[str], sentence: str) -> None:
    assert main(["lint", *words]) == 2
    assert capsys.readouterr().err == f"pgpool-lite lint: {sentence}\n"


def test_a_file_that_cannot_be_read_is_exit_code_2(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    write("a.sql", "")
    monkeypatch.setattr(Path, "read_bytes", refuse)

    assert main(["lint", "a.sql"]) == 2
    assert capsys.readouterr().err == "pgpool-lite lint: cannot read a.sql: Permission denied\n"


def test_an_unknown_format_is_exit_code_2() -> None:
    with pytest.raises(SystemExit) as exit:
        main(["lint", "--format", "xml", "."])

    assert exit.value.code == 2


def test_json_has_an_object_per_finding(capsys: Captured) -> None:
    write("a.sql", "\n SET a.b = 'c'")

    assert main(["lint", "--format", "json", "a.sql"]) == 1

    (found,) = json.loads(capsys.readouterr().out)
    assert {"file": "a.sql", "line": 2, "column": 2, "rule": "PL001"}.items() <= found.items()
    assert {"severity": "error", "name": "a.b", "value": "c"}.items() <= found.items()
    assert found["page"] == "docs/rules/PL001.md"


def test_json_of_nothing_is_an_empty_array(capsys: Captured) -> None:
    write("a.sql", "SELECT 1")

    assert main(["lint", "--format", "json", "a.sql"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_sarif_has_what_its_standard_requires(capsys: Captured, folder: Path) -> None:
    write("a b.sql", "SELECT 1;\nSET x = 1;")

    assert main(["lint", "--format", "sarif", "a b.sql", str(folder / "a b.sql")]) == 1

    log = json.loads(capsys.readouterr().out)
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert log["version"] == "2.1.0"
    assert driver["name"] == "pgpool-lite"
    assert [each["id"] for each in driver["rules"]] == [each.id for each in RULES]
    assert {each["defaultConfiguration"]["level"] for each in driver["rules"]} <= {
        *("none", "note", "warning", "error")
    }
    assert all(each["shortDescription"]["text"] for each in driver["rules"])
    relative, absolute = run["results"]
    assert driver["rules"][relative["ruleIndex"]]["id"] == relative["ruleId"] == "PL001"
    assert relative["level"] == "error"
    assert relative["message"]["text"].startswith("x = 1: SET outlives")
    assert relative["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "a%20b.sql"},
                "region": {"startLine": 2, "startColumn": 1},
            }
        }
    ]
    place = absolute["locations"][0]["physicalLocation"]["artifactLocation"]
    assert place["uri"] == (folder / "a b.sql").as_uri()
