"""What a client wishes for is read once for all that say the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgpool_lite.config import Settings
from pgpool_lite.errors import LoginRejected
from pgpool_lite.pool.wishes import KnownWishes
from pgpool_lite.session.parameters import TrackedParameters
from pgpool_lite.wire.frontend import (
    REMEMBERED,
    StartupMessage,
    decode_startup,
    encode_startup,
)

ADDRESS = ("10.0.0.1", 5000)
TRACKED = TrackedParameters()


def said(**parameters: str) -> StartupMessage:
    return decode_startup(encode_startup({"user": "ann", **parameters}))


def test_the_same_bytes_are_the_same_startup_and_the_same_wishes() -> None:
    known, settings = KnownWishes(), Settings()

    first = known.read(said(application_name="web"), settings, TRACKED, ADDRESS)
    again = known.read(said(application_name="web"), settings, TRACKED, ("10.0.0.2", 1))
    other = known.read(said(application_name="job"), settings, TRACKED, ADDRESS)

    assert said(application_name="web") is said(application_name="web")
    assert again[0] is first[0]
    assert (first[1], other[1]) == ("web", "job")


def test_other_settings_are_another_question() -> None:
    known, startup = KnownWishes(), said(extra_float_digits="3")
    dropping = replace(Settings(), ignore_startup_parameters=("extra_float_digits",))

    known.read(startup, dropping, TRACKED, ADDRESS)

    with pytest.raises(LoginRejected):
        known.read(startup, Settings(), TRACKED, ADDRESS)


def test_a_name_with_the_address_in_it_is_each_clients_own() -> None:
    known, settings = KnownWishes(), replace(Settings(), application_name_add_host=True)

    names = [
        known.read(said(application_name="web"), settings, TRACKED, (host, 1))[1]
        for host in ("10.0.0.1", "10.0.0.2")
    ]

    assert names == ["web - 10.0.0.1:1", "web - 10.0.0.2:1"]


def test_who_says_something_else_each_time_is_not_remembered_for_ever() -> None:
    known, settings = KnownWishes(), Settings()

    for number in range(10 * REMEMBERED):
        known.read(said(application_name=str(number)), settings, TRACKED, ADDRESS)

    assert len(known) <= REMEMBERED + 1
