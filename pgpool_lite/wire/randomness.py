"""Where do nonces and cancel keys come from? The system's random bytes, asked for by the block.

Called for each client that logs in. Two system calls per login are saved by it, and the detours of
`secrets`, which is interpreted.
"""

from __future__ import annotations

import binascii
import os
from typing import Final

#: That of some 150 logins by SCRAM.
_BLOCK_SIZE: Final = 4096
#: PostgreSQL's length of a nonce, SCRAM_RAW_NONCE_LEN.
_NONCE_LENGTH: Final = 18


class Reservoir:
    """Random bytes for later, each given out once."""

    def __init__(self) -> None:
        """Have none yet; a child that is forked must not give out what its parent does."""
        self._block = b""
        self._pos = 0
        os.register_at_fork(after_in_child=self.empty)

    def empty(self) -> None:
        """Forget what is left."""
        self._block = b""

    def draw(self, size: int) -> bytes:
        """Return that many bytes, at most a block's, that nobody can guess."""
        end = self._pos + size
        if end > len(self._block):
            self._block = os.urandom(_BLOCK_SIZE)
            self._pos, end = 0, size
        drawn = self._block[self._pos : end]
        self._pos = end
        return drawn


_RESERVOIR: Final = Reservoir()


def draw(size: int) -> bytes:
    """Return random bytes, as `os.urandom` does."""
    return _RESERVOIR.draw(size)


def draw_nonce() -> str:
    """Return a nonce of SCRAM: 24 printable characters, no comma."""
    return binascii.b2a_base64(draw(_NONCE_LENGTH), newline=False).decode()
