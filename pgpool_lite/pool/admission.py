"""May this client come in, and what must it prove? PgBouncer's order of questions, and its words.

Called once per client, with its StartupMessage. Refusals are `LoginRejected` (or `LimitReached`);
the answer is an `Admission`: the database, the session parameters the client wishes for, and the
challenge it must meet. Users that do not exist are challenged like all others, with a secret that
nothing fits, so that nobody can find out who exists.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pgpool_lite.config import AuthType, Settings
from pgpool_lite.errors import ClientError, LimitReached, LoginRejected
from pgpool_lite.pool.database import Database
from pgpool_lite.pool.registry import CONSOLE, Registry
from pgpool_lite.session.client_login import Challenge, Method
from pgpool_lite.session.parameters import Values
from pgpool_lite.session.replication import Replication
from pgpool_lite.wire.frontend import StartupMessage
from pgpool_lite.wire.passwords import SecretKind, classify_secret
from pgpool_lite.wire.scram import ScramKeys, ScramSecret, derive_salt

#: PgBouncer's MAX_USERNAME.
MAX_USER_NAME: Final = 127

#: What C's isspace() takes for a blank.
_BLANKS: Final = " \t\n\v\f\r"

_BAD_OPTIONS: Final = (
    "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed"
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a client comes from, as far as its socket can tell."""

    #: Host and port of the client; ("unix", 0) on a Unix socket.
    address: tuple[str, int]
    #: It came by a Unix socket, from a process of the user that runs this one.
    is_own_user: bool = False
    #: What it sends travels by TLS.
    is_encrypted: bool = False
    #: Common name in its certificate, which client_tls_ca_file has vouched for; "" without one.
    certificate_name: str = ""
    #: DNS names in the same certificate's subjectAltName.
    certificate_alternatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Admission:
    """What admission has found out about a client that may try to prove itself."""

    user: str
    database: Database
    is_console: bool
    challenge: Challenge
    #: Tracked parameters that the client asked for.
    wishes: Values
    application_name: str
    #: The console may be looked at only, not commanded.
    is_stats_user: bool = False


