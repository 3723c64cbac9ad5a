"""What do the messages of the PostgreSQL protocol look like, written down a second time?

The frontend messages are functions named as in the PostgreSQL documentation, chapter "Message
Formats", that return the bytes; `BackendMessage` shows a backend message as one line of a
transcript. Used by `WireClient` and `FakePostgres`; knows nothing of sockets or of pgpool_lite.

A transcript line is the message's type byte and what a reader wants to know of its body:

    R Ok · S TimeZone=UTC · K · Z I · T id,name · D 7|NULL · C SELECT 1 · E ERROR 42601 syntax error
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

PROTOCOL_2_0 = 2 << 16
PROTOCOL_3_0 = 3 << 16
PROTOCOL_3_2 = (3 << 16) + 2
CANCEL_CODE = (1234 << 16) + 5678
SSL_CODE = (1234 << 16) + 5679
GSSENC_CODE = (1234 << 16) + 5680

# A value longer than this appears in a transcript as its size.
LONGEST_SHOWN = 60


def message(kind: str, body: bytes = b"") -> bytes:
    """Return a message: type byte, length that counts itself but not the type, body."""
    return kind.encode() + struct.pack("!i", len(body) + 4) + body


def startup_packet(code: int, body: bytes = b"") -> bytes:
    """Return a message without type byte, as only the first ones of a connection are."""
    return struct.pack("!ii", len(body) + 8, code) + body


def text(value: str) -> bytes:
    """Return a String of the protocol: the text and a zero byte."""
    return value.encode() + b"\0"


def _value(value: str | None) -> bytes:
    """Return a parameter or column: Int32 length and bytes, or -1 for NULL."""
    if value is None:
        return struct.pack("!i", -1)
    return struct.pack("!i", len(value.encode())) + value.encode()


# Frontend messages


def StartupMessage(parameters: Mapping[str, str], *, version: int = PROTOCOL_3_0) -> bytes:
    """Open a connection, asking for a user, a database and run-time parameters."""
    pairs = b"".join(text(name) + text(value) for name, value in parameters.items())
    return startup_packet(version, pairs + b"\0")


def SSLRequest() -> bytes:
    """Ask for TLS; the answer is one byte, S or N."""
    return startup_packet(SSL_CODE)


def GSSENCRequest() -> bytes:
    """Ask for GSSAPI encryption; the answer is one byte, G or N."""
    return startup_packet(GSSENC_CODE)


def CancelRequest(process_id: int, secret_key: int) -> bytes:
    """Ask, on a connection of its own, that another session's query stops."""
    return startup_packet(CANCEL_CODE, struct.pack("!II", process_id, secret_key))


def PasswordMessage(password: str) -> bytes:
    """Answer AuthenticationCleartextPassword or AuthenticationMD5Password."""
    return message("p", text(password))


def SASLInitialResponse(mechanism: str, data: str) -> bytes:
    """Choose a SASL mechanism and begin it."""
    return message("p", text(mechanism) + _value(data))


def SASLResponse(data: str) -> bytes:
    """Go on with the chosen SASL mechanism."""
    return message("p", data.encode())


def Query(sql: str) -> bytes:
    """Run a simple query."""
    return message("Q", text(sql))


def Parse(sql: str, name: str = "", *types: int) -> bytes:
    """Prepare a statement."""
    oids = b"".join(struct.pack("!I", oid) for oid in types)
    return message("P", text(name) + text(sql) + struct.pack("!h", len(types)) + oids)


def Bind(*values: str | None, statement: str = "", portal: str = "") -> bytes:
    """Make a portal of a statement and values, all in text format."""
    parameters = struct.pack("!h", len(values)) + b"".join(map(_value, values))
    return message("B", text(portal) + text(statement) + b"\0\0" + parameters + b"\0\0")


def DescribeStatement(name: str = "") -> bytes:
    """Ask for a statement's parameters and columns."""
    return message("D", b"S" + text(name))


def DescribePortal(name: str = "") -> bytes:
    """Ask for a portal's columns."""
    return message("D", b"P" + text(name))


def Execute(portal: str = "", row_limit: int = 0) -> bytes:
    """Run a portal, for at most `row_limit` rows unless that is 0."""
    return message("E", text(portal) + struct.pack("!i", row_limit))


def CloseStatement(name: str) -> bytes:
    """Drop a prepared statement."""
    return message("C", b"S" + text(name))


def ClosePortal(name: str) -> bytes:
    """Drop a portal."""
    return message("C", b"P" + text(name))


def Sync() -> bytes:
    """End a pipeline segment; answered by ReadyForQuery."""
    return message("S")


def Flush() -> bytes:
    """Ask for the answers so far, without ending the segment."""
    return message("H")


def CopyData(data: bytes) -> bytes:
    """Carry a piece of a COPY."""
    return message("d", data)


def CopyDone() -> bytes:
    """End a COPY FROM STDIN well."""
    return message("c")


def CopyFail(reason: str) -> bytes:
    """End a COPY FROM STDIN badly."""
    return message("f", text(reason))


def FunctionCall(oid: int, *arguments: str) -> bytes:
    """Call a function by its oid, all in text format."""
    values = struct.pack("!h", len(arguments)) + b"".join(map(_value, arguments))
    return message("F", struct.pack("!I", oid) + b"\0\0" + values + b"\0\0")


def Terminate() -> bytes:
    """Say goodbye."""
    return message("X")


# Backend messages, as a server sends them


def AuthenticationOk() -> bytes:
    """Let the client in."""
    return message("R", struct.pack("!i", 0))


