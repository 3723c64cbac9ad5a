"""What each setting takes, written down a second time: its kind, its bounds, what is beyond them.

PgBouncer 1.26.1 reads numbers by C's atoi and strtod and checks next to nothing; the bounds are
those of what it stores them in, where it does not check more (listen_port, peer_id).
"""

from __future__ import annotations

import pytest

from pgpool_lite.config import Settings, parse_settings
from pgpool_lite.config.ini import Located
from pgpool_lite.config.table import table_of
from pgpool_lite.errors import ConfigError

INT = 2**31 - 1
#: Settings of ours, whose values have tests of their own.
OURS = {
    "follow_unreported_parameters",
    "health_listen",
    "profile",
    "retry_stale_plans",
    "session_leaks",
    "session_leaks_verify",
    "teaching",
}

#: The least and the most of whole numbers.
COUNTS = {
    "default_pool_size": (0, INT),
    "listen_backlog": (0, INT),
    "listen_port": (0, 65535),
    "max_client_conn": (0, INT),
    "max_db_client_connections": (0, INT),
    "max_db_connections": (0, INT),
    "max_packet_size": (0, 2**32 - 1),
    "max_pending_logins": (0, INT),
    "max_pending_logins_per_address": (0, INT),
    "max_prepared_statements": (0, INT),
    "max_user_client_connections": (0, INT),
    "max_user_connections": (0, INT),
    "min_pool_size": (0, INT),
    "peer_id": (0, 16383),
    "pkt_buf": (0, INT),
    "reserve_pool_size": (0, INT),
    "sbuf_loopcnt": (0, INT),
    "scram_iterations": (1, INT),
    "tcp_keepcnt": (0, INT),
    "tcp_keepidle": (0, INT),
    "tcp_keepintvl": (0, INT),
    "tcp_socket_buffer": (0, INT),
    "tcp_user_timeout": (0, INT),
    "unix_socket_mode": (0, 0o7777),
    "verbose": (0, INT),
    "workers": (1, 256),
}

#: Times in seconds, with fractions.
TIMES = (
    *("autodb_idle_timeout", "cancel_wait_timeout", "client_idle_timeout", "client_login_timeout"),
    *("dns_max_ttl", "dns_nxdomain_ttl", "dns_zone_check_period", "idle_transaction_timeout"),
    *("pool_idle_timeout", "query_timeout", "query_wait_notify", "query_wait_timeout"),
    *("reserve_pool_timeout", "server_check_delay", "server_connect_timeout"),
    *("server_idle_timeout", "server_lifetime", "server_login_retry", "stats_period"),
    "transaction_timeout",
)

FLAGS = (
    *("application_name_add_host", "disable_pqexec", "log_connections", "log_disconnections"),
    *("log_pooler_errors", "log_stats", "server_fast_close", "server_reset_query_always"),
    *("server_round_robin", "so_reuseport", "syslog", "tcp_defer_accept", "tcp_keepalive"),
)

SSL_MODES = "disable allow prefer require verify-ca verify-full"

CHOICES = {
    "auth_type": "any trust plain md5 scram-sha-256 cert hba",
    "client_tls_sslmode": SSL_MODES,
    "pool_mode": "session transaction statement",
    "prepared_statement_errors": "pgbouncer postgres",
    "prepared_statements": "rewrite reject pass",
    "server_tls_sslmode": SSL_MODES,
    "sql_prepared_statements": "pass track",
}


def read(key: str, text: str) -> object:
    """Return what a line of [pgbouncer] is read as."""
    settings, warnings = parse_settings({key: Located(key, text)})
    assert warnings == ()
    return getattr(settings, key)


def test_every_setting_that_does_not_take_any_text_is_here() -> None:
    told = {*COUNTS, *TIMES, *FLAGS, *CHOICES}

    picky = {key for key in table_of(Settings) if not takes(key, "no such thing")}

    assert picky - told <= OURS
    assert told <= picky


def takes(key: str, text: str) -> bool:
    try:
        read(key, text)
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize(("key", "low", "high"), [(key, *COUNTS[key]) for key in COUNTS])
def test_a_whole_number_is_taken_within_its_bounds_only(key: str, low: int, high: int) -> None:
    assert (read(key, f"{low}"), read(key, f"{high}")) == (low, high)
    assert not takes(key, f"{low - 1}")
    assert not takes(key, f"{high + 1}")
    assert not takes(key, "1.5")


@pytest.mark.parametrize("key", TIMES)
def test_a_time_is_taken_from_nothing_to_what_fits(key: str) -> None:
    assert (read(key, "0"), read(key, "0.5"), read(key, f"{INT}")) == (0, 0.5, INT)
    assert not takes(key, "-1")
    assert not takes(key, f"{INT + 1}")
    assert not takes(key, "inf")


@pytest.mark.parametrize("key", FLAGS)
def test_a_flag_is_a_number(key: str) -> None:
    assert (read(key, "0"), read(key, "1")) == (False, True)
    assert not takes(key, "yes")


@pytest.mark.parametrize("key", CHOICES)
def test_a_choice_is_one_of_its_words_in_any_case(key: str) -> None:
    words = CHOICES[key].split()

    assert [str(read(key, word.upper())) for word in words] == words
    assert not takes(key, words[0] + words[0])
