"""SASLprep as PostgreSQL has it: RFC 4013's examples, and where PostgreSQL leaves the RFC."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.wire.saslprep import MAX_NORMALIZED, normalize_password
from pgpool_lite.wire.scram import ScramSecret


@pytest.mark.parametrize(
    ("password", "normalized"),
    [
        ("I\u00adX", "IX"),  # RFC 4013 section 3: soft hyphen mapped to nothing
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),  # output is NFKC
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),  # non-ASCII spaces become spaces
        ("\u2168\u200bx", "IX x"),  # PostgreSQL: zero width space becomes a space too
        ("\u0627\u0031\u0628", "\u06271\u0628"),  # right-to-left at both ends
        ("pässwörd", "pässwörd"),
        ("pa\u0308sswo\u0308rd", "pässwörd"),
    ],
)
def test_a_password_is_normalized(password: str, normalized: str) -> None:
    assert normalize_password(password) == normalized.encode()
    assert normalize_password(password.encode()) == normalized.encode()


@pytest.mark.parametrize(
    "password",
    [
        "",
        "\x07",  # the RFC prohibits it, PostgreSQL leaves ASCII alone
        "é\x07\u00aa",  # prohibited control character
        "\u0627\u0031\u00aa",  # RFC 4013 section 3: right-to-left only at one end
        "\u0627a\u0628\u00aa",  # left-to-right letter between
        "\u0627\u0031\u2168",
        "1\u0627",
        "\u0627\u0031!\u0021",
        "\u00ad",  # nothing would be left
        "\u00aa\u0221",  # unassigned in Unicode 3.2
        "\u00aa\ue000",  # private use
        "\u00aa\u2028",
        "\u00aa\U000e0001",
        "\u00aa\ufffd",
    ],
)
def test_a_password_that_saslprep_forbids_stays_as_it_is(password: str) -> None:
    assert normalize_password(password) == password.encode()


def test_a_very_long_password_stays_as_it_is_and_costs_nothing() -> None:
    """Story: a stranger sends 70 KB of accents as a password, in an order that normalization has to
    sort. That took three seconds, in which nobody was served.
    """
    accents = ("\u0301" * MAX_NORMALIZED + "\u0316" * MAX_NORMALIZED).encode()
    longest = "\u2168" * (MAX_NORMALIZED // 3)

    assert normalize_password(accents) == accents
    assert normalize_password(longest) == b"IX" * (MAX_NORMALIZED // 3)


def test_bytes_that_are_no_utf_8_stay_as_they_are() -> None:
    assert normalize_password(b"p\xe4ss\xc2\xad") == b"p\xe4ss\xc2\xad"
    assert normalize_password("p\udce4ss") == b"p\xe4ss"


@given(password=st.text())
def test_a_normalized_password_is_the_same_for_text_and_bytes(password: str) -> None:
    assert normalize_password(password) == normalize_password(password.encode())


@pytest.mark.parametrize(
    ("password", "secret"),
    [
        (
            "I\u00adX",
            "SCRAM-SHA-256$4096:m9YYxu4ml8cJlRpnd823hA==$BjhgIgTu0TxEid5IZz9llZVzvY3uoQGEMmxelI5aFYA="
            ":PGsZAbkIAazbFkBzg6YPE5sB9biBXYEbVeWMwWSc5Iw=",
        ),
        (
            "\u2168 \u00e9\u200bx",
            "SCRAM-SHA-256$4096:cfzV+nUDZkaLJv++8Cmx3A==$U0bYSKNsE9VhQ05eMcfzVSAw6PlaEFFfGbZGlZOyCTY="
            ":FyqVWwi6JatM9p3IDAQDQLhKKctaT/KHhHiK1D60Etk=",
        ),
    ],
)
def test_a_secret_made_by_postgresql_15_fits_its_password(password: str, secret: str) -> None:
    assert ScramSecret.parse(secret).fits(password)
