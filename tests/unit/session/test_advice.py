"""Whose statement names are these, and what should that driver change?"""

from __future__ import annotations

import pytest

from pgpool_lite.session.advice import DRIVERS, hint, recognise

# A name that each driver makes.
NAMES = {
    "__asyncpg_stmt_1a__": "asyncpg",
    "_pg3_0": "psycopg 3",
    "S_1": "pgjdbc",
    "sqlx_s_12": "SQLx",
    "lrupsc_1_0": "pgx",
    "stmtcache_0123456789abcdef": "pgx",
    "s0": "Prisma, or tokio-postgres",
    "pdo_stmt_00000001": "PDO",
    "dbdpg_p4711_1": "DBD::Pg",
    "a1": "Rails",
    "_p1": "npgsql",
    "_auto1": "npgsql",
    "ecto_77": "ecto, or postgrex",
    "k3j5h2g8f9d1s1": "postgres.js",
}


@pytest.mark.parametrize(("name", "driver"), NAMES.items())
def test_a_driver_is_recognised_by_its_names(name: str, driver: str) -> None:
    found = recognise(name)

    assert found is not None
    assert found.name == driver


@pytest.mark.parametrize("name", ["", "mine", "s", "S_", "s0 ", "_pg3_", "x_pg3_0", "S_1; DROP"])
def test_a_name_that_no_driver_makes_is_nobodys(name: str) -> None:
    assert recognise(name) is None


def test_every_driver_has_a_name_that_is_tried_here() -> None:
    assert {driver.name for driver in DRIVERS} == set(NAMES.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_hint_names_the_driver_and_its_way_out(name: str) -> None:
    driver = recognise(name)

    assert driver is not None
    assert driver.name in hint(name)
    assert driver.advice in hint(name)


def test_a_name_of_nobody_gets_the_advice_that_helps_everyone() -> None:
    assert "max_prepared_statements" in hint("mine")
