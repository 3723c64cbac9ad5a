"""What was a server last asked? The head of a statement for people: one line, and no secret.

Relaying reads headers only, so nobody has looked at the text of a query. What is kept is the read
itself, in `ServerSession.asked`, and it is decoded here when somebody wants to know: SHOW LINKS, an
error that names who holds the servers. Of a read with several statements it is the last one.

What is shown goes to logs, errors and consoles, so secrets are left out: a password that a
statement sets, or that stands in a connection string. Values of parameters are never looked at.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pgpool_lite.session.statements import ServerStatements
from pgpool_lite.wire import codes
from pgpool_lite.wire.framing import message_end

if TYPE_CHECKING:
    from pgpool_lite.session.server import ServerSession

#: So much of a read is looked at, and kept for longer than a sweep.
KEPT_SIZE: Final = 4096
#: Characters of the head: what fits a line of a console next to who and since when.
HEAD_LENGTH: Final = 100

#: From the value of a password on, and where it stands in a URL. What follows a password is left
#: out too: finding where a literal ends takes the server's own lexer and settings.
_PASSWORD: Final = re.compile(r"(passw[^'\"$=]*)['\"$=].*", re.IGNORECASE)
_URL_PASSWORD: Final = re.compile(r"(://[^\s:/@']*:)[^\s@]*")

#: A quoted text, with '' and backslashes in it, or a dollar-quoted one, or one that has no end; or
#: a number that is not part of a name.
_VALUE: Final = re.compile(
    r"""'(?:[^'\\]|''|\\.)*(?:'|$)|\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|$)|(?<![\w"$.])\d[\w.]*""",
    re.DOTALL,
)
#: Characters that are left of a head without values.
SHORT_LENGTH: Final = 60


def without_values(statement: str) -> str:
    """Return the head of a statement on one line, each value in it replaced by a question mark.

    For whoever may know what others do, and not with whose data.
    """
    text = " ".join(_VALUE.sub("?", statement).split())
    return text if len(text) <= SHORT_LENGTH else f"{text[:SHORT_LENGTH]}..."


def last_statement(server: ServerSession) -> str:
    """Return the head of what `server` was last asked by the client that holds it, "" for nothing.

    What the client asks while an answer is owed to it does not count: it comes next, not now.
    """
    return head_of(server.asked, server.statements)


def head_of(read: bytes, statements: ServerStatements | None = None) -> str:
    """Return the head of the last statement that a read for a server names, on one line.

    `statements` tells what the server has prepared: the texts behind the names in a Bind. A name
    that it does not know is shown as it is. A read may end anywhere, and may hold anything; "" says
    that there is no statement in it.
    """
    text = ""
    pos = 0
    read = read[:KEPT_SIZE]
    while len(read) - pos >= codes.HEADER_SIZE:
        end = message_end(read, pos)
        if end < 0:
            break
        text = _text_of(read[pos], read[pos + codes.HEADER_SIZE : end], statements) or text
        pos = end
    return _one_line(text)


def _text_of(message_type: int, body: bytes, statements: ServerStatements | None) -> str:
    """Return the statement that a message names, "" if it names none."""
    if message_type == codes.QUERY:
        return _string(body)
    if message_type == codes.PARSE:
        return _string(body.partition(b"\0")[2])
    if message_type == codes.BIND:
        return _prepared(body.partition(b"\0")[2].partition(b"\0")[0], statements)
    if message_type == codes.FUNCTION_CALL:
        return f"function call, OID {int.from_bytes(body[:4], 'big')}"
    return ""


def _prepared(name: bytes, statements: ServerStatements | None) -> str:
    """Return the text that a server has prepared under a name, as far as we know it."""
    if statements is not None and not name and statements.unnamed is not None:
        return _string(statements.unnamed)
    if statements is not None:
        for statement, known_as in statements.held.items():
            if known_as == name:
                return statement.text
    return f"prepared statement {_string(name)}" if name else ""


def _string(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "replace")


def _one_line(text: str) -> str:
    """Return the head of a text: no secret, no line break, nothing that moves a cursor."""
    text = " ".join(text[:KEPT_SIZE].split())
    text = _URL_PASSWORD.sub(r"\1...", _PASSWORD.sub(r"\1...", text))
    text = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    return text if len(text) <= HEAD_LENGTH else text[: HEAD_LENGTH - 3].rstrip() + "..."
