"""No object that holds a secret shows it: what is printed of it may end in a log or a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgpool_lite.config import Config, DatabaseSettings, Settings, from_keywords
from pgpool_lite.config.databases import parse_database
from pgpool_lite.config.ini import Located
from pgpool_lite.config.url import parse_url
from pgpool_lite.config.userlist import scan_userlist
from pgpool_lite.errors import ConfigError
from pgpool_lite.pool.registry import Registry
from pgpool_lite.session.auth_query import FoundUser
from pgpool_lite.session.client_login import Challenge, Method
from pgpool_lite.wire.frontend import CancelKey
from pgpool_lite.wire.scram import ScramKeys, ScramSecret

CANARY = "hunter2-canary"
SCRAM = ScramSecret(4096, CANARY.encode(), CANARY.encode(), CANARY.encode())
DATABASE = DatabaseSettings(name="app", user="app", password=CANARY)
CONFIG = Config(
    settings=Settings(auth_ldap_options=CANARY),
    databases={"app": DATABASE},
    fallback=DATABASE,
    secrets={"alice": CANARY},
)


def credentials() -> object:
    registry = Registry(CONFIG, 0.0)
    return registry.credentials_for(registry.pool_for(registry.databases["app"], "alice"))


@pytest.mark.parametrize(
    "holder",
    [
        DATABASE,
        CONFIG,
        credentials(),
        from_keywords(auth_ldap_options=CANARY),
        FoundUser("alice", CANARY),
        Challenge(Method.CLEARTEXT, "alice", CANARY),
        Challenge(Method.SCRAM, "alice", scram_secret=SCRAM),
        SCRAM,
        ScramKeys(CANARY.encode(), CANARY.encode()),
        CancelKey(1, CANARY.encode()),
        Located("app", f"host=h password={CANARY}", Path("p.ini"), 1),
    ],
    ids=lambda holder: type(holder).__name__,
)
def test_what_is_printed_of_an_object_has_no_secret(holder: object) -> None:
    assert CANARY not in f"{holder!r} {holder}"


@pytest.mark.parametrize(
    "broken",
    [
        lambda: parse_database(Located("app", f"host=h password={CANARY} nosuch", Path("p"), 1)),
        lambda: parse_database(Located("app", f"port=x password='{CANARY}", Path("p"), 1)),
        lambda: parse_url(f"postgresql://u:{CANARY}@h:port/db"),
        lambda: parse_url(f"http://u:{CANARY}@h/db"),
        lambda: scan_userlist(f'"alice" "{CANARY}'),
        lambda: scan_userlist(f'"alice" "{CANARY}" \n{CANARY}'),
        lambda: ScramSecret.parse(f"SCRAM-SHA-256$1:{CANARY}"),
    ],
)
def test_no_error_about_a_file_or_url_repeats_a_secret(broken: object) -> None:
    assert callable(broken)
    with pytest.raises(ConfigError) as raised:
        broken()

    assert CANARY not in f"{raised.value!r} {raised.value} {raised.value.__cause__!r}"
