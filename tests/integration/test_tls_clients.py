"""TLS towards clients: every sslmode, drivers, certificates, new ones by reload, and bad guests."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgpool_lite.dev.cluster import Cluster
from pgpool_lite.errors import ConfigError
from pgpool_lite.pooler import Pooler
from tests.certificates import Authority, Certificate
from tests.conftest import MakePooler
from tests.integration.conftest import Connect, OpenClient
from tests.wire_client import SELECT_1, WireClient, eventually
from tests.wire_messages import Query, SSLRequest, StartupMessage

MakeTlsPooler = Callable[..., Awaitable[Pooler]]

#: A row that no buffer holds.
LARGE = 20_000_000


@pytest.fixture
def own(authority: Authority) -> Certificate:
    """What the pooler shows."""
    return authority.issue("pooler", "DNS:localhost", "IP:127.0.0.1")


@pytest.fixture
def make_tls_pooler(
    make_pooler: MakePooler, own: Certificate, authority: Authority
) -> MakeTlsPooler:
    """A factory of poolers that show `own` and know `authority`; its argument is the sslmode."""

    make: Callable[..., Awaitable[Pooler]] = make_pooler

    def make_one(sslmode: str, **settings: object) -> Awaitable[Pooler]:
        usual: dict[str, object] = {
            "client_tls_cert_file": str(own.cert),
            "client_tls_key_file": str(own.key),
            "client_tls_ca_file": str(authority.cert),
        }
        return make(**{"client_tls_sslmode": sslmode, **usual, **settings})

    return make_one


def trusting(authority: Authority, certificate: Certificate | None = None) -> ssl.SSLContext:
    """What a client has that wants to see who is there, and may show who it is."""
    context = ssl.create_default_context(cafile=str(authority.cert))
    if certificate is not None:
        context.load_cert_chain(certificate.cert, certificate.key)
    return context


async def select_1(pooler: Pooler, **parameters: str) -> bool:
    """Ask by psycopg."""
    conninfo = make_conninfo(pooler.dsn, **parameters)
    async with await psycopg.AsyncConnection.connect(conninfo) as connection:
        return await (await connection.execute("SELECT 1")).fetchone() == (1,)


@pytest.mark.parametrize("sslmode", ["disable", "allow", "prefer"])
async def test_a_client_without_tls_comes_in_where_it_is_not_required(
    sslmode: str, make_tls_pooler: MakeTlsPooler, connect: Connect
) -> None:
    pooler = await make_tls_pooler(sslmode)

    assert await (await connect(pooler)).query("SELECT 1") == SELECT_1
    assert [client.tls for client in pooler.clients()] == [""]


@pytest.mark.parametrize("sslmode", ["require", "verify-ca", "verify-full"])
async def test_a_client_without_tls_is_refused_where_it_is_required(
    sslmode: str, make_tls_pooler: MakeTlsPooler, open_client: OpenClient
) -> None:
    pooler = await make_tls_pooler(sslmode)
    client = await open_client(pooler)

    await client.send(StartupMessage({"user": "postgres", "database": "app"}))

    assert await client.until_closed() == ["E FATAL 08P01 SSL required"]


@pytest.mark.parametrize("sslmode", ["allow", "prefer", "require"])
async def test_psycopg_comes_in_by_tls_and_sees_who_is_there(
    sslmode: str, make_tls_pooler: MakeTlsPooler, authority: Authority
) -> None:
    pooler = await make_tls_pooler(sslmode)

    assert await select_1(
        pooler, host="localhost", sslmode="verify-full", sslrootcert=str(authority.cert)
    )


async def test_asyncpg_comes_in_by_tls_and_sees_who_is_there(
    make_tls_pooler: MakeTlsPooler, authority: Authority
) -> None:
    pooler = await make_tls_pooler("require")
    parameters = f"host=localhost&sslmode=verify-full&sslrootcert={authority.cert}"

    connection = await asyncpg.connect(f"{pooler.dsn}?{parameters}")

    assert await connection.fetchval("SELECT 1") == 1
    assert [client.tls[:7] for client in pooler.clients()] == ["TLSv1.3"]
    await connection.close()


@pytest.mark.parametrize("sslmode", ["allow", "require", "verify-full"])
async def test_direct_tls_is_taken(
    sslmode: str, make_tls_pooler: MakeTlsPooler, authority: Authority
) -> None:
    pooler = await make_tls_pooler(sslmode)
    context = trusting(authority, authority.issue("alice"))
    context.set_alpn_protocols(["postgresql"])

    connection = await asyncpg.connect(pooler.dsn, ssl=context, direct_tls=True)

    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


@pytest.mark.parametrize("sslmode", ["verify-ca", "verify-full"])
async def test_a_client_must_show_a_certificate_where_that_is_verified(
    sslmode: str,
    make_tls_pooler: MakeTlsPooler,
    authority: Authority,
    other_authority: Authority,
) -> None:
    pooler = await make_tls_pooler(sslmode)
    known, unknown = authority.issue("alice"), other_authority.issue("alice")

    connection = await asyncpg.connect(pooler.dsn, ssl=trusting(authority, known))
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
    for certificate in (None, unknown):
        with pytest.raises((OSError, asyncpg.PostgresError)):
            await asyncpg.connect(pooler.dsn, ssl=trusting(authority, certificate))


async def test_a_connection_is_logged_with_its_tls(
    make_tls_pooler: MakeTlsPooler, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    pooler = await make_tls_pooler("require", client_tls13_ciphers="TLS_AES_128_GCM_SHA256")

    assert await select_1(pooler, sslmode="require")

    assert "user=postgres tls=TLSv1.3/TLS_AES_128_GCM_SHA256 replication=no" in caplog.text


@pytest.mark.parametrize("channel_binding", ["disable", "prefer", "require"])
async def test_a_scram_login_may_be_bound_to_its_connection(
    channel_binding: str,
    make_tls_pooler: MakeTlsPooler,
    encrypted_postgres: Cluster,
    authority: Authority,
) -> None:
    url = f"postgresql://bound:bound-secret@localhost:{encrypted_postgres.port}/app"
    pooler = await make_tls_pooler("require", to=url)

    assert await select_1(pooler, sslmode="require", channel_binding=channel_binding)


async def test_the_console_is_reached_by_tls_and_shows_it(make_tls_pooler: MakeTlsPooler) -> None:
    pooler = await make_tls_pooler("require")
    async with await psycopg.AsyncConnection.connect(
        pooler.console_dsn, sslmode="require", autocommit=True
    ) as console:
        cursor = await console.execute("SHOW CLIENTS")
        columns = [column.name for column in cursor.description or ()]
        [row] = await cursor.fetchall()

    assert row[columns.index("tls")].startswith("TLSv1.3/TLS_")


async def test_large_rows_and_large_queries_stream(make_tls_pooler: MakeTlsPooler) -> None:
    pooler = await make_tls_pooler("require")
    async with await psycopg.AsyncConnection.connect(pooler.dsn, sslmode="require") as connection:
        cursor = await connection.execute(f"SELECT repeat('x', {LARGE})")
        row = await cursor.fetchone()
        assert row == ("x" * LARGE,)
        cursor = await connection.execute("SELECT length(%s)", row)
        assert await cursor.fetchone() == (LARGE,)


async def test_a_client_that_does_not_read_holds_its_server_back(
    make_tls_pooler: MakeTlsPooler,
    connect: Connect,
    encrypted_postgres: Cluster,
    authority: Authority,
) -> None:
    url = f"postgresql://postgres@127.0.0.1:{encrypted_postgres.port}/app?sslmode=require"
    pooler = await make_tls_pooler("require", to=url)
    direct = await connect(encrypted_postgres)
    async with await WireClient.open(pooler.host, pooler.port, trusting(authority)) as client:
        await client.login()
        pid = await client.value("SELECT pg_backend_pid()")

        async def is_held_back() -> bool:
            sql = f"SELECT wait_event FROM pg_stat_activity WHERE pid = {pid}"
            return await direct.value(sql) == "ClientWrite"

        await client.send(Query(f"SELECT repeat('x', {5 * LARGE})"))
        await eventually(is_held_back)
        assert await client.lines(1) == ["T repeat"]
        assert await client.skip_message() == ("D", 2 + 4 + 5 * LARGE)
        assert await client.until_ready() == ["C SELECT 1", "Z I"]


async def test_a_query_is_canceled_by_tls(make_tls_pooler: MakeTlsPooler) -> None:
    pooler = await make_tls_pooler("require")
    async with (
        await psycopg.AsyncConnection.connect(
            pooler.dsn, sslmode="require", autocommit=True
        ) as connection,
        connection.pipeline(),
    ):
        cursor = await connection.execute("SELECT pg_sleep(60)")
        await eventually(lambda: any(server.state == "active" for server in pooler.servers()))
        await connection.cancel_safe()
        with pytest.raises(psycopg.errors.QueryCanceled):
            await cursor.fetchone()


# --- who does not keep to it ---


async def test_bytes_behind_the_request_for_tls_are_refused(
    make_tls_pooler: MakeTlsPooler, open_client: OpenClient
) -> None:
    pooler = await make_tls_pooler("require")
    client = await open_client(pooler)

    await client.send(SSLRequest(), StartupMessage({"user": "postgres", "database": "app"}))

    assert await client.until_closed() == [
        "E FATAL 08P01 received unencrypted data after SSL request"
    ]


@pytest.mark.parametrize("garbage", [b"\0" * 64, b"GET / HTTP/1.1\r\n\r\n", b"\x16\3\1\0\5hello"])
async def test_garbage_in_the_handshake_costs_who_sent_it(
    garbage: bytes,
    make_tls_pooler: MakeTlsPooler,
    open_client: OpenClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pooler = await make_tls_pooler("require")
    client = await open_client(pooler)

    await client.send(SSLRequest())
    assert await client.receive_exactly(1) == b"S"
    await client.send(garbage)

    await client.bytes_until_closed()
    assert "TLS handshake error: handshake failed: " in caplog.text
    assert await select_1(pooler, sslmode="require")


@pytest.mark.parametrize("said", [SSLRequest(), b"\x16\3\1"])
async def test_a_client_that_stalls_in_the_handshake_is_closed(
    said: bytes, make_tls_pooler: MakeTlsPooler, open_client: OpenClient
) -> None:
    pooler = await make_tls_pooler("require", client_login_timeout=0.3)
    client = await open_client(pooler)

    await client.send(said)

    assert await client.bytes_until_closed() in (b"S", b"")


# --- new certificates ---


async def test_a_reload_shows_a_new_certificate_and_keeps_who_is_inside(
    make_tls_pooler: MakeTlsPooler, authority: Authority, other_authority: Authority, tmp_path: Path
) -> None:
    show = showing(tmp_path, authority.issue("pooler", "DNS:localhost", "IP:127.0.0.1"))
    pooler = await make_tls_pooler("require", **show)
    inside = await asyncpg.connect(pooler.dsn, ssl=trusting(authority))

    showing(tmp_path, other_authority.issue("pooler", "DNS:localhost", "IP:127.0.0.1"))
    pooler.runtime.reload()

    assert await inside.fetchval("SELECT 1") == 1
    newcomer = await asyncpg.connect(pooler.dsn, ssl=trusting(other_authority))
    assert await newcomer.fetchval("SELECT 1") == 1
    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncpg.connect(pooler.dsn, ssl=trusting(authority))
    await inside.close()
    await newcomer.close()


async def test_a_reload_with_a_broken_certificate_changes_nothing(
    make_tls_pooler: MakeTlsPooler, authority: Authority, tmp_path: Path
) -> None:
    show = showing(tmp_path, authority.issue("pooler", "DNS:localhost", "IP:127.0.0.1"))
    pooler = await make_tls_pooler("require", **show)

    break_certificate(show)
    with pytest.raises(ConfigError, match="TLS setup failed: client_tls_key_file: "):
        pooler.runtime.reload()

    connection = await asyncpg.connect(pooler.dsn, ssl=trusting(authority))
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def test_settings_may_be_set_one_by_one(
    make_pooler: MakePooler, authority: Authority, own: Certificate
) -> None:
    other = authority.issue("other", "DNS:localhost", "IP:127.0.0.1")
    pooler = await make_pooler()
    set_setting: Callable[[str, str], str] = pooler.runtime.set_setting
    not_yet = "TLS settings could not be applied, still using old configuration"

    assert set_setting("client_tls_sslmode", "require") == not_yet
    assert set_setting("client_tls_key_file", str(own.key)) == not_yet
    assert set_setting("client_tls_cert_file", str(own.cert)) == ""
    assert await select_1(pooler, sslmode="verify-full", sslrootcert=str(authority.cert))
    assert set_setting("client_tls_key_file", str(other.key)) == not_yet
    assert await select_1(pooler, sslmode="verify-full", sslrootcert=str(authority.cert))
    assert set_setting("client_tls_cert_file", str(other.cert)) == ""
    assert await select_1(pooler, sslmode="verify-full", sslrootcert=str(authority.cert))
    assert set_setting("client_tls_sslmode", "disable") == ""
    assert await select_1(pooler, sslmode="disable")


async def test_a_start_without_its_certificate_names_setting_and_file(
    make_tls_pooler: MakeTlsPooler,
) -> None:
    with pytest.raises(ConfigError) as caught:
        await make_tls_pooler("require", client_tls_cert_file="/nowhere/pooler.crt")

    assert str(caught.value) == (
        "TLS setup failed: client_tls_cert_file: /nowhere/pooler.crt: No such file or directory"
    )


def showing(folder: Path, certificate: Certificate) -> dict[str, str]:
    """Put a certificate where the pooler looks for its own; return the settings that say so."""
    cert = shutil.copy(certificate.cert, folder / "pooler.crt")
    key = shutil.copy(certificate.key, folder / "pooler.key")
    return {"client_tls_cert_file": str(cert), "client_tls_key_file": str(key)}


def break_certificate(show: dict[str, str]) -> None:
    """Put something else where the pooler looks for its certificate."""
    Path(show["client_tls_cert_file"]).write_text("nothing of the kind")
