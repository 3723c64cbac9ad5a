"""What commands answer and what they do. Answers are those recorded from PgBouncer 1.26.1."""

from __future__ import annotations

import logging

import pytest

from pgpool_lite.config import DatabaseSettings
from pgpool_lite.console.commands import FAKE_PARAMETERS
from pgpool_lite.errors import ConfigError
from tests.console_client import Console
from tests.wire_messages import Query

ERROR = "E ERROR 08P01 "
READY = "Z I"


@pytest.mark.parametrize(
    ("command", "answer", "done"),
    [
        ("reload", "C RELOAD", "reload"),
        ("set query_timeout = 3", "C SET query_timeout=3", "set query_timeout=3"),
        ("SET stats_users='ann, bob'", "C SET stats_users=ann, bob", "set stats_users=ann, bob"),
        ("pause", "C PAUSE", "pause (all)"),
        ("PAUSE app;", "C PAUSE", "pause app"),
        ("reconnect", "C RECONNECT", "reconnect (all)"),
        ("reconnect app", "C RECONNECT", "reconnect app"),
        ("kill", "C KILL", "kill (all)"),
        ("kill app", "C KILL", "kill app"),
        ("disable app", "C DISABLE", "disable app"),
        ("enable app", "C ENABLE", "enable app"),
        ("shutdown wait_for_servers", "C SHUTDOWN", "shut_down WAIT_FOR_SERVERS"),
        ("SHUTDOWN WAIT_FOR_CLIENTS", "C SHUTDOWN", "shut_down WAIT_FOR_CLIENTS"),
    ],
)
def test_a_command_is_carried_out_and_answered(command: str, answer: str, done: str) -> None:
    console = Console()

    assert console.says(Query(command)) == [answer, READY]
    assert console.controls.done == [done]


@pytest.mark.parametrize("command", ["wait_close", "wait_close app"])
def test_wait_close_answers_at_once_when_nothing_is_to_be_closed(command: str) -> None:
    assert Console().says(Query(command)) == ["C WAIT_CLOSE", READY]


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("", "invalid command '', use SHOW HELP;"),
        ("show", "invalid command 'show', use SHOW HELP;"),
        ("SHOW FOO", "invalid command 'SHOW FOO', use SHOW HELP;"),
        ("SHOW FDS", "invalid command 'SHOW FDS', use SHOW HELP;"),
        ("SHOW POOLS XML", "invalid command 'SHOW POOLS XML', use SHOW HELP;"),
        ("SHOW HELP JSON", "invalid command 'SHOW HELP JSON', use SHOW HELP;"),
        ("PAUSE app now", "invalid command 'PAUSE app now', use SHOW HELP;"),
        ("SUSPEND", "invalid command 'SUSPEND', use SHOW HELP;"),
        ("begin", "invalid command 'begin', use SHOW HELP;"),
        ("show stats; show pools", "invalid command 'show stats; show pools', use SHOW HELP;"),
        ("RELOAD x", "invalid command 'RELOAD x', use SHOW HELP;"),
        ("shutdown foo", "invalid command 'shutdown foo', use SHOW HELP;"),
        ("pause nosuch", "no such database: nosuch"),
        ("pause pgbouncer", "cannot pause admin db: pgbouncer"),
        ("kill nosuch", "no such database: nosuch"),
        ("kill pgbouncer", "cannot kill admin db: pgbouncer"),
        ("reconnect pgbouncer", "cannot reconnect admin db: pgbouncer"),
        ("wait_close nosuch", "no such database: nosuch"),
        ("wait_close pgbouncer", "cannot wait in admin db: pgbouncer"),
        ("disable", "a database is required"),
        ("disable nosuch", "no such database: nosuch"),
        ("disable pgbouncer", "cannot disable admin db: pgbouncer"),
        ("enable", "a database is required"),
        ("enable pgbouncer", "cannot enable admin db: pgbouncer"),
        ("resume", "pooler is not paused"),
        ("resume app", "database app is not paused"),
        ("resume nosuch", "no such database: nosuch"),
        ("resume pgbouncer", "database pgbouncer is not paused"),
        ("kill_client", "invalid client pointer supplied"),
        ("kill_client abc", "invalid client pointer supplied"),
        ("kill_client 999", "client not found"),
        ('kill_client "-1"', "client not found"),
        ('kill_client " 77"', "client not found"),
        ("kill_client 12abc", "client not found"),
        ("kill_client 99999999999999999999", "client not found"),
    ],
)
def test_what_cannot_be_done_is_refused_in_pgbouncers_words(command: str, sentence: str) -> None:
    console = Console()

    assert console.says(Query(command)) == [ERROR + sentence, READY]
    assert [refusal.message for refusal in console.refusals] == [sentence]


