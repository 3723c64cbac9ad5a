"""Certificates for tests, made by the `openssl` program, for there is no such thing in Python."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

#: Good until long after the test.
_DAYS = "30"
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, in PEM files."""

    cert: Path
    key: Path


class Authority:
    """A certificate authority, and what it has issued, in one folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        folder.mkdir()
        self.cert = folder / "ca.crt"
        self._key = folder / "ca.key"
        self._openssl(
            "req", "-x509", *_NEW_KEY, "-keyout", self._key, "-out", self.cert, "-days", _DAYS,
            "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip

        self._issued: dict[tuple[str, ...], Certificate] = {}

    def issue(self, name: str, *alternatives: str) -> Certificate:
        """Return a certificate for a common name, and for others such as `DNS:localhost`.

        Without others it is one of version 1, as PgBouncer's own tests make them.
        """
        names = (name, *alternatives)
        if names not in self._issued:
            self._issued[names] = self._issue(*names)
        return self._issued[names]

    def _issue(self, name: str, *alternatives: str) -> Certificate:
        stem = f"{len(self._issued)}-{name}"
        cert, key, request = (self._folder / f"{stem}.{end}" for end in ("crt", "key", "csr"))
        extensions = self._folder / "extensions"
        self._openssl(
            "req", "-new", *_NEW_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}"
        )
        extensions.write_text(f"subjectAltName={','.join(alternatives)}\n")
        self._openssl(
            "x509", "-req", "-in", request, "-out", cert, "-days", _DAYS,
            "-CA", self.cert, "-CAkey", self._key, "-CAcreateserial",
            *(("-extfile", extensions) if alternatives else ()),
        )  # fmt: skip
        return Certificate(cert, key)

    def _openssl(self, *arguments: str | Path) -> None:
        subprocess.run(("openssl", *arguments), check=True, capture_output=True)
