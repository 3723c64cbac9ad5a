"""auth_type hba on real sockets: rules, peers, and a file that breaks while the pooler runs."""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import psycopg
import pytest

from pgpool_lite.config import load
from pgpool_lite.dev.cluster import Cluster
from pgpool_lite.errors import ConfigError
from pgpool_lite.proxy.runtime import Runtime
from tests.integration.serving import write_ini


class Ruled:
    """A pooler whose rules a test may change; it listens on TCP and on a Unix socket."""

    def __init__(self, folder: Path, postgres: Cluster) -> None:
        self.folder = folder
        self.hba = folder / "hba.conf"
        self.ident = folder / "ident.conf"
        self.ident.write_text(f"staff {getpass.getuser()} postgres\n")
        self.ini = write_ini(
            folder,
            postgres,
            "auth_type = hba",
            f"auth_hba_file = {self.hba}",
            f"auth_ident_file = {self.ident}",
            f"unix_socket_dir = {folder}",
            alice="alice-secret",
        )
        self.runtime: Runtime

    async def start(self, rules: str) -> None:
        self.hba.write_text(rules)
        self.runtime = Runtime(load(self.ini))
        await self.runtime.start()

    def reload(self, rules: str) -> None:
        self.hba.write_text(rules)
        self.runtime.reload()

    async def login(self, user: str = "postgres", password: str = "", *, unix: bool = False) -> str:
        """Log in; return "welcome", or why not."""
        assert self.runtime.doorway.address is not None
        host, port = self.runtime.doorway.address
        try:
            connection = await psycopg.AsyncConnection.connect(
                host=str(self.folder) if unix else host,
                port=port,
                user=user,
                password=password,
                dbname="app",
            )
        except psycopg.OperationalError as error:
            return str(error).rpartition("FATAL:  ")[2].splitlines()[0]
        await connection.close()
        return "welcome"


@pytest.fixture
async def ruled(tmp_path: Path, postgres: Cluster) -> AsyncIterator[Ruled]:
    ruled = Ruled(tmp_path, postgres)
    async with AsyncExitStack() as stack:
        yield ruled
        stack.push_async_callback(ruled.runtime.stop)


async def test_rules_tell_where_from_and_how(ruled: Ruled) -> None:
    await ruled.start(
        "local all all trust\nhost all postgres all reject\nhost app all 127.0.0.0/8 scram-sha-256"
    )

    assert await ruled.login(unix=True) == "welcome"
    assert await ruled.login() == "login rejected"
    assert await ruled.login("alice", "alice-secret") == "welcome"
    assert await ruled.login("alice", "guessed") == "SASL authentication failed"
    assert await ruled.login("mallory", "guessed") == "SASL authentication failed"


async def test_peer_lets_in_whom_the_system_knows(ruled: Ruled) -> None:
    await ruled.start("local all all peer map=staff\nhost all all all peer map=staff")

    assert await ruled.login(unix=True) == "welcome"
    assert await ruled.login("alice", unix=True) == "unix socket login rejected"
    assert await ruled.login() == "unix socket login rejected"


async def test_reload_reads_rules_and_maps_again(ruled: Ruled) -> None:
    await ruled.start("local all all peer map=staff")
    ruled.ident.write_text(f"staff {getpass.getuser()} all\n")
    ruled.reload("local all all peer map=staff\nhost all all all trust")

    assert await ruled.login("alice", unix=True) == "welcome"
    assert await ruled.login() == "welcome"


async def test_a_file_that_breaks_keeps_the_old_rules_in_force(ruled: Ruled) -> None:
    await ruled.start("host all all all reject")

    with pytest.raises(ConfigError, match=r"hba\.conf:1: could not parse hba config line 1: "):
        ruled.reload("host all postgres all rejct\nhost all all all trust")
    assert await ruled.login() == "login rejected"

    ruled.ident.unlink()
    with pytest.raises(ConfigError, match=r"ident\.conf: cannot be read"):
        ruled.reload("host all all all trust")
    assert await ruled.login() == "login rejected"


async def test_a_broken_file_does_not_start(ruled: Ruled) -> None:
    await ruled.start("host all all all trust")
    ruled.hba.write_text("host all all samenet trust")

    with pytest.raises(ConfigError, match="failed to parse address - samenet"):
        load(ruled.ini)
