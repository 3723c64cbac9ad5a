"""Does docs/compatibility.md say all that differs from PgBouncer, and nothing that does not?"""

from __future__ import annotations

from pgpool_lite.config import Settings, effect
from pgpool_lite.config.table import table_of
from pgpool_lite.console.commands import COMMAND_WORDS
from pgpool_lite.console.show import TABLES
from tests.docs.compatibility import TARGET, THEIR_COMMANDS, render
from tests.unit.console.test_console_tables import COLUMNS


def test_the_page_is_what_the_code_says() -> None:
    assert TARGET.read_text(encoding="utf-8") == render(), "python -m tests.docs.configuration"


def test_nothing_of_pgbouncers_console_is_missing() -> None:
    assert sorted(THEIR_COMMANDS - COMMAND_WORDS) == []
    assert sorted(COLUMNS.keys() - TABLES.keys()) == []


def test_what_is_said_to_have_no_effect_is_a_setting() -> None:
    assert sorted(effect.NOT_IN_EFFECT.keys() - table_of(Settings).keys()) == []
