"""Does a reply ever reach another than its owner, while everything goes wrong that can?

A `Scenario` is a crowd of checking clients, a pooler process, a PostgreSQL, a fault proxy on either
side of the pooler, and strikes at whoever can be struck. Everything is drawn from its seed. It ends
when all clients have had their transactions; then rows are counted, and pooler and PostgreSQL must
be as they were at the start.

    python -m bench.soak network --seed 7      runs one again
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from pgpool_lite.dev.cluster import Cluster, ShutdownMode
from tests.certificates import Authority
from tests.integration.encrypted import let_encrypt
from tests.integration.serving import Serve, Serving
from tests.reliability.drivers import AsyncpgClient, PsycopgClient
from tests.reliability.fault_proxy import Address, FaultProxy, nothing_happens
from tests.reliability.oracle import Ledger, RawClient
from tests.reliability.scenarios import Scenario, Side, plan_of
from tests.wire_client import ConnectionLost, WireClient, eventually

# Between two strikes, or ends of stalls. A rhythm, not a wait for anything.
TICK_S = 0.05
# A scenario that takes longer hangs.
LONGEST_S = 300.0


@dataclass
class Report:
    """What was done, and what came of it."""

    ledger: Ledger
    row_count: int = 0
    strikes: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        ledger = self.ledger
        struck = ", ".join(f"{count} {name}" for name, count in sorted(self.strikes.items()))
        return (
            f"{ledger.answered_count} transactions answered to their owners, {self.row_count} rows"
            f" counted, 0 lost, 0 doubled; {sum(ledger.endings.values())} connections ended and"
            f" {len(ledger.in_doubt)} rows in doubt by: {struck or 'nothing'}"
        )


class Stage:
    """Where a scenario is played: what runs, and how it is struck."""

    def __init__(
        self, scenario: Scenario, postgres: Cluster, serving: Serving, ini: Path, report: Report
    ) -> None:
        self.scenario = scenario
        self.postgres = postgres
        self.serving = serving
        self.ini = ini
        self.report = report
        self._random = Random(f"{scenario.seed} strikes")
        self._never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._console: WireClient
        self._direct: WireClient
        self._strikes: dict[str, Callable[[], Awaitable[None]]] = {
            "terminate": self._terminate,
            "reload": lambda: self._say("RELOAD"),
            "broken reload": self._reload_broken,
            "reconnect": lambda: self._say("RECONNECT app"),
            "pause": self._pause,
            "kill": self._kill,
            "stop": self._stop,
            "crash": self._crash,
            "fast restart": lambda: self._restart("fast"),
            "immediate restart": lambda: self._restart("immediate"),
        }

    async def __aenter__(self) -> Stage:
        self._console = await WireClient.open(self.serving.host, self.serving.port)
        await self._console.login(database="pgbouncer")
        await eventually(self._has_come_in)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._console.close()
        await self._direct.close()

    async def _has_come_in(self) -> bool:
        """Say whether PostgreSQL lets us in: not while it starts."""
        self._direct = await WireClient.open(self.postgres.host, self.postgres.port)
        try:
            await self._direct.login()
        except (AssertionError, ConnectionError, ConnectionLost):
            await self._direct.abort()
            return False
        return True

    async def strike(self) -> None:
        """Do one thing that can be done, if there is one."""
        if self.scenario.strikes:
            name = self._random.choice(self.scenario.strikes)
            await self._strikes[name]()
            self.report.strikes[name] += 1

    async def _say(self, command: str) -> None:
        answer = await self._console.query(command)
        assert answer[-1] == "Z I", answer

    async def _terminate(self) -> None:
        """Have PostgreSQL end one of the pooler's backends."""
        await self._direct.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'app'"
            f" AND pid <> pg_backend_pid() ORDER BY pid OFFSET {self._random.randrange(4)} LIMIT 1"
        )

    async def _crash(self) -> None:
        """Kill one of the pooler's backends; PostgreSQL then ends all of them, and recovers."""
        sql = "SELECT pid FROM pg_stat_activity WHERE datname = 'app' AND pid <> pg_backend_pid()"
        found = [line[2:] for line in await self._direct.query(sql) if line.startswith("D ")]
        if found:
            os.kill(int(self._random.choice(found)), signal.SIGKILL)
            await self._direct.until_closed()
            await self._direct.abort()
            await eventually(self._has_come_in)

    async def _restart(self, mode: ShutdownMode) -> None:
        await self._direct.close()
        await asyncio.to_thread(self.postgres.restart, mode)
        await eventually(self._has_come_in)

    async def _pause(self) -> None:
        """Pause, which is answered when all servers are free, and go on."""
        await self._say("PAUSE app")
        await self._say("RESUME app")

    async def _kill(self) -> None:
        """Drop everybody, and let them in again."""
        await self._say("KILL app")
        await self._say("RESUME app")

    async def _stop(self) -> None:
        """Have the pooler stand still for a tick."""
        self.serving.send_signal(signal.SIGSTOP)
        await asyncio.wait([self._never], timeout=TICK_S)
        self.serving.send_signal(signal.SIGCONT)

    async def _reload_broken(self) -> None:
        """Have the pooler read a file that is wrong, and then the right one again."""
        right = self.ini.read_text()
        self.ini.write_text(right + "pool_mode = broken\n")
        answer = await self._console.query("RELOAD")
        assert answer[0].startswith("E"), answer
        self.ini.write_text(right)


