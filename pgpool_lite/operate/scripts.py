r"""The SQL of a script for psql: what is for psql itself is blanked, so that all places stay.

Lines that begin with a backslash (`\connect`, pgbench's `\set`), what sends a query (`\gset`), and
the rows behind COPY FROM stdin, as pg_dump writes them.
"""

from __future__ import annotations

import re
from typing import Final

_COMMAND: Final = re.compile(rb"^[ \t]*\\[a-zA-Z!?][^\n]*", re.MULTILINE)
_SENDING: Final = re.compile(rb"\\(?:g\w*|watch|crosstabview)\b[^\n]*$", re.MULTILINE)
_COPY: Final = re.compile(
    rb"^COPY\b[^;]*\bFROM\s+stdin\b[^;]*;[^\n]*\n(?P<rows>.*?^\\\.\r?$|.*\Z)",
    re.MULTILINE | re.DOTALL | re.IGNORECASE,
)


def sql_of_script(script: bytes) -> bytes:
    """Return the script with everything blanked that is not SQL, byte by byte."""
    script = _COPY.sub(_without_rows, script)
    script = _COMMAND.sub(lambda found: b" " * len(found[0]), script)
    return _SENDING.sub(lambda found: b";" + b" " * (len(found[0]) - 1), script)


def _without_rows(found: re.Match[bytes]) -> bytes:
    rows = re.sub(rb"[^\n]", b" ", found["rows"])
    return found[0][: found.start("rows") - found.start()] + rows
