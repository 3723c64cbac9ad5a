"""Where does a client come from? What its socket can tell of it, for admission."""

from __future__ import annotations

import asyncio
import os

from pgpool_lite.pool.applicants import Origin
from pgpool_lite.proxy.sockets import certificate_names, peer_address, peer_uid
from pgpool_lite.proxy.tls_transport import TlsTransport


def origin_of(transport: asyncio.Transport, *, is_unix: bool) -> Origin:
    """Return where the client at the other end of a transport comes from."""
    address = peer_address(transport)
    if is_unix:
        user_id = peer_uid(transport)
        is_own = user_id == os.getuid()
        return Origin(address, is_unix=True, is_own_user=is_own, system_user_id=user_id)
    if not isinstance(transport, TlsTransport):
        return Origin(address)
    name, alternatives = certificate_names(transport)
    return Origin(
        address,
        is_encrypted=True,
        certificate_name=name,
        certificate_alternatives=alternatives,
    )
