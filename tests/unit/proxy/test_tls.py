"""Which TLS follows from the settings, and what is said where it cannot be set up."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from pgpool_lite.config import Config, config_for_url
from pgpool_lite.errors import ConfigError
from pgpool_lite.proxy.ciphersuites import set_ciphersuites
from pgpool_lite.proxy.tls import ServerTls, Tls
from tests.certificates import Authority, Certificate

URL = "postgresql://ann@db.example/app"
TLS_1_3 = "TLS_AES_256_GCM_SHA384"


@pytest.fixture
def own(authority: Authority) -> Certificate:
    return authority.issue("pooler", "DNS:localhost", "IP:127.0.0.1")


def config(own: Certificate, **settings: object) -> Config:
    """A configuration that lets clients use TLS, unless `settings` say otherwise."""
    usual = {
        "client_tls_sslmode": "allow",
        "client_tls_cert_file": str(own.cert),
        "client_tls_key_file": str(own.key),
    }
    return config_for_url(URL, **{**usual, **settings})


def client_context(own: Certificate, **settings: object) -> ssl.SSLContext:
    """The context that clients meet."""
    tls = Tls()
    tls.apply(config(own, **settings))
    assert tls.client is not None
    return tls.client.context


def towards(url: str, **settings: object) -> ServerTls | None:
    """How the URL's server is asked for TLS."""
    tls = Tls()
    configuration = config_for_url(url, **settings)
    tls.apply(configuration)
    return tls.towards(configuration.databases["app"])


def refusal(own: Certificate, **settings: object) -> str:
    """What is wrong with the settings."""
    with pytest.raises(ConfigError) as caught:
        Tls().apply(config(own, **settings))
    return str(caught.value).removeprefix("TLS setup failed: ")


def test_before_anything_is_applied_there_is_no_tls() -> None:
    tls = Tls()

    assert tls.client is None
    assert tls.towards(config_for_url(URL).databases["app"]) is None


@pytest.mark.parametrize(
    ("mode", "is_required", "verified"),
    [
        ("allow", False, ssl.CERT_NONE),
        ("prefer", False, ssl.CERT_NONE),
        ("require", True, ssl.CERT_NONE),
        ("verify-ca", True, ssl.CERT_REQUIRED),
        ("verify-full", True, ssl.CERT_REQUIRED),
    ],
)
def test_each_sslmode_towards_servers(
    mode: str, is_required: bool, verified: ssl.VerifyMode, authority: Authority
) -> None:
    tls = towards(URL, server_tls_sslmode=mode, server_tls_ca_file=str(authority.cert))

    assert tls is not None
    assert (tls.is_required, tls.context.verify_mode) == (is_required, verified)
    assert tls.context.check_hostname is (mode == "verify-full")


def test_the_systems_authorities_are_trusted_where_the_name_is_checked_too() -> None:
    assert towards(URL, server_tls_sslmode="verify-full") is not None
    assert towards(f"{URL}?sslmode=verify-full&sslrootcert=system") is not None
    for ca_file in ("", "system"):
        with pytest.raises(ConfigError, match="server_tls_ca_file: must name a file for sslmode v"):
            towards(URL, server_tls_sslmode="verify-ca", server_tls_ca_file=ca_file)


def test_a_url_brings_its_files(own: Certificate, authority: Authority) -> None:
    files = f"sslrootcert={authority.cert}&sslcert={own.cert}&sslkey={own.key}"

    tls = towards(f"{URL}?sslmode=verify-ca&{files}")

    assert tls is not None
    assert tls.context.cert_store_stats()["x509_ca"] == 1
    with pytest.raises(ConfigError, match="server_tls_ca_file: /no/ca: No such file"):
        towards(f"{URL}?sslmode=verify-ca&sslrootcert=/no/ca")


def test_a_database_that_was_dropped_is_still_spoken_to_in_its_way() -> None:
    tls = Tls()
    dropped = config_for_url(f"{URL}?sslmode=require")
    tls.apply(dropped)

    tls.apply(config_for_url("postgresql://ann@db.example/other?sslmode=disable"))

    assert tls.towards(dropped.databases["app"]) is not None


