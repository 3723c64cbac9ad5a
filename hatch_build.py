"""Compiles the hot path, where there is a C compiler: a hook of the wheel's build, a command too.

    python hatch_build.py            compile in place: extensions beside the sources they hide
    python hatch_build.py --clean    remove them again

mypyc, which comes with mypy, turns the modules below into C as they are; there is one source. The
wheel of a machine without a C compiler holds the sources alone: the same program, slower.
`pgpool-lite --version` says which of the two runs.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: What every query and every login runs through, and all that inherits from it or that it inherits
#: from: Python cannot make an interpreted class of a compiled one, and mypyc knows only its own by
#: their layout.
MODULES = (
    "pgpool_lite/config/load.py",
    "pgpool_lite/wire/backend.py",
    "pgpool_lite/wire/codes.py",
    "pgpool_lite/wire/framing.py",
    "pgpool_lite/wire/frontend.py",
    "pgpool_lite/wire/randomness.py",
    "pgpool_lite/wire/scram.py",
    "pgpool_lite/wire/scram_messages.py",
    "pgpool_lite/session/client.py",
    "pgpool_lite/session/client_login.py",
    "pgpool_lite/session/copying.py",
    "pgpool_lite/session/entries.py",
    "pgpool_lite/session/evidence.py",
    "pgpool_lite/session/following.py",
    "pgpool_lite/session/glance.py",
    "pgpool_lite/session/interest.py",
    "pgpool_lite/session/meaning.py",
    "pgpool_lite/session/outstanding.py",
    "pgpool_lite/session/own_queries.py",
    "pgpool_lite/session/parameters.py",
    "pgpool_lite/session/refusing.py",
    "pgpool_lite/session/renaming.py",
    "pgpool_lite/session/replication.py",
    "pgpool_lite/session/rewriter.py",
    "pgpool_lite/session/server.py",
    "pgpool_lite/session/statements.py",
    "pgpool_lite/session/tracking.py",
    "pgpool_lite/session/usual.py",
    "pgpool_lite/session/watch.py",
    "pgpool_lite/pool/admission.py",
    "pgpool_lite/pool/applicants.py",
    "pgpool_lite/pool/arrivals.py",
    "pgpool_lite/pool/challenges.py",
    "pgpool_lite/pool/database.py",
    "pgpool_lite/pool/headcount.py",
    "pgpool_lite/pool/line.py",
    "pgpool_lite/pool/peering.py",
    "pgpool_lite/pool/pool.py",
    "pgpool_lite/pool/registry.py",
    "pgpool_lite/pool/roster.py",
    "pgpool_lite/pool/rules.py",
    "pgpool_lite/pool/secrets.py",
    "pgpool_lite/pool/stats.py",
    "pgpool_lite/pool/welcomes.py",
    "pgpool_lite/pool/wishes.py",
    "pgpool_lite/proxy/anteroom.py",
    "pgpool_lite/proxy/client_connection.py",
    "pgpool_lite/proxy/client_login.py",
    "pgpool_lite/proxy/dispatcher.py",
    "pgpool_lite/proxy/guarded.py",
    "pgpool_lite/proxy/keys.py",
    "pgpool_lite/proxy/lingering.py",
    "pgpool_lite/proxy/origins.py",
    "pgpool_lite/proxy/secret_lookup.py",
    "pgpool_lite/proxy/server_connection.py",
    "pgpool_lite/proxy/sockets.py",
    "pgpool_lite/proxy/tls_transport.py",
    "pgpool_lite/proxy/unlinked.py",
    "pgpool_lite/proxy/watched.py",
)


class CompiledHotPath(BuildHookInterface[Any]):
    """Puts the extensions into a wheel; an editable installation stays with the sources."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; where that cannot be done, say so and let the wheel be pure Python."""
        if version == "editable":
            return
        target = Path(tempfile.mkdtemp(prefix="pgpool-lite-build-"))
        try:
            extensions = compile_modules(Path(self.root), target)
        except (Exception, SystemExit) as error:
            # Whatever is missing, a compiler or Python's headers, must not stop an installation.
            self.app.display_warning(f"the hot path is not compiled: {error}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"].update({str(target / each): str(each) for each in extensions})


def compile_modules(root: Path, target: Path) -> list[Path]:
    """Compile MODULES of the source tree at `root` into `target`; return paths relative to it.

    Raises SystemExit where mypyc refuses a module, and what setuptools raises without a compiler.
    """
    from mypyc.build import mypycify
    from setuptools import Distribution

    with chdir(root), tempfile.TemporaryDirectory() as scratch:
        extensions = mypycify(list(MODULES), target_dir=scratch, group_name="pgpool_lite")
        distribution = Distribution({"name": "pgpool_lite", "ext_modules": extensions})
        command = distribution.get_command_obj("build_ext")
        command.set_undefined_options = lambda *_: None
        command.build_lib, command.build_temp = str(target), scratch
        command.ensure_finalized()
        command.run()
    return [path.relative_to(target) for path in target.rglob("*.so")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Compile in place, or clean up."""
    parser = argparse.ArgumentParser(description="Compile the hot path of pgpool_lite in place.")
    parser.add_argument("--clean", action="store_true", help="remove the compiled modules")
    options = parser.parse_args(arguments)
    root = Path(__file__).resolve().parent
    for old in (*root.glob("*.so"), *root.glob("pgpool_lite/**/*.so")):
        old.unlink()
    if options.clean:
        return
    with tempfile.TemporaryDirectory() as folder:
        for each in compile_modules(root, Path(folder)):
            shutil.copy2(Path(folder, each), root / each)


if __name__ == "__main__":
    main()
