"""Which module may import which? The floors of docs/design/architecture.md, held by the tree."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter

from tests.architecture.source import Import, Module, imports, modules

# Each part of the package stands on a floor and imports from lower floors, or from its own.
FLOORS = {
    "errors": 0,
    "version": 0,
    "config": 0,
    "wire": 1,
    "diagnose": 1,
    "session": 2,
    "pool": 3,
    "proxy": 4,
    "console": 4,
    "pooler": 5,
    "cli": 5,
    "dev": 5,
    "operate": 5,
    "serve": 5,
    "__main__": 5,
}
# The package's own `__init__` only names what is public.
TOP = 5

# These may wait; everything else is plain calls.
MAY_WAIT = (
    *("pgpool_lite.proxy", "pgpool_lite.dev", "pgpool_lite.pooler", "pgpool_lite.serve"),
    "pgpool_lite.operate.dialogue",
    "pgpool_lite.operate.doctor_examination",
)
WAITING_MODULES = frozenset(
    {"asyncio", "uvloop", "socket", "socketserver", "ssl", "select", "selectors", "threading"}
    | {"concurrent", "multiprocessing", "signal", "subprocess", "time", "sched"}
)

MODULES = modules("pgpool_lite")
NAMES = frozenset(module.name for module in MODULES)
OWN_IMPORTS = [
    each
    for module in MODULES
    for each in imports(module, NAMES)
    if each.imported.split(".")[0] == "pgpool_lite"
]


def test_every_part_of_the_package_stands_on_a_floor() -> None:
    parts = {name.split(".")[1] for name in NAMES if "." in name}

    assert parts <= FLOORS.keys()


def test_a_module_imports_from_lower_floors_or_its_own() -> None:
    assert [_describe(each) for each in OWN_IMPORTS if _climbs(each)] == []


def test_the_console_knows_no_sockets_and_not_who_has_them() -> None:
    upward = [
        _describe(each)
        for each in OWN_IMPORTS
        if _is_in(each.importer, "pgpool_lite.console") and _is_in(each.imported, MAY_WAIT[0])
    ]

    assert upward == []


def test_the_rules_of_transaction_mode_know_nothing_else_of_the_pooler() -> None:
    outward = [
        _describe(each)
        for each in OWN_IMPORTS
        if _is_in(each.importer, "pgpool_lite.diagnose")
        and not _is_in(each.imported, "pgpool_lite.diagnose", "pgpool_lite.errors")
    ]

    assert outward == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert (
        _cycle({(each.importer, each.imported) for each in OWN_IMPORTS if each.at_run_time}) == []
    )


def test_promise_8_below_the_proxy_nothing_waits_and_nothing_reads_a_clock() -> None:
    found = [
        f"{module.place}:{each.line} imports {each.imported}"
        for module in _patient_modules()
        for each in imports(module, NAMES)
        if each.imported.split(".")[0] in WAITING_MODULES
    ]

    assert found == []


def test_promise_8_below_the_proxy_nothing_is_awaited() -> None:
    awaiting = (ast.Await, ast.AsyncFor, ast.AsyncWith)
    found = [
        module.at(node)
        for module in _patient_modules()
        for node in ast.walk(module.tree)
        if isinstance(node, (*awaiting, ast.AsyncFunctionDef))
    ]

    assert found == []


def test_on_the_way_of_a_query_nothing_is_awaited() -> None:
    found = [
        module.at(node)
        for module in MODULES
        if module.name.endswith(("client_connection", "server_connection", "dispatcher"))
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Await | ast.AsyncFunctionDef)
    ]

    assert found == []


def _patient_modules() -> list[Module]:
    return [module for module in MODULES if not _is_in(module.name, *MAY_WAIT)]


def _is_in(name: str, *parts: str) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def _floor(name: str) -> int:
    return FLOORS.get(name.split(".")[1], TOP) if "." in name else TOP


def _cycle(edges: set[tuple[str, str]]) -> list[str]:
    """Return the modules along a way back to its start, [] when there is none."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for importer, imported in edges:
        sorter.add(importer, imported)
    try:
        sorter.prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def _climbs(each: Import) -> bool:
    return _floor(each.imported) > _floor(each.importer)


def _describe(each: Import) -> str:
    return f"{each.importer} line {each.line} imports {each.imported}"
