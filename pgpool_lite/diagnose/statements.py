"""What one statement does to its server connection, told from its words into a journal.

One function per first word; what is not in `_READERS` does nothing that matters here. Names are
folded as PostgreSQL folds them, the names of settings wholly to lower case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from pgpool_lite.diagnose.calls import read_calls
from pgpool_lite.diagnose.journal import Journal
from pgpool_lite.diagnose.lexer import Statement, Token, TokenKind
from pgpool_lite.diagnose.rules import Kind, rule

SETTING = rule("PL001")
ROLE = rule("PL003")
TEMP_TABLE = rule("PL006")
HELD_CURSOR = rule("PL007")
FETCH_ELSEWHERE = rule("PL008")
PREPARE = rule("PL009")
EXECUTE_ELSEWHERE = rule("PL010")
LISTEN = rule("PL011")
LOAD = rule("PL013")
DISCARD_ALL = rule("PL014")
LOCAL_ALONE = rule("PL015")

Tokens = Sequence[Token]


def read(statement: Statement, journal: Journal) -> None:
    """Write into the journal what a statement does."""
    tokens = statement.tokens
    first = next((at for at, each in enumerate(tokens) if not each.is_symbol(b"(")), 0)
    if tokens[first].kind is TokenKind.WORD:
        reader = _READERS.get(tokens[first].text)
        if reader is not None:
            reader(tokens[first:], journal)


# --- words and names ---


def _word(tokens: Tokens, index: int, *words: bytes) -> bool:
    """Say whether one of these keywords stands at an index; False behind the end."""
    return index < len(tokens) and tokens[index].is_word(*words)


def _phrase(tokens: Tokens, index: int, *words: bytes) -> bool:
    """Say whether these keywords follow each other from an index on."""
    return all(_word(tokens, index + nth, each) for nth, each in enumerate(words))


def _text(token: Token) -> str:
    return token.text.decode("utf-8", "replace")


def _name(tokens: Tokens, index: int) -> str:
    """Return the identifier at an index, without the schema in front of it; "" if there is none."""
    name = ""
    while index < len(tokens) and tokens[index].kind in (TokenKind.WORD, TokenKind.NAME):
        name = _text(tokens[index])
        if not (index + 1 < len(tokens) and tokens[index + 1].is_symbol(b".")):
            break
        index += 2
    return name


def _value(tokens: Tokens) -> str:
    """Return a value as it reads: words, constants and commas."""
    texts = [_text(each) for each in tokens]
    return " ".join(texts).replace(" ,", ",")


# --- SET and RESET ---


def _set(tokens: Tokens, journal: Journal) -> None:
    index = 1
    if _word(tokens, 1, b"local"):
        journal.last_for_the_transaction(LOCAL_ALONE, *_setting(tokens, 2))
        return
    if _word(tokens, 1, b"transaction", b"constraints"):
        journal.last_for_the_transaction(LOCAL_ALONE, _text(tokens[1]))
        return
    if _phrase(tokens, 1, b"session", b"characteristics"):
        _set_characteristics(tokens, journal)
        return
    if _phrase(tokens, 1, b"session", b"authorization"):
        _set_role("session_authorization", tokens[3:], journal)
        return
    if _word(tokens, 1, b"session"):
        index = 2
    name, value = _setting(tokens, index)
    if name in ("role", "session_authorization"):
        _set_role(name, tokens[_value_index(tokens, index) :], journal)
    elif _is_default(tokens):
        journal.clear(Kind.SETTING, name)
    elif name:
        journal.leave(SETTING, name, value)


def _is_default(tokens: Tokens) -> bool:
    return tokens[-1].is_word(b"default")


def _set_role(name: str, value: Tokens, journal: Journal) -> None:
    """Read SET ROLE and SET SESSION AUTHORIZATION; the latter also takes a SET ROLE back."""
    if not value or value[0].is_word(b"none", b"default"):
        journal.clear(Kind.ROLE, "role" if name == "role" else "")
    else:
        journal.leave(ROLE, name, _value(value))


_CHARACTERISTICS: Final = (
    (b"isolation", "default_transaction_isolation"),
    (b"read", "default_transaction_read_only"),
    (b"deferrable", "default_transaction_deferrable"),
)


def _set_characteristics(tokens: Tokens, journal: Journal) -> None:
    """Read SET SESSION CHARACTERISTICS AS TRANSACTION, which sets up to three settings."""
    for word, name in _CHARACTERISTICS:
        if any(each.is_word(word) for each in tokens):
            journal.leave(SETTING, name, _value(tokens[5:]))


# The parameters that SET has a syntax of its own for.
_SPECIAL: Final = {
    (b"time", b"zone"): "timezone",
    (b"names",): "client_encoding",
    (b"schema",): "search_path",
    (b"xml", b"option"): "xmloption",
}


def _setting(tokens: Tokens, index: int) -> tuple[str, str]:
    """Return which setting is named at an index, and its new value; "" if there is none."""
    for words, name in _SPECIAL.items():
        if _phrase(tokens, index, *words) and not _is_assigned(tokens, index + 1):
            return name, _value(tokens[index + len(words) :])
    parts = []
    while index < len(tokens) and tokens[index].kind in (TokenKind.WORD, TokenKind.NAME):
        parts.append(_text(tokens[index]).lower())
        if not (index + 1 < len(tokens) and tokens[index + 1].is_symbol(b".")):
            break
        index += 2
    return ".".join(parts), _value(tokens[_value_index(tokens, index) :])


def _value_index(tokens: Tokens, index: int) -> int:
    """Return where the value begins of the setting whose name ends at an index."""
    return index + 2 if _is_assigned(tokens, index + 1) else index + 1


def _is_assigned(tokens: Tokens, index: int) -> bool:
    return index < len(tokens) and (tokens[index].is_symbol(b"=") or tokens[index].is_word(b"to"))


def _reset(tokens: Tokens, journal: Journal) -> None:
    name, _ = _setting(tokens, 1)
    if _word(tokens, 1, b"all"):
        journal.clear(Kind.SETTING)
    elif _phrase(tokens, 1, b"session", b"authorization"):
        journal.clear(Kind.ROLE)
    elif name in ("role", "session_authorization"):
        journal.clear(Kind.ROLE, "role" if name == "role" else "")
    elif name:
        journal.clear(Kind.SETTING, name)


_WHOLE_SESSION: Final = (
    *(Kind.SETTING, Kind.ROLE, Kind.PREPARED, Kind.LISTEN, Kind.TEMP_TABLE, Kind.HELD_CURSOR),
    *(Kind.ADVISORY_LOCK, Kind.SEQUENCE),
)


def _discard(tokens: Tokens, journal: Journal) -> None:
    if _word(tokens, 1, b"all"):
        journal.wipe(DISCARD_ALL)
        for kind in _WHOLE_SESSION:
            journal.clear(kind)
    elif _word(tokens, 1, b"temp", b"temporary"):
        journal.clear(Kind.TEMP_TABLE)
    elif _word(tokens, 1, b"sequences"):
        journal.clear(Kind.SEQUENCE)


# --- temporary tables ---


def _create(tokens: Tokens, journal: Journal) -> None:
    index = 3 if _phrase(tokens, 1, b"or", b"replace") else 1
    if _word(tokens, index, b"local", b"global"):
        index += 1
    is_temporary = _word(tokens, index, b"temp", b"temporary")
    if is_temporary or _word(tokens, index, b"unlogged"):
        index += 1
    if _word(tokens, index, b"recursive"):
        index += 1
    if not _word(tokens, index, b"table", b"view", b"sequence"):
        return
    is_table = tokens[index].is_word(b"table")
    index += 1
    if _phrase(tokens, index, b"if", b"not", b"exists"):
        index += 3
    if is_temporary or _word(tokens, index, b"pg_temp"):
        if _is_dropped_on_commit(tokens):
            journal.last_for_the_transaction(LOCAL_ALONE, _name(tokens, index))
        else:
            journal.leave(TEMP_TABLE, _name(tokens, index))
    query = next((at for at, each in enumerate(tokens) if each.is_word(b"as")), None)
    if is_table and query is not None:
        read_calls(tokens[query:], journal)


def _is_dropped_on_commit(tokens: Tokens) -> bool:
    return any(
        _phrase(tokens, index, b"on", b"commit", b"drop")
        for index, each in enumerate(tokens)
        if each.is_word(b"on")
    )


def _drop(tokens: Tokens, journal: Journal) -> None:
    if not _word(tokens, 1, b"table", b"view", b"sequence"):
        return
    index = 4 if _phrase(tokens, 2, b"if", b"exists") else 2
    while name := _name(tokens, index):
        journal.clear(Kind.TEMP_TABLE, name)
        index = next((at for at in range(index, len(tokens)) if tokens[at].is_symbol(b",")), -2) + 1
        if index < 0:
            return


def _query(tokens: Tokens, journal: Journal) -> None:
    """Read a statement that runs functions: SELECT, INSERT and so on."""
    read_calls(tokens, journal)
    if any(each.is_word(b"insert", b"copy") for each in tokens):
        # The default of a column may have drawn from any sequence.
        journal.provide(Kind.SEQUENCE)
    for index, each in enumerate(tokens):
        if each.is_word(b"into") and not _word(tokens, index - 1, b"insert", b"merge"):
            _select_into(tokens, index + 1, journal)


def _select_into(tokens: Tokens, index: int, journal: Journal) -> None:
    if _word(tokens, index, b"local", b"global"):
        index += 1
    if _word(tokens, index, b"temp", b"temporary"):
        index += 1
        journal.leave(TEMP_TABLE, _name(tokens, index + _word(tokens, index, b"table")))


def _explain(tokens: Tokens, journal: Journal) -> None:
    if any(each.is_word(b"analyze", b"analyse") for each in tokens[1:4]):
        read_calls(tokens, journal)


# --- cursors ---


def _declare(tokens: Tokens, journal: Journal) -> None:
    name = _name(tokens, 1)
    query = next((at for at, each in enumerate(tokens) if each.is_word(b"for")), len(tokens))
    if any(_phrase(tokens, at, b"with", b"hold") for at in range(2, query)):
        journal.leave(HELD_CURSOR, name)
    else:
        journal.provide(Kind.HELD_CURSOR, name)
    read_calls(tokens[query:], journal)


def _fetch(tokens: Tokens, journal: Journal) -> None:
    """Read FETCH and MOVE, whose last word is the cursor's name."""
    journal.rely(FETCH_ELSEWHERE, _name(tokens, len(tokens) - 1), on=Kind.HELD_CURSOR)


