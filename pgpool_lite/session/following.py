"""How do parameters follow a client that PostgreSQL does not report? follow_unreported_parameters.

statement_timeout, search_path (before PostgreSQL 18) and `my.tenant` are never told by the server,
so nobody could say what one has, were it not written down. Here it is, as one more item of `Values`
behind the reported ones: the settings a client wants beside what the server comes with, and those
that we know a server to have. So link time compares one tuple as ever, and `difference_sql` tells
how to make them equal: RESET of what is another client's, then set_config of this one's.

Who writes it down: `pool/wishes.py` what a client asks for at its login, `pool/following.py` what
its SET and RESET have done. What a client asked for at login is its default, as in PostgreSQL: a
RESET gives it that.
"""

from __future__ import annotations

from typing import Final

from pgpool_lite.session.parameters import TrackedParameters, Values, quote_literal

#: Settings that one client may have follow it, and the bytes of their names and values.
MAX_SETTINGS: Final = 100
MAX_BYTES: Final = 16_384

#: Settings that no SET or RESET gives back: their value cannot be asked for, or is a
#: transaction's. A client cannot ask for them at its login either: the next one's link would fail.
NEVER_FOLLOWED: Final = frozenset(
    {
        *("seed", "role", "session_authorization", "is_superuser"),
        *("transaction_isolation", "transaction_read_only", "transaction_deferrable"),
    }
)


class FollowedParameters(TrackedParameters):
    """Tracks what PostgreSQL reports, and everything else besides."""

    def takes_unreported(self, name: str) -> bool:
        """Say whether a parameter follows its client even if PostgreSQL does not report it."""
        return name.lower() not in NEVER_FOLLOWED

    def has_unreported(self, values: Values) -> bool:
        """Say whether there is any parameter among these values that is not reported."""
        return bool(values[-1])

    def values_of(self, parameters: dict[str, str]) -> Values:
        """Return the reported ones of `parameters`; of others nothing is wanted, or known."""
        return self._one((*super().values_of(parameters), ""))

    def wishes_of(self, parameters: dict[str, str]) -> Values:
        """Return all that a client asks for at its login."""
        settings = {
            name.lower(): value for name, value in parameters.items() if not self.is_tracked(name)
        }
        return self._one((*super().values_of(parameters), pack(settings)))

    def filled(self, wanted: Values, welcome: Values) -> Values:
        """Return a client's first values; wishes that the server does not report join the rest."""
        settings = unpack(wanted[-1])
        for name, wish, value in zip(self.names, wanted[:-1], welcome[:-1], strict=True):
            if wish is not None and value is None:
                settings[name.lower()] = wish
        return self._one((*super().filled(wanted[:-1], welcome[:-1]), pack(settings)))

    def unreported(self, wanted: Values, welcome: Values) -> str | None:
        """Return None: every wish can be met."""
        return None

    def named(self, values: Values) -> dict[str, str]:
        """Return the known ones of `values` under their names, the unreported behind the others."""
        return {**super().named(values[:-1]), **unpack(values[-1])}

    def settings_of(self, values: Values) -> dict[str, str]:
        """Return the unreported ones of `values`, under their names in lower case."""
        return unpack(values[-1])

    def with_settings(self, values: Values, settings: dict[str, str]) -> Values:
        """Return `values` with these for the unreported ones."""
        packed = pack(settings)
        return values if packed == values[-1] else self._one((*values[:-1], packed))

    def difference_sql(self, wanted: Values, present: Values) -> str:
        """Return the statements that give a server with `present` the values `wanted`, or ''."""
        reported = super().difference_sql(wanted[:-1], present[:-1])
        if wanted[-1] == present[-1]:
            return reported
        mine, there = unpack(wanted[-1]), unpack(present[-1])
        changes = [f"RESET {_quoted(name)}" for name in there if name not in mine]
        calls = [
            f"pg_catalog.set_config({quote_literal(name)},{quote_literal(value)},false)"
            for name, value in mine.items()
            if there.get(name) != value
        ]
        if calls:
            changes.append("SELECT " + ",".join(calls))
        if reported:
            changes.append(reported)
        return ";".join(changes)

    def adopted(self, wanted: Values, present: Values) -> Values:
        """Return a server's values once `difference_sql` is sent; a server that refuses closes."""
        return self._one((*present[:-1], wanted[-1]))

    def spelled(self, wanted: Values, present: Values) -> Values:
        """Return a client's values as its server spells the reported ones.

        Of the others the client knows best: a RESET of its own may be answered already.
        """
        return self._one((*present[:-1], wanted[-1]))

    def may_fail(self, wanted: Values, present: Values) -> bool:
        """Say whether the server could refuse a wished value, be it reported or not."""
        unknown = any(
            wish is not None and value is None
            for wish, value in zip(wanted[:-1], present[:-1], strict=True)
        )
        return (
            unknown
            or (wanted[-1] not in ("", present[-1]))
            or super().may_fail(wanted[:-1], present[:-1])
        )


def pack(settings: dict[str, str]) -> str:
    """Return settings as one string that is the same for the same settings."""
    return "\0".join(f"{name}\0{value}" for name, value in sorted(settings.items()))


def unpack(packed: str | None) -> dict[str, str]:
    """Reverse `pack`."""
    if not packed:
        return {}
    parts = packed.split("\0")
    return dict(zip(parts[::2], parts[1::2], strict=True))


def fits(settings: dict[str, str]) -> bool:
    """Say whether so much may follow a client; it is sent at each change of servers."""
    return len(settings) <= MAX_SETTINGS and len(pack(settings)) <= MAX_BYTES


def _quoted(name: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))
