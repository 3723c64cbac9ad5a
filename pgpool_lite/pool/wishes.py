"""What does a client want of its session? The parameters in its StartupMessage, and `options`.

Called by `admission`, once per client. Only parameters that PostgreSQL reports can follow a client
from server to server, without follow_unreported_parameters; others are refused by name, unless
`ignore_startup_parameters` drops them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pgpool_lite.config import Settings
from pgpool_lite.errors import LoginRejected
from pgpool_lite.session.parameters import TrackedParameters, Values
from pgpool_lite.session.replication import Replication
from pgpool_lite.wire.frontend import REMEMBERED, StartupMessage

#: What C's isspace() takes for a blank.
_BLANKS: Final = " \t\n\v\f\r"

_BAD_OPTIONS: Final = (
    "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed"
)


class KnownWishes:
    """What `read_wishes` has found, for clients that say the same. Owned by the doorkeeper."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._settings: Settings | None = None
        self._found: dict[StartupMessage, tuple[Values, str]] = {}

    def __len__(self) -> int:
        """Return how many StartupMessages are known."""
        return len(self._found)

    def read(
        self,
        startup: StartupMessage,
        settings: Settings,
        tracked: TrackedParameters,
        address: tuple[str, int],
    ) -> tuple[Values, str]:
        """Return what `read_wishes` does; 4,500 instructions less if it has been asked before.

        `startup` is the one object that `decode_startup` returns for a packet. Forgets everything
        once the settings change. Raises LoginRejected as `read_wishes` does.
        """
        if settings is not self._settings or len(self._found) > REMEMBERED:
            self._settings = settings
            self._found.clear()
        found = self._found.get(startup)
        if found is None:
            found = read_wishes(startup, settings, tracked, address)
            if not settings.application_name_add_host:  # else it is about the address too
                self._found[startup] = found
        return found


def read_wishes(
    startup: StartupMessage,
    settings: Settings,
    tracked: TrackedParameters,
    address: tuple[str, int],
) -> tuple[Values, str]:
    """Return the tracked parameters a client asks for, and its application_name.

    Raises LoginRejected for a parameter that cannot be followed.
    """
    ignored = settings.ignore_startup_parameters
    wishes: dict[str, str] = {}
    is_replicating = Replication.asked_for(startup.parameters) is not None
    for name, value in startup.parameters.items():
        if name in ("user", "database", "replication") or name.startswith("_pq_."):
            continue
        if name == "options" and is_replicating:
            continue  # a server of its own takes whatever it may be
        if name == "options":
            _read_options(value, wishes, tracked, ignored)
        elif tracked.is_tracked(name):
            wishes[name] = value
        elif name in ignored:
            continue
        elif tracked.takes_unreported(name):
            wishes[name] = value
        else:
            raise LoginRejected(f"unsupported startup parameter: {name}", hint=_hint(name))
    if settings.application_name_add_host:
        name = wishes.get("application_name", "app")
        wishes["application_name"] = f"{name} - {address[0]}:{address[1]}"
    return tracked.wishes_of(wishes), wishes.get("application_name", "")


def _read_options(
    options: str, wishes: dict[str, str], tracked: TrackedParameters, ignored: tuple[str, ...]
) -> None:
    """Read the `options` parameter, a command line of -c and -- settings."""
    for word in split_options(options):
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise LoginRejected(_BAD_OPTIONS)
        if tracked.is_tracked(name):
            wishes[name] = value
        elif name in ignored or "options" in ignored:
            continue
        elif tracked.takes_unreported(name):
            wishes[name] = value
        else:
            raise LoginRejected(
                f"unsupported startup parameter in options: {name}", hint=_hint(name)
            )


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


def reject_unreported(tracked: TrackedParameters, wishes: Values, welcome: Values) -> None:
    """Refuse a client whose wish this server could never be seen to keep."""
    name = tracked.unreported(wishes, welcome)
    if name is not None:
        raise LoginRejected(
            f"unsupported startup parameter: {name}",
            detail="This PostgreSQL does not report that parameter, so it cannot be tracked.",
        )


#: Who sends a parameter, and how it is left out; by name.
_SENDERS: Final = {
    "extra_float_digits": "JDBC and ODBC drivers send it, and lose nothing when it is dropped.",
    "search_path": "Prisma's ?schema=, Django's OPTIONS and -c search_path send it; name the schema"
    " in the models instead (schema=, db_table, @@schema).",
    "statement_timeout": "pg, postgres.js and Django's OPTIONS send it where they are told to; SET"
    " LOCAL statement_timeout in each transaction works.",
    "idle_in_transaction_session_timeout": "pg sends it where it is told to;"
    " idle_transaction_timeout of the pooler does the same.",
    "lock_timeout": "SET LOCAL lock_timeout in each transaction works.",
    "jit": "With asyncpg it is one of server_settings; leave it out there.",
}


def _hint(name: str) -> str:
    sender = f" {_SENDERS[name]}" if name in _SENDERS else ""
    return (
        f"Set it with ALTER ROLE or ALTER DATABASE, or add {name} to ignore_startup_parameters to"
        f" have it dropped.{sender}"
    )
