"""The configuration: PgBouncer 1.26.1's files, or keywords, as frozen dataclasses.

load.py       the whole of it: `load(path)`, `config_for_url(url)`, `Config`
├── ini.py        sections and entries with their file and line
├── assign.py     entries, SET, keywords and reloads to `Settings`; SHOW CONFIG
│   └── settings.py   every setting, one line each
├── databases.py  [databases], [users], [peers]
├── url.py        postgresql:// to a database
├── userlist.py   auth_file
├── hba.py        auth_hba_file
│   └── ident.py      auth_ident_file
├── profiles.py   defaults and sentences of other poolers: profiles/*.toml
└── effect.py     what is read and shown but does nothing yet
values.py and table.py: the kinds of values, and how a dataclass is a table of keys
words.py: how lines of auth_hba_file and auth_ident_file are cut
"""

from pgpool_lite.config.assign import (
    ConfigRow,
    config_rows,
    from_keywords,
    parse_settings,
    reload_settings,
    with_keywords,
    with_setting,
)
from pgpool_lite.config.databases import DatabaseSettings, PeerSettings, UserSettings
from pgpool_lite.config.effect import NOT_IN_EFFECT, settings_without_effect
from pgpool_lite.config.hba import Arrival, HbaMethod, HbaRule
from pgpool_lite.config.load import Config, config_for_url, load
from pgpool_lite.config.settings import Settings
from pgpool_lite.config.url import parse_url
from pgpool_lite.config.values import (
    AuthType,
    LoadBalanceHosts,
    PoolMode,
    PreparedStatementErrors,
    PreparedStatements,
    SessionLeaks,
    SqlPreparedStatements,
    SslMode,
    SslNegotiation,
)

__all__ = [
    "NOT_IN_EFFECT",
    "Arrival",
    "AuthType",
    "Config",
    "ConfigRow",
    "DatabaseSettings",
    "HbaMethod",
    "HbaRule",
    "LoadBalanceHosts",
    "PeerSettings",
    "PoolMode",
    "PreparedStatementErrors",
    "PreparedStatements",
    "SessionLeaks",
    "Settings",
    "SqlPreparedStatements",
    "SslMode",
    "SslNegotiation",
    "UserSettings",
    "config_for_url",
    "config_rows",
    "from_keywords",
    "load",
    "parse_settings",
    "parse_url",
    "reload_settings",
    "settings_without_effect",
    "with_keywords",
    "with_setting",
]
