"""SCRAM-SHA-256, both halves: a client proves itself to us, and we prove ourselves to PostgreSQL.

Called by login on both sides; knows nothing of sockets, users or settings. A half is fed the SASL
data of one authentication message and answers with the SASL data of the next one:

    client                                                      server
      ── client-first    n,,n=,r=<client nonce>                  ──▶
      ◀─ server-first    r=<both nonces>,s=<salt>,i=<iterations> ──
      ── client-final    c=<binding>,r=<both nonces>,p=<proof>   ──▶   ClientKey can be recovered
      ◀─ server-final    v=<signature>                           ──

Nobody learns the password, but whoever holds StoredKey and sees a correct proof learns ClientKey,
which is all it takes to log in to a server that stores the same secret. That is pass-through:
`ScramServer.client_key` and the secret's server key make the `ScramKeys` of a `ScramClient`. It
works only where the secret is PostgreSQL's own: keys that follow from a secret which we made out
of a plain password have another salt, and PostgreSQL refuses them.

RFC 5802, RFC 7677; PostgreSQL documentation, "SASL Authentication".
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from pgpool_lite.errors import (
    ClientProtocolError,
    ConfigError,
    LoginRejected,
    ServerLoginFailed,
    ServerProtocolError,
)
from pgpool_lite.wire.channel_binding import CHANNEL_BINDING_TYPE, UNBOUND, ClientBinding
from pgpool_lite.wire.saslprep import normalize_password
from pgpool_lite.wire.scram_messages import (
    CLIENT_FINAL,
    CLIENT_FIRST,
    SERVER_ERROR,
    SERVER_FINAL,
    SERVER_FIRST,
    Turns,
    check_nonce,
    decode_base64,
    encode_base64,
    read_values,
)

# PgBouncer's bound since 1.26.0 (CVE-2026-6669: a server that asks for a billion iterations stops
# every other client meanwhile). PostgreSQL's default is 4096.
MAX_ITERATIONS = 1_000_000
# PostgreSQL's salt length, so that a secret made here looks like one made there.
SALT_LENGTH = 16

#: What every stored secret begins with.
SCRAM_PREFIX = "SCRAM-SHA-256$"

_KEY_LENGTH = 32
# RFC 2104: the size of SHA-256's blocks, and what each byte of a key is mixed with.
_BLOCK_SIZE = 64
_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))
_POSITIVE_NUMBER = re.compile(rb"[1-9][0-9]{0,9}")
_BASE64 = "([A-Za-z0-9+/=]+)"
_SECRET = re.compile(rf"SCRAM-SHA-256\$([1-9][0-9]{{0,9}}):{_BASE64}\${_BASE64}:{_BASE64}")

NonceMaker = Callable[[], str]
"""Makes one unpredictable printable word without a comma; `randomness.draw_nonce` is one."""


class Signer:
    """Makes HMAC-SHA-256 by RFC 2104 with a key that signs many times, of 64 bytes at most.

    Both hashes are kept at where the key has been fed: 1.5 us for a message, of `_hmac`'s 3.
    """

    def __init__(self, key: bytes) -> None:
        """Feed the key."""
        padded = key.ljust(_BLOCK_SIZE, b"\0")
        self._inner = hashlib.sha256(padded.translate(_INNER_PAD))
        self._outer = hashlib.sha256(padded.translate(_OUTER_PAD))

    def sign(self, message: bytes) -> bytes:
        """Return the message's HMAC."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """The two keys that log in without a password, while the server's secret stays the same."""

    client_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ScramSecret:
    """What a server stores of a password: enough to check a proof, too little to make one."""

    iterations: int
    salt: bytes = field(repr=False)
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)
    #: What server-first says of it, behind the nonces.
    terms: bytes = field(init=False, repr=False, compare=False)
    #: The two keys, ready to sign: at each login both do.
    stored_signer: Signer = field(init=False, repr=False, compare=False)
    server_signer: Signer = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare what every login needs."""
        terms = b",s=%b,i=%d" % (encode_base64(self.salt), self.iterations)
        object.__setattr__(self, "terms", terms)
        object.__setattr__(self, "stored_signer", Signer(self.stored_key))
        object.__setattr__(self, "server_signer", Signer(self.server_key))

    @classmethod
    def parse(cls, text: str) -> ScramSecret:
        """Read PostgreSQL's form, `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`.

        Raises ConfigError, whose sentence does not contain the secret.
        """
        found = _SECRET.fullmatch(text)
        if found is None:
            raise ConfigError(
                "a SCRAM secret must read SCRAM-SHA-256$count:salt$StoredKey:ServerKey"
            )
        iterations, *parts = found.groups()
        salt, stored_key, server_key = (
            decode_base64(part.encode(), ConfigError, "a SCRAM secret") for part in parts
        )
        if len(stored_key) != _KEY_LENGTH or len(server_key) != _KEY_LENGTH:
            raise ConfigError(f"the keys of a SCRAM secret must have {_KEY_LENGTH} bytes")
        return cls(int(iterations), salt, stored_key, server_key)

    @classmethod
    def from_password(cls, password: str | bytes, salt: bytes, iterations: int) -> ScramSecret:
        """Make the secret of a plain password; costs what `derive_keys` costs, so keep it."""
        keys = derive_keys(password, salt, iterations)
        return cls(iterations, salt, _sha256(keys.client_key), keys.server_key)

    @classmethod
    def mock(cls, user_name: str, process_key: bytes, iterations: int) -> ScramSecret:
        """Make a secret that no password fits, the same one for the same name and process key.

        A client that asks for a user we do not know is led through the whole exchange with it, and
        fails where a wrong password fails.
        """
        name = user_name.encode(errors="surrogateescape")
        stored_key = _hmac(process_key, b"StoredKey", name)
        server_key = _hmac(process_key, b"ServerKey", name)
        return cls(iterations, derive_salt(user_name, process_key), stored_key, server_key)

    def encode(self) -> str:
        """Write PostgreSQL's form. It is not `str()`, which would put the keys into logs."""
        salt, stored_key, server_key = (
            encode_base64(part).decode() for part in (self.salt, self.stored_key, self.server_key)
        )
        return f"SCRAM-SHA-256${self.iterations}:{salt}${stored_key}:{server_key}"

    def fits(self, password: str | bytes) -> bool:
        """Tell whether this is the secret of `password`; costs what `derive_keys` costs.

        Raises ConfigError when the secret asks for more than MAX_ITERATIONS.
        """
        if self.iterations > MAX_ITERATIONS:
            raise ConfigError(
                f"a stored SCRAM secret asks for {self.iterations} iterations, "
                f"at most {MAX_ITERATIONS} are computed"
            )
        keys = derive_keys(password, self.salt, self.iterations)
        return hmac.compare_digest(_sha256(keys.client_key), self.stored_key)


