"""What clients are told at the end of their login, and how long it is kept."""

from __future__ import annotations

import pytest

from pgpool_lite.errors import LoginRejected
from pgpool_lite.pool.welcomes import MAX_KEPT, Welcomes
from pgpool_lite.session.parameters import TrackedParameters
from tests.console_client import split
from tests.unit.pairs import WELCOME

TRACKED = TrackedParameters()
REPORTED = {**WELCOME, "server_version": "15.8"}
TOLD = (("pgbouncer.pool_mode", "transaction"),)
NONE = TRACKED.values_of({})


def test_a_welcome_is_what_the_server_reported_with_the_clients_wishes_in_their_place() -> None:
    wishes = TRACKED.values_of({"application_name": "psql"})

    welcome = Welcomes().find(TRACKED, REPORTED, TOLD, wishes)

    first, *statuses = map(str, split(welcome.messages))
    assert first == "R Ok"
    assert {"S server_version=15.8", "S pgbouncer.pool_mode=transaction"} <= set(statuses)
    assert "S application_name=psql" in statuses
    assert len(statuses) == len(set(statuses)) == len(REPORTED) + 2
    assert TRACKED.named(welcome.parameters) == {**WELCOME, "application_name": "psql"}


def test_clients_with_the_same_wishes_share_a_welcome() -> None:
    welcomes = Welcomes()
    other = TRACKED.values_of({"application_name": "other"})

    first = welcomes.find(TRACKED, REPORTED, TOLD, NONE)

    assert welcomes.find(TRACKED, REPORTED, TOLD, NONE) is first
    assert welcomes.find(TRACKED, REPORTED, TOLD, other) is not first


def test_another_report_and_other_rules_make_new_welcomes() -> None:
    welcomes = Welcomes()
    welcomes.find(TRACKED, REPORTED, TOLD, NONE)

    newer = welcomes.find(TRACKED, {**REPORTED, "server_version": "16.0"}, TOLD, NONE)
    session = (("pgbouncer.pool_mode", "session"),)
    other = welcomes.find(TRACKED, REPORTED, session, NONE)

    assert b"16.0" in newer.messages
    assert b"transaction" not in other.messages


def test_what_is_kept_is_bounded() -> None:
    welcomes = Welcomes()
    names = [TRACKED.values_of({"application_name": f"app {n}"}) for n in range(MAX_KEPT + 1)]
    oldest = welcomes.find(TRACKED, REPORTED, TOLD, names[0])

    for wishes in names[1:]:
        welcomes.find(TRACKED, REPORTED, TOLD, wishes)

    assert welcomes.find(TRACKED, REPORTED, TOLD, names[0]) is not oldest


def test_a_wish_that_could_not_be_seen_to_be_kept_is_refused_each_time() -> None:
    welcomes, wishes = Welcomes(), TRACKED.values_of({"search_path": "app"})

    for _ in range(2):
        with pytest.raises(LoginRejected, match="search_path"):
            welcomes.find(TRACKED, REPORTED, TOLD, wishes)


@pytest.mark.parametrize(
    ("wishes", "is_proven"),
    [({}, True), ({"application_name": "psql"}, True), ({"TimeZone": "Mars/Base"}, False)],
)
def test_only_values_that_no_server_could_refuse_are_proven(
    wishes: dict[str, str], is_proven: bool
) -> None:
    welcome = Welcomes().find(TRACKED, REPORTED, TOLD, TRACKED.values_of(wishes))

    assert welcome.is_proven is is_proven
