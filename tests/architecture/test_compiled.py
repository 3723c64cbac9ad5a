"""What must hold so that the compiled hot path is the same program as its sources?"""

from __future__ import annotations

import ast

from tests.architecture.source import ROOT, Module, modules

PACKAGE = modules("pgpool_lite")


def test_no_interpreted_class_inherits_from_a_compiled_one() -> None:
    # With disable_pqexec or max_packet_size set, a compiled pooler could not take any client in:
    # its guarded connections inherit from compiled ones and were interpreted. Their TypeError comes
    # when the first object is made, and so nothing was wrong before the first client came.
    compiled = _compiled()
    native = {
        node.name for module in PACKAGE if module.place in compiled for node in _classes(module)
    }

    found = [
        f"{module.at(node)} {node.name}({ast.unparse(base)})"
        for module in (*PACKAGE, *modules("tests"))
        if module.place not in compiled
        for node in _classes(module)
        for base in node.bases
        if ast.unparse(base).split(".")[-1] in native
    ]

    assert {"ClientSession", "ServerConnection"} <= native
    assert found == []


def _compiled() -> tuple[str, ...]:
    """Return the paths that `hatch_build.py` compiles; importing it would take a build backend."""
    tree = ast.parse((ROOT / "hatch_build.py").read_text(encoding="utf-8"))
    [listed] = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MODULES"
    ]
    paths: tuple[str, ...] = ast.literal_eval(listed)
    return paths


def _classes(module: Module) -> list[ast.ClassDef]:
    return [node for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)]
