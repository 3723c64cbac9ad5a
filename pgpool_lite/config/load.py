"""What is the whole configuration of a run? Puts it together from a file, or from one URL.

The runtime calls `load` at start-up and at every reload, and `config_for_url` when there is no
file. This is the one module of the floor that knows all the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pgpool_lite.config.assign import (
    PROFILE_KEY,
    parse_settings,
    profile_defaults,
    with_keywords,
)
from pgpool_lite.config.databases import (
    FALLBACK,
    RESERVED_DATABASE,
    DatabaseSettings,
    PeerSettings,
    UserSettings,
    parse_database,
    parse_peer,
    parse_user,
)
from pgpool_lite.config.effect import (
    settings_of_no_concern,
    settings_without_effect,
)
from pgpool_lite.config.hba import HbaRules, read_hba
from pgpool_lite.config.ident import read_ident
from pgpool_lite.config.ini import Located, Section, read_ini
from pgpool_lite.config.settings import Settings
from pgpool_lite.config.url import parse_url
from pgpool_lite.config.userlist import read_userlist
from pgpool_lite.config.values import AuthType, SslMode
from pgpool_lite.errors import ConfigError

MAIN_SECTION = "pgbouncer"
SECTIONS = ("databases", "users", "peers", MAIN_SECTION)
NO_OVERRIDES: Mapping[str, object] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One configuration, whole and checked; a reload makes another."""

    settings: Settings
    # By the name clients connect to, without the fallback.
    databases: Mapping[str, DatabaseSettings] = field(default_factory=dict)
    # The "*" entry; None when a database without an entry of its own is unknown.
    fallback: DatabaseSettings | None = None
    users: Mapping[str, UserSettings] = field(default_factory=dict)
    peers: Mapping[int, PeerSettings] = field(default_factory=dict)
    # auth_file: plain passwords, md5 hashes or SCRAM secrets by user.
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    # auth_hba_file with its auth_ident_file, read where auth_type is hba.
    hba: HbaRules = field(default_factory=HbaRules)
    # The file it was read from.
    path: Path | None = None
    # What start-up should tell, one sentence each.
    warnings: tuple[str, ...] = ()
    # What is only worth a line to whoever looks closely.
    remarks: tuple[str, ...] = ()

    def database(self, name: str) -> DatabaseSettings | None:
        """Return where clients of the database `name` are led, None when it is unknown."""
        if name in self.databases:
            return self.databases[name]
        return self.fallback.named(name) if self.fallback else None


def load(path: Path, overrides: Mapping[str, object] = NO_OVERRIDES) -> Config:
    """Read the file, its includes, and the files that say who may come in.

    `overrides` are settings that win over the file's. ConfigError says where something is wrong.
    """
    sections = read_ini(path)
    _refuse_unknown_sections(sections, path)
    settings, unknown_keys = parse_settings(_main_entries(sections) | _profile_in(overrides))
    settings = with_keywords(settings, overrides)
    _refuse_unproven_certificates(settings)
    hba = _read_hba(settings)
    databases = {
        name: parse_database(entry) for name, entry in _entries(sections, "databases").items()
    }
    users = {name: parse_user(entry) for name, entry in _entries(sections, "users").items()}
    peers = [parse_peer(entry) for entry in _entries(sections, "peers").values()]
    warnings = [*_forgotten_settings(sections), *unknown_keys, *settings_without_effect(settings)]
    warnings += hba.warnings
    return Config(
        settings=replace(settings, conffile=settings.conffile or str(path)),
        fallback=databases.pop(FALLBACK, None),
        databases=databases,
        users=users,
        peers={peer.peer_id: peer for peer in peers},
        secrets=_read_secrets(settings),
        hba=hba,
        path=path,
        warnings=tuple(warnings),
        remarks=tuple(settings_of_no_concern(settings)),
    )


