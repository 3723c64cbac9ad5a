"""`pgpool-lite show`: the console of a pooler that runs, asked by the command line."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from pgpool_lite.cli import main
from pgpool_lite.config import DatabaseSettings
from pgpool_lite.dev.cluster import Cluster
from pgpool_lite.errors import ServerError
from pgpool_lite.operate.console_client import Console
from tests.certificates import Authority
from tests.conftest import MakePooler


async def show(*arguments: str) -> int:
    """Run the command line beside the pooler, which lives in this very loop."""
    return await asyncio.to_thread(main, ["show", *arguments])


async def test_a_table_is_printed_to_read(
    make_pooler: MakePooler, capsys: pytest.CaptureFixture[str]
) -> None:
    pooler = await make_pooler()

    assert await show("lists", "--url", pooler.console_dsn) == 0

    head, first, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ["list", "items"]
    assert first.split() == ["databases", "2"]
    assert len(head) == len(first), "a number ends where its column's name ends"


async def test_a_table_is_printed_as_json(
    make_pooler: MakePooler, capsys: pytest.CaptureFixture[str]
) -> None:
    pooler = await make_pooler()

    assert await show("databases", "--json", "--url", pooler.console_dsn) == 0

    databases = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert databases["app"]["pool_size"] == 20
    assert databases["pgbouncer"]["host"] is None


async def test_help_is_printed(make_pooler: MakePooler, capsys: pytest.CaptureFixture[str]) -> None:
    pooler = await make_pooler()

    assert await show("help", "--url", pooler.console_dsn) == 0

    assert "SHOW HELP|CONFIG|DATABASES" in capsys.readouterr().out


async def test_what_the_console_refuses_is_told(
    make_pooler: MakePooler, capsys: pytest.CaptureFixture[str]
) -> None:
    pooler = await make_pooler()

    assert await show("nosuch", "--url", pooler.console_dsn) == 1

    assert "invalid command 'SHOW nosuch', use SHOW HELP;" in capsys.readouterr().err


async def test_a_password_is_proved(
    make_pooler: MakePooler, capsys: pytest.CaptureFixture[str]
) -> None:
    pooler = await make_pooler(auth_type="plain")
    wrong = pooler.console_dsn.replace("postgres@", "postgres:wrong@")

    assert await show("version", "--url", wrong) == 1

    assert "password authentication failed" in capsys.readouterr().err


def test_where_nobody_listens_one_is_told_how_to_say_where(
    capsys: pytest.CaptureFixture[str], unused_port: int
) -> None:
    assert main(["show", "pools", "--url", f"postgresql://a@127.0.0.1:{unused_port}/b"]) == 1

    assert "hint: --url" in capsys.readouterr().err


@pytest.mark.parametrize(
    "parameters", ["", "sslmode=require", "sslmode=verify-full", "sslnegotiation=direct"]
)
async def test_tls_is_spoken_as_the_url_says(
    postgres: Cluster,
    make_pooler: MakePooler,
    authority: Authority,
    capsys: pytest.CaptureFixture[str],
    parameters: str,
) -> None:
    own = authority.issue("localhost")
    pooler = await make_pooler(
        postgres.dsn(dbname="app").replace("postgres@", "postgres:secret@"),
        auth_type="scram-sha-256",
        client_tls_sslmode="require",
        client_tls_cert_file=str(own.cert),
        client_tls_key_file=str(own.key),
    )
    mode = "&sslmode=require" if "direct" in parameters else ""
    url = pooler.console_dsn.replace("127.0.0.1", "localhost")

    code = await show(
        "clients", "--json", "--url", f"{url}?{parameters}{mode}&sslrootcert={authority.cert}"
    )

    assert code == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["tls"].startswith("TLSv1.3/")


async def test_a_certificate_that_proves_nothing_is_refused(
    make_pooler: MakePooler, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    own = authority.issue("elsewhere")
    pooler = await make_pooler(
        client_tls_sslmode="allow",
        client_tls_cert_file=str(own.cert),
        client_tls_key_file=str(own.key),
    )
    parameters = f"sslmode=verify-full&sslrootcert={authority.cert}"

    assert await show("version", "--url", f"{pooler.console_dsn}?{parameters}") == 1

    assert "certificate verify failed" in capsys.readouterr().err


async def test_tls_that_is_asked_for_and_not_there_is_told(
    make_pooler: MakePooler, capsys: pytest.CaptureFixture[str]
) -> None:
    pooler = await make_pooler()

    assert await show("version", "--url", f"{pooler.console_dsn}?sslmode=require") == 1

    assert "no TLS there, but sslmode=require asks for it" in capsys.readouterr().err


async def test_a_console_that_hangs_up_is_told_of(unused_port: int) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", unused_port)
    target = DatabaseSettings(name="pgbouncer", host="127.0.0.1", port=unused_port)
    async with server:
        with pytest.raises(ServerError, match=r"closed without a word|no answer"):
            await asyncio.to_thread(Console, target)


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
