"""Has every sentence that a client can be told its DETAIL and HINT? The source is asked.

Every call that makes an error, wherever it stands, is read from the syntax trees. A sentence that
nobody explains and that is not listed as needing nothing fails the test, and so does a lesson about
a sentence that nobody says.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from pgpool_lite.pool.failures import FAILURES, hint_for_failure
from pgpool_lite.pool.lessons import HEADINGS, LESSONS, NEEDS_NONE, Lesson, find_lesson
from pgpool_lite.pool.teaching import NO_SERVER_YET
from tests.architecture.source import Module, modules

#: Errors that a client may be shown as they are; each may be made under another name too.
KINDS = (
    *("ClientError", "ClientProtocolError", "LoginRejected", "LimitReached", "CommandError"),
    *("ServerError", "ServerProtocolError", "ServerRefusedLogin", "CloseServer"),
)
#: Those about which there is something to say whatever the sentence is.
EXPLAINED_BY_KIND = ("ClientProtocolError", "ServerProtocolError")
#: What is said by somebody else and only passed on, by the expression that stands for it: its
#: sentences are found where they are made, or below.
PASSED_ON = {
    *("error.message", "refused.message", "goodbye.message", "action.reason", "sentence"),
    *("self.own_failure", "reason", "_words_for(server.close_reason)", "message"),
    "session.close_reason",  # behind PostgreSQL's own FATAL, which the client has heard
    "said.message or 'login failed'",
    "f'{refusal}: {name}'",
    *("NO_SERVER_YET", "session.close_reason"),
}
#: Sentences that are put together or kept elsewhere, with the place that says them.
SAID_ELSEWHERE = {
    "query_wait_timeout": "pgpool_lite.pool.maintenance",
    "query_timeout": "pgpool_lite.pool.maintenance",
    "database configuration changed": "pgpool_lite.pool.maintenance",
    "replication client was closed": "pgpool_lite.pool.pool",
    "server closed the connection": "pgpool_lite.session.own_queries",
    "invalid server parameter": "pgpool_lite.session.own_queries",
    "cannot kill admin db": "pgpool_lite.console.commands",
    "login failed": "pgpool_lite.session.server_login",
    NO_SERVER_YET: "pgpool_lite.pool.teaching",
}


@dataclass(frozen=True, slots=True)
class Said:
    """One place where a sentence is made."""

    place: str
    kind: str
    sentence: str
    is_explained_there: bool


def _said() -> Iterator[Said]:
    for module in modules("pgpool_lite"):
        if module.name.split(".")[1:2] in (["dev"], ["operate"], ["serve"]):
            continue  # these speak to whoever runs a command
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and node.args:
                yield from _in_call(module, node)


def _in_call(module: Module, call: ast.Call) -> Iterator[Said]:
    kind = ast.unparse(call.func)
    if kind not in KINDS:
        return
    said = call.args[1 if kind == "CloseServer" else 0]
    branches = (said.body, said.orelse) if isinstance(said, ast.IfExp) else (said,)
    given = {keyword.arg for keyword in call.keywords}
    for branch in branches:
        for sentence in _sentences(module, branch):
            place, is_explained = module.at(call), bool(given & {"detail", "hint"})
            yield Said(place, kind, sentence, is_explained)


def _sentences(module: Module, said: ast.expr) -> list[str]:
    if isinstance(said, ast.Constant) and isinstance(said.value, str):
        return [said.value] if said.value else []  # "" only explains PostgreSQL's own words
    if isinstance(said, ast.Name) and (constant := _constant(module, said.id)) is not None:
        return [constant]
    if ast.unparse(said) in PASSED_ON:
        return []
    if isinstance(said, ast.JoinedStr):
        return ["".join(_part(part) for part in said.values)]
    raise AssertionError(f"what does {module.at(said)} say? {ast.unparse(said)}")


def _part(part: ast.expr) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else "..."


def _constant(module: Module, name: str) -> str | None:
    for node in module.tree.body:
        if isinstance(node, ast.AnnAssign | ast.Assign) and isinstance(node.value, ast.Constant):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            if isinstance(target, ast.Name) and target.id == name:
                return str(node.value.value)
    return None


SAID = list(_said())


def _needs_none(sentence: str) -> bool:
    return any(Lesson("", each).pattern.fullmatch(sentence) for each in NEEDS_NONE)


def test_the_source_is_read() -> None:
    assert len(SAID) > 100


def test_every_sentence_is_explained_or_listed_as_needing_nothing() -> None:
    unexplained = [
        f"{each.place}: {each.sentence}"
        for each in SAID
        if not each.is_explained_there
        and each.kind not in EXPLAINED_BY_KIND
        and find_lesson(each.sentence) is None
        and not _needs_none(each.sentence)
    ]

    assert unexplained == []


@pytest.mark.parametrize(("sentence", "name"), SAID_ELSEWHERE.items())
def test_a_sentence_that_is_said_elsewhere_is_said_there_and_explained(
    sentence: str, name: str
) -> None:
    (module,) = (each for each in modules("pgpool_lite") if each.name == name)

    assert sentence in module.text
    assert find_lesson(sentence) or find_lesson(f"{sentence}: x")


def test_no_lesson_is_about_a_sentence_that_nobody_says() -> None:
    sentences = {each.sentence for each in SAID} | SAID_ELSEWHERE.keys()
    sentences |= {f"{each}: ..." for each in SAID_ELSEWHERE}
    stale = [
        each.sentence
        for each in LESSONS
        if not any(each.pattern.fullmatch(sentence) for sentence in sentences)
    ]

    assert stale == []


def test_nothing_is_listed_as_needing_nothing_that_nobody_says() -> None:
    sentences = {each.sentence for each in SAID} | SAID_ELSEWHERE.keys()
    stale = [
        each
        for each in NEEDS_NONE
        if not any(Lesson("", each).pattern.fullmatch(sentence) for sentence in sentences)
    ]

    assert stale == []


def test_every_lesson_stands_under_a_heading_of_the_page() -> None:
    assert {each.heading for each in LESSONS} == set(HEADINGS)


def test_a_sentence_has_one_lesson() -> None:
    sentences = [each.sentence for each in LESSONS]

    assert len(sentences) == len(set(sentences))


FAILED_BY = {
    "sorry, too many clients already": "max_connections",
    'password authentication failed for user "app"': "auth_file",
    'database "ap" does not exist': "dbname=",
    'role "app" does not exist': "role",
    'no pg_hba.conf entry for host "10.0.0.1"': "pg_hba.conf",
    "the database system is starting up": "try again",
    "server DNS lookup failed": "host=",
    "connect failed": "port=",
    "server refused SSL": "server_tls_sslmode",
}


@pytest.mark.parametrize(("failure", "named"), FAILED_BY.items())
def test_why_servers_cannot_be_had_decides_what_to_change(failure: str, named: str) -> None:
    assert named in hint_for_failure(failure)


def test_each_kind_of_failure_is_one_of_these() -> None:
    unknown = [
        pattern
        for pattern, _ in FAILURES
        if not any(re.search(pattern, failure) for failure in FAILED_BY)
    ]

    assert unknown == []


def test_a_failure_that_nobody_knows_leads_to_the_log() -> None:
    assert "log" in hint_for_failure("something else")
