"""`pgpool-lite doctor` beside PostgreSQL, our pooler in its modes, and the real PgBouncer."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable

import pytest

from pgpool_lite.cli import main
from pgpool_lite.dev.cluster import Cluster
from pgpool_lite.operate import doctor_examination
from tests.conftest import MakePooler
from tests.integration.conftest import Connect
from tests.integration.side_by_side import pgbouncer


class Report:
    """What one run has printed as JSON, and its exit code."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text
        self._found = json.loads(text)

    def about(self, what: str) -> str:
        """Return what was said about one thing."""
        return "\n".join(
            f"{each['verdict']}: {each['says']}"
            for each in self._found["remarks"]
            if each["about"] == what
        )

    @property
    def problems(self) -> list[str]:
        """What was found to be wrong."""
        return [each["about"] for each in self._found["remarks"] if each["verdict"] == "problem"]

    def lines(self, driver: str) -> str:
        """Return the lines that fit a driver."""
        (found,) = (each for each in self._found["drivers"] if each["driver"] == driver)
        return "\n".join(found["lines"])


Doctor = Callable[..., Awaitable[Report]]


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Run the command line beside the pooler, which lives in this very loop."""
    monkeypatch.setattr(doctor_examination, "PATIENCE_S", 0.3)

    async def run(*arguments: str) -> Report:
        capsys.readouterr()
        code = await asyncio.to_thread(main, ["doctor", "--json", *arguments])
        return Report(code, capsys.readouterr().out)

    return run


async def test_postgresql_itself_is_well(doctor: Doctor, postgres: Cluster) -> None:
    report = await doctor(postgres.dsn(dbname="app"))

    assert (report.code, report.problems) == (0, [])
    assert "answers itself" in report.about("login")
    assert "No pooling to be seen" in report.about("pooling")
    assert "ok: A statement prepared in one transaction works" in report.about("named statements")
    assert "Taken over: extra_float_digits, statement_timeout, search_path, options" in (
        report.about("start-up parameters")
    )
    assert report.about("console") == ""


async def test_our_pooler_in_transaction_mode_is_well(
    doctor: Doctor, make_pooler: MakePooler, postgres: Cluster
) -> None:
    pooler = await make_pooler(pool_size=3)

    report = await doctor(pooler.dsn, "--direct", postgres.dsn(dbname="app"))

    assert (report.code, report.problems) == (0, [])
    assert "A pooler answers (1.26.1)" in report.about("login")
    assert "answers itself" in report.about("direct login")
    assert "Transaction pooling" in report.about("pooling")
    assert "ok: A statement prepared in one transaction works" in report.about("named statements")
    assert "Refused: statement_timeout" in report.about("start-up parameters")
    assert "default_pool_size = 3" in report.about("console")
    assert "DIRECT_URL" in report.lines("Prisma")


async def test_a_pool_of_one_server_is_examined_to_the_end(
    doctor: Doctor, make_pooler: MakePooler
) -> None:
    pooler = await make_pooler(pool_size=1)

    report = await doctor(pooler.dsn)

    assert (report.code, report.problems) == (0, [])
    assert "Transaction pooling" in report.about("pooling")


@pytest.mark.parametrize("pool_size", [1, 3])
async def test_names_that_pass_are_trouble_and_the_drivers_switches_are_told(
    doctor: Doctor, make_pooler: MakePooler, pool_size: int
) -> None:
    pooler = await make_pooler(pool_size=pool_size, max_prepared_statements=0)

    report = await doctor(pooler.dsn)

    assert (report.code, report.problems) == (1, ["named statements"])
    assert "prepareThreshold=0" in report.lines("JDBC")
    assert "statement_cache_size=0" in report.lines("asyncpg")


async def test_what_was_prepared_is_gone_afterwards(
    doctor: Doctor, make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=1, max_prepared_statements=0)

    await doctor(pooler.dsn)

    client = await connect(pooler)
    assert await client.value("SELECT count(*) FROM pg_prepared_statements") == "0"


async def test_statements_that_are_refused_are_trouble(
    doctor: Doctor, make_pooler: MakePooler
) -> None:
    pooler = await make_pooler(prepared_statements="reject")

    report = await doctor(pooler.dsn)

    assert "They are refused" in report.about("named statements")


async def test_session_mode_with_one_server_keeps_a_second_client_waiting(
    doctor: Doctor, make_pooler: MakePooler
) -> None:
    pooler = await make_pooler(pool_size=1, pool_mode="session")

    report = await doctor(pooler.dsn)

    assert (report.code, report.problems) == (1, ["pool size"])
    assert "Session pooling" in report.about("pooling")


async def test_a_full_pool_is_the_poolers_limit_and_the_console_says_who_waits(
    doctor: Doctor, make_pooler: MakePooler, connect: Connect, postgres: Cluster
) -> None:
    pooler = await make_pooler(pool_size=1, query_wait_timeout=0.2)
    holder = await connect(pooler)
    await holder.query("BEGIN")

    report = await doctor(pooler.dsn, "--direct", postgres.dsn(dbname="app"))

    assert "query_wait_timeout (08P01). This is the pooler." in report.about("login")
    assert "It says: Waited" in report.about("login")
    assert "lies with the pooler" in report.about("the way")
    assert "idle in transaction" in report.about("sessions")


async def test_a_pooler_without_room_for_clients_is_told_from_postgresql(
    doctor: Doctor, make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(max_client_conn=1)
    await connect(pooler)

    report = await doctor(pooler.dsn)

    assert report.code == 1
    assert "no more connections allowed (max_client_conn)" in report.about("login")
    assert "This is the pooler." in report.about("login")


async def test_forgotten_locks_are_found(
    doctor: Doctor, make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=2)
    client = await connect(pooler, application_name="migrate")
    await client.query("SELECT pg_advisory_lock(72707369)")

    report = await doctor(pooler.dsn)

    assert "advisory locks" in report.problems
    assert "holds 72707369" in report.about("advisory locks")


async def test_idle_transactions_are_shown_without_their_values(
    doctor: Doctor, make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(pool_size=3)
    client = await connect(pooler, application_name="forgetful")
    await client.query("BEGIN; SELECT 'hush'")

    report = await doctor(pooler.dsn)

    assert "(forgetful)" in report.about("idle in transaction")
    assert "last BEGIN; SELECT ?" in report.about("idle in transaction")
    assert "hush" not in report.text


async def test_a_wrong_password_is_told_and_not_printed(
    doctor: Doctor, make_pooler: MakePooler
) -> None:
    pooler = await make_pooler(auth_type="plain")

    report = await doctor(pooler.dsn.replace("postgres@", "postgres:hush@"))

    assert report.code == 1
    assert "password authentication failed" in report.about("login")
    assert "hush" not in report.text


async def test_nobody_at_the_address_is_no_limit_of_anybody(doctor: Doctor) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        report = await doctor(f"postgresql://a:hush@127.0.0.1:{port}/app", "--error", "P2024")

    assert report.problems == ["the message", "login"]
    assert "This is the network." in report.about("login")
    assert "hush" not in report.text


async def test_it_is_printed_to_read(
    make_pooler: MakePooler, capsys: pytest.CaptureFixture[str]
) -> None:
    pooler = await make_pooler(pool_size=2, max_prepared_statements=0)

    assert await asyncio.to_thread(main, ["doctor", pooler.dsn]) == 1

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ok       login                 127.0.0.1:")
    assert "problem  named statements" in "\n".join(lines)
    assert "  JDBC         jdbc:postgresql://host:port/db?prepareThreshold=0" in lines
    assert max(map(len, lines)) <= 100


def test_what_is_no_url_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "db.example"]) == 1

    assert "expected a URL such as" in capsys.readouterr().err


def test_without_a_url_the_arguments_are_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["doctor"])

    assert "URL" in capsys.readouterr().err


# --- beside the real PgBouncer ---


@pytest.fixture
def program(pytestconfig: pytest.Config) -> str:
    """The real PgBouncer."""
    path = pytestconfig.getoption("--pgbouncer")
    if not path:
        pytest.skip("no PgBouncer to examine: name it with --pgbouncer PATH")
    return str(path)


REAL = {
    "usual": ((), []),
    "names pass": (("max_prepared_statements = 0",), ["named statements"]),
    "one server per session": (("pool_mode = session", "default_pool_size = 1"), ["pool size"]),
}


@pytest.mark.parametrize(("settings", "problems"), REAL.values(), ids=REAL)
async def test_pgbouncer_is_examined_like_our_own(
    doctor: Doctor, program: str, postgres: Cluster, settings: tuple[str, ...], problems: list[str]
) -> None:
    async with pgbouncer(program, postgres, *settings) as place:
        report = await doctor(f"postgresql://postgres@{place.host}:{place.port}/app")

    assert report.problems == problems
    assert "A pooler answers" in report.about("login")
    assert "Refused: extra_float_digits, statement_timeout" in report.about("start-up parameters")
    assert "PgBouncer 1." in report.about("console")
