"""What can go wrong in a benchmark, as far as a person can act on it.

Everything raised on purpose in this package is one of these two; both are shown as one sentence.
"""

from __future__ import annotations

from importlib.util import find_spec


class BenchError(Exception):
    """The benchmark cannot go on; the sentence says what is missing or what failed."""


class LeftOut(BenchError):
    """One row cannot be measured; the others still can, and the report repeats the sentence."""


def require(module: str, way_out: str = "") -> None:
    """Raise BenchError when an optional module is not installed; `way_out` is another way."""
    if find_spec(module) is None:
        hint = f", or {way_out}" if way_out else ""
        raise BenchError(f"{module} is not installed: pip install 'pgpool_lite[bench]'{hint}")