def test_a_url_decides_for_its_own_server() -> None:
    plain = towards(f"{URL}?sslmode=disable", server_tls_sslmode="require")
    direct = towards(f"{URL}?sslmode=require&sslnegotiation=direct", server_tls_sslmode="disable")

    assert plain is None
    assert direct is not None
    assert direct.is_direct


@pytest.mark.parametrize(
    ("mode", "with_authority", "verified"),
    [
        ("allow", False, ssl.CERT_NONE),
        ("require", True, ssl.CERT_OPTIONAL),
        ("verify-ca", True, ssl.CERT_REQUIRED),
        ("verify-full", True, ssl.CERT_REQUIRED),
    ],
)
def test_what_is_asked_of_clients_certificates(
    mode: str,
    with_authority: bool,
    verified: ssl.VerifyMode,
    own: Certificate,
    authority: Authority,
) -> None:
    file = str(authority.cert) if with_authority else ""

    context = client_context(own, client_tls_sslmode=mode, client_tls_ca_file=file)

    assert context.verify_mode is verified


def test_clients_may_be_told_that_there_is_no_tls(own: Certificate) -> None:
    tls = Tls()
    tls.apply(config(own))
    assert tls.client is not None

    tls.apply(config(own, client_tls_sslmode="disable"))

    assert tls.client is None


@pytest.mark.parametrize(
    ("protocols", "least", "most"),
    [
        ("secure", "TLSv1_2", "TLSv1_3"),
        ("", "TLSv1_2", "TLSv1_3"),
        ("default", "TLSv1_2", "TLSv1_3"),
        ("all", "TLSv1", "TLSv1_3"),
        ("legacy", "TLSv1", "TLSv1_3"),
        ("tlsv1.2", "TLSv1_2", "TLSv1_2"),
        ("TLSv1.2:tlsv1.3", "TLSv1_2", "TLSv1_3"),
        ("tlsv1.1, tlsv1.2", "TLSv1_1", "TLSv1_2"),
        ("!tlsv1.0", "TLSv1_1", "TLSv1_3"),
        ("all:!tlsv1.3", "TLSv1", "TLSv1_2"),
    ],
)
def test_protocols_are_a_list(protocols: str, least: str, most: str, own: Certificate) -> None:
    context = client_context(own, client_tls_protocols=protocols)

    assert context.minimum_version is ssl.TLSVersion[least]
    assert context.maximum_version is ssl.TLSVersion[most]


def test_a_version_in_the_middle_may_be_left_out(own: Certificate) -> None:
    context = client_context(own, client_tls_protocols="all:!tlsv1.2")

    assert context.options & ssl.OP_NO_TLSv1_2
    assert not context.options & ssl.OP_NO_TLSv1_1


@pytest.mark.parametrize("ciphers", ["default", "secure", "fast", "normal", "", "all"])
def test_ciphers_have_shortcuts(ciphers: str, own: Certificate) -> None:
    assert len(client_context(own, client_tls_ciphers=ciphers).get_ciphers()) > 10


def test_ciphers_are_openssls_lists(own: Certificate) -> None:
    chosen = "ECDHE-RSA-AES256-GCM-SHA384"

    context = client_context(own, client_tls_ciphers=chosen, client_tls13_ciphers=TLS_1_3)

    assert [cipher["name"] for cipher in context.get_ciphers()] == [TLS_1_3, chosen]


def test_a_curve_may_be_named(own: Certificate) -> None:
    for curve in ("auto", "none", "", "prime256v1"):
        client_context(own, client_tls_ecdhcurve=curve)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"client_tls_cert_file": ""}, "client_tls_cert_file: must be set to allow TLS"),
        ({"client_tls_key_file": ""}, "client_tls_key_file: must be set to allow TLS"),
        ({"client_tls_sslmode": "verify-ca"}, "client_tls_ca_file: must be set for client_tls_ssl"),
        ({"client_tls_protocols": "sslv3"}, "client_tls_protocols: expected some of all, legacy, "),
        (
            {"client_tls_protocols": "secure:!all"},
            "client_tls_protocols: no version of TLS is left",
        ),
        ({"client_tls_ciphers": "none"}, "client_tls_ciphers: no ciphers for 'none'"),
        (
            {"client_tls13_ciphers": "unknown"},
            "client_tls13_ciphers: failed to set the TLSv1.3 cipher suites: expected some of TLS_",
        ),
        ({"client_tls_ecdhcurve": "round"}, "client_tls_ecdhcurve: OpenSSL knows no curve round"),
        ({"server_tls_protocols": "x"}, "server_tls_protocols: expected some of all, "),
        (
            {"server_tls_cert_file": "/no/file"},
            "server_tls_cert_file: /no/file: No such file or directory",
        ),
        (
            {"server_tls_ca_file": "/no/ca", "server_tls_sslmode": "verify-full"},
            "server_tls_ca_file: /no/ca: No such file or directory",
        ),
        ({"client_tls_cert_file": "/"}, "client_tls_cert_file: /: Is a directory"),
    ],
)
def test_what_cannot_be_set_up_names_its_setting(
    settings: dict[str, object], sentence: str, own: Certificate
) -> None:
    assert refusal(own, **settings).startswith(sentence)


