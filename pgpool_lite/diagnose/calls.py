"""Which functions that reach beyond their transaction does a query call?

Advisory locks, set_config, and the sequence functions: PostgreSQL documentation, "System
Administration Functions" and "Sequence Manipulation Functions". A call is a name in front of a
parenthesis, alone or behind pg_catalog and a dot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pgpool_lite.diagnose.journal import Journal
from pgpool_lite.diagnose.lexer import Token, TokenKind
from pgpool_lite.diagnose.rules import Kind, rule

SET_CONFIG = rule("PL002")
ROLE = rule("PL003")
LOCK = rule("PL004")
UNLOCK_ELSEWHERE = rule("PL005")
SEQUENCE_ELSEWHERE = rule("PL012")
LOCAL_ALONE = rule("PL015")

_LOCKS: Final = frozenset(
    {
        *(b"pg_advisory_lock", b"pg_advisory_lock_shared"),
        *(b"pg_try_advisory_lock", b"pg_try_advisory_lock_shared"),
    }
)
_UNLOCKS: Final = frozenset({b"pg_advisory_unlock", b"pg_advisory_unlock_shared"})
_TRANSACTION_LOCKS: Final = frozenset(
    {
        *(b"pg_advisory_xact_lock", b"pg_advisory_xact_lock_shared"),
        *(b"pg_try_advisory_xact_lock", b"pg_try_advisory_xact_lock_shared"),
    }
)
_UNLOCK_ALL: Final = b"pg_advisory_unlock_all"
_OTHERS: Final = frozenset({b"set_config", b"nextval", b"setval", b"currval", b"lastval"})
_KNOWN: Final = _LOCKS | _UNLOCKS | _TRANSACTION_LOCKS | {_UNLOCK_ALL} | _OTHERS

# What PostgreSQL reads as false and true, as far as anybody writes it.
_FALSE: Final = frozenset({"false", "f", "no", "off", "0"})
_TRUE: Final = frozenset({"true", "t", "yes", "on", "1"})


# So many tokens of a call's arguments are looked at; calls may stand in calls, and each is read.
_ARGUMENT_TOKENS: Final = 100


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a function that matters here."""

    function: bytes
    #: Each argument as its tokens.
    arguments: tuple[tuple[Token, ...], ...]
    #: Whether nothing else is done by the query: SELECT f(...).
    is_alone: bool


def read_calls(tokens: Sequence[Token], journal: Journal) -> None:
    """Write into the journal what the functions do that a query calls, in the order of calls."""
    for call in _calls(tokens):
        _read_call(call, journal)


def _calls(tokens: Sequence[Token]) -> Iterator[Call]:
    for index in range(len(tokens) - 1):
        token = tokens[index]
        if token.text in _KNOWN and _is_called(tokens, index):
            arguments, end = _arguments(tokens, index + 2)
            begin = index - 2 if index >= 2 and tokens[index - 1].is_symbol(b".") else index
            is_alone = begin == 1 and end == len(tokens) and tokens[0].is_word(b"select")
            yield Call(token.text, arguments, is_alone)


def _is_called(tokens: Sequence[Token], index: int) -> bool:
    if tokens[index].kind not in (TokenKind.WORD, TokenKind.NAME):
        return False
    if not tokens[index + 1].is_symbol(b"("):
        return False
    if index == 0 or not tokens[index - 1].is_symbol(b"."):
        return True
    return index >= 2 and tokens[index - 2].text == b"pg_catalog"


def _arguments(tokens: Sequence[Token], index: int) -> tuple[tuple[tuple[Token, ...], ...], int]:
    """Return a call's arguments, and where it ends. `index`: behind the parenthesis."""
    last = min(len(tokens), index + _ARGUMENT_TOKENS)
    arguments: list[tuple[Token, ...]] = []
    begin = index
    depth = 0
    for at in range(index, last):
        if tokens[at].kind is not TokenKind.SYMBOL:
            continue
        symbol = tokens[at].text
        if depth == 0 and symbol in (b",", b")"):
            if at > begin:
                arguments.append(tuple(tokens[begin:at]))
            begin = at + 1
            if symbol == b")":
                return tuple(arguments), at + 1
        depth += symbol in (b"(", b"[")
        depth -= symbol in (b")", b"]")
    if begin < last:
        arguments.append(tuple(tokens[begin:last]))
    return tuple(arguments), last


def _read_call(call: Call, journal: Journal) -> None:
    function = call.function
    if function in _LOCKS:
        journal.leave(LOCK, _key(call))
    elif function in _UNLOCKS:
        journal.rely(UNLOCK_ELSEWHERE, _key(call), on=Kind.ADVISORY_LOCK)
        journal.clear(Kind.ADVISORY_LOCK, _key(call))
    elif function == _UNLOCK_ALL:
        journal.clear(Kind.ADVISORY_LOCK)
    elif function in _TRANSACTION_LOCKS:
        if call.is_alone:
            journal.last_for_the_transaction(LOCAL_ALONE, _key(call))
    elif function == b"set_config":
        _read_set_config(call, journal)
    elif function in (b"nextval", b"setval"):
        journal.provide(Kind.SEQUENCE, _argument(call, 0))
    else:
        journal.rely(SEQUENCE_ELSEWHERE, _argument(call, 0), on=Kind.SEQUENCE)


def _read_set_config(call: Call, journal: Journal) -> None:
    """Read set_config(name, value, is_local); where is_local is no constant, nothing is known."""
    is_constant = call.arguments and call.arguments[0][0].kind is TokenKind.STRING
    name = _argument(call, 0).lower() if is_constant else ""
    value = _argument(call, 1)
    is_local = _argument(call, 2).partition("::")[0].lower()
    if is_local in _FALSE:
        journal.leave(
            ROLE if name in ("role", "session_authorization") else SET_CONFIG, name, value
        )
    elif is_local in _TRUE and call.is_alone:
        journal.last_for_the_transaction(LOCAL_ALONE, name, value)


def _argument(call: Call, index: int) -> str:
    """Return an argument as written, constants without quotes and casts to regclass without."""
    if index >= len(call.arguments):
        return ""
    text = b"".join(each.text for each in call.arguments[index]).decode("utf-8", "replace")
    return text.removesuffix("::regclass").removesuffix("::text")


def _key(call: Call) -> str:
    """Return the key of an advisory lock as written: one number, or two."""
    return ", ".join(_argument(call, index) for index in range(len(call.arguments)))
