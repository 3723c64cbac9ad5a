"""What is a user asked for, given how to prove it and the secret that is stored?

Called by `admission` with a method of passwords. Users that do not exist, and those who have no
password, are asked like all others, with a secret that nothing fits: the same exchange, the same
work, the same words at its end. What they look like is what most users of the auth_file are.
"""

from __future__ import annotations

import secrets
from typing import Final

from pgpool_lite.config import HbaMethod
from pgpool_lite.session.client_login import Challenge, Method
from pgpool_lite.wire.passwords import SecretKind, classify_secret, hash_md5
from pgpool_lite.wire.scram import ScramSecret, derive_salt

#: More users than anybody has; it bounds what is kept of them, a kilobyte and a half each.
MAX_KEPT: Final = 10_000
#: What is asked of anybody who needs no proof; the name of the user is looked at in a proof only.
TRUST: Final = Challenge(Method.TRUST, "")

#: Method, user, what is stored, iterations.
_Asked = tuple[HbaMethod, str, str, int]

#: Fixed for the life of the process: salts of made-up secrets must not change. All processes of a
#: crew have it from their leader, since a user that each of them made up would have several salts.
_PROCESS_KEY: Final = secrets.token_bytes(32)


class Challenges:
    """Makes challenges, and keeps them: what is asked of a user is the same at each login.

    Owned by the doorkeeper. Those of users who are not there are kept as well, for the same work at
    each further attempt, and apart: whoever makes up names takes nothing from the others.
    """

    def __init__(self) -> None:
        """Have made none yet."""
        #: By method, user, what is stored, and iterations. A plain password costs 1.6 ms of work, a
        #: SCRAM secret 20 us of reading.
        self._made: dict[_Asked, Challenge] = {}
        #: The same for users without a secret; the kind of what is made up stands in its place.
        self._made_up: dict[_Asked, Challenge] = {}

    def make(
        self, method: HbaMethod, user: str, secret: str | None, usual: SecretKind, iterations: int
    ) -> Challenge:
        """Return what the user must prove; `method` is md5, password or scram-sha-256.

        md5 asks a user whose secret is a SCRAM one for SCRAM, as PgBouncer and PostgreSQL do. One
        without a secret looks like those who have one of the `usual` kind.
        """
        made = self._made if secret else self._made_up
        key = method, user, secret or usual.value, iterations
        challenge = made.get(key)
        if challenge is None:
            if len(made) >= MAX_KEPT:
                made.clear()  # strangers make up names, as an auth_query may
            challenge = made[key] = self._make(method, user, secret, usual, iterations)
        return challenge

    def _make(
        self, method: HbaMethod, user: str, secret: str | None, usual: SecretKind, iterations: int
    ) -> Challenge:
        kind = classify_secret(secret) if secret else usual
        if method is HbaMethod.MD5 and kind is SecretKind.SCRAM_SHA_256:
            method = HbaMethod.SCRAM_SHA_256
        if method is HbaMethod.SCRAM_SHA_256:
            scram_secret = self._scram_secret(user, secret, usual, iterations)
            return Challenge(Method.SCRAM, user, scram_secret=scram_secret)
        asked = Method.MD5 if method is HbaMethod.MD5 else Method.CLEARTEXT
        if secret:
            return Challenge(asked, user, secret)
        return Challenge(asked, user, self._mock_secret(kind, user, iterations), is_mock=True)

    def _scram_secret(
        self, user: str, secret: str | None, usual: SecretKind, iterations: int
    ) -> ScramSecret:
        """Return what the proof of a user is checked against.

        Deriving a secret takes a millisecond the first time. Where the users of the file have plain
        passwords, those who do not exist get one too, or that millisecond would tell them apart.
        """
        if not secret and usual is SecretKind.PLAIN:
            secret = self._mock_secret(usual, user, iterations)
        kind = classify_secret(secret) if secret else usual
        if secret and kind is SecretKind.SCRAM_SHA_256:
            return ScramSecret.parse(secret)
        if not secret or kind is SecretKind.MD5:
            return ScramSecret.mock(user, _PROCESS_KEY, iterations)
        return ScramSecret.from_password(secret, derive_salt(user, _PROCESS_KEY), iterations)

    def _mock_secret(self, kind: SecretKind, user: str, iterations: int) -> str:
        """Return a secret of that kind whose password nobody knows."""
        if kind is SecretKind.SCRAM_SHA_256:
            return ScramSecret.mock(user, _PROCESS_KEY, iterations).encode()
        password = derive_salt(user, _PROCESS_KEY).hex()
        return hash_md5(password, user) if kind is SecretKind.MD5 else password
