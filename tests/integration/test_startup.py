"""A client comes in: encryption requests, versions, parameters and the welcome it gets."""

from __future__ import annotations

import pytest

from pgpool_lite.pooler import Pooler
from tests.conftest import MakePooler
from tests.integration.conftest import Address, Connect, OpenClient
from tests.wire_client import SELECT_1
from tests.wire_messages import (
    PROTOCOL_3_2,
    GSSENCRequest,
    Query,
    SSLRequest,
    StartupMessage,
)

ONLY_DASH_C = (
    "E FATAL 08P01 unsupported options startup parameter: "
    "only '-c config=val' and '--config=val' are allowed"
)


async def test_an_ssl_request_is_declined_and_the_login_goes_on_in_the_clear(
    pooler: Pooler, open_client: OpenClient
) -> None:
    client = await open_client(pooler)
    await client.send(SSLRequest())
    assert await client.receive_exactly(1) == b"N"
    await client.login()
    assert await client.query("SELECT 1") == SELECT_1


async def test_a_gssapi_request_is_declined_and_the_login_goes_on_in_the_clear(
    pooler: Pooler, open_client: OpenClient
) -> None:
    client = await open_client(pooler)
    await client.send(GSSENCRequest())
    assert await client.receive_exactly(1) == b"N"
    await client.login()
    assert await client.query("SELECT 1") == SELECT_1


async def test_a_client_may_ask_for_gssapi_and_then_for_ssl_as_libpq_does(
    pooler: Pooler, open_client: OpenClient
) -> None:
    client = await open_client(pooler)
    await client.send(GSSENCRequest())
    assert await client.receive_exactly(1) == b"N"
    await client.send(SSLRequest())
    assert await client.receive_exactly(1) == b"N"
    await client.login()
    assert await client.query("SELECT 1") == SELECT_1


async def test_a_startup_message_may_arrive_byte_by_byte(
    pooler: Pooler, open_client: OpenClient
) -> None:
    client = await open_client(pooler)
    startup = StartupMessage({"user": "postgres", "database": "app"})
    await client.send_in_pieces(startup, size=1)
    await client.finish_login()
    assert await client.query("SELECT 1") == SELECT_1


async def test_a_query_may_follow_the_startup_message_in_the_same_write(
    pooler: Pooler, open_client: OpenClient
) -> None:
    client = await open_client(pooler)
    await client.send(StartupMessage({"user": "postgres", "database": "app"}), Query("SELECT 1"))
    await client.finish_login()
    assert await client.until_ready() == SELECT_1


async def test_protocol_3_2_is_negotiated_down_to_3_0(
    pooler: Pooler, open_client: OpenClient
) -> None:
    client = await open_client(pooler)
    await client.login(version=PROTOCOL_3_2)
    assert client.welcome[0] == "v 3.0"
    assert await client.query("SELECT 1") == SELECT_1


async def test_unknown_protocol_options_are_named_and_the_login_goes_on(
    pooler: Pooler, open_client: OpenClient
) -> None:
    client = await open_client(pooler)
    await client.login(parameters={"_pq_.compression": "zstd"})
    assert client.welcome[0] == "v 3.0 _pq_.compression"
    assert await client.query("SELECT 1") == SELECT_1


async def test_protocol_3_0_without_options_is_not_negotiated(
    pooler: Pooler, connect: Connect
) -> None:
    client = await connect(pooler)
    assert client.welcome[0] == "R Ok"


async def test_the_welcome_reports_what_the_real_server_reports(
    pooler: Pooler, postgres: Address, connect: Connect
) -> None:
    client, direct = await connect(pooler), await connect(postgres)
    assert client.parameters["server_version"] == direct.parameters["server_version"]
    # PgBouncer adds parameters of its own; so may this pooler.
    assert client.parameters.items() >= direct.parameters.items()


async def test_every_client_gets_a_cancel_key_of_its_own(pooler: Pooler, connect: Connect) -> None:
    clients = [await connect(pooler) for _ in range(20)]
    keys = {(client.process_id, client.secret_key) for client in clients}
    assert len(keys) == 20


