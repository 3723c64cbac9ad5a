"""Fuzz one door, guided by which lines an input reaches: python -m tests.fuzz DOOR SECONDS.

What reaches new lines is added to the inputs that are kept. A crash is printed and ends the run.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz import corpus


def main() -> int:
    """Fuzz in a process of its own, for a fuzzer does not return; then keep what it has found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("door", choices=_doors(), metavar="DOOR", help=", ".join(_doors()))
    parser.add_argument("seconds", type=int)
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder is not None:
        _fuzz(options.door, options.seconds, options.folder)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, data in enumerate(corpus.inputs_of(options.door)):
            (folder / str(number)).write_bytes(data)
        code = subprocess.call([sys.executable, "-m", "tests.fuzz", *sys.argv[1:], "--in", name])
        count = corpus.keep(options.door, (path.read_bytes() for path in folder.iterdir()))
    print(f"{options.door}: {count} inputs are kept")
    return code


def _doors() -> list[str]:
    return sorted(path.stem for path in corpus.FOLDER.glob("*.txt"))


def _fuzz(door: str, seconds: int, folder: Path) -> None:
    """Run the fuzzer; it ends the process."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["pgpool_lite"]):
        doors = importlib.import_module("tests.fuzz.doors")
    logging.disable()
    limits = [f"-max_total_time={seconds}", f"-max_len={corpus.MAX_SIZE}", "-timeout=10"]
    limits += ["-print_final_stats=1", f"-artifact_prefix={tempfile.gettempdir()}/"]
    atheris.Setup([sys.argv[0], *limits, str(folder)], doors.DOORS[door])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
