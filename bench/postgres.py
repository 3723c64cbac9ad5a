"""Which PostgreSQL is measured, and how are its databases named to pgbench, psql and asyncpg?

A URL that was given, or a throw-away cluster that ends with the program. The programs that come
with it (psql, pgbench) are looked for beside its own binaries first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from bench.errors import BenchError
from pgpool_lite.dev.cluster import Cluster

DEFAULT_PORT = 5432


@dataclass(frozen=True, slots=True)
class Database:
    """Where a database is and who asks: the same five facts in each program's own spelling."""

    host: str
    port: int
    user: str
    password: str
    name: str
    sslmode: str = "disable"

    @classmethod
    def from_url(cls, url: str) -> Database:
        """Read a postgresql:// URL; what it leaves out gets PostgreSQL's own defaults."""
        parts = urlsplit(url)
        if parts.scheme not in ("postgresql", "postgres"):
            raise BenchError(f"expected a postgresql:// URL, got {url!r}")
        user = unquote(parts.username or "") or "postgres"
        return cls(
            host=unquote(parts.hostname or "") or "127.0.0.1",
            port=parts.port or DEFAULT_PORT,
            user=user,
            password=unquote(parts.password or ""),
            name=unquote(parts.path.lstrip("/")) or user,
        )

    def url(self) -> str:
        """Return the postgresql:// URL, password included."""
        password = f":{quote(self.password, safe='')}" if self.password else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        user, name = quote(self.user, safe=""), quote(self.name, safe="")
        return f"postgresql://{user}{password}@{host}:{self.port}/{name}"

    def environment(self) -> dict[str, str]:
        """Return this process's environment with libpq's variables set to this database."""
        return os.environ | {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": self.name,
            "PGSSLMODE": self.sslmode,
        }

    def at(self, host: str, port: int) -> Database:
        """Return the same database as reached through another address: a pooler's."""
        return replace(self, host=host, port=port)


@dataclass(frozen=True, slots=True)
class Programs:
    """Finds PostgreSQL's client programs: in the server's own folder first, then on the PATH."""

    folder: Path | None

    def find(self, name: str) -> str:
        """Return a program's path, or raise BenchError naming what is missing."""
        beside = None if self.folder is None else shutil.which(name, path=str(self.folder))
        found = beside or shutil.which(name)
        if found is None:
            raise BenchError(f"{name} is not found: install PostgreSQL's client programs")
        return found


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server: a database on it, the programs that came with it, and whose it is."""

    database: Database
    programs: Programs
    is_ours: bool

    def query(self, sql: str) -> str:
        """Run one statement through psql and return its only value as text."""
        command = [self.programs.find("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql]
        done = subprocess.run(
            command, env=self.database.environment(), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise BenchError(f"psql says: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout.strip()

    def version(self) -> str:
        """Return the server's version number."""
        return self.query("SHOW server_version")


@contextmanager
def provide(url: str | None, *, max_connections: int) -> Iterator[Postgres]:
    """Yield the server at the URL, or a throw-away one with that many connections."""
    if url is not None:
        yield Postgres(Database.from_url(url), Programs(None), is_ours=False)
        return
    with Cluster(max_connections=max_connections) as cluster:
        programs = Programs(cluster.binaries.path)
        yield Postgres(Database.from_url(cluster.dsn()), programs, is_ours=True)