def derive_keys(password: str | bytes, salt: bytes, iterations: int) -> ScramKeys:
    """Derive both keys of a password.

    This is the expensive step, 1.6 ms for 4096 iterations and 0.4 s for MAX_ITERATIONS (one core
    of a small machine). Logins that must not hold up others keep what they derived, or run it in
    a thread: hashlib computes without the interpreter's lock.
    """
    salted = hashlib.pbkdf2_hmac("sha256", normalize_password(password), salt, iterations)
    return ScramKeys(_hmac(salted, b"Client Key"), _hmac(salted, b"Server Key"))


def derive_salt(user_name: str, process_key: bytes) -> bytes:
    """Derive the salt that this process shows for a user whose secret PostgreSQL did not make.

    Used for mock secrets and for secrets made of plain passwords, so that neither a changing salt
    nor a constant one tells which users exist.
    """
    name = user_name.encode(errors="surrogateescape")
    return _hmac(process_key, b"salt", name)[:SALT_LENGTH]


class ScramServer:
    """Proves one client to us; belongs to that client's login and ends with it.

    Call `first`, then `final`, once each. Anything else, and anything after an error, raises
    ClientProtocolError: a client that failed starts over with a new connection.
    """

    def __init__(
        self, secret: ScramSecret, make_nonce: NonceMaker, *, channel_binding: bytes | None = None
    ) -> None:
        """Keep the secret to check against.

        `channel_binding` is this TLS connection's tls-server-end-point data where the client was
        offered SCRAM-SHA-256-PLUS, else None. Which mechanism it chose shows in its first message.
        """
        # Empty until `final` accepts the client; then what pass-through needs.
        self.client_key = b""
        self._secret = secret
        self._make_nonce = make_nonce
        self._channel_binding = channel_binding
        self._turns = Turns(ClientProtocolError, "client-first", "client-final")
        # Set by `first`, read by `final`: what client-final must repeat, and what gets signed.
        self._binding_input = b""
        self._nonce = b""
        self._first_messages = b""

    def first(self, client_first: bytes) -> bytes:
        """Answer client-first with server-first.

        The user name in it is ignored, as in PostgreSQL: the StartupMessage has named the user.
        """
        self._turns.take("client-first")
        bare = self._read_gs2_header(client_first)
        _, client_nonce = read_values(bare, CLIENT_FIRST, "client-first", ClientProtocolError)
        check_nonce(client_nonce, ClientProtocolError)
        self._nonce = client_nonce + self._make_nonce().encode()
        server_first = b"r=" + self._nonce + self._secret.terms
        self._first_messages = bare + b"," + server_first + b","
        self._turns.pass_on()
        return server_first

    def final(self, client_final: bytes) -> bytes:
        """Check the proof in client-final and answer with server-final; sets `client_key`.

        Raises LoginRejected when the client does not know the password.
        """
        self._turns.take("client-final")
        binding, nonce, proof_text = read_values(
            client_final, CLIENT_FINAL, "client-final", ClientProtocolError
        )
        if binding != encode_base64(self._binding_input):
            raise ClientProtocolError("SCRAM channel binding check failed")
        if nonce != self._nonce:
            raise ClientProtocolError("SCRAM nonce in client-final is not the one sent")
        proof = decode_base64(proof_text, ClientProtocolError, "the SCRAM proof")
        if len(proof) != _KEY_LENGTH:
            raise ClientProtocolError(f"a SCRAM proof must have {_KEY_LENGTH} bytes")
        without_proof = client_final[: -len(b",p=" + proof_text)]
        auth_message = self._first_messages + without_proof
        client_key = _xor(proof, self._secret.stored_signer.sign(auth_message))
        if not hmac.compare_digest(_sha256(client_key), self._secret.stored_key):
            raise LoginRejected("SASL authentication failed")
        self.client_key = client_key
        self._turns.pass_on()
        return b"v=" + encode_base64(self._secret.server_signer.sign(auth_message))

    def _read_gs2_header(self, client_first: bytes) -> bytes:
        """Check the GS2 header, keep what client-final must repeat of it, give what comes after."""
        flag, _, rest = client_first.partition(b",")
        identity, comma, bare = rest.partition(b",")
        if not (comma and (flag in (b"n", b"y") or flag.startswith(b"p="))):
            raise ClientProtocolError("malformed SCRAM client-first (no GS2 header)")
        if identity:
            raise ClientProtocolError("client uses a SCRAM authorization identity: not supported")
        if flag == b"y" and self._channel_binding is not None:
            # RFC 5802 section 6: somebody removed SCRAM-SHA-256-PLUS from the mechanisms we sent.
            raise ClientProtocolError("client overlooks SCRAM channel binding, which was offered")
        self._binding_input = flag + b",," + self._require_binding(flag)
        return bare

    def _require_binding(self, flag: bytes) -> bytes:
        """Give the channel binding data that a client with this GS2 flag must prove to see."""
        if not flag.startswith(b"p="):
            return b""
        if self._channel_binding is None or flag != b"p=" + CHANNEL_BINDING_TYPE:
            raise ClientProtocolError(
                "client requires a SCRAM channel binding that was not offered"
            )
        return self._channel_binding


