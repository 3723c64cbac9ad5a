"""What does a command of the console look like? PgBouncer's three forms, and nothing else.

    word [argument [option]] [;]
    SET key = value [;]        TO may stand for =
    SET key = 'value' [;]      '' inside stands for one quote

PgBouncer knows no option. Words and arguments may be in double quotes, where "" stands for one.
PgBouncer's bare words have letters, digits and _ only; a bare argument or value here may have
anything but blanks, quotes and semicolons, so that `SET query_timeout = 1.5` and `PAUSE my-app`
need no quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_QUOTED: Final = r'"(?:[^"]|"")*"'
_STRING: Final = r"'(?:[^']|'')*'"
_WORD: Final = rf"{_QUOTED}|[0-9a-z_]+"
_BARE: Final = r"[^\s'\";]+"
_BLANK: Final = r"[ \t\n\r]"
_END: Final = rf"{_BLANK}*(?:;{_BLANK}*)?"

_COMMAND: Final = re.compile(
    rf"{_BLANK}*(?P<word>{_WORD})(?:{_BLANK}+(?P<argument>{_QUOTED}|{_BARE})"
    rf"(?:{_BLANK}+(?P<option>[a-z]+))?)?{_END}",
    re.IGNORECASE,
)
_ASSIGNMENT: Final = re.compile(
    rf"{_BLANK}*SET{_BLANK}+(?P<key>{_WORD})"
    rf"(?:{_BLANK}*=|{_BLANK}+TO(?=[\s'\"])){_BLANK}*"
    rf"(?P<value>{_QUOTED}|{_STRING}|{_BARE}){_END}",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Call:
    """A command that is no SET."""

    word: str  # in lower case
    argument: str  # "" when there is none
    option: str = ""  # in lower case


@dataclass(frozen=True, slots=True)
class Assignment:
    """A SET."""

    key: str
    value: str


def parse(text: str) -> Call | Assignment | None:
    """Return what a query says; None when it is no command."""
    assignment = _ASSIGNMENT.fullmatch(text)
    if assignment is not None:
        return Assignment(_unquote(assignment["key"]), _unquote(assignment["value"]))
    call = _COMMAND.fullmatch(text)
    if call is not None:
        option = (call["option"] or "").lower()
        return Call(_unquote(call["word"]).lower(), _unquote(call["argument"] or ""), option)
    return None


def _unquote(text: str) -> str:
    """Return what a word, a quoted name or a string stands for."""
    quote = text[:1]
    if quote in ('"', "'"):
        return text[1:-1].replace(quote * 2, quote)
    return text
