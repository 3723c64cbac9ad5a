"""How must a client prove who it is, seen from where it comes? Reads PgBouncer's `auth_hba_file`.

    local    all        all              peer   map=staff
    hostssl  all        all   0.0.0.0/0  cert
    host     app,other  all   10.0.0.0/8 scram-sha-256
    host     all        all   all        reject

The first line that fits decides; a client that none fits is refused. It is PostgreSQL's
pg_hba.conf as far as PgBouncer 1.26.1 has it: no groups (+name, samerole), no host names, no
samehost and samenet, no methods of the operating system but peer.

PgBouncer passes over a line that it cannot read, so a misspelt `reject` lets in whom a later line
lets in. We refuse the file, as PostgreSQL does: at start nothing runs, at RELOAD the old rules
stay. Of PgBouncer's quirks one is kept: an address with bits beyond its mask fits nobody, which is
worth a warning only.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from pgpool_lite.config.ident import IdentMap
from pgpool_lite.config.ini import ReadText, read_text
from pgpool_lite.config.words import COMMA, BadLines, Word, Words, read_lines
from pgpool_lite.errors import ConfigError

# A file of names may name another one, so many times; PostgreSQL's CONF_FILE_MAX_DEPTH.
_MAX_NAME_FILES = 10
_BITS = re.compile(r"[0-9]{1,3}")
_KEYWORDS = frozenset({"all", "sameuser", "replication"})
_NO_GROUPS = frozenset({"samerole", "samegroup"})

E = TypeVar("E", bound=StrEnum)


class ConnectionType(StrEnum):
    """Which connections a rule is about: the first word of its line."""

    LOCAL = "local"
    HOST = "host"
    HOSTSSL = "hostssl"
    HOSTNOSSL = "hostnossl"


class HbaMethod(StrEnum):
    """How a rule wants a client to prove who it is."""

    TRUST = "trust"
    REJECT = "reject"
    MD5 = "md5"
    PASSWORD = "password"
    PEER = "peer"
    CERT = "cert"
    SCRAM_SHA_256 = "scram-sha-256"


@dataclass(frozen=True, slots=True)
class Arrival:
    """What rules are asked about: one client that wants in."""

    database: str
    user: str
    #: Its IP address, None on a Unix socket.
    host: str | None = None
    is_encrypted: bool = False
    #: It wants physical replication, which belongs to no database.
    is_replication: bool = False


@dataclass(frozen=True, slots=True)
class Names:
    """The databases or users of one rule."""

    names: frozenset[str] = frozenset()
    is_all: bool = False
    #: The keyword sameuser: the database that is named like the user.
    is_same_user: bool = False
    #: The keyword replication, which no database is meant by.
    is_replication: bool = False

    def fits(self, name: str, other: str) -> bool:
        """Say whether `name` is meant; for a database, `other` is the user, and the reverse."""
        return self.is_all or (self.is_same_user and name == other) or name in self.names


@dataclass(frozen=True, slots=True)
class Network:
    """Addresses of one version that agree with `address` in the bits of `mask`."""

    version: int
    address: int
    mask: int

    def holds(self, version: int, address: int) -> bool:
        """Say whether an address belongs to the network."""
        return version == self.version and address & self.mask == self.address


@dataclass(frozen=True, slots=True)
class HbaRule:
    """One line of the file."""

    type: ConnectionType
    databases: Names
    users: Names
    #: None for all addresses, and for Unix sockets, which have none.
    network: Network | None
    method: HbaMethod
    map: IdentMap | None = None
    line: int = 0

    def fits(self, arrival: Arrival, version: int, address: int) -> bool:
        """Say whether the rule is about this client, whose address has been read already."""
        if (self.type is ConnectionType.LOCAL) != (arrival.host is None):
            return False
        if self.type is ConnectionType.HOSTSSL and not arrival.is_encrypted:
            return False
        if self.type is ConnectionType.HOSTNOSSL and arrival.is_encrypted:
            return False
        if self.network is not None and not self.network.holds(version, address):
            return False
        if arrival.is_replication:
            fits_database = self.databases.is_replication
        else:
            fits_database = self.databases.fits(arrival.database, arrival.user)
        return fits_database and self.users.fits(arrival.user, arrival.database)


@dataclass(frozen=True, slots=True)
class HbaRules:
    """All rules of a file, in its order."""

    rules: tuple[HbaRule, ...] = ()
    #: What start-up should tell, one sentence each.
    warnings: tuple[str, ...] = ()

    def find(self, arrival: Arrival) -> HbaRule | None:
        """Return the first rule that fits, None where none does; none fits a host unknown."""
        version, address = 0, 0
        if arrival.host is not None:
            try:
                parsed = ipaddress.ip_address(arrival.host)
            except ValueError:
                return None
            version, address = parsed.version, int(parsed)
        return next((rule for rule in self.rules if rule.fits(arrival, version, address)), None)


def read_hba(path: Path, maps: Mapping[str, IdentMap], read: ReadText = read_text) -> HbaRules:
    """Return the rules of a file; ConfigError names every line that is none.

    `maps` are those of the ident file.
    """
    reader = _Reader(path, maps, read)
    bad_lines = BadLines("hba", path)
    rules: list[HbaRule] = []
    for number, line in read_lines(path, read):
        try:
            words = Words(line)
            if words.next is not None:
                rules.append(reader.read_rule(words, number))
        except ValueError as error:
            bad_lines.note(number, str(error))
    bad_lines.raise_if_any()
    return HbaRules(tuple(rules), tuple(reader.warnings))


class _Reader:
    """The walk over one file; lives for one call of `read_hba`."""

    def __init__(self, path: Path, maps: Mapping[str, IdentMap], read: ReadText) -> None:
        self._path = path
        self._maps = maps
        # How a path becomes text; tests pass a dictionary's lookup.
        self._read = read
        self.warnings: list[str] = []

    def read_rule(self, words: Words, line: int) -> HbaRule:
        """Read one line; ValueError says what is wrong with it."""
        type_ = _keyword(words, ConnectionType, "type")
        databases = self._read_names(words, "a database")
        users = self._read_names(words, "a user")
        network = None
        if type_ is not ConnectionType.LOCAL and not words.skip("all"):
            network = self._read_network(words, line)
        method = _keyword(words, HbaMethod, "method")
        ident_map = self._read_map(words)
        words.end()
        return HbaRule(type_, databases, users, network, method, ident_map, line)

    # --- names ---

    def _read_names(self, words: Words, what: str) -> Names:
        """Read a list of names with its keywords; of users, too, as PgBouncer does."""
        found: list[Word] = []
        while True:
            self._add_names(words.take(what), self._path, found, ())
            if not words.skip(COMMA.text):
                break
        keywords = {word.text for word in found if not word.is_quoted} & _KEYWORDS
        return Names(
            frozenset(word.text for word in found if word.is_quoted or word.text not in keywords),
            is_all="all" in keywords,
            is_same_user="sameuser" in keywords,
            is_replication="replication" in keywords,
        )

    def _add_names(
        self, word: Word, file: Path, found: list[Word], including: tuple[Path, ...]
    ) -> None:
        """Add a name, or those of the file that `@file` names, relative to where that stands."""
        if not word.is_quoted and word.text.startswith("@"):
            self._add_file(file.parent / word.text[1:], found, (*including, file))
            return
        if not word.is_quoted and (word.text in _NO_GROUPS or word.text.startswith("+")):
            raise ValueError(f"{word.text} is not supported: groups are PostgreSQL's to know")
        found.append(word)

    def _add_file(self, path: Path, found: list[Word], including: tuple[Path, ...]) -> None:
        """Add the names of a file: set apart by commas, blanks and lines, as in PostgreSQL."""
        if len(including) > _MAX_NAME_FILES:
            raise ValueError(f"@{path}: files of names are nested more than {_MAX_NAME_FILES} deep")
        try:
            lines = list(read_lines(path, self._read))
        except ConfigError as error:
            raise ValueError(f"@{error.message}") from None
        for _, line in lines:
            words = Words(line)
            while words.next is not None:
                if not words.skip(COMMA.text):
                    self._add_names(words.take("a name"), path, found, including)

    # --- addresses ---

    def _read_network(self, words: Words, line: int) -> Network:
        word = words.take("an address")
        text, slash, bits = word.text.partition("/")
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            address = None
        if address is None or word.is_quoted or "%" in text:
            raise ValueError(f"failed to parse address - {text}: expected IPv4, IPv6 or all")
        if slash:
            mask = _mask_of_bits(bits, address.max_prefixlen)
        else:
            mask = _read_mask(words.take("a mask behind the address").text, address.version)
        network = Network(address.version, int(address), mask)
        if network.address & ~mask:
            self.warnings.append(
                f"{self._path}:{line}: address does not match mask: {word.text} fits nobody"
            )
        return network

    # --- options ---

    def _read_map(self, words: Words) -> IdentMap | None:
        if words.next is None or words.next.is_quoted or words.next == COMMA:
            return None
        text = words.take("an option").text
        if not text.startswith("map="):
            raise ValueError(f"unsupported option {text}: expected map=name, or nothing")
        name = text.removeprefix("map=")
        if name not in self._maps:
            raise ValueError(f"Ident map {name} is not found in ident config file")
        return self._maps[name]


def _keyword(words: Words, options: type[E], what: str) -> E:
    """Take one of an enum's values, unquoted."""
    word = words.take(f"a {what}")
    allowed = ", ".join(options)
    if word.is_quoted or word.text not in list(options):
        raise ValueError(f"unsupported {what} {word.text!r}: expected one of {allowed}")
    return options(word.text)


def _mask_of_bits(text: str, size: int) -> int:
    """Return the mask of a prefix length, of `size` bits in all."""
    if _BITS.fullmatch(text) is None or int(text) > size:
        raise ValueError(f"invalid mask /{text}: expected 0 to {size}")
    bits = int(text)
    return ((1 << bits) - 1) << (size - bits)


def _read_mask(text: str, version: int) -> int:
    """Return a mask that is written as an address is."""
    try:
        mask = ipaddress.ip_address(text)
    except ValueError:
        mask = None
    if mask is None or mask.version != version or "%" in text:
        raise ValueError(f"failed to parse mask: {text}")
    return int(mask)
