"""Clients by the Unix socket: by which names the log and the console know them."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
from psycopg.rows import DictRow, dict_row

from bench.targets import find_free_port
from pgpool_lite.dev.cluster import Cluster
from tests.integration.serving import Serve, write_ini


async def test_a_local_client_is_known_by_its_process_and_the_sockets_port(
    serve: Serve, tmp_path: Path, postgres: Cluster
) -> None:
    """As in PgBouncer, for whoever looks for the process that holds a connection."""
    port = find_free_port()
    ini = write_ini(tmp_path, postgres, f"listen_port = {port}", f"unix_socket_dir = {tmp_path}")
    serving = await serve(ini)

    rows = await show_clients(f"host={tmp_path} port={port} user=postgres dbname=pgbouncer", 2)

    whose = {(row["database"], row["addr"], row["port"], row["remote_pid"]) for row in rows}
    assert whose == {(name, "unix", port, os.getpid()) for name in ("app", "pgbouncer")}
    for name in ("app", "pgbouncer"):
        await serving.says(f" {name}/postgres@unix({os.getpid()}):{port} login attempt: db={name}")
        await serving.says(f" {name}/postgres@unix({os.getpid()}):{port} closing because: ")


async def show_clients(console_dsn: str, count: int) -> list[DictRow]:
    """Return what SHOW CLIENTS says while one more client is there than the console's own."""
    connect = psycopg.AsyncConnection.connect
    client = await connect(console_dsn.replace("pgbouncer", "app"), autocommit=True)
    console = await connect(console_dsn, autocommit=True, row_factory=dict_row)
    async with client, console, psycopg.AsyncClientCursor(console, row_factory=dict_row) as cursor:
        await cursor.execute("SHOW CLIENTS")
        rows = await cursor.fetchall()
    assert len(rows) == count
    return rows