async def test_the_database_defaults_to_the_name_of_the_user(
    make_pooler: MakePooler, postgres: Address, open_client: OpenClient
) -> None:
    to = f"postgresql://postgres@{postgres.host}:{postgres.port}/postgres"
    client = await open_client(await make_pooler(to=to))
    await client.send(StartupMessage({"user": "postgres"}))
    await client.finish_login()
    assert await client.value("SELECT current_database()") == "postgres"


async def test_a_startup_message_without_a_user_is_refused(
    pooler: Pooler, open_client: OpenClient
) -> None:
    client = await open_client(pooler)
    await client.send(StartupMessage({"database": "app"}))
    (error,) = await client.until_closed()
    assert error.startswith("E FATAL ")


# Parameters


async def test_a_tracked_parameter_is_set_and_reported_back(
    pooler: Pooler, connect: Connect
) -> None:
    client = await connect(pooler, TimeZone="Asia/Tokyo", application_name="wire test")
    assert client.parameters["TimeZone"] == "Asia/Tokyo"
    assert client.parameters["application_name"] == "wire test"
    assert await client.value("SHOW TimeZone") == "Asia/Tokyo"
    assert await client.value("SHOW application_name") == "wire test"


async def test_the_name_of_a_tracked_parameter_may_be_written_in_any_case(
    pooler: Pooler, connect: Connect
) -> None:
    client = await connect(pooler, timezone="Asia/Tokyo")
    assert await client.value("SHOW TimeZone") == "Asia/Tokyo"


@pytest.mark.parametrize(
    "options",
    [
        "-c TimeZone=Asia/Tokyo",
        "-cTimeZone=Asia/Tokyo",
        "--TimeZone=Asia/Tokyo",
        "-c DateStyle=German -c TimeZone=Asia/Tokyo",
    ],
)
async def test_a_tracked_parameter_may_come_in_options(
    pooler: Pooler, connect: Connect, options: str
) -> None:
    client = await connect(pooler, options=options)
    assert await client.value("SHOW TimeZone") == "Asia/Tokyo"


async def test_an_untracked_parameter_in_options_is_refused_by_name(
    pooler: Pooler, open_client: OpenClient
) -> None:
    client = await open_client(pooler)
    await client.send(
        StartupMessage({"user": "postgres", "database": "app", "options": "-c enable_seqscan=off"})
    )
    assert await client.until_closed() == [
        "E FATAL 08P01 unsupported startup parameter in options: enable_seqscan"
    ]


@pytest.mark.parametrize("options", ["-d", "-c", "-c TimeZone", "--TimeZone", "TimeZone=UTC"])
async def test_other_forms_of_options_are_refused(
    pooler: Pooler, open_client: OpenClient, options: str
) -> None:
    client = await open_client(pooler)
    await client.send(StartupMessage({"user": "postgres", "database": "app", "options": options}))
    assert await client.until_closed() == [ONLY_DASH_C]


async def test_an_untracked_startup_parameter_is_refused_by_name(
    pooler: Pooler, open_client: OpenClient
) -> None:
    client = await open_client(pooler)
    await client.send(
        StartupMessage({"user": "postgres", "database": "app", "statement_timeout": "5s"})
    )
    assert await client.until_closed() == [
        "E FATAL 08P01 unsupported startup parameter: statement_timeout"
    ]


async def test_an_ignored_startup_parameter_is_accepted_and_changes_nothing(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(ignore_startup_parameters="extra_float_digits,statement_timeout")
    client = await connect(pooler, statement_timeout="5s", extra_float_digits="0")
    assert await client.value("SHOW statement_timeout") == "0"


async def test_an_ignored_parameter_in_options_is_accepted_and_changes_nothing(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(ignore_startup_parameters="enable_seqscan")
    client = await connect(pooler, options="-c enable_seqscan=off")
    assert await client.value("SHOW enable_seqscan") == "on"


async def test_everything_untracked_in_options_may_be_ignored(
    make_pooler: MakePooler, connect: Connect
) -> None:
    pooler = await make_pooler(ignore_startup_parameters="options")
    client = await connect(pooler, options="-c enable_seqscan=off -c TimeZone=Asia/Tokyo")
    assert await client.value("SHOW enable_seqscan") == "on"
    assert await client.value("SHOW TimeZone") == "Asia/Tokyo"
