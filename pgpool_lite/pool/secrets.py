"""What is known of each user's secret? The auth_file, what auth_query found, what logins revealed.

The registry owns one `Secrets`. Users of the auth_file are the same in every database; a secret
that auth_query found belongs to the database it was asked for, and is replaced at each login, as
PgBouncer does it. Whoever logs in to a server as one of these users finds here what proves it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from pgpool_lite.wire.passwords import SecretKind, classify_secret
from pgpool_lite.wire.scram import ScramKeys

#: Database and user; "" for a user of the auth_file, who is the same everywhere.
_Place = tuple[str, str]


class Secrets:
    """Stored secrets, and keys that log in to servers. Owned by the registry."""

    def __init__(self, listed: Mapping[str, str]) -> None:
        """Begin with the users of the auth_file."""
        self._listed = listed
        #: What auth_query found last. Only users that there are stand here.
        self._found: dict[_Place, str] = {}
        #: What SCRAM logins revealed; each goes when its user's secret changes.
        self._keys: dict[_Place, ScramKeys] = {}
        self._usual_kind: SecretKind | None = None

    def listed(self, user: str) -> str | None:
        """Return the secret in the auth_file, None for a user who is not there."""
        return self._listed.get(user)

    def of(self, database: str, user: str) -> str | None:
        """Return the secret of a user in this database, None if there is none that is known."""
        return self._listed.get(user, self._found.get((database, user)))

    def remember_found(self, database: str, user: str, secret: str | None) -> None:
        """Keep what auth_query found; None for a user who has no password, or one that expired."""
        place = database, user
        if self._found.get(place) != secret:
            self._keys.pop(place, None)
        if secret is None:
            self._found.pop(place, None)
        else:
            self._found[place] = secret

    def keys_of(self, database: str, user: str) -> ScramKeys | None:
        """Return the keys that log in to a server as this user, if a login has revealed them."""
        return self._keys.get(self._place(database, user))

    def remember_keys(self, database: str, user: str, keys: ScramKeys) -> None:
        """Keep the keys that a login against PostgreSQL's own secret revealed."""
        self._keys[self._place(database, user)] = keys

    def reload(self, listed: Mapping[str, str]) -> None:
        """Follow a new auth_file; keys of a secret that changed fit no longer."""
        for database, user in list(self._keys):
            if not database and listed.get(user) != self._listed.get(user):
                del self._keys[database, user]
        self._listed = listed
        self._usual_kind = None

    @property
    def usual_kind(self) -> SecretKind:
        """The kind that most users of the auth_file have: one who is not there looks like them."""
        if self._usual_kind is None:
            kinds = Counter(classify_secret(secret) for secret in self._listed.values() if secret)
            self._usual_kind = kinds.most_common(1)[0][0] if kinds else SecretKind.PLAIN
        return self._usual_kind

    def _place(self, database: str, user: str) -> _Place:
        return ("" if user in self._listed else database), user
