"""Where do we differ from PgBouncer 1.26.1? Everything the code itself cannot tell.

`compatibility.py` puts these lists, and those that it reads off the code, into the page
docs/compatibility.md. The differential test of the console asks a real PgBouncer: what has a
`command` must be answered differently there, and no other command may be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs."""

    what: str
    theirs: str
    ours: str
    why: str
    #: A console command that shows it, alone and as admin.
    command: str = ""


_EXTRA = "PgBouncer has nothing like it"
_LONGER = "nothing is cut off"

COMMANDS: Final = (
    Difference(
        "SHOW VERSION",
        "`PgBouncer 1.26.1`",
        "`PgBouncer 1.26.1 compatible: pgpool_lite` and our version",
        "what looks for PgBouncer's version finds it, and who reads it knows what runs",
        "SHOW VERSION",
    ),
    Difference(
        "SHOW HELP", "its commands", "these, and the tables that are ours", _EXTRA, "SHOW HELP"
    ),
    Difference(
        "SHOW LEAKS",
        "invalid command",
        "what clients have left on servers, and who found it",
        _EXTRA,
        "SHOW LEAKS",
    ),
    Difference(
        "SHOW PINS", "invalid command", "which client keeps its server", _EXTRA, "SHOW PINS"
    ),
    Difference(
        "SHOW LEAK_TOTALS",
        "invalid command",
        "how often it came to that, per pool",
        _EXTRA,
        "SHOW LEAK_TOTALS",
    ),
    Difference(
        "SHOW MENDS",
        "invalid command",
        "what works here and would break elsewhere, per pool",
        _EXTRA,
        "SHOW MENDS",
    ),
    Difference(
        "SHOW LINKS", "invalid command", "which client holds which server", _EXTRA, "SHOW LINKS"
    ),
    Difference(
        "SHOW PREPARED_STATEMENTS",
        "invalid command",
        "the named statements of all clients",
        _EXTRA,
        "SHOW PREPARED_STATEMENTS",
    ),
    Difference(
        "SHOW *table* JSON",
        "invalid command",
        "the same rows as one JSON text",
        _EXTRA,
        "SHOW POOLS JSON",
    ),
    Difference(
        "names and values with other characters than letters, digits and `_`",
        "invalid command, unless quoted",
        "taken without quotes, up to a blank, quote or semicolon",
        "nobody expects that `PAUSE my-app` and `SET query_timeout = 1.5` need quotes",
        "SET query_timeout = 1.5",
    ),
    Difference(
        "the blank behind TO in `SET key TO value`",
        "may be left out",
        "invalid command",
        "`SET pool_mode tosession` is a slip",
        "SET pool_mode tosession",
    ),
    Difference(
        "words of more than 15, arguments of more than 63, values of more than 255 bytes",
        "bad arguments",
        "taken",
        _LONGER,
        f"SHOW {'v' * 70}",
    ),
    Difference(
        "SET of a setting that only a start can change",
        "answered as done, and nothing happens",
        "answered as done, with a NOTICE that a restart is needed",
        "who sets something should hear that it is not set",
        "SET listen_port = 5",
    ),
    Difference(
        "SET of a number that makes no sense",
        "taken, or wrapped around",
        "SET failed, with what is allowed in DETAIL",
        "a limit of -1 or of 2^31 is nobody's wish",
        "SET scram_iterations = 0",
    ),
)

ANSWERS: Final = (
    Difference(
        "errors",
        "severity, SQLSTATE and message",
        "the same, and the severity once more (field V), often DETAIL and HINT",
        "a message should say what to change",
    ),
    Difference(
        "the extended query protocol on the console",
        "an error, then the connection is closed",
        "served, without parameters",
        "drivers that prepare everything can use the console",
    ),
    Difference(
        "a login to the console with auth_type any",
        "anybody may look, and is shown as pgbouncer",
        "who is in admin_users or stats_users, under the own name",
        "letting everybody look is a hole",
    ),
    Difference(
        "RESUME while a PAUSE waits on another console",
        "that console waits for the next pause to be done",
        "that console gets an error",
        "its command cannot be done any more",
    ),
    Difference(
        "client parameters after a login to the console",
        "client_encoding and application_name are repeated",
        "not repeated",
        "no driver asks for them",
    ),
    Difference(
        "SHUTDOWN",
        "connections are cut",
        "clients hear `server shutting down` first",
        "they may try elsewhere",
    ),
    Difference(
        "names in SHOW CONFIG",
        "as they are written in the file",
        "parted by a comma and a blank",
        "the setting is a list, not a text",
    ),
)

