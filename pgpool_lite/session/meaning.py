"""What does a frontend message mean for the pairing? One small number per message type."""

from __future__ import annotations

from typing import Final

from pgpool_lite.errors import ClientProtocolError
from pgpool_lite.wire import codes

#: A message up to this size is relayed once it is whole. Larger ones stream from their head on.
#: 16 KiB holds any hand-written query, and is what a client may make us keep for it.
HOLD_LIMIT: Final = 16_384

#: Requests that one client may have in flight. The kernel's buffers hold about as many of the
#: shortest; but a server in COPY takes Sync after Sync and answers none. Tests change it.
MAX_OWED = 1_000_000

#: 0 is left to types that no client may send after its login.
REQUEST: Final = 1  # its answer ends in ReadyForQuery
EXTENDED: Final = 2  # belongs to a segment that only Sync ends
COPY_DATA: Final = 3
COPY_END: Final = 4
FLUSH: Final = 5
TERMINATE: Final = 6

_MEANING: Final = {
    codes.QUERY: REQUEST,
    codes.SYNC: REQUEST,
    codes.FUNCTION_CALL: REQUEST,
    codes.PARSE: EXTENDED,
    codes.BIND: EXTENDED,
    codes.DESCRIBE: EXTENDED,
    codes.EXECUTE: EXTENDED,
    codes.CLOSE: EXTENDED,
    codes.FLUSH: FLUSH,
    codes.COPY_DATA: COPY_DATA,
    codes.COPY_DONE: COPY_END,
    codes.COPY_FAIL: COPY_END,
    codes.TERMINATE: TERMINATE,
}
MEANINGS: Final = bytes(_MEANING.get(message_type, 0) for message_type in range(256))


def check_known(message_type: int, length: int) -> None:
    """Raise ClientProtocolError for a header that no client may send."""
    if MEANINGS[message_type] and length >= 4:
        return
    name = chr(message_type) if 32 < message_type < 127 else f"0x{message_type:02x}"
    if MEANINGS[message_type]:
        raise ClientProtocolError(f"bad packet: message '{name}' claims a length of {length}")
    raise ClientProtocolError(
        "unknown pkt",
        detail=f"A message of type '{name}' is not one that a client may send after its login.",
    )


def check_owed(owed: bytearray) -> None:
    """Raise ClientProtocolError if a client is owed more than anybody can have asked for."""
    if len(owed) > MAX_OWED:
        raise ClientProtocolError(
            "too many requests in flight",
            sqlstate="54000",
            detail=f"At most {MAX_OWED} may wait for their answers.",
        )
