"""Users that only PostgreSQL knows: auth_query on a real server, and what can go wrong there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import psycopg
import pytest

from pgpool_lite.config import Settings, load
from pgpool_lite.dev.cluster import Cluster
from pgpool_lite.pool.pool import Pool
from pgpool_lite.proxy.runtime import Runtime
from tests.integration.conftest import OpenClient
from tests.integration.serving import write_ini
from tests.wire_client import WireClient, eventually
from tests.wire_messages import StartupMessage

SLEEPING = "auth_query = SELECT usename, passwd FROM pg_shadow, pg_sleep(60) WHERE usename = $1"


class Running:
    """A pooler with a configuration file, as clients and the test see it."""

    host = "127.0.0.1"

    def __init__(self, runtime: Runtime, ini: Path) -> None:
        self.runtime = runtime
        self.ini = ini

    @property
    def port(self) -> int:
        assert self.runtime.doorway.address is not None
        return self.runtime.doorway.address[1]

    def url(self, user: str, password: str, database: str = "app") -> str:
        return f"postgresql://{user}:{password}@{self.host}:{self.port}/{database}"

    async def ask(self, user: str, password: str, sql: str, options: str = "") -> object:
        """Log in, and return the only value of the answer."""
        connection = await psycopg.AsyncConnection.connect(
            self.url(user, password), autocommit=True, options=options
        )
        async with connection:
            row = await (await connection.execute(sql)).fetchone()
            assert row is not None
            return row[0]

    async def refusal(self, user: str, password: str) -> str:
        """Return why somebody is not let in."""
        with pytest.raises(psycopg.OperationalError) as caught:
            await self.ask(user, password, "SELECT 1")
        return str(caught.value)

    def pool(self, user: str = "postgres", database: str = "app") -> Pool:
        """Return a pool: of auth_user, if nobody else is named."""
        return self.runtime.registry.pools[database, user]

    def is_quiet(self) -> bool:
        """Say whether nobody waits, and no server works or is being opened."""
        pools = self.runtime.registry.pools.values()
        return not any(pool.client_count for pool in pools) and not self.runtime.is_working(None)


Run = Callable[..., Awaitable[Running]]
Database = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
async def run(tmp_path: Path, postgres: Cluster) -> AsyncIterator[Run]:
    """Start a pooler whose auth_file has nobody but postgres, who is auth_user."""
    async with AsyncExitStack() as stack:

        async def start(*settings: str) -> Running:
            ini = write_ini(
                tmp_path, postgres, "auth_type = md5", "auth_user = postgres", *settings
            )
            runtime = Runtime(load(ini))
            await runtime.start()
            stack.push_async_callback(runtime.stop)
            return Running(runtime, ini)

        yield start


@pytest.fixture
def database(postgres: Cluster) -> Iterator[Database]:
    """A direct connection to the database app, for preparing it."""
    with psycopg.connect(postgres.dsn(dbname="app"), autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("auth_type", ["md5", "scram-sha-256", "plain"])
@pytest.mark.parametrize("user", ["alice", "bob", "carol"])
async def test_a_user_that_only_postgresql_knows_logs_in(
    run: Run, user: str, auth_type: str
) -> None:
    pooler = await run(f"auth_type = {auth_type}")

    if (user, auth_type) == ("bob", "scram-sha-256"):  # an md5 secret cannot prove this
        assert "SASL authentication failed" in await pooler.refusal(user, "bob-secret")
    elif auth_type == "plain" and user != "bob":  # proves us nothing to log in to the server with
        assert "wrong password type" in await pooler.refusal(user, f"{user}-secret")
    elif user == "carol":  # the server wants to hear her password
        assert "wrong password type" in await pooler.refusal(user, "carol-secret")
    else:
        assert await pooler.ask(user, f"{user}-secret", "SELECT session_user") == user
    assert "authentication failed" in await pooler.refusal(user, "guessed")
    await eventually(pooler.is_quiet)


async def test_a_password_that_changes_is_found_anew_at_the_next_login(
    run: Run, database: Database
) -> None:
    pooler = await run()
    database.execute("CREATE ROLE changing LOGIN PASSWORD 'one'")
    try:
        assert await pooler.ask("changing", "one", "SELECT 1") == 1
        database.execute("ALTER ROLE changing PASSWORD 'two'")
        assert "authentication failed" in await pooler.refusal("changing", "one")
        assert await pooler.ask("changing", "two", "SELECT 1") == 1
    finally:
        database.execute("DROP ROLE changing")


async def test_who_is_nowhere_is_told_so_as_by_pgbouncer(run: Run) -> None:
    pooler = await run()

    assert "no such user" in await pooler.refusal("nobody", "guessed")
    await eventually(pooler.is_quiet)


@pytest.mark.parametrize("password", ["erin-secret", "md5", ""])
async def test_cve_2025_2291_a_password_that_has_expired_lets_nobody_in(
    run: Run, database: Database, password: str
) -> None:
    # PgBouncer's default auth_query once found expired passwords like any other. Since it answers
    # NULL for them, nothing may stand for that NULL which a client could say.
    pooler = await run()
    database.execute("CREATE ROLE erin LOGIN PASSWORD 'erin-secret' VALID UNTIL '1999-01-01'")
    try:
        refusal = await pooler.refusal("erin", password)
        assert "authentication failed" in refusal or "password" in refusal
    finally:
        database.execute("DROP ROLE erin")


@pytest.fixture
def trap(database: Database) -> Iterator[None]:
    """Two functions of one name: the honest one in public, and one that lets a stranger in."""
    database.execute(
        "CREATE FUNCTION public.lookup(text) RETURNS TABLE (usename name, passwd text) LANGUAGE sql"
        " AS $$ SELECT rolname, rolpassword FROM pg_catalog.pg_authid WHERE rolname = $1 $$"
    )
    database.execute("CREATE SCHEMA evil")
    database.execute(
        "CREATE FUNCTION evil.lookup(text) RETURNS TABLE (usename name, passwd text) LANGUAGE sql"
        " AS $$ SELECT $1::name, 'guessed' $$"
    )
    try:
        yield
    finally:
        database.execute("DROP FUNCTION public.lookup(text)")
        database.execute("DROP SCHEMA evil CASCADE")


LOOKUP = "auth_query = SELECT usename, passwd FROM lookup($1)"


@pytest.mark.usefixtures("trap")
async def test_cve_2025_12819_a_strangers_search_path_does_not_reach_auth_query(run: Run) -> None:
    # In PgBouncer before 1.25.1 a client's start-up parameters were given to the server that ran
    # auth_query, before the client had proved anything: with track_extra_parameters = search_path
    # a stranger chose whose functions and operators the query meant.
    pooler = await run(LOOKUP, "track_extra_parameters = search_path")
    evil = "-c search_path=evil,public"

    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        await pooler.ask("alice", "guessed", "SELECT 1", evil)
    assert await pooler.ask("alice", "alice-secret", "SELECT 1", evil) == 1


@pytest.mark.usefixtures("trap")
async def test_cve_2025_12819_nor_does_what_clients_of_auth_user_left_on_the_server(
    run: Run,
) -> None:
    # In a pool of transactions a SET outlives its client, and auth_query shares auth_user's pool.
    pooler = await run(LOOKUP, "auth_type = trust", "default_pool_size = 1")
    set_path = "SELECT set_config('search_path', 'evil, public', false)"
    assert await pooler.ask("postgres", "", set_path) == "evil, public"
    pooler.runtime.set_setting("auth_type", "md5")

    assert "authentication failed" in await pooler.refusal("alice", "guessed")
    assert await pooler.ask("alice", "alice-secret", "SELECT 1") == 1


@pytest.mark.parametrize(
    ("query", "logged"),
    [
        ("SELECT usename FROM nowhere WHERE usename = $1", 'relation "nowhere" does not exist'),
        ("SELECT $1::text", "expected 2 columns from auth_query, not 1"),
        ("SELECT NULL, $1::text", "auth_query response contained null user name"),
        ("COPY (SELECT 1, 2) TO STDOUT", "bind message supplies 1 parameters"),
    ],
)
async def test_an_auth_query_that_fails_is_a_config_error_and_the_log_says_why(
    run: Run, caplog: pytest.LogCaptureFixture, query: str, logged: str
) -> None:
    pooler = await run(f"auth_query = {query}")

    assert "bouncer config error" in await pooler.refusal("alice", "alice-secret")
    assert logged in caplog.text
    await eventually(pooler.is_quiet)


async def begin_asking(pooler: Running, open_client: OpenClient) -> WireClient:
    """Return a client for whom auth_query runs, and will for a minute."""
    client = await open_client(pooler)
    await client.send(StartupMessage({"user": "alice", "database": "app"}))
    await eventually(lambda: pooler.runtime.is_working(None))
    return client


async def test_a_server_that_dies_in_auth_query_costs_its_client_only(
    run: Run, open_client: OpenClient, database: Database
) -> None:
    # Another test's backend may sleep on, not having noticed that nobody waits for it.
    pooler = await run(SLEEPING.replace("60", "61"))
    client = await begin_asking(pooler, open_client)

    def kill() -> bool:
        killed = database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE query LIKE '%pg_sleep(61)%' AND pid <> pg_backend_pid()"
        )
        return bool(killed.fetchall())

    # PostgreSQL may not have come to the query yet.
    await eventually(lambda: asyncio.to_thread(kill))
    assert await client.until_closed() == ["E FATAL 08P01 bouncer config error"]
    await eventually(pooler.is_quiet)
    pooler.runtime.set_setting("auth_query", Settings().auth_query)
    assert await pooler.ask("alice", "alice-secret", "SELECT 1") == 1


async def test_a_client_that_leaves_in_auth_query_leaves_nothing_behind(
    run: Run, open_client: OpenClient
) -> None:
    pooler = await run(SLEEPING)
    client = await begin_asking(pooler, open_client)

    await client.abort()

    await eventually(pooler.is_quiet)
    assert pooler.pool().server_count == 0


async def test_client_login_timeout_counts_the_time_of_auth_query(
    run: Run, open_client: OpenClient
) -> None:
    pooler = await run(SLEEPING, "client_login_timeout = 0.3")
    client = await open_client(pooler)
    await client.send(StartupMessage({"user": "alice", "database": "app"}))

    assert await client.until_closed() == ["E FATAL 08P01 client_login_timeout"]
    await eventually(pooler.is_quiet)


async def test_who_must_wait_for_auth_users_server_waits_no_longer_than_others(
    run: Run, open_client: OpenClient
) -> None:
    limits = ("default_pool_size = 1", "query_wait_timeout = 0.3")
    pooler = await run("auth_type = trust", *limits)
    holder = await psycopg.AsyncConnection.connect(pooler.url("postgres", ""))
    pooler.runtime.set_setting("auth_type", "md5")
    async with holder:
        await holder.execute("SELECT 1")
        client = await open_client(pooler)
        await client.send(StartupMessage({"user": "alice", "database": "app"}))

        assert await client.until_closed() == ["E FATAL 08P01 query_wait_timeout"]
    assert await pooler.ask("alice", "alice-secret", "SELECT 1") == 1


async def test_in_session_mode_too_the_server_is_given_back(run: Run) -> None:
    pooler = await run("pool_mode = session", "default_pool_size = 1")

    for _ in range(2):
        assert await pooler.ask("alice", "alice-secret", "SELECT 1") == 1
        await eventually(pooler.is_quiet)
    assert pooler.pool().server_count == 1
