"""Every state a client or a server connection can be in, and every move between them.

Two rules for this file. All knowledge of *which* state may follow which is here, as tables; who
moves a connection is `pool.roster`, which looks every move up here, and on the hot path `pool.pool`
by hand. And a state is the same thing as a list of the pool: a connection in state S is in the
pool's list for S and in no other, so the length of a list is the statistic that SHOW POOLS prints.

How a client lives
------------------

A client starts in LOGIN and stays there until it has proved who it is and the pool knows what a
server of this database says in its welcome; that may mean waiting for the very first server. From
then on it is ACTIVE, whether or not it is linked to a server: an ACTIVE client that is not linked
simply has nothing to ask. When it asks and no server is idle it is WAITING, first come first
served. It leaves WAITING by being linked, by running into query_wait_timeout, or by leaving.

      LOGIN ──► ACTIVE ◄──► WAITING            a CancelRequest is a client of its own:
                                               LOGIN ──► WAITING_CANCEL ──► ACTIVE_CANCEL

How a server lives
------------------

A server is in LOGIN while it is opened. Then it is IDLE, and the pool hands out the IDLE server
that was released last (the warmest; the others may age and be closed). It is ACTIVE while linked
to a client, however idle that client is inside its transaction. At release it goes back to IDLE,
or straight to the oldest waiting client, unless something stands in the way:

  - a reset or check query of our own must run first: TESTED until that is answered;
  - a cancel request for it is still in flight and could strike the next client's query:
    BEING_CANCELED until the last such request is through;
  - it is too old, obsolete or in a state without a name: CLOSED.

A server that has been IDLE for server_check_delay is USED: it must be TESTED before it is handed
out again. With a delay of 0 it is USED as soon as it is released. A connection that only carries a
CancelRequest has no session and no state: there is exactly one for each client in ACTIVE_CANCEL.

      LOGIN ──► IDLE ◄──────► ACTIVE
                │  ▲            │
                ▼  │            ├──► TESTED ──► IDLE
              USED─┴► TESTED    └──► BEING_CANCELED ──► IDLE | TESTED

Every state may go to CLOSED, and nothing leaves CLOSED.
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import Final


@unique
class ClientState(IntEnum):
    """What a client connection is doing, in PgBouncer's words."""

    LOGIN = 0
    ACTIVE = 1
    WAITING = 2
    WAITING_CANCEL = 3
    ACTIVE_CANCEL = 4
    CLOSED = 5


@unique
class ServerState(IntEnum):
    """What a server connection is doing, in PgBouncer's words."""

    LOGIN = 0
    IDLE = 1
    ACTIVE = 2
    USED = 3
    TESTED = 4
    BEING_CANCELED = 5
    CLOSED = 6


_C = ClientState
_S = ServerState

CLIENT_MOVES: Final[dict[ClientState, frozenset[ClientState]]] = {
    _C.LOGIN: frozenset({_C.ACTIVE, _C.WAITING_CANCEL, _C.CLOSED}),
    _C.ACTIVE: frozenset({_C.WAITING, _C.CLOSED}),
    _C.WAITING: frozenset({_C.ACTIVE, _C.CLOSED}),
    _C.WAITING_CANCEL: frozenset({_C.ACTIVE_CANCEL, _C.CLOSED}),
    _C.ACTIVE_CANCEL: frozenset({_C.CLOSED}),
    _C.CLOSED: frozenset(),
}

SERVER_MOVES: Final[dict[ServerState, frozenset[ServerState]]] = {
    _S.LOGIN: frozenset({_S.IDLE, _S.CLOSED}),
    _S.IDLE: frozenset({_S.ACTIVE, _S.USED, _S.CLOSED}),
    _S.ACTIVE: frozenset({_S.IDLE, _S.USED, _S.TESTED, _S.BEING_CANCELED, _S.CLOSED}),
    _S.USED: frozenset({_S.TESTED, _S.CLOSED}),
    _S.TESTED: frozenset({_S.IDLE, _S.CLOSED}),
    _S.BEING_CANCELED: frozenset({_S.IDLE, _S.USED, _S.TESTED, _S.CLOSED}),
    _S.CLOSED: frozenset(),
}
