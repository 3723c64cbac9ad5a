"""How is a console asked from the outside? By a `Dialogue` with the database pgbouncer.

Works with PgBouncer's console too.
"""

from __future__ import annotations

from typing import Final

from pgpool_lite.config import DatabaseSettings
from pgpool_lite.errors import ServerError
from pgpool_lite.operate.dialogue import Dialogue
from pgpool_lite.pool.registry import CONSOLE

_HINT: Final = "--url postgresql://user@host:port/pgbouncer says where it is."
_PARAMETERS: Final = {"application_name": "pgpool-lite show"}


class Console(Dialogue):
    """One connection to a console."""

    def __init__(self, target: DatabaseSettings) -> None:
        """Connect and log in; raises ServerError where nobody lets us in."""
        try:
            super().__init__(target, CONSOLE, _PARAMETERS)
        except ServerError as error:
            error.hint = error.hint or _HINT
            raise
