"""Stored secrets: what they are, and which answers of a client fit them."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.errors import ConfigError
from pgpool_lite.wire.passwords import (
    SecretKind,
    answer_md5,
    check_md5,
    check_password,
    classify_secret,
    hash_md5,
)
from pgpool_lite.wire.scram import ScramSecret

# Made by PostgreSQL 15.18: CREATE USER e PASSWORD 'secret', with both password_encryption values.
MD5_SECRET = "md536a5910394733b975acf825be4b26c5e"
SCRAM_SECRET = (
    "SCRAM-SHA-256$4096:ULXujL69fHcZ/zDoIHHGgw==$dDKLwT7J54ORMlHLa5hvkzBlogPceBX5alQrI8pAy8o="
    ":Syx0kKXzEzetLhv1kxnL5eGnt+5CbWunwG0txSscLKU="
)
SALT = b"\x00\xff,\x80"


@pytest.mark.parametrize(
    ("secret", "kind"),
    [
        (MD5_SECRET, SecretKind.MD5),
        (SCRAM_SECRET, SecretKind.SCRAM_SHA_256),
        ("", SecretKind.PLAIN),
        ("secret", SecretKind.PLAIN),
        ("md5", SecretKind.PLAIN),
        (MD5_SECRET.upper(), SecretKind.PLAIN),
        ("md5" + "A" * 32, SecretKind.PLAIN),
        (MD5_SECRET + "0", SecretKind.PLAIN),
        (MD5_SECRET + "\n", SecretKind.PLAIN),
        (SCRAM_SECRET[:-1], SecretKind.PLAIN),
        ("SCRAM-SHA-256$", SecretKind.PLAIN),
        ("pässwörd", SecretKind.PLAIN),
        ("x" * 65530, SecretKind.PLAIN),
    ],
)
def test_a_secret_is_classified_as_postgresql_does(secret: str, kind: SecretKind) -> None:
    assert classify_secret(secret) is kind


def test_an_md5_secret_is_the_one_postgresql_makes() -> None:
    assert hash_md5("secret", "e") == MD5_SECRET


def test_an_md5_answer_is_made_as_the_protocol_documentation_says() -> None:
    inner = hashlib.md5(b"secret" + b"e").hexdigest()
    expected = "md5" + hashlib.md5(inner.encode() + SALT).hexdigest()

    assert answer_md5("secret", "e", SALT) == expected
    assert answer_md5(MD5_SECRET, "e", SALT) == expected


def test_a_scram_secret_is_never_asked_for_an_md5_answer() -> None:
    with pytest.raises(AssertionError, match="cannot answer"):
        answer_md5(SCRAM_SECRET, "e", SALT)


@pytest.mark.parametrize("stored", ["secret", MD5_SECRET])
def test_the_right_md5_answer_is_accepted_whatever_is_stored(stored: str) -> None:
    answer = answer_md5("secret", "e", SALT).encode()

    assert check_md5(stored, "e", SALT, answer)


@pytest.mark.parametrize(
    ("stored", "user_name", "salt", "password"),
    [
        ("secret", "e", SALT, "Secret"),
        ("secret", "e", b"salt", "secret"),
        ("secret", "f", SALT, "secret"),
        (MD5_SECRET, "e", b"salt", "secret"),
        (SCRAM_SECRET, "e", SALT, "secret"),
        ("", "e", SALT, ""),
    ],
)
def test_a_wrong_md5_answer_is_refused(
    stored: str, user_name: str, salt: bytes, password: str
) -> None:
    answer = answer_md5(password, "e", SALT).encode()

    assert not check_md5(stored, user_name, salt, answer)


@pytest.mark.parametrize("answer", [b"", b"secret", b"md5", b"\xff\0", b"md5" + b"0" * 32])
def test_what_is_no_md5_answer_is_refused(answer: bytes) -> None:
    assert not check_md5("secret", "e", SALT, answer)


@pytest.mark.parametrize("stored", ["secret", MD5_SECRET, SCRAM_SECRET])
def test_the_right_password_is_accepted_whatever_is_stored(stored: str) -> None:
    assert check_password(stored, "e", b"secret")


@pytest.mark.parametrize("stored", ["secret", MD5_SECRET, SCRAM_SECRET, ""])
@pytest.mark.parametrize("given_password", [b"", b"Secret", b"secret ", b"\xff", b"s\xc3\xa9cret"])
def test_a_wrong_password_is_refused(stored: str, given_password: bytes) -> None:
    assert not check_password(stored, "e", given_password)


@pytest.mark.parametrize("stored", [MD5_SECRET, SCRAM_SECRET])
def test_a_stolen_secret_is_no_password(stored: str) -> None:
    assert not check_password(stored, "e", stored.encode())


def test_passwords_that_are_no_utf_8_are_compared_byte_by_byte() -> None:
    assert check_password("p\udce4ss", "e", b"p\xe4ss")
    assert check_password(hash_md5("p\udce4ss", "\udce4"), "\udce4", b"p\xe4ss")


def test_a_secret_with_too_many_iterations_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="1000000000 iterations"):
        check_password(SCRAM_SECRET.replace("$4096:", "$1000000000:"), "e", b"secret")


@given(password=st.text(min_size=1), user_name=st.text(), salt=st.binary(min_size=4, max_size=4))
def test_any_password_answers_for_itself(password: str, user_name: str, salt: bytes) -> None:
    stored = hash_md5(password, user_name)

    assert check_md5(stored, user_name, salt, answer_md5(password, user_name, salt).encode())
    assert check_password(stored, user_name, password.encode())
    assert check_password(password, user_name, password.encode())


@given(password=st.text(min_size=1))
def test_any_password_fits_its_scram_secret(password: str) -> None:
    stored = ScramSecret.from_password(password, b"salt", 1).encode()

    assert check_password(stored, "e", password.encode())
