"""Can a client notice what somebody else has left on its server? By what it says.

Only asked while a server has something on it that has found no victim yet. A client is the victim
of what its own statements can run into, not of what merely lies there:

  a setting, a role, a library      who runs something under it: most settings, everybody; the
                                    search path, a role, a library, and a parameter of somebody's
                                    own (`app.tenant`), who names a table or calls a function
  an advisory lock                  who says `advisory`
  a prepared statement              who names it, in SQL or, where names pass, by the protocol
  the rest                          who names it, as a word outside of strings and comments

What it runs of statements that it has prepared before is not in its read: such a client is taken to
name a table, and to name none by name.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from pgpool_lite.diagnose.journal import Leak
from pgpool_lite.diagnose.lexer import TokenKind, tokens
from pgpool_lite.diagnose.rules import Kind
from pgpool_lite.wire import codes
from pgpool_lite.wire.framing import find_zero, message_end

#: The words that a table stands behind, and a name with a parenthesis behind it: a call.
_TOUCHES: Final = re.compile(
    rb"\b(?:from|into|update|table|join|copy|call|do|execute|fetch|truncate|lock|only|view|index"
    rb"|reindex|analyze|vacuum|sequence|function|procedure|schema|type)\b"
    rb"|\b(?!(?:values|in|and|or|not|as|any|all|on|using|over|filter|row)\b)[a-z_\x80-\xff\"][\w$]*\s*\("
)
_SAYS_WHO: Final = re.compile(rb"\b(?:current_user|current_role|session_user|user|role)\b")
_OF_NAMES: Final = frozenset({TokenKind.WORD, TokenKind.NAME})


class Heard(NamedTuple):
    """What a client has said in one read."""

    #: The texts of its Query and Parse messages.
    text: bytes
    #: The names of prepared statements that reach the server as they are.
    names: tuple[bytes, ...]
    #: It runs a statement as well whose text is not here.
    runs_more: bool


def hear(data: bytes, *, names_pass: bool) -> Heard:
    """Return what is said in a read that begins at a message; it may end anywhere."""
    texts: list[bytes] = []
    names: list[bytes] = []
    parsed: list[bytes] = []
    runs_more = False
    pos = 0
    while len(data) - pos >= codes.HEADER_SIZE:
        message_type, after = data[pos], message_end(data, pos)
        if after <= pos:
            break
        body = data[pos + codes.HEADER_SIZE : after]
        if message_type == codes.QUERY:
            texts.append(_word(body, 0))
        elif message_type == codes.PARSE:
            name = _word(body, 0)
            parsed.append(name)
            names.append(name)
            texts.append(_word(body, len(name) + 1))
        elif message_type == codes.BIND:
            name = _word(body, len(_word(body, 0)) + 1)
            names.append(name)
            runs_more = runs_more or name not in parsed
        pos = after
    return Heard(b"\n".join(texts), tuple(filter(None, names)) if names_pass else (), runs_more)


def _word(body: bytes, start: int) -> bytes:
    """Return what stands before the next zero byte, or all that has come of it."""
    end = find_zero(body, start)
    return body[start:end] if end >= 0 else body[start:]


def is_felt(leak: Leak, heard: Heard) -> bool:
    """Say whether who says this can notice a leak on its server."""
    kind, low = leak.rule.kind, heard.text.lower()
    name = leak.name.encode(errors="replace")
    if kind is Kind.ADVISORY_LOCK:
        return b"advisory" in low
    if kind is Kind.PREPARED and name in heard.names:
        return True
    if kind in (Kind.SETTING, Kind.ROLE, Kind.LIBRARY):
        is_everywhere = kind is Kind.SETTING and name != b"search_path" and b"." not in name
        if is_everywhere or heard.runs_more or _TOUCHES.search(low) is not None:
            return True
        return name.lower() in low or (kind is Kind.ROLE and _SAYS_WHO.search(low) is not None)
    return name.lower() in low and any(
        each.text == name for each in tokens(heard.text) if each.kind in _OF_NAMES
    )
