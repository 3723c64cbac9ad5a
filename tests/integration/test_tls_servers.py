"""TLS towards PostgreSQL: every sslmode, names, certificates, and what a server may answer."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import psycopg
import pytest

from pgpool_lite.dev.cluster import Cluster
from pgpool_lite.pooler import Pooler
from tests.certificates import Authority, Certificate
from tests.conftest import MakePooler
from tests.fake_postgres import FakePostgres, FakeSession, answered_by
from tests.integration.conftest import Connect, OpenClient
from tests.wire_client import SELECT_1, eventually
from tests.wire_messages import Query, StartupMessage

IS_ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
#: sslmodes with which a server that has TLS is reached by TLS.
ENCRYPTED = ("allow", "prefer", "require", "verify-ca", "verify-full")


def url_of(cluster: Cluster, user: str = "postgres", host: str = "localhost") -> str:
    """The URL of the cluster's database app; its certificate names localhost."""
    return f"postgresql://{user}@{host}:{cluster.port}/app"


async def answer(pooler: Pooler, connect: Connect, sql: str) -> str:
    """Ask a question through the pooler; return the row that comes."""
    client = await connect(pooler)
    return (await client.query(sql))[1]


def server_context(certificate: Certificate) -> ssl.SSLContext:
    """What a server has that shows this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)
    return context


def says(caplog: pytest.LogCaptureFixture, text: str) -> Callable[[], bool]:
    """A condition: the log has this text."""
    return lambda: text in caplog.text


@pytest.mark.parametrize("mode", ENCRYPTED)
async def test_a_server_that_has_tls_is_reached_by_it(
    mode: str,
    make_pooler: MakePooler,
    connect: Connect,
    encrypted_postgres: Cluster,
    authority: Authority,
) -> None:
    pooler = await make_pooler(
        url_of(encrypted_postgres), server_tls_sslmode=mode, server_tls_ca_file=str(authority.cert)
    )

    assert await answer(pooler, connect, IS_ENCRYPTED) == "D t"
    [server] = pooler.servers()
    assert server.tls.startswith("TLSv1.3/TLS_")


async def test_sslmode_disable_does_not_ask_for_tls(
    make_pooler: MakePooler, connect: Connect, encrypted_postgres: Cluster
) -> None:
    pooler = await make_pooler(url_of(encrypted_postgres), server_tls_sslmode="disable")

    assert await answer(pooler, connect, IS_ENCRYPTED) == "D f"
    assert [server.tls for server in pooler.servers()] == [""]


async def test_sslmode_of_a_url_wins_over_server_tls_sslmode(
    make_pooler: MakePooler, connect: Connect, encrypted_postgres: Cluster
) -> None:
    url = f"{url_of(encrypted_postgres)}?sslmode=require"
    pooler = await make_pooler(url, server_tls_sslmode="disable")

    assert await answer(pooler, connect, IS_ENCRYPTED) == "D t"


@pytest.mark.parametrize("mode", ["allow", "prefer"])
async def test_a_server_without_tls_is_spoken_to_in_the_clear(
    mode: str, make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(server_tls_sslmode=mode)

    assert await answer(pooler, connect, "SELECT 1") == "D 1"


async def test_a_server_without_tls_is_given_up_where_tls_is_required(
    make_pooler: MakePooler, open_client: OpenClient, caplog: pytest.LogCaptureFixture
) -> None:
    pooler = await make_pooler(server_tls_sslmode="require")
    client = await open_client(pooler)

    await client.send(StartupMessage({"user": "postgres", "database": "app"}))

    await eventually(says(caplog, "server login failed: server refused SSL"))


@pytest.mark.parametrize(
    ("mode", "host", "reason"),
    [
        ("verify-full", "127.0.0.1", "IP address mismatch"),
        ("verify-ca", "localhost", "self"),
    ],
)
async def test_a_server_that_is_not_who_it_should_be_is_given_up(
    mode: str,
    host: str,
    reason: str,
    make_pooler: MakePooler,
    open_client: OpenClient,
    caplog: pytest.LogCaptureFixture,
    encrypted_postgres: Cluster,
    authority: Authority,
    other_authority: Authority,
) -> None:
    trusted = authority if mode == "verify-full" else other_authority
    pooler = await make_pooler(
        url_of(encrypted_postgres, host=host),
        server_tls_sslmode=mode,
        server_tls_ca_file=str(trusted.cert),
    )
    client = await open_client(pooler)

    await client.send(StartupMessage({"user": "postgres", "database": "app"}))

    await eventually(says(caplog, f"certificate verify failed: {reason}"))


async def test_verify_ca_does_not_look_at_the_name(
    make_pooler: MakePooler, connect: Connect, encrypted_postgres: Cluster, authority: Authority
) -> None:
    pooler = await make_pooler(
        url_of(encrypted_postgres, host="127.0.0.1"),
        server_tls_sslmode="verify-ca",
        server_tls_ca_file=str(authority.cert),
    )

    assert await answer(pooler, connect, IS_ENCRYPTED) == "D t"


async def test_the_poolers_own_certificate_lets_it_in(
    make_pooler: MakePooler, connect: Connect, encrypted_postgres: Cluster, authority: Authority
) -> None:
    own = authority.issue("certified")
    pooler = await make_pooler(
        url_of(encrypted_postgres, "certified"),
        server_tls_sslmode="require",
        server_tls_cert_file=str(own.cert),
        server_tls_key_file=str(own.key),
    )

    assert await answer(pooler, connect, "SELECT current_user") == "D certified"


async def test_a_scram_login_is_bound_to_its_connection(
    make_pooler: MakePooler, connect: Connect, encrypted_postgres: Cluster
) -> None:
    url = url_of(encrypted_postgres, "bound").replace("bound@", "bound:bound-secret@")
    pooler = await make_pooler(url, auth_type="any")

    assert await answer(pooler, connect, "SELECT current_user") == "D bound"


async def test_version_and_ciphers_are_those_of_the_settings(
    make_pooler: MakePooler, connect: Connect, encrypted_postgres: Cluster
) -> None:
    older = await make_pooler(
        url_of(encrypted_postgres),
        server_tls_protocols="tlsv1.2",
        server_tls_ciphers="ECDHE-ECDSA-AES128-GCM-SHA256",
    )
    newer = await make_pooler(
        url_of(encrypted_postgres), server_tls13_ciphers="TLS_CHACHA20_POLY1305_SHA256"
    )

    await answer(older, connect, "SELECT 1")
    await answer(newer, connect, "SELECT 1")

    assert [server.tls for server in older.servers()] == ["TLSv1.2/ECDHE-ECDSA-AES128-GCM-SHA256"]
    assert [server.tls for server in newer.servers()] == ["TLSv1.3/TLS_CHACHA20_POLY1305_SHA256"]


async def test_a_query_is_canceled_where_only_tls_will_do(
    make_pooler: MakePooler, encrypted_postgres: Cluster
) -> None:
    pooler = await make_pooler(
        url_of(encrypted_postgres, "sealed"), pool_size=1, server_tls_sslmode="require"
    )
    async with await psycopg.AsyncConnection.connect(pooler.dsn, autocommit=True) as connection:
        cursor = connection.cursor()
        await cursor.execute("SET statement_timeout = '20s'")
        async with connection.pipeline():
            await cursor.execute("SELECT pg_sleep(60)")
            await eventually(lambda: any(server.state == "active" for server in pooler.servers()))
            await connection.cancel_safe()
            with pytest.raises(psycopg.errors.QueryCanceled):
                await cursor.fetchone()


async def test_a_cancel_is_as_encrypted_as_the_server_that_is_meant(
    make_pooler: MakePooler, connect: Connect, open_client: OpenClient, authority: Authority
) -> None:
    async def wait_for_cancel(session: FakeSession) -> None:
        await session.receive()
        await eventually(lambda: bool(fake.cancels))

    context = server_context(authority.issue("localhost", "DNS:localhost"))
    context.set_alpn_protocols(["postgresql"])
    async with FakePostgres(wait_for_cancel, direct_tls=context) as fake:
        pooler = await make_pooler(f"{fake.url}?sslmode=require&sslnegotiation=direct")
        client = await connect(pooler)
        await client.send(Query("SELECT 1"))
        await eventually(lambda: fake.question_count == 1)

        await (await open_client(pooler)).send(client.cancel_request())

        await eventually(lambda: fake.cancels == [(4001, 1001)])


async def test_direct_tls_begins_without_asking(
    make_pooler: MakePooler, connect: Connect, authority: Authority
) -> None:
    context = server_context(authority.issue("localhost", "DNS:localhost"))
    context.set_alpn_protocols(["postgresql"])
    async with FakePostgres(direct_tls=context) as fake:
        url = f"postgresql://postgres@localhost:{fake.port}/app"
        pooler = await make_pooler(
            f"{url}?sslmode=verify-full&sslnegotiation=direct",
            server_tls_ca_file=str(authority.cert),
        )
        client = await connect(pooler)

        assert await client.query("SELECT 1") == answered_by(1)


async def test_direct_tls_with_whoever_does_not_know_the_protocol_is_given_up(
    make_pooler: MakePooler,
    open_client: OpenClient,
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
) -> None:
    context = server_context(authority.issue("localhost"))
    async with FakePostgres(direct_tls=context) as fake:
        pooler = await make_pooler(f"{fake.url}?sslmode=require&sslnegotiation=direct")
        client = await open_client(pooler)

        await client.send(StartupMessage({"user": "postgres", "database": "app"}))

        await eventually(says(caplog, "direct TLS without ALPN protocol negotiation"))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"E", "bad sslreq answer"),
        (b"SR\0\0\0\x08\0\0\0\0", "received unencrypted data after SSL response"),
        (b"NR\0\0\0\x08\0\0\0\0", "received unencrypted data after SSL response"),
    ],
)
async def test_a_server_that_answers_the_request_badly_is_given_up(
    said: bytes,
    reason: str,
    make_pooler: MakePooler,
    open_client: OpenClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with FakePostgres(encryption_answer=said) as fake:
        pooler = await make_pooler(fake.url)
        client = await open_client(pooler)

        await client.send(StartupMessage({"user": "postgres", "database": "app"}))

        await eventually(says(caplog, f"server login failed: {reason}"))


async def test_a_server_that_is_silent_in_the_handshake_is_given_up(
    make_pooler: MakePooler, open_client: OpenClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with FakePostgres(encryption_answer=b"S") as fake:
        pooler = await make_pooler(fake.url, server_connect_timeout=0.3)
        client = await open_client(pooler)

        await client.send(StartupMessage({"user": "postgres", "database": "app"}))

        await eventually(says(caplog, "server login failed: connect timeout"))


async def test_servers_are_replaced_when_their_tls_is_set_anew(
    make_pooler: MakePooler, connect: Connect, encrypted_postgres: Cluster
) -> None:
    pooler = await make_pooler(url_of(encrypted_postgres))
    client = await connect(pooler)
    assert (await client.query(IS_ENCRYPTED))[1] == "D t"

    pooler.runtime.set_setting("server_tls_sslmode", "disable")

    assert (await client.query(IS_ENCRYPTED))[1] == "D f"


async def test_servers_stay_when_nothing_about_their_tls_has_changed(
    make_pooler: MakePooler, connect: Connect, encrypted_postgres: Cluster
) -> None:
    pooler = await make_pooler(url_of(encrypted_postgres))
    client = await connect(pooler)
    assert await client.query("SELECT 1") == SELECT_1
    before = [server.id for server in pooler.servers()]

    pooler.runtime.reload()

    assert await client.query("SELECT 1") == SELECT_1
    assert [server.id for server in pooler.servers()] == before