@pytest.mark.parametrize("command", ["pause", "pause app", "kill", "kill app"])
def test_pause_and_kill_are_refused_while_everything_is_paused(command: str) -> None:
    console = Console()
    console.controls.is_globally_paused = True

    assert console.says(Query(command)) == [ERROR + "already paused", READY]


# --- hints ---


def test_an_unknown_command_comes_with_a_list_of_those_there_are() -> None:
    message = Console().hears(Query("FROBNICATE"))[0]

    assert message.fields["H"] == (
        "Commands are: SHOW, SET, DISABLE, ENABLE, KILL, KILL_CLIENT, PAUSE, RECONNECT, RELOAD, "
        "RESUME, SHUTDOWN, WAIT_CLOSE."
    )


def test_a_driver_that_begins_a_transaction_is_told_of_autocommit() -> None:
    message = Console().hears(Query("BEGIN"))[0]

    assert "autocommit" in message.fields["H"]


def test_a_very_long_query_is_not_repeated_whole() -> None:
    message = Console().hears(Query("x " * 20_000))[0]

    assert len(message.fields["M"]) < 1100


def test_resume_of_everything_names_what_was_paused_by_name() -> None:
    console = Console()
    console.says(Query("PAUSE app"))

    message = console.hears(Query("RESUME"))[0]

    assert message.fields["M"] == "pooler is not paused"
    assert message.fields["H"] == "Paused by name, to be resumed by name: app."


# --- SHOW HELP and the parameters of drivers ---


def test_help_is_a_notice() -> None:
    messages = Console().hears(Query("SHOW HELP"))

    assert list(map(str, messages)) == ["N NOTICE 00000 Console usage", "C SHOW", READY]
    assert messages[0].fields["D"].splitlines()[:2] == [
        "",
        "\tSHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION",
    ]


@pytest.mark.parametrize("name", sorted(FAKE_PARAMETERS))
def test_parameters_of_drivers_can_be_shown_and_set_without_effect(name: str) -> None:
    console = Console(is_admin=False)

    assert console.says(Query(f"show {name.upper()}")) == [
        f"T {name}",
        f"D {FAKE_PARAMETERS[name]}",
        "C SHOW",
        READY,
    ]
    assert console.says(Query(f"SET {name} TO 'x'")) == [
        "N NOTICE 00000 SET ignored",
        "C SET",
        READY,
    ]
    assert console.controls.done == []


def test_select_is_another_word_for_show() -> None:
    assert Console().says(Query("select version;")) == Console().says(Query("SHOW VERSION"))


# --- who may do what ---


@pytest.mark.parametrize(
    "command",
    [
        "reload",
        "set query_timeout=1",
        "set nosuch=1",
        "pause nosuch",
        "resume",
        "kill_client abc",
        "disable",
        "enable app",
        "reconnect",
        "wait_close",
        "shutdown",
    ],
)
def test_a_stats_user_may_command_nothing(command: str) -> None:
    console = Console(is_admin=False)

    assert console.says(Query(command)) == [ERROR + "admin access needed", READY]
    assert console.controls.done == []


def test_cve_2026_6667_kill_client_by_a_stats_user_is_refused() -> None:
    """PgBouncer before 1.25.2 let everybody on the console kill clients, stats_users too."""
    console = Console(is_admin=False)
    console.controls.known_clients = {12}

    assert console.says(Query("KILL_CLIENT 12")) == [ERROR + "admin access needed", READY]
    own = f"KILL_CLIENT {console.client.id}"
    assert console.says(Query(own)) == [ERROR + "admin access needed", READY]

    assert console.controls.done == []
    assert console.side.refusals == []


@pytest.mark.parametrize("what", ["CONFIG", "CLIENTS", "MEM", "USERS", "HELP"])
def test_a_stats_user_may_look_at_everything(what: str) -> None:
    assert Console(is_admin=False).says(Query(f"SHOW {what}"))[-2:] == ["C SHOW", READY]


# --- configuration ---


