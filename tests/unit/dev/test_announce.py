"""What does `pgpool-lite dev` show?"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from pgpool_lite.dev.announce import (
    State,
    add_up,
    as_user,
    console_line,
    env_lines,
    moved_line,
    state_line,
    transactions_per_s,
    with_parameters,
)

POOLED = "postgresql://postgres@127.0.0.1:6543/postgres"
SESSION = "postgresql://postgres@127.0.0.1:5432/postgres"

IDLE = State(
    at=10.0,
    clients_active=0,
    clients_waiting=0,
    servers_active=0,
    servers_idle=0,
    xact_count=100,
)
BUSY = State(
    at=10.5,
    clients_active=7,
    clients_waiting=3,
    servers_active=5,
    servers_idle=1,
    xact_count=700,
)


@dataclass(frozen=True)
class Pool:
    database: str
    cl_active: int = 0
    cl_waiting: int = 0
    sv_active: int = 0
    sv_idle: int = 0


@dataclass(frozen=True)
class Stats:
    xact_count: int


def test_env_lines_are_ready_to_paste() -> None:
    assert env_lines(POOLED, SESSION) == [
        'DATABASE_URL="postgresql://postgres@127.0.0.1:6543/postgres"',
        'DIRECT_URL="postgresql://postgres@127.0.0.1:5432/postgres"',
        'POSTGRES_PRISMA_URL="postgresql://postgres@127.0.0.1:6543/postgres'
        '?pgbouncer=true&connect_timeout=15"',
        'POSTGRES_URL_NON_POOLING="postgresql://postgres@127.0.0.1:5432/postgres"',
    ]


def test_parameters_join_those_that_a_url_has() -> None:
    assert with_parameters(f"{POOLED}?sslmode=disable", "a=1") == f"{POOLED}?sslmode=disable&a=1"


def test_the_console_line_can_be_pasted_after_its_comment_sign() -> None:
    line = console_line("postgresql://postgres@127.0.0.1:6543/pgbouncer")

    assert line == (
        "# console: psql 'postgresql://postgres@127.0.0.1:6543/pgbouncer' -c 'SHOW POOLS'"
    )


def test_a_moved_port_is_said_aloud() -> None:
    assert moved_line("session", 5432, 5433) == (
        "# NOTE: port 5432 is taken; the session port is 5433"
    )


def test_states_add_up_all_pools_but_the_consoles() -> None:
    pools = [
        Pool("app", cl_active=1, cl_waiting=2, sv_active=3, sv_idle=4),
        Pool("other", cl_active=10, cl_waiting=20, sv_active=30, sv_idle=40),
        Pool("pgbouncer", cl_active=100),
    ]
    stats = {"app": Stats(5), "other": Stats(50), "pgbouncer": Stats(500)}

    assert add_up(pools, stats, 1.5) == State(
        at=1.5,
        clients_active=11,
        clients_waiting=22,
        servers_active=33,
        servers_idle=44,
        xact_count=55,
    )


def test_the_state_line_shows_both_ports() -> None:
    assert state_line(IDLE, BUSY, IDLE, width=200) == (
        "clients 7 active 3 waiting | servers 5 active 1 idle | 1200 transactions/s"
        " | session port: clients 0 active 0 waiting"
    )


@pytest.mark.parametrize(("width", "expected"), [(17, "clients 7 active"), (0, "")])
def test_the_state_line_stays_within_the_terminal(width: int, expected: str) -> None:
    assert state_line(IDLE, BUSY, IDLE, width) == expected


def test_no_time_makes_no_rate() -> None:
    assert transactions_per_s(BUSY, BUSY) == 0.0


def test_a_user_is_written_as_the_stood_in_pooler_has_it() -> None:
    url = as_user("postgresql://postgres@127.0.0.1:6543/app", "{user}.local")

    assert url == "postgresql://postgres.local@127.0.0.1:6543/app"


def test_a_user_with_a_password_keeps_its_own_name() -> None:
    url = "postgresql://app:secret@127.0.0.1:6543/app"

    assert as_user(url, "{user}.local") == url
