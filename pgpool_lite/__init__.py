"""pgpool_lite: a transaction-mode pooling proxy for PostgreSQL."""

from pgpool_lite.pooler import Pooler
from pgpool_lite.version import __version__

__all__ = ["Pooler", "__version__"]