VALUES: Final = (
    Difference(
        "SHOW MEM",
        "slabs",
        "objects in use, without what they refer to; nothing is kept free",
        "Python has no slabs",
    ),
    Difference(
        "free_clients, free_servers in SHOW LISTS", "slabs kept free", "0", "Python has no slabs"
    ),
    Difference(
        "dns_names, dns_zones, dns_queries in SHOW LISTS; SHOW DNS_ZONES",
        "what the DNS library keeps",
        "see SHOW DNS_HOSTS; there are no zones",
        "names are looked up by the operating system",
    ),
    Difference(
        "ptr, link in SHOW CLIENTS, SERVERS, SOCKETS",
        "addresses in memory",
        "the numbers in the column id",
        "nobody else can use an address",
    ),
    Difference(
        "recv_pos, pkt_pos, pkt_remain, pkt_avail in SHOW SOCKETS",
        "positions in a buffer",
        "bytes kept, and bytes to come of a message that has begun",
        "there is no buffer of that kind",
    ),
    Difference(
        "wait, maxwait of clients that wait for a pool's first server",
        "0 until that server is there",
        "since they logged in",
        "they wait, and an alarm on maxwait should hear of it",
    ),
    Difference(
        "SHOW POOLS after KILL",
        "the pools are gone",
        "they are there, and empty, until `pool_idle_timeout`",
        "a pool that is gone has forgotten why its server refused it",
    ),
    Difference(
        "SHOW STATS after `pool_idle_timeout`, or KILL",
        "what the pools that are gone have counted is gone too",
        "statistics belong to the database",
        "a total that shrinks is no total",
    ),
    Difference(
        "the console's own queries and transactions in SHOW STATS",
        "one for each connection that has asked anything",
        "each counts",
        "they are counted nowhere else",
    ),
    Difference(
        "SHOW USERS, users in SHOW LISTS",
        "with auth_type any, auth_file is not read",
        "users of auth_file are there",
        "it was read to log in to servers",
    ),
)

CONFIGURATION: Final = (
    Difference(
        "an unknown setting",
        "refuses to start, and to reload",
        "warns, and names the nearest one there is",
        "a file may be written for another version",
    ),
    Difference(
        "a number that is none in [databases] and [users], such as `pool_size=abc`",
        "is 0, as C's atoi reads it",
        "refused, with file, line and key",
        "a limit of 0 means that there is none",
    ),
    Difference(
        "numbers out of range",
        "wrap around",
        "refused: counts from 0 to 2147483647, ports up to 65535, peer_id up to 16383",
        "they are slips",
    ),
    Difference(
        "times such as `0x10`, `inf`, `nan`",
        "taken, as C's strtod reads them",
        "refused",
        "they are slips",
    ),
    Difference(
        "fractions in stats_period and query_wait_notify",
        "refused",
        "taken",
        "other times have fractions too",
    ),
    Difference(
        "an auth_file that cannot be read, or has a broken line",
        "goes on with the users there are",
        "refused",
        "half a list of users locks people out without saying so",
    ),
    Difference(
        "an auth_hba_file or auth_ident_file that cannot be read, or has a broken line",
        "warns and goes on without that line, or without any rule",
        "refused; at RELOAD all stays as it was",
        "the first line that fits decides, so without a line others let more people in",
    ),
    Difference(
        "a line that is set again below",
        "must be right all the same",
        "does not matter",
        "the last one counts",
    ),
)

BEHAVIOUR: Final = (
    Difference(
        "a NULL secret from auth_query: no password, or an expired one",
        "a client that says the password `md5` comes in",
        "nobody comes in",
        "nothing may stand for NULL that a client could say",
    ),
    Difference(
        "a user who does not exist, with auth_type md5",
        "is asked for md5, whatever those who exist are asked for",
        "is asked what most users of auth_file are asked",
        "nobody should find out who exists",
    ),
    Difference(
        "a server that has answered auth_query with an error",
        "is closed",
        "is used again",
        "it is in order, and strangers could have servers opened one after the other",
    ),
    Difference(
        "auth_query",
        "is run as it is",
        "RESET search_path goes before it",
        "earlier clients of auth_user may have set another",
    ),
    Difference(
        "errors of the pooler's own",
        "severity, SQLSTATE and message",
        "the same, often with DETAIL and HINT",
        "a message should say what to change",
    ),
    Difference(
        "a message of up to 16 KiB that has not arrived whole",
        "takes a server when its head has come",
        "takes none before it is whole",
        "a client that stops in the middle holds no server",
    ),
    Difference(
        "a SHUTDOWN that waits for servers",
        "cuts connections at the end",
        "tells clients `server shutting down`",
        "they may try elsewhere",
    ),
    Difference(
        "a host name with several addresses",
        "one is tried, then `server_login_retry` must pass",
        "all are tried in one attempt",
        "`localhost` is ::1 and 127.0.0.1 nearly everywhere",
    ),
    Difference(
        "`max_user_client_connections` and `max_db_client_connections`",
        "count from the start-up message on",
        "count who has proved who they are",
        "knowing a name should not be enough to use its limit up",
    ),
    Difference(
        "a user's own `client_idle_timeout` while the common one is 0",
        "closes every other client at its next idle moment",
        "is that user's own",
        "that is what it says",
    ),
    Difference(
        "RELOAD of a file that misses a line which `*` can serve",
        "closes that database's clients",
        "they go on",
        "they would come back to the same server",
    ),
    Difference(
        "RELOAD where TLS cannot be set up",
        "takes over the other settings",
        "changes nothing",
        "a reload is all or nothing",
    ),
    Difference(
        "SCRAM over TLS",
        "without channel binding",
        "SCRAM-SHA-256-PLUS is offered, and used towards servers",
        "PostgreSQL and libpq do it",
    ),
    Difference(
        "a common name in a certificate that has subjectAltName",
        "counts",
        "does not",
        "OpenSSL and libpq do not take it",
    ),
    Difference(
        "`--reboot`",
        "hands over the sockets of clients",
        "hands over the ports: the old process ends with its last client",
        "TLS, SCRAM and prepared statements do not travel",
    ),
    Difference(
        "clients of the console at a shutdown that waits for clients",
        "are waited for",
        "are not",
        "a monitoring session should keep nothing alive",
    ),
)
