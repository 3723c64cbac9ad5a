"""Who of a system's users is who in PostgreSQL? Reads PgBouncer's `auth_ident_file`.

    # map   system user          database user
    staff   alice                app_rw
    staff   "ops.example.com"    all

A system user is the name of a Unix account (method peer) or of a certificate (method cert). The
rules of `hba.py` name a map with `map=`; `all` lets the system user be anybody.

PgBouncer passes over a line that it cannot read. We refuse the file, as PostgreSQL does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pgpool_lite.config.ini import ReadText, read_text
from pgpool_lite.config.words import BadLines, Words, read_lines


@dataclass(frozen=True, slots=True)
class IdentMap:
    """All lines of one map: pairs of a system user and a database user, None for all."""

    name: str
    pairs: tuple[tuple[str, str | None], ...]

    def allows(self, system_user: str, user: str) -> bool:
        """Say whether this system user may log in as `user`."""
        return (system_user, user) in self.pairs or (system_user, None) in self.pairs


def read_ident(path: Path, read: ReadText = read_text) -> Mapping[str, IdentMap]:
    """Return the maps of a file by name; ConfigError names every line that is none."""
    pairs: dict[str, list[tuple[str, str | None]]] = {}
    bad_lines = BadLines("ident", path)
    for number, line in read_lines(path, read):
        try:
            _read_line(Words(line), pairs)
        except ValueError as error:
            bad_lines.note(number, str(error))
    bad_lines.raise_if_any()
    return {name: IdentMap(name, tuple(each)) for name, each in pairs.items()}


def _read_line(words: Words, pairs: dict[str, list[tuple[str, str | None]]]) -> None:
    if words.next is None:
        return
    name = words.take("the name of a map")
    if name.is_quoted:
        raise ValueError("expected the name of a map without quotes")
    system_user = words.take("a system user behind the name of the map").text
    user = None if words.skip("all") else words.take("a database user, or all").text
    words.end()
    pairs.setdefault(name.text, []).append((system_user, user))
