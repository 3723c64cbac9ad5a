"""postgresql:// URLs, as libpq reads them."""

from __future__ import annotations

import getpass
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.config import DatabaseSettings, SslMode, parse_url
from pgpool_lite.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "database"),
    [
        (
            "postgresql://ann:pw@db.example:6000/app",
            DatabaseSettings(
                name="app", dbname="app", host="db.example", port=6000, user="ann", password="pw"
            ),
        ),
        (
            "postgres://ann@h",
            DatabaseSettings(name="ann", dbname="ann", host="h", user="ann"),
        ),
        (
            "postgresql://ann:@h/app",
            DatabaseSettings(name="app", dbname="app", host="h", user="ann"),
        ),
        (
            "postgresql://o%27neill:p%40s%2Fs%3A@h/my%20db",
            DatabaseSettings(
                name="my db", dbname="my db", host="h", user="o'neill", password="p@s/s:"
            ),
        ),
        (
            "postgresql://ann@[::1]:6000/app",
            DatabaseSettings(name="app", dbname="app", host="::1", port=6000, user="ann"),
        ),
        (
            "postgresql://ann@h1,h2/app",
            DatabaseSettings(name="app", dbname="app", host="h1,h2", user="ann"),
        ),
        (
            "postgresql://ann@%2Fvar%2Frun/app",
            DatabaseSettings(name="app", dbname="app", host="/var/run", user="ann"),
        ),
        (
            "postgresql:///app?host=/var/run&port=6000&user=ann&password=p%26w",
            DatabaseSettings(
                name="app", dbname="app", host="/var/run", port=6000, user="ann", password="p&w"
            ),
        ),
        (
            "postgresql://ann@h?dbname=app&sslmode=Verify-Full&application_name=me&client_encoding=",
            DatabaseSettings(
                name="app",
                dbname="app",
                host="h",
                user="ann",
                sslmode=SslMode.VERIFY_FULL,
                application_name="me",
            ),
        ),
    ],
)
def test_a_url_names_a_server(url: str, database: DatabaseSettings) -> None:
    assert parse_url(url) == (database, ())


def test_without_a_user_it_is_the_operating_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "me")
    assert parse_url("postgresql://") == (
        DatabaseSettings(name="me", dbname="me", user="me"),
        (),
    )


def test_without_any_user_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError(1000)

    monkeypatch.setattr(getpass, "getuser", nobody)
    with pytest.raises(ConfigError, match="the URL names no user"):
        parse_url("postgresql://h/app")


def test_a_parameter_of_no_effect_is_a_warning() -> None:
    _, warnings = parse_url("postgresql://ann@h/app?schema=public&pgbouncer=true")
    assert warnings == (
        "the URL's parameter schema is ignored",
        "the URL's parameter pgbouncer is ignored",
    )


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://ann:hush@h/app", "expected a URL such as postgresql://user:password@host:5432"),
        ("ann:hush@h", "expected a URL such as"),
        ("postgresql://ann:hush@h:port/app", "expected a whole number from 1 to 65535, not 'port'"),
        ("postgresql://ann:hush@h1:1,h2:2/app", "all hosts of the list have to use one port"),
        ("postgresql://ann:hush@h1:6000,h2/app", "all hosts of the list have to use one port"),
        ("postgresql://ann:hush@::1/app", "expected host, host:port or [IPv6 address]:port"),
        ("postgresql://ann:hush@h/app?sslmode=on", "sslmode: expected one of disable, allow, "),
        ("postgresql://ann:hush@h/app?port=0", "port: expected a whole number from 1 to 65535"),
    ],
)
def test_a_broken_url_is_refused_without_its_password(url: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_url(url)
    assert message in str(caught.value)
    assert "hush" not in str(caught.value)


WORD = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(user=WORD, password=WORD, dbname=WORD)
def test_what_is_percent_encoded_is_read(user: str, password: str, dbname: str) -> None:
    encoded = [quote(part, safe="") for part in (user, password, dbname)]
    database, _ = parse_url("postgresql://{}:{}@h/{}".format(*encoded))
    assert (database.user, database.password, database.dbname) == (user, password, dbname)
