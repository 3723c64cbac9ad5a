"""A pool with as many clients and servers as a test wants, and the check that its lists hold."""

from __future__ import annotations

from dataclasses import replace

from pgpool_lite.config import DatabaseSettings
from pgpool_lite.pool.database import Database
from pgpool_lite.pool.pool import Pool
from pgpool_lite.pool.rules import PoolRules
from pgpool_lite.session.client import ClientSession
from pgpool_lite.session.server import ServerSession
from pgpool_lite.session.states import ClientState, ServerState
from tests.unit.pairs import make_client, make_server

TRANSACTION = PoolRules(pool_size=3)


def make_pool(rules: PoolRules = TRANSACTION, **changes: object) -> Pool:
    """Return an empty pool; `changes` are rules by name."""
    database = Database(DatabaseSettings(name="app"), 0.0)
    changed: PoolRules = replace(rules, **changes)  # type: ignore[arg-type]  # names of fields
    return Pool(database, "alice", changed)


def add_client(pool: Pool, session_id: int = 1, now: float = 0.0) -> ClientSession:
    """Bring a client in that has been welcomed."""
    client = make_client(session_id, state=ClientState.LOGIN, now=now)
    pool.add_client(client)
    pool.admit(client)
    return client


def add_clients(pool: Pool, count: int) -> list[ClientSession]:
    return [add_client(pool, session_id) for session_id in range(1, count + 1)]


def add_server(pool: Pool, session_id: int = 101, now: float = 0.0) -> ServerSession:
    """Bring a server in that has logged in; a waiting client gets it at once."""
    server = make_server(session_id, now=now)
    pool.add_server(server, now)
    pool.server_logged_in(server, now)
    return server


def add_servers(pool: Pool, count: int) -> list[ServerSession]:
    return [add_server(pool, 100 + number) for number in range(1, count + 1)]


def linked_pair(pool: Pool, now: float = 0.0) -> tuple[ClientSession, ServerSession]:
    """Bring in a client and a server and link them."""
    client, server = add_client(pool, now=now), add_server(pool, now=now)
    assert pool.link(client, now) is server
    return client, server


def check(pool: Pool) -> None:
    """Assert that being in a list is being in a state, and that links are mutual and exclusive."""
    for server_state, servers in pool.servers.items():
        for server in servers:
            assert server.state is server_state
            assert (server.client is not None) == (server_state is ServerState.ACTIVE)
            assert server.client is None or server.client.server is server
    for client_state, clients in pool.clients.items():
        for client in clients:
            assert client.state is client_state
            assert client.server is None or client_state is ClientState.ACTIVE
            assert client.server is None or client.server.client is client
    linked = [server.client for server in pool.servers[ServerState.ACTIVE]]
    assert len(linked) == len(set(map(id, linked)))


def where(pool: Pool) -> str:
    """Return the lengths of all lists that are not empty, as SHOW POOLS would count."""
    servers = {f"sv_{state.name.lower()}": len(each) for state, each in pool.servers.items()}
    clients = {f"cl_{state.name.lower()}": len(each) for state, each in pool.clients.items()}
    return " ".join(f"{name}={size}" for name, size in {**clients, **servers}.items() if size)
