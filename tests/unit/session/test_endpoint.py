"""Where a server connection leads."""

from __future__ import annotations

import pytest

from pgpool_lite.session.endpoint import Endpoint


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("/run/postgresql", "/run/postgresql/.s.PGSQL.5432"),
        ("@pg", "\0pg/.s.PGSQL.5432"),
    ],
)
def test_a_unix_socket_has_a_path_and_an_abstract_one_begins_with_a_zero(
    address: str, path: str
) -> None:
    endpoint = Endpoint(address, address, 5432)

    assert endpoint.is_unix
    assert endpoint.socket_path == path


@pytest.mark.parametrize("address", ["10.0.0.1", "::1"])
def test_an_ip_address_is_no_unix_socket(address: str) -> None:
    assert not Endpoint("db", address, 5432).is_unix
