"""One console, two programs: what PgBouncer answers and what we answer, message by message.

Runs where `--pgbouncer PATH` names the binary of a PgBouncer 1.26.1. Both programs get one
configuration file and hear the same commands; columns, types, rows, tags, SQLSTATEs, messages and
NOTICEs must be the same, except where tests/docs/differences.py says that they are not.
DETAIL and HINT of errors are ours alone, and so is field V of all errors and notices.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgpool_lite.dev.cluster import Cluster
from pgpool_lite.operate.findings import OUR_SETTINGS
from tests.docs.differences import COMMANDS
from tests.integration.serving import AS_IS, COMMAND
from tests.unit.console.test_console_tables import COLUMNS
from tests.wire_client import WireClient, eventually
from tests.wire_messages import BackendMessage, Query

INI = """\
[databases]
app = host=127.0.0.1 port={postgres} user=postgres
two = host=127.0.0.1,127.0.0.2 port={postgres} dbname=x user=forced pool_mode=session pool_size=7
off = host=127.0.0.1 port={postgres}
[users]
ann = pool_size=5 pool_mode=session max_user_connections=3
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
pool_mode = transaction
auth_type = trust
auth_file = {folder}/users.txt
admin_users = admin
stats_users = stat
"""
USERS = '"admin" "a"\n"stat" "s"\n"ann" "x"\n"postgres" ""\n'

#: Tables whose rows must be the same, too; the others have times, ports and pointers in theirs.
SAME_ROWS = (
    "databases",
    "dns_hosts",
    "dns_zones",
    "peer_pools",
    "peers",
    "pools",
    "state",
    "users",
)

#: What everybody may say, right and wrong. Nothing here changes what the next one hears.
SAYINGS = (
    *(
        "",
        "  ",
        ";",
        "show",
        "SHOW ;",
        "SHOW FOO",
        "SHOW POOLS POOLS",
        "begin",
        "BEGIN;",
        "SELECT 1",
    ),
    *(
        "show stats; show pools",
        "SHOW POOLS;;",
        "-- x",
        "/* x */ SHOW POOLS",
        "show all",
        "SHOW FDS",
    ),
    *(
        '"sh""ow" pools',
        'show p"ools',
        "SHOW\vPOOLS",
        "SHOW POOLS\f",
        "SHOW HELP x",
        "SUSPEND",
        "SET",
    ),
    *(
        'SHOW "state"',
        '"SHOW" state',
        "SHOW\tSTATE\n",
        "select state ;",
        "RELOAD x",
        "SHUTDOWN foo",
    ),
    *(
        "RESUME",
        "RESUME app",
        "RESUME nosuch",
        "RESUME pgbouncer",
        "PAUSE nosuch",
        "PAUSE pgbouncer",
    ),
    *(
        "DISABLE",
        "DISABLE nosuch",
        "DISABLE pgbouncer",
        "ENABLE",
        "ENABLE nosuch",
        "ENABLE pgbouncer",
    ),
    *("RECONNECT nosuch", "RECONNECT pgbouncer", "KILL nosuch", "KILL pgbouncer", 'PAUSE "nosuch"'),
    *(
        "WAIT_CLOSE nosuch",
        "WAIT_CLOSE pgbouncer",
        "WAIT_CLOSE",
        "WAIT_CLOSE app",
        "RELOAD",
        "reload;",
    ),
    *("KILL_CLIENT", "KILL_CLIENT abc", "KILL_CLIENT 9999", "KILL_CLIENT 12abc", 'KILL_CLIENT ""'),
    *("KILL_CLIENT 99999999999999999999", 'KILL_CLIENT "-1"', 'KILL_CLIENT " 77"', "ENABLE app"),
    *("show client_encoding", "SHOW DateStyle", "show TIMEZONE", "show extra_float_digits"),
    *("show standard_conforming_strings", "show default_transaction_isolation", "show search_path"),
    *("set client_encoding to 'UTF8'", "SET datestyle = ISO", "SET extra_float_digits=3", "SET x"),
    *("SET application_name = x", "SET = 1", "SET nosuch = 1", "SET query_timeout=abc", "SETx=1"),
    *("SET query_timeout=''", "SET query_timeout='-1'", "SET pool_mode=foo", "SET verbose=loud"),
    *("SET log_stats=yes", "SET server_tls_sslmode=foo", "SET auth_dbname=pgbouncer"),
    *(
        "SET query_timeout = 3",
        "SET query_timeout='1.5'",
        "SET QUERY_TIMEOUT=2",
        'set "query_timeout"=0',
    ),
    *(
        "SET server_check_query='it''s'",
        "SET server_check_query='<empty>'",
        "SET pool_mode TO session",
    ),
    *(
        "SET stats_users='stat, ann'",
        "SET stats_users=stat",
        "SET pool_mode=TRANSACTION",
        "SET a b",
    ),
    *("RECONNECT", "RECONNECT app"),
)

#: Commands that change what the next ones hear.
STORIES = {
    "pause all": (
        *("PAUSE", "SHOW STATE", "SHOW DATABASES", "PAUSE", "PAUSE app", "KILL", "KILL app"),
        *("RESUME app", "DISABLE app", "ENABLE app", "RECONNECT", "WAIT_CLOSE", "RELOAD"),
        *("SHOW STATE", "RESUME", "SHOW STATE", "RESUME"),
    ),
    "pause one": (
        *(
            "PAUSE app",
            "SHOW STATE",
            "SHOW DATABASES",
            "PAUSE app",
            "PAUSE",
            "SHOW STATE",
            "RESUME",
        ),
        *("SHOW STATE", "SHOW DATABASES", "RESUME app", "RESUME app", 'PAUSE ""', "RESUME"),
    ),
    "kill": (
        *("KILL app", "SHOW DATABASES", "SHOW STATE", "RESUME", "RESUME app", "RESUME app"),
        *("KILL", "SHOW STATE", "SHOW DATABASES", "RESUME off"),
    ),
    "disable": (
        "DISABLE app",
        "SHOW DATABASES",
        "DISABLE app",
        "PAUSE app",
        "RESUME app",
        "ENABLE app",
    ),
    "shut down for clients": (
        *("SHUTDOWN WAIT_FOR_CLIENTS", "SHOW STATE", "RESUME", "PAUSE nosuch", "RELOAD"),
    ),
    "shut down for servers": (
        *("SHUTDOWN WAIT_FOR_SERVERS", "SHOW STATE", "RESUME", "PAUSE", "KILL", "PAUSE app"),
    ),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where one of the two listens."""

    folder: Path
    port: int
    host: str = "127.0.0.1"

    def write_ini(self, postgres: Cluster, more: str = "") -> Path:
        """Write the configuration file anew."""
        ini = self.folder / "pgbouncer.ini"
        text = INI.format(postgres=postgres.port, port=self.port, folder=self.folder)
        ini.write_text(text + more)
        return ini

    async def is_up(self) -> bool:
        """Tell whether it accepts connections."""
        try:
            _, writer = await asyncio.open_connection(self.host, self.port)
        except ConnectionError:
            return False
        writer.close()
        return True

    async def hear(
        self, commands: Sequence[str], user: str = "admin", client: str = ""
    ) -> dict[str, list[str]]:
        """Return what each command is answered on one connection, in a form that compares.

        With `client`, somebody uses that database meanwhile, in a transaction.
        """
        async with AsyncExitStack() as open_clients:
            console = await open_clients.enter_async_context(await self._log_in(user, "pgbouncer"))
            if client:
                other = await open_clients.enter_async_context(
                    await self._log_in("postgres", client)
                )
                await other.query("BEGIN")
            heard = {}
            for number, command in enumerate(commands):
                await console.send(Query(command))
                messages = await console.messages_until_ready()
                heard[f"{number} {command}"] = [self._shown(each) for each in messages]
            return heard

    async def _log_in(self, user: str, database: str) -> WireClient:
        client = await WireClient.open(self.host, self.port)
        await client.login(user, database)
        return client

    def _shown(self, message: BackendMessage) -> str:
        """Return what must be the same of a message."""
        if message.type in "EN":
            fields = message.fields
            names = "SCM" if message.type == "E" else "SCMD"
            return f"{message.type} " + " ".join(f"{name}{fields.get(name, '')}" for name in names)
        text = message.body.decode("latin-1").replace(str(self.port), "PORT ")
        return f"{message.type} {re.sub(str(self.folder), 'FOLDER', text)!r}"


