"""Which pgpool_lite is measured: the sources as they are, or compiled?

Both are copies of the package, the one without extensions and the other with them, so that one run
can compare them whatever lies beside the sources. Compiling takes about a minute; the result is
kept in build/, under a name that changes with the sources, for the next time.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.errors import LeftOut
from bench.processes import running

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "pgpool_lite"
COMPILER = "hatch_build.py"


class Kind(StrEnum):
    """How the hot path runs."""

    COMPILED = "compiled"
    INTERPRETED = "interpreted"


@dataclass(frozen=True, slots=True)
class Build:
    """A folder from which `python -m pgpool_lite` runs one build, and the row's name."""

    name: str
    folder: Path

    def command(self) -> list[str]:
        """Return the command that runs it, from its folder; arguments are to follow."""
        return [sys.executable, "-m", PACKAGE]

    def version(self) -> str:
        """Ask it what it is, and add the versions of Python and uvloop."""
        done = subprocess.run(
            [*self.command(), "--version"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            loop = f"uvloop {version('uvloop')}"
        except PackageNotFoundError:
            loop = "asyncio"
        number = done.stdout.strip().rpartition(f"{PACKAGE} ")[2] or "unknown"
        return f"{number}, Python {platform.python_version()}, {loop}"


def in_place() -> Build:
    """Return the package as it lies in this repository, compiled or not."""
    return Build(PACKAGE, ROOT)


@contextmanager
def build(kind: Kind, kept: Path = ROOT / "build") -> Iterator[Build]:
    """Yield a build of that kind; raise LeftOut where it cannot be compiled."""
    with tempfile.TemporaryDirectory(prefix="pgpool-lite-bench-") as folder:
        copy_sources(Path(folder))
        if kind is Kind.COMPILED:
            add_extensions(Path(folder), kept / f"bench-{fingerprint(Path(folder))}")
        yield Build(f"{PACKAGE} {kind.value}", Path(folder))


def copy_sources(folder: Path) -> None:
    """Copy the package, without extensions, and what compiles it."""
    folder.chmod(0o755)
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / PACKAGE, folder / PACKAGE, ignore=ignored)
    shutil.copy2(ROOT / COMPILER, folder / COMPILER)


def fingerprint(folder: Path) -> str:
    """Return what tells these sources and this Python from all others, as a short word."""
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def add_extensions(folder: Path, kept: Path) -> None:
    """Put the extensions beside the copied sources: those that are kept, or new ones."""
    if not kept.is_dir():
        print("compiling pgpool_lite: takes about a minute ...", file=sys.stderr, flush=True)
        _compile(folder)
        kept.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
            _copy_extensions(folder, Path(scratch, "new"))
            Path(scratch, "new").rename(kept)  # whole or not at all
    _copy_extensions(kept, folder)


def _compile(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch, "log")
        with running([sys.executable, COMPILER], log=log, directory=folder) as compiler:
            if compiler.wait() != 0:
                raise LeftOut(f"{PACKAGE} compiled: {compiler.last_words()}")


def _copy_extensions(source: Path, target: Path) -> None:
    for path in source.rglob("*.so"):
        destination = target / path.relative_to(source)
        destination.parent.mkdir(parents=True, exist_ok=True)
        if path != destination:
            shutil.copy2(path, destination)
