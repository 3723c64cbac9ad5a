"""A crowd whose every reply proves whose it is, undisturbed and while faults strike."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgpool_lite.dev.cluster import Cluster
from tests.integration.encrypted import WITHOUT_TLS, speaks_tls
from tests.integration.serving import Serve
from tests.reliability.crosstalk import Report, play
from tests.reliability.oracle import Broken, Ledger
from tests.reliability.scenarios import SCENARIOS, Side, scenario

# Transactions of all clients of a scenario together. The soak has as many as one likes.
CALM, DISTURBED = 25_000, 1000


async def see(
    name: str,
    transactions: int,
    postgres: Cluster,
    serve: Serve,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> Report:
    """Play a scenario and print what came of it; a failure says how to run it again."""
    chosen = scenario(name, 1, transactions)
    try:
        report = await play(chosen, postgres, serve, folder)
    except BaseException:
        print(f"run it again: {chosen.command}")
        raise
    with capsys.disabled():
        print(f"\n  [{chosen.command}: {report}]", end="")
    return report


@pytest.mark.parametrize("name", ["calm", "commands"])
async def test_every_reply_is_its_owners_and_no_connection_ends(
    name: str,
    honest_postgres: Cluster,
    serve: Serve,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = await see(name, CALM, honest_postgres, serve, tmp_path, capsys)

    assert report.ledger.answered_count >= CALM * 0.95
    assert not report.ledger.endings


@pytest.mark.parametrize("name", sorted(set(SCENARIOS) - {"calm", "commands"}))
async def test_while_faults_strike_every_reply_is_its_owners_and_no_row_is_lost(
    name: str,
    honest_postgres: Cluster,
    serve: Serve,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if Side.SERVERS in SCENARIOS[name].encrypted and not speaks_tls(honest_postgres):
        pytest.skip(WITHOUT_TLS)

    report = await see(name, DISTURBED, honest_postgres, serve, tmp_path, capsys)

    assert report.ledger.answered_count
    assert report.strikes


# --- the oracle itself ---


def test_the_oracle_sees_a_row_that_is_lost() -> None:
    ledger = Ledger()
    ledger.promised[(1, 1)] = 1

    with pytest.raises(Broken, match="lost"):
        ledger.check([])


@pytest.mark.parametrize("rows", [[(1, 1), (1, 1)], [(1, 1), (1, 2)]], ids=["doubled", "foreign"])
def test_the_oracle_sees_a_row_too_many(rows: list[tuple[int, int]]) -> None:
    ledger = Ledger()
    ledger.promised[(1, 1)] = 1

    with pytest.raises(Broken, match="times"):
        ledger.check(rows)


def test_a_row_in_doubt_may_be_there_or_not() -> None:
    ledger = Ledger()
    ledger.in_doubt[(1, 1)] = 1

    ledger.check([])
    ledger.check([(1, 1)])
