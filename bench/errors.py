"""What can go wrong in a benchmark, as far as a person can act on it.

Everything raised on purpose in this package is one of these two; both are shown as one sentence.
"""

from __future__ import annotations


class BenchError(Exception):
    """The benchmark cannot go on; the sentence says what is missing or what failed."""


class LeftOut(BenchError):
    """One row cannot be measured; the others still can, and the report repeats the sentence."""