def _close(tokens: Tokens, journal: Journal) -> None:
    if _word(tokens, 1, b"all"):
        journal.clear(Kind.HELD_CURSOR)
        return
    name = _name(tokens, 1)
    if name:
        journal.rely(FETCH_ELSEWHERE, name, on=Kind.HELD_CURSOR)
        journal.clear(Kind.HELD_CURSOR, name)


# --- prepared statements ---


def _prepare(tokens: Tokens, journal: Journal) -> None:
    if _word(tokens, 1, b"transaction") and len(tokens) == 3:
        journal.commit()
    else:
        journal.leave(PREPARE, _name(tokens, 1))


def _execute(tokens: Tokens, journal: Journal) -> None:
    journal.rely(EXECUTE_ELSEWHERE, _name(tokens, 1), on=Kind.PREPARED)


def _deallocate(tokens: Tokens, journal: Journal) -> None:
    index = 2 if _word(tokens, 1, b"prepare") and len(tokens) > 2 else 1
    if _word(tokens, index, b"all"):
        journal.clear(Kind.PREPARED)
        return
    name = _name(tokens, index)
    if name:
        journal.rely(EXECUTE_ELSEWHERE, name, on=Kind.PREPARED)
        journal.clear(Kind.PREPARED, name)


# --- channels and libraries ---


