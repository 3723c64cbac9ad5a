"""The tables of moves are whole, and say what the essay above them says."""

from __future__ import annotations

import pytest

from pgpool_lite.session.states import CLIENT_MOVES, SERVER_MOVES, ClientState, ServerState


def test_every_state_has_its_moves() -> None:
    assert set(CLIENT_MOVES) == set(ClientState)
    assert set(SERVER_MOVES) == set(ServerState)


@pytest.mark.parametrize("state", [state for state in ClientState if state.name != "CLOSED"])
def test_every_client_state_may_end(state: ClientState) -> None:
    assert ClientState.CLOSED in CLIENT_MOVES[state]


@pytest.mark.parametrize("state", [state for state in ServerState if state.name != "CLOSED"])
def test_every_server_state_may_end(state: ServerState) -> None:
    assert ServerState.CLOSED in SERVER_MOVES[state]


def test_nothing_leaves_closed() -> None:
    assert not CLIENT_MOVES[ClientState.CLOSED]
    assert not SERVER_MOVES[ServerState.CLOSED]


def test_every_state_but_the_first_can_be_reached() -> None:
    assert set().union(*CLIENT_MOVES.values()) == set(ClientState) - {ClientState.LOGIN}
    assert set().union(*SERVER_MOVES.values()) == set(ServerState) - {ServerState.LOGIN}


def test_no_state_leads_to_itself() -> None:
    assert not [state for state, moves in CLIENT_MOVES.items() if state in moves]
    assert not [state for state, moves in SERVER_MOVES.items() if state in moves]


def test_promise_5_only_an_idle_server_can_be_handed_out() -> None:
    sources = {state for state, moves in SERVER_MOVES.items() if ServerState.ACTIVE in moves}

    assert sources == {ServerState.IDLE}


def test_promise_2_a_canceled_or_stale_server_is_not_handed_out_at_once() -> None:
    assert ServerState.ACTIVE not in SERVER_MOVES[ServerState.BEING_CANCELED]
    assert SERVER_MOVES[ServerState.USED] == {ServerState.TESTED, ServerState.CLOSED}
