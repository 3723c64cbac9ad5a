"""Stored secrets and what a client answers to them: plain text, PostgreSQL's md5, SCRAM-SHA-256.

Called by login with a user's stored secret (auth_file, auth_query, or the password in a
connection string) and the bytes of a PasswordMessage. Knows nothing of users, settings or SASL;
the SCRAM exchange is in `scram`, only its secret is recognised and compared here.

PostgreSQL documentation, "Password Authentication" and the protocol's
AuthenticationMD5Password.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from enum import Enum
from typing import Final

from pgpool_lite.errors import ConfigError
from pgpool_lite.wire.scram import SCRAM_PREFIX, ScramSecret

# Lower case only, as PostgreSQL and PgBouncer have it: anything else is somebody's plain password.
_MD5_SECRET = re.compile(r"md5[0-9a-f]{32}")


class SecretKind(Enum):
    """What a stored secret is, which decides how a client can prove itself against it."""

    PLAIN = "plain"
    MD5 = "md5"
    SCRAM_SHA_256 = "scram-sha-256"


# As globals of this module: a look into an Enum costs 600 instructions, and each login asks.
_PLAIN: Final = SecretKind.PLAIN
_MD5: Final = SecretKind.MD5
_SCRAM: Final = SecretKind.SCRAM_SHA_256


def classify_secret(secret: str) -> SecretKind:
    """Tell what kind of secret this is; what is neither md5 nor a whole SCRAM secret is plain."""
    if secret.startswith("md5") and _MD5_SECRET.fullmatch(secret):
        return _MD5
    if not secret.startswith(SCRAM_PREFIX):
        return _PLAIN
    try:
        ScramSecret.parse(secret)
    except ConfigError:
        return _PLAIN
    return _SCRAM


def hash_md5(password: str, user_name: str) -> str:
    """Make the md5 secret of a password: `md5` and the hash of password and user name, in hex."""
    return _md5(_to_bytes(password), _to_bytes(user_name))


def answer_md5(secret: str, user_name: str, salt: bytes) -> str:
    """Make the answer to AuthenticationMD5Password with a plain or md5 secret and its 4-byte salt.

    A SCRAM secret cannot make one; the caller asks `classify_secret` first.
    """
    kind = classify_secret(secret)
    if kind is _SCRAM:
        raise AssertionError("a SCRAM secret cannot answer AuthenticationMD5Password")
    hashed = secret if kind is _MD5 else hash_md5(secret, user_name)
    return _md5(_to_bytes(hashed.removeprefix("md5")), salt)


def check_md5(secret: str, user_name: str, salt: bytes, answer: bytes) -> bool:
    """Check a client's answer to AuthenticationMD5Password; an empty secret lets nobody in.

    A SCRAM secret lets nobody in either: its users are asked for SCRAM.
    """
    if not secret or classify_secret(secret) is _SCRAM:
        return False
    return hmac.compare_digest(answer, answer_md5(secret, user_name, salt).encode())


def check_password(secret: str, user_name: str, password: bytes) -> bool:
    """Check a client's answer to AuthenticationCleartextPassword against a secret of any kind.

    An empty secret lets nobody in. Against a SCRAM secret it costs what `scram.derive_keys` costs,
    and raises ConfigError when the secret asks for more than `scram.MAX_ITERATIONS`.
    """
    if not secret:
        return False
    kind = classify_secret(secret)
    if kind is _SCRAM:
        return ScramSecret.parse(secret).fits(password)
    if kind is _MD5:
        return hmac.compare_digest(_md5(password, _to_bytes(user_name)), secret)
    return hmac.compare_digest(password, _to_bytes(secret))


def _md5(*parts: bytes) -> str:
    # The protocol prescribes the hash; saying that it secures nothing lets it run where policy
    # (FIPS) switches md5 off.
    return "md5" + hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest()


def _to_bytes(text: str) -> bytes:
    # Names and passwords come from files and messages whose bytes need not be UTF-8.
    return text.encode(errors="surrogateescape")
