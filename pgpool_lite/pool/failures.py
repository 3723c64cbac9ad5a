"""Why can no server be had, and what should be changed? By what was said when a login failed.

The words are PostgreSQL's, the system's, or our own of `ServerLoginFailed`.
"""

from __future__ import annotations

import re
from typing import Final

#: What PostgreSQL, or the network, says when the pooler's login fails; what to change then.
FAILURES: Final = (
    (
        r"too many clients|remaining connection slots|too many connections",
        "This is PostgreSQL's limit, not the pooler's: all pools together may open more servers"
        " than its max_connections allows. Lower default_pool_size, or set max_db_connections.",
    ),
    (
        r"password authentication failed|SASL authentication failed|wrong password",
        "PostgreSQL refuses the secret that the pooler has for this user: correct it in auth_file,"
        " or user= and password= in the database's line.",
    ),
    (
        r'database ".*" does not exist',
        "PostgreSQL has no database of that name: correct dbname= in the database's line, or the"
        " URL.",
    ),
    (r'role ".*" does not exist', "PostgreSQL has no role of that name: create it, or set user=."),
    (
        r"pg_hba\.conf",
        "PostgreSQL's pg_hba.conf has no line for the pooler's address: add one, or connect with"
        " TLS (server_tls_sslmode).",
    ),
    (
        r"starting up|shutting down|recovery",
        "PostgreSQL is starting or stopping: try again in a moment.",
    ),
    (
        r"DNS",
        "The host's name cannot be resolved: correct host= in the database's line.",
    ),
    (
        r"connect failed|crashed|timeout|timed out",
        "Nothing answers there: see that PostgreSQL runs, and host= and port= of the database's"
        " line.",
    ),
    (
        r"SSL|TLS",
        "PostgreSQL and server_tls_sslmode do not agree about TLS.",
    ),
)


def hint_for_failure(failure: str) -> str:
    """Return what to change where servers cannot be had, by what was said then."""
    for pattern, hint in FAILURES:
        if re.search(pattern, failure):
            return hint
    return "The pooler's log tells of every attempt."
