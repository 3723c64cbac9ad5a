"""How long does it hold, if one tries for longer than a test may take?

    python -m bench.soak --transactions 1000000   all scenarios in turn, until that many answers
    python -m bench.soak network --seed 7         one scenario, with one seed
    python -m bench.soak cycles --count 100000    connect, ask, leave: what is left behind?
    python -m bench.soak bytes                    a reset, and an end, at every byte
    python -m bench.soak burst --count 10000      as many connects at once as the door takes

Everything is on this machine's loopback, and ends by itself. A failure prints the command that runs
its seed again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import psycopg
import uvloop

from pgpool_lite.dev.cluster import Cluster
from tests.integration.encrypted import WITHOUT_TLS, speaks_tls
from tests.integration.serving import Serve, pooler_processes
from tests.reliability.crosstalk import Report, play
from tests.reliability.cycles import burst, come_and_go
from tests.reliability.every_byte import CONVERSATION_BYTES, strike_every
from tests.reliability.scenarios import SCENARIOS, Side, scenario

#: Transactions of one scenario in a soak: small enough to tell soon which seed failed.
ROUND = 5000


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for; raises AssertionError for what may not be."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    what = ("all", *SCENARIOS, "cycles", "bytes", "burst")
    parser.add_argument("what", nargs="?", default="all", choices=what)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--transactions", type=int, default=0, help="until so many are answered")
    parser.add_argument("--count", type=int, default=0, help="of cycles or connects")
    options = parser.parse_args(arguments)
    with (
        Cluster(max_connections=200, settings={"synchronous_commit": "on"}) as postgres,
        tempfile.TemporaryDirectory() as folder,
    ):
        with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE app")
        uvloop.run(_run(options, postgres, Path(folder)))


async def _run(options: argparse.Namespace, postgres: Cluster, folder: Path) -> None:
    async with pooler_processes(folder) as serve:
        if options.what == "cycles":
            print(await come_and_go(serve, postgres, options.count or 100_000))
        elif options.what == "burst":
            print(await burst(serve, postgres, options.count or 10_000))
        elif options.what == "bytes":
            print(await strike_every(postgres, range(CONVERSATION_BYTES)))
        else:
            await _soak(options, serve, postgres, folder)


async def _soak(options: argparse.Namespace, serve: Serve, postgres: Cluster, folder: Path) -> None:
    """Play scenarios, one after the other, and print after each what all have come to."""
    names = list(SCENARIOS) if options.what == "all" else [options.what]
    if not speaks_tls(postgres):
        print(WITHOUT_TLS)
        names = [name for name in names if Side.SERVERS not in SCENARIOS[name].encrypted]
    began_at, seed, answered = time.monotonic(), options.seed, 0
    totals: Counter[str] = Counter()
    while names:
        for name in names:
            chosen = scenario(name, seed, min(ROUND, options.transactions or ROUND))
            try:
                report = await play(chosen, postgres, serve, folder)
            except BaseException:
                print(f"run it again: {chosen.command}", flush=True)
                raise
            answered += report.ledger.answered_count
            _add(totals, report)
            elapsed_s = time.monotonic() - began_at
            print(f"{chosen.command}: {report} ({elapsed_s:.0f} s)", flush=True)
        seed += 1
        if answered >= options.transactions:
            break
    print(f"{answered} transactions answered to their owners, 0 lost, 0 doubled, 0 foreign")
    print(", ".join(f"{count} {what}" for what, count in sorted(totals.items())))


def _add(totals: Counter[str], report: Report) -> None:
    totals.update(report.strikes)
    totals["rows counted"] += report.row_count
    totals["connections ended"] += sum(report.ledger.endings.values())
    totals["rows in doubt"] += len(report.ledger.in_doubt)


if __name__ == "__main__":
    main()
