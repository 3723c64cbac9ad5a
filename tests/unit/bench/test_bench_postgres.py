"""A database's five facts survive every spelling."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.postgres import Database, Programs


def test_a_full_url_is_read() -> None:
    database = Database.from_url("postgresql://me:s%40cret@db.example:6000/shop")

    assert database == Database("db.example", 6000, "me", "s@cret", "shop")


def test_what_a_url_leaves_out_gets_postgresqls_defaults() -> None:
    assert Database.from_url("postgresql://me@") == Database("127.0.0.1", 5432, "me", "", "me")


@pytest.mark.parametrize(
    "url",
    ["postgresql://a%20b:p%2Fw@10.0.0.1:5433/x%20y", "postgresql://me@[::1]:5432/me"],
)
def test_a_url_comes_back_as_it_was(url: str) -> None:
    assert Database.from_url(url).url() == url


def test_another_scheme_is_refused() -> None:
    with pytest.raises(BenchError, match="expected a postgresql:// URL"):
        Database.from_url("mysql://me@host/db")


def test_libpq_gets_the_database_through_its_variables() -> None:
    environment = Database("h", 1, "u", "p", "d").at("127.0.0.1", 6543).environment()

    assert environment["PGHOST"] == "127.0.0.1"
    assert environment["PGPORT"] == "6543"
    assert environment["PGPASSWORD"] == "p"


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no-such-program is not found"):
        Programs(tmp_path).find("no-such-program")


def test_a_program_beside_the_server_comes_first(tmp_path: Path) -> None:
    beside = tmp_path / "sh"
    beside.touch(mode=0o755)

    assert Programs(tmp_path).find("sh") == str(beside)
