"""What users are asked for, and that nobody can be told from one who does not exist."""

from __future__ import annotations

import pytest

from pgpool_lite.config import HbaMethod
from pgpool_lite.pool.challenges import Challenges
from pgpool_lite.pool.secrets import Secrets
from pgpool_lite.session.client_login import Challenge, Method
from pgpool_lite.wire.passwords import SecretKind, classify_secret, hash_md5
from pgpool_lite.wire.scram import ScramSecret

STORED = {
    SecretKind.PLAIN: "alice-secret",
    SecretKind.MD5: hash_md5("alice-secret", "alice"),
    SecretKind.SCRAM_SHA_256: ScramSecret.from_password("alice-secret", b"s" * 16, 4096).encode(),
}
MD5, PASSWORD, SCRAM = HbaMethod.MD5, HbaMethod.PASSWORD, HbaMethod.SCRAM_SHA_256


def ask(challenges: Challenges, method: HbaMethod, user: str, listed: dict[str, str]) -> Challenge:
    usual = Secrets(listed).usual_kind
    return challenges.make(method, user, listed.get(user), usual, 4096)


@pytest.mark.parametrize("kind", list(SecretKind))
@pytest.mark.parametrize("method", [MD5, PASSWORD, SCRAM])
def test_who_does_not_exist_is_asked_what_the_users_of_the_file_are_asked(
    method: HbaMethod, kind: SecretKind
) -> None:
    challenges, listed = Challenges(), {"alice": STORED[kind]}
    known = ask(challenges, method, "alice", listed)
    unknown = ask(challenges, method, "mallory", listed)

    assert unknown.method is known.method
    if known.method is Method.SCRAM:
        assert known.scram_secret is not None
        assert unknown.scram_secret is not None
        assert unknown.scram_secret.iterations == known.scram_secret.iterations
        assert len(unknown.scram_secret.salt) == len(known.scram_secret.salt)
    else:
        assert (known.is_mock, unknown.is_mock) == (False, True)
        assert classify_secret(unknown.secret) is classify_secret(known.secret)


@pytest.mark.parametrize("secret", ["", None])
@pytest.mark.parametrize("method", [MD5, PASSWORD])
def test_who_has_no_password_is_asked_like_who_does_not_exist(
    method: HbaMethod, secret: str | None
) -> None:
    challenge = Challenges().make(method, "dave", secret, SecretKind.MD5, 4096)

    assert challenge.is_mock
    assert challenge.secret not in ("", "md5")


def test_made_up_secrets_do_not_change_and_are_no_one_elses() -> None:
    challenges, listed = Challenges(), {"alice": STORED[SecretKind.SCRAM_SHA_256]}
    first, again, other = (
        ask(challenges, PASSWORD, user, listed).secret for user in ("eve", "eve", "mallory")
    )

    assert first == again
    assert first != other


def test_a_derived_secret_follows_password_and_iterations() -> None:
    challenges = Challenges()

    def derived(password: str, iterations: int) -> ScramSecret:
        challenge = challenges.make(SCRAM, "dave", password, SecretKind.PLAIN, iterations)
        assert challenge.scram_secret is not None
        return challenge.scram_secret

    first = derived("one", 4096)

    assert derived("one", 4096) is first
    assert derived("one", 5000).iterations == 5000
    assert derived("two", 5000).fits("two")


def test_all_processes_of_a_crew_show_one_salt_for_who_does_not_exist() -> None:
    """Story: each worker made up a salt of its own, so who connected twice could tell a user that
    is not there: those that are have one salt.
    """
    salts = {
        secret.salt
        for _ in range(2)
        if (secret := ask(Challenges(), SCRAM, "mallory", {}).scram_secret) is not None
    }

    assert len(salts) == 1
