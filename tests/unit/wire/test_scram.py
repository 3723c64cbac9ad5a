"""SCRAM-SHA-256: the RFC's transcript, both halves against each other, and everything refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgpool_lite.errors import (
    ClientError,
    ClientProtocolError,
    ConfigError,
    LoginRejected,
    PgPoolLiteError,
    ServerError,
    ServerLoginFailed,
    ServerProtocolError,
)
from pgpool_lite.wire import scram
from pgpool_lite.wire.scram import ScramClient, ScramKeys, ScramSecret, ScramServer

# RFC 7677 section 3. Its client sends the user name, ours leaves it empty; only the server half
# can replay it word for word.
RFC_SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
RFC_CLIENT_FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
RFC_SERVER_FIRST = (
    b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
)
RFC_CLIENT_FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
    b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
RFC_SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
# Made by PostgreSQL 15.18 with CREATE USER ... PASSWORD 'secret'.
POSTGRESQL_SECRET = (
    "SCRAM-SHA-256$4096:ULXujL69fHcZ/zDoIHHGgw==$dDKLwT7J54ORMlHLa5hvkzBlogPceBX5alQrI8pAy8o="
    ":Syx0kKXzEzetLhv1kxnL5eGnt+5CbWunwG0txSscLKU="
)
SECRET = ScramSecret.from_password("secret", b"0123456789abcdef", 1)
KEYS = scram.derive_keys("secret", b"0123456789abcdef", 1)
PROCESS_KEY = b"k" * 32

Tamper = Callable[[int, bytes], bytes]


def unchanged(index: int, message: bytes) -> bytes:
    return message


def new_client(credential: str | bytes | ScramKeys = "secret") -> ScramClient:
    return ScramClient(credential, lambda: "clientnonce")


def new_server(secret: ScramSecret = SECRET, binding: bytes | None = None) -> ScramServer:
    return ScramServer(secret, lambda: "servernonce", channel_binding=binding)


def exchange(client: ScramClient, server: ScramServer, tamper: Tamper = unchanged) -> None:
    """Carry the four messages from one half to the other, each through `tamper`."""
    server_first = server.first(tamper(0, client.first()))
    client_final = client.final(tamper(1, server_first))
    server_final = server.final(tamper(2, client_final))
    client.verify(tamper(3, server_final))


def prove(server_first: bytes, client_first: bytes, binding_input: bytes) -> bytes:
    """Make a client-final for password `secret` without help from the code under test."""
    bare = client_first.split(b",", 2)[2]
    nonce = server_first.removeprefix(b"r=").split(b",")[0]
    without_proof = b"c=" + base64.b64encode(binding_input) + b",r=" + nonce
    signed = b",".join((bare, server_first, without_proof))
    signature = hmac.digest(hashlib.sha256(KEYS.client_key).digest(), signed, "sha256")
    proof = bytes(a ^ b for a, b in zip(KEYS.client_key, signature, strict=True))
    return without_proof + b",p=" + base64.b64encode(proof)


class TestWhatTheDocumentsSay:
    def test_the_server_half_replays_the_rfc_7677_transcript(self) -> None:
        secret = ScramSecret.from_password("pencil", RFC_SALT, 4096)
        server = ScramServer(secret, lambda: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")

        assert server.first(RFC_CLIENT_FIRST) == RFC_SERVER_FIRST
        assert server.final(RFC_CLIENT_FINAL) == RFC_SERVER_FINAL

    def test_the_client_half_speaks_like_the_rfc_but_leaves_the_user_name_empty(self) -> None:
        client = ScramClient("pencil", lambda: "rOprNGfwEbeRWgbNEkqO")

        assert client.first() == b"n,,n=,r=rOprNGfwEbeRWgbNEkqO"
        client_final = client.final(RFC_SERVER_FIRST)
        assert client_final.split(b",p=")[0] == RFC_CLIENT_FINAL.split(b",p=")[0]

    def test_a_secret_made_by_postgresql_is_the_one_made_here(self) -> None:
        secret = ScramSecret.parse(POSTGRESQL_SECRET)

        assert secret.fits("secret")
        assert not secret.fits("Secret")
        assert ScramSecret.from_password(b"secret", secret.salt, 4096) == secret
        assert secret.encode() == POSTGRESQL_SECRET


class TestBothHalves:
    @settings(max_examples=60, deadline=None)
    @given(password=st.text() | st.binary(), salt=st.binary(min_size=1, max_size=40))
    def test_accept_each_other_with_any_password(self, password: str | bytes, salt: bytes) -> None:
        server = new_server(ScramSecret.from_password(password, salt, 2))

        exchange(ScramClient(password, secrets.token_urlsafe), server)

        assert server.client_key == scram.derive_keys(password, salt, 2).client_key

    def test_refuse_a_wrong_password_in_postgresqls_words(self) -> None:
        server = new_server()

        with pytest.raises(LoginRejected, match=r"^SASL authentication failed$"):
            exchange(new_client("Secret"), server)

        assert server.client_key == b""

    def test_recovered_keys_log_in_to_a_server_with_the_same_secret(self) -> None:
        first_server = new_server()
        exchange(new_client(), first_server)

        keys = ScramKeys(first_server.client_key, SECRET.server_key)
        second_server = new_server()
        exchange(new_client(keys), second_server)

        assert second_server.client_key == KEYS.client_key

    def test_recovered_keys_are_refused_where_the_salt_is_another(self) -> None:
        server = new_server(ScramSecret.from_password("secret", b"another salt", 1))

        with pytest.raises(LoginRejected):
            exchange(new_client(KEYS), server)

    @settings(max_examples=600, deadline=None)
    @given(data=st.data(), index=st.integers(0, 3))
    def test_a_changed_byte_in_any_message_ends_the_exchange(
        self, data: st.DataObject, index: int
    ) -> None:
        def change(at: int, message: bytes) -> bytes:
            if at != index:
                return message
            pos = data.draw(st.integers(0, len(message) - 1))
            byte = data.draw(st.integers(1, 255)) ^ message[pos]
            return message[:pos] + bytes([byte]) + message[pos + 1 :]

        with pytest.raises(PgPoolLiteError) as caught:
            exchange(new_client(KEYS), new_server(), change)

        assert isinstance(caught.value, ClientError | ServerError)

    @settings(max_examples=200, deadline=None)
    @given(data=st.data(), index=st.integers(0, 3))
    def test_a_truncated_message_ends_the_exchange(self, data: st.DataObject, index: int) -> None:
        def truncate(at: int, message: bytes) -> bytes:
            end = data.draw(st.integers(0, len(message) - 1)) if at == index else len(message)
            return message[:end]

        with pytest.raises((ClientError, ServerError)):
            exchange(new_client(KEYS), new_server(), truncate)


SASL_LIKE = st.lists(
    st.sampled_from([b"n", b"y", b"p", b"r", b"s", b"i", b"c", b"v", b"e", b"m", b"=", b",", b",,"])
    | st.sampled_from([b"biws", b"1", b"clientnonce", b"servernonce", b"AAAA", b"\0", b"\xff"])
    | st.binary(max_size=8)
).map(b"".join)


class TestArbitraryBytes:
    @settings(max_examples=300, deadline=None)
    @given(message=SASL_LIKE)
    def test_as_client_first_raise_only_protocol_errors(self, message: bytes) -> None:
        # What is accepted by chance has a nonce, and then server-first starts with it.
        server = new_server()
        try:
            answer = server.first(message)
        except ClientProtocolError:
            return
        assert answer.startswith(b"r=")

    @settings(max_examples=300, deadline=None)
    @given(message=SASL_LIKE)
    def test_as_client_final_raise_only_client_errors(self, message: bytes) -> None:
        server = new_server()
        server.first(b"n,,n=,r=clientnonce")

        with pytest.raises((ClientProtocolError, LoginRejected)):
            server.final(message)

    @settings(max_examples=300, deadline=None)
    @given(message=SASL_LIKE)
    def test_as_server_first_raise_only_server_errors(self, message: bytes) -> None:
        client = new_client(KEYS)
        client.first()

        with pytest.raises((ServerProtocolError, ServerLoginFailed)):
            client.final(message)

    @settings(max_examples=300, deadline=None)
    @given(message=SASL_LIKE)
    def test_as_server_final_raise_only_server_errors(self, message: bytes) -> None:
        client = new_client(KEYS)
        client.final(new_server().first(client.first()))

        with pytest.raises((ServerProtocolError, ServerLoginFailed)):
            client.verify(message)

    @settings(max_examples=300, deadline=None)
    @given(text=st.text(st.characters()) | st.text("SCRAM-SHA256$:=/+09az\n\udc80"))
    def test_as_a_secret_raise_only_config_errors(self, text: str) -> None:
        with pytest.raises(ConfigError):
            ScramSecret.parse(text)


class TestServerHalf:
    @pytest.mark.parametrize(
        ("client_first", "sentence"),
        [
            (b"", "no GS2 header"),
            (b"x,,n=,r=abc", "no GS2 header"),
            (b"n", "no GS2 header"),
            (b"n,a=admin,n=,r=abc", "authorization identity"),
            (b"p=tls-unique,,n=,r=abc", "channel binding that was not offered"),
            (b"p=tls-server-end-point,,n=,r=abc", "channel binding that was not offered"),
            (b"n,,m=ext,n=,r=abc", "extension that is not supported"),
            (b"n,,n=,m=ext,r=abc", "extension that is not supported"),
            (b"n,,r=abc,n=", "unexpected or missing attributes: rn"),
            (b"n,,n=", "unexpected or missing attributes: n"),
            (b"n,,n=,abc", "expected letter=value"),
            (b"n,,n=,r=", "nonce is empty or not printable"),
            (b"n,,n=,r=a b", "nonce is empty or not printable"),
            (b"n,,n=,r=a\xc3\xa9", "nonce is empty or not printable"),
            (b"n,,n=,r=a\0b", "control character"),
            (b"n,,n=\n,r=abc", "control character"),
            (b"n,,n=,r=" + b"a" * 513, "nonce has 513 bytes, at most 512"),
            (b"n,,n=" + b"u" * 2048 + b",r=abc", "at most 2048 allowed"),
        ],
    )
    def test_refuses_a_malformed_client_first(self, client_first: bytes, sentence: str) -> None:
        with pytest.raises(ClientProtocolError, match=sentence):
            new_server().first(client_first)

    @pytest.mark.parametrize(
        ("client_final", "sentence"),
        [
            (b"", "expected letter=value"),
            (b"c=biws", "unexpected or missing attributes: c"),
            (b"c=eSws,r=NONCE,p=PROOF", "channel binding check failed"),
            (b"c=biws,r=clientnonce,p=PROOF", "nonce in client-final is not the one sent"),
            (b"c=biws,r=NONCEx,p=PROOF", "nonce in client-final is not the one sent"),
            (b"c=biws,r=NONCE", "unexpected or missing attributes: cr"),
            (b"c=biws,r=NONCE,p=PROOF,x=1", "unexpected or missing attributes: crpx"),
            (b"c=biws,r=NONCE,p=PROOF,p=PROOF", "unexpected or missing attributes: crpp"),
            (b"c=biws,r=NONCE,m=1,p=PROOF", "extension that is not supported"),
            (b"c=biws,r=NONCE,p=", "proof is not valid base64"),
            (b"c=biws,r=NONCE,p=AAA", "proof is not valid base64"),
            (b"c=biws,r=NONCE,p=A-_A", "proof is not valid base64"),
            (b"c=biws,r=NONCE,p=AB==", "proof is not valid base64"),
            (b"c=biws,r=NONCE,p=AAAA", "proof must have 32 bytes"),
        ],
    )
    def test_refuses_a_malformed_client_final(self, client_final: bytes, sentence: str) -> None:
        server = new_server()
        server.first(b"n,,n=,r=clientnonce")
        message = client_final.replace(b"NONCE", b"clientnonceservernonce")

        with pytest.raises(ClientProtocolError, match=sentence):
            server.final(message.replace(b"PROOF", base64.b64encode(bytes(32))))

    def test_refuses_a_client_final_without_nonce(self) -> None:
        # CVE-2026-19888: PgBouncer before 1.26.0 took the nonce for granted and crashed.
        server = new_server(ScramSecret.mock("nobody", PROCESS_KEY, 4096))
        server.first(b"n,,n=,r=clientnonce")

        with pytest.raises(ClientProtocolError, match="missing attributes: cp"):
            server.final(b"c=biws,p=" + base64.b64encode(bytes(32)))

    def test_ignores_the_user_name_and_optional_extensions(self) -> None:
        client_first = "n,,n=sømebody,r=clientnonce,x=1".encode()
        server = new_server()

        client_final = prove(server.first(client_first), client_first, b"n,,")

        assert server.final(client_final).startswith(b"v=")

    def test_accepts_a_client_that_could_bind_but_was_not_offered_it(self) -> None:
        client_first = b"y,,n=,r=clientnonce"
        server = new_server()

        client_final = prove(server.first(client_first), client_first, b"y,,")

        assert server.final(client_final).startswith(b"v=")

    def test_refuses_a_client_that_was_kept_from_seeing_the_offer_to_bind(self) -> None:
        with pytest.raises(ClientProtocolError, match="overlooks SCRAM channel binding"):
            new_server(binding=b"certificate hash").first(b"y,,n=,r=clientnonce")

    def test_accepts_a_client_bound_to_this_connection(self) -> None:
        client_first = b"p=tls-server-end-point,,n=,r=clientnonce"
        server = new_server(binding=b"certificate hash")

        server_first = server.first(client_first)
        client_final = prove(
            server_first, client_first, b"p=tls-server-end-point,,certificate hash"
        )

        assert server.final(client_final).startswith(b"v=")
        assert server.client_key == KEYS.client_key

    def test_refuses_a_client_bound_to_another_connection(self) -> None:
        client_first = b"p=tls-server-end-point,,n=,r=clientnonce"
        server = new_server(binding=b"certificate hash")
        server_first = server.first(client_first)

        with pytest.raises(ClientProtocolError, match="channel binding check failed"):
            server.final(prove(server_first, client_first, b"p=tls-server-end-point,,man between"))

    def test_refuses_another_kind_of_binding_than_it_offered(self) -> None:
        with pytest.raises(ClientProtocolError, match="channel binding that was not offered"):
            new_server(binding=b"certificate hash").first(b"p=tls-exporter,,n=,r=clientnonce")


class TestClientHalf:
    @pytest.mark.parametrize(
        ("server_first", "sentence"),
        [
            (b"", "expected letter=value"),
            (b"r=clientnonceX,s=AAAA", "unexpected or missing attributes: rs"),
            (b"s=AAAA,r=clientnonceX,i=1", "unexpected or missing attributes: sri"),
            (b"r=clientnonceX,s=AAAA,i=1,x=1", "unexpected or missing attributes: rsix"),
            (b"m=1,r=clientnonceX,s=AAAA,i=1", "extension that is not supported"),
            (b"r=othernonceX,s=AAAA,i=1", "does not continue ours"),
            (b"r=clientnonce,s=AAAA,i=1", "does not continue ours"),
            (b"r=clientnonce\xff,s=AAAA,i=1", "nonce is empty or not printable"),
            (b"r=clientnonceX,s=,i=1", "salt is not valid base64"),
            (b"r=clientnonceX,s=A,i=1", "salt is not valid base64"),
            (b"r=clientnonceX,s=AAAA,i=0", "not a positive number"),
            (b"r=clientnonceX,s=AAAA,i=-1", "not a positive number"),
            (b"r=clientnonceX,s=AAAA,i=1.5", "not a positive number"),
            (b"r=clientnonceX,s=AAAA,i=" + b"9" * 500, "not a positive number"),
        ],
    )
    def test_refuses_a_malformed_server_first(self, server_first: bytes, sentence: str) -> None:
        client = new_client()
        client.first()

        with pytest.raises(ServerProtocolError, match=sentence):
            client.final(server_first)

    def test_refuses_to_compute_a_billion_iterations(self) -> None:
        # CVE-2026-6669: PgBouncer before 1.26.0 computed them and served nobody meanwhile.
        client = new_client()
        client.first()

        with pytest.raises(ServerLoginFailed, match="1000000000 SCRAM iterations") as caught:
            client.final(b"r=clientnonceX,s=AAAA,i=1000000000")

        assert "scram_iterations" in caught.value.hint

    def test_computes_as_many_iterations_as_pgbouncer_does_and_not_one_more(self) -> None:
        allowed = new_client(KEYS)
        allowed.first()
        refused = new_client(KEYS)
        refused.first()

        assert allowed.final(b"r=clientnonceX,s=AAAA,i=1000000").startswith(
            b"c=biws,r=clientnonceX"
        )
        with pytest.raises(ServerLoginFailed):
            refused.final(b"r=clientnonceX,s=AAAA,i=1000001")

    def test_refuses_an_over_long_nonce(self) -> None:
        # CVE-2026-6665: PgBouncer before 1.25.2 wrote it past the end of its buffer.
        client = new_client()
        client.first()

        with pytest.raises(ServerProtocolError, match="nonce has 513 bytes"):
            client.final(b"r=" + b"clientnonce".ljust(513, b"x") + b",s=AAAA,i=1")

    def test_refuses_an_over_long_message(self) -> None:
        client = new_client()
        client.first()

        with pytest.raises(ServerProtocolError, match="server-first has 1000000 bytes"):
            client.final(b"r=clientnonceX,s=".ljust(1_000_000, b"A"))

    @pytest.mark.parametrize(
        ("server_final", "error", "sentence"),
        [
            (b"e=invalid-proof", ServerLoginFailed, "refused the SCRAM login: invalid-proof"),
            (b"e=\xff", ServerLoginFailed, "refused the SCRAM login"),
            (b"v=" + base64.b64encode(bytes(32)), ServerLoginFailed, "did not prove"),
            (b"v=AAAA", ServerLoginFailed, "did not prove"),
            (b"v=", ServerProtocolError, "signature is not valid base64"),
            (b"v=AAAA,x=1", ServerProtocolError, "unexpected or missing attributes: vx"),
            (b"", ServerProtocolError, "expected letter=value"),
        ],
    )
    def test_refuses_a_server_final_without_the_right_signature(
        self, server_final: bytes, error: type[ServerError], sentence: str
    ) -> None:
        client = new_client()
        client.final(new_server().first(client.first()))

        with pytest.raises(error, match=sentence):
            client.verify(server_final)

        assert not client.is_verified

    def test_refuses_a_server_that_knows_only_the_client_key(self) -> None:
        impostor = ScramSecret(1, SECRET.salt, SECRET.stored_key, bytes(32))

        with pytest.raises(ServerLoginFailed, match="did not prove"):
            exchange(new_client(), new_server(impostor))


class TestOrder:
    def test_the_server_half_takes_no_client_final_first(self) -> None:
        with pytest.raises(ClientProtocolError, match="got client-final, expected client-first"):
            new_server().final(RFC_CLIENT_FINAL)

    def test_the_server_half_takes_no_second_client_first(self) -> None:
        server = new_server()
        server.first(b"n,,n=,r=clientnonce")

        with pytest.raises(ClientProtocolError, match="got client-first, expected client-final"):
            server.first(b"n,,n=,r=clientnonce")

    def test_the_server_half_takes_no_second_client_final(self) -> None:
        client, server = new_client(), new_server()
        client_final = client.final(server.first(client.first()))
        server.final(client_final)

        with pytest.raises(ClientProtocolError, match="the exchange is over"):
            server.final(client_final)

    def test_the_server_half_takes_nothing_after_an_error(self) -> None:
        # Otherwise one connection could try passwords as fast as it can send them.
        server = new_server()
        server.first(b"n,,n=,r=clientnonce")
        with pytest.raises(ClientProtocolError, match="proof must have"):
            server.final(b"c=biws,r=clientnonceservernonce,p=AAAA")

        with pytest.raises(ClientProtocolError, match="the exchange is over"):
            server.final(b"c=biws,r=clientnonceservernonce,p=AAAA")

    def test_the_client_half_starts_once(self) -> None:
        client = new_client()
        client.first()

        with pytest.raises(ServerProtocolError, match="got client-first, expected server-first"):
            client.first()

    def test_the_client_half_takes_no_server_first_before_it_started(self) -> None:
        with pytest.raises(ServerProtocolError, match="got server-first, expected client-first"):
            new_client().final(RFC_SERVER_FIRST)

    def test_the_client_half_believes_no_server_that_skips_the_challenge(self) -> None:
        client = new_client()
        client.first()

        with pytest.raises(ServerProtocolError, match="got server-final, expected server-first"):
            client.verify(RFC_SERVER_FINAL)

    def test_the_client_half_verifies_once(self) -> None:
        client, server = new_client(), new_server()
        server_final = server.final(client.final(server.first(client.first())))
        client.verify(server_final)
        assert client.is_verified

        with pytest.raises(ServerProtocolError, match="the exchange is over"):
            client.verify(server_final)


class TestSecrets:
    def test_an_unknown_user_gets_the_same_challenge_every_time(self) -> None:
        once = new_server(ScramSecret.mock("nobody", PROCESS_KEY, 4096))
        again = new_server(ScramSecret.mock("nobody", PROCESS_KEY, 4096))

        assert once.first(RFC_CLIENT_FIRST) == again.first(RFC_CLIENT_FIRST)

    def test_an_unknown_user_gets_the_challenge_of_a_user_with_a_plain_password(self) -> None:
        salt = scram.derive_salt("somebody", PROCESS_KEY)
        known = new_server(ScramSecret.from_password("secret", salt, 10))
        unknown = new_server(ScramSecret.mock("somebody", PROCESS_KEY, 10))

        assert known.first(RFC_CLIENT_FIRST) == unknown.first(RFC_CLIENT_FIRST)

    def test_mock_secrets_differ_by_user_and_by_process(self) -> None:
        mocks = {
            ScramSecret.mock("nobody", PROCESS_KEY, 4096).encode(),
            ScramSecret.mock("noone", PROCESS_KEY, 4096).encode(),
            ScramSecret.mock("nobody", b"another process", 4096).encode(),
        }

        assert len(mocks) == 3

    def test_an_unknown_user_fails_like_a_wrong_password(self) -> None:
        server = new_server(ScramSecret.mock("nob\udcffdy", PROCESS_KEY, 1))

        with pytest.raises(LoginRejected, match=r"^SASL authentication failed$"):
            exchange(new_client(), server)

    @settings(max_examples=60, deadline=None)
    @given(
        iterations=st.integers(1, 9_999_999_999),
        salt=st.binary(min_size=1),
        stored_key=st.binary(min_size=32, max_size=32),
        server_key=st.binary(min_size=32, max_size=32),
    )
    def test_what_is_encoded_is_what_is_parsed(
        self, iterations: int, salt: bytes, stored_key: bytes, server_key: bytes
    ) -> None:
        secret = ScramSecret(iterations, salt, stored_key, server_key)

        assert ScramSecret.parse(secret.encode()) == secret

    @pytest.mark.parametrize(
        "change",
        [
            ("SCRAM-SHA-256$", "SCRAM-SHA-1$"),
            ("$4096:", "$0:"),
            ("$4096:", "$40x96:"),
            ("$4096:", "$40961234567:"),
            ("ULXujL69fHcZ/zDoIHHGgw==", ""),
            ("ULXujL69fHcZ/zDoIHHGgw==", "ULXujL69fHcZ/zDoIHHGg"),
            ("dDKLwT7J54ORMlHLa5hvkzBlogPceBX5alQrI8pAy8o=", "AAAA"),
            ("Syx0kKXzEzetLhv1kxnL5eGnt+5CbWunwG0txSscLKU=", "AAAA"),
            ("LKU=", "LKU=\n"),
        ],
    )
    def test_a_malformed_secret_is_refused_without_showing_it(
        self, change: tuple[str, str]
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            ScramSecret.parse(POSTGRESQL_SECRET.replace(*change))

        assert "dDKL" not in str(caught.value)

    def test_a_secret_with_a_billion_iterations_is_not_computed(self) -> None:
        secret = ScramSecret(1_000_000_000, SECRET.salt, SECRET.stored_key, SECRET.server_key)

        with pytest.raises(ConfigError, match="1000000000 iterations, at most 1000000"):
            secret.fits("secret")

    def test_keys_and_passwords_are_not_shown(self) -> None:
        server, client = new_server(), new_client()
        exchange(client, server)
        shown = f"{SECRET!r} {SECRET} {KEYS!r} {KEYS} {server!r} {client!r}"

        assert "key=" not in shown
        assert repr(KEYS.client_key) not in shown
        assert repr(SECRET.stored_key) not in shown
        assert "'secret'" not in shown
