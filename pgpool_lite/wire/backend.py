"""Backend messages: encoded when we answer a client, decoded when a server sent them.

Layouts are those of the PostgreSQL documentation, chapter "Message Formats". Decoders take the
*body*, what stands behind the header, and blame the server when it does not fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError
from typing import Final

from pgpool_lite.errors import PgPoolLiteError, ServerProtocolError
from pgpool_lite.wire import codes
from pgpool_lite.wire.frontend import CancelKey, encode, encode_string

_INT16: Final = Struct("!h")
_INT32: Final = Struct("!i")
_UINT32: Final = Struct("!I")
_COLUMN: Final = Struct("!ihihih")  # table, column, type oid, type size, modifier, format


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a RowDescription that we make up: a name and one of the types below."""

    name: str
    type_oid: int = 25
    type_size: int = -1


@dataclass(frozen=True, slots=True)
class ServerMessage:
    """The fields of an ErrorResponse or NoticeResponse that somebody will read."""

    severity: str
    sqlstate: str
    message: str
    detail: str = ""
    hint: str = ""


# --- what we say to clients ---

AUTHENTICATION_OK: Final[bytes] = encode(codes.AUTHENTICATION, _INT32.pack(codes.AUTH_OK))
AUTHENTICATION_CLEARTEXT: Final[bytes] = encode(
    codes.AUTHENTICATION, _INT32.pack(codes.AUTH_CLEARTEXT)
)
PARSE_COMPLETE: Final[bytes] = encode(codes.PARSE_COMPLETE)
BIND_COMPLETE: Final[bytes] = encode(codes.BIND_COMPLETE)
CLOSE_COMPLETE: Final[bytes] = encode(codes.CLOSE_COMPLETE)
NO_DATA: Final[bytes] = encode(codes.NO_DATA)
EMPTY_QUERY_RESPONSE: Final[bytes] = encode(codes.EMPTY_QUERY_RESPONSE)
_SASL_CONTINUE: Final = _INT32.pack(codes.AUTH_SASL_CONTINUE)
_SASL_FINAL: Final = _INT32.pack(codes.AUTH_SASL_FINAL)
READY_IDLE: Final[bytes] = encode(codes.READY_FOR_QUERY, b"I")
NO_PARAMETERS: Final[bytes] = encode(codes.PARAMETER_DESCRIPTION, _INT16.pack(0))


def authentication_md5(salt: bytes) -> bytes:
    """Return AuthenticationMD5Password with its four bytes of salt."""
    return encode(codes.AUTHENTICATION, _INT32.pack(codes.AUTH_MD5) + salt)


def authentication_sasl(mechanisms: Iterable[str]) -> bytes:
    """Return AuthenticationSASL, which offers mechanisms."""
    names = b"".join(encode_string(name) for name in mechanisms)
    return encode(codes.AUTHENTICATION, _INT32.pack(codes.AUTH_SASL) + names + b"\0")


def authentication_sasl_continue(message: bytes) -> bytes:
    """Return AuthenticationSASLContinue."""
    return encode(codes.AUTHENTICATION, _SASL_CONTINUE + message)


def authentication_sasl_final(message: bytes) -> bytes:
    """Return AuthenticationSASLFinal."""
    return encode(codes.AUTHENTICATION, _SASL_FINAL + message)


def backend_key_data(key: CancelKey) -> bytes:
    """Return BackendKeyData."""
    return encode(codes.BACKEND_KEY_DATA, key.pid_and_secret)


def parameter_status(name: str, value: str) -> bytes:
    """Return ParameterStatus."""
    return encode(codes.PARAMETER_STATUS, encode_string(name) + encode_string(value))


def negotiate_protocol_version(unknown_options: Sequence[str]) -> bytes:
    """Return NegotiateProtocolVersion: we speak 3.0 and none of these options."""
    names = b"".join(encode_string(name) for name in unknown_options)
    body = _INT32.pack(codes.PROTOCOL_3_0) + _INT32.pack(len(unknown_options)) + names
    return encode(codes.NEGOTIATE_PROTOCOL_VERSION, body)


def row_description(columns: Sequence[Column]) -> bytes:
    """Return RowDescription for rows in text format."""
    fields = b"".join(
        encode_string(column.name) + _COLUMN.pack(0, 0, column.type_oid, column.type_size, -1, 0)
        for column in columns
    )
    return encode(codes.ROW_DESCRIPTION, _INT16.pack(len(columns)) + fields)


def data_row(values: Sequence[bytes | None]) -> bytes:
    """Return DataRow; None is NULL."""
    cells = b"".join(
        _INT32.pack(-1) if value is None else _INT32.pack(len(value)) + value for value in values
    )
    return encode(codes.DATA_ROW, _INT16.pack(len(values)) + cells)


