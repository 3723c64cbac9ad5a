"""May this client come in, and what must it prove? PgBouncer's order of questions, and its words.

Called once per client, with its StartupMessage. Refusals are `LoginRejected` (or `LimitReached`).
The answer is an `Admission`: the database, the session parameters the client wishes for, and the
challenge it must meet. Where the user stands in no file it is a `Question` instead: whoever drives
the login asks PostgreSQL (auth_query) and calls `resume` with what it found.

What a client may know before it has proved who it is: nothing. A database that is not there, or
that is disabled, is told afterwards, by `let_in`; users that do not exist are challenged like all
others (`challenges`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pgpool_lite.config import Arrival, AuthType, DatabaseSettings, HbaMethod, HbaRule
from pgpool_lite.errors import LimitReached, LoginRejected
from pgpool_lite.pool.applicants import Admission, Applicant, Origin, Question
from pgpool_lite.pool.challenges import TRUST, Challenges
from pgpool_lite.pool.database import Database
from pgpool_lite.pool.registry import CONSOLE, Registry
from pgpool_lite.pool.wishes import KnownWishes
from pgpool_lite.session.auth_query import FoundUser
from pgpool_lite.session.client_login import Challenge
from pgpool_lite.session.replication import Replication, ReplicationKind
from pgpool_lite.wire.frontend import StartupMessage, encode_string
from pgpool_lite.wire.passwords import SecretKind, classify_secret
from pgpool_lite.wire.scram import ScramKeys

#: PgBouncer's MAX_USERNAME.
MAX_USER_NAME: Final = 127

#: auth_type, and the method of an HBA rule that means the same. `any` and `hba` have none.
_METHODS: Final = {
    AuthType.TRUST: HbaMethod.TRUST,
    AuthType.PLAIN: HbaMethod.PASSWORD,
    AuthType.MD5: HbaMethod.MD5,
    AuthType.SCRAM_SHA_256: HbaMethod.SCRAM_SHA_256,
    AuthType.CERT: HbaMethod.CERT,
}

# As globals of this module: a look into an Enum costs 600 instructions.
_ANY: Final = AuthType.ANY
_HBA: Final = AuthType.HBA
_TRUST: Final = HbaMethod.TRUST
_REJECT: Final = HbaMethod.REJECT
_PEER: Final = HbaMethod.PEER
_CERT: Final = HbaMethod.CERT
_STORED_BY_POSTGRESQL: Final = SecretKind.SCRAM_SHA_256


class Doorkeeper:
    """Admits clients. Owned by the runtime."""

    def __init__(
        self, registry: Registry, name_system_user: Callable[[int], str] = lambda user_id: ""
    ) -> None:
        """Admit to the databases of `registry`; `name_system_user` knows the system's users."""
        self._registry = registry
        self._name_system_user = name_system_user
        self._challenges = Challenges()
        self._wishes = KnownWishes()

    # --- before the proof ---

    def admit(self, startup: StartupMessage, origin: Origin, now: float) -> Admission | Question:
        """Answer whether a client may come in; raises LoginRejected or LimitReached if not."""
        applicant = self._meet(startup, origin, now)
        user, database = applicant.user, applicant.database
        if database is self._registry.console and user == CONSOLE and origin.is_own_user:
            # PgBouncer's way in for whoever started it: no list of users, no password.
            return self._admission(applicant, user, TRUST)
        settings = self._registry.config.settings
        if settings.auth_type is _ANY:
            return self._admit_anybody(applicant)
        listed = self._registry.secrets.listed(user)
        auth_user = database.settings.auth_user or settings.auth_user
        if auth_user and listed is None and applicant.refusal is None:
            sql = database.settings.auth_query or settings.auth_query
            return Question(applicant, self._auth_database(database, now), auth_user, sql)
        return self._challenge(applicant, user, listed, is_known=listed is not None)

    def resume(self, question: Question, found: FoundUser | None) -> Admission:
        """Go on with what PostgreSQL said of the user; None is PgBouncer's "no such user".

        The name that auth_query returned is the user's from now on, as in PgBouncer.
        """
        if found is None:
            raise LoginRejected("no such user")
        admission = self._challenge(question.applicant, found.name, found.secret, is_known=True)
        admission.found = found
        return admission

    def _meet(self, startup: StartupMessage, origin: Origin, now: float) -> Applicant:
        """Read who wants in, and where to."""
        registry = self._registry
        wishes, application_name = self._wishes.read(
            startup, registry.config.settings, registry.tracked, origin.address
        )
        user = startup.parameters.get("user", "")
        if not user:
            raise LoginRejected("no username supplied")
        # A character has up to four bytes: names of the usual length need not be encoded.
        if len(user) > MAX_USER_NAME // 4 and len(encode_string(user)) > MAX_USER_NAME + 1:
            raise LoginRejected("username too long")
        name = startup.parameters.get("database") or user
        database, refusal = registry.console, None
        if name != CONSOLE:
            try:
                database = registry.find_database(name, now)
            except LoginRejected as error:
                database, refusal = Database(DatabaseSettings(name=name), now), error
        self._check_room(database, user, origin)
        replication = Replication.asked_for(startup.parameters)
        is_replica = replication is not None and replication.kind is ReplicationKind.PHYSICAL
        return Applicant(user, database, origin, wishes, application_name, refusal, is_replica)

    def _check_room(self, database: Database, user: str, origin: Origin) -> None:
        """Raise LimitReached if there is no room; those who command the console need none."""
        settings = self._registry.config.settings
        if database is self._registry.console:
            if user in settings.admin_users or origin.is_own_user:
                return
        elif settings.auth_type is _ANY:
            user = database.settings.user or user  # who it says it is counts for nothing
        self.check_limits(database, user)

    def _auth_database(self, own: Database, now: float) -> Database:
        """Return the database in which auth_query runs for a client of `own`."""
        name = own.settings.auth_dbname or self._registry.config.settings.auth_dbname or own.name
        if name == CONSOLE:
            remark = f'cannot use the reserved "{name}" database as an auth_dbname'
            raise LoginRejected("bouncer config error", remark=remark)
        try:
            database = self._registry.find_database(name, now)
        except LoginRejected:
            remark = f'authentication database "{name}" is not configured.'
            raise LoginRejected("bouncer config error", remark=remark) from None
        if database.is_disabled:
            raise LoginRejected(f'authentication database "{name}" is disabled')
        return database

    def _admit_anybody(self, applicant: Applicant) -> Admission:
        """Admit by auth_type any: who the client says it is counts for nothing."""
        self._check_console(applicant, applicant.user)
        database = applicant.database
        if database is not self._registry.console and not database.settings.user:
            raise LoginRejected(
                "bouncer config error",
                detail="auth_type any ignores who the client is, so the database needs user=.",
                remark="auth_type=any requires forced user",
            )
        user = database.settings.user or applicant.user
        return self._admission(applicant, user, TRUST)

    def _challenge(
        self, applicant: Applicant, user: str, secret: str | None, *, is_known: bool
    ) -> Admission:
        """Find the method for this user, and what it asks for."""
        self._check_console(applicant, user)
        method, rule = self._method(applicant, user)
        if method is _REJECT:
            raise LoginRejected("login rejected")
        if method is _TRUST:
            if not is_known:
                raise LoginRejected('"trust" authentication failed')
            challenge = TRUST
        elif method is _PEER:
            self._check_peer(applicant.origin, user, rule, is_known=is_known)
            challenge = TRUST
        elif method is _CERT:
            self._check_certificate(applicant.origin, user, rule, is_known=is_known)
            challenge = TRUST
        else:
            iterations = self._registry.config.settings.scram_iterations
            usual = self._registry.secrets.usual_kind
            challenge = self._challenges.make(method, user, secret, usual, iterations)
        return self._admission(applicant, user, challenge, is_known=is_known)

    def _method(self, applicant: Applicant, user: str) -> tuple[HbaMethod, HbaRule | None]:
        """Return how this user must prove itself, and the rule of the HBA file that says so."""
        config = self._registry.config
        if config.settings.auth_type is not _HBA:
            return _METHODS[config.settings.auth_type], None
        origin, name = applicant.origin, applicant.database.name
        arrival = Arrival(name, user, origin.host, origin.is_encrypted, applicant.is_replica)
        rule = config.hba.find(arrival)
        if rule is None:
            raise LoginRejected("no authentication method is found")
        return rule.method, rule

    def _check_peer(
        self, origin: Origin, user: str, rule: HbaRule | None, *, is_known: bool
    ) -> None:
        """Raise LoginRejected unless the system says that the client's process may be this user."""
        name = ""
        if origin.system_user_id is not None:
            name = self._name_system_user(origin.system_user_id)
        names = (name,) if name else ()
        if not _may_be(names, user, rule) or not is_known:
            remark = f"ident map {rule.map.name} cannot be matched" if rule and rule.map else ""
            raise LoginRejected("unix socket login rejected", remark=remark)

    def _check_certificate(
        self, origin: Origin, user: str, rule: HbaRule | None, *, is_known: bool
    ) -> None:
        """Raise LoginRejected unless the client's certificate is that of this user."""
        names = (origin.certificate_name, *origin.certificate_alternatives)
        names = tuple(name for name in names if name)
        if _may_be(names, user, rule) and is_known:
            return
        if not origin.is_encrypted:
            remark = "TLS connection required"
        elif not names:
            remark = "TLS client certificate required"
        elif rule is not None and rule.map is not None:
            remark = f"ident map: {rule.map.name} does not have a match"
        else:
            remark = "TLS certificate name mismatch"
        raise LoginRejected("certificate authentication failed", remark=remark)

    # --- the console ---

    def _check_console(self, applicant: Applicant, user: str) -> None:
        """Raise LoginRejected for who may not even look at the console."""
        settings = self._registry.config.settings
        if applicant.database is not self._registry.console:
            return
        if user not in settings.admin_users and user not in settings.stats_users:
            raise LoginRejected(
                "not allowed",
                detail=f'User "{user}" is in neither admin_users nor stats_users.',
            )

    def _admission(
        self, applicant: Applicant, user: str, challenge: Challenge, *, is_known: bool = True
    ) -> Admission:
        """Put together what has been decided."""
        is_console = applicant.database is self._registry.console
        admission = Admission(applicant, user, challenge, is_console=is_console)
        if is_console:
            admins = self._registry.config.settings.admin_users
            admission.is_stats_user = not (user in admins or user == CONSOLE)
        admission.is_unknown_user = not is_known
        return admission

    # --- after the proof ---

    def remember_proof(self, admission: Admission, client_key: bytes) -> None:
        """Keep what logs in to servers as that user: what was found, and what a login revealed.

        The key of a SCRAM login, b"" for any other, counts only where the stored secret is
        PostgreSQL's own: one against a secret that we derived from a plain password fits no server.
        Of those who prove nothing nothing is kept, for they may come by any name.
        """
        known, database = self._registry.secrets, admission.database.name
        if admission.found is not None:
            known.remember_found(database, admission.user, admission.found.secret)
        secret = admission.challenge.scram_secret
        if not client_key or secret is None:
            return
        kept = known.keys_of(database, admission.user)
        if kept is not None and (client_key, secret.server_key) == (
            kept.client_key,
            kept.server_key,
        ):
            return  # they go when the stored secret does
        stored = known.of(database, admission.user) or ""
        if classify_secret(stored) is _STORED_BY_POSTGRESQL:
            keys = ScramKeys(client_key, secret.server_key)
            known.remember_keys(database, admission.user, keys)

    def let_in(self, admission: Admission, now: float) -> Database:
        """Return the database that a client has proved itself for, as it is by now.

        A reload may have come in between, or somebody else for whom a database was made from `*`.
        Raises LoginRejected or LimitReached for what a client hears only after its proof.
        """
        if admission.refusal is not None:
            raise admission.refusal
        database = admission.database
        if not admission.is_console:
            database = self._registry.find_database(database.name, now)
        if database.is_disabled:
            raise LoginRejected(f'database "{database.name}" is disabled')
        if not admission.is_console or admission.is_stats_user:
            self.check_limits(database, admission.user)
        return database

    def check_limits(self, database: Database, user: str) -> None:
        """Raise LimitReached if there is no room for one more client of `user` in `database`.

        Asked at the door and again after the proof, for in between others may have come in. The
        console has room whatever max_client_conn says, and its admins come in anyway.
        """
        config, census = self._registry.config, self._registry.census
        settings, special = config.settings, config.users.get(user)
        if (
            database is not self._registry.console
            and census.everybody.client_count >= settings.max_client_conn
        ):
            raise LimitReached(
                "no more connections allowed (max_client_conn)",
                detail=f"All {settings.max_client_conn} clients that may be connected are.",
            )
        limit = database.settings.max_db_client_connections or settings.max_db_client_connections
        if 0 < limit <= database.headcount.client_count:
            raise LimitReached(
                "client connections exceeded (max_db_client_connections)",
                detail=f"Database {database.name} may have {limit} clients, and has them.",
            )
        limit = (special.max_user_client_connections if special else None) or (
            settings.max_user_client_connections
        )
        if 0 < limit <= census.clients_of(user):
            raise LimitReached(
                "client connections exceeded (max_user_client_connections)",
                detail=f"This user may have {limit} clients, and has them.",
            )


def _may_be(names: tuple[str, ...], user: str, rule: HbaRule | None) -> bool:
    """Say whether somebody of one of these names may log in as `user`, by the rule's map if any."""
    if rule is None or rule.map is None:
        return user in names
    return any(rule.map.allows(name, user) for name in names)
