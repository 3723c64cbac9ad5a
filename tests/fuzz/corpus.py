"""Which inputs are kept? One file per door, one input per line, as a Python bytes literal.

So a new one is a line in a diff that can be read, and a finding is pasted from an error message.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "corpus"
#: What is longer teaches little that a shorter one does not.
MAX_SIZE: Final = 600


def inputs_of(door: str) -> list[bytes]:
    """Return the inputs that are kept for a door, the empty one first."""
    path = FOLDER / f"{door}.txt"
    lines = path.read_text("ascii").splitlines() if path.exists() else []
    return [b"", *(ast.literal_eval(line) for line in lines)]


def keep(door: str, inputs: Iterable[bytes]) -> int:
    """Keep these inputs of a door, sorted; return how many there are."""
    kept = sorted({each for each in inputs if 0 < len(each) <= MAX_SIZE}, key=lambda i: (len(i), i))
    (FOLDER / f"{door}.txt").write_text("".join(f"{each!r}\n" for each in kept), "ascii")
    return len(kept)
