"""What docs/compatibility.md says; `python -m tests.docs.configuration` writes it.

What the code can tell is read off the code: settings without effect, tables and columns, commands.
The rest stands in differences.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pgpool_lite.config import DatabaseSettings, Settings, effect, values
from pgpool_lite.config.table import Setting, table_of
from pgpool_lite.console.commands import COMMAND_WORDS
from pgpool_lite.console.show import TABLES
from pgpool_lite.operate.findings import OUR_DATABASE_KEYS, OUR_SETTINGS
from tests.docs.differences import (
    ANSWERS,
    BEHAVIOUR,
    COMMANDS,
    CONFIGURATION,
    VALUES,
    Difference,
)
from tests.docs.pages import ROOT
from tests.unit.console.test_console_tables import COLUMNS

TARGET = ROOT / "docs" / "compatibility.md"

#: The first words of PgBouncer 1.26.1's console.
THEIR_COMMANDS = frozenset(
    {"disable", "enable", "kill", "kill_client", "pause", "reconnect", "reload", "resume"}
    | {"select", "set", "show", "shutdown", "wait_close"}
)

_HEAD = """\
# Compatibility with PgBouncer 1.26.1

Everything that differs, with the reason. What is not on this page is meant to be the same:
settings, console commands, the columns of SHOW with their types and order, messages, SQLSTATEs.

This page is written by `python -m tests.docs.configuration`; a test compares it with the code. What
the console answers is compared with a real PgBouncer, message by message, wherever one is at hand:

```sh
PGPOOL_LITE_TEST_PGBOUNCER=/usr/sbin/pgbouncer pytest tests/integration/test_console_differential.py
```

`pgpool-lite check FILE` says which lines of a configuration file the two take differently.
"""


def render() -> str:
    """Return the whole page."""
    lines = [
        _HEAD,
        "## Settings\n",
        *_settings(),
        "\n## How a configuration file is read\n",
        *_table(CONFIGURATION),
        "\n## Console commands\n",
        *_commands(),
        "\n## Tables and columns of SHOW\n",
        *_columns(),
        "\n## Values in SHOW\n",
        *_table(VALUES),
        "\n## Answers of the console\n",
        *_table(ANSWERS),
        "\n## What clients see\n",
        *_table(BEHAVIOUR),
    ]
    return "\n".join(lines) + "\n"


def _table(differences: Sequence[Difference]) -> Iterator[str]:
    yield "| what | PgBouncer | pgpool_lite | why |"
    yield "|---|---|---|---|"
    for each in differences:
        yield f"| {each.what} | {each.theirs} | {each.ours} | {each.why} |"


# --- settings ---


def _settings() -> Iterator[str]:
    unsupported = [each.value for each in values.AuthType if each not in _auth_types()]
    if unsupported:
        yield f"Refused: `auth_type` {_list(unsupported)}.\n"
    yield "Read and shown, and without effect:\n"
    yield from _without_effect("[pgbouncer]", effect.NOT_IN_EFFECT)
    yield "\nNot PgBouncer's, which refuses to start with them:\n"
    yield from _ours("[pgbouncer]", table_of(Settings), OUR_SETTINGS)
    yield from _ours("[databases]", table_of(DatabaseSettings), OUR_DATABASE_KEYS)


def _auth_types() -> Sequence[values.AuthType]:
    """Return the methods that there are: once all are, nobody lists them."""
    supported: Sequence[values.AuthType] = getattr(
        values, "SUPPORTED_AUTH_TYPES", tuple(values.AuthType)
    )
    return supported


def _without_effect(section: str, reasons: Mapping[str, str]) -> Iterator[str]:
    for key, reason in sorted(reasons.items()):
        yield f"- {section} `{key}`: {reason}"


def _ours(section: str, table: Mapping[str, Setting[object]], keys: Iterable[str]) -> Iterator[str]:
    for key in sorted(keys):
        yield f"- {section} `{key}`: {table[key].doc}"


# --- the console ---


def _commands() -> Iterator[str]:
    missing, extra = THEIR_COMMANDS - COMMAND_WORDS, COMMAND_WORDS - THEIR_COMMANDS
    yield f"Missing: {_list(sorted(missing)) or 'none'}. Extra: {_list(sorted(extra)) or 'none'}.\n"
    yield from _table(COMMANDS)


def _columns() -> Iterator[str]:
    missing = sorted(COLUMNS.keys() - TABLES.keys())
    yield f"Missing tables: {_list(missing) or 'none'}. Extra tables:\n"
    for name in sorted(TABLES.keys() - COLUMNS.keys()):
        yield f"- SHOW {name.upper()}: {_list(each.name for each in TABLES[name].columns)}"
    yield ""
    differing = [line for name in sorted(COLUMNS) for line in _column_differences(name)]
    yield from differing or ["In all others, columns, types and order are PgBouncer's."]


def _column_differences(name: str) -> Iterator[str]:
    theirs = [column.split(":")[0] for column in COLUMNS[name].split()]
    ours = [column.name for column in TABLES[name].columns] if name in TABLES else []
    if theirs != ours:
        extra = _list(each for each in ours if each not in theirs) or "none"
        lacking = _list(each for each in theirs if each not in ours) or "none"
        yield f"- SHOW {name.upper()}: extra columns {extra}, missing {lacking}"


def _list(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)
