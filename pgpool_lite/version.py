"""The one place that holds the version: the build, `--version` and SHOW VERSION read it."""

from typing import Final

__version__ = "0.1.0"

#: The PgBouncer that this one equals; drivers read it in the console's `server_version`,
#: and everybody in `pgbouncer.version`.
PGBOUNCER_VERSION: Final = "1.26.1"