def test_a_key_must_belong_to_its_certificate(own: Certificate, authority: Authority) -> None:
    other = authority.issue("alice").key

    wrong = refusal(own, client_tls_key_file=str(other))

    assert wrong == f"client_tls_key_file: {other}: key values mismatch"


def test_a_key_with_a_passphrase_is_refused_without_asking(
    own: Certificate, tmp_path: Path
) -> None:
    locked = tmp_path / "locked.key"
    command = ("openssl", "ec", "-aes256", "-passout", "pass:hush", "-in", own.key, "-out", locked)
    subprocess.run(command, check=True, capture_output=True)

    wrong = refusal(own, client_tls_key_file=str(locked))

    assert wrong == (
        f"client_tls_key_file: {locked}: "
        "the key is protected by a passphrase, which nobody could type in"
    )


def test_a_certificate_and_its_key_may_share_a_file(own: Certificate, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_text(own.key.read_text() + own.cert.read_text())

    assert towards(URL, server_tls_sslmode="require", server_tls_cert_file=str(both)) is not None


def test_what_was_in_force_stays_so_when_something_is_wrong(own: Certificate) -> None:
    tls = Tls()
    tls.apply(config(own))
    before = tls.client

    with pytest.raises(ConfigError):
        tls.apply(config(own, server_tls_ciphers="none"))

    assert tls.client is before


def test_files_are_read_again_each_time(own: Certificate, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert", tmp_path / "key"
    shutil.copy(own.cert, cert)
    shutil.copy(own.key, key)
    tls = Tls()
    settings = config(own, client_tls_cert_file=str(cert), client_tls_key_file=str(key))
    tls.apply(settings)
    cert.write_text("not any more")

    with pytest.raises(ConfigError):
        tls.apply(settings)


def test_servers_are_replaced_when_what_they_are_asked_for_has_changed(own: Certificate) -> None:
    tls = Tls()
    tls.apply(config(own))

    assert not tls.apply(config(own))
    assert not tls.apply(config(own, client_tls_protocols="tlsv1.3"))
    assert tls.apply(config(own, server_tls_protocols="tlsv1.3"))
    assert tls.apply(config(own, server_tls_sslmode="disable", server_tls_protocols="tlsv1.3"))
    assert not tls.apply(config(own, server_tls_sslmode="disable"))


def test_binding_needs_a_certificate_that_can_be_read(own: Certificate, tmp_path: Path) -> None:
    trusted = tmp_path / "trusted.crt"
    command = ("openssl", "x509", "-trustout", "-in", own.cert, "-out", trusted)
    subprocess.run(command, check=True, capture_output=True)
    tls, other = Tls(), Tls()

    tls.apply(config(own))
    other.apply(config(own, client_tls_cert_file=str(trusted)))

    assert tls.client is not None
    assert len(tls.client.channel_binding) == 32
    assert other.client is not None
    assert other.client.channel_binding == b""


def test_suites_that_openssl_does_not_take_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    monkeypatch.setattr("pgpool_lite.proxy.ciphersuites._suites_of", lambda context: [])

    with pytest.raises(ValueError, match="OpenSSL does not take them"):
        set_ciphersuites(context, TLS_1_3)


def test_another_python_says_that_it_cannot_choose_suites(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    monkeypatch.setattr("sys.implementation.name", "another")

    with pytest.raises(ValueError, match=r"needs Python 3\.15"):
        set_ciphersuites(context, TLS_1_3)
