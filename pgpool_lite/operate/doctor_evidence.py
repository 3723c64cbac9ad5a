"""What has the doctor seen? Facts only; what they mean is `doctor_diagnosis`'s to say.

Nothing here may hold a secret: no password is kept, and of statements only heads with their values
taken out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Refusal:
    """What somebody said no with."""

    message: str
    sqlstate: str = ""
    detail: str = ""
    hint: str = ""

    def __str__(self) -> str:
        """Return it in one line."""
        return f"{self.message} ({self.sqlstate})" if self.sqlstate else self.message


@dataclass(frozen=True, slots=True)
class Arrival:
    """One login and one transaction: how far a client comes."""

    #: host:port/database as user, for people.
    place: str
    login_refusal: Refusal | None = None
    transaction_refusal: Refusal | None = None
    login_ms: float = 0.0
    transaction_ms: float = 0.0
    is_encrypted: bool = False
    server_version: str = ""
    #: pgbouncer.version, which PgBouncer 1.26 and pgpool_lite report; "" from anybody else.
    pooler_version: str = ""
    #: The number in BackendKeyData, and that of the process that ran the query.
    key_pid: int = 0
    backend_pid: int = 0

    @property
    def is_well(self) -> bool:
        """It came in and had a transaction."""
        return self.login_refusal is None and self.transaction_refusal is None

    @property
    def is_pooled(self) -> bool:
        """Somebody stands in between: the key that was told is not that of the process."""
        return bool(self.key_pid and self.backend_pid) and self.key_pid != self.backend_pid


class Sharing(StrEnum):
    """What becomes of a client's server between two transactions."""

    SHARED = "transaction"  # another client had it
    KEPT = "session"  # nobody else had it
    UNKNOWN = "unknown"


class Names(StrEnum):
    """What becomes of a named prepared statement between two transactions."""

    KEPT = "kept"  # it was there in the next one
    LOST = "lost"  # another server did not know it
    REFUSED = "refused"  # it could not even be prepared
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Pooling:
    """What two clients at once have seen of each other."""

    sharing: Sharing = Sharing.UNKNOWN
    #: A second client got no server while the first had one: there is only one.
    second_waits: bool = False
    names: Names = Names.UNKNOWN
    #: What the statement's second use, or its Parse, was refused with.
    names_refusal: Refusal | None = None
    #: Another client met the first one's statement under its name.
    names_collide: bool = False


@dataclass(frozen=True, slots=True)
class Trial:
    """One start-up parameter that drivers send, and what became of it."""

    name: str
    value: str
    refusal: Refusal | None = None
    #: What SHOW says of it afterwards.
    shown: str = ""

    @property
    def is_applied(self) -> bool:
        """The session has the value that was asked for."""
        return self.refusal is None and self.shown == self.value


@dataclass(frozen=True, slots=True)
class IdleSession:
    """A session that is idle in a transaction."""

    pid: int
    application: str
    state: str
    idle_s: float
    statement: str


@dataclass(frozen=True, slots=True)
class LockHolder:
    """A session that holds an advisory lock, or waits for one."""

    pid: int
    application: str
    state: str
    key: str
    is_granted: bool
    idle_s: float


@dataclass(frozen=True, slots=True)
class Sessions:
    """What PostgreSQL's own tables say."""

    max_connections: int = 0
    reserved: int = 0
    #: Client sessions by state; those of other users may hide theirs.
    counts: dict[str, int] = field(default_factory=dict)
    idle: tuple[IdleSession, ...] = ()
    locks: tuple[LockHolder, ...] = ()
    refusal: Refusal | None = None

    @property
    def total(self) -> int:
        """All client sessions."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Waiting:
    """One row of SHOW POOLS, as far as it tells of crowding."""

    database: str
    user: str
    mode: str
    clients_waiting: int
    longest_wait_s: float
    servers_active: int
    servers_idle: int


@dataclass(frozen=True, slots=True)
class ConsoleView:
    """What a console of PgBouncer's kind says."""

    refusal: Refusal | None = None
    version: str = ""
    pools: tuple[Waiting, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of it. What was not looked at is None."""

    pooled: Arrival
    direct: Arrival | None = None
    pooling: Pooling | None = None
    trials: tuple[Trial, ...] = ()
    sessions: Sessions | None = None
    console: ConsoleView | None = None
    #: A message from the application's log, as it was given.
    message: str = ""
