"""A PostgreSQL that speaks TLS, and what else tests of TLS share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from pgpool_lite.dev.binaries import Binaries
from pgpool_lite.dev.cluster import Cluster
from tests.certificates import Authority

#: One role per way in: only by TLS, only without, only with a certificate. All others as they like.
ENCRYPTION_RULES = (
    "hostssl all sealed 127.0.0.1/32 trust",
    "host all sealed 127.0.0.1/32 reject",
    "hostnossl all open 127.0.0.1/32 trust",
    "host all open 127.0.0.1/32 reject",
    "hostssl all certified 127.0.0.1/32 cert",
    "hostssl all bound 127.0.0.1/32 scram-sha-256",
)


#: Why a test is skipped.
WITHOUT_TLS = "this PostgreSQL was built without TLS, as the wheel's is"


def speaks_tls(cluster: Cluster) -> bool:
    """Say whether a running PostgreSQL was built with TLS."""
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        found = connection.execute("SHOW ssl_library").fetchone()
    return found != ("",)


@contextmanager
def encrypted_cluster(binaries: Binaries, authority: Authority) -> Iterator[Cluster]:
    """Run a PostgreSQL that proves to be localhost, with the roles of ENCRYPTION_RULES."""
    with Cluster(binaries, hba=ENCRYPTION_RULES) as cluster:
        with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
            for role in ("sealed", "open", "certified"):
                connection.execute(f"CREATE ROLE {role} LOGIN".encode())
            connection.execute("SET password_encryption = 'scram-sha-256'")
            connection.execute("CREATE ROLE bound LOGIN PASSWORD 'bound-secret'")
            connection.execute("CREATE DATABASE app")
        let_encrypt(cluster, authority)
        yield cluster


def let_encrypt(cluster: Cluster, authority: Authority) -> None:
    """Have a running PostgreSQL speak TLS with those that wish it."""
    own = authority.issue("localhost")  # by its common name alone, as PgBouncer's tests have it
    for source, name in ((own.cert, "tls.crt"), (own.key, "tls.key"), (authority.cert, "ca")):
        target = cluster.data / name
        shutil.copyfile(source, target)
        target.chmod(0o600)
        owner = cluster.data.stat()
        os.chown(target, owner.st_uid, owner.st_gid)
    with psycopg.connect(cluster.dsn(), autocommit=True) as connection:
        for setting in ("cert_file = 'tls.crt'", "key_file = 'tls.key'", "ca_file = 'ca'"):
            connection.execute(f"ALTER SYSTEM SET ssl_{setting}".encode())
        connection.execute("ALTER SYSTEM SET ssl = on")
        connection.execute("SELECT pg_reload_conf()")
