"""Backend messages: what we tell clients is what PostgreSQL would, what servers say is decoded."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.errors import LimitReached, LoginRejected, ServerProtocolError
from pgpool_lite.wire import backend
from pgpool_lite.wire.backend import Column, ServerMessage
from pgpool_lite.wire.frontend import CancelKey
from tests import wire_messages as wire
from tests.wire_messages import BackendMessage


def show(data: bytes) -> str:
    """Return one message as its transcript line, its length checked."""
    message = BackendMessage(chr(data[0]), data[5:])
    assert int.from_bytes(data[1:5], "big") == len(data) - 1
    return str(message)


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (backend.AUTHENTICATION_OK, "R Ok"),
        (backend.AUTHENTICATION_CLEARTEXT, "R CleartextPassword"),
        (backend.authentication_md5(b"salt"), "R MD5Password"),
        (backend.authentication_sasl(["A", "B"]), "R SASL A,B"),
        (backend.authentication_sasl_continue(b"r=1"), "R SASLContinue"),
        (backend.authentication_sasl_final(b"v=1"), "R SASLFinal"),
        (backend.parameter_status("TimeZone", "UTC"), "S TimeZone=UTC"),
        (backend.negotiate_protocol_version(["_pq_.x"]), "v 3.0 _pq_.x"),
        (backend.negotiate_protocol_version([]), "v 3.0"),
        (backend.row_description([Column("id", 20, 8), Column("name")]), "T id,name"),
        (backend.data_row([b"7", None, b""]), "D 7|NULL|"),
        (backend.command_complete("SHOW"), "C SHOW"),
        (backend.ready_for_query(ord("T")), "Z T"),
        (backend.READY_IDLE, "Z I"),
        (backend.PARSE_COMPLETE, "1"),
        (backend.BIND_COMPLETE, "2"),
        (backend.CLOSE_COMPLETE, "3"),
        (backend.NO_DATA, "n"),
        (backend.NO_PARAMETERS, "t"),
        (backend.EMPTY_QUERY_RESPONSE, "I"),
        (backend.error_response(LimitReached("too late")), "E FATAL 08P01 too late"),
        (backend.notice_response("you wait"), "N NOTICE 00000 you wait"),
    ],
)
def test_each_message_reads_as_it_would_from_postgresql(message: bytes, line: str) -> None:
    assert show(message) == line


def test_our_messages_are_byte_for_byte_postgresqls() -> None:
    assert backend.backend_key_data(CancelKey(7, b"\0\0\0\1")) == wire.BackendKeyData(7, 1)
    assert backend.row_description([Column("a")]) == wire.RowDescription("a")
    assert backend.data_row([b"x", None]) == wire.DataRow("x", None)
    assert backend.authentication_sasl(["X"]) == wire.AuthenticationSASL("X")


def test_promise_7_an_error_carries_sqlstate_sentence_detail_and_hint() -> None:
    error = LoginRejected("no", sqlstate="28000", detail="why", hint="do this")

    data = backend.error_response(error)

    assert BackendMessage("E", data[5:]).fields == {
        "S": "FATAL",
        "V": "FATAL",
        "C": "28000",
        "M": "no",
        "D": "why",
        "H": "do this",
    }


def test_an_error_need_not_be_fatal() -> None:
    assert show(backend.error_response(LimitReached("no"), "ERROR")) == "E ERROR 08P01 no"


def test_a_notice_may_have_detail_and_hint() -> None:
    data = backend.notice_response("text", detail="why", hint="do")

    assert BackendMessage("N", data[5:]).fields["H"] == "do"


# --- what servers say ---


def test_an_authentication_request_has_a_kind_and_a_rest() -> None:
    assert backend.decode_authentication(b"\0\0\0\5salt") == (5, b"salt")


def test_the_mechanisms_of_sasl_are_a_list() -> None:
    body = wire.AuthenticationSASL("SCRAM-SHA-256")[9:]

    assert backend.decode_sasl_mechanisms(body) == ["SCRAM-SHA-256"]


def test_a_cancel_key_is_decoded() -> None:
    assert backend.decode_backend_key_data(wire.BackendKeyData(9, 1)[5:]) == CancelKey(
        9, b"\0\0\0\1"
    )


def test_a_cancel_key_of_protocol_3_2_is_longer() -> None:
    assert backend.decode_backend_key_data(b"\0\0\0\1" + b"k" * 256).secret == b"k" * 256


def test_a_parameter_status_is_a_name_and_a_value() -> None:
    assert backend.decode_parameter_status(b"TimeZone\0UTC\0") == ("TimeZone", "UTC")


def test_an_error_is_decoded() -> None:
    body = wire.ErrorResponse("broken", severity="FATAL", sqlstate="57P01")[5:]

    assert backend.decode_error(body) == ServerMessage("FATAL", "57P01", "broken")


def test_the_severity_that_is_never_translated_counts() -> None:
    assert backend.decode_error(b"SFEHLER\0VERROR\0\0").severity == "ERROR"


def test_a_server_older_than_9_6_has_only_the_translated_severity() -> None:
    assert backend.decode_error(b"SFEHLER\0\0").severity == "FEHLER"


def test_fields_that_are_missing_are_empty() -> None:
    assert backend.decode_error(b"\0") == ServerMessage("", "", "")


@pytest.mark.parametrize(
    ("decode", "body"),
    [
        (backend.decode_authentication, b"\0\0\0"),
        (backend.decode_backend_key_data, b"\0\0\0\0"),
        (backend.decode_backend_key_data, b"\0" * 261),
        (backend.decode_parameter_status, b"TimeZone\0UTC"),
        (backend.decode_parameter_status, b"TimeZone\0"),
        (backend.decode_parameter_status, b"a\0b\0c"),
    ],
)
def test_a_malformed_message_is_the_servers_fault(
    decode: Callable[[bytes], object], body: bytes
) -> None:
    with pytest.raises(ServerProtocolError, match="malformed"):
        decode(body)


@given(st.binary(max_size=40))
def test_random_bytes_raise_nothing_but_server_protocol_errors(body: bytes) -> None:
    for decode in (
        backend.decode_authentication,
        backend.decode_backend_key_data,
        backend.decode_parameter_status,
        backend.decode_error,
        backend.decode_sasl_mechanisms,
    ):
        with suppress(ServerProtocolError):
            decode(body)
