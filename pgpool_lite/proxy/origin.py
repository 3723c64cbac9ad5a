"""Where does a client come from? What its socket tells that the rules of admission go by."""

from __future__ import annotations

import asyncio
import os

from pgpool_lite.pool.admission import Origin
from pgpool_lite.proxy.sockets import certificate_names, is_unix, peer_address, peer_uid, tls_name


def origin_of(transport: asyncio.Transport) -> Origin:
    """Return where the client at the other end comes from."""
    user_id = peer_uid(transport)
    name, alternatives = certificate_names(transport)
    return Origin(
        peer_address(transport),
        is_unix(transport),
        is_own_user=user_id == os.getuid(),
        is_encrypted=bool(tls_name(transport)),
        certificate_name=name,
        certificate_alternatives=alternatives,
        system_user_id=user_id,
    )
