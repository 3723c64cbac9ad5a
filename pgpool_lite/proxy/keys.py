"""What does a client get to cancel its queries with? A number that nobody can guess."""

from __future__ import annotations

from pgpool_lite.wire.frontend import CancelKey
from pgpool_lite.wire.randomness import draw


def random_key() -> CancelKey:
    """Return a new key. Drivers read its pid as a signed number, and some want a positive one."""
    drawn = draw(8)
    return CancelKey((drawn[0] & 0x7F) << 24 | drawn[1] << 16 | drawn[2] << 8 | drawn[3], drawn[4:])
