"""Who does how much in front of the pooler, and what strikes them? Everything but the playing.

What happens to which connection follows from a scenario's seed and the connection's number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from random import Random

from tests.reliability.fault_proxy import Action, Fault, Plan, Toward, nothing_happens

# Where faults strike by the byte: within so many of the first.
FIRST_BYTES = 6000
# Within how many messages of a type.
FIRST_MESSAGES = 40
# What a network does to a connection. Stalls end at the next tick.
NETWORK = (Action.RESET, Action.HALF_CLOSE, Action.STALL, Action.TRICKLE)
# Types of the messages in and behind which faults strike.
KINDS = {Toward.SERVER: "QPBESdc", Toward.CLIENT: "ZCDT12dGH"}

# What a client cannot know of that it happens to: garbage, and silence, on their way to a client
# are its own to deal with, since the pooler never hears of them.
UNNOTICED = (Action.GARBAGE, Action.SILENCE)
# What garbage begins with. In a COPY, PostgreSQL would answer a letter that it does not know by an
# error, and go on at the wrong place.
LETTERS, COPY_LETTERS = bytes(range(256)), b"dcH"


class Side(Enum):
    """Which of the pooler's connections."""

    CLIENTS = "clients"
    SERVERS = "servers"


@dataclass(frozen=True)
class Scenario:
    """Who does how much, and what strikes."""

    name: str
    seed: int = 0
    # Transactions of each raw client, and of each client by a driver.
    transactions: int = 0
    raw: int = 30
    by_driver: int = 3
    pool_size: int = 5
    pool_mode: str = "transaction"
    # Of a hundred connections so many are struck: of clients, of servers.
    client_faults: int = 0
    server_faults: int = 0
    # What strikes at ticks, by name.
    strikes: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    # What is done to a connection that is struck.
    actions: tuple[Action, ...] = NETWORK
    # Sides that speak TLS; faults strike at bytes of it.
    encrypted: tuple[Side, ...] = ()

    @property
    def may_lose(self) -> bool:
        """Whether a connection may end at all."""
        return bool(self.client_faults or self.server_faults or set(self.strikes) - set(HARMLESS))

    @property
    def command(self) -> str:
        """What runs it again."""
        return f"python -m bench.soak {self.name} --seed {self.seed}"


#: What costs nobody anything, and what costs somebody a connection.
HARMLESS = ("reload", "broken reload", "pause", "reconnect", "stop")
ALL_STRIKES = ("terminate", "kill", *HARMLESS)

_NOT_PAUSED = tuple(each for each in ALL_STRIKES if each != "pause")
_NOT_ONE_PROCESS = tuple(each for each in ALL_STRIKES if each not in ("stop", "broken reload"))
_ONE_STATEMENT = {"max_prepared_statements": "1"}
_TRACKED = {"max_prepared_statements": "2", "sql_prepared_statements": "track"}
_OWN_QUERIES = {
    "server_check_delay": "0",
    "server_reset_query": "DISCARD ALL",
    "server_reset_query_always": "1",
}
# What ends a connection of which nothing more is heard, as it will be: at a client's login, between
# its transactions, in one, and in an answer; at a server's login, and in whatever a server does.
_IMPATIENT = {
    "client_login_timeout": "1",
    "client_idle_timeout": "1",
    "idle_transaction_timeout": "1",
    "query_timeout": "1",
    "server_connect_timeout": "1",
}

#: All of a scenario but its seed and its size.
_ALL = (
    Scenario("calm"),
    Scenario("commands", strikes=HARMLESS),
    Scenario("network", client_faults=90, server_faults=90),
    Scenario("deaths", strikes=("terminate", "kill")),
    Scenario("crashes", strikes=("crash", "fast restart", "immediate restart")),
    Scenario("everything", strikes=ALL_STRIKES, client_faults=60, server_faults=60),
    Scenario(
        "one-statement",
        strikes=ALL_STRIKES,
        client_faults=50,
        server_faults=80,
        settings=_ONE_STATEMENT,
    ),
    Scenario("own-queries", strikes=ALL_STRIKES, server_faults=90, settings=_OWN_QUERIES),
    Scenario("tracked", strikes=ALL_STRIKES, client_faults=50, settings=_TRACKED),
    Scenario(
        "session",
        strikes=_NOT_PAUSED,
        client_faults=50,
        server_faults=50,
        pool_mode="session",
        pool_size=12,
    ),
    Scenario(
        "workers",
        strikes=_NOT_ONE_PROCESS,
        client_faults=50,
        server_faults=50,
        settings={"workers": "2"},
    ),
    Scenario(
        "tls",
        strikes=ALL_STRIKES,
        client_faults=80,
        server_faults=30,
        encrypted=(Side.CLIENTS,),
    ),
    Scenario(
        "tls-to-servers",
        strikes=ALL_STRIKES,
        client_faults=80,
        server_faults=60,
        encrypted=(Side.CLIENTS, Side.SERVERS),
    ),
    Scenario(
        "garbage",
        strikes=ALL_STRIKES,
        client_faults=80,
        server_faults=80,
        actions=(Action.GARBAGE,),
    ),
    Scenario(
        "silence",
        strikes=ALL_STRIKES,
        client_faults=50,
        server_faults=50,
        actions=(Action.SILENCE,),
        settings=_IMPATIENT,
    ),
)
SCENARIOS = {each.name: each for each in _ALL}


def scenario(name: str, seed: int, transactions: int) -> Scenario:
    """Return a scenario by its name; `transactions` are for all of its clients together."""
    chosen = SCENARIOS[name]
    crowd = chosen.raw + 2 * chosen.by_driver
    return replace(chosen, seed=seed, transactions=max(1, transactions // crowd))


def plan_of(scenario: Scenario, side: Side) -> Plan:
    """Return what happens to the connections of one side, by bytes and by messages."""
    percent = scenario.client_faults if side is Side.CLIENTS else scenario.server_faults
    if not percent:
        return nothing_happens

    def plan(number: int) -> Fault | None:
        random = Random(f"{scenario.seed} {side.value} {number}")
        if random.random() * 100 >= percent:
            return None
        action, toward = random.choice(scenario.actions), random.choice(list(Toward))
        if action in UNNOTICED and side is Side.CLIENTS:
            toward = Toward.SERVER
        kind, count = random.choice(KINDS[toward]), random.randint(1, FIRST_MESSAGES)
        if action is Action.GARBAGE:
            letters = COPY_LETTERS if side is Side.SERVERS and toward is Toward.SERVER else LETTERS
            return Fault(
                action, toward, kind=kind, count=count, garbage=no_message(random, letters)
            )
        if random.random() < 0.5 or side in scenario.encrypted:
            return Fault(action, toward, byte=random.randrange(FIRST_BYTES))
        offset = random.choice((-1, 0, 1, 4, 5, 6))
        return Fault(action, toward, kind=kind, count=count, offset=offset)

    return plan


def no_message(random: Random, letters: bytes) -> bytes:
    """Return random bytes that begin as no message does: its length is negative.

    A length that may be would have the rest of the stream read as that message's body, by whoever.
    """
    length = 1 << 31 | random.getrandbits(31)
    return bytes([random.choice(letters)]) + length.to_bytes(4, "big") + random.randbytes(59)
