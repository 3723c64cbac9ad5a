"""Who may come in, what it must prove, and the words in which PgBouncer says no."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgpool_lite.config import AuthType, Config, DatabaseSettings, Settings, UserSettings
from pgpool_lite.errors import LimitReached, LoginRejected
from pgpool_lite.pool.admission import MAX_USER_NAME, Doorkeeper
from pgpool_lite.pool.applicants import Admission, Origin
from pgpool_lite.pool.registry import Registry
from pgpool_lite.pool.wishes import reject_unreported
from pgpool_lite.session.client_login import Method
from pgpool_lite.session.states import ClientState
from pgpool_lite.wire.codes import PROTOCOL_3_0
from pgpool_lite.wire.frontend import StartupMessage
from pgpool_lite.wire.passwords import hash_md5
from pgpool_lite.wire.scram import ScramSecret, derive_keys
from tests.unit.pairs import make_client
from tests.unit.pool.helpers import add_client

APP = DatabaseSettings(name="app", dbname="app")
FORCED = DatabaseSettings(name="forced", dbname="app", user="app_rw")
SCRAM_SECRET = ScramSecret.from_password("carol-secret", b"0123456789abcdef", 4096)
SECRETS = {
    "alice": "alice-secret",
    "bob": hash_md5("bob-secret", "bob"),
    "carol": SCRAM_SECRET.encode(),
}


class Door:
    """A doorkeeper whose registry a test can look at."""

    origin = Origin(("10.0.0.7", 50508))

    def __init__(self, **settings: object) -> None:
        changed: Settings = replace(
            Settings(),
            **settings,  # type: ignore[arg-type]  # names of fields
        )
        config = Config(settings=changed, databases={"app": APP, "forced": FORCED}, secrets=SECRETS)
        self.registry = Registry(config, 0.0)
        self.keeper = Doorkeeper(self.registry)

    def admit(self, **parameters: str) -> Admission:
        """Let alice in at app, or whoever the parameters say."""
        startup = StartupMessage(PROTOCOL_3_0, {"user": "alice", "database": "app", **parameters})
        admission = self.keeper.admit(startup, self.origin, 0.0)
        assert isinstance(admission, Admission)
        return admission

    def wishes(self, **parameters: str) -> dict[str, str]:
        return self.registry.tracked.named(self.admit(**parameters).wishes)


# --- where to ---


def test_a_known_user_is_admitted_to_the_database_and_leaves_no_trace_yet() -> None:
    door = Door()

    admission = door.admit()

    assert (admission.user, admission.database.name) == ("alice", "app")
    assert not admission.is_console
    assert not door.registry.pools


def test_without_a_database_the_user_names_it() -> None:
    admission = Door().admit(user="app", database="")

    assert admission.database.name == "app"


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"user": ""}, "no username supplied"),
        ({"user": "x" * (MAX_USER_NAME + 1)}, "username too long"),
        ({"user": "ü" * (MAX_USER_NAME // 2 + 1)}, "username too long"),
        ({"work_mem": "1GB"}, "unsupported startup parameter: work_mem"),
    ],
)
def test_promise_7_refusals_are_pgbouncers_words(parameters: dict[str, str], sentence: str) -> None:
    with pytest.raises(LoginRejected) as caught:
        Door().admit(**parameters)

    assert caught.value.message == sentence


def test_a_user_name_may_have_127_bytes() -> None:
    assert Door().admit(user="x" * MAX_USER_NAME).user == "x" * MAX_USER_NAME


def test_a_disabled_database_is_refused() -> None:
    door = Door()
    door.registry.databases["app"].is_disabled = True

    admission = door.admit()

    with pytest.raises(LoginRejected, match=r'^database "app" is disabled$'):
        door.keeper.let_in(admission, 0.0)


def test_that_there_is_no_such_database_is_told_after_the_proof_only() -> None:
    door = Door()
    admission = door.admit(database="nope")

    assert admission.challenge.method is Method.MD5
    with pytest.raises(LoginRejected, match=r"^no such database: nope$") as caught:
        door.keeper.let_in(admission, 0.0)
    assert caught.value.detail == "Configured are: app, forced."
    assert "nope" not in door.registry.databases


def test_a_database_that_a_reload_took_away_during_a_login_does_not_come_back() -> None:
    # Between its StartupMessage and its password a client held on to the database it had been shown
    # to. The reload that dropped it went unseen, and the client put it back into the registry.
    door = Door()
    admission = door.admit()
    door.registry.reload(replace(door.registry.config, databases={"forced": FORCED}), 1.0)

    with pytest.raises(LoginRejected, match=r"^no such database: app$"):
        door.keeper.let_in(admission, 1.0)


def test_clients_who_come_at_once_share_the_database_made_for_the_first_of_them() -> None:
    # Each had been shown to a database of its own making, in which nobody was counted: so
    # max_db_client_connections let all of them in.
    door = Door(max_db_client_connections=1)
    door.registry.config = replace(door.registry.config, fallback=DatabaseSettings(name="*"))
    first, second = door.admit(database="auto"), door.admit(database="auto")
    pool = door.registry.pool_for(door.keeper.let_in(first, 0.0), "alice")
    add_client(pool)

    with pytest.raises(LimitReached, match=r"max_db_client_connections"):
        door.keeper.let_in(second, 0.0)


def test_max_client_conn_counts_clients() -> None:
    door = Door(max_client_conn=2)
    pool = door.registry.pool_for(door.registry.databases["app"], "alice")
    add_client(pool, 1)
    door.admit()
    add_client(pool, 2)

    with pytest.raises(LimitReached, match=r"no more connections allowed \(max_client_conn\)"):
        door.admit()


def test_max_db_client_connections_counts_clients_of_a_database() -> None:
    door = Door(max_db_client_connections=1)
    add_client(door.registry.pool_for(door.registry.databases["app"], "bob"))

    door.admit(database="forced")
    with pytest.raises(LimitReached) as caught:
        door.admit()

    assert caught.value.message == "client connections exceeded (max_db_client_connections)"


def test_max_user_client_connections_counts_clients_by_the_name_they_logged_in_with() -> None:
    door = Door(max_user_client_connections=1)
    pool = door.registry.pool_for(door.registry.databases["forced"], "alice")
    client = make_client(state=ClientState.LOGIN)
    client.user = "alice"
    pool.add_client(client)

    door.admit(user="bob")
    with pytest.raises(LimitReached) as caught:
        door.admit()
    pool.remove_client(client)
    door.admit()

    assert caught.value.message == "client connections exceeded (max_user_client_connections)"


@pytest.mark.parametrize(("own", "common"), [(2, 1), (2, 0), (None, 2)])
def test_a_databases_own_limit_of_clients_counts_before_that_for_all(
    own: int | None, common: int
) -> None:
    door = Door(max_db_client_connections=common)
    database = door.registry.databases["app"]
    database.settings = replace(APP, max_db_client_connections=own)
    add_client(door.registry.pool_for(database, "alice"))

    door.admit()
    add_client(door.registry.pool_for(database, "alice"), 2)
    with pytest.raises(LimitReached, match="max_db_client_connections"):
        door.admit()


@pytest.mark.parametrize(("own", "common"), [(2, 1), (2, 0), (None, 2)])
def test_a_users_own_limit_of_clients_counts_before_that_for_all(
    own: int | None, common: int
) -> None:
    door = Door(max_user_client_connections=common)
    alice = UserSettings(name="alice", max_user_client_connections=own)
    door.registry.config = replace(door.registry.config, users={"alice": alice})
    census, elsewhere = door.registry.census, door.registry.console.headcount
    census.client_came(elsewhere, "alice")

    door.admit()
    census.client_came(elsewhere, "alice")
    with pytest.raises(LimitReached, match="max_user_client_connections"):
        door.admit()


def test_limits_of_clients_hold_on_the_console_for_all_but_its_admins() -> None:
    door = Door(max_db_client_connections=1, admin_users=("alice",), stats_users=("bob",))
    door.registry.census.client_came(door.registry.console.headcount, "bob")

    assert door.admit(database="pgbouncer").is_console
    with pytest.raises(LimitReached, match="max_db_client_connections"):
        door.admit(user="bob", database="pgbouncer")


def test_with_auth_type_any_a_client_counts_as_the_user_it_becomes() -> None:
    assert Door(auth_type=AuthType.ANY).admit(database="forced").user == "app_rw"


# --- the console ---


def test_admins_are_admitted_to_the_console_without_a_pool() -> None:
    admission = Door(admin_users=("alice",)).admit(database="pgbouncer")

    assert (admission.is_console, admission.is_stats_user) == (True, False)


def test_stats_users_may_only_look() -> None:
    assert Door(stats_users=("alice",)).admit(database="pgbouncer").is_stats_user


def test_nobody_else_is_admitted_to_the_console() -> None:
    with pytest.raises(LoginRejected, match="not allowed") as caught:
        Door(admin_users=("bob",)).admit(database="pgbouncer")

    assert caught.value.detail == 'User "alice" is in neither admin_users nor stats_users.'


def test_whoever_runs_the_pooler_gets_to_its_console_by_the_unix_socket() -> None:
    door = Door()
    with pytest.raises(LoginRejected, match="not allowed"):
        door.admit(user="pgbouncer", database="pgbouncer")
    door.origin = Origin(("unix", 0), is_own_user=True)
    admission = door.admit(user="pgbouncer", database="pgbouncer")

    assert (admission.is_console, admission.is_stats_user) == (True, False)
    assert admission.challenge.method is Method.TRUST
    with pytest.raises(LoginRejected, match="not allowed"):
        door.admit(user="alice", database="pgbouncer")


def test_admins_get_to_the_console_although_the_pooler_is_full() -> None:
    assert Door(admin_users=("alice",), max_client_conn=0).admit(database="pgbouncer")


# --- start-up parameters ---


def test_tracked_parameters_are_wishes() -> None:
    wishes = Door().wishes(timezone="UTC", application_name="psql", client_encoding="latin1")

    assert wishes == {"TimeZone": "UTC", "application_name": "psql", "client_encoding": "latin1"}


def test_extra_parameters_can_be_tracked() -> None:
    door = Door(track_extra_parameters=("my.tenant",))

    assert door.wishes(**{"my.tenant": "7"}) == {"my.tenant": "7"}


def test_parameters_can_be_dropped_on_demand() -> None:
    assert Door(ignore_startup_parameters=("work_mem",)).wishes(work_mem="1GB") == {}


def test_protocol_options_are_not_parameters() -> None:
    assert Door().wishes(**{"_pq_.x": "1"}) == {}


def test_the_application_name_is_known() -> None:
    assert Door().admit(application_name="psql").application_name == "psql"
    assert Door().admit().application_name == ""


@pytest.mark.parametrize(
    ("parameters", "name"),
    [({"application_name": "psql"}, "psql - 10.0.0.7:50508"), ({}, "app - 10.0.0.7:50508")],
)
def test_the_address_can_be_added_to_the_application_name(
    parameters: dict[str, str], name: str
) -> None:
    admission = Door(application_name_add_host=True).admit(**parameters)

    assert admission.application_name == name


def test_promise_7_a_refused_parameter_says_what_to_change() -> None:
    with pytest.raises(LoginRejected) as caught:
        Door().admit(work_mem="1GB")

    assert "ignore_startup_parameters" in caught.value.hint


def test_a_parameter_that_this_postgresql_does_not_report_is_refused() -> None:
    door = Door()
    wishes = door.admit(search_path="app").wishes
    welcome = door.registry.tracked.values_of({"TimeZone": "UTC"})

    with pytest.raises(LoginRejected, match="unsupported startup parameter: search_path") as caught:
        reject_unreported(door.registry.tracked, wishes, welcome)

    assert "does not report" in caught.value.detail
    reject_unreported(door.registry.tracked, door.admit(timezone="UTC").wishes, welcome)


# --- what must be proved ---


@pytest.mark.parametrize(
    ("auth_type", "user", "method"),
    [
        (AuthType.TRUST, "alice", Method.TRUST),
        (AuthType.PLAIN, "alice", Method.CLEARTEXT),
        (AuthType.PLAIN, "bob", Method.CLEARTEXT),
        (AuthType.PLAIN, "mallory", Method.CLEARTEXT),
        (AuthType.MD5, "alice", Method.MD5),
        (AuthType.MD5, "bob", Method.MD5),
        (AuthType.MD5, "carol", Method.SCRAM),
        (AuthType.MD5, "mallory", Method.MD5),
        (AuthType.SCRAM_SHA_256, "alice", Method.SCRAM),
        (AuthType.SCRAM_SHA_256, "bob", Method.SCRAM),
        (AuthType.SCRAM_SHA_256, "carol", Method.SCRAM),
        (AuthType.SCRAM_SHA_256, "mallory", Method.SCRAM),
    ],
)
def test_auth_type_and_secret_decide_what_is_asked(
    auth_type: AuthType, user: str, method: Method
) -> None:
    assert Door(auth_type=auth_type).admit(user=user).challenge.method is method


def test_trust_trusts_only_users_that_there_are() -> None:
    with pytest.raises(LoginRejected, match=r'^"trust" authentication failed$'):
        Door(auth_type=AuthType.TRUST).admit(user="mallory")


def test_any_needs_a_forced_user() -> None:
    door = Door(auth_type=AuthType.ANY, admin_users=("mallory",))

    assert door.admit(user="mallory", database="forced").challenge.method is Method.TRUST
    assert door.admit(user="mallory", database="pgbouncer").challenge.method is Method.TRUST
    with pytest.raises(LoginRejected, match="bouncer config error"):
        door.admit(user="mallory")


def test_a_scram_secret_fits_the_password_it_was_derived_from() -> None:
    secret = Door(auth_type=AuthType.SCRAM_SHA_256).admit().challenge.scram_secret

    assert secret is not None
    assert secret.fits("alice-secret")
    assert not secret.fits("bob-secret")


def test_deriving_is_costly_so_it_is_done_once() -> None:
    door = Door(auth_type=AuthType.SCRAM_SHA_256)

    assert door.admit().challenge.scram_secret is door.admit().challenge.scram_secret


def test_a_user_that_does_not_exist_has_a_salt_that_does_not_change() -> None:
    door = Door(auth_type=AuthType.SCRAM_SHA_256)
    mocks = [door.admit(user=user).challenge.scram_secret for user in ("mallory", "mallory", "eve")]
    first, again, other = [mock.salt for mock in mocks if mock is not None]

    assert first == again
    assert first != other


def test_a_user_that_does_not_exist_looks_like_one_that_does() -> None:
    door = Door(auth_type=AuthType.SCRAM_SHA_256)
    known, unknown = (door.admit(user=user).challenge for user in ("alice", "mallory"))

    assert known.scram_secret is not None
    assert unknown.scram_secret is not None
    assert len(known.scram_secret.salt) == len(unknown.scram_secret.salt)
    assert known.scram_secret.iterations == unknown.scram_secret.iterations


# --- keys caught from SCRAM logins ---


def test_a_scram_login_against_postgresqls_own_secret_reveals_a_key_for_servers() -> None:
    door = Door()
    keys = derive_keys("carol-secret", b"0123456789abcdef", 4096)

    door.keeper.remember_proof(door.admit(user="carol"), keys.client_key)

    assert door.registry.secrets.keys_of("app", "carol") == keys


def test_a_key_against_a_derived_secret_fits_no_server() -> None:
    door = Door(auth_type=AuthType.SCRAM_SHA_256)

    door.keeper.remember_proof(door.admit(), b"key")

    assert door.registry.secrets.keys_of("app", "alice") is None
