"""[databases], [users] and [peers], each rule as PgBouncer 1.26.1 was seen to apply it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.config import (
    DatabaseSettings,
    LoadBalanceHosts,
    PoolMode,
    PreparedStatements,
    UserSettings,
)
from pgpool_lite.config.databases import (
    PeerSettings,
    parse_database,
    parse_peer,
    parse_user,
    scan_connection_string,
)
from pgpool_lite.config.ini import Located
from pgpool_lite.errors import ConfigError

FILE = Path("p.ini")


def database(text: str, name: str = "app") -> DatabaseSettings:
    return parse_database(Located(name, text, FILE, 3))


def user(text: str) -> UserSettings:
    return parse_user(Located("ann", text, FILE, 4))


def peer(text: str, peer_id: str = "1") -> PeerSettings:
    return parse_peer(Located(peer_id, text, FILE, 5))


def database_error(text: str, name: str = "app") -> str:
    with pytest.raises(ConfigError) as caught:
        database(text, name)
    return str(caught.value)


class TestConnectionStrings:
    @pytest.mark.parametrize(
        ("text", "pairs"),
        [
            ("", []),
            ("   ", []),
            ("host=a", [("host", "a")]),
            ("host = a  port = 6 ", [("host", "a"), ("port", "6")]),
            ("host='a b'", [("host", "a b")]),
            ("q='it''s' port=7", [("q", "it's"), ("port", "7")]),
            ("q=''''", [("q", "'")]),
            ("host=a'b'", [("host", "a'b'")]),
            ("host=a;port=3", [("host", "a;port=3")]),
            ("password=a=b", [("password", "a=b")]),
            ("host=a\tport=6", [("host", "a\tport=6")]),
            ("host= port=7", [("host", "port=7")]),
        ],
    )
    def test_pairs_are_separated_by_spaces_and_may_be_quoted(
        self, text: str, pairs: list[tuple[str, str]]
    ) -> None:
        assert list(scan_connection_string(text)) == pairs

    @pytest.mark.parametrize(
        ("text", "at"),
        [
            ("host", 1),
            ("host a", 1),
            ("=a", 1),
            ("a=b c", 5),
            ("a=", 1),
            ("a='b", 1),
            ("a='b'c", 1),
        ],
    )
    def test_a_broken_one_is_refused_with_a_position_and_no_text(self, text: str, at: int) -> None:
        with pytest.raises(ValueError, match=f"expected key=value .* at character {at}$"):
            list(scan_connection_string(text))

    def test_an_empty_value_is_refused(self) -> None:
        with pytest.raises(
            ValueError, match=r"^host: expected a value; leave the key out instead$"
        ):
            list(scan_connection_string("port=1 host=''"))

    @given(
        st.lists(
            st.tuples(st.from_regex(r"[a-z_]+", fullmatch=True), st.text(min_size=1)), max_size=5
        )
    )
    def test_what_is_written_in_quotes_is_read(self, pairs: list[tuple[str, str]]) -> None:
        def quote(value: str) -> str:
            return "'" + value.replace("'", "''") + "'"

        text = " ".join(f"{key}={quote(value)}" for key, value in pairs)
        assert list(scan_connection_string(text)) == pairs


class TestDatabases:
    def test_an_empty_entry_is_the_database_of_its_name_over_the_unix_socket(self) -> None:
        empty = database("")
        assert empty == DatabaseSettings(name="app", dbname="app")
        assert (empty.host, empty.hosts, empty.port, empty.user) == ("", (), 5432, None)

    def test_every_key_is_read(self) -> None:
        text = (
            "host=h port=6 dbname=d user=u password=p auth_user=au auth_query='select 1'"
            " auth_dbname=ad pool_size=1 min_pool_size=2 reserve_pool_size=3"
            " max_db_connections=4 max_db_client_connections=5 pool_mode=SESSION"
            " connect_query='set role ''x''' server_lifetime=6 query_wait_timeout=0.5"
            " load_balance_hosts=Disable client_encoding=UTF8 datestyle=ISO timezone=UTC"
            " application_name=me max_prepared_statements=7 prepared_statements=pass"
        )
        assert database(text) == DatabaseSettings(
            name="app",
            host="h",
            port=6,
            dbname="d",
            user="u",
            password="p",
            auth_user="au",
            auth_query="select 1",
            auth_dbname="ad",
            pool_size=1,
            min_pool_size=2,
            reserve_pool_size=3,
            max_db_connections=4,
            max_db_client_connections=5,
            pool_mode=PoolMode.SESSION,
            connect_query="set role 'x'",
            server_lifetime=6.0,
            query_wait_timeout=0.5,
            load_balance_hosts=LoadBalanceHosts.DISABLE,
            client_encoding="UTF8",
            datestyle="ISO",
            timezone="UTC",
            application_name="me",
            max_prepared_statements=7,
            prepared_statements=PreparedStatements.PASS,
        )

    def test_reserve_pool_is_the_old_name_of_reserve_pool_size(self) -> None:
        assert database("reserve_pool=4").reserve_pool_size == 4

    def test_the_last_of_two_pairs_with_one_key_counts(self) -> None:
        assert database("pool_size=5 pool_size=6").pool_size == 6

    @pytest.mark.parametrize(
        ("text", "key"),
        [
            ("pool_size=-1", "pool_size"),
            ("max_db_connections=0", "max_db_connections"),
            ("max_db_connections=-1", "max_db_connections"),
            ("max_db_client_connections=0", "max_db_client_connections"),
            ("server_lifetime=0", "server_lifetime"),
            ("query_wait_timeout=-1", "query_wait_timeout"),
        ],
    )
    def test_pgbouncers_way_of_saying_not_set_is_none(self, text: str, key: str) -> None:
        assert getattr(database(text), key) is None

    def test_a_size_and_a_wait_of_zero_are_zero(self) -> None:
        zero = database("pool_size=0 query_wait_timeout=0")
        assert (zero.pool_size, zero.query_wait_timeout) == (0, 0.0)

    def test_a_host_list_is_split_at_commas(self) -> None:
        assert database("host='a, ::1,/run'").hosts == ("a", "::1", "/run")

    def test_the_fallback_stands_for_any_name(self) -> None:
        fallback = database("host=h", name="*")
        assert fallback.dbname == ""
        assert fallback.named("shop") == DatabaseSettings(name="shop", host="h", dbname="shop")

    def test_a_fallback_with_a_dbname_leads_every_name_there(self) -> None:
        shop = database("dbname=one", name="*").named("shop")
        assert (shop.name, shop.dbname) == ("shop", "one")

    def test_the_password_is_not_in_the_repr(self) -> None:
        assert "hush" not in repr(database("user=u password=hush"))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("port=0", "port: expected a whole number from 1 to 65535, not '0'"),
            ("port=5x", "port: expected a whole number from 1 to 65535, not '5x'"),
            ("pool_size=abc", "pool_size: expected a whole number from 0 to 2147483647, not 'abc'"),
            (
                "pool_mode=tx",
                "pool_mode: expected one of session, transaction, statement, not 'tx'",
            ),
            (
                "load_balance_hosts=x",
                "load_balance_hosts: expected one of round-robin, disable, not 'x'",
            ),
            ("pool_sise=1", "pool_sise: unknown key; did you mean pool_size?"),
            ("HOST=a", "HOST: unknown key; did you mean host?"),
            (
                "max_user_connections=3",
                "max_user_connections: unknown key; did you mean max_db_connections?",
            ),
            ("sslmode=require", "sslmode: unknown key"),
            ("name=x", "name: unknown key; did you mean dbname?"),
            ("a b", "expected key=value or key='quoted value' at character 1"),
        ],
    )
    def test_a_bad_entry_is_refused_with_file_line_name_and_key(
        self, text: str, message: str
    ) -> None:
        assert database_error(text) == f"p.ini:3: app: {message}"

    def test_the_consoles_name_is_reserved(self) -> None:
        assert database_error("host=a", name="pgbouncer") == (
            "p.ini:3: pgbouncer: the name is reserved for the admin console"
        )

    def test_no_error_repeats_what_may_be_a_password(self) -> None:
        assert "hush" not in database_error("user=u password='hush")


class TestUsers:
    def test_an_empty_entry_sets_nothing(self) -> None:
        assert user("") == UserSettings(name="ann")

    def test_every_key_is_read(self) -> None:
        text = (
            "pool_mode=statement pool_size=1 reserve_pool_size=2 max_user_connections = 3"
            " max_user_client_connections=4 query_timeout=5 query_wait_timeout=6"
            " idle_transaction_timeout=7 transaction_timeout=8 client_idle_timeout=9"
        )
        assert user(text) == UserSettings(
            name="ann",
            pool_mode=PoolMode.STATEMENT,
            pool_size=1,
            reserve_pool_size=2,
            max_user_connections=3,
            max_user_client_connections=4,
            query_timeout=5.0,
            query_wait_timeout=6.0,
            idle_transaction_timeout=7.0,
            transaction_timeout=8.0,
            client_idle_timeout=9.0,
        )

    def test_a_timeout_of_zero_is_not_set_but_a_wait_of_zero_is_for_ever(self) -> None:
        zero = user("query_timeout=0 transaction_timeout=0 query_wait_timeout=0")
        assert zero == UserSettings(name="ann", query_wait_timeout=0.0)

    def test_the_old_name_of_reserve_pool_size_is_unknown(self) -> None:
        with pytest.raises(ConfigError, match=r"^p.ini:4: ann: reserve_pool: unknown key; did you"):
            user("reserve_pool=3")


class TestPeers:
    def test_a_peer_has_a_host_and_pgbouncers_port(self) -> None:
        assert peer("host=/tmp/a") == PeerSettings(peer_id=1, host="/tmp/a", port=6432)

    def test_every_key_is_read(self) -> None:
        assert peer("host=h port=5 pool_size=6", "01") == PeerSettings(
            peer_id=1, host="h", port=5, pool_size=6
        )

    @pytest.mark.parametrize("peer_id", ["0", "65536", "abc", "-1", "1" * 20])
    def test_a_peer_id_out_of_range_is_refused(self, peer_id: str) -> None:
        with pytest.raises(
            ConfigError, match=rf"^p.ini:5: {peer_id}: expected a peer_id from 1 to"
        ):
            peer("host=a", peer_id)

    def test_a_peer_without_a_host_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"^p.ini:5: 1: expected host="):
            peer("port=3")
