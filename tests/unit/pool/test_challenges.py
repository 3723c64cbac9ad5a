"""What users are asked for, and that nobody can be told from one who does not exist."""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter
from collections.abc import Callable

import pytest

from pgpool_lite.config import HbaMethod
from pgpool_lite.errors import LoginRejected
from pgpool_lite.pool.challenges import MAX_KEPT, Challenges
from pgpool_lite.pool.secrets import Secrets
from pgpool_lite.session.client_login import Challenge, ClientLogin, Method
from pgpool_lite.wire.passwords import SecretKind, classify_secret, hash_md5
from pgpool_lite.wire.scram import ScramClient, ScramKeys, ScramSecret
from tests.wire_messages import (
    PasswordMessage,
    SASLInitialResponse,
    SASLResponse,
    StartupMessage,
)

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


class Work:
    """Counts what takes time in a login: every hash, however it is asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: Counter[str] = Counter()
        for module, name in (
            (hashlib, "pbkdf2_hmac"),
            (hashlib, "sha256"),
            (hashlib, "md5"),
            (hmac, "digest"),
            (hmac, "compare_digest"),
        ):
            monkeypatch.setattr(module, name, self._counted(name, getattr(module, name)))

    def _counted(self, name: str, function: Callable[..., object]) -> Callable[..., object]:
        def count(*arguments: object, **options: object) -> object:
            self.done[name] += 1
            return function(*arguments, **options)

        return count

    def take(self) -> Counter[str]:
        """Return what has been done since the last time."""
        done, self.done = self.done, Counter()
        return done


def try_to_get_in(challenge: Challenge) -> str:
    """Go through the whole exchange with a wrong password; return the words at its end."""
    login = ClientLogin()
    login.receive(StartupMessage({"user": challenge.user}))
    login.challenge(challenge)
    try:
        if challenge.method is Method.SCRAM:
            client = ScramClient(ScramKeys(b"k" * 32, b"s" * 32), lambda: "nonce")
            login.answer = b""
            login.receive(SASLInitialResponse("SCRAM-SHA-256", client.first().decode()))
            login.receive(SASLResponse(client.final(login.answer[9:]).decode()))
        else:
            login.receive(PasswordMessage("wrong"))
    except LoginRejected as error:
        return error.message
    raise AssertionError("let in")


@pytest.mark.parametrize("kind", list(SecretKind))
@pytest.mark.parametrize("method", [MD5, PASSWORD, SCRAM])
def test_who_does_not_exist_takes_the_same_hashes_as_who_knows_a_wrong_password(
    method: HbaMethod, kind: SecretKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first login of a user with a plain password took a millisecond more by SCRAM than that of
    one who does not exist: its secret was derived then. Now both take it, and neither again.
    """
    challenges, listed = Challenges(), {"alice": STORED[kind], "bob": STORED[kind]}
    work = Work(monkeypatch)

    def attempt(user: str) -> tuple[str, Counter[str]]:
        return try_to_get_in(ask(challenges, method, user, listed)), work.take()

    first_known, first_unknown = attempt("alice"), attempt("mallory")
    again_known, again_unknown = attempt("alice"), attempt("mallory")

    assert sum(again_known[1].values()) > 0
    assert first_unknown[0] == first_known[0]
    assert first_unknown[1]["pbkdf2_hmac"] == first_known[1]["pbkdf2_hmac"]
    assert again_unknown[1]["pbkdf2_hmac"] == again_known[1]["pbkdf2_hmac"]
    assert again_unknown[1]["compare_digest"] == again_known[1]["compare_digest"]
    few = 5  # a salt, or a made-up secret, is a hash of some bytes: a microsecond each
    for name in ("sha256", "md5", "digest"):
        assert abs(again_unknown[1][name] - again_known[1][name]) <= few


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


def test_who_tries_many_names_has_nobodys_secret_derived_again() -> None:
    challenges, listed = Challenges(), {"alice": STORED[SecretKind.PLAIN]}
    before = ask(challenges, MD5, "alice", listed)

    for number in range(MAX_KEPT + 1):
        ask(challenges, MD5, f"name {number}", listed)

    assert ask(challenges, MD5, "alice", listed) is before


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
