"""One console client's socket after its login: feeds a `ConsoleSession`, writes what it answers.

A command such as PAUSE is answered when it is done. Until then the connection stands in
`runtime.console_waiters`, and the runtime calls `recheck` whenever something may have changed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from pgpool_lite.config import Settings
from pgpool_lite.console.answers import CommandError
from pgpool_lite.console.clients import ConsoleClient
from pgpool_lite.console.commands import Request, prepare
from pgpool_lite.console.controls import Controls
from pgpool_lite.console.fields import View
from pgpool_lite.console.session import ConsoleSession
from pgpool_lite.errors import ClientError
from pgpool_lite.pool.applicants import Admission
from pgpool_lite.pool.registry import Registry
from pgpool_lite.pool.stats import Counters
from pgpool_lite.pool.teaching import Scene, explain
from pgpool_lite.proxy.chorus import Chorus
from pgpool_lite.proxy.keys import random_key
from pgpool_lite.proxy.logs import LOGGER, place
from pgpool_lite.proxy.sockets import own_address, peer_address, peer_pid, tls_name
from pgpool_lite.wire.backend import error_response


class ConsoleHost(Controls, Protocol):
    """What a console connection needs of the runtime."""

    registry: Registry
    clock: Callable[[], float]
    #: Every open console connection, and those whose command is not done yet.
    consoles: set[ConsoleConnection]
    console_waiters: set[ConsoleConnection]

    #: Puts queries to all processes of a crew; None where there is one process only.
    chorus: Chorus | None

    @property
    def settings(self) -> Settings:
        """The settings in force."""


class ConsoleConnection(asyncio.Protocol):
    """Carries one console client's messages. Stands in `runtime.consoles` while it is open."""

    def __init__(
        self,
        runtime: ConsoleHost,
        transport: asyncio.Transport,
        admission: Admission,
        client_id: int,
        rest: bytes,
    ) -> None:
        """Take over the socket of a client that has proved who it is, and welcome it.

        `rest` is what the client has sent beyond its login.
        """
        self._runtime = runtime
        self._transport = transport
        self._is_admin = not admission.is_stats_user
        chorus = runtime.chorus
        #: It asks on behalf of another process's console, and is no client of its own.
        self.is_internal = chorus is not None and chorus.is_internal(transport)
        now = runtime.clock()
        #: Fixed for the connection, so that instants it is shown do not wander with the wall clock.
        self._wall_offset_s = time.time() - now
        #: The client does not read its answers: no more messages are taken.
        self._is_congested = False
        self.client = ConsoleClient(
            id=client_id,
            user=admission.user,
            application_name=admission.application_name,
            address=peer_address(transport),
            own_address=own_address(transport),
            connection=self,
            connected_at=now,
            requested_at=now,
            tls=tls_name(transport),
            peer_pid=peer_pid(transport),
        )
        self._session = ConsoleSession(
            self.client,
            Counters() if self.is_internal else runtime.registry.console.stats.now,
            self._make_request,
            self._note_refused_command,
            prepare if chorus is None or self.is_internal else chorus.prepare,
        )
        runtime.consoles.add(self)
        registry = runtime.registry
        if not self.is_internal:
            registry.census.client_came(registry.console.headcount, admission.user)
        transport.set_protocol(self)
        notice = runtime.settings.login_notify_message
        # What the console does cannot be canceled, so the key is nobody's.
        transport.write(self._session.welcome(random_key(), notice))
        if rest:
            self.data_received(rest)

    # --- the socket ---

    def data_received(self, data: bytes) -> None:
        """Take a read and answer what is in it."""
        self.client.requested_at = self._runtime.clock()
        try:
            self._session.receive(data)
        except ClientError as error:
            self.refuse(error)
            return
        self._go_on()

    def pause_writing(self) -> None:
        """Answer nothing more until the client has read what it was answered."""
        self._is_congested = True
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on with what has come meanwhile."""
        self._is_congested = False
        if not self._transport.is_closing():
            self._transport.resume_reading()
            self._go_on()

    def eof_received(self) -> bool:
        """Take a half-closed connection for a closed one."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a client that went without saying Terminate."""
        self._leave("client unexpected eof")

    # --- answers ---

    def recheck(self) -> None:
        """Answer the command that was waiting, if it is done now, and what came behind it."""
        self._go_on()

    def _go_on(self) -> None:
        """Answer messages until none is left, one waits, or the client does not read."""
        # Taken out first: a command may make the runtime recheck those who wait, in the middle of
        # our own work.
        self._runtime.console_waiters.discard(self)
        try:
            while not self._is_congested and not self._transport.is_closing():
                answer = self._session.answer()
                if answer is None:
                    break
                if not self._transport.is_closing():
                    self._transport.write(answer)
        except ClientError as error:
            self.refuse(error)
            return
        if self._session.is_leaving:
            self._leave("client close request")
        elif self._session.is_pending and not self._transport.is_closing():
            self._runtime.console_waiters.add(self)

    def _make_request(self) -> Request:
        runtime = self._runtime
        clients = sorted(
            (each.client for each in runtime.consoles if not each.is_internal),
            key=lambda client: client.id,
        )
        view = View(
            registry=runtime.registry,
            console_clients=clients,
            now=runtime.clock(),
            wall_offset_s=self._wall_offset_s,
            is_paused=runtime.is_globally_paused,
        )
        return Request(runtime, view, self._is_admin)

    # --- the end ---

    def refuse(self, error: ClientError) -> None:
        """Tell the client why it is closed, and close it."""
        if not self._transport.is_closing():
            told = explain(error, Scene(self._runtime.settings))
            self._transport.write(error_response(told))
            self._note_refusal(error)
        self._leave(error.message)

    def close(self) -> None:
        """Close the connection because the pooler ends."""
        self._leave("server shutting down")

    def _leave(self, reason: str) -> None:
        runtime = self._runtime
        if self not in runtime.consoles:
            return
        runtime.consoles.discard(self)
        runtime.console_waiters.discard(self)
        registry = runtime.registry
        if not self.is_internal:
            registry.census.client_left(registry.console.headcount, self.client.user)
        if runtime.settings.log_disconnections and not self.is_internal:
            age_s = runtime.clock() - self.client.connected_at
            LOGGER.info("%s closing because: %s (age=%ds)", self._name, reason, age_s)
        self._transport.close()

    # --- the log ---

    def _note_refused_command(self, error: CommandError) -> None:
        # PgBouncer's admin_error logs it by itself, whatever log_pooler_errors says.
        LOGGER.error("%s", error.message)
        self._note_refusal(error)

    def _note_refusal(self, error: CommandError | ClientError) -> None:
        if self._runtime.settings.log_pooler_errors:
            LOGGER.warning("%s pooler error: %s", self._name, error.message)

    @property
    def _name(self) -> str:
        client = self.client
        name = f"C-0x{client.id:x}: {self._runtime.registry.console.name}/{client.user}"
        return f"{name}@{place(client.address, client.peer_pid)}"