def command_complete(tag: str) -> bytes:
    """Return CommandComplete."""
    return encode(codes.COMMAND_COMPLETE, encode_string(tag))


def ready_for_query(status: int) -> bytes:
    """Return ReadyForQuery with a transaction status of `codes`."""
    return encode(codes.READY_FOR_QUERY, bytes((status,)))


def error_response(error: PgPoolLiteError, severity: str = "FATAL") -> bytes:
    """Return the ErrorResponse that tells a client of `error`."""
    return _error_or_notice(
        codes.ERROR_RESPONSE, severity, error.sqlstate, error.message, error.detail, error.hint
    )


def explained(message: bytes, error: PgPoolLiteError) -> bytes:
    """Return a server's ErrorResponse with our DETAIL and HINT where it has none.

    One that is not whole, for being huge, is returned as it is.
    """
    if len(message) != 1 + int(_INT32.unpack_from(message, 1)[0]):
        return message
    body = message[codes.HEADER_SIZE : -1]
    present = {field[:1] for field in body.split(b"\0")}
    for code, text in ((b"D", error.detail), (b"H", error.hint)):
        if text and code not in present:
            body += code + text.encode(errors="replace") + b"\0"
    return encode(codes.ERROR_RESPONSE, body + b"\0")


def notice_response(message: str, detail: str = "", hint: str = "") -> bytes:
    """Return a NoticeResponse of severity NOTICE."""
    return _error_or_notice(codes.NOTICE_RESPONSE, "NOTICE", "00000", message, detail, hint)


def _error_or_notice(
    message_type: int, severity: str, sqlstate: str, message: str, detail: str, hint: str
) -> bytes:
    # PostgreSQL documentation, "Error and Notice Message Fields". V is S that is never translated.
    fields = [("S", severity), ("V", severity), ("C", sqlstate), ("M", message)]
    fields += [(code, text) for code, text in (("D", detail), ("H", hint)) if text]
    # What a client sent may stand in the text, and need not be UTF-8: it is shown with "?".
    body = b"".join(code.encode() + text.encode(errors="replace") + b"\0" for code, text in fields)
    return encode(message_type, body + b"\0")


# --- what servers say to us ---


def decode_authentication(body: bytes) -> tuple[int, bytes]:
    """Return the kind of an Authentication message and what stands behind it."""
    if len(body) < 4:
        raise ServerProtocolError("malformed Authentication message from server")
    return int(_INT32.unpack_from(body)[0]), body[4:]


def decode_sasl_mechanisms(body: bytes) -> list[str]:
    """Return the mechanisms that AuthenticationSASL offers."""
    return [name.decode("ascii", "replace") for name in body.split(b"\0") if name]


def decode_backend_key_data(body: bytes) -> CancelKey:
    """Return the key for canceling this server connection's queries."""
    if not 5 <= len(body) <= 4 + 256:  # the secret has 4 bytes, or up to 256 since protocol 3.2
        raise ServerProtocolError("malformed BackendKeyData from server")
    return CancelKey(_UINT32.unpack_from(body)[0], body[4:])


def decode_parameter_status(body: bytes) -> tuple[str, str]:
    """Return name and value of a ParameterStatus."""
    parts = body.split(b"\0")
    if len(parts) != 3 or parts[2]:
        raise ServerProtocolError("malformed ParameterStatus from server")
    return _text(parts[0]), _text(parts[1])


def decode_data_row(body: bytes) -> list[bytes | None]:
    """Return the values of a DataRow; None is NULL."""
    values: list[bytes | None] = []
    try:
        (count,) = _INT16.unpack_from(body)
        pos = 2
        for _ in range(count):
            (size,) = _INT32.unpack_from(body, pos)
            pos += 4 + max(size, 0)
            values.append(None if size < 0 else body[pos - size : pos])
    except StructError:
        raise ServerProtocolError("malformed DataRow from server") from None
    if pos != len(body):
        raise ServerProtocolError("malformed DataRow from server")
    return values


def decode_error(body: bytes) -> ServerMessage:
    """Return what an ErrorResponse or NoticeResponse says; absent fields are empty, never wrong."""
    fields = {part[:1]: _text(part[1:]) for part in body.split(b"\0") if part}
    return ServerMessage(
        severity=fields.get(b"V") or fields.get(b"S", ""),
        sqlstate=fields.get(b"C", ""),
        message=fields.get(b"M", ""),
        detail=fields.get(b"D", ""),
        hint=fields.get(b"H", ""),
    )


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
