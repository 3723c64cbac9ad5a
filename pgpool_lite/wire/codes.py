"""The numbers of the wire protocol: message types, start-up codes, transaction status.

Names are those of the PostgreSQL documentation, chapter "Message Formats". A message type is one
byte and is kept as an int here, because indexing `bytes` gives an int.
"""

from __future__ import annotations

from typing import Final

# Frontend messages: from a client, or from us to a server.
BIND: Final[int] = ord("B")
CLOSE: Final[int] = ord("C")
COPY_DATA: Final[int] = ord("d")
COPY_DONE: Final[int] = ord("c")
COPY_FAIL: Final[int] = ord("f")
DESCRIBE: Final[int] = ord("D")
EXECUTE: Final[int] = ord("E")
FLUSH: Final[int] = ord("H")
FUNCTION_CALL: Final[int] = ord("F")
PARSE: Final[int] = ord("P")
PASSWORD: Final[int] = ord("p")  # PasswordMessage, SASLInitialResponse and SASLResponse share it
QUERY: Final[int] = ord("Q")
SYNC: Final[int] = ord("S")
TERMINATE: Final[int] = ord("X")

# Backend messages: from a server, or from us to a client. CopyData, CopyDone go both ways.
AUTHENTICATION: Final[int] = ord("R")
BACKEND_KEY_DATA: Final[int] = ord("K")
BIND_COMPLETE: Final[int] = ord("2")
CLOSE_COMPLETE: Final[int] = ord("3")
COMMAND_COMPLETE: Final[int] = ord("C")
COPY_BOTH_RESPONSE: Final[int] = ord("W")
COPY_IN_RESPONSE: Final[int] = ord("G")
COPY_OUT_RESPONSE: Final[int] = ord("H")
DATA_ROW: Final[int] = ord("D")
EMPTY_QUERY_RESPONSE: Final[int] = ord("I")
ERROR_RESPONSE: Final[int] = ord("E")
FUNCTION_CALL_RESPONSE: Final[int] = ord("V")
NEGOTIATE_PROTOCOL_VERSION: Final[int] = ord("v")
NO_DATA: Final[int] = ord("n")
NOTICE_RESPONSE: Final[int] = ord("N")
NOTIFICATION_RESPONSE: Final[int] = ord("A")
PARAMETER_DESCRIPTION: Final[int] = ord("t")
PARAMETER_STATUS: Final[int] = ord("S")
PARSE_COMPLETE: Final[int] = ord("1")
PORTAL_SUSPENDED: Final[int] = ord("s")
READY_FOR_QUERY: Final[int] = ord("Z")
ROW_DESCRIPTION: Final[int] = ord("T")

# Transaction status in ReadyForQuery.
STATUS_IDLE: Final[int] = ord("I")
STATUS_IN_BLOCK: Final[int] = ord("T")
STATUS_FAILED: Final[int] = ord("E")

# The Int32 that stands where a StartupMessage has its protocol version.
PROTOCOL_3_0: Final[int] = 196608
PROTOCOL_MAJOR: Final[int] = 3
CANCEL_REQUEST: Final[int] = 80877102
SSL_REQUEST: Final[int] = 80877103
GSSENC_REQUEST: Final[int] = 80877104

# Authentication requests: the Int32 behind an Authentication message's header.
AUTH_OK: Final[int] = 0
AUTH_CLEARTEXT: Final[int] = 3
AUTH_MD5: Final[int] = 5
AUTH_SASL: Final[int] = 10
AUTH_SASL_CONTINUE: Final[int] = 11
AUTH_SASL_FINAL: Final[int] = 12

HEADER_SIZE: Final[int] = (
    5  # the type byte and the Int32 length, which counts itself but not the type
)
