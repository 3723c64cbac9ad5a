"""What can come of a command? Rows, a plain answer, an answer later, or a refusal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pgpool_lite.console.values import Cell
from pgpool_lite.errors import PgPoolLiteError

#: The tag of every SHOW, whether it has rows or not.
SHOW_TAG: Final = "SHOW"


@dataclass(frozen=True, slots=True)
class Rows:
    """A table; its columns were told when the command was prepared."""

    rows: list[tuple[Cell, ...]]


@dataclass(frozen=True, slots=True)
class Done:
    """A command without rows has been carried out; `notice` goes out before the tag."""

    tag: str
    notice: str = ""
    detail: str = ""


Answer = Rows | Done


@dataclass(frozen=True, slots=True)
class Pending:
    """A command that answers only when it is done.

    `ask` returns the answer once there is one, and None until then; it may raise CommandError.
    """

    ask: Callable[[], Answer | None]


class CommandError(PgPoolLiteError):
    """A command was refused. The client gets an ErrorResponse of severity ERROR and may go on."""
