"""`pgpool-lite check`: every line that is wrong, or that PgBouncer takes otherwise, and no secret.

What PgBouncer does with these lines was asked of PgBouncer 1.26.1 itself.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from pgpool_lite.config import DatabaseSettings
from pgpool_lite.config.table import table_of
from pgpool_lite.operate.check import run_check
from pgpool_lite.operate.findings import OUR_DATABASE_KEYS, OUR_SETTINGS, examine
from tests.unit.config.test_config_settings import OUR_OWN

MAIN = "[pgbouncer]\nauth_type = trust\n"


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    return tmp_path / "pgbouncer.ini"


def findings(ini: Path, text: str) -> list[str]:
    """Return what is said about a file of this text, without the file's name."""
    ini.write_text(text)
    return [str(each).removeprefix(f"{ini}:") for each in examine(ini)[1]]


def test_nothing_is_said_about_a_file_that_is_right(ini: Path) -> None:
    assert findings(ini, "[databases]\napp = host=db port=5433\n" + MAIN) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nosuch = 1", "pgbouncer: nosuch: is ignored; PgBouncer does not know this setting"),
        ("prepared_statements = reject", "pgbouncer: prepared_statements: PgBouncer does not know"),
        ("stats_period = 1.5", "pgbouncer: stats_period: PgBouncer wants a whole number"),
        ("pool_mode = foo", "error: pool_mode: expected one of session, transaction, statement"),
        ("max_client_conn = 5 ; c", "error: max_client_conn: expected a whole number from 0"),
        ("job_name = x", "note: job_name: does nothing: there is no Windows service"),
        ("nosuch", "error: expected 'key = value'"),
        ("[nosuch]", "error: unknown section [nosuch]"),
    ],
)
def test_a_line_of_the_main_section_is_found_out(ini: Path, line: str, said: str) -> None:
    (finding,) = findings(ini, MAIN + line + "\n")

    assert finding.startswith(f"3: {said}")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("app = host=db foo=1", "error: app: foo: unknown key"),
        ("app = host=db pool_size=abc", "error: app: pool_size: expected a whole number"),
        (
            "app = host=db prepared_statements=reject",
            "pgbouncer: app: PgBouncer does not know the key prepared_statements",
        ),
        ("pgbouncer = host=db", "error: pgbouncer: the name is reserved"),
    ],
)
def test_a_database_is_found_out(ini: Path, line: str, said: str) -> None:
    (finding,) = findings(ini, f"[databases]\n{line}\n{MAIN}")

    assert finding.startswith(f"2: {said}")


@pytest.mark.parametrize(
    ("section", "line", "said"),
    [
        ("users", "ann = pool_size=x", "error: ann: pool_size: expected a whole number"),
        ("peers", "2 = port=1", "error: 2: expected host="),
    ],
)
def test_a_user_and_a_peer_are_found_out(ini: Path, section: str, line: str, said: str) -> None:
    (finding,) = findings(ini, f"[{section}]\n{line}\n{MAIN}")

    assert finding.startswith(f"2: {said}")


def test_all_errors_are_found_at_once_in_the_order_of_their_lines(ini: Path) -> None:
    text = "[databases]\napp = port=x\n" + MAIN + "pool_mode = foo\nverbose = loud\n"

    assert [each.split(":")[0] for each in findings(ini, text)] == ["2", "5", "6"]


def test_a_line_that_is_set_again_below_does_not_count_but_pgbouncer_reads_it(ini: Path) -> None:
    said = findings(ini, MAIN + "verbose = loud\nverbose = 1\nverbose = 2\n")

    assert said[0].startswith("3: pgbouncer: verbose: PgBouncer reads this line too, although")
    assert said[1:] == ["4: note: verbose: is set again below, which is what counts"]


def test_a_second_main_section_forgets_the_first(ini: Path) -> None:
    said = findings(ini, MAIN + "[pgbouncer]\nverbose = 1\n")

    assert said == ["2: note: auth_type: is set again below, which is what counts"]


def test_a_file_that_is_not_there_is_one_finding(ini: Path) -> None:
    assert [str(each) for each in examine(ini)[1]] == [
        f"{ini}: error: cannot be read: No such file or directory"
    ]


def test_an_error_that_only_the_whole_file_has_is_found_too(ini: Path) -> None:
    assert findings(ini, "[databases]\napp =\n") == [" error: expected a [pgbouncer] section"]


def test_an_included_file_is_named(ini: Path) -> None:
    other = ini.parent / "other.ini"
    other.write_text("pool_mode = foo\n")

    (finding,) = findings(ini, f"{MAIN}%include {other}\n")

    assert finding.startswith(f"{other}:1: error: pool_mode: ")


# --- what is ours alone ---

#: Keys of a line in [databases] that PgBouncer 1.26.1 knows.
DATABASE_KEYS = (
    "host port dbname user password auth_user auth_query auth_dbname pool_size min_pool_size "
    "reserve_pool_size max_db_connections max_db_client_connections pool_mode connect_query "
    "server_lifetime query_wait_timeout load_balance_hosts client_encoding datestyle timezone "
    "application_name"
)


def test_what_pgbouncer_does_not_know_is_known_to_be_ours() -> None:
    assert OUR_OWN == OUR_SETTINGS
    assert table_of(DatabaseSettings).keys() - set(DATABASE_KEYS.split()) == OUR_DATABASE_KEYS


# --- what would run ---


def test_what_would_run_is_told_without_secrets(
    ini: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    userlist = ini.parent / "userlist.txt"
    userlist.write_text('"ann" "hush-ann"\n"bob" "hush-bob"\n')
    ini.write_text(
        "[databases]\n"
        "app = host=db port=5433 user=web password=hush-web pool_size=7 max_db_connections=30\n"
        "* = host=other\n"
        "[users]\nann = query_timeout=5\nbob =\n[peers]\n2 = host=/run/two\n"
        "[pgbouncer]\nlisten_addr = 127.0.0.1\nunix_socket_dir = /run\nadmin_users = ann\n"
        f"auth_file = {userlist}\nmin_pool_size = 1\n"
    )

    assert run_check(ini) == 0

    printed = capsys.readouterr().out
    assert "hush" not in printed
    assert f"  secrets              2 users in {userlist}\n" in printed
    assert "  listens on           127.0.0.1:6432, /run/.s.PGSQL.6432\n" in printed
    assert "  clients              100 at most, auth_type md5\n" in printed
    assert "  console              admin_users ann; stats_users nobody\n" in printed
    assert (
        "  database app         app at db port 5433 as web, password in the line; "
        "pool_mode session, 7 servers per user at most, 30 in all, 1 at least\n" in printed
    )
    assert "  database *           any name at other port 5432 as the client's user;" in printed
    assert "  user ann             query_timeout 5.0\n" in printed
    assert "  user bob             nothing special\n" in printed
    assert "  peer 2               /run/two:6432" in printed


def test_what_does_not_run_is_not_told(ini: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ini.write_text(MAIN + "verbose = loud\n")

    assert run_check(ini) == 1

    assert "would run" not in capsys.readouterr().out


def test_without_an_auth_file_no_secrets_are_there(
    ini: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ini.write_text(MAIN + "listen_addr =\nunix_socket_dir =\n")

    assert run_check(ini) == 0

    printed = capsys.readouterr().out
    assert "  secrets              no auth_file\n" in printed
    assert "  listens on           nothing\n" in printed
