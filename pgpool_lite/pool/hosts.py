"""Which of a database's hosts does the next server connection go to? Pure: it counts turns.

PgBouncer's `load_balance_hosts`: with round-robin every connection goes to the next host of the
list, with disable all go to the same host until one fails to get in, and then to the next. A
failure costs `server_login_retry` before the next attempt, whatever the host.
"""

from __future__ import annotations

from ipaddress import ip_address

from pgpool_lite.config import DatabaseSettings
from pgpool_lite.config.values import LoadBalanceHosts
from pgpool_lite.session.endpoint import is_socket_directory


class HostRotation:
    """Takes turns among the hosts of one pool's database. Owned by the pool, lives as long."""

    def __init__(self) -> None:
        """Begin with the first host."""
        self._turn = 0

    def next_host(self, settings: DatabaseSettings, *, has_failed: bool) -> str:
        """Return the host for a new connection, "" if the database has none.

        `has_failed`: the last attempt to open a connection for this pool did not get in.
        """
        hosts = settings.hosts
        if len(hosts) < 2:
            return hosts[0] if hosts else ""
        if settings.load_balance_hosts is LoadBalanceHosts.ROUND_ROBIN:
            turn = self._turn
            self._turn += 1
        else:
            self._turn += has_failed
            turn = self._turn
        return hosts[turn % len(hosts)]


def needs_look_up(host: str) -> bool:
    """Say whether a host is a name, not an IP address or the directory of a Unix socket."""
    if is_socket_directory(host):
        return False
    try:
        ip_address(host)
    except ValueError:
        return True
    return False
