"""Whose process is it? The pidfile, and the user."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from pgpool_lite.errors import ConfigError
from pgpool_lite.serve.identity import become, check_pidfile, pidfile, refuse_root


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pooler.pid"


def ended_process() -> int:
    """Return the number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_pidfile_has_our_number_and_goes_with_us(path: Path) -> None:
    with pidfile(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"

    assert list(path.parent.iterdir()) == []


def test_without_a_name_there_is_no_pidfile() -> None:
    check_pidfile("")
    with pidfile(""):
        pass


def test_a_pidfile_that_another_process_has_taken_over_stays(path: Path) -> None:
    with pidfile(str(path)):
        path.write_text("1\n")

    assert path.read_text() == "1\n"


def test_a_pidfile_that_is_gone_already_is_no_error(path: Path) -> None:
    with pidfile(str(path)):
        path.unlink()

    assert not path.exists()


def test_a_pidfile_that_cannot_be_written_is_a_configuration_error(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere" / "pid")

    with pytest.raises(ConfigError, match=r"pidfile: cannot write .*: No such file"):
        pidfile(nowhere).__enter__()


@pytest.mark.parametrize(
    "content", [pytest.param(str(os.getpid()), id="own"), "1\n", "", "what", "-1", "9" * 30]
)
def test_a_pidfile_whose_process_may_live_is_refused(path: Path, content: str) -> None:
    path.write_text(content)

    with pytest.raises(ConfigError, match=r"pidfile '.*' exists, another instance running\?"):
        check_pidfile(str(path))

    assert path.read_text() == content


def test_the_pidfile_of_another_users_process_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbid)
    path.write_text("4711")

    with pytest.raises(ConfigError, match="another instance running"):
        check_pidfile(str(path))


def test_a_stale_pidfile_is_removed(path: Path) -> None:
    path.write_text(f"{ended_process()}\n")

    check_pidfile(str(path))

    assert not path.exists()


def test_a_pidfile_that_cannot_be_read_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pidfile: cannot read"):
        check_pidfile(str(tmp_path))


def test_root_is_refused_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    with pytest.raises(ConfigError, match="should not run as root"):
        refuse_root("")
    refuse_root("root")


def test_others_may_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    refuse_root("")


def test_a_user_that_does_not_exist_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="user: there is no user 'nobody-at-all'"):
        become("nobody-at-all")


def test_becoming_another_user_takes_its_groups_first(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[object, ...]] = []
    for name in ("initgroups", "setgid", "setuid"):
        monkeypatch.setattr(os, name, lambda *given, name=name: steps.append((name, *given)))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    entry = pwd.getpwnam("nobody")

    become("nobody")

    assert steps == [
        ("initgroups", "nobody", entry.pw_gid),
        ("setgid", entry.pw_gid),
        ("setuid", entry.pw_uid),
    ]


def test_who_may_not_become_another_user_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*given: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "initgroups", forbid)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(ConfigError, match="user: cannot become user 'root': Operation not perm"):
        become("root")


def test_who_is_that_user_already_needs_no_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delattr(os, "initgroups")

    become("root")
