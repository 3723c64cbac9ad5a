"""How is another input made of those that are kept? As fuzzers do it, from one random number.

The same number always makes the same input, so that a failing one is found again.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

#: Lengths and counts at which things go wrong, as the protocol writes them.
_NUMBERS: Final = tuple(
    number.to_bytes(4, "big", signed=True)
    for number in (-(2**31), -1, 0, 1, 3, 4, 5, 8, 16_384, 16_385, 2**20, 2**31 - 1)
)


def mutate(inputs: Sequence[bytes], random: Random) -> bytes:
    """Return an input made of one or two of those that are kept."""
    data = bytearray(random.choice(inputs))
    for _ in range(random.choice((1, 1, 2, 4, 8))):
        _change(data, inputs, random)
    return bytes(data)


def _change(data: bytearray, inputs: Sequence[bytes], random: Random) -> None:
    """Change an input in one place."""
    pos = random.randint(0, len(data))
    end = min(len(data), pos + random.choice((1, 1, 2, 4, 9, 40)))
    kind = random.randint(0, 7)
    if kind == 0:
        data[pos:end] = random.randbytes(end - pos)
    elif kind == 1:
        del data[pos:end]
    elif kind == 2:
        data[pos:pos] = random.randbytes(random.choice((1, 2, 5)))
    elif kind == 3:
        data[pos:pos] = data[pos:end] * random.choice((1, 2, 30))
    elif kind == 4:
        data[pos : pos + 4] = random.choice(_NUMBERS)
    elif kind == 5:
        other = random.choice(inputs)
        data[pos:] = other[random.randint(0, len(other)) :]
    elif kind == 6:
        other = random.choice(inputs)
        start = random.randint(0, len(other))
        data[pos:pos] = other[start : start + random.choice((1, 5, 40))]
    else:
        data[pos:pos] = b"\xff\xfe"
