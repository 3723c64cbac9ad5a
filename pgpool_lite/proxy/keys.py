"""What does a client get to cancel its queries with? A number that nobody can guess."""

from __future__ import annotations

import os

from pgpool_lite.wire.frontend import CancelKey


def random_key() -> CancelKey:
    """Return a new key. Drivers read its pid as a signed number, and some want a positive one.

    Both parts come from one system call.
    """
    drawn = os.urandom(8)
    return CancelKey(int.from_bytes(drawn[:4], "big") & 0x7FFFFFFF, drawn[4:])
