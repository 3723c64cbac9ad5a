"""What SCRAM-SHA-256-PLUS binds to: a certificate, hashed as it was signed."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
from pathlib import Path

import pytest

from pgpool_lite.wire.channel_binding import end_point_binding


def certificate(folder: Path, *key: str) -> bytes:
    """A certificate signed by its own key, in DER."""
    made = subprocess.run(
        ("openssl", "req", "-x509", "-nodes", "-subj", "/CN=x", "-keyout", folder / "key", *key),
        check=True,
        capture_output=True,
        text=True,
    )
    return ssl.PEM_cert_to_DER_cert(made.stdout)


RSA = ("-newkey", "rsa:2048")
EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


@pytest.mark.parametrize(
    ("key", "hash_name"),
    [
        ((*RSA, "-sha256"), "sha256"),
        ((*RSA, "-sha512"), "sha512"),
        ((*EC, "-sha384"), "sha384"),
        ((*EC, "-sha256"), "sha256"),
    ],
)
def test_the_hash_is_that_of_the_signature(
    key: tuple[str, ...], hash_name: str, tmp_path: Path
) -> None:
    der = certificate(tmp_path, *key)

    assert end_point_binding(der) == hashlib.new(hash_name, der).digest()


def test_a_signature_without_a_hash_of_its_own_binds_nothing(tmp_path: Path) -> None:
    assert end_point_binding(certificate(tmp_path, "-newkey", "ed25519")) == b""


def test_a_weak_hash_is_replaced_by_sha_256() -> None:
    sha1_with_rsa = bytes.fromhex("06092a864886f70d010105")
    der = b"\x30\x11\x30\x00" + b"\x30\x0d" + sha1_with_rsa + b"\x05\x00"

    assert end_point_binding(der) == hashlib.sha256(der).digest()


@pytest.mark.parametrize("data", [b"", b"\x30", b"\x30\x82", b"\x30\x02\x30\x00", b"\x30" * 40])
def test_what_is_no_certificate_binds_nothing(data: bytes) -> None:
    assert end_point_binding(data) == b""
