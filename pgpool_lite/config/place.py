"""What is one process's part where `workers` of them serve one configuration?

Each process runs a configuration of its own, derived from the one in the file: its share of every
limit, so that the shares add up to what is written; a peer_id, and all the others as peers; and a
Unix socket in a private folder, where peers and consoles of the same crew reach it. Deriving is
pure, and done again at each reload.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final, TypeVar

from pgpool_lite.config.databases import DatabaseSettings, PeerSettings, UserSettings
from pgpool_lite.config.load import Config
from pgpool_lite.config.settings import Settings
from pgpool_lite.errors import ConfigError

E = TypeVar("E", Settings, DatabaseSettings, UserSettings)

#: What is shared out. Of the first, 0 stands for no limit, so each process needs 1 at least.
LIMITS: Final = (
    "default_pool_size",
    "pool_size",
    "max_client_conn",
    "max_db_connections",
    "max_db_client_connections",
    "max_pending_logins",
    "max_pending_logins_per_address",
    "max_user_connections",
    "max_user_client_connections",
)
AMOUNTS: Final = ("min_pool_size", "reserve_pool_size")
SHARED: Final = (*LIMITS, *AMOUNTS)


@dataclass(frozen=True, slots=True)
class Place:
    """One process's place among `count`; `index` counts from 0."""

    index: int
    count: int
    #: Nobody else may enter it: who reaches a socket in there is one of the crew.
    folder: Path

    @property
    def peer_id(self) -> int:
        """The number by which the others know it."""
        return self.index + 1

    @property
    def socket_dirs(self) -> list[str]:
        """Where the Unix sockets of all processes are, in their order."""
        return [str(self.folder / str(index + 1)) for index in range(self.count)]

    def adapt(self, config: Config) -> Config:
        """Return this process's configuration; raises ConfigError where a limit is too small."""
        if config.settings.peer_id or config.peers:
            raise ConfigError(
                "processes of one crew are each other's peers; leave out peer_id and [peers]",
                key="workers",
            )
        dirs = self.socket_dirs
        settings = replace(
            self.share_out(config.settings, "", SHARED),
            so_reuseport=True,
            peer_id=self.peer_id,
            pidfile="",
            unix_socket_dir=dirs[self.index],
            unix_socket_group="",
            unix_socket_mode=0o700,
        )
        peers = {
            index + 1: PeerSettings(peer_id=index + 1, host=host, port=settings.listen_port)
            for index, host in enumerate(dirs)
            if index != self.index
        }
        fallback = config.fallback
        return replace(
            config,
            settings=settings,
            peers=peers,
            databases=self._share_out_all(config.databases, "database"),
            fallback=fallback and self.share_out(fallback, "database *: ", SHARED),
            users=self._share_out_all(config.users, "user"),
        )

    def _share_out_all(self, entries: Mapping[str, E], what: str) -> dict[str, E]:
        return {
            name: self.share_out(entry, f"{what} {name}: ", SHARED)
            for name, entry in entries.items()
        }

    def share_out(self, entry: E, where: str, keys: Iterable[str]) -> E:
        """Return an entry with this process's share of what is named; raises ConfigError."""
        shares: dict[str, int] = {}
        for key in keys:
            whole = getattr(entry, key, None)
            if not isinstance(whole, int) or not whole:
                continue
            if key in LIMITS and whole < self.count:
                raise ConfigError(
                    f"{where}{key}: {whole} cannot be shared out among {self.count} workers;"
                    " expected at least one for each"
                )
            shares[key] = whole // self.count + (self.index < whole % self.count)
        return _changed(entry, shares)


def _changed(entry: E, changes: Mapping[str, int]) -> E:
    # Not by replace(), whose types are those of one dataclass.
    values = {field.name: getattr(entry, field.name) for field in fields(entry) if field.init}
    return type(entry)(**(values | dict(changes)))
