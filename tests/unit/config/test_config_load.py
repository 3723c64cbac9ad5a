"""Whole configurations: from a file with everything in it, and from one URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgpool_lite.config import (
    AuthType,
    Config,
    DatabaseSettings,
    PoolMode,
    Settings,
    SslNegotiation,
    UserSettings,
    config_for_url,
    from_keywords,
    load,
)
from pgpool_lite.config.databases import PeerSettings
from pgpool_lite.config.effect import (
    NOT_IN_EFFECT,
    settings_without_effect,
)
from pgpool_lite.config.table import table_of
from pgpool_lite.errors import ConfigError

WHOLE = """\
;; A configuration as people write them.
[databases]
app = host=10.0.0.1 user=app password=hush pool_size=5
  other=
* = host=10.0.0.2

[users]
ann = pool_mode=session
test2 =

[pgbouncer]
  listen_addr = 127.0.0.1
  listen_port=6432
  pool_mode= transaction
pidfile =
auth_type = md5
auth_file = {auth_file}
"""


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def load_text(tmp_path: Path, text: str) -> Config:
    return load(write(tmp_path / "p.ini", text))


def error(tmp_path: Path, text: str) -> str:
    """What is wrong with the text, as an error about p.ini."""
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, text)
    return str(caught.value).removeprefix(f"{tmp_path}/")


class TestAFile:
    @pytest.fixture
    def whole(self, tmp_path: Path) -> Config:
        users = write(tmp_path / "userlist.txt", '"app" "quiet"\n')
        return load_text(tmp_path, WHOLE.format(auth_file=users))

    def test_settings_are_read(self, whole: Config, tmp_path: Path) -> None:
        assert whole.settings == from_keywords(
            listen_addr="127.0.0.1",
            pool_mode="transaction",
            auth_type="md5",
            auth_file=f"{tmp_path}/userlist.txt",
            conffile=f"{tmp_path}/p.ini",
        )

    def test_databases_users_and_secrets_are_read(self, whole: Config) -> None:
        assert whole.databases == {
            "app": DatabaseSettings(
                name="app", dbname="app", host="10.0.0.1", user="app", password="hush", pool_size=5
            ),
            "other": DatabaseSettings(name="other", dbname="other"),
        }
        assert whole.fallback == DatabaseSettings(name="*", host="10.0.0.2")
        assert whole.users == {
            "ann": UserSettings(name="ann", pool_mode=PoolMode.SESSION),
            "test2": UserSettings(name="test2"),
        }
        assert whole.secrets == {"app": "quiet"}

    def test_it_knows_its_path_and_has_nothing_to_warn_about(
        self, whole: Config, tmp_path: Path
    ) -> None:
        assert whole.path == tmp_path / "p.ini"
        assert whole.warnings == ()

    def test_a_name_without_an_entry_is_led_by_the_fallback(self, whole: Config) -> None:
        assert whole.database("other") is whole.databases["other"]
        assert whole.database("new") == DatabaseSettings(name="new", dbname="new", host="10.0.0.2")

    def test_no_secret_is_in_the_repr(self, whole: Config) -> None:
        assert "hush" not in repr(whole)
        assert "quiet" not in repr(whole)

    def test_without_a_fallback_a_name_is_unknown(self, tmp_path: Path) -> None:
        assert load_text(tmp_path, "[pgbouncer]\n").database("new") is None

    def test_a_conffile_in_the_file_stays(self, tmp_path: Path) -> None:
        settings = load_text(tmp_path, "[pgbouncer]\nconffile = other.ini").settings
        assert settings.conffile == "other.ini"


class TestTwice:
    def test_of_two_entries_with_one_key_the_last_counts_whole(self, tmp_path: Path) -> None:
        config = load_text(
            tmp_path,
            "[databases]\na = host=x port=6\n[pgbouncer]\nverbose=1\nverbose=2\n"
            "[databases]\na = host=y\nb =\n",
        )
        assert config.databases["a"] == DatabaseSettings(name="a", dbname="a", host="y")
        assert "b" in config.databases
        assert config.settings.verbose == 2

    def test_a_second_main_section_starts_from_the_defaults_as_in_pgbouncer(
        self, tmp_path: Path
    ) -> None:
        config = load_text(
            tmp_path, "[pgbouncer]\nverbose=1\nquery_timeout=7\n[pgbouncer]\nverbose=2\n"
        )
        assert config.settings.query_timeout == 0
        assert config.settings.verbose == 2
        assert config.warnings == (
            f"{tmp_path}/p.ini:4: [pgbouncer] starts again, which forgets what it set above: "
            "query_timeout",
        )


class TestWarnings:
    def test_unknown_keys_and_settings_of_no_effect_are_told(self, tmp_path: Path) -> None:
        config = load_text(
            tmp_path,
            "[pgbouncer]\nsuspend_timeout = 3\npkt_buf = 8192\nsyslog = 0\nresolv_conf = /r\n"
            "[databases]\na = auth_user=x\n[peers]\n1 = host=h\n",
        )
        assert config.warnings == (
            f"{tmp_path}/p.ini:2: suspend_timeout: unknown setting"
            "; did you mean query_timeout?; ignored",
            f"resolv_conf does nothing: {NOT_IN_EFFECT['resolv_conf']}",
        )
        assert config.peers == {1: PeerSettings(peer_id=1, host="h")}

    def test_what_only_tunes_pgbouncers_insides_is_remarked_and_not_warned_of(self) -> None:
        config = config_for_url("postgresql://ann@h/app", sbuf_loopcnt=2, job_name="x", pkt_buf=1)
        assert config.warnings == ()
        assert [remark.split(" does ")[0] for remark in config.remarks] == [
            "job_name",
            "pkt_buf",
            "sbuf_loopcnt",
        ]

    def test_defaults_are_no_reason_to_warn(self) -> None:
        assert settings_without_effect(Settings()) == []

    @pytest.mark.parametrize("key", list(NOT_IN_EFFECT))
    def test_a_setting_of_no_effect_is_a_setting(self, key: str) -> None:
        assert key in table_of(Settings)


class TestErrors:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "[pgbouncer]\n[PgBouncer]\n",
                "p.ini:2: unknown section [PgBouncer]; "
                "expected one of [databases], [users], [peers], [pgbouncer]",
            ),
            ("[databases]\n", "p.ini: expected a [pgbouncer] section"),
            ("[pgbouncer]\nverbose = x", "p.ini:2: verbose: expected a whole number from 0 to"),
            ("[pgbouncer]\n[databases]\na = port=x", "p.ini:3: a: port: expected a whole number"),
            ("[pgbouncer]\n[users]\na = x=1", "p.ini:3: a: x: unknown key"),
            ("[pgbouncer]\n[peers]\na = host=h", "p.ini:3: a: expected a peer_id from 1 to 65535"),
            ("[pgbouncer]\nauth_file = /no/such", "/no/such: cannot be read: No such file"),
            ("[pgbouncer]\nauth_type = hba", "auth_hba_file: auth_type hba needs it"),
            (
                "[pgbouncer]\nauth_type = hba\nauth_hba_file = /no/such",
                "/no/such: cannot be read: No such file",
            ),
            ("[pgbouncer]\nauth_type = cert", "client_tls_sslmode: auth_type=cert requires"),
            (
                "[pgbouncer]\nauth_type = cert\nclient_tls_sslmode = verify-full",
                "client_tls_ca_file: auth_type=cert requires it",
            ),
        ],
    )
    def test_an_error_says_where(self, tmp_path: Path, text: str, message: str) -> None:
        assert error(tmp_path, text).startswith(message)


class TestAUrl:
    def test_every_database_leads_to_its_server_as_its_user(self) -> None:
        config = config_for_url("postgresql://ann:hush@h:6000/app")
        app = DatabaseSettings(
            name="app", dbname="app", host="h", port=6000, user="ann", password="hush"
        )
        assert config.databases == {"app": app}
        shop = config.database("shop")
        assert shop is not None
        assert (shop.name, shop.dbname, shop.host, shop.user) == ("shop", "shop", "h", "ann")

    def test_a_password_has_to_be_proved_by_scram(self) -> None:
        config = config_for_url("postgresql://ann:hush@h/app")
        assert config.settings.auth_type is AuthType.SCRAM_SHA_256
        assert config.secrets == {"ann": "hush"}

    def test_without_a_password_anybody_may_come_in(self) -> None:
        config = config_for_url("postgresql://ann@h/app")
        assert config.settings.auth_type is AuthType.ANY
        assert config.secrets == {}

    def test_users_of_an_auth_file_come_in_too(self, tmp_path: Path) -> None:
        # It was not read where there is no ini file: its users were unknown, and nothing said why.
        users = tmp_path / "userlist.txt"
        users.write_text('"bob" "md5..."\n')
        config = config_for_url(
            "postgresql://ann:hush@h/app", auth_type="plain", auth_file=str(users)
        )
        assert config.secrets == {"ann": "hush", "bob": "md5..."}

    def test_certificates_that_nobody_checks_prove_nothing_here_either(self) -> None:
        with pytest.raises(ConfigError, match="auth_type=cert requires verify-full"):
            config_for_url("postgresql://ann@h/app", auth_type="cert")

    def test_the_defaults_are_kind(self) -> None:
        settings = config_for_url("postgresql://ann@h/app").settings
        assert settings == from_keywords(
            pool_mode="transaction",
            ignore_startup_parameters="extra_float_digits",
            auth_type="any",
            admin_users="ann",
        )

    def test_direct_tls_is_required_tls(self) -> None:
        direct = "postgresql://ann@h/app?sslnegotiation=direct"
        database = config_for_url(f"{direct}&sslmode=require").databases["app"]
        assert database.sslnegotiation is SslNegotiation.DIRECT
        with pytest.raises(ConfigError, match="sslnegotiation=direct needs sslmode=require"):
            config_for_url(f"{direct}&sslmode=prefer")

    def test_keywords_win_over_the_defaults(self) -> None:
        config = config_for_url("postgresql://ann@h/app", pool_mode="session", listen_port=0)
        assert config.settings.pool_mode is PoolMode.SESSION
        assert config.settings.listen_port == 0

    def test_what_has_no_effect_is_told(self) -> None:
        config = config_for_url("postgresql://ann@h/app?schema=x", resolv_conf="/etc/r")
        assert config.warnings == (
            "the URL's parameter schema is ignored",
            f"resolv_conf does nothing: {NOT_IN_EFFECT['resolv_conf']}",
        )

    def test_the_consoles_name_is_reserved(self) -> None:
        with pytest.raises(ConfigError, match="reserved for the console"):
            config_for_url("postgresql://ann@h/pgbouncer")

    def test_the_password_is_not_in_the_repr(self) -> None:
        assert "hush" not in repr(config_for_url("postgresql://ann:hush@h/app"))