class Doorkeeper:
    """Admits clients; keeps what is costly to derive from secrets. Owned by the runtime."""

    def __init__(self, registry: Registry) -> None:
        """Admit to the databases of `registry`."""
        self._registry = registry
        # Fixed for the life of the process: salts of made-up secrets must not change.
        self._process_key = secrets.token_bytes(32)
        self._derived: dict[tuple[str, str, int], ScramSecret] = {}

    def admit(self, startup: StartupMessage, origin: Origin, now: float) -> Admission:
        """Answer whether a client may come in; raises LoginRejected or LimitReached if not."""
        settings = self._registry.config.settings
        wishes, application_name = self._read_parameters(startup, settings, origin.address)
        user = startup.parameters.get("user", "")
        if not user:
            raise LoginRejected("no username supplied")
        if len(user.encode("utf-8", "surrogateescape")) > MAX_USER_NAME:
            raise LoginRejected("username too long")
        name = startup.parameters.get("database") or user
        if name == CONSOLE and user == CONSOLE and origin.is_own_user:
            # PgBouncer's way in for whoever started it: no list of users, no password.
            challenge = Challenge(Method.TRUST, user)
            return Admission(
                user, self._registry.console, True, challenge, wishes, application_name
            )
        if name == CONSOLE:
            return self._admit_to_console(user, settings, wishes, application_name)
        database = self._registry.find_database(name, now)
        if settings.auth_type is AuthType.ANY:
            user = database.settings.user or user  # who it says it is counts for nothing
        self.check_limits(database, user)
        if database.is_disabled:
            raise LoginRejected(f'database "{name}" is disabled')
        challenge = self._challenge(user, settings, database)
        return Admission(user, database, False, challenge, wishes, application_name)

    def remember_proof(self, admission: Admission, client_key: bytes) -> None:
        """Keep the key that a SCRAM login revealed: with it we log in to servers as that user.

        Only where the stored secret is PostgreSQL's own: a key against a secret that we derived
        from a plain password fits no server.
        """
        stored = self._registry.config.secrets.get(admission.user, "")
        secret = admission.challenge.scram_secret
        if secret is not None and classify_secret(stored) is SecretKind.SCRAM_SHA_256:
            self._registry.scram_keys[admission.user] = ScramKeys(client_key, secret.server_key)

    def _admit_to_console(
        self, user: str, settings: Settings, wishes: Values, application_name: str
    ) -> Admission:
        is_admin = user in settings.admin_users
        if not is_admin and user not in settings.stats_users:
            raise LoginRejected(
                "not allowed",
                detail=f'User "{user}" is in neither admin_users nor stats_users.',
            )
        console = self._registry.console
        if not is_admin:
            self.check_limits(console, user)
        challenge = self._challenge(user, settings, console)
        return Admission(user, console, True, challenge, wishes, application_name, not is_admin)

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
            raise LimitReached("no more connections allowed (max_client_conn)")
        limit = database.settings.max_db_client_connections or settings.max_db_client_connections
        if 0 < limit <= database.headcount.client_count:
            raise LimitReached("client connections exceeded (max_db_client_connections)")
        limit = (special.max_user_client_connections if special else None) or (
            settings.max_user_client_connections
        )
        if 0 < limit <= census.clients_of(user):
            raise LimitReached("client connections exceeded (max_user_client_connections)")

    # --- start-up parameters ---

    def _read_parameters(
        self, startup: StartupMessage, settings: Settings, address: tuple[str, int]
    ) -> tuple[Values, str]:
        """Return the tracked parameters a client asks for, and its application_name."""
        tracked = self._registry.tracked
        ignored = settings.ignore_startup_parameters
        wishes: dict[str, str] = {}
        is_replicating = Replication.asked_for(startup.parameters) is not None
        for name, value in startup.parameters.items():
            if name in ("user", "database", "replication") or name.startswith("_pq_."):
                continue
            if name == "options" and is_replicating:
                continue  # a server of its own takes whatever it may be
            if name == "options":
                self._read_options(value, wishes, ignored)
            elif tracked.is_tracked(name):
                wishes[name] = value
            elif name not in ignored:
                raise LoginRejected(f"unsupported startup parameter: {name}", hint=_hint(name))
        if settings.application_name_add_host:
            name = wishes.get("application_name", "app")
            wishes["application_name"] = f"{name} - {address[0]}:{address[1]}"
        return tracked.values_of(wishes), wishes.get("application_name", "")

    def _read_options(self, options: str, wishes: dict[str, str], ignored: tuple[str, ...]) -> None:
        """Read the `options` parameter, a command line of -c and -- settings."""
        for word in split_options(options):
            name, equals, value = word.partition("=")
            if not equals or not name:
                raise LoginRejected(_BAD_OPTIONS)
            if self._registry.tracked.is_tracked(name):
                wishes[name] = value
            elif name not in ignored and "options" not in ignored:
                raise LoginRejected(
                    f"unsupported startup parameter in options: {name}", hint=_hint(name)
                )

    # --- proof ---

    def _challenge(self, user: str, settings: Settings, database: Database) -> Challenge:
        """Return what the user must prove; users we do not know are asked like all others."""
        method = settings.auth_type
        secret = self._registry.config.secrets.get(user)
        if method is AuthType.ANY:
            if database is not self._registry.console and not database.settings.user:
                raise LoginRejected(
                    "bouncer config error",
                    detail="auth_type any ignores who the client is, so the database needs user=.",
                )
            return Challenge(Method.TRUST, user)
        if method is AuthType.TRUST:
            if secret is None:
                raise LoginRejected('"trust" authentication failed')
            return Challenge(Method.TRUST, user)
        kind = classify_secret(secret or "")
        if method is AuthType.PLAIN:
            return Challenge(Method.CLEARTEXT, user, secret)
        if method is AuthType.MD5 and kind is not SecretKind.SCRAM_SHA_256:
            return Challenge(Method.MD5, user, secret)
        return Challenge(
            Method.SCRAM, user, scram_secret=self._scram_secret(user, secret, kind, settings)
        )

    def _scram_secret(
        self, user: str, secret: str | None, kind: SecretKind, settings: Settings
    ) -> ScramSecret:
        if secret and kind is SecretKind.SCRAM_SHA_256:
            return ScramSecret.parse(secret)
        iterations = settings.scram_iterations
        if not secret or kind is SecretKind.MD5:
            return ScramSecret.mock(user, self._process_key, iterations)
        key = (user, secret, iterations)
        derived = self._derived.get(key)
        if derived is None:
            salt = derive_salt(user, self._process_key)
            derived = self._derived[key] = ScramSecret.from_password(secret, salt, iterations)
        return derived


def split_options(options: str) -> Iterator[str]:
    """Yield the `name=value` words of an `options` parameter; backslash escapes one character.

    Raises LoginRejected for anything but `-c name=value`, `-cname=value` and `--name=value`.
    """
    pos = 0
    end = len(options)
    while pos < end:
        if options[pos] in _BLANKS:
            pos += 1
            continue
        if not options.startswith(("-c", "--"), pos):
            raise LoginRejected(_BAD_OPTIONS)
        is_spaced = options[pos + 1] == "c"
        pos += 2
        while is_spaced and pos < end and options[pos] in _BLANKS:
            pos += 1
        word = ""
        while pos < end and options[pos] not in _BLANKS:
            if options[pos] == "\\":
                pos += 1
            word += options[pos : pos + 1]
            pos += 1
        yield word


def _hint(name: str) -> str:
    return (
        "A pooled server connection cannot take it over from each client. Set it with ALTER ROLE "
        f"or ALTER DATABASE, or add {name} to ignore_startup_parameters to have it dropped."
    )


def reject_unreported(registry: Registry, wishes: Values, welcome: Values) -> None:
    """Refuse a client whose wish this server could never be seen to keep."""
    name = registry.tracked.unreported(wishes, welcome)
    if name is not None:
        error: ClientError = LoginRejected(f"unsupported startup parameter: {name}")
        error.detail = "This PostgreSQL does not report that parameter, so it cannot be tracked."
        raise error