def AuthenticationSASL(*mechanisms: str) -> bytes:
    """Ask for a proof by one of these SASL mechanisms."""
    return message("R", struct.pack("!i", 10) + b"".join(map(text, mechanisms)) + b"\0")


def AuthenticationSASLContinue(data: str) -> bytes:
    """Go on with the SASL mechanism."""
    return message("R", struct.pack("!i", 11) + data.encode())


def BackendKeyData(process_id: int, secret_key: int) -> bytes:
    """Give the client what it needs to cancel."""
    return message("K", struct.pack("!II", process_id, secret_key))


def ParameterStatus(name: str, value: str) -> bytes:
    """Tell a setting."""
    return message("S", text(name) + text(value))


def ReadyForQuery(status: str = "I") -> bytes:
    """End a segment, with the transaction status."""
    return message("Z", status.encode())


def RowDescription(*names: str) -> bytes:
    """Name the columns that follow, all of type text (oid 25)."""
    columns = b"".join(text(name) + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0) for name in names)
    return message("T", struct.pack("!h", len(names)) + columns)


def DataRow(*values: str | None) -> bytes:
    """Carry one row."""
    return message("D", struct.pack("!h", len(values)) + b"".join(map(_value, values)))


def CommandComplete(tag: str) -> bytes:
    """End one command."""
    return message("C", text(tag))


def ErrorResponse(sentence: str, *, severity: str = "ERROR", sqlstate: str = "XX000") -> bytes:
    """Say that something is wrong."""
    fields = ("S" + severity, "V" + severity, "C" + sqlstate, "M" + sentence)
    return message("E", b"".join(map(text, fields)) + b"\0")


# Backend messages, as a client reads them


@dataclass(frozen=True, slots=True)
class BackendMessage:
    """One message as it came from the other side; `str()` is its transcript line."""

    type: str
    body: bytes

    @property
    def strings(self) -> list[str]:
        """The body as a run of Strings."""
        return self.body.removesuffix(b"\0").decode(errors="replace").split("\0")

    @property
    def fields(self) -> dict[str, str]:
        """The fields of ErrorResponse or NoticeResponse by their one-letter codes."""
        return {field[0]: field[1:] for field in self.strings if field}

    def __str__(self) -> str:
        shown = _SHOWN.get(self.type, _show_nothing)(self)
        return f"{self.type} {shown}" if shown else self.type


def _show_nothing(_: BackendMessage) -> str:
    return ""


def _show_text(message: BackendMessage) -> str:
    return ",".join(message.strings)


def _show_setting(message: BackendMessage) -> str:
    return "=".join(message.strings)


def _show_report(message: BackendMessage) -> str:
    """Show what an ErrorResponse or NoticeResponse says: severity, SQLSTATE and sentence."""
    fields = message.fields
    return f"{fields['S']} {fields['C']} {fields['M']}"


def _show_authentication(message: BackendMessage) -> str:
    kinds = {0: "Ok", 3: "CleartextPassword", 5: "MD5Password"}
    kinds |= {10: "SASL", 11: "SASLContinue", 12: "SASLFinal"}
    (code,) = struct.unpack_from("!i", message.body)
    mechanisms = message.body[4:].rstrip(b"\0").replace(b"\0", b",").decode()
    return f"{kinds[code]} {mechanisms}" if code == 10 else kinds[code]


def _show_columns(message: BackendMessage) -> str:
    names: list[str] = []
    pos = 2
    while pos < len(message.body):
        end = message.body.index(b"\0", pos)
        names.append(message.body[pos:end].decode())
        # Table oid, column number, type oid, type size, type modifier, format code.
        pos = end + 1 + 4 + 2 + 4 + 2 + 4 + 2
    return ",".join(names)


def _show_row(message: BackendMessage) -> str:
    values: list[str] = []
    pos = 2
    while pos < len(message.body):
        (size,) = struct.unpack_from("!i", message.body, pos)
        pos += 4
        values.append("NULL" if size < 0 else _shorten(message.body[pos : pos + size]))
        pos += max(size, 0)
    return "|".join(values)


def _show_function_result(message: BackendMessage) -> str:
    return message.body[4:].decode()


def _show_data(message: BackendMessage) -> str:
    return _shorten(message.body)


def _show_types(message: BackendMessage) -> str:
    (count,) = struct.unpack_from("!h", message.body)
    return ",".join(map(str, struct.unpack_from(f"!{count}I", message.body, 2)))


def _show_notification(message: BackendMessage) -> str:
    channel, payload = message.body[4:-1].split(b"\0")
    return f"{channel.decode()} {payload.decode()}"


def _show_negotiation(message: BackendMessage) -> str:
    """Show the newest version the other side speaks and the options it does not know."""
    version, _ = struct.unpack_from("!ii", message.body)
    options = message.body[8:].rstrip(b"\0").replace(b"\0", b",").decode()
    return f"{version >> 16}.{version & 0xFFFF} {options}".rstrip(" ")


def _shorten(value: bytes) -> str:
    return f"<{len(value)} bytes>" if len(value) > LONGEST_SHOWN else value.decode()


_SHOWN: dict[str, Callable[[BackendMessage], str]] = {
    "R": _show_authentication,
    "S": _show_setting,
    "v": _show_negotiation,
    "Z": _show_text,
    "E": _show_report,
    "N": _show_report,
    "T": _show_columns,
    "t": _show_types,
    "D": _show_row,
    "C": _show_text,
    "V": _show_function_result,
    "d": _show_data,
    "A": _show_notification,
}
