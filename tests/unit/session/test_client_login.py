"""How a client gets in, byte by byte, and who does not."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.errors import ClientError, ClientProtocolError, LoginRejected
from pgpool_lite.session.client_login import (
    MAX_LOGIN_MESSAGE,
    Challenge,
    ClientLogin,
    Encryption,
    Method,
    Step,
)
from pgpool_lite.wire import passwords
from pgpool_lite.wire.channel_binding import bound_to
from pgpool_lite.wire.frontend import CancelKey
from pgpool_lite.wire.passwords import answer_md5, hash_md5
from pgpool_lite.wire.scram import ScramClient, ScramSecret, derive_keys
from tests.unit.feeding import feed_every_way
from tests.wire_messages import (
    PROTOCOL_2_0,
    PROTOCOL_3_2,
    AuthenticationSASL,
    BackendMessage,
    CancelRequest,
    GSSENCRequest,
    PasswordMessage,
    Query,
    SASLInitialResponse,
    SASLResponse,
    SSLRequest,
    StartupMessage,
    message,
    startup_packet,
)

STARTUP = StartupMessage({"user": "alice", "database": "app"})
TRUST = Challenge(Method.TRUST, "alice")
PLAIN = Challenge(Method.CLEARTEXT, "alice", "secret")
MD5 = Challenge(Method.MD5, "alice", hash_md5("secret", "alice"))
SCRAM_SECRET = ScramSecret.from_password("secret", b"0123456789abcdef", 4096)
SCRAM = Challenge(Method.SCRAM, "alice", scram_secret=SCRAM_SECRET)


@dataclass
class Seen:
    """All that can be told of a login after its reads."""

    step: Step
    answer: bytes
    rest: bytes = b""
    cancel_key: CancelKey | None = None
    parameters: dict[str, str] = field(default_factory=dict)


class Driver:
    """Feeds a fresh login, and answers its STARTUP step with a challenge."""

    def __init__(self, challenge: Challenge = TRUST) -> None:
        self.challenge = challenge

    def __call__(self, reads: Sequence[bytes]) -> Seen:
        login = ClientLogin()
        step = Step.MORE
        for data in reads:
            step = login.receive(data)
            if step is Step.STARTUP:
                login.challenge(self.challenge)
                step = login.receive(b"")
        parameters = login.startup.parameters if login.startup else {}
        return Seen(step, login.answer, login.rest, login.cancel_key, parameters)


def lines(data: bytes) -> list[str]:
    """Return messages as transcript lines; the single byte N stands for itself."""
    shown = []
    while data:
        if data.startswith(b"N"):
            shown.append("N")
            data = data[1:]
            continue
        end = 1 + int.from_bytes(data[1:5], "big")
        shown.append(str(BackendMessage(chr(data[0]), data[5:end])))
        data = data[end:]
    return shown


# --- the first messages ---


def test_a_trusted_client_is_in_after_its_startup_message() -> None:
    seen = feed_every_way(Driver(), STARTUP, then=b"")

    assert seen == Seen(Step.AUTHENTICATED, b"", parameters={"user": "alice", "database": "app"})


def test_what_an_impatient_client_sends_behind_its_login_is_kept() -> None:
    seen = feed_every_way(Driver(), STARTUP + Query("SELECT 1"))

    assert (seen.step, seen.rest) == (Step.AUTHENTICATED, Query("SELECT 1"))


@pytest.mark.parametrize("requests", [[SSLRequest()], [GSSENCRequest(), SSLRequest()]])
def test_encryption_is_refused_and_the_login_goes_on(requests: list[bytes]) -> None:
    seen = Driver()([*requests, STARTUP])

    assert (seen.step, seen.answer) == (Step.AUTHENTICATED, b"N" * len(requests))


@pytest.mark.parametrize("request_", [SSLRequest(), GSSENCRequest()])
def test_a_request_for_encryption_is_answered_however_it_is_cut(request_: bytes) -> None:
    seen = feed_every_way(Driver(), request_, then=b"")

    assert (seen.step, seen.answer) == (Step.MORE, b"N")


@pytest.mark.parametrize(
    ("request_", "name"), [(SSLRequest(), "SSL"), (GSSENCRequest(), "GSSAPI encryption")]
)
def test_bytes_that_come_along_with_the_request_are_not_trusted(request_: bytes, name: str) -> None:
    with pytest.raises(ClientProtocolError, match=f"unencrypted data after {name} request"):
        Driver()([request_ + STARTUP])


@pytest.mark.parametrize("request_", [SSLRequest(), GSSENCRequest()])
def test_encryption_may_be_asked_for_once(request_: bytes) -> None:
    with pytest.raises(ClientProtocolError, match="asked twice for encryption"):
        Driver()([request_, request_])


def test_a_cancel_request_ends_the_login() -> None:
    seen = feed_every_way(Driver(), CancelRequest(7, 1), then=b"")

    assert (seen.step, seen.cancel_key) == (Step.CANCEL, CancelKey(7, b"\0\0\0\1"))


def test_nothing_counts_behind_a_cancel_request() -> None:
    """Story: while a peer is asked to cancel, the connection stays open. Somebody who logged in on
    it was a client that the doorway had forgotten already, and one socket could ask for any number
    of cancels.
    """
    login = ClientLogin()
    steps = [login.receive(CancelRequest(7, 1) + CancelRequest(8, 1))]

    steps += [login.receive(data) for data in (CancelRequest(9, 1), STARTUP, b"x" * 100_000)]

    assert steps == [Step.CANCEL, Step.MORE, Step.MORE, Step.MORE]
    assert (login.cancel_key, login.startup) == (CancelKey(7, b"\0\0\0\1"), None)
    assert (login.rest, login.answer) == (b"", b"")


def test_half_a_startup_message_waits_for_the_rest() -> None:
    assert Driver()([STARTUP[:-1]]).step is Step.MORE
    assert Driver()([STARTUP[:3]]).step is Step.MORE
    assert Driver()([]).step is Step.MORE


def test_a_newer_minor_version_is_negotiated_down() -> None:
    packet = StartupMessage({"user": "alice", "_pq_.secret": "1"}, version=PROTOCOL_3_2)

    assert lines(Driver()([packet]).answer) == ["v 3.0 _pq_.secret"]


def test_protocol_options_of_version_3_0_are_negotiated_away() -> None:
    packet = StartupMessage({"user": "alice", "_pq_.x": "1"})

    assert lines(Driver()([packet]).answer) == ["v 3.0 _pq_.x"]


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        (PROTOCOL_2_0, "old V2 protocol not supported"),
        (4 << 16, "unsupported frontend protocol 4.0"),
        ((1 << 16) + 5, "unsupported frontend protocol 1.5"),
    ],
)
def test_promise_7_another_major_version_is_refused(version: int, sentence: str) -> None:
    with pytest.raises(ClientProtocolError, match=sentence):
        Driver()([startup_packet(version, b"user\0a\0\0")])


def test_promise_4_a_client_that_talks_on_before_it_is_admitted_is_stopped() -> None:
    login = ClientLogin()
    assert login.receive(STARTUP) is Step.STARTUP

    assert login.receive(b"x" * MAX_LOGIN_MESSAGE) is Step.MORE
    with pytest.raises(ClientProtocolError, match="sends data although its login is not over"):
        login.receive(b"x")


def test_an_authenticated_login_stays_so() -> None:
    login = ClientLogin()
    login.receive(STARTUP)
    login.challenge(TRUST)

    assert login.receive(b"") is Step.AUTHENTICATED
    assert login.receive(b"Q") is Step.AUTHENTICATED
    assert login.rest == b"Q"


# --- cleartext and md5 ---


def test_the_right_password_lets_in_however_it_is_cut() -> None:
    seen = feed_every_way(Driver(PLAIN), STARTUP + PasswordMessage("secret"))

    assert (seen.step, lines(seen.answer)) == (Step.AUTHENTICATED, ["R CleartextPassword"])


@pytest.mark.parametrize("secret", ["secret", ""])
@pytest.mark.parametrize("answer", ["Secret", "secret "])
def test_a_wrong_password_does_not(secret: str, answer: str) -> None:
    with pytest.raises(LoginRejected, match="password authentication failed"):
        Driver(Challenge(Method.CLEARTEXT, "alice", secret))([STARTUP, PasswordMessage(answer)])


def test_an_empty_password_is_refused_whatever_is_stored() -> None:
    with pytest.raises(LoginRejected, match="empty password returned by client"):
        Driver(Challenge(Method.CLEARTEXT, "alice", ""))([STARTUP, PasswordMessage("")])


@pytest.mark.parametrize("method", [Method.CLEARTEXT, Method.MD5])
def test_a_made_up_secret_lets_nobody_in_even_who_guesses_it(method: Method) -> None:
    login = ClientLogin()
    login.receive(STARTUP)
    login.challenge(Challenge(method, "mallory", "guessed", is_mock=True))
    answer = "guessed"
    if method is Method.MD5:
        answer = answer_md5(hash_md5("guessed", "mallory"), "mallory", login.answer[-4:])

    with pytest.raises(LoginRejected, match=r"^password authentication failed$"):
        login.receive(PasswordMessage(answer))


@pytest.mark.parametrize("is_mock", [False, True])
@pytest.mark.parametrize(
    ("method", "function"), [(Method.CLEARTEXT, "check_password"), (Method.MD5, "check_md5")]
)
def test_a_made_up_secret_costs_the_same_work(
    monkeypatch: pytest.MonkeyPatch, method: Method, function: str, is_mock: bool
) -> None:
    asked: list[str] = []

    def note(secret: str, *rest: object) -> bool:
        asked.append(secret)
        return False

    monkeypatch.setattr(passwords, function, note)
    with pytest.raises(LoginRejected, match="password authentication failed"):
        Driver(Challenge(method, "alice", "kept", is_mock=is_mock))(
            [STARTUP, PasswordMessage("said")]
        )

    assert asked == ["kept"]


def test_a_stored_secret_that_asks_for_a_billion_iterations_lets_nobody_in() -> None:
    secret = ScramSecret.mock("alice", b"key", 1_000_000_000).encode()

    with pytest.raises(LoginRejected, match="password authentication failed") as caught:
        Driver(Challenge(Method.CLEARTEXT, "alice", secret))([STARTUP, PasswordMessage("said")])

    assert "1000000000 iterations" in caught.value.remark


def test_a_user_without_a_secret_is_asked_and_refused() -> None:
    unknown = Driver(Challenge(Method.MD5, "mallory"))

    assert unknown([STARTUP]).answer.startswith(b"R\0\0\0\x0c\0\0\0\5")
    with pytest.raises(LoginRejected, match="password authentication failed"):
        unknown([STARTUP, PasswordMessage("md5" + "0" * 32)])


def _login_by_md5(password: str) -> Step:
    login = ClientLogin()
    login.receive(STARTUP)
    login.challenge(MD5)
    salt = login.answer[-4:]
    answer = answer_md5(hash_md5(password, "alice"), "alice", salt)
    return login.receive(PasswordMessage(answer))


def test_md5_proves_the_password_with_the_salt_of_this_login() -> None:
    assert _login_by_md5("secret") is Step.AUTHENTICATED
    with pytest.raises(LoginRejected):
        _login_by_md5("wrong")


def test_each_md5_challenge_has_its_own_salt() -> None:
    answers = {Driver(MD5)([STARTUP]).answer for _ in range(5)}

    assert len(answers) > 1


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (Query("SELECT 1"), "client sent something else where its password belongs"),
        (STARTUP, "client sent something else where its password belongs"),
        (b"p\0\0\0\3", "impossible length"),
        (b"p\xff\xff\xff\xff", "impossible length"),
        (b"p" + MAX_LOGIN_MESSAGE.to_bytes(4, "big"), "impossible length"),
        (message("p", b"secret"), "a string in it has no end"),
        (message("p", b"secret\0more"), "bytes behind the end of its string"),
    ],
)
def test_anything_but_a_password_message_is_the_clients_fault(data: bytes, sentence: str) -> None:
    with pytest.raises(ClientProtocolError, match=sentence):
        Driver(PLAIN)([STARTUP, data])


# --- SCRAM ---


def _login_by_scram(
    login: ClientLogin, password: str, *, cut: bool = False
) -> tuple[Step, ScramClient]:
    client = ScramClient(password, lambda: "client-nonce")
    login.receive(STARTUP)
    login.challenge(SCRAM)
    assert login.answer == AuthenticationSASL("SCRAM-SHA-256")
    login.answer = b""
    _feed(login, SASLInitialResponse("SCRAM-SHA-256", client.first().decode()), cut)
    server_first, login.answer = login.answer[9:], b""
    step = _feed(login, SASLResponse(client.final(server_first).decode()), cut)
    client.verify(login.answer[9:])
    return step, client


def _feed(login: ClientLogin, data: bytes, cut: bool) -> Step:
    step = Step.MORE
    for read in [data[pos : pos + 1] for pos in range(len(data))] if cut else [data]:
        step = login.receive(read)
    return step


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "byte by byte"])
def test_scram_proves_both_sides_to_each_other(cut: bool) -> None:
    login = ClientLogin()

    step, client = _login_by_scram(login, "secret", cut=cut)

    keys = derive_keys("secret", b"0123456789abcdef", 4096)
    assert (step, client.is_verified) == (Step.AUTHENTICATED, True)
    assert login.scram_client_key == keys.client_key


def test_scram_refuses_a_wrong_password() -> None:
    login = ClientLogin()

    with pytest.raises(LoginRejected):
        _login_by_scram(login, "wrong")

    assert login.scram_client_key == b""


def test_scram_for_a_user_that_does_not_exist_fails_only_at_its_end() -> None:
    mock = ScramSecret.mock("mallory", b"k" * 32, 4096)
    login = ClientLogin()
    login.receive(STARTUP)
    login.challenge(Challenge(Method.SCRAM, "mallory", scram_secret=mock))
    client = ScramClient("secret", lambda: "client-nonce")
    login.answer = b""
    login.receive(SASLInitialResponse("SCRAM-SHA-256", client.first().decode()))

    assert lines(login.answer) == ["R SASLContinue"]
    with pytest.raises(LoginRejected):
        login.receive(SASLResponse(client.final(login.answer[9:]).decode()))


# --- TLS ---


def _encrypted(own_certificate: bytes = b"hash") -> ClientLogin:
    """A login that has come to where TLS is established."""
    login = ClientLogin(Encryption.OFFERED, own_certificate)
    assert login.receive(SSLRequest()) is Step.TLS
    assert login.answer == b"S"
    login.answer = b""
    return login


@pytest.mark.parametrize("offer", [Encryption.OFFERED, Encryption.REQUIRED])
def test_tls_begins_when_it_is_asked_for_or_at_once(offer: Encryption) -> None:
    asking, direct = ClientLogin(offer), ClientLogin(offer)

    assert asking.receive(SSLRequest()) is Step.TLS
    assert (asking.answer, asking.take_rest()) == (b"S", b"")
    assert direct.receive(b"\x16\3\1") is Step.TLS
    assert (direct.answer, direct.take_rest()) == (b"", b"\x16\3\1")


def test_a_login_goes_on_encrypted() -> None:
    assert _encrypted().receive(STARTUP) is Step.STARTUP


def test_a_login_in_the_clear_is_refused_where_tls_is_required() -> None:
    with pytest.raises(LoginRejected, match="SSL required"):
        ClientLogin(Encryption.REQUIRED).receive(STARTUP)


def test_gssapi_is_declined_although_there_is_tls() -> None:
    login = ClientLogin(Encryption.OFFERED)

    assert login.receive(GSSENCRequest()) is Step.MORE
    assert login.answer == b"N"
    assert login.receive(SSLRequest()) is Step.TLS


def test_tls_inside_tls_is_the_clients_fault() -> None:
    with pytest.raises(ClientProtocolError, match="SSL req inside SSL"):
        _encrypted().receive(SSLRequest())
    with pytest.raises(ClientProtocolError, match="bad packet"):
        _encrypted().receive(b"\x16\3\1\0")


@pytest.mark.parametrize("data", [b"", STARTUP[:1]])
def test_only_the_first_byte_of_a_connection_begins_direct_tls(data: bytes) -> None:
    login = ClientLogin(Encryption.OFFERED)
    login.receive(STARTUP[:1])

    login.receive(data)

    assert login.receive(b"\x16") is Step.MORE


def _offered(login: ClientLogin) -> list[str]:
    """The lines in which a login asks for SCRAM."""
    login.receive(STARTUP)
    login.challenge(SCRAM)
    offer, login.answer = login.answer, b""
    return lines(offer)


def test_scram_may_be_bound_to_the_connection() -> None:
    login = _encrypted()
    client = ScramClient("secret", lambda: "client-nonce", bound_to(b"hash"))

    assert _offered(login) == ["R SASL SCRAM-SHA-256-PLUS,SCRAM-SHA-256"]
    login.receive(SASLInitialResponse("SCRAM-SHA-256-PLUS", client.first().decode()))
    final = client.final(login.answer[9:])

    assert login.receive(SASLResponse(final.decode())) is Step.AUTHENTICATED


@pytest.mark.parametrize("own_certificate", [b"hash", b""])
def test_binding_is_offered_by_tls_and_with_a_certificate_that_allows_it(
    own_certificate: bytes,
) -> None:
    assert _offered(ClientLogin(Encryption.OFFERED, own_certificate)) == ["R SASL SCRAM-SHA-256"]
    assert _offered(_encrypted(b"")) == ["R SASL SCRAM-SHA-256"]


@pytest.mark.parametrize(
    ("mechanism", "first", "sentence"),
    [
        ("SCRAM-SHA-256-PLUS", "n,,n=,r=abc", "does not fit its channel binding"),
        ("SCRAM-SHA-256", "p=tls-server-end-point,,n=,r=abc", "does not fit its channel binding"),
        ("SCRAM-SHA-256", "y,,n=,r=abc", "overlooks SCRAM channel binding"),
        ("SCRAM-SHA-256-PLUS", "p=tls-unique,,n=,r=abc", "channel binding that was not offered"),
    ],
)
def test_a_downgraded_binding_is_refused(mechanism: str, first: str, sentence: str) -> None:
    login = _encrypted()
    _offered(login)

    with pytest.raises(ClientProtocolError, match=sentence):
        login.receive(SASLInitialResponse(mechanism, first))


def test_another_mechanism_is_the_clients_fault() -> None:
    with pytest.raises(ClientProtocolError, match="invalid SASL authentication mechanism"):
        Driver(SCRAM)([STARTUP, SASLInitialResponse("SCRAM-SHA-1", "n,,n=,r=x")])


@given(
    st.lists(st.binary(max_size=60), max_size=6),
    st.sampled_from([TRUST, PLAIN, MD5, SCRAM]),
    st.booleans(),
)
def test_random_bytes_raise_nothing_but_client_errors(
    reads: list[bytes], challenge: Challenge, is_started: bool
) -> None:
    with suppress(ClientError):
        seen = Driver(challenge)([STARTUP, *reads] if is_started else reads)
        assert len(seen.rest) <= sum(map(len, reads))
