"""Profiles: each file is whole and sourced, and what is set explicitly goes before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgpool_lite.config import (
    PoolMode,
    PreparedStatements,
    Settings,
    config_for_url,
    from_keywords,
    load,
    with_setting,
)
from pgpool_lite.config.profiles import (
    DEFAULT,
    FOLDER,
    NAMES,
    Profile,
    default_values,
    load_profile,
    read_profile,
)
from pgpool_lite.config.table import table_of
from pgpool_lite.errors import ConfigError
from pgpool_lite.pool.lessons import LESSONS, find_lesson

PROFILES = [load_profile(name) for name in NAMES]
BY_NAME = pytest.mark.parametrize("profile", PROFILES, ids=NAMES)
#: What may stand in braces in a sentence; `teaching` has the values.
VALUES = {"user": "ann", "database": "app", "max_client_conn": "100"} | {
    "query_wait_timeout_ms": "60000",
    "Pool_mode": "Transaction",
}


# --- the files ---


def test_there_is_a_file_for_each_name_and_no_other() -> None:
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(NAMES)


@BY_NAME
def test_a_file_is_named_as_its_profile(profile: Profile) -> None:
    assert load_profile(profile.name) is profile
    assert profile.summary.endswith(".")
    assert profile.checked


@BY_NAME
def test_every_setting_exists_and_its_value_is_allowed(profile: Profile) -> None:
    from_keywords(**{each.key: each.value for each in profile.settings})


@BY_NAME
def test_every_fact_has_a_source_and_a_date(profile: Profile) -> None:
    facts = [each.why for each in profile.settings] + [each.source for each in profile.errors]
    facts += profile.beyond

    assert [fact for fact in facts if not (fact.source and fact.date.startswith("20"))] == []


@BY_NAME
def test_every_sentence_replaces_one_that_the_pooler_says(profile: Profile) -> None:
    said = {lesson.sentence for lesson in LESSONS}

    assert [each.ours for each in profile.errors if each.ours not in said] == []


@BY_NAME
def test_every_sentence_can_be_filled_in(profile: Profile) -> None:
    for_anybody = [each.replaced(each.ours, VALUES) or "" for each in profile.errors]

    assert [sentence for sentence in for_anybody if "{" in sentence or "  " in sentence] == []


def test_without_a_profile_nothing_differs_from_pgbouncer() -> None:
    assert default_values(DEFAULT) == {}
    assert load_profile(DEFAULT).errors == ()
    assert Settings().profile == DEFAULT


WHOLE = """
name = "mine"
summary = "Mine."
checked = "nothing"
[sources.a]
text = "A"
date = "2026"
"""
BROKEN = {
    "no name": WHOLE.replace('name = "mine"', ""),
    "an unknown key": WHOLE + "[extra]\n",
    "an unknown key of a setting": WHOLE + '[settings.x]\nvalue="1"\nwhy="y"\nsource="a"\nz="1"\n',
    "a source that is not there": WHOLE + '[[beyond]]\nfact = "x"\nsource = "b"\n',
    "a fact without a source": WHOLE + '[[beyond]]\nfact = "x"\n',
    "no TOML": "name = ",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_file_that_is_no_profile_is_refused(text: str) -> None:
    read_profile(WHOLE)

    with pytest.raises((ValueError, KeyError)):
        read_profile(text)


def test_a_name_that_is_none_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="supavisor"):
        load_profile("pgbouncer-0.1")


# --- what counts ---


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    path = tmp_path / "pgbouncer.ini"
    path.write_text("[pgbouncer]\nprofile = supavisor\ndefault_pool_size = 7\n")
    return path


def test_a_profile_decides_where_the_file_says_nothing(ini: Path) -> None:
    settings = load(ini).settings

    assert (settings.max_client_conn, settings.query_wait_timeout) == (1000, 60.0)
    assert settings.pool_mode is PoolMode.TRANSACTION


def test_what_the_file_says_goes_before_its_profile(ini: Path) -> None:
    assert load(ini).settings.default_pool_size == 7


def test_the_file_goes_before_a_profile_of_the_command_line_too(ini: Path) -> None:
    settings = load(ini, {"profile": "neon"}).settings

    assert settings.profile == "neon"
    assert (settings.default_pool_size, settings.max_client_conn) == (7, 10000)


def test_the_command_line_goes_before_all(ini: Path) -> None:
    assert load(ini, {"max_client_conn": 3}).settings.max_client_conn == 3


def test_keywords_go_before_their_profile() -> None:
    settings = config_for_url("postgresql://a@b/c", profile="supavisor", max_client_conn=3).settings

    assert (settings.max_client_conn, settings.default_pool_size) == (3, 15)
    assert from_keywords(profile="pgbouncer-1.20").prepared_statements is PreparedStatements.PASS


def test_a_profile_that_is_none_is_refused_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "pgbouncer.ini"
    path.write_text("[pgbouncer]\nprofile = pgcat\n")

    with pytest.raises(ConfigError, match=r":2: profile: expected one of pgbouncer-1\.26"):
        load(path)


def test_a_profile_is_not_changed_on_the_console() -> None:
    with pytest.raises(ConfigError, match="RELOAD"):
        with_setting(Settings(), "profile", "neon")


# --- sentences ---


def test_a_sentence_is_replaced_with_what_differs_in_it() -> None:
    said = load_profile("rds-proxy").said("unsupported startup parameter: jit", "08P01", VALUES)

    assert said == (
        "Feature not supported: RDS Proxy currently doesn't support the option jit.",
        "08P01",
    )


@pytest.mark.parametrize("name", ["pgbouncer-1.20", "pgbouncer-1.21"])
def test_before_1_24_a_failing_login_is_not_repeated(name: str) -> None:
    sentence = "server login has been failing, cached error: connect failed (server_login_retry)"

    said, _ = load_profile(name).said(sentence, "08P01", VALUES)

    assert said == "server login has been failing, try again later (server_login_retry)"


def test_a_sentence_that_the_profile_does_not_know_stays() -> None:
    assert load_profile("rds-proxy").said("query timeout", "08P01", VALUES) == (
        "query timeout",
        "08P01",
    )


def test_every_replaced_sentence_has_a_lesson() -> None:
    ours = {each.ours for profile in PROFILES for each in profile.errors}

    assert [each for each in ours if find_lesson(each) is None] == []


def test_every_setting_of_a_profile_is_one() -> None:
    keys = {each.key for profile in PROFILES for each in profile.settings}

    assert keys <= table_of(Settings).keys()
