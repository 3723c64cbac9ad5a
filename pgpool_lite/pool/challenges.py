"""What is a user asked for, given how to prove it and the secret that is stored?

Called by `admission` with a method of passwords. Users that do not exist, and those who have no
password, are asked like all others, with a secret that nothing fits: the same exchange, the same
work, the same words at its end. What they look like is what most users of the auth_file are.
"""

from __future__ import annotations

import secrets

from pgpool_lite.config import HbaMethod
from pgpool_lite.pool.secrets import Place, Secrets
from pgpool_lite.session.client_login import Challenge, Method
from pgpool_lite.wire.passwords import SecretKind, classify_secret, hash_md5
from pgpool_lite.wire.scram import ScramSecret, derive_salt


class Challenges:
    """Makes challenges; keeps what is costly to derive from secrets. Owned by the doorkeeper."""

    def __init__(self) -> None:
        """Have derived nothing yet."""
        # Fixed for the life of the process: salts of made-up secrets must not change.
        self._process_key = secrets.token_bytes(32)
        #: With what it was derived from: a plain password, and a number of iterations.
        self._derived: dict[Place, tuple[str, int, ScramSecret]] = {}

    def trust(self, user: str) -> Challenge:
        """Return the challenge that is none."""
        return Challenge(Method.TRUST, user)

    def make(
        self, method: HbaMethod, database: str, user: str, known: Secrets, iterations: int
    ) -> Challenge:
        """Return what the user must prove; `method` is md5, password or scram-sha-256.

        md5 asks a user whose secret is a SCRAM one for SCRAM, as PgBouncer and PostgreSQL do.
        """
        secret = known.of(database, user)
        kind = classify_secret(secret) if secret else known.usual_kind
        if method is HbaMethod.MD5 and kind is SecretKind.SCRAM_SHA_256:
            method = HbaMethod.SCRAM_SHA_256
        if method is HbaMethod.SCRAM_SHA_256:
            place = known.place(database, user)
            scram_secret = self._scram_secret(place, user, secret, iterations)
            return Challenge(Method.SCRAM, user, scram_secret=scram_secret)
        asked = Method.MD5 if method is HbaMethod.MD5 else Method.CLEARTEXT
        if secret:
            return Challenge(asked, user, secret)
        return Challenge(asked, user, self._mock_secret(kind, user, iterations), is_mock=True)

    def _scram_secret(
        self, place: Place, user: str, secret: str | None, iterations: int
    ) -> ScramSecret:
        kind = classify_secret(secret) if secret else None
        if secret and kind is SecretKind.SCRAM_SHA_256:
            return ScramSecret.parse(secret)
        if not secret or kind is SecretKind.MD5:
            return ScramSecret.mock(user, self._process_key, iterations)
        password, count, derived = self._derived.get(place, ("", 0, None))
        if derived is None or (password, count) != (secret, iterations):
            salt = derive_salt(user, self._process_key)
            derived = ScramSecret.from_password(secret, salt, iterations)
            self._derived[place] = secret, iterations, derived
        return derived

    def _mock_secret(self, kind: SecretKind, user: str, iterations: int) -> str:
        """Return a secret of that kind whose password nobody knows."""
        if kind is SecretKind.SCRAM_SHA_256:
            return ScramSecret.mock(user, self._process_key, iterations).encode()
        password = derive_salt(user, self._process_key).hex()
        return hash_md5(password, user) if kind is SecretKind.MD5 else password
