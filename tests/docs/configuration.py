"""Writes docs/configuration.md out of the settings: `python -m tests.docs.configuration`.

And docs/compatibility.md with it, which lists those without effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pgpool_lite.config import NOT_IN_EFFECT, DatabaseSettings, Settings, UserSettings
from pgpool_lite.config.table import Setting, table_of
from tests.docs import compatibility
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

TARGET = ROOT / "docs" / "configuration.md"

_HEAD = """\
# Configuration

Names, defaults and meanings are PgBouncer 1.26.1's, so that a `pgbouncer.ini` works as it is. This
page is generated from the tables in `config/settings.py` and `config/databases.py` by
`python -m tests.docs.configuration`, and a test compares the two.

A setting comes from the file, from `--set key=value` on the command line, from a keyword of
`Pooler`, or from `SET key = value` on the console; those marked *start only* take a restart. Times
are seconds and may have fractions, sizes are bytes. **no** in the last column means that the
setting is read and shown, and does nothing: start-up warns of each one that is set.

`serve --to URL` and `Pooler(url)` need no file and start from other defaults for four settings:
`pool_mode = transaction`, `ignore_startup_parameters = extra_float_digits`, `admin_users` is the
URL's user, and `auth_type` is `scram-sha-256` where the URL has a password, else `any`.

## [pgbouncer]
"""

_DATABASES = """
## [databases]

`name = key=value key=value ...`; the name `*` serves every database without a line of its own.
What a line does not say, [pgbouncer] says. A value with blanks stands in single quotes, and a
doubled quote in it is one quote.
"""

_USERS = """
## [users]

`name = key=value ...`; a user's word goes before a database's, which goes before [pgbouncer]'s.
"""


def render() -> str:
    """Return the whole page."""
    lines = [
        _HEAD,
        *_table(Settings, NOT_IN_EFFECT),
        _DATABASES,
        *_table(DatabaseSettings, {}),
        _USERS,
        *_table(UserSettings, {}),
    ]
    return "\n".join(lines) + "\n"


def _table(owner: type[DataclassInstance], without_effect: Mapping[str, str]) -> Iterator[str]:
    yield "| setting | default | meaning | in effect |"
    yield "|---|---|---|---|"
    for key, entry in sorted(table_of(owner).items()):
        meaning = entry.doc if entry.changeable else f"{entry.doc} *start only*"
        effect = f"**no**: {without_effect[key]}" if key in without_effect else "yes"
        yield f"| `{key}` | {_default(entry)} | {meaning} | {effect} |"


def _default(entry: Setting[object]) -> str:
    if entry.default is None:
        return ""
    shown = entry.show(entry.default) if entry.default_text is None else entry.default_text
    return f"`{shown}`".replace("|", "\\|") if shown else ""


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
    compatibility.TARGET.write_text(compatibility.render(), encoding="utf-8")
