"""Frontend messages: decoded when a client sent them, encoded when we send them to a server.

Only the messages that we answer or act on are decoded; all others pass by as bytes. Layouts are
those of the PostgreSQL documentation, chapter "Message Formats". Decoders take the *body*, what
stands behind the header, and blame the client when it does not fit.
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Final

from pgpool_lite.errors import ClientProtocolError
from pgpool_lite.wire import codes

_UINT16: Final = Struct("!H")
_INT32: Final = Struct("!i")
_UINT32: Final = Struct("!I")
_MESSAGE_HEAD: Final = Struct("!Bi")  # type, then length
_STARTUP_HEAD: Final = Struct("!iI")  # length, then protocol version or request code

#: PostgreSQL's MAX_STARTUP_PACKET_LENGTH: nothing honest is longer, and we hold it whole.
MAX_STARTUP_SIZE: Final = 10_000
#: So many StartupMessages are remembered, for the clients of one program all say the same.
REMEMBERED: Final = 64


class StartupMessage:
    """What a client asks for when it opens its connection."""

    __slots__ = ("parameters", "protocol", "protocol_options")

    def __init__(self, protocol: int, parameters: dict[str, str]) -> None:
        """Note what was decoded."""
        self.protocol = protocol
        #: In the client's order; a repeated name keeps its last value, as in PostgreSQL.
        self.parameters = parameters
        #: The protocol options that it asks for, none of which we know.
        self.protocol_options = [name for name in parameters if name.startswith("_pq_.")]

    @property
    def major(self) -> int:
        """The protocol's major version, 3 for every client of this century."""
        return self.protocol >> 16

    @property
    def minor(self) -> int:
        """The protocol's minor version: 0, or 2 for what PostgreSQL 18 calls 3.2."""
        return self.protocol & 0xFFFF


class CancelKey:
    """The pid and secret that identify one connection to whoever wants its query canceled.

    It is never changed, and does not show its secret where it is printed.
    """

    __slots__ = ("pid", "pid_and_secret")

    def __init__(self, pid: int, secret: bytes) -> None:
        """Put together what was drawn, or decoded."""
        self.pid = pid
        #: Both, as they travel and as they are looked up.
        self.pid_and_secret = pid.to_bytes(4, "big") + secret

    @property
    def secret(self) -> bytes:
        """What is not to be guessed."""
        return self.pid_and_secret[4:]

    def __eq__(self, other: object) -> bool:
        """Tell whether it is the same key."""
        return isinstance(other, CancelKey) and self.pid_and_secret == other.pid_and_secret

    def __hash__(self) -> int:
        """Agree with `__eq__`."""
        return hash(self.pid_and_secret)


def startup_size(head: bytes) -> int:
    """Return the total size of the start-up packet whose first four bytes are `head`.

    Raises ClientProtocolError when no start-up packet can have that size.
    """
    size = head[0] << 24 | head[1] << 16 | head[2] << 8 | head[3]
    if not 8 <= size <= MAX_STARTUP_SIZE:
        # A browser's "GET " or a TLS hello also arrives here: read as a number it is absurd.
        raise ClientProtocolError(
            f"bad packet header: '{head.hex()}'",
            detail=f"A start-up packet has 8 to {MAX_STARTUP_SIZE} bytes; this one says {size}.",
            hint="Is the client speaking the PostgreSQL protocol, and in plain text?",
        )
    return size


def startup_code(packet: bytes) -> int:
    """Return what a start-up packet asks for: a request code of `codes`, or a version."""
    return packet[4] << 24 | packet[5] << 16 | packet[6] << 8 | packet[7]


@lru_cache(REMEMBERED)  # 3,900 instructions of a login's 104,000
def decode_startup(packet: bytes) -> StartupMessage:
    """Decode a whole StartupMessage, length and version included.

    Who sent the same bytes gets the same object: nobody may change it.
    """
    # Decoded at once, for one by one costs 1,300 instructions for each of some ten strings.
    words = _text(packet[_STARTUP_HEAD.size :]).split("\0")
    parameters: dict[str, str] = {}
    pos, last = 0, len(words) - 1
    while pos < last and words[pos]:
        if pos + 1 < last:
            parameters[words[pos]] = words[pos + 1]
        pos += 2
    if pos >= last:
        raise ClientProtocolError("malformed StartupMessage: a string in it has no end")
    if pos + 1 != last or words[last]:
        raise ClientProtocolError("invalid startup packet layout: expected terminator as last byte")
    return StartupMessage(startup_code(packet), parameters)


def decode_cancel_request(packet: bytes) -> CancelKey:
    """Decode a whole CancelRequest."""
    if len(packet) < 16:
        raise ClientProtocolError("bad cancel request")
    return CancelKey(_UINT32.unpack_from(packet, 8)[0], packet[12:])