def write_settings(
    folder: Path, scenario: Scenario, to: Address, authority: Authority | None
) -> Path:
    """Write the pooler's file; an authority issues what sides that speak TLS need."""
    (folder / "users").write_text('"postgres" ""\n')
    settings = {
        "listen_addr": "127.0.0.1",
        "listen_port": "0",
        "unix_socket_dir": "",
        "auth_type": "trust",
        "auth_file": str(folder / "users"),
        "admin_users": "postgres",
        "pool_mode": scenario.pool_mode,
        "default_pool_size": str(scenario.pool_size),
        "max_client_conn": "2000",
        "server_login_retry": "0",
        "log_connections": "0",
        "log_disconnections": "0",
        "log_pooler_errors": "0",
        "server_tls_sslmode": "require" if Side.SERVERS in scenario.encrypted else "disable",
        **scenario.settings,
    }
    if authority is not None:
        own = authority.issue("127.0.0.1")
        settings |= {
            "client_tls_sslmode": "allow",  # the console comes in plain text
            "client_tls_cert_file": str(own.cert),
            "client_tls_key_file": str(own.key),
        }
    if "workers" in scenario.settings:
        settings["listen_port"] = str(free_port())  # which all of them share
    lines = [f"{name} = {value}" for name, value in settings.items()]
    ini = folder / f"crosstalk-{scenario.seed}.ini"
    database = f"app = host={to.host} port={to.port}"
    ini.write_text("\n".join(["[databases]", database, "[pgbouncer]", *lines, ""]))
    return ini


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


async def play(scenario: Scenario, postgres: Cluster, serve: Serve, folder: Path) -> Report:
    """Play a scenario to its end; raises AssertionError for what may not be."""
    report = Report(Ledger())
    async with asyncio.timeout(LONGEST_S), AsyncExitStack() as stack:
        await prepare_ledger(postgres)
        plan = plan_of(scenario, Side.SERVERS)
        inner = await stack.enter_async_context(FaultProxy(postgres, plan))
        authority = None
        if scenario.encrypted:
            authority = Authority(folder / f"{scenario.name}-{scenario.seed}", "Crosstalk")
        if authority is not None and Side.SERVERS in scenario.encrypted:
            let_encrypt(postgres, authority)
        ini = write_settings(folder, scenario, inner, authority)
        serving = await serve(ini)
        stack.push_async_callback(serving.kill)
        plan = plan_of(scenario, Side.CLIENTS)
        outer = await stack.enter_async_context(FaultProxy(serving, plan))
        stage = await stack.enter_async_context(Stage(scenario, postgres, serving, ini, report))
        before = serving.descriptor_count
        await have_all_run(stage, inner, outer)
        inner.plan = outer.plan = nothing_happens
        for side, proxy in ((Side.SERVERS, inner), (Side.CLIENTS, outer)):
            for (action, toward), count in proxy.struck.items():
                report.strikes[f"{action.name} of {side.value} toward {toward.name}"] += count
        rows = await read_ledger(postgres)
        report.ledger.check(rows)
        report.row_count = len(rows)
        servers = scenario.pool_size * max(1, int(scenario.settings.get("workers", "1")))
        await eventually(lambda: serving.descriptor_count <= before + servers)
        assert "Traceback" not in serving.log, serving.log
    return report


async def have_all_run(stage: Stage, inner: FaultProxy, outer: FaultProxy) -> None:
    """Let all clients run to their end, striking at every tick."""
    scenario, ledger = stage.scenario, stage.report.ledger
    clients: list[RawClient | AsyncpgClient | PsycopgClient] = []
    may_lose, is_encrypted = scenario.may_lose, Side.CLIENTS in scenario.encrypted
    tls = tls_context() if is_encrypted else None
    for number in range(scenario.raw):
        random = Random(f"{scenario.seed} client {number}")
        clients.append(RawClient(number, random, ledger, lambda: outer, may_lose=may_lose, tls=tls))
    for number in range(scenario.raw, scenario.raw + 2 * scenario.by_driver):
        random = Random(f"{scenario.seed} client {number}")
        kind = AsyncpgClient if number % 2 else PsycopgClient
        clients.append(
            kind(
                number,
                random,
                ledger,
                lambda: outer,
                may_lose=may_lose,
                is_encrypted=is_encrypted,
            )
        )
    pending = {asyncio.ensure_future(each.run(scenario.transactions)) for each in clients}
    striking: asyncio.Future[None] | None = None
    try:
        while pending:
            done, pending = await asyncio.wait(
                pending, timeout=TICK_S, return_when=asyncio.FIRST_EXCEPTION
            )
            for task in done:
                task.result()
            inner.release()
            outer.release()
            if striking is None or striking.done():
                if striking is not None:
                    striking.result()
                striking = asyncio.ensure_future(stage.strike())
        if striking is not None:
            await striking
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


def tls_context() -> ssl.SSLContext:
    """Return what a client comes with that encrypts and trusts anybody."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["postgresql"])
    return context


async def prepare_ledger(postgres: Address) -> None:
    """Make the table anew."""
    async with await WireClient.open(postgres.host, postgres.port) as direct:
        await direct.login()
        await direct.query("DROP TABLE IF EXISTS ledger")
        answer = await direct.query("CREATE TABLE ledger (client int, seq int)")
        assert answer == ["C CREATE TABLE", "Z I"], answer


async def read_ledger(postgres: Address) -> list[tuple[int, int]]:
    """Return all rows of the table."""
    async with await WireClient.open(postgres.host, postgres.port) as direct:
        await direct.login()
        answer = await direct.query("SELECT client, seq FROM ledger")
    rows = [line[2:].split("|") for line in answer if line.startswith("D ")]
    return [(int(client), int(seq)) for client, seq in rows]