def test_a_reload_that_fails_has_an_sqlstate_of_its_own_and_the_reason() -> None:
    console = Console()
    console.controls.failure = ConfigError("expected a number", key="server_lifetime")

    messages = console.hears(Query("RELOAD"))

    assert list(map(str, messages)) == [
        "E ERROR F0000 RELOAD failed, see logs for additional details",
        READY,
    ]
    assert messages[0].fields["D"] == "server_lifetime: expected a number"


def test_a_set_of_what_only_a_start_can_change_is_answered_as_done_with_a_notice() -> None:
    assert Console().says(Query("SET listen_port = 5")) == [
        "N NOTICE 00000 listen_port can be changed by a restart only",
        "C SET listen_port=5",
        READY,
    ]


def test_a_set_that_fails_tells_why(caplog: pytest.LogCaptureFixture) -> None:
    console = Console()
    console.controls.failure = ConfigError("unknown setting", key="nosuch")

    message = console.hears(Query("SET nosuch = 1"))[0]

    assert str(message) == "E ERROR 08P01 SET failed"
    assert message.fields["D"] == "nosuch: unknown setting"
    assert "unknown parameter: pgbouncer/nosuch" in caplog.messages


def test_a_bad_value_of_a_known_setting_is_no_unknown_parameter(
    caplog: pytest.LogCaptureFixture,
) -> None:
    console = Console()
    console.controls.failure = ConfigError("expected a number", key="max_client_conn")

    console.hears(Query("SET max_client_conn = abc"))

    assert not any(each.startswith("unknown parameter") for each in caplog.messages)


# --- commands that wait ---


@pytest.mark.parametrize("command", ["PAUSE", "PAUSE app", "WAIT_CLOSE", "WAIT_CLOSE app"])
def test_pause_and_wait_close_answer_when_they_are_done(command: str) -> None:
    console = Console()
    console.controls.is_settled = False

    assert console.says(Query(command)) == []
    assert console.session.is_pending

    console.controls.is_settled = True
    assert list(map(str, console.goes_on())) == [f"C {command.split()[0]}", READY]
    assert not console.session.is_pending


@pytest.mark.parametrize("name", ["", " app"])
def test_a_pause_that_another_console_resumes_fails(name: str) -> None:
    console = Console()
    console.controls.is_settled = False
    console.says(Query(f"PAUSE{name}"))

    console.controls.resume(console.registry.databases["app"] if name else None)

    assert list(map(str, console.goes_on())) == [
        ERROR + "PAUSE was ended by RESUME before all clients had finished",
        READY,
    ]


def test_shutdown_at_once_is_answered_by_the_end_of_the_connection() -> None:
    console = Console()

    assert console.says(Query("SHUTDOWN")) == []
    assert console.controls.done == ["shut_down IMMEDIATE"]


# --- pause and resume ---


def test_what_is_paused_can_be_resumed() -> None:
    console = Console()

    assert console.says(Query("PAUSE"), Query("RESUME"))[2:] == ["C RESUME", READY]
    assert console.says(Query("PAUSE app"), Query("RESUME app"))[2:] == ["C RESUME", READY]


def test_resume_is_refused_during_a_shutdown() -> None:
    console = Console()
    console.controls.is_globally_paused = console.controls.is_shutting_down = True

    assert console.says(Query("RESUME")) == [ERROR + "pooler is shutting down", READY]


def test_a_database_that_only_the_fallback_serves_can_be_paused() -> None:
    console = Console(databases={}, fallback=DatabaseSettings(name="*"))

    assert console.says(Query("PAUSE anything")) == ["C PAUSE", READY]
    assert console.registry.databases["anything"].is_paused


# --- KILL_CLIENT ---


def test_a_pools_client_is_killed_by_the_runtime() -> None:
    console = Console()
    console.controls.known_clients = {12}

    assert console.says(Query("KILL_CLIENT 12")) == ["C KILL_CLIENT", READY]


def test_a_console_client_can_be_killed_too() -> None:
    console = Console()

    console.says(Query(f"KILL_CLIENT {console.client.id}"))

    assert console.side.refusals == ["admin forced disconnect"]
    assert console.controls.done == []


def test_commands_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    console = Console()

    with caplog.at_level(logging.INFO, "pgpool_lite"):
        console.says(*map(Query, ("PAUSE app", "RELOAD", "SHUTDOWN WAIT_FOR_SERVERS")))

    assert caplog.messages == [
        "PAUSE 'app' command issued",
        "RELOAD command issued",
        "SHUTDOWN WAIT_FOR_SERVERS command issued",
    ]
