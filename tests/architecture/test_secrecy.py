"""Are secrets compared in constant time, and kept out of what objects show of themselves?"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
from collections.abc import Iterator

from tests.architecture.source import Module, modules

PACKAGE = modules("pgpool_lite")

SECRET = re.compile(r"(secret|password|proof|signature|answer|(client|server|stored|scram)_keys?)$")
#: Comparisons of what one server said with what it said before, and of keys of one dict, which
#: Python's keyed hash has found to be alike already.
HARMLESS = {
    "pgpool_lite/pool/secrets.py: self._found.get(place) != secret",
    "pgpool_lite/wire/frontend.py: self.pid_and_secret == other.pid_and_secret",
}
#: Where strangers' proofs are checked, and how often.
CHECKED = {"pgpool_lite/wire/passwords.py": 3, "pgpool_lite/wire/scram.py": 3}


def test_secrets_are_compared_by_nothing_but_compare_digest() -> None:
    found = {f"{module.place}: {ast.unparse(node)}" for module, node in _comparisons()}

    assert found == HARMLESS
    assert {
        module.place: count
        for module in PACKAGE
        if (count := module.text.count("hmac.compare_digest("))
    } == CHECKED


def test_no_dataclass_shows_a_secret_of_its_own() -> None:
    shown = [
        f"{kind.__name__}.{field.name}"
        for kind in _dataclasses()
        for field in dataclasses.fields(kind)
        if field.repr and SECRET.search(field.name) and "str" in str(field.type)
    ]

    assert shown == []


def _comparisons() -> Iterator[tuple[Module, ast.Compare]]:
    for module in PACKAGE:
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Compare):
                continue
            is_equality = any(isinstance(each, ast.Eq | ast.NotEq) for each in node.ops)
            compared = (node.left, *node.comparators)
            if is_equality and any(SECRET.search(_name(each)) for each in compared):
                yield module, node


def _name(node: ast.expr) -> str:
    """Return what a compared thing is called, "" for a number, a text or what a call returns."""
    if isinstance(node, ast.Subscript):
        return _name(node.value)
    return getattr(node, "attr", "") or getattr(node, "id", "")


def _dataclasses() -> Iterator[type]:
    for module in PACKAGE:
        name = module.place.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        if name.endswith("__main__"):
            continue
        for kind in vars(importlib.import_module(name)).values():
            if (
                isinstance(kind, type)
                and kind.__module__ == name
                and dataclasses.is_dataclass(kind)
            ):
                yield kind
