"""Connections that break at any byte; the soak (`python -m bench.soak bytes`) leaves none out."""

from __future__ import annotations

import pytest

from pgpool_lite.dev.cluster import Cluster
from tests.reliability.every_byte import CONVERSATION_BYTES, strike_every

# A number that shares no factor with the sizes of messages.
STRIDE = 67


async def test_wherever_a_connection_breaks_nothing_is_torn_and_the_next_client_is_served(
    honest_postgres: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = await strike_every(honest_postgres, range(0, CONVERSATION_BYTES, STRIDE))

    with capsys.disabled():
        print(f"\n  [{outcomes}]", end="")
    assert outcomes.tried == 8 * len(range(0, CONVERSATION_BYTES, STRIDE))
    assert outcomes.told
    assert outcomes.silent
