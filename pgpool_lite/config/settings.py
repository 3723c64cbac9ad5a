"""What can be set in [pgbouncer]? Every setting PgBouncer 1.26.1 has, and some of our own.

Each field of `Settings` is one setting, by PgBouncer's name, with PgBouncer's default; the line
that declares it is the only place to touch. `assign.py` reads and changes them, `effect.py` says
which do nothing yet. Times are seconds, sizes are bytes, and "" means not set.

Where we differ from PgBouncer on purpose: a number outside of what makes sense is refused (a
negative count, a port above 65535), while `query_wait_notify` and `stats_period` may have
fractions.
"""

# RUF009 cannot see that `setting` is dataclasses.field with a table entry, as safe as field itself.
# ruff: noqa: RUF009

from __future__ import annotations

from dataclasses import dataclass

from pgpool_lite.config.profiles import DEFAULT as DEFAULT_PROFILE
from pgpool_lite.config.table import setting
from pgpool_lite.config.values import (
    ADDRESS,
    AUTH_DBNAME,
    AUTH_TYPE,
    FLAG,
    MAX_UNSIGNED,
    NAMES,
    POOL_MODE,
    PREPARED_STATEMENT_ERRORS,
    PREPARED_STATEMENTS,
    PROFILE,
    SECONDS,
    SESSION_LEAKS,
    SQL_PREPARED_STATEMENTS,
    SSL_MODE,
    SWITCH,
    TEXT,
    AuthType,
    PoolMode,
    PreparedStatementErrors,
    PreparedStatements,
    SessionLeaks,
    SqlPreparedStatements,
    SslMode,
    count,
)

# The cancel key has 14 bits for the peer.
MAX_PEER_ID = 16383
PORT = count(0, 65535)
# Far beyond any machine's cores: a typing error should not fork for minutes.
MAX_WORKERS = 256

