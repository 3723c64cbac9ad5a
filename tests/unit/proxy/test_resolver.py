"""Looking host names up, with a system that a test plays."""

from __future__ import annotations

import asyncio

import pytest

from pgpool_lite.config import Config, DatabaseSettings, Settings
from pgpool_lite.pool.registry import Registry
from pgpool_lite.proxy.resolver import Resolver
from pgpool_lite.session.endpoint import Endpoint
from tests.unit.pool.helpers import add_server
from tests.unit.world import FakeClock

SETTINGS = Settings(dns_max_ttl=15, dns_nxdomain_ttl=5)


class System:
    """Answers look-ups with what it is told to know, once it may."""

    def __init__(self) -> None:
        self.known: dict[str, list[str]] = {}
        self.questions: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def ask(self, name: str) -> list[str]:
        self.questions.append(name)
        await self.may_answer.wait()
        if name not in self.known:
            raise OSError("Name or service not known")
        return self.known[name]


class Setting:
    """A registry, a system, a clock, and the resolver between them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.system = System()
        config = Config(settings=SETTINGS, databases={"app": DatabaseSettings(name="app")})
        self.registry = Registry(config, self.clock())
        self.resolver = Resolver(self.registry, lambda: SETTINGS, self.clock, self.system.ask)


@pytest.fixture
def setting() -> Setting:
    return Setting()


async def test_an_answer_is_asked_for_once_per_dns_max_ttl(setting: Setting) -> None:
    setting.system.known["db"] = ["10.0.0.1", "10.0.0.1", "10.0.0.2"]

    assert await setting.resolver.addresses("db") == ("10.0.0.1", "10.0.0.2")
    setting.clock.now += 15
    assert await setting.resolver.addresses("db") == ("10.0.0.2", "10.0.0.1")
    assert setting.system.questions == ["db"]
    setting.clock.now += 0.1
    await setting.resolver.addresses("db")
    assert setting.system.questions == ["db", "db"]


async def test_a_name_that_nobody_knows_is_asked_for_once_per_dns_nxdomain_ttl(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    assert await setting.resolver.addresses("db") == ()
    setting.clock.now += 5
    assert await setting.resolver.addresses("db") == ()
    assert setting.system.questions == ["db"]
    setting.clock.now += 0.1
    await setting.resolver.addresses("db")
    assert setting.system.questions == ["db", "db"]
    assert "DNS lookup failed: db: Name or service not known" in caplog.text


async def test_who_asks_meanwhile_waits_for_the_same_answer(setting: Setting) -> None:
    setting.system.known["db"] = ["1", "2"]
    setting.system.may_answer.clear()
    first, second = (asyncio.create_task(setting.resolver.addresses("db")) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert setting.registry.names.under_way == {"db"}

    setting.system.may_answer.set()

    assert [await first, await second] == [("1", "2"), ("2", "1")]
    assert setting.system.questions == ["db"]
    assert setting.registry.names.under_way == set()


async def test_who_gives_up_takes_the_answer_from_nobody(setting: Setting) -> None:
    setting.system.known["db"] = ["1"]
    setting.system.may_answer.clear()
    first, second = (asyncio.create_task(setting.resolver.addresses("db")) for _ in range(2))
    await asyncio.sleep(0)

    first.cancel()
    await asyncio.wait([first])
    setting.system.may_answer.set()

    assert await second == ("1",)


async def test_servers_on_an_address_that_vanished_are_obsolete(setting: Setting) -> None:
    setting.system.known["db"] = ["1", "2"]
    await setting.resolver.addresses("db")
    database = setting.registry.find_database("app", setting.clock())
    pool = setting.registry.pool_for(database, "alice")
    servers = [add_server(pool, number) for number in (101, 102, 103)]
    for server, (host, address) in zip(
        servers, (("db", "1"), ("db", "2"), ("1", "1")), strict=True
    ):
        server.endpoint = Endpoint(host, address, 5432)

    setting.system.known["db"] = ["2", "3"]
    setting.clock.now += 16
    await setting.resolver.addresses("db")

    assert [server.close_reason for server in servers] == ["obsolete connection", "", ""]


async def test_at_the_end_look_ups_are_given_up(setting: Setting) -> None:
    setting.system.may_answer.clear()
    asking = asyncio.create_task(setting.resolver.addresses("db"))
    await asyncio.sleep(0)

    await setting.resolver.close()

    assert setting.registry.names.under_way == set()
    with pytest.raises(asyncio.CancelledError):
        await asking