def config_for_url(url: str, /, **settings: object) -> Config:
    """Return the configuration that forwards every database to the URL's server.

    All clients become the URL's user there. With a password in the URL, clients have to know it
    and say it by SCRAM; without one, anybody may come in, under any name. Keywords are settings,
    and win; the files that they name are read as `load` reads them.
    """
    database, url_warnings = parse_url(url)
    if database.name == RESERVED_DATABASE:
        raise ConfigError(f'the database name "{RESERVED_DATABASE}" is reserved for the console')
    user, password = database.user or "", database.password
    kind_defaults: dict[str, object] = {
        "pool_mode": "transaction",
        "ignore_startup_parameters": "extra_float_digits",
        "auth_type": "scram-sha-256" if password else "any",
        "admin_users": [user],
    }
    chosen = with_keywords(Settings(), {**kind_defaults, **profile_defaults(settings), **settings})
    _refuse_unproven_certificates(chosen)
    hba = _read_hba(chosen)
    own_secret = {user: password} if password else {}
    return Config(
        settings=chosen,
        databases={database.name: database},
        fallback=replace(database, name=FALLBACK, dbname=""),
        secrets={**own_secret, **_read_secrets(chosen)},
        hba=hba,
        warnings=(*url_warnings, *settings_without_effect(chosen), *hba.warnings),
        remarks=tuple(settings_of_no_concern(chosen)),
    )


def _profile_in(overrides: Mapping[str, object]) -> dict[str, Located]:
    """Return the profile that is named outside of the file: what the file sets goes before it."""
    if PROFILE_KEY not in overrides:
        return {}
    return {PROFILE_KEY: Located(PROFILE_KEY, str(overrides[PROFILE_KEY]))}


def _read_secrets(settings: Settings) -> dict[str, str]:
    return read_userlist(Path(settings.auth_file)) if settings.auth_file else {}


def _read_hba(settings: Settings) -> HbaRules:
    """Return the rules of auth_type hba; none for any other, whose files are not looked at."""
    if settings.auth_type is not AuthType.HBA:
        return HbaRules()
    if not settings.auth_hba_file:
        raise ConfigError("auth_type hba needs it", key="auth_hba_file")
    ident_file = settings.auth_ident_file
    maps = read_ident(Path(ident_file)) if ident_file else {}
    return read_hba(Path(settings.auth_hba_file), maps)


def _refuse_unproven_certificates(settings: Settings) -> None:
    """Raise where auth_type is cert and nobody checks certificates: anyone could make one."""
    if settings.auth_type is not AuthType.CERT:
        return
    if settings.client_tls_sslmode is not SslMode.VERIFY_FULL:
        raise ConfigError("auth_type=cert requires verify-full", key="client_tls_sslmode")
    if not settings.client_tls_ca_file:
        raise ConfigError("auth_type=cert requires it", key="client_tls_ca_file")


def _refuse_unknown_sections(sections: list[Section], path: Path) -> None:
    """Raise for a section PgBouncer does not have, and for a file without the main one."""
    for section in sections:
        if section.name not in SECTIONS:
            allowed = ", ".join(f"[{name}]" for name in SECTIONS)
            message = f"unknown section [{section.name}]; expected one of {allowed}"
            raise ConfigError(message, file=section.file, line=section.line)
    if not any(section.name == MAIN_SECTION for section in sections):
        raise ConfigError(f"expected a [{MAIN_SECTION}] section", file=path)


def _entries(sections: list[Section], name: str) -> dict[str, Located]:
    """Return the entries of all sections of that name; of two with one key the last counts."""
    named = (section for section in sections if section.name == name)
    return {entry.key: entry for section in named for entry in section.entries}


def _main_entries(sections: list[Section]) -> dict[str, Located]:
    """Return the settings of the last [pgbouncer]: each one starts from the defaults again."""
    return _entries(
        [section for section in sections if section.name == MAIN_SECTION][-1:], MAIN_SECTION
    )


def _forgotten_settings(sections: list[Section]) -> list[str]:
    """Return a warning if a second [pgbouncer] makes PgBouncer, and us, forget settings."""
    last = [section for section in sections if section.name == MAIN_SECTION][-1]
    forgotten = sorted(_entries(sections, MAIN_SECTION).keys() - _main_entries(sections).keys())
    if not forgotten:
        return []
    message = f"[{MAIN_SECTION}] starts again, which forgets what it set above: "
    return [str(ConfigError(message + ", ".join(forgotten), file=last.file, line=last.line))]
