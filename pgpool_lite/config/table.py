"""How does a dataclass become a table of keys? One `setting(...)` per field holds all of it.

`Settings`, `DatabaseSettings`, `UserSettings` and `PeerSettings` declare each field once, with
its default, its kind and a sentence; reading, SET, SHOW CONFIG and the error texts all work from
`table_of`. Adding a setting touches the one line that declares it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Generic, TypeVar

from pgpool_lite.config.ini import Located
from pgpool_lite.config.values import Kind
from pgpool_lite.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Setting(Generic[T]):
    """What is known about one key, its value apart."""

    kind: Kind[T]
    default: T
    # How the default is written where SHOW CONFIG does not show it as it shows a value.
    default_text: str | None
    changeable: bool
    secret: bool
    doc: str

    def show(self, value: T) -> str:
        """Return the value as SHOW CONFIG shows it; a secret only tells that it is set."""
        return "***" if self.secret and value else self.kind.show(value)


def setting(
    default: T,
    kind: Kind[T],
    *,
    changeable: bool = True,
    secret: bool = False,
    default_text: str | None = None,
    doc: str,
) -> T:
    """Declare a field that is also a key; `doc` is one sentence and names the unit."""
    entry = Setting(kind, default, default_text, changeable, secret, doc)
    return field(default=default, repr=not secret, metadata={"setting": entry})


@cache
def table_of(owner: type[DataclassInstance]) -> Mapping[str, Setting[object]]:
    """Return the keys the dataclass declares, in their order."""
    return {each.name: each.metadata["setting"] for each in fields(owner) if each.metadata}


def values_of(instance: DataclassInstance) -> dict[str, object]:
    """Return all fields of the instance by name, those that are no keys included."""
    return {each.name: getattr(instance, each.name) for each in fields(instance)}


def unknown(what: str, key: str, known: Iterable[str]) -> str:
    """Return the sentence about an unknown key, naming the nearest one there is."""
    near = get_close_matches(key.lower(), list(known), n=1, cutoff=0.7)
    return f"unknown {what}" + (f"; did you mean {near[0]}?" if near else "")


def read_value(table: Mapping[str, Setting[object]], entry: Located) -> object:
    """Return the value of an entry whose key is in the table; ConfigError says where and why."""
    try:
        return table[entry.key].kind.read(entry.value)
    except ValueError as error:
        raise ConfigError(str(error), file=entry.file, line=entry.line, key=entry.key) from None
