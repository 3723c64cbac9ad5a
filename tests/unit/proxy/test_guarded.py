"""disable_pqexec and max_packet_size: who is closed, in which words, and who pays nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgpool_lite.config import Settings
from pgpool_lite.proxy.client_connection import ClientConnection
from pgpool_lite.proxy.guarded import (
    GuardedClientConnection,
    GuardedServerConnection,
    client_connection_class,
    server_connection_class,
)
from pgpool_lite.proxy.server_connection import ServerConnection
from tests.console_client import split
from tests.unit.world import World, state_of, transport_of
from tests.wire_messages import (
    Bind,
    CommandComplete,
    DataRow,
    Execute,
    Parse,
    Query,
    ReadyForQuery,
    Sync,
)

BATCH = Parse("SELECT 1") + Bind() + Execute() + Sync()
ANSWER = CommandComplete("SELECT 1") + ReadyForQuery()


class Guarded:
    """A client and a server whose connections are guarded, in a world of their own."""

    def __init__(self, **settings: object) -> None:
        self.world = world = World()
        config = world.registry.config
        changed: Settings = replace(config.settings, **settings)  # type: ignore[arg-type]  # by name
        world.registry.config = replace(config, settings=changed)
        usual_server, usual = world.add_server(), world.add_client()
        common = (world.pool, usual.transport, world.dispatcher)
        self.client = GuardedClientConnection(usual.session, *common)
        self.server = GuardedServerConnection(
            usual_server.session, world.pool, usual_server.transport, world.dispatcher
        )

    @property
    def heard(self) -> list[str]:
        """What the client has been told."""
        return [str(message) for message in split(transport_of(self.client).take())]


def test_with_disable_pqexec_a_simple_query_closes_its_client_before_anything_is_sent() -> None:
    pair = Guarded(disable_pqexec=True)

    pair.client.data_received(Query("SELECT 1"))

    assert pair.heard == ["E FATAL 08P01 PQexec disallowed"]
    assert (state_of(pair.client), state_of(pair.server)) == ("CLOSED", "IDLE")
    assert transport_of(pair.server).written == b""


def test_with_disable_pqexec_extended_queries_are_served() -> None:
    pair = Guarded(disable_pqexec=True)

    pair.client.data_received(BATCH)

    assert transport_of(pair.server).written == BATCH


def test_a_message_of_max_packet_size_passes_and_a_longer_one_closes_its_client() -> None:
    pair = Guarded(max_packet_size=100)
    longest = Query("x" * 94)

    pair.client.data_received(longest)
    assert transport_of(pair.server).written == longest
    pair.server.data_received(ANSWER)
    pair.client.data_received(Query("x" * 95))

    assert pair.heard[-1] == "E FATAL 08P01 bad packet header: '5100000064787878'"
    assert (state_of(pair.client), state_of(pair.server)) == ("CLOSED", "IDLE")


def test_an_answer_beyond_max_packet_size_costs_its_server_and_its_client() -> None:
    pair = Guarded(max_packet_size=100)
    pair.client.data_received(Query("SELECT 1"))

    pair.server.data_received(DataRow("x" * 100) + ANSWER)

    assert pair.heard == ["E FATAL 08P01 bad pkt header"]
    assert (state_of(pair.client), state_of(pair.server)) == ("CLOSED", "CLOSED")


@pytest.mark.parametrize(
    ("settings", "client", "server"),
    [
        (Settings(), ClientConnection, ServerConnection),
        (Settings(disable_pqexec=True), GuardedClientConnection, ServerConnection),
        (Settings(max_packet_size=9), GuardedClientConnection, GuardedServerConnection),
    ],
)
def test_without_either_setting_the_usual_connections_are_made(
    settings: Settings, client: type[ClientConnection], server: type[ServerConnection]
) -> None:
    assert client_connection_class(settings) is client
    assert server_connection_class(settings) is server