@dataclass(frozen=True, slots=True)
class Both:
    """The two, with one configuration."""

    ours: Place
    theirs: Place

    async def differ(
        self, commands: Sequence[str], user: str = "admin", client: str = ""
    ) -> dict[str, tuple[list[str], list[str]]]:
        """Return the commands that are answered differently: what they say, and what we say."""
        theirs = await self.theirs.hear(commands, user, client)
        ours = await self.ours.hear(commands, user, client)
        return {
            command: (theirs[command], ours[command])
            for command in theirs
            if theirs[command] != ours[command]
        }


@pytest.fixture
async def both(program: str, postgres: Cluster) -> AsyncIterator[Both]:
    """Both programs, run by somebody whom PgBouncer lets run it."""
    with ExitStack() as stack:
        theirs = _start((program, "-q"), postgres, stack)
        ours = _start((*COMMAND, "serve", "-q", *AS_IS), postgres, stack)
        for place in (theirs, ours):
            await eventually(place.is_up)
        yield Both(ours, theirs)


def _start(command: Sequence[str], postgres: Cluster, stack: ExitStack) -> Place:
    """Start one of the two in a folder of its own; `stack` ends it."""
    folder = Path(tempfile.mkdtemp(prefix="pgpool-lite-"))
    stack.callback(shutil.rmtree, folder)
    folder.chmod(0o755)
    (folder / "users.txt").write_text(USERS)
    place = Place(folder, _free_port())
    # PgBouncer refuses to be run by root.
    user = "nobody" if command[0] != COMMAND[0] and os.geteuid() == 0 else None
    process = subprocess.Popen([*command, str(place.write_ini(postgres))], user=user)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return place


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_every_table_has_the_same_columns(both: Both) -> None:
    shows = [f"SHOW {what}" for what in sorted(COLUMNS)]
    theirs, ours = await both.theirs.hear(shows), await both.ours.hear(shows)

    assert {command: said[0] for command, said in ours.items()} == {
        command: said[0] for command, said in theirs.items()
    }


