"""Prepared statements to the byte: the same conversations with the real PgBouncer and with ours.

    --pgbouncer PATH            the real one; without it, and without the variable, this is skipped
    PGPOOL_LITE_TEST_PGBOUNCER  the same
    PGPOOL_LITE_TEST_EXAMPLES   how many cases each random test tries, at random

Both run with their default settings. Each difference must have one of the `REASONS`, all of which
docs/prepared-statements.md gives under "Where we differ from PgBouncer".
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpool_lite.dev.cluster import Cluster
from tests.conftest import MakePooler
from tests.docs.pages import page
from tests.integration.conftest import Connect
from tests.integration.differential import (
    SYNC,
    WAIT,
    Kind,
    Step,
    bind,
    close_statement,
    deallocate,
    describe_statement,
    execute,
    other,
    parse,
    query,
)
from tests.integration.side_by_side import Difference, Reply, Sides, compare, is_same, pgbouncer
from tests.integration.test_prepared_differential import (
    OTHERS,
    STORIES,
    TEXTS,
    cases,
    ending_segments,
    tried,
)
from tests.wire_messages import BackendMessage, Bind, Execute, Parse, Sync, message, text

FATAL = "FATAL"
NAME_ERRORS = ("prepared statement name is already in use", "prepared statement did not exist")
FAILED_TRANSACTION = "25P02"


# Why the two may differ. The first that fits is the reason.


@dataclass(frozen=True, slots=True)
class Reason:
    """A difference that is meant to be; its title stands in docs/prepared-statements.md."""

    title: str
    fits: Callable[[Difference], bool]


def is_fatal(each: BackendMessage) -> bool:
    return each.type == "E" and each.fields["S"] == FATAL


def before_the_end(reply: Reply) -> list[BackendMessage]:
    """Return the messages in front of a FATAL."""
    return [each for each in reply.messages if not is_fatal(each)]


def closes_sooner_or_later(difference: Difference) -> bool:
    """Both close the client, and where both say why, in the same words."""
    theirs, ours = difference.theirs, difference.ours
    errors = [each for each in (*theirs.messages, *ours.messages) if is_fatal(each)]
    reasons = {each.fields["M"] for each in errors}
    pairs = zip(before_the_end(theirs), before_the_end(ours), strict=False)
    is_closed = theirs.end == ours.end == "CLOSED"
    return is_closed and len(reasons) <= 1 and all(is_same(*pair) for pair in pairs)


def is_as_postgresql(difference: Difference) -> bool:
    """Ours answers as PostgreSQL does, up to where it closes the client for a name.

    That may be before answers which PostgreSQL has given by then, one of them an error.
    """
    ours, postgres = difference.ours, difference.postgres
    for at, (found, wanted) in enumerate(zip(ours.messages, postgres.messages, strict=False)):
        if is_fatal(found):
            is_name_error = found.fields["M"] in NAME_ERRORS
            return is_name_error and any(each.type == "E" for each in postgres.messages[at:])
        if found.type != wanted.type or (found.type != "E" and found.body != wanted.body):
            return False
        if found.type == "E" and found.fields["C"] != wanted.fields["C"]:
            return False
    return len(ours.messages) == len(postgres.messages) and not ours.end


def differing(difference: Difference) -> tuple[BackendMessage | None, BackendMessage | None]:
    """Return the first messages that are not the same."""
    at = difference.same_count
    theirs, ours = (
        reply.messages[at] if at < len(reply.messages) else None
        for reply in (difference.theirs, difference.ours)
    )
    return theirs, ours


def counts_what_was_undone(difference: Difference) -> bool:
    """One of them refuses a name, because it counts what an error undid, or does not."""
    is_refusal = any(
        each is not None
        and each.type == "E"
        and (each.fields["M"] in NAME_ERRORS or '"PGBOUNCER_' in each.fields["M"])
        for each in differing(difference)
    )
    return is_refusal and is_as_postgresql(difference)


def mixes_up_the_unnamed_statement(difference: Difference) -> bool:
    is_named = (
        "statement=''" in repr(step) or repr(step) == "DescribeStatement('')"
        for step in difference.steps
    )
    return any(is_named) and is_as_postgresql(difference)


def makes_up_in_a_failed_transaction(difference: Difference) -> bool:
    theirs, ours = differing(difference)
    return (
        theirs is not None
        and ours is not None
        and theirs.type == "1"
        and ours.type == "E"
        and ours.fields["C"] == FAILED_TRANSACTION
        and is_as_postgresql(difference)
    )


def is_our_parse_that_fails(difference: Difference) -> bool:
    theirs, ours = differing(difference)
    if theirs is None or ours is None or not theirs.type == ours.type == "E":
        return False
    return ours.fields["C"] == FAILED_TRANSACTION


REASONS = [
    Reason("What comes before a FATAL", closes_sooner_or_later),
    Reason("What an error undoes", counts_what_was_undone),
    Reason("ParseComplete in a failed transaction", makes_up_in_a_failed_transaction),
    Reason("Our own Parse in a failed transaction", is_our_parse_that_fails),
    Reason("The unnamed statement", mixes_up_the_unnamed_statement),
]


def reason_of(difference: Difference) -> str:
    """Return why a difference may be; fail where there is no reason."""
    title = next((reason.title for reason in REASONS if reason.fits(difference)), "")
    assert title, f"unexplained difference in {difference}"
    return title


# Both of them

FEW_AND_ROUND = ("default_pool_size = 3", "server_round_robin = 1", "max_prepared_statements = 4")

numbers = itertools.count()


@pytest.fixture
async def sides(program: str, postgres: Cluster, make_pooler: MakePooler) -> AsyncIterator[Sides]:
    """Both poolers with their default settings."""
    async with pgbouncer(program, postgres) as theirs:
        yield Sides(theirs, await make_pooler(), postgres)


@pytest.fixture
async def narrow_sides(
    program: str, postgres: Cluster, make_pooler: MakePooler
) -> AsyncIterator[Sides]:
    """Both poolers with another server after each transaction, and few statements on each."""
    async with pgbouncer(program, postgres, *FEW_AND_ROUND) as theirs:
        ours = await make_pooler(pool_size=3, server_round_robin=1, max_prepared_statements=4)
        yield Sides(theirs, ours, postgres)


async def found_reason(sides: Sides, steps: Sequence[Step]) -> str:
    """Hold a conversation; return why its answers differ, "" if they do not."""
    difference = await compare(sides, steps, str(next(numbers)))
    return "" if difference is None else reason_of(difference)


# Half of the cases begin with statements, else most would only try names that do not exist.
prepared = st.lists(st.sampled_from(TEXTS), min_size=3, max_size=3).map(
    lambda texts: [*(parse(sql, name) for sql, name in zip(texts, "abc", strict=True)), WAIT]
)
drawn = st.builds(
    lambda first, steps: [*first, *ending_segments(steps)],
    st.one_of(prepared, prepared, prepared, st.just([])),
    cases,
)


@tried(150)
@given(steps=drawn)
async def test_random_conversations_differ_for_a_reason(sides: Sides, steps: list[Step]) -> None:
    await found_reason(sides, steps)


@tried(150)
@given(steps=drawn)
async def test_random_conversations_over_three_servers_differ_for_a_reason(
    narrow_sides: Sides, steps: list[Step]
) -> None:
    await found_reason(narrow_sides, steps)


@pytest.mark.parametrize("steps", STORIES.values(), ids=STORIES.keys())
async def test_a_case_that_was_found_differs_for_a_reason(
    narrow_sides: Sides, steps: list[Step]
) -> None:
    await found_reason(narrow_sides, steps)


# By name, with the reason that is expected


def raw(kind: str, body: bytes) -> Step:
    return Step(Kind.EXTENDED, f"message({kind!r}, {body[:40]!r})", lambda _: message(kind, body))


LONG_NAME = "n" * 60_000
RUN_A = [bind(statement="a"), execute(), SYNC, WAIT]
SAME: dict[str, list[Step]] = {
    "a statement's life": [
        *(parse("SELECT 1", "a"), WAIT, *RUN_A, describe_statement("a"), WAIT),
        *(close_statement("a"), WAIT, parse("SELECT 2", "a"), WAIT, *RUN_A),
    ],
    "a pipeline": [
        *(parse("SELECT 1", "a"), bind(statement="a"), execute(), SYNC),
        *(parse("SELECT 2", "b"), bind(statement="b"), execute(), SYNC, WAIT),
    ],
    "a text that another client has prepared": [OTHERS[1], parse("SELECT 1", "a"), *RUN_A],
    "Bind of a name never parsed": [bind(statement="a")],
    "Describe of a name never parsed": [describe_statement("a")],
    "Close of a name never parsed": [close_statement("a"), WAIT, query("SELECT 1")],
    "one name for two texts": [parse("SELECT 1", "a"), parse("SELECT 2", "a")],
    "one name twice for a text": [parse("SELECT 1", "a"), WAIT, parse("SELECT 1", "a")],
    "a name of 60 kilobytes": [
        *(parse("SELECT 1", LONG_NAME), WAIT, bind(statement=LONG_NAME), execute(), WAIT),
    ],
    "a type count that overruns its Parse": [raw("P", text("a") + text("SELECT $1") + b"\0\5")],
    "a Parse without an end of its name": [raw("P", b"no end")],
    "a Parse without an end of its text": [raw("P", b"a\0no end")],
    "a Bind without an end of its portal": [raw("B", b"no end")],
    "a Bind without an end of its name": [raw("B", b"\0no end")],
    "a Describe without an end": [raw("D", b"Sno end")],
    "an empty Describe": [raw("D", b"")],
    "a Close without an end": [raw("C", b"Sno end")],
    "a Close with more than a name": [raw("C", b"Sa\0and more")],
    "an error in a transaction": [
        *(query("BEGIN"), parse("SELECT 1", "a"), parse("SELECT nothing_there", "b"), WAIT),
        *(*RUN_A, query("ROLLBACK")),
    ],
    "values of five megabytes": [
        *(parse("SELECT length($1::text)", "a"), WAIT),
        *(bind("x" * 5_000_000, statement="a"), execute(), WAIT),
    ],
    "DEALLOCATE in SQL": [parse("SELECT 1", "a"), WAIT, deallocate("a"), WAIT, *RUN_A],
    "PREPARE, EXECUTE and DEALLOCATE in SQL": [
        *(query("PREPARE p AS SELECT 1"), query("EXECUTE p"), query("DEALLOCATE p"), WAIT),
    ],
    "DEALLOCATE ALL": [
        *(parse("SELECT 1", "a"), WAIT, query("DEALLOCATE ALL"), WAIT),
        *(parse("SELECT 2", "a"), WAIT, *RUN_A),
    ],
    "DISCARD ALL": [
        *(parse("SELECT 1", "a"), WAIT, query("DISCARD ALL"), WAIT),
        *(parse("SELECT 2", "a"), WAIT, *RUN_A),
    ],
    "a reserved name": [parse("SELECT 1", "a"), WAIT, bind(statement="PGBOUNCER_1")],
}


@pytest.mark.parametrize("steps", SAME.values(), ids=SAME.keys())
async def test_a_conversation_that_is_the_same(sides: Sides, steps: list[Step]) -> None:
    assert await found_reason(sides, steps) == ""


async def test_evicted_statements_are_the_same(narrow_sides: Sides) -> None:
    names = ["a", "b", "c", "d", "e", "f"]
    steps = [parse(f"SELECT '{name}'", name) for name in names] + [WAIT]
    for name in names * 2:
        steps += [bind(statement=name), execute(), SYNC, WAIT]
    assert await found_reason(narrow_sides, steps) == ""


DIFFERENT: dict[str, tuple[str, list[Step]]] = {
    "a Parse that failed, and its name again": (
        "What an error undoes",
        [parse("SELEC 1", "a"), WAIT, parse("SELECT 1", "a"), WAIT],
    ),
    "a Parse that is discarded, and a Bind": (
        "What an error undoes",
        [execute("nowhere"), parse("SELECT 1", "a"), WAIT, *RUN_A],
    ),
    "a Close that is discarded, and a Parse": (
        "What an error undoes",
        [
            *(parse("SELECT 1", "a"), WAIT, execute("nowhere"), close_statement("a"), WAIT),
            *(parse("SELECT 2", "a"), WAIT),
        ],
    ),
    "a text that the server has, in a failed transaction": (
        "ParseComplete in a failed transaction",
        [
            *(parse("SELECT 1", "a"), WAIT, query("BEGIN"), query("SELECT oops"), WAIT),
            *(parse("SELECT 1", "b"), WAIT),
        ],
    ),
    "an unnamed statement that another client has replaced": (
        "The unnamed statement",
        [
            parse("SELECT 'mine'"),
            WAIT,
            other("an unnamed statement", lambda _: Parse("SELECT 'another client'")),
            *(bind(), execute(), WAIT),
        ],
    ),
    "an unnamed statement that the server may lack, in a failed transaction": (
        "Our own Parse in a failed transaction",
        [
            *(parse("BEGIN"), bind(), execute(), WAIT, parse("SELECT 1"), WAIT),
            *(bind("too many values"), parse("SELECT 2"), WAIT, bind(), WAIT),
        ],
    ),
    "an answer, and a refusal behind it": (
        "What comes before a FATAL",
        [close_statement("a"), bind(statement="a"), WAIT],
    ),
}


@pytest.mark.parametrize(("reason", "steps"), DIFFERENT.values(), ids=DIFFERENT.keys())
async def test_a_conversation_that_differs_for_its_reason(
    sides: Sides, reason: str, steps: list[Step]
) -> None:
    assert await found_reason(sides, steps) == reason


def test_every_reason_is_given_in_the_docs() -> None:
    section = page("docs/prepared-statements.md").section("Where we differ from PgBouncer")
    assert [reason.title for reason in REASONS if f"**{reason.title}" not in section] == []


# What random cases do not come across


async def test_a_stale_plan_is_prepared_afresh_by_ours_only(sides: Sides, connect: Connect) -> None:
    migration = await connect(sides.postgres)
    outcomes = []
    for table, side in (("theirs", sides.theirs), ("ours", sides.ours)):
        await migration.query(f"CREATE TABLE {table} AS SELECT 1 AS a")
        client = await connect(side)
        await client.send(Parse(f"TABLE {table}", "a"), Sync())
        await client.until_ready()
        await migration.query(f"ALTER TABLE {table} ADD b int DEFAULT 2")
        for _ in range(2):
            await client.send(Bind(statement="a"), Execute(), Sync())
            outcomes.append((await client.until_ready())[-2])
        await migration.query(f"DROP TABLE {table}")
    stale = "E ERROR 0A000 cached plan must not change result type"
    assert outcomes == [stale, stale, stale, "C SELECT 1"]


async def test_names_beyond_10000_are_refused_by_ours_only(sides: Sides, connect: Connect) -> None:
    outcomes = []
    for side in (sides.theirs, sides.ours):
        client = await connect(side)
        await client.send(*(Parse("SELECT 1", f"s{n}") for n in range(10_001)), Sync())
        outcomes.append((await client.until_ready())[-2])
    assert outcomes == ["1", "E ERROR 53400 too many prepared statements"]
