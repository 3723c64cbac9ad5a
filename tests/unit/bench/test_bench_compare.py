"""Targets take turns, and one that fails does not stop the others."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from bench.compare import Outcome, Plan, compare, measure
from bench.doors import Door
from bench.errors import BenchError
from bench.postgres import Database
from bench.targets import Target
from bench.workload import Length, RunResult, Unit, Workload


@dataclass(frozen=True)
class FakeWorkload:
    """Fails wherever the target's name says so."""

    rounds: int | None = None
    door: Door = Door.OPEN
    unit = Unit.TRANSACTION
    clients = 1

    def lasts(self, length: Length) -> str:
        return str(length)

    def command(self, length: Length) -> str:
        return "fake"

    def run(self, target: Target, length: Length) -> RunResult:
        if target.name == "fragile":
            raise BenchError("pgbench failed: no")
        return RunResult(units=10_000, per_s=10_000.0, latency_ms=0.4)

    def rehearse(self, target: Target) -> RunResult:
        if target.name == "broken":
            raise BenchError("pgbench failed: no")
        return RunResult(units=10, per_s=10.0)

    def __str__(self) -> str:
        return "fake"


WORKLOAD: Workload = FakeWorkload()
SECRETIVE: Workload = FakeWorkload(door=Door.TLS)
PLAN = Plan([WORKLOAD], rounds=2, length=Length(seconds=1))


def make_target(name: str) -> Target:
    return Target(name, "1.0", "", Database("127.0.0.1", 1, "me", "", name), None)


def test_targets_take_turns_in_every_round() -> None:
    outcome = Outcome()

    compare([make_target("a"), make_target("b")], PLAN, outcome)

    assert [(run.target, run.round) for run in outcome.runs] == [
        ("a", 1),
        ("b", 1),
        ("a", 2),
        ("b", 2),
    ]


def test_a_target_that_fails_the_warm_up_is_left_out_with_its_reason() -> None:
    outcome = Outcome()

    compare([make_target("broken"), make_target("b")], PLAN, outcome)

    assert {run.target for run in outcome.runs} == {"b"}
    assert outcome.left_out == [f"broken at {WORKLOAD}: pgbench failed: no"]


def test_a_target_that_fails_a_round_is_left_out_of_the_next() -> None:
    outcome = Outcome()

    compare([make_target("fragile")], PLAN, outcome)

    assert outcome.runs == []
    assert len(outcome.left_out) == 1


def test_a_workload_may_have_a_number_of_rounds_of_its_own() -> None:
    outcome = Outcome()

    compare([make_target("a")], Plan([FakeWorkload(rounds=1)], 3, Length(seconds=1)), outcome)

    assert [run.round for run in outcome.runs] == [1]


def test_only_targets_behind_the_same_door_take_part() -> None:
    outcome = Outcome()
    encrypted = replace(make_target("a"), door=Door.TLS)

    compare([make_target("a"), encrypted], replace(PLAN, workloads=[SECRETIVE]), outcome)

    assert [run.workload for run in outcome.runs] == [SECRETIVE, SECRETIVE]


def test_cpu_is_charged_to_the_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = iter([1.0, 1.25])
    monkeypatch.setattr(Target, "cpu_s", lambda self: next(meter))

    assert measure(make_target("a"), WORKLOAD, 1, PLAN).cpu_us == pytest.approx(25.0)


def test_a_target_without_a_pooler_has_no_cpu_figure() -> None:
    assert measure(make_target("direct"), WORKLOAD, 1, PLAN).cpu_us is None
