"""The page for the documentation holds what the printed tables hold."""

from __future__ import annotations

from pathlib import Path

from bench.compare import Outcome, Plan, Run
from bench.idle import Idle
from bench.markdown import as_markdown
from bench.pgbench import Mode, PgbenchWorkload
from bench.report import Setting
from bench.system_calls import SystemCalls
from bench.workload import Length

WORKLOAD = PgbenchWorkload(Mode.SIMPLE, 16)
SETTING = Setting(
    "2026-01-01T00:00:00+00:00",
    {"cores": 2, "cpu": "a CPU", "system": "Linux"},
    {"postgresql": "15.18"},
    {"pgbouncer": 11264},
)
OUTCOME = Outcome(
    [
        Run("pgbouncer", WORKLOAD, 1, 1000, 20_000.0, 0.5, 20.0),
        Run("pgpool_lite compiled", WORKLOAD, 1, 1000, 19_000.0, 0.6, 22.0),
        Run("pgbouncer", Idle(8000), 1, 8000, 4000.0, cpu_us=70.0, resident_kb=1.25),
    ],
    ["floor: no"],
    [SystemCalls("pgbouncer", WORKLOAD, {"recvfrom": 2.0, "sendto": 2.0})],
)
PAGE = as_markdown(
    OUTCOME, Plan([WORKLOAD], 1, Length(seconds=5)), SETTING, "python -m bench", None
)


def test_the_page_says_by_which_command_and_where_it_was_measured() -> None:
    assert PAGE.startswith(
        "Measured by `python -m bench`.\n\n- 2026-01-01T00:00:00+00:00, 2 x a CPU"
    )
    assert "- resident memory at rest: pgbouncer 11.0 MB\n" in PAGE


def test_a_workload_is_a_section_with_a_table() -> None:
    assert (
        "### pgbench -S -M simple, 16 clients\n\n5 s, median (min-max), ratio to pgbouncer." in PAGE
    )
    assert (
        "| pgpool_lite compiled | 22.0 (22.0-22.0) 1.10x | 19,000 (19,000-19,000) 0.95x |" in PAGE
    )


def test_system_calls_stand_below_the_table() -> None:
    assert (
        "System calls per transaction:\n\n- pgbouncer 4.00 (recvfrom 2.00, sendto 2.00)\n" in PAGE
    )


def test_idle_clients_have_columns_of_their_own() -> None:
    assert "| target | resident KB/client | pooler CPU us/login |" in PAGE
    assert "| pgbouncer | 1.25 (1.25-1.25) 1.00x | 70.0 (70.0-70.0) 1.00x |" in PAGE


def test_the_picture_stands_above_the_sections() -> None:
    page = as_markdown(
        OUTCOME, Plan([WORKLOAD], 1, Length(seconds=5)), SETTING, "bench", Path("docs/ratios.png")
    )

    assert page.index("(ratios.png)") < page.index("### pgbench")


def test_what_is_missing_comes_last() -> None:
    assert PAGE.endswith("### Not measured\n\n- floor: no\n")
