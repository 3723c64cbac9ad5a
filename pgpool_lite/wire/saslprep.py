"""SASLprep: the one spelling of a password that both sides of a SCRAM exchange hash.

Called by `scram` before it derives keys. It repeats what PostgreSQL does, which differs from
RFC 4013 in three places: ASCII is left alone, a password that SASLprep forbids is used as it is,
and what is forbidden is looked for before normalization, not after. Any other choice derives other
keys than PostgreSQL does, and then a right password is refused. One choice is ours: very long ones
are used as they are, too.
"""

from __future__ import annotations

import stringprep
import unicodedata

# RFC 4013 sections 2.3 and 2.5: prohibited output, and code points unassigned in Unicode 3.2.
_FORBIDDEN_TABLES = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


# As long as PostgreSQL allowed a password to be before version 14. The step that normalizes takes
# time with the square of the length: a stranger's 70 KB of accents held everybody up for seconds.
MAX_NORMALIZED = 1024


def normalize_password(password: str | bytes) -> bytes:
    """Give the bytes to hash for a password.

    What SASLprep forbids, what is no UTF-8 (in a `str`: surrogate escapes) and what has more than
    MAX_NORMALIZED bytes stays as it is.
    """
    raw = password.encode(errors="surrogateescape") if isinstance(password, str) else password
    if raw.isascii() or len(raw) > MAX_NORMALIZED:
        return raw
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return raw
    # A zero width space is in both tables; PostgreSQL makes it a space.
    spaced = (" " if stringprep.in_table_c12(char) else char for char in text)
    mapped = "".join(char for char in spaced if not stringprep.in_table_b1(char))
    if not mapped or any(map(_is_forbidden, mapped)) or not _has_one_direction(mapped):
        return raw
    return unicodedata.normalize("NFKC", mapped).encode()


def _is_forbidden(char: str) -> bool:
    return any(in_table(char) for in_table in _FORBIDDEN_TABLES)


def _has_one_direction(text: str) -> bool:
    """RFC 3454 section 6: right-to-left text begins and ends so, without left-to-right letters."""
    if not any(map(stringprep.in_table_d1, text)):
        return True
    if any(map(stringprep.in_table_d2, text)):
        return False
    return stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