class ScramClient:
    """Proves us to PostgreSQL; belongs to the login of one server connection and ends with it.

    Call `first`, `final` and `verify`, once each. Anything else, and anything after an error,
    raises ServerProtocolError.
    """

    def __init__(
        self,
        credential: str | bytes | ScramKeys,
        make_nonce: NonceMaker,
        binding: ClientBinding = UNBOUND,
    ) -> None:
        """Keep a password, or the keys of pass-through, and what to say of channel binding."""
        # True once `verify` passed; an AuthenticationOk before that comes from nobody we know.
        self.is_verified = False
        self._credential = credential
        self._binding = binding
        self._nonce = make_nonce().encode()
        # PostgreSQL ignores the user name, and libpq leaves it empty.
        self._first_bare = b"n=,r=" + self._nonce
        self._turns = Turns(ServerProtocolError, "client-first", "server-first", "server-final")
        # Set by `final`, checked by `verify`.
        self._server_signature = b""

    def first(self) -> bytes:
        """Give client-first."""
        self._turns.take("client-first")
        self._turns.pass_on()
        return self._binding.header + self._first_bare

    def final(self, server_first: bytes) -> bytes:
        """Answer server-first with client-final; with a password it costs what `derive_keys` does.

        Raises ServerLoginFailed when the server asks for more than MAX_ITERATIONS.
        """
        self._turns.take("server-first")
        nonce, salt_text, iterations_text = read_values(
            server_first, SERVER_FIRST, "server-first", ServerProtocolError
        )
        check_nonce(nonce, ServerProtocolError)
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ServerProtocolError("server's SCRAM nonce does not continue ours")
        salt = decode_base64(salt_text, ServerProtocolError, "the SCRAM salt")
        iterations = _read_iterations(iterations_text)
        known = self._credential
        keys = known if isinstance(known, ScramKeys) else derive_keys(known, salt, iterations)
        without_proof = b"c=%b,r=%b" % (self._binding.encoded, nonce)
        auth_message = b"%b,%b,%b" % (self._first_bare, server_first, without_proof)
        client_signature = _hmac(_sha256(keys.client_key), auth_message)
        proof = encode_base64(_xor(keys.client_key, client_signature))
        self._server_signature = _hmac(keys.server_key, auth_message)
        self._turns.pass_on()
        return b"%b,p=%b" % (without_proof, proof)

    def verify(self, server_final: bytes) -> None:
        """Check that the server knows our secret, so that it is the server we meant.

        Raises ServerLoginFailed when it does not, or when it says that it refuses us.
        """
        self._turns.take("server-final")
        is_error = server_final.startswith(b"e")
        shape = SERVER_ERROR if is_error else SERVER_FINAL
        (value,) = read_values(server_final, shape, "server-final", ServerProtocolError)
        if is_error:
            reason = value.decode(errors="replace")
            raise ServerLoginFailed(f"server refused the SCRAM login: {reason}")
        signature = decode_base64(value, ServerProtocolError, "the server's SCRAM signature")
        if not hmac.compare_digest(signature, self._server_signature):
            raise ServerLoginFailed(
                "server did not prove that it knows our SCRAM secret (wrong signature)"
            )
        self.is_verified = True
        self._turns.pass_on()


def _read_iterations(text: bytes) -> int:
    if not _POSITIVE_NUMBER.fullmatch(text):
        raise ServerProtocolError("server's SCRAM iteration count is not a positive number")
    if int(text) > MAX_ITERATIONS:
        raise ServerLoginFailed(
            f"server asks for {int(text)} SCRAM iterations, at most {MAX_ITERATIONS} are computed",
            hint="Lower scram_iterations in PostgreSQL and set the password anew.",
        )
    return int(text)


def _hmac(key: bytes, *parts: bytes) -> bytes:
    """Return the HMAC-SHA-256 of some bytes by RFC 2104; the key has 64 bytes at most.

    hmac.digest has OpenSSL look the hash up by its name and set up a context each time: 6.5 us,
    for which this takes 3 us.
    """
    padded = key.ljust(_BLOCK_SIZE, b"\0")
    inner = _sha256(b"".join((padded.translate(_INNER_PAD), *parts)))
    return _sha256(padded.translate(_OUTER_PAD) + inner)


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left) ^ int.from_bytes(right)).to_bytes(_KEY_LENGTH)
