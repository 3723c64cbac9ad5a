"""Is this read the usual one? A short cut past the walk over a segment. HOT for extended queries.

Most drivers send one whole segment per query and nothing else: maybe Parse of the unnamed
statement, then Bind, maybe Describe of the portal, Execute of all rows and Sync, with the portal
unnamed. Where nothing else is in flight, and the server has the statement, such a read needs no
list of answers and no undoing. Taking it here instead of by `Rewriter.rewrite` saves more than half
of what it costs in Python (bench/micro.py).

A segment that a migration has made fail can be asked again, with retry_stale_plans, if it is such a
read: `unrenamed` makes the client's own out of what was sent for it. It must describe its portal.
"cached plan must not change result type" keeps a client from reading new rows by old types; who
asks for the types with the rows is in no danger.

      from the client    Bind a  Describe  Execute  Sync
      to the server      Bind 1  Describe  Execute  Sync
      from the server    ErrorResponse                          which nobody sees
      to the server      Close 1  Parse 2  Bind 2  Describe  Execute  Sync
      from the server    ReadyForQuery                          which nobody sees either
                         BindComplete  RowDescription  DataRow ...
"""

from __future__ import annotations

from typing import Final

from pgpool_lite.session.renaming import Renaming
from pgpool_lite.wire import codes
from pgpool_lite.wire.framing import find_zero, message_end
from pgpool_lite.wire.frontend import encode

_PARSE: Final = codes.PARSE
_BIND: Final = codes.BIND
_BIND_TYPE: Final = bytes([_BIND])
#: What stands behind the Bind.
_EXECUTE: Final = encode(codes.EXECUTE, bytes(5)) + encode(codes.SYNC)
_DESCRIBE: Final = encode(codes.DESCRIBE, b"P\0") + _EXECUTE
_EXECUTE_SIZE: Final = len(_EXECUTE)
_DESCRIBE_SIZE: Final = len(_DESCRIBE)
_SHORTEST: Final = 13 + _EXECUTE_SIZE  # with a Bind of nothing


def bind_of_usual(data: bytes) -> int:
    """Return where the Bind of the usual read begins that `data` is, -1 if it is not one.

    What stands before the Bind is a Parse of the unnamed statement.
    """
    bind = 0
    last_bind = len(data) - _SHORTEST  # where the Bind begins at the latest
    if last_bind >= 0 and data[0] == _PARSE and data[5] == 0:
        bind = message_end(data, 0)
    if not 0 <= bind <= last_bind or data[bind] != _BIND or data[bind + 5]:
        return -1
    behind = len(data) - message_end(data, bind)
    if (behind == _DESCRIBE_SIZE and data.endswith(_DESCRIBE)) or (
        behind == _EXECUTE_SIZE and data.endswith(_EXECUTE)
    ):
        return bind
    return -1


def take_usual(data: bytes, renaming: Renaming) -> bytes | None:
    """Return what to send to the server of `renaming` for the usual read, None if it is not one.

    Only when nothing is in flight, and `data` begins at a message.
    """
    bind = bind_of_usual(data)
    if bind < 0:
        return None
    if data[bind + 6] == 0:
        return _bind_unnamed(data, bind, renaming)
    return None if bind else _bind_named(data, renaming)


def _bind_unnamed(data: bytes, bind: int, renaming: Renaming) -> bytes | None:
    book, server_book = renaming.book, renaming.server_book
    if bind:
        book.unnamed = server_book.unnamed = data[6:bind]
        renaming.parsed_at = server_book.ready_count
        if book.changes:
            book.changes.clear()  # all of them are answered
    elif book.unnamed is None or book.unnamed is not server_book.unnamed:
        return None
    else:
        renaming.parsed_at = -1
    renaming.counters.bind_count += 1
    return data


def _bind_named(data: bytes, renaming: Renaming) -> bytes | None:
    """Put the server's name for the statement in its Bind, with which `data` begins."""
    name_end, bind_end = find_zero(data, 6), message_end(data, 0)
    if name_end >= bind_end:
        return None  # the server says what is wrong with it
    name = data[6:name_end]
    statement = renaming.book.names.get(name)
    if statement is None or not renaming.server_book.has(statement):
        return None
    statement.hits += 1
    renaming.counters.bind_count += 1
    used = renaming.used
    if len(used) != 1 or used[0] is not statement:
        renaming.used = [statement]
    renaming.parsed_at = -1
    new_name = statement.name
    length = bind_end - 1 + len(new_name) - len(name)
    return b"".join((_BIND_TYPE, length.to_bytes(4, "big"), b"\0", new_name, data[name_end:]))


def unrenamed(sent: bytes, renaming: Renaming) -> bytes:
    """Return the usual read that was `sent` under a server's name; b"" if it may not be repeated.

    Only where it was the last to bind anything.
    """
    if len(renaming.used) != 1 or bind_of_usual(sent) != 0 or not sent.endswith(_DESCRIBE):
        return b""
    statement = renaming.used[0]
    names = (name for name, each in renaming.book.names.items() if each is statement)
    name = next(names, b"")
    name_end = 6 + len(statement.name)
    if not name or sent[5:name_end] != b"\0" + statement.name:
        return b""
    length = message_end(sent, 0) - 1 + len(name) - len(statement.name)
    return b"".join((_BIND_TYPE, length.to_bytes(4, "big"), b"\0", name, sent[name_end:]))
