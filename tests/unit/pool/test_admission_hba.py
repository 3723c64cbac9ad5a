"""Admission by HBA rules, by certificate, by the system's word, and by what auth_query finds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pgpool_lite.config import AuthType, Config, DatabaseSettings, Settings
from pgpool_lite.config.hba import read_hba
from pgpool_lite.config.ident import read_ident
from pgpool_lite.errors import LoginRejected
from pgpool_lite.pool.admission import Doorkeeper
from pgpool_lite.pool.applicants import Admission, Origin, Question
from pgpool_lite.pool.registry import Registry
from pgpool_lite.session.auth_query import FoundUser
from pgpool_lite.session.client_login import Method
from pgpool_lite.wire.codes import PROTOCOL_3_0
from pgpool_lite.wire.frontend import StartupMessage
from pgpool_lite.wire.scram import ScramSecret, derive_keys

APP = DatabaseSettings(name="app", dbname="app")
OWN = DatabaseSettings(
    name="own", dbname="own", auth_user="looker", auth_query="SELECT own($1)", auth_dbname="app"
)
CONSOLE_ASKED = DatabaseSettings(name="wrong", dbname="wrong", auth_dbname="pgbouncer")
NOWHERE = DatabaseSettings(name="nowhere", dbname="nowhere", auth_dbname="nope")
TCP = Origin(("10.0.0.7", 50508))
UNIX = Origin(("unix", 0), is_unix=True, system_user_id=1000)
IDENT = "staff ann app_rw\nstaff root all\nweb app.example.com alice\n"
SYSTEM_USERS = {1000: "ann", 0: "root", 7: "alice"}


class Door:
    """A doorkeeper with the users alice and app_rw in its auth_file, and any rules."""

    def __init__(self, hba: str = "", **settings: object) -> None:
        changed: Settings = replace(
            Settings(),
            **{"auth_type": AuthType.HBA, **settings},  # type: ignore[arg-type]  # names of fields
        )
        maps = read_ident(Path("ident"), lambda path: IDENT)
        config = Config(
            settings=changed,
            databases={each.name: each for each in (APP, OWN, CONSOLE_ASKED, NOWHERE)},
            secrets={"alice": "alice-secret", "app_rw": "app-secret"},
            hba=read_hba(Path("hba"), maps, lambda path: hba),
        )
        self.registry = Registry(config, 0.0)
        self.keeper = Doorkeeper(self.registry, lambda user_id: SYSTEM_USERS.get(user_id, ""))

    def ask(
        self, user: str = "alice", database: str = "app", origin: Origin = TCP, **more: str
    ) -> Admission | Question:
        startup = StartupMessage(PROTOCOL_3_0, {"user": user, "database": database, **more})
        return self.keeper.admit(startup, origin, 0.0)

    def method(self, user: str = "alice", origin: Origin = TCP, **more: str) -> Method:
        admission = self.ask(user, origin=origin, **more)
        assert isinstance(admission, Admission)
        return admission.challenge.method

    def refusal(
        self, user: str = "alice", database: str = "app", origin: Origin = TCP
    ) -> LoginRejected:
        with pytest.raises(LoginRejected) as caught:
            self.ask(user, database, origin)
        return caught.value


# --- rules ---


def test_the_rule_that_fits_says_what_is_asked() -> None:
    door = Door(
        "local all all trust\nhost replication all all password\n"
        "hostssl all all all scram-sha-256\nhost all app_rw all reject\nhost app all all md5"
    )

    assert door.method(origin=UNIX) is Method.TRUST
    assert door.method(replication="true") is Method.CLEARTEXT
    assert door.method(origin=Origin(TCP.address, is_encrypted=True)) is Method.SCRAM
    assert door.method() is Method.MD5
    assert door.method("mallory") is Method.MD5
    assert door.refusal("app_rw").message == "login rejected"
    assert door.refusal(database="own").message == "no authentication method is found"


@pytest.mark.parametrize(("user", "fits"), [("alice", True), ("mallory", False)])
def test_rules_that_trust_trust_users_that_there_are(user: str, fits: bool) -> None:
    door = Door("host all all all trust")

    if fits:
        assert door.method(user) is Method.TRUST
    else:
        assert door.refusal(user).message == '"trust" authentication failed'


def test_a_client_that_has_gone_again_is_not_taken_for_one_on_a_unix_socket() -> None:
    # Who sends its StartupMessage and a query at once, and resets the connection before it is
    # accepted, has no address any more. What it sent can still be read, and would be run.
    door = Door("local all all trust\nhost all all all trust")

    assert door.refusal(origin=Origin(("unix", 0))).message == "no authentication method is found"


def test_rules_count_for_the_console_too() -> None:
    door = Door("host pgbouncer all all reject", admin_users=("alice",))

    assert door.refusal(database="pgbouncer").message == "login rejected"


# --- peer ---


@pytest.mark.parametrize(
    ("rule", "user", "system_user_id", "may_enter"),
    [
        ("peer", "alice", 7, True),
        ("peer", "alice", 1000, False),
        ("peer", "alice", 4711, False),
        ("peer", "alice", None, False),
        ("peer map=staff", "app_rw", 1000, True),
        ("peer map=staff", "alice", 1000, False),
        ("peer map=staff", "alice", 0, True),
        ("peer map=staff", "mallory", 0, False),
        ("peer map=staff", "alice", 7, False),
    ],
)
def test_peer_takes_the_systems_word(
    rule: str, user: str, system_user_id: int | None, may_enter: bool
) -> None:
    door = Door(f"local all all {rule}")
    origin = Origin(("unix", 0), is_unix=True, system_user_id=system_user_id)

    if may_enter:
        assert door.method(user, origin) is Method.TRUST
    else:
        refusal = door.refusal(user, origin=origin)
        assert (refusal.message, refusal.detail) == ("unix socket login rejected", "")


def test_peer_has_no_word_for_a_client_from_elsewhere() -> None:
    assert Door("host all all all peer").refusal().message == "unix socket login rejected"


# --- cert ---


def certified(*names: str) -> Origin:
    name, *alternatives = names or ("",)
    return Origin(
        TCP.address,
        is_encrypted=True,
        certificate_name=name,
        certificate_alternatives=tuple(alternatives),
    )


@pytest.mark.parametrize(
    ("option", "user", "names", "remark"),
    [
        ("", "alice", ("alice",), None),
        ("", "alice", ("web", "alice"), None),
        ("", "alice", ("ALICE",), "TLS certificate name mismatch"),
        ("", "alice", (), "TLS client certificate required"),
        ("", "mallory", ("mallory",), "TLS certificate name mismatch"),
        ("map=web", "alice", ("app.example.com",), None),
        ("map=web", "app_rw", ("app.example.com",), "ident map: web does not have a match"),
        ("map=web", "alice", ("alice",), "ident map: web does not have a match"),
    ],
)
def test_a_certificate_names_its_user_or_the_map_does(
    option: str, user: str, names: tuple[str, ...], remark: str | None
) -> None:
    door = Door(f"hostssl all all all cert {option}")

    if remark is None:
        assert door.method(user, certified(*names)) is Method.TRUST
    else:
        refusal = door.refusal(user, origin=certified(*names))
        assert refusal.message == "certificate authentication failed"
        assert (refusal.detail, refusal.remark) == ("", remark)


def test_auth_type_cert_wants_a_certificate_from_everybody() -> None:
    door = Door(auth_type=AuthType.CERT)

    assert door.method(origin=certified("alice")) is Method.TRUST
    assert door.refusal().remark == "TLS connection required"


# --- auth_query ---


def question(door: Door, user: str = "dave", database: str = "app") -> Question:
    answer = door.ask(user, database)
    assert isinstance(answer, Question)
    return answer


def test_a_user_in_no_file_is_looked_up_in_the_database_he_wants() -> None:
    door = Door(auth_type=AuthType.MD5, auth_user="asker", auth_query="SELECT all($1)")
    asked = question(door)

    assert (asked.database.name, asked.auth_user, asked.sql) == ("app", "asker", "SELECT all($1)")
    assert isinstance(door.ask("alice"), Admission)


def test_auth_dbname_and_the_databases_own_settings_count_more() -> None:
    common = question(Door(auth_type=AuthType.MD5, auth_user="asker", auth_dbname="own"))
    own = question(Door(auth_type=AuthType.MD5, auth_user="asker"), database="own")

    assert common.database.name == "own"
    assert (own.database.name, own.auth_user, own.sql) == ("app", "looker", "SELECT own($1)")


def test_nobody_is_asked_about_a_database_that_is_not_there() -> None:
    admission = Door(auth_type=AuthType.MD5, auth_user="asker").ask("dave", "nope")

    assert isinstance(admission, Admission)
    assert admission.challenge.is_mock


@pytest.mark.parametrize(
    ("database", "remark"),
    [
        ("wrong", 'cannot use the reserved "pgbouncer" database as an auth_dbname'),
        ("pgbouncer", 'cannot use the reserved "pgbouncer" database as an auth_dbname'),
        ("nowhere", 'authentication database "nope" is not configured.'),
    ],
)
def test_where_nothing_can_be_asked_the_log_says_why(database: str, remark: str) -> None:
    refusal = Door(auth_type=AuthType.MD5, auth_user="asker").refusal("dave", database)

    assert (refusal.message, refusal.remark) == ("bouncer config error", remark)


def test_a_disabled_authentication_database_is_named() -> None:
    door = Door(auth_type=AuthType.MD5, auth_user="asker", auth_dbname="own")
    door.registry.databases["own"].is_disabled = True

    assert door.refusal("dave").message == 'authentication database "own" is disabled'


def test_who_was_found_is_challenged_with_what_was_found() -> None:
    door = Door(auth_type=AuthType.MD5, auth_user="asker")
    secret = ScramSecret.from_password("dave-secret", b"s" * 16, 4096)
    admission = door.keeper.resume(question(door), FoundUser("dave", secret.encode()))

    assert admission.challenge.scram_secret == secret
    keys = derive_keys("dave-secret", b"s" * 16, 4096)
    door.keeper.remember_proof(admission, keys.client_key)
    pool = door.registry.pool_for(admission.database, "dave")
    assert door.registry.credentials_for(pool).scram_keys == keys


def test_of_who_proves_nothing_nothing_is_kept() -> None:
    door = Door(auth_type=AuthType.MD5, auth_user="asker")
    admission = door.keeper.resume(question(door), FoundUser("dave", "secret"))
    before = door.registry.secrets.of("app", "dave")
    door.keeper.remember_proof(admission, b"")

    assert (before, door.registry.secrets.of("app", "dave")) == (None, "secret")


def test_the_name_that_was_found_is_the_users() -> None:
    door = Door(auth_type=AuthType.MD5, auth_user="asker")

    assert door.keeper.resume(question(door, "DAVE"), FoundUser("dave", "x")).user == "dave"


def test_who_was_not_found_is_told_so_as_by_pgbouncer() -> None:
    door = Door(auth_type=AuthType.MD5, auth_user="asker")

    with pytest.raises(LoginRejected, match=r"^no such user$"):
        door.keeper.resume(question(door), None)


def test_the_pool_of_auth_user_never_has_the_password_of_another() -> None:
    door = Door()
    forced = door.registry.databases["app"]
    forced.settings = replace(APP, user="app_rw", password="on-the-line")

    asking = door.registry.credentials_for(door.registry.pool_of(forced, "alice"))
    serving = door.registry.credentials_for(door.registry.pool_for(forced, "alice"))

    assert (asking.user, asking.secret) == ("alice", "alice-secret")
    assert (serving.user, serving.secret) == ("app_rw", "on-the-line")
