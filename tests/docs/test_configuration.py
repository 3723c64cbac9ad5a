"""Does docs/configuration.md list every setting, and does each do what the page says?"""

from __future__ import annotations

import ast

from pgpool_lite.config import NOT_IN_EFFECT, Settings
from pgpool_lite.config.table import table_of
from tests.architecture.source import modules
from tests.docs.configuration import TARGET, render

# Where a setting is declared or said to do nothing; all else that names it makes use of it.
DECLARATIONS = ("pgpool_lite.config.settings", "pgpool_lite.config.effect")


def test_the_page_is_what_the_tables_say() -> None:
    assert TARGET.read_text(encoding="utf-8") == render(), "python -m tests.docs.configuration"


def test_a_setting_that_is_said_to_be_in_effect_is_read_somewhere() -> None:
    in_effect = table_of(Settings).keys() - NOT_IN_EFFECT.keys()

    assert sorted(in_effect - _settings_read()) == []


def test_a_setting_that_is_said_to_do_nothing_exists() -> None:
    assert sorted(NOT_IN_EFFECT.keys() - table_of(Settings).keys()) == []


def _settings_read() -> set[str]:
    """Return the names behind `settings.` anywhere in the package."""
    return {
        node.attr
        for module in modules("pgpool_lite")
        if module.name not in DECLARATIONS
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
        and ast.unparse(node.value).removesuffix("()").split(".")[-1].endswith("settings")
    }
