"""Settings against PgBouncer 1.26.1's own SHOW CONFIG, and the ways a setting gets its value."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.config import (
    AuthType,
    PoolMode,
    PreparedStatements,
    Settings,
    config_rows,
    from_keywords,
    parse_settings,
    reload_settings,
    with_setting,
)
from pgpool_lite.config.ini import Located
from pgpool_lite.config.table import table_of
from pgpool_lite.errors import ConfigError

# SHOW CONFIG of PgBouncer 1.26.1: key|default|changeable, all of its 99 rows; - stands for NULL.
SHOW_CONFIG = """\
admin_users||yes
application_name_add_host|0|yes
auth_dbname|-|yes
auth_file|-|yes
auth_hba_file||yes
auth_ident_file|-|yes
auth_ldap_options|-|yes
auth_query|SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END FROM pg_authid WHERE rolname=$1 AND rolcanlogin|yes
auth_type|md5|yes
auth_user|-|yes
autodb_idle_timeout|3600|yes
cancel_wait_timeout|10|yes
client_idle_timeout|0|yes
client_login_timeout|60|yes
client_tls13_ciphers|-|yes
client_tls_ca_file||yes
client_tls_cert_file||yes
client_tls_ciphers|default|yes
client_tls_dheparams|auto|yes
client_tls_ecdhcurve|auto|yes
client_tls_key_file||yes
client_tls_protocols|secure|yes
client_tls_sslmode|disable|yes
conffile|-|yes
default_pool_size|20|yes
disable_pqexec|0|no
dns_max_ttl|15|yes
dns_nxdomain_ttl|15|yes
dns_zone_check_period|0|yes
idle_transaction_timeout|0|yes
ignore_startup_parameters||yes
job_name|pgbouncer|no
listen_addr||no
listen_backlog|128|no
listen_port|6432|no
log_connections|1|yes
log_disconnections|1|yes
log_pooler_errors|1|yes
log_stats|1|yes
logfile||yes
login_notify_message||yes
max_client_conn|100|yes
max_db_client_connections|0|yes
max_db_connections|0|yes
max_packet_size|2147483647|yes
max_prepared_statements|200|yes
max_user_client_connections|0|yes
max_user_connections|0|yes
min_pool_size|0|yes
peer_id|0|yes
pidfile||no
pkt_buf|4096|no
pool_idle_timeout|0|yes
pool_mode|session|yes
query_timeout|0|yes
query_wait_notify|5|yes
query_wait_timeout|120|yes
reserve_pool_size|0|yes
reserve_pool_timeout|5|yes
resolv_conf||no
sbuf_loopcnt|5|yes
scram_iterations|4096|yes
server_check_delay|30|yes
server_check_query|<empty>|yes
server_connect_timeout|15|yes
server_fast_close|0|yes
server_idle_timeout|600|yes
server_lifetime|3600|yes
server_login_retry|15|yes
server_reset_query|DISCARD ALL|yes
server_reset_query_always|0|yes
server_round_robin|0|yes
server_tls13_ciphers|-|yes
server_tls_ca_file||yes
server_tls_cert_file||yes
server_tls_ciphers|default|yes
server_tls_key_file||yes
server_tls_protocols|secure|yes
server_tls_sslmode|prefer|yes
so_reuseport|0|no
stats_period|60|yes
stats_users||yes
syslog|0|yes
syslog_facility|daemon|yes
syslog_ident|pgbouncer|yes
tcp_defer_accept|1|yes
tcp_keepalive|1|yes
tcp_keepcnt|0|yes
tcp_keepidle|0|yes
tcp_keepintvl|0|yes
tcp_socket_buffer|0|yes
tcp_user_timeout|0|yes
track_extra_parameters||no
transaction_timeout|0|yes
unix_socket_dir|/tmp|no
unix_socket_group||no
unix_socket_mode|0777|no
user|-|no
verbose|-|yes
"""  # noqa: E501 - auth_query is one line

PGBOUNCER = [tuple(line.split("|")) for line in SHOW_CONFIG.splitlines()]

# Settings PgBouncer does not have.
OUR_OWN = {
    "follow_unreported_parameters",
    "health_listen",
    "max_pending_logins",
    "max_pending_logins_per_address",
    "prepared_statement_errors",
    "prepared_statements",
    "profile",
    "retry_stale_plans",
    "session_leaks",
    "session_leaks_verify",
    "sql_prepared_statements",
    "teaching",
    "workers",
}


def located(text: str) -> dict[str, Located]:
    """Entries as they come from a file /etc/p.ini, one per line, the first on line 1."""
    pairs = [line.split(" = ", 1) for line in text.splitlines()]
    file = Path("/etc/p.ini")
    return {key: Located(key, value, file, n) for n, (key, value) in enumerate(pairs, start=1)}


class TestTheTable:
    def test_every_setting_of_pgbouncer_is_a_field(self) -> None:
        assert {key for key, _, _ in PGBOUNCER} == set(table_of(Settings)) - OUR_OWN

    @pytest.mark.parametrize(("key", "default", "changeable"), PGBOUNCER)
    def test_a_setting_has_pgbouncers_default_and_can_change_when_pgbouncers_can(
        self, key: str, default: str, changeable: str
    ) -> None:
        row = next(row for row in config_rows(Settings()) if row.key == key)
        assert ("-" if row.default is None else row.default, row.changeable) == (
            default,
            changeable,
        )

    @pytest.mark.parametrize("key", list(table_of(Settings)))
    def test_a_default_reads_back_as_itself(self, key: str) -> None:
        default = getattr(Settings(), key)
        shown = next(row.value for row in config_rows(Settings()) if row.key == key)
        assert table_of(Settings)[key].kind.read(shown or "") == default

    @pytest.mark.parametrize("key", list(table_of(Settings)))
    def test_a_setting_is_explained_in_one_sentence(self, key: str) -> None:
        doc = table_of(Settings)[key].doc
        assert doc.endswith(".")
        assert doc.count(". ") == 0

    def test_settings_cannot_be_changed_in_place(self) -> None:
        settings = Settings()
        with pytest.raises(FrozenInstanceError):
            settings.verbose = 2  # type: ignore[misc]  # the point of the test


class TestReadingASection:
    def test_values_become_python_values(self) -> None:
        settings, warnings = parse_settings(
            located(
                "pool_mode = Transaction\n"
                "auth_type = SCRAM-SHA-256\n"
                "listen_addr = 127.0.0.1, ::1\n"
                "query_timeout = 1.5\n"
                "log_stats = 0\n"
                "unix_socket_mode = 0700\n"
                "server_reset_query = \n"
                "prepared_statements = reject"
            )
        )
        assert settings.pool_mode is PoolMode.TRANSACTION
        assert settings.auth_type is AuthType.SCRAM_SHA_256
        assert settings.listen_addr == ("127.0.0.1", "::1")
        assert settings.query_timeout == 1.5
        assert settings.log_stats is False
        assert settings.unix_socket_mode == 0o700
        assert settings.server_reset_query == ""
        assert settings.prepared_statements is PreparedStatements.REJECT
        assert warnings == ()

    def test_what_is_not_there_has_its_default(self) -> None:
        assert parse_settings({}) == (Settings(), ())

    def test_an_unknown_key_is_a_warning_that_names_the_nearest(self) -> None:
        settings, warnings = parse_settings(located("verbose = 1\ndefault_pool_sise = 5"))
        assert settings == from_keywords(verbose=1)
        assert warnings == (
            "/etc/p.ini:2: default_pool_sise: "
            "unknown setting; did you mean default_pool_size?; ignored",
        )

    def test_a_key_in_capitals_is_unknown_as_in_pgbouncer(self) -> None:
        _, warnings = parse_settings(located("Query_Timeout = 3"))
        assert "did you mean query_timeout?" in warnings[0]

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("listen_port = 70000", "expected a whole number from 0 to 65535, not '70000'"),
            ("max_client_conn = 5x", "expected a whole number from 0 to 2147483647, not '5x'"),
            ("max_client_conn = 08", "expected a whole number from 0 to 2147483647, not '08'"),
            ("peer_id = 20000", "expected a whole number from 0 to 16383, not '20000'"),
            ("log_stats = yes", "expected 0 or 1, not 'yes'"),
            (
                "server_lifetime = soon",
                "expected a number of seconds, 0 or more such as 5 or 0.5, not 'soon'",
            ),
            (
                "pool_mode = tx",
                "expected one of session, transaction, statement, not 'tx'",
            ),
            (
                "prepared_statements = no",
                "expected one of rewrite, reject, pass, (empty), not 'no'",
            ),
            (
                "auth_dbname = pgbouncer",
                'cannot use the reserved "pgbouncer" database as an auth_dbname',
            ),
        ],
    )
    def test_a_bad_value_is_an_error_with_file_line_key_and_what_is_allowed(
        self, line: str, message: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            parse_settings(located(f"verbose = 0\n{line}"))
        assert str(caught.value) == f"/etc/p.ini:2: {line.split(' = ')[0]}: {message}"

    @pytest.mark.parametrize("auth_type", ["ldap", "pam"])
    def test_an_auth_type_we_cannot_carry_out_is_refused(self, auth_type: str) -> None:
        with pytest.raises(ConfigError) as caught:
            parse_settings(located(f"auth_type = {auth_type}"))
        assert str(caught.value) == (
            f"/etc/p.ini:1: auth_type: {auth_type} is not supported by pgpool_lite; "
            "expected one of trust, plain, md5, scram-sha-256, cert, hba, any"
        )


class TestSet:
    def test_set_changes_one_setting_and_leaves_the_rest(self) -> None:
        before = from_keywords(max_client_conn=7)
        after = with_setting(before, "query_timeout", "2.5")
        assert after == from_keywords(max_client_conn=7, query_timeout=2.5)
        assert before.query_timeout == 0

    def test_set_of_an_unknown_key_names_the_nearest(self) -> None:
        with pytest.raises(
            ConfigError, match=r"^pool_mod: unknown setting; did you mean pool_mode"
        ):
            with_setting(Settings(), "pool_mod", "session")

    def test_set_of_a_key_like_no_other_names_none(self) -> None:
        with pytest.raises(ConfigError, match=r"^zzzzz: unknown setting$"):
            with_setting(Settings(), "zzzzz", "1")

    def test_set_of_a_start_up_setting_changes_nothing(self) -> None:
        assert with_setting(Settings(), "listen_port", "5") is None

    def test_set_to_a_bad_value_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"^verbose: expected a whole number"):
            with_setting(Settings(), "verbose", "loud")


class TestShowConfig:
    def test_rows_are_sorted_by_key(self) -> None:
        keys = [row.key for row in config_rows(Settings())]
        assert keys == sorted(keys)

    @pytest.mark.parametrize(
        ("key", "value", "shown"),
        [
            ("listen_port", 6499, "6499"),
            ("log_stats", False, "0"),
            ("query_timeout", 1.5, "1.5"),
            ("query_timeout", 1000000, "1e+06"),
            ("pool_mode", "TRANSACTION", "transaction"),
            ("admin_users", "ann,bob", "ann, bob"),
            ("unix_socket_mode", "0777", "511"),
            ("unix_socket_dir", "", ""),
        ],
    )
    def test_a_value_is_shown_as_pgbouncer_shows_it(
        self, key: str, value: object, shown: str
    ) -> None:
        rows = config_rows(from_keywords(**{key: value}))
        assert [row.value for row in rows if row.key == key] == [shown]

    def test_a_secret_is_neither_shown_nor_in_the_repr(self) -> None:
        settings = from_keywords(auth_ldap_options="ldapbindpasswd=hush")
        assert "hush" not in repr(config_rows(settings)) + repr(settings)
        assert ("auth_ldap_options", "***", None, "yes") in config_rows(settings)


class TestKeywords:
    def test_numbers_booleans_text_and_lists_are_taken(self) -> None:
        settings = from_keywords(
            listen_port=0,
            query_wait_timeout=0.5,
            log_stats=False,
            pool_mode="transaction",
            admin_users=["ann", "bob"],
            stats_users=("cid",),
            auth_type=AuthType.TRUST,
        )
        assert settings.listen_port == 0
        assert settings.query_wait_timeout == 0.5
        assert settings.log_stats is False
        assert settings.pool_mode is PoolMode.TRANSACTION
        assert settings.admin_users == ("ann", "bob")
        assert settings.stats_users == ("cid",)
        assert settings.auth_type is AuthType.TRUST

    def test_an_unknown_keyword_names_the_nearest(self) -> None:
        with pytest.raises(ConfigError, match=r"did you mean max_client_conn"):
            from_keywords(max_client_con=1)

    @pytest.mark.parametrize("value", [None, b"1", {"a": 1}, ["a", 1]])
    def test_another_type_is_refused(self, value: object) -> None:
        with pytest.raises(ConfigError, match=r"^verbose: expected text, a number, a boolean or"):
            from_keywords(verbose=value)

    @pytest.mark.parametrize("value", [-1, float("inf"), float("nan"), "x"])
    def test_a_bad_value_is_refused(self, value: object) -> None:
        with pytest.raises(ConfigError, match=r"^query_timeout: expected a number of seconds"):
            from_keywords(query_timeout=value)

    @given(st.floats(0, 1e9, allow_nan=False))
    def test_every_number_of_seconds_is_taken_as_it_is(self, seconds: float) -> None:
        assert from_keywords(query_timeout=seconds).query_timeout == seconds

    @given(st.integers(0, 2**31 - 1))
    def test_every_count_is_taken_in_each_of_cs_spellings(self, count: int) -> None:
        spellings = [str(count), f"+{count}", hex(count), f"0{count:o}"]
        assert {from_keywords(max_client_conn=text).max_client_conn for text in spellings} == {
            count
        }


class TestReload:
    def test_what_can_change_is_new_and_what_cannot_is_kept_and_named(self) -> None:
        old = from_keywords(listen_port=6000, unix_socket_dir="/run", query_timeout=1, verbose=3)
        new = from_keywords(listen_port=7000, query_timeout=2)
        settings, kept = reload_settings(old, new)
        assert settings == from_keywords(
            listen_port=6000, unix_socket_dir="/run", query_timeout=2, verbose=0
        )
        assert kept == ["listen_port", "unix_socket_dir"]

    def test_a_reload_without_changes_keeps_nothing(self) -> None:
        assert reload_settings(Settings(), Settings()) == (Settings(), [])
