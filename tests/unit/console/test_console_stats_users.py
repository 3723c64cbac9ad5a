"""A user of stats_users can look at everything and change nothing, whatever it says and how."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgpool_lite.config import DatabaseSettings
from pgpool_lite.console.commands import COMMAND_WORDS
from pgpool_lite.console.show import TABLES
from tests.console_client import Console
from tests.wire_messages import Bind, Execute, Parse, Query, Sync

#: Every word but those that only look, with every kind of argument that one of them takes.
COMMANDS = [
    f"{word} {argument}".strip()
    for word in sorted(COMMAND_WORDS - {"show", "select"})
    for argument in ("", "app", "nosuch", "1", "C-0x1", "WAIT_FOR_CLIENTS", "query_timeout = 5")
]
CANARY = "hunter2-canary"


def extended(command: str) -> bytes:
    return Parse(command) + Bind() + Execute() + Sync()


@pytest.mark.parametrize("say", [Query, extended], ids=["simple", "extended"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_stats_user_changes_nothing_by_any_command(
    command: str, say: Callable[[str], bytes]
) -> None:
    console = Console(is_admin=False)
    console.controls.known_clients = {1}
    settings = console.registry.config.settings
    database = console.registry.databases["app"]

    said = console.says(say(command))

    assert said[-1] == "Z I"
    assert said[-2].startswith("E ERROR")
    assert console.controls.done == []
    assert console.registry.config.settings is settings
    assert (database.is_paused, database.is_disabled) == (False, False)


@pytest.mark.parametrize("is_admin", [True, False], ids=["admin", "stats"])
@pytest.mark.parametrize("suffix", ["", " JSON"])
@pytest.mark.parametrize("table", TABLES)
def test_no_table_shows_a_secret(table: str, suffix: str, is_admin: bool) -> None:
    database = DatabaseSettings(name="app", user="app", password=CANARY)
    console = Console(
        databases={"app": database},
        fallback=DatabaseSettings(name="*", password=CANARY),
        secrets={"alice": CANARY, "app": CANARY},
        is_admin=is_admin,
        auth_ldap_options=f"ldapbindpasswd={CANARY}",
    )
    console.registry.pool_for(console.registry.databases["app"], "alice")
    console.registry.secrets.remember_found("app", "bob", CANARY)

    said = console.says(Query(f"SHOW {table}{suffix}"))

    assert said[-2:] == ["C SHOW", "Z I"]
    assert CANARY not in "\n".join(said)
