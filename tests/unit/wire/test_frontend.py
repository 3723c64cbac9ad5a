"""Frontend messages: what we write is what PostgreSQL reads, and what clients write is decoded."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.errors import ClientProtocolError
from pgpool_lite.wire import codes, frontend
from pgpool_lite.wire.frontend import CancelKey, StartupMessage
from tests import wire_messages as wire

NAMES = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=20)
VALUES = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)


# --- start-up packets ---


def test_a_startup_message_is_decoded() -> None:
    packet = wire.StartupMessage({"user": "alice", "database": "app"})

    startup = frontend.decode_startup(packet)

    assert startup.protocol == codes.PROTOCOL_3_0
    assert startup.parameters == {"user": "alice", "database": "app"}


def test_a_repeated_parameter_keeps_its_last_value() -> None:
    body = wire.text("user") + wire.text("a") + wire.text("user") + wire.text("b") + b"\0"

    assert frontend.decode_startup(wire.startup_packet(196608, body)).parameters == {"user": "b"}


def test_the_version_has_two_halves() -> None:
    startup = StartupMessage(wire.PROTOCOL_3_2, {})

    assert (startup.major, startup.minor) == (3, 2)


def test_bytes_that_are_not_utf8_survive() -> None:
    body = b"user\0J\xf6rg\0\0"

    startup = frontend.decode_startup(wire.startup_packet(196608, body))

    assert frontend.encode_startup(startup.parameters) == wire.startup_packet(196608, body)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "a string in it has no end"),
        (b"user", "a string in it has no end"),
        (b"user\0alice", "a string in it has no end"),
        (b"user\0alice\0", "a string in it has no end"),
        (b"user\0", "a string in it has no end"),
        (b"user\0alice\0database", "a string in it has no end"),
        (b"user\0alice\0\0\0", "expected terminator as last byte"),
        (b"\0x", "expected terminator as last byte"),
        (b"user\0alice\0\0x", "expected terminator as last byte"),
    ],
)
def test_a_malformed_startup_message_is_the_clients_fault(body: bytes, sentence: str) -> None:
    with pytest.raises(ClientProtocolError, match=sentence):
        frontend.decode_startup(wire.startup_packet(196608, body))


@pytest.mark.parametrize("size", [8, 9, frontend.MAX_STARTUP_SIZE])
def test_the_size_of_a_startup_packet_is_its_first_number(size: int) -> None:
    assert frontend.startup_size(struct.pack("!i", size)) == size


@pytest.mark.parametrize(
    "head",
    [b"GET ", b"\x16\x03\x01\x02", b"\0\0\0\7", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\x27\x11"],
    ids=["HTTP", "TLS", "7", "0", "-1", "10001"],
)
def test_promise_4_an_absurd_startup_size_is_refused_before_anything_is_kept(head: bytes) -> None:
    with pytest.raises(ClientProtocolError, match=f"bad packet header: '{head.hex()}'"):
        frontend.startup_size(head)


def test_a_request_code_stands_where_the_version_would() -> None:
    assert frontend.startup_code(wire.SSLRequest()) == codes.SSL_REQUEST
    assert frontend.startup_code(wire.GSSENCRequest()) == codes.GSSENC_REQUEST
    assert frontend.startup_code(wire.StartupMessage({})) == codes.PROTOCOL_3_0


def test_a_cancel_request_is_decoded() -> None:
    assert frontend.decode_cancel_request(wire.CancelRequest(2**32 - 1, 7)) == CancelKey(
        2**32 - 1, b"\0\0\0\7"
    )


def test_a_cancel_request_of_protocol_3_2_has_a_long_secret() -> None:
    key = CancelKey(5, bytes(range(256)))

    assert frontend.decode_cancel_request(frontend.encode_cancel_request(key)) == key


def test_a_short_cancel_request_is_the_clients_fault() -> None:
    with pytest.raises(ClientProtocolError, match="bad cancel request"):
        frontend.decode_cancel_request(wire.startup_packet(codes.CANCEL_REQUEST, b"\0\0\0\1"))


def test_a_cancel_secret_is_not_shown() -> None:
    assert "geheim" not in repr(CancelKey(1, b"geheim"))


# --- messages of a login ---


def test_a_query_is_its_text() -> None:
    assert frontend.decode_query(b"SELECT 1\0") == "SELECT 1"


@pytest.mark.parametrize("body", [b"SELECT 1", b"", b"SELECT 1\0more", b"a\0b\0"])
def test_a_query_that_is_not_one_string_is_the_clients_fault(body: bytes) -> None:
    with pytest.raises(ClientProtocolError):
        frontend.decode_query(body)


def test_a_sasl_initial_response_is_decoded() -> None:
    data = wire.SASLInitialResponse("SCRAM-SHA-256", "n,,n=,r=abc")

    assert frontend.decode_sasl_initial(data[5:]) == (b"SCRAM-SHA-256", b"n,,n=,r=abc")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"SCRAM-SHA-256",
        b"SCRAM-SHA-256\0",
        b"SCRAM-SHA-256\0\0\0",
        b"SCRAM-SHA-256\0\0\0\0\3ab",
        b"SCRAM-SHA-256\0\0\0\0\1ab",
        b"SCRAM-SHA-256\0\xff\xff\xff\xff",
    ],
)
def test_a_malformed_sasl_initial_response_is_the_clients_fault(body: bytes) -> None:
    with pytest.raises(ClientProtocolError, match="malformed SASLInitialResponse"):
        frontend.decode_sasl_initial(body)


# --- what we send to servers ---


def test_what_we_send_is_what_the_documentation_says() -> None:
    parameters = {"user": "alice", "application_name": "psql"}
    assert frontend.encode_startup(parameters) == wire.StartupMessage(parameters)
    assert frontend.encode_query("SELECT 'ä'") == wire.Query("SELECT 'ä'")
    assert frontend.encode_password(b"secret") == wire.PasswordMessage("secret")
    assert frontend.encode_sasl_initial("X", b"ab") == wire.SASLInitialResponse("X", "ab")
    assert frontend.encode_sasl_response(b"c=") == wire.SASLResponse("c=")
    assert frontend.encode_cancel_request(CancelKey(3, b"\0\0\0\4")) == wire.CancelRequest(3, 4)
    assert wire.SSLRequest() == frontend.SSL_REQUEST
    assert wire.Terminate() == frontend.TERMINATE


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_a_startup_message_that_we_write_can_be_read(parameters: dict[str, str]) -> None:
    packet = frontend.encode_startup(parameters)

    assert frontend.decode_startup(packet).parameters == parameters
    assert frontend.startup_size(packet) == len(packet)


@given(st.binary(max_size=40))
def test_random_bytes_raise_nothing_but_client_protocol_errors(data: bytes) -> None:
    for decode in (frontend.decode_query, frontend.decode_sasl_initial, frontend.decode_startup):
        with_header = wire.startup_packet(196608, data)
        with suppress(ClientProtocolError):
            decode(with_header if decode is frontend.decode_startup else data)
