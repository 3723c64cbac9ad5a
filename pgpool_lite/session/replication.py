"""Does a client want replication, and what is a server connection that serves it?

A StartupMessage with `replication` asks PostgreSQL for a walsender: a process that speaks commands
of its own (IDENTIFY_SYSTEM, START_REPLICATION ...) and may stream for ever. What it is was decided
when it was started, so it cannot be shared: each replication client gets a server connection that
is opened for it, with its own start-up parameters, and closed behind it.

PostgreSQL documentation, "Streaming Replication Protocol".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pgpool_lite.session.client import ClientSession

#: What PostgreSQL takes for true; every beginning of a word that is not also another's.
_TRUE: Final = frozenset({"t", "tr", "tru", "true", "y", "ye", "yes", "on", "1"})


class ReplicationKind(Enum):
    """What is replicated; the values are PgBouncer's words for SHOW CLIENTS and SHOW SERVERS."""

    LOGICAL = "logical"  # one database, whose changes are decoded
    PHYSICAL = "physical"  # the whole server's write-ahead log; it belongs to no database

    @property
    def parameter(self) -> str:
        """The value of the start-up parameter `replication`; the log has it too."""
        return "database" if self is ReplicationKind.LOGICAL else "yes"


@dataclass(frozen=True, slots=True)
class Replication:
    """What a replication client has asked for."""

    kind: ReplicationKind
    #: Its `options`, which PostgreSQL is given as they are.
    options: str = ""

    @classmethod
    def asked_for(cls, parameters: Mapping[str, str]) -> Replication | None:
        """Return what the parameters of a StartupMessage ask for, None for a usual client.

        A value that is neither `database` nor a true one counts as none, as in PgBouncer.
        """
        value = parameters.get("replication")
        if value is None:
            return None
        options = parameters.get("options", "")
        if value == "database":
            return cls(ReplicationKind.LOGICAL, options)
        return cls(ReplicationKind.PHYSICAL, options) if value.lower() in _TRUE else None


class Dedication:
    """Says that a server connection is one replication client's alone.

    Made when the connection is opened, and lives as long as its `ServerSession`.
    """

    __slots__ = ("client", "replication", "welcome")

    def __init__(self, client: ClientSession, replication: Replication) -> None:
        """Dedicate a connection that is about to be opened."""
        self.client = client
        self.replication = replication
        #: ParameterStatus values of its login, which its client is welcomed with.
        self.welcome: dict[str, str] = {}