@pytest.mark.parametrize("client", ["", "app"])
async def test_tables_of_what_is_configured_have_the_same_rows(both: Both, client: str) -> None:
    assert await both.differ([f"SHOW {what}" for what in SAME_ROWS], client=client) == {}


async def test_show_config_has_the_same_rows_and_some_of_our_own(both: Both) -> None:
    (theirs,) = (await both.theirs.hear(["SHOW CONFIG"])).values()
    (ours,) = (await both.ours.hear(["SHOW CONFIG"])).values()

    # We may have been told to stay root.
    missing = [row for row in theirs if row not in ours and "\\x04user" not in row]
    extra = [row for row in ours if row not in theirs and "\\x04user" not in row]
    assert missing == []
    assert len(extra) == len(OUR_SETTINGS)


@pytest.mark.parametrize("user", ["admin", "stat"])
async def test_every_saying_is_answered_the_same(both: Both, user: str) -> None:
    assert await both.differ(SAYINGS, user) == {}


@pytest.mark.parametrize("story", sorted(STORIES))
async def test_a_story_goes_the_same(both: Both, story: str) -> None:
    client = "app" if story.startswith("shut") else ""

    assert await both.differ(STORIES[story], client=client) == {}


async def test_a_reload_of_a_wrong_file_is_refused_the_same(both: Both, postgres: Cluster) -> None:
    for place in (both.ours, both.theirs):
        place.write_ini(postgres, "server_lifetime = bad\n")
    assert await both.differ(["RELOAD", "SHOW DATABASES"]) == {}

    for place in (both.ours, both.theirs):
        place.write_ini(
            postgres, "server_lifetime = 99\nlisten_port = 1\nunix_socket_dir = /nowhere\n"
        )
    assert await both.differ(["RELOAD", "SHOW DATABASES"]) == {}


async def test_what_is_said_to_differ_does_differ(both: Both) -> None:
    commands = [each.command for each in COMMANDS if each.command]

    differing = await both.differ(commands)

    assert [command.split(" ", 1)[1] for command in differing] == commands
