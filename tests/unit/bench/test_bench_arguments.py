"""The command lines read lists, refuse nonsense, and turn into the runs that were meant."""

from __future__ import annotations

import pytest

from bench import storm
from bench.__main__ import make_plan, parse_arguments
from bench.builds import Kind
from bench.doors import Door
from bench.pgbench import Mode, PgbenchWorkload, Script
from bench.postgres import Database, Postgres, Programs
from bench.transfer import Kind as Transferred
from bench.transfer import Transfer
from bench.workload import Length, Workload
from bench.workloads import most_clients


def plan_of(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Workload], Length]:
    monkeypatch.setattr(Programs, "find", lambda self, name: name)
    postgres = Postgres(Database("h", 1, "u", "", "d"), Programs(None), is_ours=False)
    plan = make_plan(parse_arguments(arguments), postgres)
    return list(plan.workloads), plan.length


def test_every_mode_runs_at_16_clients_for_5_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    workloads, length = plan_of(monkeypatch=monkeypatch)

    assert workloads == [PgbenchWorkload(mode, 16) for mode in Mode]
    assert length == Length(seconds=5)


def test_each_mode_runs_at_each_number_of_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    workloads, length = plan_of(
        "--modes", "simple,prepared", "--clients", "16,64", "--quick", monkeypatch=monkeypatch
    )

    assert workloads == [
        PgbenchWorkload(Mode.SIMPLE, 16),
        PgbenchWorkload(Mode.SIMPLE, 64),
        PgbenchWorkload(Mode.PREPARED, 16),
        PgbenchWorkload(Mode.PREPARED, 64),
    ]
    assert length == Length(seconds=1)


def test_named_workloads_run_at_each_number_of_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    workloads, _ = plan_of(
        "--workloads", "tpcb,connect,tls,connect-scram", "--clients", "4,8", monkeypatch=monkeypatch
    )

    assert workloads == [
        PgbenchWorkload(Mode.SIMPLE, 4, Script.SELECT, door=Door.TLS),
        PgbenchWorkload(Mode.SIMPLE, 8, Script.SELECT, door=Door.TLS),
        PgbenchWorkload(Mode.SIMPLE, 4, Script.CONNECT),
        PgbenchWorkload(Mode.SIMPLE, 8, Script.CONNECT),
        PgbenchWorkload(Mode.SIMPLE, 4, Script.CONNECT, door=Door.SCRAM),
        PgbenchWorkload(Mode.SIMPLE, 8, Script.CONNECT, door=Door.SCRAM),
        PgbenchWorkload(Mode.SIMPLE, 4, Script.TPCB),
        PgbenchWorkload(Mode.SIMPLE, 8, Script.TPCB),
    ]


def test_transfers_run_by_one_client_and_by_four(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, _ = plan_of("--workloads", "wide", monkeypatch=monkeypatch)
    chosen, _ = plan_of("--workloads", "copy-in", "--streams", "2", monkeypatch=monkeypatch)

    assert usual == [Transfer.of(Transferred.WIDE, 1), Transfer.of(Transferred.WIDE, 4)]
    assert chosen == [Transfer.of(Transferred.COPY_IN, 2)]


def test_poolers_let_in_as_many_as_the_largest_workload_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transfers, _ = plan_of("--workloads", "wide", "--streams", "1,9", monkeypatch=monkeypatch)
    everything, _ = plan_of("--workloads", "all", monkeypatch=monkeypatch)

    assert most_clients(transfers) == 9
    assert most_clients(everything) == 8000


def test_both_builds_are_measured_unless_one_is_chosen() -> None:
    assert parse_arguments([]).builds == [Kind.COMPILED, Kind.INTERPRETED]
    assert parse_arguments(["--builds", "interpreted"]).builds == [Kind.INTERPRETED]


def test_pgpool_lite_may_be_measured_as_several_processes() -> None:
    assert parse_arguments([]).workers == [1]
    assert parse_arguments(["--workers", "1,2"]).workers == [1, 2]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--workers", "many"],
        ["--modes", "fast"],
        ["--clients", "many"],
        ["--clients", "0"],
        ["--streams", "1,-1"],
        ["--quick", "--seconds", "9"],
        ["--workloads", "select,sleep"],
        ["--builds", "jit"],
    ],
)
def test_nonsense_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(arguments)

    assert "error: argument" in capsys.readouterr().err


def test_the_storm_is_200_clients_100_connections_and_a_pool_of_5() -> None:
    options = storm.parse_arguments([])

    assert (options.clients, options.max_connections, options.pool_size) == (200, 100, 5)
