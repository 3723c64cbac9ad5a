"""What is known of users' secrets, and what becomes of it when they change."""

from __future__ import annotations

import pytest

from pgpool_lite.pool.secrets import Secrets
from pgpool_lite.wire.passwords import SecretKind, hash_md5
from pgpool_lite.wire.scram import ScramKeys, ScramSecret

KEYS = ScramKeys(b"client", b"server")
PLAIN, MD5 = "alice-secret", hash_md5("bob-secret", "bob")
SCRAM = ScramSecret.mock("carol", b"key", 4096).encode()


def test_a_user_of_the_auth_file_is_the_same_in_every_database() -> None:
    secrets = Secrets({"alice": PLAIN})
    secrets.remember_keys("app", "alice", KEYS)

    assert (secrets.listed("alice"), secrets.of("other", "alice")) == (PLAIN, PLAIN)
    assert secrets.keys_of("other", "alice") is KEYS


def test_a_secret_that_was_found_belongs_to_its_database() -> None:
    secrets = Secrets({})
    secrets.remember_found("app", "dave", SCRAM)
    secrets.remember_keys("app", "dave", KEYS)

    assert (secrets.listed("dave"), secrets.of("app", "dave")) == (None, SCRAM)
    assert (secrets.of("other", "dave"), secrets.keys_of("other", "dave")) == (None, None)


@pytest.mark.parametrize("found", [None, MD5])
def test_keys_go_with_the_secret_that_they_belong_to(found: str | None) -> None:
    secrets = Secrets({})
    secrets.remember_found("app", "dave", SCRAM)
    secrets.remember_keys("app", "dave", KEYS)

    secrets.remember_found("app", "dave", SCRAM)
    assert secrets.keys_of("app", "dave") is KEYS
    secrets.remember_found("app", "dave", found)
    assert (secrets.of("app", "dave"), secrets.keys_of("app", "dave")) == (found, None)


def test_who_does_not_exist_looks_like_most_users_of_the_auth_file() -> None:
    assert Secrets({}).usual_kind is SecretKind.PLAIN
    assert Secrets({"x": "", "y": "", "carol": SCRAM}).usual_kind is SecretKind.SCRAM_SHA_256
    secrets = Secrets({"bob": MD5, "alice": PLAIN, "bert": MD5})
    kinds = [secrets.usual_kind]
    secrets.reload({"carol": SCRAM})
    kinds.append(secrets.usual_kind)

    assert kinds == [SecretKind.MD5, SecretKind.SCRAM_SHA_256]
