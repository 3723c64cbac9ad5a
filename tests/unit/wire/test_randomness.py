"""Random bytes are drawn by the block, and each byte is given out once, to one process."""

from __future__ import annotations

import os

import pytest

from pgpool_lite.wire.randomness import Reservoir, draw, draw_nonce


def test_what_is_drawn_is_what_the_system_gave_each_byte_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocks: list[bytes] = []

    def urandom(size: int) -> bytes:
        blocks.append(bytes([len(blocks)]) + os.getrandom(size - 1))
        return blocks[-1]

    monkeypatch.setattr(os, "urandom", urandom)
    reservoir = Reservoir()
    first = [reservoir.draw(1000) for _ in range(4)]
    second = reservoir.draw(1000)

    assert len(blocks) == 2
    assert b"".join(first) == blocks[0][:4000]
    assert second == blocks[1][:1000]


def test_no_two_draws_are_alike() -> None:
    drawn = {draw(8) for _ in range(2_000)}

    assert {len(each) for each in drawn} == {8}
    assert len(drawn) == 2_000


def test_a_nonce_is_printable_has_no_comma_and_comes_once() -> None:
    nonces = {draw_nonce() for _ in range(1_000)}

    assert len(nonces) == 1_000
    assert all(len(nonce) == 24 and nonce.isprintable() and "," not in nonce for nonce in nonces)


def test_a_forked_process_draws_others_than_its_parent() -> None:
    draw(8)  # there is a block
    told, tells = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(tells, draw(32))
        os._exit(0)
    os.close(tells)
    with os.fdopen(told, "rb") as pipe:
        of_child = pipe.read()
    os.waitpid(pid, 0)

    assert len(of_child) == 32
    assert of_child != draw(32)
