"""What does `pgpool-lite dev` start, print and stop? A fake PostgreSQL and fake poolers answer."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import pytest

from pgpool_lite.dev import command
from pgpool_lite.dev.binaries import Binaries
from pgpool_lite.dev.command import DevOptions, Plan, run_dev
from pgpool_lite.errors import ConfigError, ServerError

BINARIES = Binaries(Path("/pg/bin"), "18.4", "embedded")


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@dataclass
class World:
    """What happened, in order, and what shall happen."""

    events: list[str] = field(default_factory=list)
    settings: list[dict[str, object]] = field(default_factory=list)
    # Called when the second pooler is up, and each time a state is asked for.
    when_up: Callable[[], None] = interrupt
    when_asked: Callable[[], None] = lambda: None
    when_postgres_starts: Callable[[], None] = lambda: None


class FakeCluster:
    kept_data: Path | None = None
    binaries = BINARIES
    data = Path("/tmp/pgpool-lite-x/data")

    def __init__(self, world: World) -> None:
        self.world = world

    def start(self) -> None:
        self.world.when_postgres_starts()
        self.world.events.append("PostgreSQL up")

    def stop(self) -> None:
        self.world.events.append("PostgreSQL down")

    def dsn(self) -> str:
        return "postgresql://postgres@127.0.0.1:40001/postgres"


class FakePooler:
    def __init__(self, world: World, to: str, settings: dict[str, object]) -> None:
        self.world = world
        self.ended = asyncio.Event()
        self.mode = settings["pool_mode"]
        self.port = int(str(settings["port"])) or 40002
        self.dsn = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self.console_dsn = f"postgresql://postgres@127.0.0.1:{self.port}/pgbouncer"
        world.settings.append({"to": to, **settings})

    async def __aenter__(self) -> FakePooler:
        self.world.events.append(f"{self.mode} up")
        if self.mode == "session":
            self.world.when_up()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.world.events.append(f"{self.mode} down")
        self.ended.set()

    async def wait_until_stopped(self) -> None:
        await self.ended.wait()

    def pools(self) -> list[object]:
        self.world.when_asked()
        return []

    def stats(self) -> dict[str, object]:
        return {}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()

    def make_pooler(to: str, **settings: object) -> FakePooler:
        return FakePooler(world, to, settings)

    monkeypatch.setattr(command, "Pooler", make_pooler)
    monkeypatch.setattr(command, "find_binaries", lambda _: BINARIES)
    monkeypatch.setattr(command, "Cluster", lambda *_, **__: FakeCluster(world))
    return world


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def test_all_goes_up_and_comes_down_in_reverse(world: World) -> None:
    assert await run_dev(DevOptions(port=0, session_port=0)) == 0

    assert world.events == [
        *("PostgreSQL up", "transaction up", "session up"),
        *("session down", "transaction down", "PostgreSQL down"),
    ]


async def test_the_session_port_may_use_what_the_pool_leaves(world: World) -> None:
    await run_dev(DevOptions(port=0, session_port=0, pool_size=7, max_connections=50))

    pooled, session = world.settings
    to = "postgresql://postgres@127.0.0.1:40001/postgres"
    rest = {"host": "127.0.0.1", "port": 0, "profile": "pgbouncer-1.26"}
    mode = {"pool_mode": "transaction", "session_leaks": "warn"}
    assert pooled == {"to": to, "pool_size": 7, **mode, **rest}
    assert session == {"to": to, "pool_size": 37, "pool_mode": "session", **rest}


async def test_a_profile_decides_where_the_options_say_nothing(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    await run_dev(DevOptions(port=0, session_port=0, profile="supavisor"))

    pooled, session = world.settings
    assert (pooled["pool_size"], pooled["profile"]) == (15, "supavisor")
    assert (session["pool_size"], session["profile"]) == (79, "supavisor")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("# profile supavisor: ")
    assert lines[2].startswith('DATABASE_URL="postgresql://postgres.local@127.0.0.1:')


def test_the_ports_are_those_of_the_profile_or_of_the_options() -> None:
    plan = Plan.of(DevOptions(profile="supavisor", port=7000))

    assert (plan.port, plan.session_port, plan.pool_size) == (7000, 5432, 15)
    assert Plan.of(DevOptions()).pool_size == 5


@pytest.mark.usefixtures("world")
async def test_the_lines_are_printed_once_all_is_up(capsys: pytest.CaptureFixture[str]) -> None:
    await run_dev(DevOptions(port=0, session_port=0))

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == (
        "# PostgreSQL 18.4 (embedded) at postgresql://postgres@127.0.0.1:40001/postgres,"
        " data in /tmp/pgpool-lite-x/data (thrown away at the end)"
    )
    assert lines[1] == 'DATABASE_URL="postgresql://postgres@127.0.0.1:40002/postgres"'
    assert lines[-1].startswith("# console: psql ")


async def test_kept_data_is_called_so(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeCluster, "kept_data", Path("/data"))

    await run_dev(DevOptions(data=Path("/data"), port=0, session_port=0))

    assert "(kept)" in capsys.readouterr().out


async def test_a_running_postgres_is_used_as_it_is(world: World) -> None:
    await run_dev(DevOptions("postgresql://db.example/app", port=0, session_port=0))

    assert "PostgreSQL up" not in world.events
    assert world.settings[0]["to"] == "postgresql://db.example/app"


@pytest.mark.usefixtures("world")
async def test_an_unknown_choice_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match='--postgres: "mysql" is none of auto, system, embedded'):
        await run_dev(DevOptions("mysql"))


@pytest.mark.usefixtures("world")
async def test_ports_that_are_taken_move_up_and_it_is_said(
    taken_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    await run_dev(DevOptions(port=taken_port, session_port=taken_port))

    text = capsys.readouterr().out
    assert f"# NOTE: port {taken_port} is taken; the pooled port is " in text
    assert f"# NOTE: port {taken_port} is taken; the session port is " in text


async def test_when_every_port_is_taken_it_says_so_and_leaves_nothing(
    world: World, taken_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "PORTS_TRIED", 1)

    with pytest.raises(ConfigError, match=f"ports {taken_port} to {taken_port} of 127"):
        await run_dev(DevOptions(port=taken_port))

    assert world.events == ["PostgreSQL up", "PostgreSQL down"]


async def test_a_port_that_cannot_be_had_for_another_reason_is_left_to_the_listener(
    world: World,
) -> None:
    # 192.0.2.1 is TEST-NET-1 of RFC 5737: no machine has it.
    await run_dev(DevOptions(host="192.0.2.1", port=6543, session_port=6543))

    assert [settings["port"] for settings in world.settings] == [6543, 6543]


async def test_a_postgres_that_fails_to_start_is_an_error(world: World) -> None:
    def fail() -> None:
        raise ServerError("PostgreSQL did not start")

    world.when_postgres_starts = fail

    with pytest.raises(ServerError, match="did not start"):
        await run_dev(DevOptions(port=0, session_port=0))

    assert world.events == ["PostgreSQL down"]


async def test_a_cancellation_while_postgres_starts_stops_it_once_it_is_up(world: World) -> None:
    loop = asyncio.get_running_loop()
    starts = asyncio.Event()
    may_go_on = threading.Event()

    def start_slowly() -> None:
        loop.call_soon_threadsafe(starts.set)
        may_go_on.wait()

    world.when_postgres_starts = start_slowly
    running = asyncio.create_task(run_dev(DevOptions(port=0, session_port=0)))
    await starts.wait()
    running.cancel()
    loop.call_soon(may_go_on.set)

    with pytest.raises(asyncio.CancelledError):
        await running

    assert world.events == ["PostgreSQL up", "PostgreSQL down"]


async def test_a_terminal_sees_the_state_redrawn_in_place(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each redraw asks both poolers; the third redraw is the last.
    asked: list[Callable[[], None]] = [interrupt, *[lambda: None] * 4]
    world.when_up = lambda: None
    world.when_asked = lambda: asked.pop()() if asked else None
    monkeypatch.setattr(command, "REFRESH_S", 0.001)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    await run_dev(DevOptions(port=0, session_port=0))

    _, *states = capsys.readouterr().out.split("\r\x1b[K")
    assert len(states) >= 2
    assert states[0].startswith("clients 0 active 0 waiting | servers 0 active")
    assert states[-1].endswith("\n")


async def test_a_signal_that_is_ignored_stays_ignored(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    def look_and_interrupt() -> None:
        seen.append(signal.getsignal(signal.SIGHUP))
        interrupt()

    world.when_up = look_and_interrupt
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        await run_dev(DevOptions(port=0, session_port=0))
    finally:
        signal.signal(signal.SIGHUP, before)

    assert seen == [signal.SIG_IGN]
