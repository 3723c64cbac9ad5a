"""The same question asked through drivers: is what asyncpg and psycopg return its client's own?

A driver checks the protocol itself; here its results are checked, and what was committed is noted
in the ledger. They prepare, pipeline and copy by their own habits, which a client of ours has not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import asyncpg
import psycopg

from tests.reliability.fault_proxy import Address
from tests.reliability.oracle import ATTEMPTS, Broken, Ledger

# What a driver raises when its connection has ended. PostgreSQL's last words and the pooler's are
# two answers to one query, which psycopg calls an InternalError.
ENDED = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.ProtocolViolationError,
    asyncpg.exceptions.InternalClientError,
    psycopg.OperationalError,
    psycopg.InternalError,
    psycopg.errors.ProtocolViolation,
    psycopg.DatabaseError,
)


class DriverClient:
    """One client by a driver; owned by the scenario."""

    def __init__(
        self,
        number: int,
        random: Random,
        ledger: Ledger,
        address: Callable[[], Address],
        *,
        may_lose: bool,
        is_encrypted: bool = False,
    ) -> None:
        self.number = number
        self.seq = 0
        self.random = random
        self.ledger = ledger
        self._address = address
        self._may_lose = may_lose
        self._sslmode = "require" if is_encrypted else "prefer"

    @property
    def url(self) -> str:
        """Where to connect."""
        address = self._address()
        place = f"{address.host}:{address.port}"
        return f"postgresql://postgres@{place}/app?sslmode={self._sslmode}"

    async def run(self, count: int) -> None:
        """Have `count` transactions tried."""
        attempts_left = ATTEMPTS
        while self.seq < count:
            seq_before = self.seq
            try:
                await self.live(count)
            except ENDED as ending:
                attempts_left = ATTEMPTS if self.seq > seq_before else attempts_left - 1
                if not self._may_lose or not attempts_left:
                    raise Broken(f"driver client {self.number}: {ending!r}") from ending
                self.ledger.endings[f"{type(ending).__module__}.{type(ending).__name__}"] += 1
                await asyncio.sleep(0)

    async def live(self, count: int) -> None:
        """Connect and work until `count` transactions were tried, or the connection ends."""
        raise NotImplementedError

    def next_token(self) -> str:
        """Begin a transaction."""
        self.seq += 1
        return f"client {self.number} says {self.seq}"

    def expect(self, found: object, wanted: object) -> None:
        """Raise Broken if a driver returned something else."""
        if found != wanted:
            raise Broken(f"client {self.number}: not {wanted!r:.300} but {found!r:.300}")
        self.ledger.answered[type(self).__name__] += 1

    async def promise(self, commit: Callable[[], Awaitable[object]]) -> None:
        """Write a row and note what became of it."""
        row = (self.number, self.seq)
        self.ledger.in_doubt[row] = 1
        await commit()
        del self.ledger.in_doubt[row]
        self.ledger.promised[row] = 1
        self.ledger.answered[type(self).__name__] += 1


class AsyncpgClient(DriverClient):
    """By asyncpg: binary, prepared, cached."""

    async def live(self, count: int) -> None:
        connection = await asyncpg.connect(self.url, timeout=20, command_timeout=20)
        try:
            while self.seq < count:
                await self._do_one(connection, self.next_token())
            await connection.close(timeout=20)
        finally:
            connection.terminate()

    async def _do_one(self, connection: asyncpg.Connection, token: str) -> None:
        kind = self.random.randrange(5)
        if kind == 0:
            self.expect(await connection.fetchval("SELECT $1::text", token), token)
        elif kind == 1:
            text = "SELECT $1 || ' ' || n AS t FROM generate_series(1, 40) n"
            rows = await connection.fetch(text, token)
            self.expect([row["t"] for row in rows], [f"{token} {n}" for n in range(1, 41)])
        elif kind == 2:
            await self.promise(lambda: self._insert(connection))
        elif kind == 3:
            await self.promise(
                lambda: connection.copy_records_to_table(
                    "ledger", records=[(self.number, self.seq)]
                )
            )
        else:
            try:
                await connection.fetchval("SELECT $1::text::int", token)
            except asyncpg.InvalidTextRepresentationError as error:
                self.expect(token in str(error), True)

    async def _insert(self, connection: asyncpg.Connection) -> None:
        async with connection.transaction():
            await connection.execute("INSERT INTO ledger VALUES ($1, $2)", self.number, self.seq)


class PsycopgClient(DriverClient):
    """By psycopg: text, prepared after a while, in pipelines."""

    async def live(self, count: int) -> None:
        connect = psycopg.AsyncConnection.connect
        async with await connect(self.url, autocommit=True, connect_timeout=20) as connection:
            while self.seq < count:
                await self._do_one(connection, self.next_token())

    async def _do_one(self, connection: psycopg.AsyncConnection, token: str) -> None:
        kind = self.random.randrange(4)
        if kind == 0:
            cursor = await connection.execute("SELECT %s::text", (token,))
            self.expect(await cursor.fetchone(), (token,))
        elif kind == 1:
            async with connection.pipeline():
                cursors = [
                    await connection.execute("SELECT %s::text || %s", (token, str(n)))
                    for n in range(5)
                ]
            found = [await cursor.fetchone() for cursor in cursors]
            self.expect(found, [(f"{token}{n}",) for n in range(5)])
        elif kind == 2:
            await self.promise(lambda: self._insert(connection))
        else:
            text = f"COPY (SELECT '{token} ' || n FROM generate_series(1, 20) n) TO STDOUT"
            async with connection.cursor() as cursor, cursor.copy(text.encode()) as copy:
                rows = [row[0] async for row in copy.rows()]
            self.expect(rows, [f"{token} {n}" for n in range(1, 21)])

    async def _insert(self, connection: psycopg.AsyncConnection) -> None:
        async with connection.transaction():
            await connection.execute("INSERT INTO ledger VALUES (%s, %s)", (self.number, self.seq))
