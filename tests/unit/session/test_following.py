"""Unit tests of session/following.py: one more item of a connection's values."""

from __future__ import annotations

import pytest

from pgpool_lite.session.following import MAX_BYTES, MAX_SETTINGS, FollowedParameters, fits

TRACKED = FollowedParameters()
SERVER = TRACKED.values_of({"TimeZone": "UTC", "server_version": "15"})


def wish(**settings: str) -> tuple[str | None, ...]:
    return TRACKED.filled(TRACKED.wishes_of(settings), SERVER)


def test_what_a_server_reports_beside_is_no_setting_of_anybody() -> None:
    assert TRACKED.named(SERVER) == {"TimeZone": "UTC"}
    assert not TRACKED.has_unreported(SERVER)


def test_wishes_of_the_same_settings_are_one_object_in_any_order_and_case() -> None:
    assert wish(jit="off", work_mem="1MB") is wish(WORK_MEM="1MB", jit="off")


def test_a_tracked_wish_that_is_not_reported_joins_the_others() -> None:
    values = wish(search_path="a", timezone="UTC")

    assert TRACKED.settings_of(values) == {"search_path": "a"}
    assert TRACKED.unreported(values, SERVER) is None
    assert TRACKED.has_unreported(values)


def test_a_server_is_rid_of_the_last_client_before_it_gets_the_next_ones() -> None:
    sql = TRACKED.difference_sql(wish(jit="it's", timezone="UTC"), wish(**{'a.b"c': "1"}))

    assert sql == """RESET "a"."b""c";SELECT pg_catalog.set_config('jit','it''s',false)"""


def test_reported_values_change_along() -> None:
    sql = TRACKED.difference_sql(wish(jit="off", TimeZone="Asia/Tokyo"), SERVER)

    assert sql == "SELECT pg_catalog.set_config('jit','off',false);SET TimeZone='Asia/Tokyo'"


def test_equal_settings_cost_nothing() -> None:
    assert TRACKED.difference_sql(wish(jit="off"), wish(jit="off")) == ""


def test_an_adopted_server_has_the_clients_settings_and_its_own_reports() -> None:
    adopted = TRACKED.adopted(wish(jit="off", timezone="Asia/Tokyo"), SERVER)

    assert TRACKED.named(adopted) == {"TimeZone": "UTC", "jit": "off"}


def test_a_client_keeps_its_settings_and_takes_over_the_servers_spelling() -> None:
    spelled = TRACKED.spelled(wish(jit="off", timezone="utc"), SERVER)

    assert TRACKED.named(spelled) == {"TimeZone": "UTC", "jit": "off"}


@pytest.mark.parametrize("wishes", [{"jit": "maybe"}, {"search_path": "a"}, {"timezone": "x"}])
def test_a_new_value_may_fail(wishes: dict[str, str]) -> None:
    assert TRACKED.may_fail(TRACKED.wishes_of(wishes), SERVER)


def test_a_reset_cannot_fail() -> None:
    assert not TRACKED.may_fail(SERVER, wish(jit="off"))


def test_a_report_changes_a_value_and_leaves_the_settings() -> None:
    values = TRACKED.with_value(wish(jit="off"), "timezone", "Asia/Tokyo")

    assert TRACKED.named(values) == {"TimeZone": "Asia/Tokyo", "jit": "off"}
    assert TRACKED.with_settings(values, {"jit": "off"}) is values
    assert TRACKED.named(TRACKED.with_settings(values, {})) == {"TimeZone": "Asia/Tokyo"}


def test_what_follows_is_bounded() -> None:
    assert fits({"a": "x" * (MAX_BYTES - 2)})
    assert not fits({"a": "x" * MAX_BYTES})
    assert not fits({f"a.{n}": "" for n in range(MAX_SETTINGS + 1)})
