"""Limits over several pools, and pools that come and go, in a process with a configuration file."""

from __future__ import annotations

from pathlib import Path

from pgpool_lite.dev.cluster import Cluster
from tests.integration.conftest import Connect, OpenClient
from tests.integration.serving import Serve, Serving, write_ini
from tests.wire_client import SELECT_1, WireClient, eventually
from tests.wire_messages import Query, StartupMessage

#: A database that the throw-away PostgreSQL has, and that the file does not name.
OTHER = "postgres"


async def column(console: WireClient, command: str, name: str) -> dict[str, str]:
    """Return one column of a SHOW table, by what stands in the first."""
    header, *lines = [line[2:] for line in await console.query(command) if line[0] in "TD"]
    names, cells = header.split(","), [line.split("|") for line in lines]
    return {row[0]: row[names.index(name)] for row in cells}


async def serve_two_users(
    serve: Serve, tmp_path: Path, postgres: Cluster, *settings: str
) -> Serving:
    """Start a pooler that knows postgres and alice."""
    secrets = {"alice": "alice-secret"}
    return await serve(write_ini(tmp_path, postgres, *settings, **secrets))


async def test_two_users_share_the_one_server_that_their_database_may_have(
    serve: Serve, tmp_path: Path, postgres: Cluster, connect: Connect
) -> None:
    serving = await serve_two_users(serve, tmp_path, postgres, "max_db_connections = 1")
    mine, theirs = await connect(serving), await connect(serving, user="alice")
    console = await connect(serving, database="pgbouncer")

    assert await mine.query("SELECT 1") == SELECT_1
    assert await theirs.query("SELECT 1") == SELECT_1
    await theirs.query("BEGIN")
    await mine.send(Query("SELECT 1"))
    assert await theirs.query("COMMIT") == ["C COMMIT", "Z I"]

    assert await mine.until_ready() == SELECT_1
    assert (await column(console, "SHOW DATABASES", "current_connections"))["app"] == "1"
    assert "app/alice@" in serving.log
    assert "closing because: evicted for max_db_connections" in serving.log


async def test_the_reserve_serves_a_client_that_has_waited_long_enough(
    serve: Serve, tmp_path: Path, postgres: Cluster, connect: Connect
) -> None:
    reserve = ("default_pool_size = 1", "reserve_pool_size = 1", "reserve_pool_timeout = 0.1")
    serving = await serve_two_users(serve, tmp_path, postgres, *reserve)
    holder, patient = await connect(serving), await connect(serving)
    await holder.query("BEGIN")

    assert await patient.query("SELECT 1") == SELECT_1
    assert "taking connection from reserve_pool" in serving.log


async def test_limits_of_clients_are_told_and_counted_by_the_console(
    serve: Serve,
    tmp_path: Path,
    postgres: Cluster,
    connect: Connect,
    open_client: OpenClient,
) -> None:
    limit = ("max_db_client_connections = 1", "max_user_client_connections = 3")
    serving = await serve_two_users(serve, tmp_path, postgres, *limit)
    first = await connect(serving, user="alice")
    console = await connect(serving, database="pgbouncer")

    second = await open_client(serving)
    await second.send(StartupMessage({"user": "postgres", "database": "app"}))
    sentence = "client connections exceeded (max_db_client_connections)"
    assert await second.until_closed() == [f"E FATAL 08P01 {sentence}"]
    assert (await column(console, "SHOW DATABASES", "current_client_connections"))["app"] == "1"
    assert (await column(console, "SHOW USERS", "current_client_connections"))["alice"] == "1"
    await first.close()

    async def nobody_is_there() -> bool:
        counts = await column(console, "SHOW DATABASES", "current_client_connections")
        return counts["app"] == "0"

    await eventually(nobody_is_there)
    await connect(serving)


async def test_an_automatic_database_and_its_pool_come_and_go(
    serve: Serve, tmp_path: Path, postgres: Cluster, connect: Connect
) -> None:
    quick = ("server_idle_timeout = 0.1", "pool_idle_timeout = 0.1", "autodb_idle_timeout = 0.5")
    ini = write_ini(tmp_path, postgres, *quick)
    fallback = f"* = host={postgres.host} port={postgres.port}\n[pgbouncer]"
    ini.write_text(ini.read_text().replace("[pgbouncer]", fallback))
    serving = await serve(ini)

    client = await connect(serving, database=OTHER)
    await serving.says(f"registered new auto-database: {OTHER}")
    await client.close()

    await serving.says(f"cleaning up idle pool for user postgres on db {OTHER}")
    await serving.says(f"dropping database '{OTHER}'")
    await connect(serving, database=OTHER)


async def test_a_database_that_a_reload_does_not_find_is_closed(
    serve: Serve, tmp_path: Path, postgres: Cluster, connect: Connect
) -> None:
    ini = write_ini(tmp_path, postgres)
    serving = await serve(ini)
    client, console = await connect(serving), await connect(serving, database="pgbouncer")
    await client.query("BEGIN")

    ini.write_text(ini.read_text().replace("app = ", "application = "))
    await console.query("RELOAD")

    assert await client.until_closed() == ["E FATAL 08P01 database removed"]
    await eventually(lambda: "dropping database 'app'" in serving.log)
    assert "app" not in await column(console, "SHOW POOLS", "user")
