"""Both poolers get the same door, and what libpq is told fits it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.doors import PASSWORD, USER, Door
from bench.errors import LeftOut
from bench.postgres import Database
from pgpool_lite.wire.scram import ScramSecret

DATABASE = Database("127.0.0.1", 5432, "me", "", "shop")


def test_an_open_door_asks_for_nothing(tmp_path: Path) -> None:
    assert Door.OPEN.build(tmp_path) == {}
    assert Door.OPEN.enter(DATABASE) == DATABASE


def test_tls_comes_with_a_certificate_and_clients_that_insist_on_it(tmp_path: Path) -> None:
    settings = Door.TLS.build(tmp_path)

    assert Path(settings["client_tls_cert_file"]).read_text().startswith("-----BEGIN CERTIFICATE")
    assert Path(settings["client_tls_key_file"]).read_text().startswith("-----BEGIN PRIVATE KEY")
    assert Door.TLS.enter(DATABASE).environment()["PGSSLMODE"] == "require"


def test_without_openssl_tls_is_left_out_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(LeftOut, match="openssl, which makes the certificate, is not found"):
        Door.TLS.build(tmp_path)


def test_scram_clients_are_those_whose_secret_the_pooler_has(tmp_path: Path) -> None:
    settings = Door.SCRAM.build(tmp_path)
    user = Door.SCRAM.enter(DATABASE)

    assert (user.user, user.password) == (USER, PASSWORD)
    name, secret = (word.strip('"') for word in Path(settings["auth_file"]).read_text().split())
    assert name == USER
    assert ScramSecret.parse(secret).fits(PASSWORD)
