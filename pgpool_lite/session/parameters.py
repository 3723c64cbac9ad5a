"""Which session parameters follow a client from server to server, and how a server is told.

PostgreSQL reports some parameters to its client whenever they change (ParameterStatus; PostgreSQL
documentation, "Asynchronous Operations"). Only of those can a pooler know the value, so only those
can follow a client: those named here (search_path is reported since PostgreSQL 18), and what
`track_extra_parameters` adds. A connection's values are one tuple in the order of
`TrackedParameters.names`, so the usual question at link time, "does this server already have this
client's values?", is one comparison of two tuples whose items are mostly the same objects.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

#: None: the server does not report this parameter, so it is left alone.
Values = tuple[str | None, ...]

_ALWAYS: Final = (
    "client_encoding",
    "DateStyle",
    "TimeZone",
    "IntervalStyle",
    "standard_conforming_strings",
    "application_name",
    "search_path",
)

#: Where application_name stands in every `Values`.
APPLICATION_NAME: Final = _ALWAYS.index("application_name")

#: More different sets of values than any application has; it bounds what is kept of them.
MAX_KNOWN: Final = 1_000

#: A SET of these takes each string as one quoted name, so the whole list goes through set_config.
_NAME_LISTS: Final = frozenset({"search_path"})


class TrackedParameters:
    """The names that are tracked; made once from settings, shared by all sessions."""

    def __init__(self, extra: Collection[str] = ()) -> None:
        """Track the usual names and those of `track_extra_parameters`."""
        names = {name.lower(): name for name in (*_ALWAYS, *extra)}
        self.names: Final = tuple(names.values())
        self._position: Final = {name: index for index, name in enumerate(names)}
        self._extra: Final = frozenset(name.lower() for name in extra)
        #: One object for each set of values, as long as there are not too many of them.
        self._known: dict[Values, Values] = {}

    def is_tracked(self, name: str) -> bool:
        """Say whether a parameter follows its client; parameter names ignore case."""
        return name.lower() in self._position

    def takes_unreported(self, name: str) -> bool:
        """Say whether a parameter that is not tracked follows its client; see `following`."""
        return False

    def has_unreported(self, values: Values) -> bool:
        """Say whether there is any such parameter among these values."""
        return False

    def wishes_of(self, parameters: dict[str, str]) -> Values:
        """Return what a client asks for at its login."""
        return self.values_of(parameters)

    def follows(self, values: Values, name: str) -> bool:
        """Say whether a parameter follows the client that has these values: the server reports it.

        `name` as SET takes it, in lower case.
        """
        index = self._position.get(name)
        return index is not None and values[index] is not None

    def values_of(self, parameters: dict[str, str]) -> Values:
        """Return the tracked ones of `parameters`, None for those that it lacks."""
        values: list[str | None] = [None] * len(self.names)
        for name, value in parameters.items():
            index = self._position.get(name.lower())
            if index is not None:
                values[index] = value
        return self._one(tuple(values))

    def with_value(self, values: Values, name: str, value: str) -> Values:
        """Return `values` with one of them changed, or `values` itself if `name` is not tracked."""
        index = self._position.get(name.lower())
        if index is None or values[index] == value:
            return values
        return self._one((*values[:index], value, *values[index + 1 :]))

    def filled(self, wanted: Values, welcome: Values) -> Values:
        """Return a client's first values: its own wishes, and for the rest what the server has."""
        return self._one(
            tuple(
                welcome_value if wish is None or welcome_value is None else wish
                for wish, welcome_value in zip(wanted, welcome, strict=True)
            )
        )

    def _one(self, values: Values) -> Values:
        """Return the one object for these values, so that `is` compares them in the usual case."""
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()  # somebody makes up values; equal ones are then compared by `==`
        return self._known.setdefault(values, values)

    def unreported(self, wanted: Values, welcome: Values) -> str | None:
        """Return the name of a wish that cannot be met: the server does not report it.

        One that `track_extra_parameters` names is never returned: as in PgBouncer, whoever wrote
        it there accepts that older servers leave it alone.
        """
        for name, wish, welcome_value in zip(self.names, wanted, welcome, strict=True):
            if wish is not None and welcome_value is None and name.lower() not in self._extra:
                return name
        return None

    def named(self, values: Values) -> dict[str, str]:
        """Return the known ones of `values` under their names."""
        return {
            name: value for name, value in zip(self.names, values, strict=True) if value is not None
        }

    def difference_sql(self, wanted: Values, present: Values) -> str:
        """Return the statements that give a server with `present` the values `wanted`, or ''."""
        changes = (
            _set_sql(name, value)
            for name, value, old in zip(self.names, wanted, present, strict=True)
            if value is not None and old is not None and value != old
        )
        return ";".join(changes)

    def adopted(self, wanted: Values, present: Values) -> Values:
        """Return a server's values once `difference_sql` is sent; what it reports, it will say."""
        return present

    def spelled(self, wanted: Values, present: Values) -> Values:
        """Return a client's values once its server has taken them: as the server spells them."""
        return present

    def may_fail(self, wanted: Values, present: Values) -> bool:
        """Say whether the server could refuse a wished value: any but application_name, which
        takes every string.
        """
        return any(
            value != old and value is not None and old is not None and name != "application_name"
            for name, value, old in zip(self.names, wanted, present, strict=True)
        )


def _set_sql(name: str, value: str) -> str:
    if name in _NAME_LISTS:
        return f"SELECT pg_catalog.set_config({quote_literal(name)}, {quote_literal(value)}, false)"
    return f"SET {name}={quote_literal(value)}"


def quote_literal(text: str) -> str:
    """Return an SQL string that means `text` whatever standard_conforming_strings says."""
    quoted = "'" + text.replace("'", "''") + "'"
    return "E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted
