"""Whose limit does an error tell of? The words of drivers, poolers and PostgreSQL."""

from __future__ import annotations

import pytest

from pgpool_lite.operate.doctor_blame import Who, blame_for
from pgpool_lite.operate.doctor_evidence import Refusal

SAID = {
    "Timed out fetching a new connection from the connection pool. More info: "
    "http://pris.ly/d/connection-pool (Current connection pool timeout: 10, connection limit: 5)": (
        Who.CLIENT
    ),
    "P2024": Who.CLIENT,
    "QueuePool limit of size 5 overflow 10 reached, connection timed out, timeout 30.00": (
        Who.CLIENT
    ),
    "could not obtain a connection from the pool within 5.000 seconds": Who.CLIENT,
    "HikariPool-1 - Connection is not available, request timed out after 30000ms": Who.CLIENT,
    "timeout exceeded when trying to connect": Who.CLIENT,
    "couldn't get a connection after 30.00 sec": Who.CLIENT,
    "no more connections allowed (max_client_conn)": Who.POOLER,
    "client connections exceeded (max_db_client_connections)": Who.POOLER,
    "(EMAXCONN) max client connections reached, limit: 200": Who.POOLER,
    "(EMAXCONNSESSION) max clients reached in session mode": Who.POOLER,
    "The maximum number of client connections to the proxy exceeded 100.": Who.POOLER,
    "query_wait_timeout": Who.POOLER,
    "(ECHECKOUTTIMEOUT) unable to check out connection from the pool after 60000ms": Who.POOLER,
    "Timed-out waiting to acquire database connection.": Who.POOLER,
    "server login has been failing, cached error: connect failed (server_login_retry)": Who.POOLER,
    "unsupported startup parameter: extra_float_digits": Who.POOLER,
    'prepared statement "s0" already exists': Who.POOLER,
    "prepared statement name is already in use": Who.POOLER,
    'prepared statement "s0" does not exist': Who.POOLER,
    "prepared statement did not exist": Who.POOLER,
    "sorry, too many clients already": Who.POSTGRESQL,
    "remaining connection slots are reserved for non-replication superuser connections": (
        Who.POSTGRESQL
    ),
    'too many connections for role "app"': Who.POSTGRESQL,
    "cached plan must not change result type": Who.POSTGRESQL,
    'no pg_hba.conf entry for host "10.0.0.1", user "a", database "b", SSL off': Who.POSTGRESQL,
    "nobody listens at db port 5432: Connection refused": Who.NETWORK,
    "getaddrinfo ENOTFOUND db.example": Who.NETWORK,
    "TLS handshake failed: certificate verify failed": Who.NETWORK,
}


@pytest.mark.parametrize(("message", "who"), SAID.items())
def test_an_error_is_told_by_its_words(message: str, who: Who) -> None:
    blame = blame_for(Refusal(message))

    assert blame.who is who
    assert blame.change


OTHER_WORDS = {"53300": Who.POSTGRESQL, "26000": Who.POOLER, "42P05": Who.POOLER}


@pytest.mark.parametrize(("sqlstate", "who"), OTHER_WORDS.items())
def test_in_another_language_its_sqlstate_decides(sqlstate: str, who: Who) -> None:
    assert blame_for(Refusal("tut mir leid", sqlstate)).who is who


def test_a_cached_failure_tells_of_the_limit_that_it_repeats() -> None:
    said = "server login has been failing, cached error: sorry, too many clients already (...)"

    assert blame_for(Refusal(said)).who is Who.POSTGRESQL


def test_of_anything_else_nothing_is_claimed() -> None:
    assert blame_for(Refusal("division by zero", "22012")).who is Who.UNKNOWN
