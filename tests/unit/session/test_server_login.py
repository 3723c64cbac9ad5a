"""How we get in at PostgreSQL, byte by byte, and what stops us."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.errors import (
    LoginRejected,
    ServerError,
    ServerLoginFailed,
    ServerProtocolError,
    ServerRefusedLogin,
)
from pgpool_lite.session.server_login import MAX_LOGIN_MESSAGE, ServerCredentials, ServerLogin
from pgpool_lite.wire.frontend import CancelKey, decode_sasl_initial
from pgpool_lite.wire.passwords import answer_md5, hash_md5
from pgpool_lite.wire.scram import ScramKeys, ScramSecret, ScramServer, derive_keys
from tests.unit.feeding import feed_every_way
from tests.wire_messages import (
    AuthenticationOk,
    AuthenticationSASL,
    AuthenticationSASLContinue,
    BackendKeyData,
    DataRow,
    ErrorResponse,
    ParameterStatus,
    PasswordMessage,
    ReadyForQuery,
    StartupMessage,
    message,
)

ALICE = ServerCredentials("alice", "app", "secret")
NOTICE = message("N", b"SNOTICE\0C00000\0Mhi\0\0")
WELCOME = (
    ParameterStatus("TimeZone", "UTC")
    + ParameterStatus("server_version", "15.4")
    + BackendKeyData(7, 1)
    + ReadyForQuery()
)


def authentication(kind: int, rest: bytes = b"") -> bytes:
    return message("R", struct.pack("!i", kind) + rest)


CLEARTEXT = authentication(3)
MD5 = authentication(5, b"salt")


@dataclass
class Seen:
    """All that can be told of a login after its reads."""

    answer: bytes
    is_ready: bool
    parameters: dict[str, str]
    cancel_key: CancelKey
    rest: bytes


class Driver:
    """Feeds a fresh login."""

    def __init__(self, credentials: ServerCredentials = ALICE) -> None:
        self.credentials = credentials

    def __call__(self, reads: Sequence[bytes]) -> Seen:
        login = ServerLogin(self.credentials)
        answer = b"".join([login.receive(data) for data in reads])
        return Seen(answer, login.is_ready, login.parameters, login.cancel_key, login.rest)


def test_the_startup_message_names_user_database_and_parameters() -> None:
    credentials = ServerCredentials("alice", "app", parameters=(("timezone", "UTC"),))

    assert ServerLogin(credentials).start() == StartupMessage(
        {"user": "alice", "database": "app", "timezone": "UTC"}
    )


def test_the_secret_is_not_shown() -> None:
    assert "secret" not in repr(ServerCredentials("alice", "app", "secret"))


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (AuthenticationOk() + WELCOME, b""),
        (CLEARTEXT + AuthenticationOk() + WELCOME, PasswordMessage("secret")),
        (
            MD5 + AuthenticationOk() + WELCOME,
            PasswordMessage(answer_md5("secret", "alice", b"salt")),
        ),
        (AuthenticationOk() + NOTICE + WELCOME, b""),
    ],
    ids=["trust", "cleartext", "md5", "a notice on the way"],
)
def test_a_login_ends_ready_however_it_is_cut(said: bytes, answer: bytes) -> None:
    seen = feed_every_way(Driver(), said, then=NOTICE)

    parameters = {"TimeZone": "UTC", "server_version": "15.4"}
    assert seen == Seen(answer, True, parameters, CancelKey(7, b"\0\0\0\1"), b"")


def test_what_comes_behind_the_login_is_kept() -> None:
    assert Driver()([AuthenticationOk() + WELCOME + NOTICE]).rest == NOTICE


def test_a_server_without_a_cancel_key_can_be_used() -> None:
    seen = Driver()([AuthenticationOk() + ReadyForQuery()])

    assert (seen.is_ready, seen.cancel_key) == (True, CancelKey(0, b"\0\0\0\0"))


def test_md5_is_answered_with_an_md5_secret_too() -> None:
    secret = hash_md5("secret", "alice")

    assert Driver(ServerCredentials("alice", "app", secret))([MD5]).answer == PasswordMessage(
        answer_md5("secret", "alice", b"salt")
    )


# --- what we cannot answer ---

SCRAM_SECRET = ScramSecret.from_password("secret", b"salt", 4096).encode()


@pytest.mark.parametrize(
    ("secret", "asked"),
    [
        (None, CLEARTEXT),
        ("", CLEARTEXT),
        (hash_md5("secret", "alice"), CLEARTEXT),
        (SCRAM_SECRET, CLEARTEXT),
        (None, MD5),
        (SCRAM_SECRET, MD5),
        (None, AuthenticationSASL("SCRAM-SHA-256")),
        (hash_md5("secret", "alice"), AuthenticationSASL("SCRAM-SHA-256")),
    ],
)
def test_promise_7_a_secret_that_cannot_answer_says_what_to_change(
    secret: str | None, asked: bytes
) -> None:
    with pytest.raises(ServerRefusedLogin, match="wrong password type") as caught:
        Driver(ServerCredentials("alice", "app", secret))([asked])

    assert "auth_file" in caught.value.hint


@pytest.mark.parametrize("kind", [2, 7, 9, 11, 12, 99])
def test_an_authentication_request_that_we_do_not_know_ends_the_login(kind: int) -> None:
    with pytest.raises(ServerLoginFailed, match=f"request from server: {kind}"):
        Driver()([authentication(kind)])


def test_only_scram_sha_256_is_spoken() -> None:
    with pytest.raises(ServerLoginFailed, match="no SASL mechanism that we know"):
        Driver()([AuthenticationSASL("SCRAM-SHA-256-PLUS")])


def test_sasl_is_asked_for_once() -> None:
    with pytest.raises(ServerProtocolError, match="asked for SASL twice"):
        Driver()([AuthenticationSASL("SCRAM-SHA-256") * 2])


# --- SCRAM ---


def _login_by_scram(credentials: ServerCredentials) -> ServerLogin:
    login = ServerLogin(credentials)
    server = ScramServer(
        ScramSecret.from_password("secret", b"0123456789abcdef", 4096), lambda: "server-nonce"
    )
    first = login.receive(AuthenticationSASL("SCRAM-SHA-256"))
    server_first = server.first(first[5 + len("SCRAM-SHA-256") + 1 + 4 :])
    final = login.receive(AuthenticationSASLContinue(server_first.decode()))
    server_final = server.final(final[5:])
    login.receive(authentication(12, server_final) + AuthenticationOk() + WELCOME)
    return login


def test_scram_with_a_password() -> None:
    assert _login_by_scram(ALICE).is_ready


def test_scram_with_the_keys_of_a_client_that_logged_in() -> None:
    keys = derive_keys("secret", b"0123456789abcdef", 4096)

    assert _login_by_scram(ServerCredentials("alice", "app", scram_keys=keys)).is_ready


def test_scram_keys_of_another_password_do_not_fit() -> None:
    """The refusal is that of our own ScramServer, which plays PostgreSQL here."""
    keys = ScramKeys(b"k" * 32, b"s" * 32)

    with pytest.raises(LoginRejected, match="SASL authentication failed"):
        _login_by_scram(ServerCredentials("alice", "app", scram_keys=keys))


@pytest.mark.parametrize(
    ("binding", "offered", "chosen", "header"),
    [
        (b"", ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"], "SCRAM-SHA-256", b"n,,"),
        (b"hash", ["SCRAM-SHA-256"], "SCRAM-SHA-256", b"y,,"),
        (
            b"hash",
            ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"],
            "SCRAM-SHA-256-PLUS",
            b"p=tls-server-end-point,,",
        ),
    ],
    ids=["without TLS", "not offered", "offered"],
)
def test_scram_is_bound_to_the_connection_where_both_sides_can(
    binding: bytes, offered: list[str], chosen: str, header: bytes
) -> None:
    login = ServerLogin(ALICE)
    login.start(binding)

    mechanism, first = decode_sasl_initial(login.receive(AuthenticationSASL(*offered))[5:])

    assert mechanism.decode() == chosen
    assert first.startswith(header)


def test_a_bound_scram_proves_the_certificate() -> None:
    secret = ScramSecret.from_password("secret", b"0123456789abcdef", 4096)
    server = ScramServer(secret, lambda: "nonce", channel_binding=b"hash")
    login = ServerLogin(ALICE)
    login.start(b"hash")
    asked = login.receive(AuthenticationSASL("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"))
    server_first = server.first(decode_sasl_initial(asked[5:])[1])

    proof = login.receive(AuthenticationSASLContinue(server_first.decode()))

    assert server.final(proof[5:]).startswith(b"v=")


def test_a_server_that_breaks_off_scram_is_not_believed() -> None:
    with pytest.raises(ServerLoginFailed, match="did not finish the SCRAM exchange"):
        Driver()([AuthenticationSASL("SCRAM-SHA-256") + AuthenticationOk()])


# --- what the server says instead ---


def test_promise_7_a_refusal_keeps_the_servers_words_and_sqlstate() -> None:
    said = ErrorResponse('database "x" does not exist', severity="FATAL", sqlstate="3D000")

    with pytest.raises(ServerRefusedLogin, match='database "x" does not exist') as caught:
        Driver()([said])

    assert caught.value.sqlstate == "3D000"


def test_a_server_that_is_starting_up_does_not_refuse() -> None:
    with pytest.raises(ServerLoginFailed) as caught:
        Driver()([ErrorResponse("starting up", severity="FATAL", sqlstate="57P03")])

    assert not isinstance(caught.value, ServerRefusedLogin)


def test_a_refusal_without_words_has_some() -> None:
    with pytest.raises(ServerRefusedLogin, match="login failed") as caught:
        Driver()([message("E", b"\0")])

    assert caught.value.sqlstate == "08P01"


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (ParameterStatus("a", "b"), "went on before it let us in"),
        (ReadyForQuery(), "went on before it let us in"),
        (AuthenticationOk() + DataRow("1"), "sent message 0x44 during login"),
        (AuthenticationOk() + ReadyForQuery("T"), "starts inside a transaction"),
        (authentication(5, b"sal"), "malformed AuthenticationMD5Password"),
        (message("R", b"\0"), "malformed Authentication message"),
        (b"HTTP/1.1 400 Bad Request\r\n", "does not speak the PostgreSQL protocol"),
        (b"R\0\0\0\3", "does not speak the PostgreSQL protocol"),
        (
            b"R" + MAX_LOGIN_MESSAGE.to_bytes(4, "big"),
            "does not speak the PostgreSQL protocol",
        ),
    ],
)
def test_what_is_not_a_login_is_the_servers_fault(said: bytes, sentence: str) -> None:
    with pytest.raises(ServerProtocolError, match=sentence):
        Driver()([said])


@given(st.lists(st.binary(max_size=60), max_size=6), st.booleans())
def test_random_bytes_raise_nothing_but_server_errors(
    reads: list[bytes], is_authenticated: bool
) -> None:
    with suppress(ServerError):
        seen = Driver()([AuthenticationOk(), *reads] if is_authenticated else reads)
        assert len(seen.rest) <= sum(map(len, reads))
