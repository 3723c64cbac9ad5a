"""Named statements, portals and pipelines: does the pooler answer as PostgreSQL does?

Random cases are held with PostgreSQL directly and through the pooler, with another server after
each transaction; the answers must be the same but for what docs/prepared-statements.md lists.

    PGPOOL_LITE_TEST_EXAMPLES   how many cases each test tries, at random, instead of the usual ones
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgpool_lite.pooler import Pooler
from tests.conftest import MakePooler
from tests.integration.conftest import Address, Connect
from tests.integration.differential import (
    CUT,
    CUT_INSIDE,
    FLUSH,
    SERVERS,
    SYNC,
    WAIT,
    Kind,
    Step,
    TwoConversations,
    bind,
    close_portal,
    close_statement,
    describe_portal,
    describe_statement,
    execute,
    other,
    parse,
    query,
)
from tests.wire_messages import Bind, Execute, Parse

EXAMPLES = int(os.environ.get("PGPOOL_LITE_TEST_EXAMPLES", "0"))

NAMES = ("", "a", "b", "c")
PORTALS = ("", "p")
TEXTS = (
    "SELECT 1",
    "SELECT generate_series(1, 4)",
    "SELECT 12 / $1::int",
    "VALUES ($1, $1)",
    "",
)
TRANSACTIONS = ("BEGIN", "COMMIT", "ROLLBACK")
FAILING = ("SELEC 1", "SELECT nothing_there")

PARSES = [parse(text, name) for name in NAMES for text in TEXTS]
BINDS = [
    bind(*values, statement=name, portal=portal)
    for name in NAMES
    for portal in PORTALS
    for values in ((), ("3",), ("0",))
]
DESCRIBES = [describe_statement(name) for name in NAMES]
PORTAL_STEPS = [
    *(execute(portal, limit) for portal in PORTALS for limit in (0, 2)),
    *map(describe_portal, PORTALS),
]
CLOSES = [*map(close_statement, NAMES), *map(close_portal, PORTALS)]
OTHERS = [
    other("an unnamed statement", lambda _: Parse("SELECT 'another client'")),
    other("statement a", lambda number: Parse("SELECT 'another client'", "a" + number)),
    other("DEALLOCATE ALL", lambda _: Parse("DEALLOCATE ALL") + Bind() + Execute()),
]
QUERIES = [query(sql) for sql in ("SELECT 'simple'", *TRANSACTIONS, "SELECT simple_oops")]
# Awaited: what is sent behind it before its answer has come still finds its statements, because the
# pooler cannot know before the answer what the Query does. PostgreSQL would say 26000.
# And the portal is closed: PostgreSQL 15 crashes if somebody executes the unnamed portal of a
# DISCARD ALL that has failed in a transaction block.
FORGETTING = [
    [query("DEALLOCATE ALL"), WAIT],
    [query("DISCARD ALL"), WAIT, close_portal(), SYNC],
]
ENDS = [SYNC, WAIT]
RARE = [
    *(parse(text, name) for name in ("", "a") for text in (*TRANSACTIONS, *FAILING)),
    FLUSH,
    CUT,
    CUT_INSIDE,
]

# What most drivers send per query, in a read of its own.
USUAL = [
    [WAIT, *prepared, bind(*values, statement=name), *described, execute(), SYNC, WAIT]
    for values in ((), ("3",), ("0",))
    for name, prepared in (
        ("a", []),
        ("", []),
        ("", [parse("SELECT 12 / $1::int")]),
        ("", [parse("SELECT nothing_there")]),
    )
    for described in ([], [describe_portal()])
]

# One or some steps; what comes first in a list is what hypothesis shrinks towards.
step = st.one_of(
    *(
        st.sampled_from(steps).map(lambda each: [each])
        for steps in (
            ENDS,
            ENDS,
            PARSES,
            BINDS,
            BINDS,
            PORTAL_STEPS,
            PORTAL_STEPS,
            DESCRIBES,
            CLOSES,
            QUERIES,
            OTHERS,
            RARE,
        )
    ),
    st.sampled_from(USUAL),
    st.sampled_from(FORGETTING),
)
cases = st.lists(step, min_size=5, max_size=30).map(lambda parts: sum(parts, list[Step]()))


def tried(count: int) -> settings:
    """Return hypothesis' settings for a test that usually tries `count` cases, always the same."""
    return settings(
        max_examples=EXAMPLES or count,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture
async def conversations(
    make_pooler: MakePooler, postgres: Address, connect: Connect
) -> TwoConversations:
    """Two conversations, one through a pooler that changes servers and keeps few statements."""

    async def make() -> Pooler:
        return await make_pooler(
            pool_size=SERVERS,
            server_round_robin=1,
            max_prepared_statements=4,
            prepared_statement_errors="postgres",
        )

    return TwoConversations(make, postgres, connect)


@tried(2000)
@given(steps=cases)
async def test_random_segments_are_answered_as_postgresql_answers_them(
    conversations: TwoConversations, steps: list[Step]
) -> None:
    await conversations.hold(ending_segments(steps))


@tried(500)
@given(steps=cases)
async def test_random_segments_with_queries_inside_are_answered_as_postgresql_answers_them(
    conversations: TwoConversations, steps: list[Step]
) -> None:
    await conversations.hold(steps)


def ending_segments(steps: list[Step]) -> list[Step]:
    """Return the steps with a Sync before each Query that would stand in an open segment."""
    ended: list[Step] = []
    for each in steps:
        if each in QUERIES + FORGETTING and ended and ended[-1].kind is Kind.EXTENDED:
            ended.append(SYNC)
        ended.append(each)
    return ended


# Cases that hypothesis found, each of them a bug once.
STORIES = {
    "an error that is the first answer, to a segment that parses nothing": [
        parse("SELECT 1"),
        WAIT,
        execute("p"),
        WAIT,
        describe_statement(),
    ],
    "an unnamed Parse that fails, with another segment behind it": [
        parse("SELEC 1"),
        SYNC,
        execute("p"),
        WAIT,
        bind(),
    ],
    "an error that is the first answer, behind a segment that parses": [
        parse("SELECT 1"),
        SYNC,
        execute("p"),
        WAIT,
        bind(),
    ],
    "a text that the server has, in a failed transaction": [
        parse("SELECT 1", "a"),
        query("BEGIN"),
        query("SELECT simple_oops"),
        WAIT,
        parse("SELECT 1", "b"),
        WAIT,
        query("ROLLBACK"),
        bind(statement="b"),
    ],
    "a text that the server has, behind a segment in flight that fails the transaction": [
        parse("SELECT 1", "a"),
        query("BEGIN"),
        WAIT,
        bind(statement="b"),
        SYNC,
        parse("SELECT 1", "c"),
        SYNC,
        describe_statement("c"),
    ],
    "a name that is taken, for a text with an error": [
        parse("SELECT 1", "a"),
        parse("SELEC 1", "a"),
        WAIT,
        bind(statement="a"),
        execute(),
    ],
    "a name that is taken, in a failed transaction": [
        parse("SELECT 1", "a"),
        query("BEGIN"),
        query("SELECT simple_oops"),
        WAIT,
        parse("SELECT 1", "a"),
    ],
    "a name that is taken, behind a Parse of its text that is skipped": [
        parse("SELECT 1", "b"),
        WAIT,
        bind(),
        parse("SELECT 1", "a"),
        SYNC,
        parse("SELECT 2", "b"),
        WAIT,
        bind(statement="b"),
        execute(),
        WAIT,
        bind(statement="b"),
        execute(),
        WAIT,
        bind(statement="b"),
        execute(),
    ],
    "a statement that the server lacks, bound with too few values in a failed transaction": [
        parse("SELECT 12 / $1::int", "a"),
        WAIT,
        query("BEGIN"),
        query("SELECT simple_oops"),
        WAIT,
        bind(statement="a"),
    ],
    "a statement without rows that the server lacks, described in a failed transaction": [
        parse("BEGIN", "a"),
        WAIT,
        query("BEGIN"),
        query("SELECT simple_oops"),
        describe_statement("a"),
        WAIT,
        query("ROLLBACK"),
        describe_statement("a"),
    ],
    "a Query in front of an unnamed Parse, then other servers, then a client without one": [
        query("SELECT 'simple'"),
        parse("SELECT 1"),
        WAIT,
        query("SELECT 'simple'"),
        WAIT,
        query("SELECT 'simple'"),
        WAIT,
        describe_statement(),
    ],
    "a Parse of ours that is skipped, on a server that has another client's": [
        parse("SELECT 1"),
        WAIT,
        *[OTHERS[0]] * SERVERS,
        bind(statement="a"),
        bind(),
        WAIT,
        query("SELECT 'simple'"),
        WAIT,
        query("SELECT 'simple'"),
        WAIT,
        describe_statement(),
    ],
    "an unnamed Parse that is skipped, and another one read later": [
        bind(),
        parse("SELECT 1"),
        CUT,
        parse("SELECT 1"),
        WAIT,
        bind(),
        execute(),
    ],
    "an unnamed Parse that fails, and another behind it": [
        parse("SELEC 1"),
        SYNC,
        parse("SELECT 1"),
        SYNC,
        bind(),
        execute(),
    ],
    "the usual read, and an unnamed Parse behind it that is skipped": [
        parse("SELECT 1"),
        WAIT,
        parse("SELECT 12 / $1::int"),
        bind("3"),
        execute(),
        SYNC,
        CUT,
        bind(statement="a"),
        parse("SELECT 2"),
        WAIT,
        bind("3"),
        execute(),
    ],
    "an unnamed Parse that is skipped, and a Query in a read of its own behind it": [
        parse("SELECT 1"),
        WAIT,
        bind(statement="a"),
        parse("SELECT 2"),
        SYNC,
        CUT,
        query("SELECT 'simple'"),
        WAIT,
        bind(),
    ],
    "DEALLOCATE ALL on another server than the statement was last used on": [
        parse("SELECT 1", "a"),
        WAIT,
        bind(statement="a"),
        execute(),
        WAIT,
        query("DEALLOCATE ALL"),
        WAIT,
        parse("SELECT 1", "a"),
        WAIT,
        bind(statement="a"),
        execute(),
        WAIT,
        bind(statement="a"),
        execute(),
    ],
    "DEALLOCATE ALL in front of a Parse": [
        SYNC,
        query("DEALLOCATE ALL"),
        parse("SELECT 1", "a"),
        WAIT,
        bind(statement="a"),
        execute(),
    ],
    "an unnamed Parse that is skipped, and a Close of it that is skipped too": [
        bind(),
        parse("SELECT 1"),
        SYNC,
        bind(statement="a"),
        close_statement(""),
        WAIT,
        bind(),
    ],
    "a Close of the unnamed statement that is skipped, and a Query behind it": [
        parse("SELECT 1"),
        bind("3"),
        close_statement(""),
        SYNC,
        query("SELECT 'simple'"),
        bind(),
    ],
    "an unnamed Parse that is skipped, and another that is skipped too": [
        bind(),
        parse("SELECT 1"),
        SYNC,
        bind(statement="a"),
        parse("SELECT 2"),
        WAIT,
        bind(),
    ],
}


@pytest.mark.parametrize("steps", STORIES.values(), ids=STORIES.keys())
async def test_a_case_that_was_found_is_answered_as_postgresql_answers_it(
    conversations: TwoConversations, steps: list[Step]
) -> None:
    await conversations.hold(steps)
