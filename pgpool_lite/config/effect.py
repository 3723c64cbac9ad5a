"""Which settings are read and shown, but do nothing in this version? Start-up says so.

A setting in the table keeps a PgBouncer file loadable; silence about it would make a promise the
program does not keep. Making a setting work ends with deleting its line here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pgpool_lite.config.settings import Settings
from pgpool_lite.config.table import table_of

_DH = "TLS 1.2 is offered with elliptic curves only"
_AUTH_METHOD = "the auth_type it belongs to is not supported"
_BUFFERS = "asyncio sizes its own buffers"
_DNS = "host names are looked up by the operating system, which tells of no zones"
_WINDOWS = "there is no Windows service"

# Key, and why it does nothing.
NOT_IN_EFFECT: Mapping[str, str] = {
    "auth_ldap_options": _AUTH_METHOD,
    "client_tls_dheparams": _DH,
    "dns_zone_check_period": _DNS,
    "job_name": _WINDOWS,
    "pkt_buf": _BUFFERS,
    "resolv_conf": "host names are looked up as the operating system is configured to",
    "sbuf_loopcnt": _BUFFERS,
}

# Of these, the ones that nobody misses: they tune PgBouncer's own insides, or name a Windows
# service. Whoever set them has lost nothing, so start-up does not warn.
OF_NO_CONCERN: frozenset[str] = frozenset({"job_name", "pkt_buf", "sbuf_loopcnt"})


def settings_without_effect(settings: Settings) -> list[str]:
    """Return a sentence to warn of each setting that was changed to no effect."""
    return _without_effect(settings, NOT_IN_EFFECT.keys() - OF_NO_CONCERN)


def settings_of_no_concern(settings: Settings) -> list[str]:
    """Return the same for those that nobody need be warned of."""
    return _without_effect(settings, OF_NO_CONCERN)


def _without_effect(settings: Settings, keys: Collection[str]) -> list[str]:
    table = table_of(Settings)
    return [
        f"{key} does nothing: {reason}"
        for key, reason in NOT_IN_EFFECT.items()
        if key in keys and getattr(settings, key) != table[key].default
    ]
