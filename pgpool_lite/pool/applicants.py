"""Who wants in, and what has been found out? What goes from hand to hand while a client logs in.

An `Origin` is what its socket tells, an `Applicant` what it says itself, a `Question` what
PostgreSQL must be asked, and an `Admission` what admission has decided. Each is made once per login
and not changed any more, but for the flags of an `Admission`, while it is made. They are plain
classes: a frozen dataclass sets its fields one by one through the interpreter, 1,100 instructions
for each, and these are 25 fields.
"""

from __future__ import annotations

from dataclasses import dataclass

from pgpool_lite.errors import LoginRejected
from pgpool_lite.pool.database import Database
from pgpool_lite.session.auth_query import FoundUser
from pgpool_lite.session.client_login import Challenge
from pgpool_lite.session.parameters import Values


class Origin:
    """Where a client comes from, as far as its socket can tell."""

    __slots__ = (
        "address",
        "certificate_alternatives",
        "certificate_name",
        "is_encrypted",
        "is_own_user",
        "is_unix",
        "system_user_id",
    )

    def __init__(
        self,
        address: tuple[str, int],
        *,
        is_unix: bool = False,
        is_own_user: bool = False,
        is_encrypted: bool = False,
        certificate_name: str = "",
        certificate_alternatives: tuple[str, ...] = (),
        system_user_id: int | None = None,
    ) -> None:
        """Note it; by default a client that comes by TCP and in plain text."""
        #: Host and port of the client; ("unix", 0) on a Unix socket, and where it cannot be told.
        self.address = address
        #: It came by a Unix socket: by the kind of its socket, for the address of a client that has
        #: gone again cannot be told.
        self.is_unix = is_unix
        #: It came by a Unix socket, from a process of the user that runs this one.
        self.is_own_user = is_own_user
        #: What it sends travels by TLS.
        self.is_encrypted = is_encrypted
        #: Common name in its certificate, which client_tls_ca_file has vouched for; "" without one.
        self.certificate_name = certificate_name
        #: DNS names in the same certificate's subjectAltName.
        self.certificate_alternatives = certificate_alternatives
        #: The system's number of the user whose process is at the other end of a Unix socket.
        self.system_user_id = system_user_id

    @property
    def host(self) -> str | None:
        """Its IP address, None on a Unix socket."""
        return None if self.is_unix else self.address[0]


class Applicant:
    """Somebody who wants in, before anything is known of the user."""

    __slots__ = (
        "application_name",
        "database",
        "is_replica",
        "origin",
        "refusal",
        "user",
        "wishes",
    )

    def __init__(
        self,
        user: str,
        database: Database,
        origin: Origin,
        wishes: Values,
        application_name: str,
        refusal: LoginRejected | None = None,
        is_replica: bool = False,
    ) -> None:
        """Note who it is, where it wants to and where it comes from."""
        self.user = user
        self.database = database
        self.origin = origin
        #: Tracked parameters that the client asked for.
        self.wishes = wishes
        self.application_name = application_name
        #: There is no such database, which only those hear who have proved who they are.
        self.refusal = refusal
        #: It wants physical replication, for which an HBA file has rules of their own.
        self.is_replica = is_replica


@dataclass(frozen=True, slots=True)
class Question:
    """What PostgreSQL must be asked before a client can be challenged."""

    applicant: Applicant
    #: Where to ask, auth_dbname, and as whom.
    database: Database
    auth_user: str
    #: auth_query; its parameter is the applicant's user.
    sql: str


class Admission:
    """What admission has found out about a client that may try to prove itself."""

    __slots__ = (
        "application_name",
        "challenge",
        "database",
        "found",
        "is_console",
        "is_stats_user",
        "is_unknown_user",
        "refusal",
        "user",
        "wishes",
    )

    def __init__(
        self, applicant: Applicant, user: str, challenge: Challenge, *, is_console: bool = False
    ) -> None:
        """Let an applicant try to prove that it is `user`."""
        self.user = user
        self.challenge = challenge
        self.database = applicant.database
        self.is_console = is_console
        #: Tracked parameters that the client asked for.
        self.wishes = applicant.wishes
        self.application_name = applicant.application_name
        #: What it is told when it has proved itself: that there is no such database.
        self.refusal = applicant.refusal
        #: The console may be looked at only, not commanded.
        self.is_stats_user = False
        #: In no file, and not to be looked up elsewhere: for the log, no client is told so.
        self.is_unknown_user = False
        #: What auth_query found; kept for the user's servers once the client has proved itself.
        self.found: FoundUser | None = None
