"""How are the cipher suites of TLS 1.3 chosen where Python's ssl cannot?

`SSLContext.set_ciphersuites` comes with Python 3.15. Before that the module has nothing for
client_tls13_ciphers and server_tls13_ciphers: `set_ciphers` reaches TLS 1.2 only, and OpenSSL's
configuration file counts for the whole process, once. So OpenSSL's own function is called on the
context, which CPython keeps as the first member of its object. Python itself is asked afterwards
which suites the context has, and anything but what was wanted is an error.

SSL_CTX_set_ciphersuites(3); `PySSLContext` in CPython's Modules/_ssl.c, the same from 3.2 to 3.14.
"""

from __future__ import annotations

import ctypes
import ssl
import sys
from contextlib import suppress
from typing import Final

#: What OpenSSL can do in TLS 1.3, and PgBouncer documents.
SUITES: Final = (
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_128_CCM_8_SHA256",
    "TLS_AES_128_CCM_SHA256",
)

#: Size of what every Python object begins with; the pointer to OpenSSL's context follows.
_POINTER_AT: Final = object.__basicsize__


def set_ciphersuites(context: ssl.SSLContext, text: str) -> None:
    """Allow only these suites of TLS 1.3, in this order of preference; "" leaves the default.

    Raises ValueError for a suite that does not exist, or when this Python gives no way to choose.
    """
    names = [name.strip() for name in text.split(":") if name.strip()]
    if not names:
        return
    if unknown := [name for name in names if name not in SUITES]:
        raise ValueError(
            f"failed to set the TLSv1.3 cipher suites: expected some of {', '.join(SUITES)}, "
            f"colon-separated, not {unknown[0]}"
        )
    if hasattr(context, "set_ciphersuites"):
        with suppress(ssl.SSLError):  # seen below
            context.set_ciphersuites(":".join(names))
    else:
        _set_by_openssl(context, ":".join(names))
    if [name for name in _suites_of(context) if name in SUITES] != names:
        raise ValueError("failed to set the TLSv1.3 cipher suites: OpenSSL does not take them")


def _suites_of(context: ssl.SSLContext) -> list[str]:
    return [cipher["name"] for cipher in context.get_ciphers()]


def _set_by_openssl(context: ssl.SSLContext, names: str) -> None:
    """Call OpenSSL's function on the context that Python's object holds."""
    import _ssl

    library = getattr(_ssl, "__file__", None)
    if sys.implementation.name != "cpython" or library is None:
        raise ValueError("choosing cipher suites of TLS 1.3 needs Python 3.15")
    try:
        # Symbols are looked for in what the module itself is linked with.
        function = ctypes.CDLL(library).SSL_CTX_set_ciphersuites
    except (AttributeError, OSError):
        raise ValueError("choosing cipher suites of TLS 1.3 needs Python 3.15") from None
    function.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    function.restype = ctypes.c_int
    pointer = ctypes.c_void_p.from_address(id(context) + _POINTER_AT)
    if not function(pointer, names.encode()):
        raise ValueError("failed to set the TLSv1.3 cipher suites")
