"""How long may a file be, what must be documented, which habits are not ours?"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from statistics import median

import pytest

from tests.architecture.source import FunctionNode, Module, functions, modules

MAX_FILE_LINES = 400
# h11's longest function: a screen.
MAX_FUNCTION_LINES = 58
MAX_MEDIAN_FUNCTION_LINES = 10
MAX_IGNORES = 5

PACKAGE = modules("pgpool_lite")
SHIPPED = (*PACKAGE, *modules("bench"))
TESTS = modules("tests")
EVERYTHING = (*SHIPPED, *TESTS)

# The one function of the tests that looks again after a while.
POLLING = ("tests/wire_client.py", "eventually")


def test_a_file_has_400_lines_at_most() -> None:
    lengths = {module.place: module.text.count("\n") for module in SHIPPED}

    assert {place: n for place, n in lengths.items() if n > MAX_FILE_LINES} == {}


def test_a_function_fits_a_screen() -> None:
    too_long = [
        f"{module.at(function)} {function.name}: {_lines(function)} lines"
        for module in SHIPPED
        for function in functions(module)
        if _lines(function) > MAX_FUNCTION_LINES
    ]

    assert too_long == []


def test_most_functions_are_short() -> None:
    lengths = [_lines(function) for module in PACKAGE for function in functions(module)]

    assert median(lengths) <= MAX_MEDIAN_FUNCTION_LINES


def test_every_module_class_and_public_function_says_what_it_is() -> None:
    missing = [
        f"{module.place}: {name}"
        for module in SHIPPED
        for name, node in _documentable(module)
        if not ast.get_docstring(node)
    ]

    assert missing == []


def test_type_errors_are_ignored_in_five_places_at_most_and_by_their_code() -> None:
    ignores = [
        (module.place, line)
        for module in PACKAGE
        for line in module.text.splitlines()
        if re.search(r"#\s*type:\s*ignore", line)
    ]

    assert len(ignores) <= MAX_IGNORES
    assert [place for place, line in ignores if "type: ignore[" not in line] == []


def test_nothing_is_typed_as_any_or_by_a_cast() -> None:
    found = [
        f"{module.at(node)} {alias.name}"
        for module in EVERYTHING
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom) and node.module == "typing"
        for alias in node.names
        if alias.name in ("Any", "cast")
    ]

    assert found == []


@pytest.mark.parametrize("mark", ["TO" + "DO", "FIX" + "ME", "X" + "XX"])
def test_no_comment_puts_work_off(mark: str) -> None:
    found = [module.place for module in EVERYTHING if re.search(rf"\b{mark}\b", module.text)]

    assert found == []


def test_a_test_waits_for_a_condition_and_never_for_time() -> None:
    found = [
        f"{module.at(call)} in {function.name}"
        for module in TESTS
        for function in functions(module)
        if (module.place, function.name) != POLLING
        for call in _sleeps(function)
    ]

    assert found == []


def _lines(function: FunctionNode) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _documentable(module: Module) -> Iterator[tuple[str, ast.Module | ast.ClassDef | FunctionNode]]:
    """Return a module, and the public classes, functions and methods in it, by name."""
    yield "the module", module.tree
    waiting: list[ast.Module | ast.ClassDef] = [module.tree]
    while waiting:
        for node in waiting.pop().body:
            if not isinstance(node, ast.ClassDef | FunctionNode) or node.name.startswith("_"):
                continue
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                waiting.append(node)


def _sleeps(function: FunctionNode) -> list[ast.Call]:
    """Return the calls of any `sleep`, except `asyncio.sleep(0)`, which only lets others run."""
    return [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).split(".")[-1] == "sleep"
        and ast.unparse(node) != "asyncio.sleep(0)"
    ]