def _listen(tokens: Tokens, journal: Journal) -> None:
    journal.leave(LISTEN, _name(tokens, 1))


def _unlisten(tokens: Tokens, journal: Journal) -> None:
    journal.clear(Kind.LISTEN, _name(tokens, 1))


def _load(tokens: Tokens, journal: Journal) -> None:
    journal.leave(LOAD, _text(tokens[1]) if len(tokens) > 1 else "")


# --- transactions ---


def _begin(tokens: Tokens, journal: Journal) -> None:
    journal.begin()


def _start(tokens: Tokens, journal: Journal) -> None:
    if _word(tokens, 1, b"transaction"):
        journal.begin()


def _commit(tokens: Tokens, journal: Journal) -> None:
    if not _word(tokens, 1, b"prepared"):
        journal.commit(chain=_is_chained(tokens))


def _roll_back(tokens: Tokens, journal: Journal) -> None:
    if _word(tokens, 1, b"prepared"):
        return
    to = next((at for at in range(1, len(tokens)) if tokens[at].is_word(b"to")), 0)
    if to:
        journal.roll_back_to(tokens[-1].text)
    else:
        journal.roll_back(chain=_is_chained(tokens))


def _is_chained(tokens: Tokens) -> bool:
    return tokens[-1].is_word(b"chain") and not tokens[-2].is_word(b"no")


def _savepoint(tokens: Tokens, journal: Journal) -> None:
    journal.save(tokens[-1].text)


_Reader = Callable[[Tokens, Journal], None]
_READERS: Final[dict[bytes, _Reader]] = {
    b"set": _set,
    b"reset": _reset,
    b"discard": _discard,
    b"create": _create,
    b"drop": _drop,
    b"select": _query,
    b"with": _query,
    b"values": _query,
    b"insert": _query,
    b"update": _query,
    b"delete": _query,
    b"merge": _query,
    b"copy": _query,
    b"call": _query,
    b"explain": _explain,
    b"declare": _declare,
    b"fetch": _fetch,
    b"move": _fetch,
    b"close": _close,
    b"prepare": _prepare,
    b"execute": _execute,
    b"deallocate": _deallocate,
    b"listen": _listen,
    b"unlisten": _unlisten,
    b"load": _load,
    b"begin": _begin,
    b"start": _start,
    b"commit": _commit,
    b"end": _commit,
    b"rollback": _roll_back,
    b"abort": _roll_back,
    b"savepoint": _savepoint,
}