def decode_query(body: bytes) -> str:
    """Return the text of a Query, or the password of a PasswordMessage: both are one string."""
    text, pos = read_string(body, 0, "Query")
    if pos != len(body):
        raise ClientProtocolError("bad packet: bytes behind the end of its string")
    return text


def decode_sasl_initial(body: bytes) -> tuple[bytes, bytes]:
    """Return mechanism and first message of a SASLInitialResponse."""
    end = body.find(b"\0")
    if end < 0:
        raise ClientProtocolError("malformed SASLInitialResponse: a string in it has no end")
    start = end + 5
    if len(body) < start:
        raise ClientProtocolError("malformed SASLInitialResponse: its length is missing")
    size = body[end + 1] << 24 | body[end + 2] << 16 | body[end + 3] << 8 | body[end + 4]
    if size != len(body) - start:
        raise ClientProtocolError("malformed SASLInitialResponse: its length does not fit")
    return body[:end], body[start:]


def text_and_types(data: bytes, start: int, end: int) -> bytes:
    """Return what a Parse says behind its name: query text, zero byte, parameter types.

    `start`: where the text begins; `end`: where the message ends. Anything more is left out.
    """
    types = data.find(b"\0", start, end) + 1
    if types and types + 2 <= end:
        types_end = types + 2 + 4 * int(_UINT16.unpack_from(data, types)[0])
        if types_end <= end:
            return data[start:types_end]
    raise ClientProtocolError("broken Parse packet")


def read_string(data: bytes, pos: int, message: str) -> tuple[str, int]:
    """Read one zero-terminated string; return it and the offset behind its terminator.

    Bytes that are not UTF-8 survive as surrogates, so that they can be sent on unchanged.
    """
    end = data.find(b"\0", pos)
    if end < 0:
        raise ClientProtocolError(f"malformed {message}: a string in it has no end")
    return _text(data[pos:end]), end + 1


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def encode_string(text: str) -> bytes:
    """Return a zero-terminated string, the reverse of `read_string`."""
    return text.encode("utf-8", "surrogateescape") + b"\0"


def encode(message_type: int, body: bytes = b"") -> bytes:
    """Return one message with its header."""
    return _MESSAGE_HEAD.pack(message_type, 4 + len(body)) + body


def encode_startup(parameters: dict[str, str]) -> bytes:
    """Return a StartupMessage of protocol 3.0."""
    body = b"".join(
        encode_string(name) + encode_string(value) for name, value in parameters.items()
    )
    return _STARTUP_HEAD.pack(9 + len(body), codes.PROTOCOL_3_0) + body + b"\0"


def encode_cancel_request(key: CancelKey) -> bytes:
    """Return the packet that asks a server to cancel what the connection of `key` runs."""
    return (
        _STARTUP_HEAD.pack(8 + len(key.pid_and_secret), codes.CANCEL_REQUEST) + key.pid_and_secret
    )


def encode_query(text: str) -> bytes:
    """Return a Query message."""
    return encode(codes.QUERY, encode_string(text))


def encode_extended_query(text: str, *values: str) -> bytes:
    """Return Parse, Bind, Describe and Execute of one statement; a Sync must follow.

    The values are text, of whatever type the statement takes them for, and so is what it returns.
    """
    parameters = b"".join(
        _INT32.pack(len(raw)) + raw
        for raw in (value.encode("utf-8", "surrogateescape") for value in values)
    )
    none = _UINT16.pack(0)
    return b"".join(
        (
            encode(codes.PARSE, b"\0" + encode_string(text) + none),
            encode(codes.BIND, b"\0\0" + none + _UINT16.pack(len(values)) + parameters + none),
            encode(codes.DESCRIBE, b"P\0"),
            encode(codes.EXECUTE, b"\0" + _INT32.pack(0)),
        )
    )


def encode_password(secret: bytes) -> bytes:
    """Return a PasswordMessage; the secret is cleartext or an md5 answer."""
    return encode(codes.PASSWORD, secret + b"\0")


def encode_sasl_initial(mechanism: str, first: bytes) -> bytes:
    """Return a SASLInitialResponse."""
    return encode(codes.PASSWORD, encode_string(mechanism) + _INT32.pack(len(first)) + first)


def encode_sasl_response(message: bytes) -> bytes:
    """Return a SASLResponse."""
    return encode(codes.PASSWORD, message)


SSL_REQUEST: Final = _STARTUP_HEAD.pack(8, codes.SSL_REQUEST)
TERMINATE: Final = encode(codes.TERMINATE)
SYNC: Final = encode(codes.SYNC)
