"""What is a client told when it is in? What its server told us, changed by what it wished for.

Called once per client that has proved itself. The clients of a pool come with few different wishes,
mostly those of one driver, so what they are told is made once for each and kept as bytes: to put
it together costs more than all the rest of a login (15 ParameterStatus messages: 40 us interpreted,
`bench.logins`), to find it one look into a dict.
"""

from __future__ import annotations

from typing import Final

from pgpool_lite.pool.wishes import reject_unreported
from pgpool_lite.session.parameters import TrackedParameters, Values
from pgpool_lite.version import PGBOUNCER_VERSION
from pgpool_lite.wire import backend

#: Half a kilobyte each. Clients with more different wishes are those whose application_name holds
#: a number of their own, and of these none comes twice.
MAX_KEPT: Final = 32

#: Parameters of a pool, by name: PgBouncer's words about it.
Told = tuple[tuple[str, str], ...]


class Welcome:
    """What one client hears, and what its session begins with. Never changed."""

    __slots__ = ("is_proven", "messages", "parameters")

    def __init__(self, parameters: Values, messages: bytes, *, is_proven: bool) -> None:
        """Put together what has been found out."""
        #: The tracked parameters: the client's wishes, and for the rest what the server has.
        self.parameters = parameters
        #: AuthenticationOk, and a ParameterStatus for each parameter.
        self.messages = messages
        #: Servers have these values, or take any: a SET of them cannot fail.
        self.is_proven = is_proven


class Welcomes:
    """The welcomes of one pool's clients. Owned by the pool."""

    __slots__ = ("_kept", "_reported", "_told")

    def __init__(self) -> None:
        """Have made none yet."""
        self._kept: dict[Values, Welcome] = {}
        # What they were made from: the very objects, which are replaced and never changed.
        self._reported: dict[str, str] | None = None
        self._told: Told = ()

    def find(
        self, tracked: TrackedParameters, reported: dict[str, str], told: Told, wishes: Values
    ) -> Welcome:
        """Return the welcome of a client with these wishes.

        `reported` is what the server reported at its login, `told` what is said of the pool. Raises
        LoginRejected for a wish that this server could never be seen to keep.
        """
        if reported is not self._reported or told is not self._told:
            self._kept.clear()
            self._reported, self._told = reported, told
        welcome = self._kept.get(wishes)
        if welcome is None:
            reject_unreported(tracked, wishes, tracked.values_of(reported))
            welcome = make_welcome(tracked, reported, told, wishes)
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[wishes] = welcome
        return welcome


def make_welcome(
    tracked: TrackedParameters, reported: dict[str, str], told: Told, wishes: Values
) -> Welcome:
    """Return a welcome, whether the server can be seen to keep all wishes or not."""
    known = tracked.values_of(reported)
    parameters = tracked.filled(wishes, known)
    shown = {
        "pgbouncer.version": PGBOUNCER_VERSION,
        **reported,
        **dict(told),
        **tracked.named(parameters),
    }
    statuses = [backend.parameter_status(name, value) for name, value in shown.items()]
    messages = b"".join((backend.AUTHENTICATION_OK, *statuses))
    return Welcome(parameters, messages, is_proven=not tracked.may_fail(wishes, known))
