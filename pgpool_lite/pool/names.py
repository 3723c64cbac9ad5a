"""Which addresses does a host name have, and how long may we believe it? A cache without a clock.

PgBouncer's rules. What was found is believed for `dns_max_ttl`, that nothing was found for
`dns_nxdomain_ttl`; then the name is looked up again, when a connection needs it and not before.
Several addresses take turns. An address that a later look-up no longer finds has vanished: servers
that stand on it are obsolete. A look-up that fails says nothing about the addresses known before.

Looking up is `proxy.resolver`'s.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

Addresses = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HostName:
    """One line of SHOW DNS_HOSTS."""

    name: str
    #: Seconds for which the answer is still believed.
    ttl_s: float
    addresses: Addresses


@dataclass(slots=True)
class _Answer:
    """What the last look-up of a name found, and what the last one that succeeded did."""

    addresses: Addresses = ()
    expires_at: float = float("-inf")
    last_found: Addresses = field(default=())
    turn: int = 0


class NameCache:
    """The host names of all databases. Owned by the registry."""

    def __init__(self) -> None:
        """Know no name yet."""
        self._answers: dict[str, _Answer] = {}
        #: Names that are being looked up now; kept by the resolver.
        self.under_way: set[str] = set()

    def is_fresh(self, name: str, now: float) -> bool:
        """Say whether the last answer may still be believed."""
        answer = self._answers.get(name)
        return answer is not None and now <= answer.expires_at

    def take(self, name: str) -> Addresses:
        """Return the addresses of a name, the one whose turn it is in front; () if it has none."""
        answer = self._answers.get(name)
        if answer is None or not answer.addresses:
            return ()
        first = answer.turn % len(answer.addresses)
        answer.turn = first + 1
        return answer.addresses[first:] + answer.addresses[:first]

    def note_found(self, name: str, addresses: Addresses, expires_at: float) -> Addresses:
        """Note what a look-up found; return the addresses that the name no longer has."""
        answer = self._answers.setdefault(name, _Answer())
        vanished = tuple(each for each in answer.last_found if each not in addresses)
        answer.addresses = answer.last_found = addresses
        answer.expires_at = expires_at
        answer.turn = 0
        return vanished

    def note_failed(self, name: str, expires_at: float) -> None:
        """Note that a look-up found nothing."""
        answer = self._answers.setdefault(name, _Answer())
        answer.addresses = ()
        answer.expires_at = expires_at

    # --- what the console shows ---

    def names(self, now: float) -> list[HostName]:
        """Return every name that was looked up, in the order of the alphabet."""
        return [
            HostName(name, max(answer.expires_at - now, 0.0), answer.addresses)
            for name, answer in sorted(self._answers.items())
        ]

    def zones(self) -> dict[str, int]:
        """Return how many of the names stand in each zone: what comes behind the first dot."""
        found = (name.partition(".")[2] for name in sorted(self._answers))
        return dict(Counter(zone for zone in found if zone))
