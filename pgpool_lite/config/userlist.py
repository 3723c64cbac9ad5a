"""Which secret has which user? Reads PgBouncer's `auth_file`, usually called userlist.txt.

`load.py` calls `read_userlist`. A line is `"user" "secret"`, whatever follows on it is ignored,
`""` inside quotes is one quote, and a line that starts with `;` is a comment. What a secret looks
like (plain, md5, SCRAM) does not matter here, and no error message ever repeats any of it.

PgBouncer stops reading at the first broken line and goes on with the users above it. We refuse
the file, because half a list of users locks people out without saying so.
"""

from __future__ import annotations

import re
from pathlib import Path

from pgpool_lite.config.ini import read_text
from pgpool_lite.errors import ConfigError

# PgBouncer's MAX_USERNAME and MAX_PASSWORD, each less the byte that ends a C string.
MAX_USER_LENGTH = 127
MAX_SECRET_LENGTH = 65530

_BLANK = re.compile(r"[ \t\n\r\v\f]+|;[^\n]*")
_QUOTED = re.compile(r'"([^"]*(?:""[^"]*)*)"')
_BETWEEN = re.compile(r'[^"]*')
_REST_OF_LINE = re.compile(r"[^\n]*")


def read_userlist(path: Path) -> dict[str, str]:
    """Return the secret of every user in the file; of two lines for one user the last counts."""
    return scan_userlist(read_text(path), path)


def scan_userlist(text: str, file: Path | None = None) -> dict[str, str]:
    """Return the secret of every user in the text; `file` is what errors name."""
    secrets: dict[str, str] = {}
    pos = _skip_blank(text, 0)
    while pos < len(text):
        user, pos = _take_quoted(text, pos, "user name", MAX_USER_LENGTH, file)
        between = _BETWEEN.match(text, pos)
        pos = between.end() if between else pos
        secrets[user], pos = _take_quoted(text, pos, "secret", MAX_SECRET_LENGTH, file)
        rest = _REST_OF_LINE.match(text, pos)
        pos = _skip_blank(text, rest.end() if rest else pos)
    return secrets


def _skip_blank(text: str, pos: int) -> int:
    """Return where the next line with something on it starts."""
    while blank := _BLANK.match(text, pos):
        pos = blank.end()
    return pos


def _take_quoted(
    text: str, pos: int, what: str, max_length: int, file: Path | None
) -> tuple[str, int]:
    """Return the unquoted field at `pos` and where it ends."""
    quoted = _QUOTED.match(text, pos)
    if quoted is None:
        message = f'expected a {what} in double quotes: a line is "user" "secret"; ; is a comment'
        raise ConfigError(message, file=file, line=_line_of(text, pos))
    # PgBouncer measures the field as it is written: a doubled quote counts twice.
    length = len(quoted[1].encode("utf-8", errors="surrogateescape"))
    if length > max_length:
        message = f"the {what} is {length} bytes long; at most {max_length} are allowed"
        raise ConfigError(message, file=file, line=_line_of(text, pos))
    return quoted[1].replace('""', '"'), quoted.end()


def _line_of(text: str, pos: int) -> int:
    """Return the line of a position; asked only for an error, since it counts from the top."""
    return text.count("\n", 0, pos) + 1
