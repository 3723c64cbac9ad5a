"""Which backend messages does a server session look at, and of which does it need the whole?

Tables for `framing.scan`: 256 bytes, one per message type, not zero where the session must look.
Everything that does not merely pass is looked at, unknown types too: they end the session.
"""

from __future__ import annotations

from typing import Final

from pgpool_lite.errors import ServerProtocolError
from pgpool_lite.session.entries import ANSWERS
from pgpool_lite.wire import codes
from pgpool_lite.wire.framing import interest_in, message_end

#: A ParameterStatus or CommandComplete is held until it is whole; nothing honest is longer.
HOLD_LIMIT: Final = 1_048_576

_PASSING: Final = (
    codes.PARSE_COMPLETE,
    codes.BIND_COMPLETE,
    codes.CLOSE_COMPLETE,
    codes.NOTIFICATION_RESPONSE,
    codes.COPY_DONE,
    codes.COPY_DATA,
    codes.COPY_OUT_RESPONSE,
    codes.DATA_ROW,
    codes.EMPTY_QUERY_RESPONSE,
    codes.FUNCTION_CALL_RESPONSE,
    codes.NO_DATA,
    codes.NOTICE_RESPONSE,
    codes.PARAMETER_DESCRIPTION,
    codes.PORTAL_SUSPENDED,
    codes.ROW_DESCRIPTION,
)
#: A CommandComplete is looked at when it may say DEALLOCATE ALL or DISCARD ALL: it ends in L.
INTEREST: Final = bytes(
    ord("L") if message_type == codes.COMMAND_COMPLETE else message_type not in _PASSING
    for message_type in range(256)
)
#: While a copy from the client is open, its CommandComplete matters whatever it says.
INTEREST_IN_COPY: Final = interest_in(*(set(range(256)) - set(_PASSING)))
#: By `ServerSession.copying`; in doubt every message tells.
TABLES: Final = (INTEREST, INTEREST_IN_COPY, bytes([1]) * 256, INTEREST_IN_COPY)
#: What may come at any moment and answers nothing (documentation, "Asynchronous Operations").
ASYNCHRONOUS: Final = interest_in(
    codes.NOTICE_RESPONSE, codes.NOTIFICATION_RESPONSE, codes.PARAMETER_STATUS
)

#: Among the answers to a query of our own, a reset's say DISCARD ALL.
INTEREST_OWN: Final = INTEREST

#: An idle server may only send a notice, a notification, a changed parameter, or its last error.
INTEREST_IDLE: Final = interest_in(
    *(set(range(256)) - {codes.NOTICE_RESPONSE, codes.NOTIFICATION_RESPONSE})
)

#: Messages of interest whose body matters; of the others the header is enough.
NEEDED_WHOLE: Final = interest_in(
    codes.READY_FOR_QUERY, codes.PARAMETER_STATUS, codes.ERROR_RESPONSE
)

#: The same, and what may have ended prepared statements.
NEEDED_WHOLE_OWN: Final = interest_in(
    codes.READY_FOR_QUERY, codes.PARAMETER_STATUS, codes.ERROR_RESPONSE, codes.COMMAND_COMPLETE
)

READY_SIZE: Final = 6
READY_IDLE: Final = b"Z\0\0\0\5I"
READY_HEAD: Final = b"Z\0\0\0\5"
STATUS_IDLE: Final = codes.STATUS_IDLE
STATUSES: Final = b"ITE"

#: In a segment that is listed message by message, what ends an answer matters as well. The rewriter
#: puts answers of its own between these: for it each must be whole.
INTEREST_IN_DETAIL: Final = interest_in(*(set(range(256)) - set(_PASSING)), *ANSWERS)
#: DEALLOCATE ALL and DISCARD ALL, as the server reports them.
TAGS_OF_ALL: Final = (b"C\0\0\0\x13DEALLOCATE ALL\0", b"C\0\0\0\x10DISCARD ALL\0")
#: The severity, as it is never translated, after which PostgreSQL hangs up.
FATAL: Final = b"\0VFATAL\0"
#: SQLSTATE and a word of "cached plan must not change result type"; the rest is translated.
_STALE_PLAN: Final = (b"\0C0A000\0", b"\0RRevalidateCachedQuery\0")


def tells_of_stale_plan(error: bytes) -> bool:
    """Say whether an ErrorResponse says so: a migration has changed what a statement returns."""
    return all(field in error for field in _STALE_PLAN)


def whole_end(data: bytes, pos: int, needed_whole: bytes) -> int:
    """Return where the message at `pos` ends, or 0 if more of it is needed to go on."""
    if len(data) - pos < codes.HEADER_SIZE:
        return 0
    after = message_end(data, pos)
    size = after - pos
    is_ready = data[pos] == codes.READY_FOR_QUERY
    if size < codes.HEADER_SIZE or (is_ready and size != READY_SIZE):
        raise ServerProtocolError(f"server sent message '{chr(data[pos])}' with a wrong length")
    if after <= len(data) or not needed_whole[data[pos]]:
        return after
    if size > HOLD_LIMIT and data[pos] == codes.ERROR_RESPONSE:
        return after  # it may quote what a client sent, and need not be understood
    if size > HOLD_LIMIT:
        raise ServerProtocolError(f"server sent message '{chr(data[pos])}' of {size} bytes")
    return 0


def unexpected(message_type: int) -> ServerProtocolError:
    """Return the error for a message that no server may send here."""
    name = chr(message_type) if 32 < message_type < 127 else f"0x{message_type:02x}"
    return ServerProtocolError(
        "unknown pkt", detail=f"The server sent a message of type '{name}', unexpected here."
    )
