"""Parameters follow their client: which, how they are compared, and the SQL that moves them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.session.parameters import TrackedParameters, quote_literal

TRACKED = TrackedParameters()
UTC = TRACKED.values_of({"TimeZone": "UTC", "application_name": "psql"})
BERLIN = TRACKED.values_of({"TimeZone": "Europe/Berlin", "application_name": "psql"})


@pytest.mark.parametrize("name", ["TimeZone", "timezone", "TIMEZONE", "client_encoding"])
def test_names_ignore_case(name: str) -> None:
    assert TRACKED.is_tracked(name)


def test_other_parameters_are_not_tracked() -> None:
    assert not TRACKED.is_tracked("work_mem")


def test_extra_parameters_are_tracked_under_their_names() -> None:
    tracked = TrackedParameters(["IntervalStyle", "my.tenant"])

    assert tracked.is_tracked("MY.tenant")
    assert tracked.names == (*TRACKED.names, "my.tenant")


def test_values_stand_in_the_order_of_the_names() -> None:
    values = TRACKED.values_of({"timezone": "UTC", "work_mem": "1GB"})

    assert dict(zip(TRACKED.names, values, strict=True))["TimeZone"] == "UTC"
    assert values.count(None) == len(values) - 1


def test_a_changed_value_makes_new_values() -> None:
    assert TRACKED.with_value(UTC, "timezone", "Europe/Berlin") == BERLIN


def test_an_unchanged_or_untracked_value_gives_the_same_object() -> None:
    assert TRACKED.with_value(UTC, "TimeZone", "UTC") is UTC
    assert TRACKED.with_value(UTC, "is_superuser", "on") is UTC


def test_a_client_starts_with_its_wishes_and_the_servers_values() -> None:
    wishes = TRACKED.values_of({"TimeZone": "Europe/Berlin"})

    assert TRACKED.filled(wishes, UTC) == BERLIN


def test_a_wish_that_the_server_does_not_report_is_left_out() -> None:
    wishes = TRACKED.values_of({"search_path": "app"})

    assert TRACKED.filled(wishes, UTC) == UTC
    assert TRACKED.unreported(wishes, UTC) == "search_path"


def test_wishes_that_the_server_reports_are_fine() -> None:
    assert TRACKED.unreported(TRACKED.values_of({"TimeZone": "x"}), UTC) is None


def test_known_values_have_names() -> None:
    assert TRACKED.named(UTC) == {"TimeZone": "UTC", "application_name": "psql"}


def test_equal_values_need_no_sql() -> None:
    assert TRACKED.difference_sql(UTC, UTC) == ""


def test_each_difference_is_one_set() -> None:
    other = TRACKED.values_of({"TimeZone": "Europe/Berlin", "application_name": "it's"})

    sql = TRACKED.difference_sql(other, UTC)

    assert sql == "SET TimeZone='Europe/Berlin';SET application_name='it''s'"


def test_a_value_unknown_to_either_side_is_left_alone() -> None:
    wanted = TRACKED.values_of({"search_path": "app", "TimeZone": "UTC"})

    assert TRACKED.difference_sql(wanted, UTC) == ""
    assert TRACKED.difference_sql(UTC, wanted) == ""


def test_a_list_of_names_goes_through_set_config() -> None:
    wanted = TRACKED.values_of({"search_path": 'app, "$user"'})
    present = TRACKED.values_of({"search_path": "public"})

    assert TRACKED.difference_sql(wanted, present) == (
        "SELECT pg_catalog.set_config('search_path', 'app, \"$user\"', false)"
    )


def test_any_value_but_application_name_may_be_refused() -> None:
    named = TRACKED.with_value(UTC, "application_name", "anything")

    assert TRACKED.may_fail(BERLIN, UTC)
    assert not TRACKED.may_fail(named, UTC)
    assert not TRACKED.may_fail(UTC, UTC)


@pytest.mark.parametrize(
    ("text", "literal"),
    [("", "''"), ("plain", "'plain'"), ("it's", "'it''s'"), ("a\\b'", "E'a\\\\b'''")],
)
def test_a_literal_is_quoted(text: str, literal: str) -> None:
    assert quote_literal(text) == literal


@given(st.text("a'\\;"))
def test_no_text_ends_its_own_literal(text: str) -> None:
    literal = quote_literal(text)
    escaped = literal.startswith("E")
    inner = literal[2:-1] if escaped else literal[1:-1]

    assert literal.endswith("'")
    assert inner.replace("\\\\", "\\").replace("''", "'") == text
    assert "'" not in inner.replace("''", "")
