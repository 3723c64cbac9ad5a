"""The extended-query messages of a client, decoded. Elsewhere they only pass; the console answers.

Layouts are those of the PostgreSQL documentation, chapter "Message Formats". Decoders take the
body and blame the client when it does not fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from struct import error as StructError
from typing import Final

from pgpool_lite.errors import ClientProtocolError
from pgpool_lite.wire.frontend import read_string

_INT16: Final = Struct("!h")
_INT32: Final = Struct("!i")


@dataclass(frozen=True, slots=True)
class Bind:
    """What a Bind says; the parameters' values do not matter, for there must be none."""

    portal: str
    statement: str
    parameter_count: int
    #: Result formats as they stand: none for all text, one for all columns, or one for each.
    formats: tuple[int, ...]


def decode_parse(body: bytes) -> tuple[str, str]:
    """Return a statement's name and text; its parameters' types do not matter."""
    name, pos = read_string(body, 0, "Parse")
    text, _ = read_string(body, pos, "Parse")
    return name, text


def decode_bind(body: bytes) -> Bind:
    """Return what a Bind says."""
    portal, pos = read_string(body, 0, "Bind")
    statement, pos = read_string(body, pos, "Bind")
    try:
        _, pos = _read_formats(body, pos)
        (parameter_count,) = _INT16.unpack_from(body, pos)
        pos += _INT16.size
        for _ in range(parameter_count):
            (size,) = _INT32.unpack_from(body, pos)
            pos += _INT32.size + max(size, 0)
        formats, _ = _read_formats(body, pos)
    except StructError:
        raise ClientProtocolError("malformed Bind: it ends too early") from None
    return Bind(portal, statement, parameter_count, formats)


def decode_execute(body: bytes) -> tuple[str, int]:
    """Return a portal's name and how many rows are wanted, 0 for all."""
    portal, pos = read_string(body, 0, "Execute")
    if len(body) != pos + _INT32.size:
        raise ClientProtocolError("malformed Execute: its row limit is missing")
    return portal, int(_INT32.unpack_from(body, pos)[0])


def decode_target(body: bytes, message: str) -> tuple[str, str]:
    """Return "S" (statement) or "P" (portal) and the name in a Describe or Close."""
    kind = body[:1].decode("latin-1")
    if kind not in ("S", "P"):
        raise ClientProtocolError(f"malformed {message}: it names neither statement nor portal")
    name, _ = read_string(body, 1, message)
    return kind, name


def _read_formats(body: bytes, pos: int) -> tuple[tuple[int, ...], int]:
    (count,) = _INT16.unpack_from(body, pos)
    pos += _INT16.size
    end = pos + max(count, 0) * _INT16.size
    formats = tuple(
        int(_INT16.unpack_from(body, offset)[0]) for offset in range(pos, end, _INT16.size)
    )
    return formats, end
