"""What an operator does to a pooler at work, and no transaction fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from pgpool_lite.dev.cluster import Cluster
from tests.integration.serving import Serve
from tests.reliability.crosstalk import free_port, prepare_ledger, read_ledger
from tests.reliability.fault_proxy import Address
from tests.reliability.oracle import Ledger, RawClient
from tests.wire_client import WireClient, eventually

CLIENTS, ROLLS, PAUSES, BETWEEN = 10, 2, 2, 200


class Crowd:
    """Clients that come, do some transactions, leave and come again, until they are told to stop.

    None of their connections may end but by their own Terminate, or unheard where that is allowed.
    """

    def __init__(
        self, address: Callable[[], Address], *, may_be_reset_unheard: bool = False
    ) -> None:
        self.ledger = Ledger()
        self._may_be_reset_unheard = may_be_reset_unheard
        self._address = address
        self._stops = False
        self._number = 0

    async def run(self) -> None:
        """Work until told to stop."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CLIENTS):
                tasks.create_task(self._come_and_go())

    async def _come_and_go(self) -> None:
        while not self._stops:
            self._number += 1
            random = Random(f"graceful {self._number}")
            client = RawClient(
                self._number,
                random,
                self.ledger,
                self._address,
                may_lose=False,
                may_wait=False,
                may_be_reset_unheard=self._may_be_reset_unheard,
            )
            await client.run(10)

    async def more(self) -> None:
        """Wait until more transactions were answered."""
        wanted = self.ledger.answered_count + BETWEEN
        await eventually(lambda: self.ledger.answered_count >= wanted)

    def stop(self) -> None:
        """Have everybody leave when what they are at is done."""
        self._stops = True


def write_rolling_ini(folder: Path, postgres: Cluster, port: int) -> Path:
    """Write the file of poolers that take each other's place."""
    (folder / "users").write_text('"postgres" ""\n')
    lines = (
        "[databases]",
        f"app = host={postgres.host} port={postgres.port}",
        "[pgbouncer]",
        "listen_addr = 127.0.0.1",
        f"listen_port = {port}",
        f"unix_socket_dir = {folder}",
        f"pidfile = {folder / 'pid'}",
        "so_reuseport = 1",
        "auth_type = trust",
        f"auth_file = {folder / 'users'}",
        "admin_users = postgres",
        "pool_mode = transaction",
        "default_pool_size = 5",
        "log_connections = 0",
        "log_disconnections = 0",
    )
    ini = folder / "rolling.ini"
    ini.write_text("\n".join([*lines, ""]))
    return ini


async def test_rolling_restarts_under_load_fail_no_transaction(
    honest_postgres: Cluster, serve: Serve, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await prepare_ledger(honest_postgres)
    ini = write_rolling_ini(tmp_path, honest_postgres, free_port())
    serving = await serve(ini)
    # With tcp_defer_accept the kernel keeps a connection to itself until its StartupMessage comes;
    # if the old process closes its socket meanwhile, the kernel resets it.
    crowd = Crowd(lambda: serving, may_be_reset_unheard=True)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(crowd.run())
        for _ in range(ROLLS):
            await crowd.more()
            old, serving = serving, await serve("--reboot", ini)
            await crowd.more()
            assert await old.exit_code() == 0
        crowd.stop()

    crowd.ledger.check(await read_ledger(honest_postgres))
    assert not crowd.ledger.endings
    with capsys.disabled():
        print(
            f"\n  [{ROLLS} rolling restarts, {crowd.ledger.answered_count} transactions, 0 failed]"
        )


async def test_postgresql_restarts_between_pause_and_resume_and_no_transaction_fails(
    honest_postgres: Cluster, serve: Serve, tmp_path: Path
) -> None:
    await prepare_ledger(honest_postgres)
    serving = await serve(write_rolling_ini(tmp_path, honest_postgres, free_port()))
    crowd = Crowd(lambda: serving)

    async with (
        await WireClient.open(serving.host, serving.port) as console,
        asyncio.TaskGroup() as tasks,
    ):
        await console.login(database="pgbouncer")
        tasks.create_task(crowd.run())
        for _ in range(PAUSES):
            await crowd.more()
            assert (await console.query("PAUSE"))[-1] == "Z I"
            await asyncio.to_thread(honest_postgres.restart, "fast")  # nobody is there to notice
            assert (await console.query("RESUME"))[-1] == "Z I"
        crowd.stop()

    crowd.ledger.check(await read_ledger(honest_postgres))
    assert not crowd.ledger.endings