AUTH_QUERY = (
    "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END"
    " FROM pg_authid WHERE rolname=$1 AND rolcanlogin"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one run, or of the time between two reloads; never changed, only replaced."""

    admin_users: tuple[str, ...] = setting(
        (), NAMES, doc="Users who may run every command on the console."
    )
    application_name_add_host: bool = setting(
        False, FLAG, doc="Whether the client's address is added to application_name at login."
    )
    auth_dbname: str = setting("", AUTH_DBNAME, doc="Database that auth_query runs in.")
    auth_file: str = setting(
        "", TEXT, doc="File with the users and their secrets, relative to the working directory."
    )
    auth_hba_file: str = setting("", TEXT, doc="File with the rules of auth_type hba.")
    auth_ident_file: str = setting("", TEXT, doc="File with the user name maps of auth_type hba.")
    auth_ldap_options: str = setting(
        "",
        TEXT,
        secret=True,
        doc="Connection options of auth_type ldap, which may hold a password.",
    )
    auth_query: str = setting(
        AUTH_QUERY, TEXT, doc="Query that finds the secret of a user who is not in auth_file."
    )
    auth_type: AuthType = setting(AuthType.MD5, AUTH_TYPE, doc="How clients prove who they are.")
    auth_user: str = setting("", TEXT, doc="User who runs auth_query.")
    autodb_idle_timeout: float = setting(
        3600.0, SECONDS, doc="Seconds after which an unused automatic database is forgotten."
    )
    cancel_wait_timeout: float = setting(
        10.0, SECONDS, doc="Seconds a cancel request may wait for a server; 0 for ever."
    )
    client_idle_timeout: float = setting(
        0.0, SECONDS, doc="Seconds after which an idle client is closed; 0 never."
    )
    client_login_timeout: float = setting(
        60.0, SECONDS, doc="Seconds a client has to log in; 0 for ever."
    )
    client_tls13_ciphers: str = setting("", TEXT, doc="Ciphers of TLS 1.3 towards clients.")
    client_tls_ca_file: str = setting(
        "", TEXT, doc="Root certificates that client certificates are checked with."
    )
    client_tls_cert_file: str = setting("", TEXT, doc="Certificate shown to clients.")
    client_tls_ciphers: str = setting("default", TEXT, doc="Ciphers up to TLS 1.2 towards clients.")
    client_tls_dheparams: str = setting(
        "auto", TEXT, doc="Diffie-Hellman key exchange towards clients."
    )
    client_tls_ecdhcurve: str = setting(
        "auto", TEXT, doc="Elliptic curve of the key exchange towards clients."
    )
    client_tls_key_file: str = setting("", TEXT, doc="Private key of client_tls_cert_file.")
    client_tls_protocols: str = setting("secure", TEXT, doc="TLS versions clients may use.")
    client_tls_sslmode: SslMode = setting(
        SslMode.DISABLE, SSL_MODE, doc="Whether clients may or must use TLS."
    )
    conffile: str = setting(
        "", TEXT, doc="File this configuration was read from, and RELOAD reads again."
    )
    default_pool_size: int = setting(20, count(), doc="Servers one pool may have.")
    disable_pqexec: bool = setting(
        False, FLAG, changeable=False, doc="Whether simple queries are refused."
    )
    dns_max_ttl: float = setting(15.0, SECONDS, doc="Seconds a resolved host name is remembered.")
    dns_nxdomain_ttl: float = setting(
        15.0, SECONDS, doc="Seconds a failed look-up of a host name is remembered."
    )
    dns_zone_check_period: float = setting(
        0.0, SECONDS, doc="Seconds between checks of DNS zone serials; 0 never."
    )
    follow_unreported_parameters: bool = setting(
        False,
        FLAG,
        changeable=False,
        doc="Whether session parameters that PostgreSQL does not report follow their client too: at"
        " login, and by SET where session_leaks is on; not one of PgBouncer's settings.",
    )
    health_listen: str = setting(
        "",
        ADDRESS,
        changeable=False,
        doc="host:port that answers /healthz and /readyz by HTTP; not one of PgBouncer's settings.",
    )
    idle_transaction_timeout: float = setting(
        0.0, SECONDS, doc="Seconds a transaction block may be idle; 0 for ever."
    )
    ignore_startup_parameters: tuple[str, ...] = setting(
        (), NAMES, doc="Startup parameters that are accepted and dropped."
    )
    job_name: str = setting("pgbouncer", TEXT, changeable=False, doc="Name of the Windows service.")
    listen_addr: tuple[str, ...] = setting(
        (),
        NAMES,
        changeable=False,
        doc="Addresses to listen on, * for all; none for Unix sockets only.",
    )
    listen_backlog: int = setting(
        128,
        count(),
        changeable=False,
        doc="Connections the kernel queues before they are accepted.",
    )
    listen_port: int = setting(
        6432,
        PORT,
        changeable=False,
        doc="Port to listen on, also in the Unix socket's name; 0 for any free one.",
    )
    log_connections: bool = setting(True, FLAG, doc="Whether logins are logged.")
    log_disconnections: bool = setting(
        True, FLAG, doc="Whether disconnections are logged, with their reasons."
    )
    log_pooler_errors: bool = setting(True, FLAG, doc="Whether errors sent to clients are logged.")
    log_stats: bool = setting(
        True, FLAG, doc="Whether a line of statistics is logged every stats_period."
    )
    logfile: str = setting("", TEXT, doc="File the log is appended to.")
    login_notify_message: str = setting("", TEXT, doc="NOTICE every client gets after login.")
    max_client_conn: int = setting(100, count(), doc="Clients that may be connected.")
    max_db_client_connections: int = setting(
        0, count(), doc="Clients one database may have; 0 any number."
    )
    max_db_connections: int = setting(
        0, count(), doc="Servers one database may have; 0 any number."
    )
    max_packet_size: int = setting(
        2147483647, count(0, MAX_UNSIGNED), doc="Bytes one message may have."
    )
    max_pending_logins: int = setting(
        0,
        count(),
        doc="Clients by network that may be logging in at a time, the oldest gives way; 0 for any"
        " number; not one of PgBouncer's settings.",
    )
    max_pending_logins_per_address: int = setting(
        0, count(), doc="The same for one address; not one of PgBouncer's settings."
    )
    max_prepared_statements: int = setting(
        200, count(), doc="Named prepared statements kept on one server; 0 switches them off."
    )
    max_user_client_connections: int = setting(
        0, count(), doc="Clients one user may have; 0 any number."
    )
    max_user_connections: int = setting(0, count(), doc="Servers one user may have; 0 any number.")
    min_pool_size: int = setting(0, count(), doc="Servers a pool keeps open.")
    peer_id: int = setting(
        0, count(0, MAX_PEER_ID), doc="This process's number among its peers; 0 for none."
    )
    pidfile: str = setting("", TEXT, changeable=False, doc="File the process id is written to.")
    pkt_buf: int = setting(
        4096, count(), changeable=False, doc="Bytes of PgBouncer's buffer for one connection."
    )
    pool_idle_timeout: float = setting(
        0.0, SECONDS, doc="Seconds after which an empty pool is forgotten; 0 never."
    )
    pool_mode: PoolMode = setting(
        PoolMode.SESSION, POOL_MODE, doc="When a server is released to other clients."
    )
    prepared_statement_errors: PreparedStatementErrors = setting(
        PreparedStatementErrors.PGBOUNCER,
        PREPARED_STATEMENT_ERRORS,
        doc="How a taken or unknown statement name is answered; not one of PgBouncer's settings.",
    )
    prepared_statements: PreparedStatements = setting(
        PreparedStatements.DECIDED,
        PREPARED_STATEMENTS,
        doc="What happens to named prepared statements; not one of PgBouncer's settings.",
    )
    profile: str = setting(
        DEFAULT_PROFILE,
        PROFILE,
        doc="Pooler whose limits, abilities and sentences are taken over, see docs/profiles.md; not"
        " one of PgBouncer's settings.",
    )
    query_timeout: float = setting(0.0, SECONDS, doc="Seconds a query may run; 0 for ever.")
    query_wait_notify: float = setting(
        5.0, SECONDS, doc="Seconds a client waits for a server before a NOTICE says so; 0 never."
    )
    query_wait_timeout: float = setting(
        120.0, SECONDS, doc="Seconds a client may wait for a server; 0 for ever."
    )
    reserve_pool_size: int = setting(
        0, count(), doc="Servers a pool may have on top when clients wait long."
    )
    reserve_pool_timeout: float = setting(
        5.0, SECONDS, doc="Seconds a client waits before the reserve is used; 0 never."
    )
    resolv_conf: str = setting(
        "", TEXT, changeable=False, doc="File that configures the DNS resolver."
    )
    retry_stale_plans: bool = setting(
        False,
        FLAG,
        doc="Whether a query that fails because a migration has changed what its prepared statement"
        " returns is sent once more, where the client cannot notice; not one of PgBouncer's"
        " settings.",
    )
    sbuf_loopcnt: int = setting(
        5, count(), doc="Reads from one connection before the next has its turn; 0 any number."
    )
    scram_iterations: int = setting(
        4096, count(1), doc="Iterations of SCRAM secrets made from plain passwords."
    )
    server_check_delay: float = setting(
        30.0, SECONDS, doc="Seconds a released server is used again without a check."
    )
    server_check_query: str = setting(
        "<empty>",
        TEXT,
        doc="Query that checks a server; <empty> sends an empty one, nothing checks none.",
    )
    server_connect_timeout: float = setting(
        15.0, SECONDS, doc="Seconds a server connection has to connect and log in."
    )
    server_fast_close: bool = setting(
        False, FLAG, doc="Whether RECONNECT also closes servers in the middle of a session."
    )
    server_idle_timeout: float = setting(
        600.0, SECONDS, doc="Seconds after which an idle server is closed; 0 never."
    )
    server_lifetime: float = setting(
        3600.0, SECONDS, doc="Seconds after which a server is closed once it is idle."
    )
    server_login_retry: float = setting(
        15.0, SECONDS, doc="Seconds between attempts to log in to a server that failed."
    )
    server_reset_query: str = setting(
        "DISCARD ALL", TEXT, doc="Query sent to a released server in session mode."
    )
    server_reset_query_always: bool = setting(
        False, FLAG, doc="Whether server_reset_query is sent in every pool mode."
    )
    server_round_robin: bool = setting(
        False, FLAG, doc="Whether the server idle longest is used first."
    )
    server_tls13_ciphers: str = setting("", TEXT, doc="Ciphers of TLS 1.3 towards servers.")
    server_tls_ca_file: str = setting(
        "", TEXT, doc="Root certificates that server certificates are checked with."
    )
    server_tls_cert_file: str = setting("", TEXT, doc="Certificate shown to servers.")
    server_tls_ciphers: str = setting("default", TEXT, doc="Ciphers up to TLS 1.2 towards servers.")
    server_tls_key_file: str = setting("", TEXT, doc="Private key of server_tls_cert_file.")
    server_tls_protocols: str = setting("secure", TEXT, doc="TLS versions servers may use.")
    server_tls_sslmode: SslMode = setting(
        SslMode.PREFER, SSL_MODE, doc="Whether servers may or must use TLS."
    )
    session_leaks: SessionLeaks = setting(
        SessionLeaks.OFF,
        SESSION_LEAKS,
        doc="What happens when session state is left on a shared server; not one of PgBouncer's"
        " settings.",
    )
    session_leaks_verify: bool = setting(
        False,
        FLAG,
        doc="Whether each released server is asked what stands on it, where session_leaks is on;"
        " not one of PgBouncer's settings.",
    )
    so_reuseport: bool = setting(
        False, FLAG, changeable=False, doc="Whether several processes may listen on one port."
    )
    sql_prepared_statements: SqlPreparedStatements = setting(
        SqlPreparedStatements.PASS,
        SQL_PREPARED_STATEMENTS,
        doc="What happens to DEALLOCATE, PREPARE and EXECUTE in SQL; not one of PgBouncer's"
        " settings.",
    )
    stats_period: float = setting(60.0, SECONDS, doc="Seconds the averages of SHOW STATS cover.")
    stats_users: tuple[str, ...] = setting(
        (), NAMES, doc="Users who may only run SHOW on the console."
    )
    syslog: bool = setting(False, FLAG, doc="Whether the log goes to syslog.")
    syslog_facility: str = setting("daemon", TEXT, doc="Facility of syslog lines.")
    syslog_ident: str = setting("pgbouncer", TEXT, doc="Name of the process in syslog lines.")
    tcp_defer_accept: bool = setting(
        True, FLAG, doc="Whether TCP_DEFER_ACCEPT is set on the listening socket."
    )
    tcp_keepalive: bool = setting(True, FLAG, doc="Whether TCP keepalive is on.")
    tcp_keepcnt: int = setting(
        0,
        count(),
        doc="Unanswered keepalive probes before a connection is dropped; 0 as the kernel has it.",
    )
    tcp_keepidle: int = setting(
        0, count(), doc="Seconds without traffic before keepalive probes; 0 as the kernel has it."
    )
    tcp_keepintvl: int = setting(
        0, count(), doc="Seconds between keepalive probes; 0 as the kernel has it."
    )
    tcp_socket_buffer: int = setting(
        0, count(), doc="Bytes of the kernel's socket buffers; 0 as the kernel has it."
    )
    tcp_user_timeout: int = setting(
        0, count(), doc="Milliseconds sent data may stay unacknowledged; 0 as the kernel has it."
    )
    track_extra_parameters: tuple[str, ...] = setting(
        (),
        NAMES,
        changeable=False,
        doc="Parameters kept per client on top of the usual ones.",
    )
    teaching: bool = setting(
        True,
        SWITCH,
        doc="Whether errors say what happened and what to change, in DETAIL and HINT; not one of"
        " PgBouncer's settings.",
    )
    transaction_timeout: float = setting(
        0.0, SECONDS, doc="Seconds a transaction may take; 0 for ever."
    )
    unix_socket_dir: str = setting(
        "/tmp",
        TEXT,
        changeable=False,
        doc="Directory of Unix sockets, @name for an abstract one; empty for none.",
    )
    unix_socket_group: str = setting(
        "", TEXT, changeable=False, doc="Group of the listening Unix socket."
    )
    unix_socket_mode: int = setting(
        0o777,
        count(0, 0o7777),
        changeable=False,
        default_text="0777",
        doc="File mode of the listening Unix socket.",
    )
    user: str = setting("", TEXT, changeable=False, doc="User to become after start-up.")
    verbose: int = setting(
        0, count(), default_text="", doc="How much is logged beyond the usual, 0 to 3."
    )
    workers: int = setting(
        1,
        count(1, MAX_WORKERS),
        changeable=False,
        doc="Processes that serve together, each with its share of every limit; not one of"
        " PgBouncer's settings.",
    )
