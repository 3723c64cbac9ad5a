"""The project's own source as syntax trees, for tests that read code instead of running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Module:
    """One Python file."""

    # Dotted; a package has the name of its folder.
    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def place(self) -> str:
        """The file as a message names it."""
        return self.path.relative_to(ROOT).as_posix()

    def at(self, node: ast.stmt | ast.expr) -> str:
        """Say where in the project `node` is."""
        return f"{self.place}:{node.lineno}"


@dataclass(frozen=True, slots=True)
class Import:
    """One module that another one imports."""

    importer: str
    imported: str
    line: int
    # False below `if TYPE_CHECKING:`.
    at_run_time: bool


@cache
def modules(folder: str) -> tuple[Module, ...]:
    """Return all modules below a folder of the project, in the order of their paths."""
    return tuple(_read(path) for path in sorted((ROOT / folder).rglob("*.py")))


def _read(path: Path) -> Module:
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    text = path.read_text(encoding="utf-8")
    return Module(name, path, text, ast.parse(text, str(path)))


def functions(module: Module) -> Iterator[FunctionNode]:
    """Return every function and method of a module, nested ones too."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imports(module: Module, known: frozenset[str]) -> list[Import]:
    """Return what a module imports; `from a import b` is `a.b` where that is a module of ours."""
    types_only = {
        id(inner)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    return [
        Import(module.name, name, node.lineno, id(node) not in types_only)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in _imported(node, known)
    ]


def _imported(node: ast.Import | ast.ImportFrom, known: frozenset[str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module or ""
    inner = [f"{base}.{alias.name}" for alias in node.names]
    return [name if name in known else base for name in inner]
