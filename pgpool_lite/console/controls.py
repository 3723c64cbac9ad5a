"""What do the console's commands ask of the runtime?

Commands decide what is to be done and what to answer; `Controls` does it. The runtime is the one
implementation; tests have another. A `Database` of None stands for all of them, the console apart.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Protocol

from pgpool_lite.pool.database import Database


class ShutdownMode(Enum):
    """How long a shutdown waits."""

    IMMEDIATE = auto()
    WAIT_FOR_SERVERS = auto()  # until no client is linked to a server
    WAIT_FOR_CLIENTS = auto()  # until the last client has left by itself


class Controls(Protocol):
    """The effects of commands, and the questions whose answers some commands wait for."""

    @property
    def is_shutting_down(self) -> bool:
        """A shutdown has begun."""

    @property
    def is_globally_paused(self) -> bool:
        """PAUSE without a database is in force."""

    def reload(self) -> None:
        """Read the configuration again; raises ConfigError, and keeps the old one then."""

    def set_setting(self, key: str, text: str) -> str:
        """Change one setting until the next reload; return what is to be told about it, if so.

        Only a start can change some; raises ConfigError for another key or a bad value.
        """

    def pause(self, database: Database | None) -> None:
        """Link no more clients, and close servers as they come free."""

    def resume(self, database: Database | None) -> None:
        """Reverse `pause`."""

    def is_paused(self, database: Database | None) -> bool:
        """Say whether a pause is complete: no client is linked any more."""

    def reconnect(self, database: Database | None) -> None:
        """Replace every server connection once it is free."""

    def is_closed(self, database: Database | None) -> bool:
        """Say whether all servers that `reconnect` or a reload retired are closed."""

    def kill(self, database: Database | None) -> None:
        """Close all clients and servers at once, and stay paused."""

    def kill_client(self, client_id: int) -> bool:
        """Close one pool's client; say whether there was one of that number."""

    def disable(self, database: Database) -> None:
        """Refuse new clients."""

    def enable(self, database: Database) -> None:
        """Reverse `disable`."""

    def shut_down(self, mode: ShutdownMode) -> None:
        """Stop listening, and end the process when the mode allows it."""
