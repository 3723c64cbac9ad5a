"""How do clients come in: unasked, by TLS, or with a password that SCRAM-SHA-256 proves?

Both poolers know the same settings by the same names, so a door is a handful of settings and the
files that these name, and what libpq must be told to come through it.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from bench.errors import LeftOut
from bench.postgres import Database
from pgpool_lite.wire.scram import ScramSecret

USER, PASSWORD = "bench", "a password of the bench's own"
SALT, ITERATIONS = b"sixteen bytes!!!", 4096  # PostgreSQL's default scram_iterations
# Longer than any run.
CERTIFICATE_DAYS = "2"


class Door(StrEnum):
    """What a pooler asks of its clients; the value is what the tables add to a workload's name."""

    OPEN = ""
    TLS = "TLS"
    SCRAM = "SCRAM"

    def build(self, folder: Path) -> Mapping[str, str]:
        """Write the files that it takes into `folder`; return the settings, alike for both poolers.

        Raises LeftOut where the program `openssl` is missing.
        """
        if self is Door.TLS:
            certificate, key = folder / "bench.crt", folder / "bench.key"
            make_certificate(certificate, key)
            return {
                "client_tls_sslmode": "require",
                "client_tls_cert_file": str(certificate),
                "client_tls_key_file": str(key),
            }
        if self is Door.SCRAM:
            secret = ScramSecret.from_password(PASSWORD, SALT, ITERATIONS)
            users = folder / "userlist.txt"
            users.write_text(f'"{USER}" "{secret.encode()}"\n', encoding="utf-8")
            return {"auth_type": "scram-sha-256", "auth_file": str(users)}
        return {}

    def enter(self, database: Database) -> Database:
        """Return the database as a client names it that comes through this door."""
        if self is Door.TLS:
            return replace(database, sslmode="require")
        if self is Door.SCRAM:
            return replace(database, user=USER, password=PASSWORD)
        return database


def make_certificate(certificate: Path, key: Path) -> None:
    """Have openssl make a self-signed certificate of an elliptic curve, as servers have today."""
    program = shutil.which("openssl")
    if program is None:
        raise LeftOut("TLS: openssl, which makes the certificate, is not found")
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=bench"
    options = ["-days", CERTIFICATE_DAYS, "-out", str(certificate), "-keyout", str(key)]
    subprocess.run([program, *words.split(), *options], check=True, capture_output=True)
