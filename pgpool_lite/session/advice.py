"""What should this application change? Named prepared statements, per driver.

A driver is recognised by the names it gives its statements, else by application_name. The advice
names the one switch that makes it stop, and is the HINT of every error about prepared statements.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Driver:
    """One driver's habit, and its way out."""

    name: str
    statement_names: str
    advice: str
    #: Part of the application_name it sets by itself; "" if it sets none.
    application_name: str = ""


DRIVERS = (
    Driver(
        "asyncpg",
        r"__asyncpg_stmt_[0-9a-f]+__",
        "connect(..., statement_cache_size=0), or with SQLAlchemy"
        " create_async_engine(..., connect_args={'statement_cache_size': 0})",
    ),
    Driver("psycopg 3", r"_pg3_\d+", "connect(..., prepare_threshold=None)"),
    Driver("pgjdbc", r"S_\d+", "prepareThreshold=0 in the JDBC URL", "PostgreSQL JDBC Driver"),
    Driver("SQLx", r"sqlx_s_\d+", "PgConnectOptions::statement_cache_capacity(0)"),
    Driver(
        "pgx",
        r"lrupsc_\d+_\d+|stmtcache_[0-9a-f]+",
        "default_query_exec_mode=exec (or simple_protocol) in the connection string",
    ),
    Driver(
        "Prisma, or tokio-postgres",
        r"s\d+",
        "?pgbouncer=true in Prisma's DATABASE_URL; with tokio-postgres, query_typed or"
        " simple_query",
    ),
    Driver("PDO", r"pdo_stmt_[0-9a-f]+", "PDO::ATTR_EMULATE_PREPARES => true"),
    Driver("DBD::Pg", r"dbdpg_p\d+_\d+", "$dbh->{pg_server_prepare} = 0"),
    Driver("Rails", r"a\d+", "prepared_statements: false in database.yml"),
    Driver("npgsql", r"_p\d+|_auto\d+", "Max Auto Prepare=0 in the connection string"),
    Driver("ecto, or postgrex", r"ecto_\d+", "prepare: :unnamed in the repository's options"),
    Driver("postgres.js", r"[0-9a-z]{10,}\d+", "postgres(url, { prepare: false })"),
)


def recognise(statement_name: str, application_name: str = "") -> Driver | None:
    """Return the driver that gives its statements such names, or itself such a name."""
    for driver in DRIVERS:
        if re.fullmatch(driver.statement_names, statement_name):
            return driver
    for driver in DRIVERS:
        if driver.application_name and driver.application_name in application_name:
            return driver
    return None


def hint(statement_name: str, application_name: str = "", *, is_rewritten: bool = False) -> str:
    """Return what to change so that `statement_name` makes no trouble.

    `is_rewritten`: the pooler prepares named statements wherever they are needed already.
    """
    driver = recognise(statement_name, application_name)
    way_out = (
        f"This looks like {driver.name}, whose switch is: {driver.advice}."
        if driver is not None
        else "Switch named prepared statements off in the driver."
    )
    if is_rewritten:
        return way_out
    return (
        f"{way_out} Or set max_prepared_statements above 0 in the pooler, which then prepares"
        " statements wherever they are needed."
    )


CLOSE_HINT = "Close it by the protocol's Close message, or not at all: it costs nothing to keep."
DEALLOCATE_HINT = (
    "The server knows the statement by another name, because the pooler shares it between clients."
    f" {CLOSE_HINT} Or set sql_prepared_statements = track in the pooler, which then finds it."
)
