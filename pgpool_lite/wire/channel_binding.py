"""What ties a SCRAM login to the TLS connection that it travels by? A hash of the certificate.

Client and server put the hash of the certificate that the server shows into what they prove to
each other. Somebody in between, with a TLS connection to each of them, has another certificate,
and the proof fails. Python's ssl knows another kind only, so the one byte string that is needed is
cut out of the certificate here:

    Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OBJECT, ... }, ... }

RFC 5929, section 4.1; RFC 5280, section 4.1; X.690, section 8.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Final

CHANNEL_BINDING_TYPE: Final = b"tls-server-end-point"


@dataclass(frozen=True, slots=True)
class ClientBinding:
    """What a client says of channel binding: the GS2 header, and the data it binds to."""

    header: bytes
    data: bytes = b""

    @property
    def encoded(self) -> bytes:
        """Both, as client-final repeats them."""
        return base64.b64encode(self.header + self.data)


#: A client that cannot bind, or need not; and one that could, if the server had offered it.
UNBOUND: Final = ClientBinding(b"n,,")
NOT_OFFERED: Final = ClientBinding(b"y,,")

#: The hash of each signature algorithm, by its object identifier. Where MD5 or SHA-1 was signed,
#: SHA-256 stands in; Ed25519 and RSA-PSS are not here, since there is no one hash to name.
_HASHES: Final = {
    "2a864886f70d010104": "sha256",  # md5WithRSAEncryption
    "2a864886f70d010105": "sha256",  # sha1WithRSAEncryption
    "2a864886f70d01010e": "sha224",  # sha224WithRSAEncryption
    "2a864886f70d01010b": "sha256",  # sha256WithRSAEncryption
    "2a864886f70d01010c": "sha384",  # sha384WithRSAEncryption
    "2a864886f70d01010d": "sha512",  # sha512WithRSAEncryption
    "2a8648ce3d0401": "sha256",  # ecdsa-with-SHA1
    "2a8648ce3d040301": "sha224",  # ecdsa-with-SHA224
    "2a8648ce3d040302": "sha256",  # ecdsa-with-SHA256
    "2a8648ce3d040303": "sha384",  # ecdsa-with-SHA384
    "2a8648ce3d040304": "sha512",  # ecdsa-with-SHA512
}


def end_point_binding(certificate: bytes) -> bytes:
    """Return the tls-server-end-point data of a DER certificate; b"" where it is not defined."""
    hash_name = _HASHES.get(_signature_algorithm(certificate).hex())
    return hashlib.new(hash_name, certificate).digest() if hash_name else b""


def bound_to(end_point: bytes) -> ClientBinding:
    """Return what a client says that binds to a server's certificate."""
    return ClientBinding(b"p=%b,," % CHANNEL_BINDING_TYPE, end_point)


def _signature_algorithm(certificate: bytes) -> bytes:
    """Return the object identifier of the algorithm that a certificate is signed with."""
    try:
        start, _ = _contents(certificate, 0)
        _, algorithm = _contents(certificate, start)
        start, _ = _contents(certificate, algorithm)
        start, end = _contents(certificate, start)
    except IndexError:  # cut short
        return b""
    return certificate[start:end]


def _contents(data: bytes, pos: int) -> tuple[int, int]:
    """Return where the contents of the element at `pos` begin and end."""
    size, start = data[pos + 1], pos + 2
    if size & 0x80:  # the size of the size
        after = start + (size & 0x7F)
        size, start = int.from_bytes(data[start:after], "big"), after
    return start, start + size
