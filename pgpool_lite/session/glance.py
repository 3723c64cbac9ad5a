"""Can a text be told at a glance to leave nothing? HOT while session_leaks is on.

HOT rule: a text of a known shape costs one translation of its bytes and one look into a set.

The *shape* of a text is the text with its capitals made small and its digits made 0. No word that
matters to `may_leak` has a digit in it, and no digit counts for more than another; so what is
judged is the shape, and it holds for every text of that shape. What is remembered of harmless
shapes is this process's, of all pools, bounded, and shown to nobody.
"""

from __future__ import annotations

from typing import Final

from pgpool_lite.diagnose.leaks import may_leak

#: So many shapes are remembered, of so many bytes each: 0.6 MB at most.
MAX_SHAPES: Final = 1_024
MAX_SHAPE_SIZE: Final = 512

_FOLD: Final = bytes(range(256)).lower().translate(bytes.maketrans(b"123456789", b"0" * 9))
#: How the texts begin that ask for nothing of a session's, unless by what is named in them.
_ORDINARY: Final = frozenset(
    word + space
    for word in (b"select", b"insert", b"update", b"delete")
    for space in (b" ", b"\n", b"\t")
) | {b"begin", b"begin;", b"commit", b"commit;"}

_harmless_shapes: Final[set[bytes]] = set()


def is_harmless(text: bytes) -> bool:
    """Say whether a text leaves nothing: False is what `may_leak` doubts.

    The text ends at its first zero byte, if it has one: a Query's body will do, and a Parse's
    behind the name.
    """
    shape = text.translate(_FOLD)
    return shape in _harmless_shapes or _judge(shape)


def _judge(shape: bytes) -> bool:
    """Judge a shape that is not known, and remember it if it is harmless."""
    end = shape.find(0)
    low = shape if end < 0 else shape[:end]
    if not _is_plain(low) and may_leak(low):
        return False
    if len(shape) <= MAX_SHAPE_SIZE:
        if len(_harmless_shapes) >= MAX_SHAPES:
            # All of them: what is in use is back at once, and a script that writes its values into
            # its texts does not keep the place of what comes behind it.
            _harmless_shapes.clear()
        _harmless_shapes.add(shape)
    return True


def _is_plain(low: bytes) -> bool:
    """Say whether a text is one of the usual; never where `may_leak` says so, at a fifth of it."""
    if low[:7] not in _ORDINARY:
        return False
    semicolon = low.find(b";")
    return (
        (semicolon < 0 or semicolon == len(low) - 1)
        and low.find(b"advisory_") < 0  # twice as fast as `in`, which tries it as a number first
        and low.find(b"set_config") < 0
        and low.find(b"currval") < 0
        and low.find(b"lastval") < 0
        and low.find(b"temp") < 0
    )
