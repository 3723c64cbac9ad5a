"""How do settings come by their values? From a file, from SET, from keywords, from a reload.

`load.py` calls `parse_settings`, the console calls `with_setting` and `config_rows`, the library
API calls `from_keywords`, and the runtime calls `reload_settings`. All of them work from the one
table in `settings.py` and answer with new `Settings`; none of them opens a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from pgpool_lite.config.ini import Located
from pgpool_lite.config.profiles import default_values
from pgpool_lite.config.settings import Settings
from pgpool_lite.config.table import read_value, table_of, unknown, values_of
from pgpool_lite.errors import ConfigError

_TABLE = table_of(Settings)
PROFILE_KEY: Final = "profile"
# The values come out of the table, each read by its own field's kind: a type checker cannot see
# that through a dictionary, and need not.
_make: Callable[..., Settings] = Settings


# Where nothing is set, PgBouncer shows NULL for these, and an empty text for the others.
_NULL_WHEN_UNSET = frozenset(
    {"auth_dbname", "auth_file", "auth_ident_file", "auth_ldap_options", "auth_user"}
    | {"client_tls13_ciphers", "server_tls13_ciphers", "conffile", "user", "verbose"}
)


class ConfigRow(NamedTuple):
    """One row of SHOW CONFIG, all text or NULL."""

    key: str
    value: str | None
    default: str | None
    changeable: str


def parse_settings(items: Mapping[str, Located]) -> tuple[Settings, tuple[str, ...]]:
    """Return the settings of a [pgbouncer] section, and a warning for each unknown key.

    A value that is not allowed is a ConfigError with its file, line and key. PgBouncer refuses to
    start over an unknown key; a file may name settings of another version, so we only warn. Where
    nothing is said, a profile that is named decides.
    """
    values: dict[str, object] = {}
    if PROFILE_KEY in items:
        profile = read_value(_TABLE, items[PROFILE_KEY])
        for key, text in default_values(str(profile)).items():
            values[key] = read_value(_TABLE, Located(key, text))
    warnings: list[str] = []
    for entry in items.values():
        if entry.key in _TABLE:
            values[entry.key] = read_value(_TABLE, entry)
        else:
            sentence = f"{unknown('setting', entry.key, _TABLE)}; ignored"
            warnings.append(
                str(ConfigError(sentence, file=entry.file, line=entry.line, key=entry.key))
            )
    return _make(**values), tuple(warnings)


def with_setting(settings: Settings, key: str, text: str) -> Settings | None:
    """Return the settings with one changed by the console's SET.

    None when only a start can change it; raises ConfigError for another key or a bad value.
    """
    _refuse_unknown(key)
    if key == PROFILE_KEY:
        raise ConfigError("it is chosen at the start, or in the file by RELOAD", key=key)
    if not _TABLE[key].changeable:
        return None
    return _make(**{**values_of(settings), key: read_value(_TABLE, Located(key, text))})


def from_keywords(**settings: object) -> Settings:
    """Return the settings given as Python values: text, numbers, booleans, lists of names."""
    return with_keywords(Settings(), {**profile_defaults(settings), **settings})


def profile_defaults(keywords: Mapping[str, object]) -> Mapping[str, object]:
    """Return what the profile that keywords name, if any, has for settings they do not name."""
    return default_values(str(keywords[PROFILE_KEY])) if PROFILE_KEY in keywords else {}


def with_keywords(base: Settings, keywords: Mapping[str, object]) -> Settings:
    """Return `base` changed by keywords; every value is held to the rules of a file's."""
    values = values_of(base)
    for key, value in keywords.items():
        _refuse_unknown(key)
        values[key] = read_value(_TABLE, Located(key, _text_of(key, value)))
    return _make(**values)


def reload_settings(old: Settings, new: Settings) -> tuple[Settings, list[str]]:
    """Return `new` with what only a start can change kept from `old`, and the keys kept so."""
    before, after = values_of(old), values_of(new)
    kept = [
        key for key, entry in _TABLE.items() if not entry.changeable and before[key] != after[key]
    ]
    return _make(**{**after, **{key: before[key] for key in kept}}), kept


def config_rows(settings: Settings) -> list[ConfigRow]:
    """Return the rows of SHOW CONFIG, sorted by key; a secret's value is not among them."""
    values = values_of(settings)
    rows: list[ConfigRow] = []
    for key, entry in sorted(_TABLE.items()):
        default = entry.default_text
        if default is None:
            default = entry.show(entry.default)
        changeable = "yes" if entry.changeable else "no"
        value = entry.show(values[key])
        rows.append(ConfigRow(key, _or_null(key, value), _or_null(key, default), changeable))
    return rows


def _or_null(key: str, text: str) -> str | None:
    return None if not text and key in _NULL_WHEN_UNSET else text


def is_setting(key: str) -> bool:
    """Say whether there is a setting of that name."""
    return key in _TABLE


def _refuse_unknown(key: str) -> None:
    """Raise for a key that is no setting."""
    if not is_setting(key):
        raise ConfigError(unknown("setting", key, _TABLE), key=key)


def _text_of(key: str, value: object) -> str:
    """Return a keyword's value as it would stand in a file."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, tuple | list) and all(isinstance(name, str) for name in value):
        return ",".join(value)
    message = f"expected text, a number, a boolean or a list of names, not {type(value).__name__}"
    raise ConfigError(message, key=key)
