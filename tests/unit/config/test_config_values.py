"""Every setting against PgBouncer 1.26.1: which values it takes, and how it shows them.

The three tables are what PgBouncer answered when each text was put behind each key of a file, asked
by RELOAD and SHOW CONFIG; None is a RELOAD that failed. All its settings fall into one of them, or
are a choice of words. Where we answer otherwise on purpose, that stands beside it.
"""

from __future__ import annotations

import pytest

from pgpool_lite.config import Settings, config_rows, parse_settings
from pgpool_lite.config.ini import Located
from pgpool_lite.config.table import table_of
from pgpool_lite.config.values import FLAG
from pgpool_lite.errors import ConfigError
from tests.unit.config.test_config_settings import OUR_OWN

#: Text in the file, and what SHOW CONFIG shows then.
Shown = dict[str, str | None]

WHOLE_NUMBER: Shown = {
    "": None,
    "0": "0",
    "1": "1",
    "2": "2",
    "-1": "-1",
    "+5": "5",
    "1.5": None,
    "5.": None,
    "1e3": None,
    "0x10": "16",
    "010": "8",
    "09": None,
    "5x": None,
    "abc": None,
    "yes": None,
    "2147483647": "2147483647",
    "2147483648": "-2147483648",
    "99999999999999999999": "-1",
}
# PgBouncer lets numbers wrap around, and a negative limit means something else for each setting.
OUR_WHOLE_NUMBER: Shown = {
    **WHOLE_NUMBER,
    "-1": None,
    "2147483648": None,
    "99999999999999999999": None,
}

SECONDS: Shown = {
    "": None,
    "0": "0",
    "1": "1",
    "2": "2",
    "-1": None,
    "+5": "5",
    "1.5": "1.5",
    ".5": "0.5",
    "5.": "5",
    "1e3": "1000",
    "0x10": "16",
    "010": "10",
    "09": "9",
    "5x": None,
    "abc": None,
    "2147483647": "2.14748e+09",
    "2147483648": "2.14748e+09",
    "99999999999999999999": "0",
    "-1.5": None,
    "inf": "0",
    "nan": "9.22337e+12",
}
# What C's strtod makes of these is no timeout that anybody meant.
OUR_SECONDS: Shown = {
    **SECONDS,
    "0x10": None,
    "2147483648": None,
    "99999999999999999999": None,
    "inf": None,
    "nan": None,
}

TEXT: Shown = {text: text for text in ("0", "1.5", "-1", "abc", "a,b", "a b;c", "it's", "$1 = '")}

# Where a whole number has bounds or a meaning of its own.
SPECIAL: dict[str, Shown] = {
    "listen_port": {"2147483647": None},
    "peer_id": {"2147483647": None},
    "scram_iterations": {"0": None},
    "unix_socket_mode": {"2147483647": None},
    "max_packet_size": {"2147483648": "2147483648"},  # PgBouncer's one unsigned number
}
# PgBouncer reads these as whole numbers, and shows them so.
WHOLE_SECONDS = ("query_wait_notify", "stats_period")
CHOICES = {
    "auth_type": ("trust", "Trust"),
    "client_tls_sslmode": ("prefer", "PREFER"),
    "pool_mode": ("transaction", "Transaction"),
    "server_tls_sslmode": ("disable", "Disable"),
}
# Names are shown in one way, however they were written; PgBouncer shows the line.
NAMES = (
    *("admin_users", "ignore_startup_parameters", "listen_addr", "stats_users"),
    "track_extra_parameters",
)

TABLE = {key: entry for key, entry in table_of(Settings).items() if key not in OUR_OWN}
WHOLE = sorted(key for key, entry in TABLE.items() if type(entry.default) in (int, bool))
TIMES = sorted(key for key, entry in TABLE.items() if isinstance(entry.default, float))
TEXTS = sorted(TABLE.keys() - {*WHOLE, *TIMES, *CHOICES, *NAMES})


def shown(key: str, text: str) -> str | None:
    """Return how SHOW CONFIG shows a setting that stands so in a file; None if it is refused."""
    try:
        settings, _ = parse_settings({key: Located(key, text)})
    except ConfigError:
        return None
    return next(row.value for row in config_rows(settings) if row.key == key)


def expected(key: str) -> Shown:
    """Return how a whole number is shown."""
    entries = {**OUR_WHOLE_NUMBER, **SPECIAL.get(key, {})}
    if TABLE[key].kind is not FLAG:
        return entries
    flags = {text: "0" if value == "0" else "1" for text, value in WHOLE_NUMBER.items() if value}
    return {**dict.fromkeys(entries), **flags}


@pytest.mark.parametrize("key", WHOLE)
def test_a_whole_number(key: str) -> None:
    assert {text: shown(key, text) for text in WHOLE_NUMBER} == expected(key)


@pytest.mark.parametrize("key", sorted(set(TIMES) - set(WHOLE_SECONDS)))
def test_a_time(key: str) -> None:
    assert {text: shown(key, text) for text in SECONDS} == OUR_SECONDS


@pytest.mark.parametrize("key", WHOLE_SECONDS)
def test_a_time_that_pgbouncer_counts_in_whole_seconds(key: str) -> None:
    both = {"": None, "0": "0", "2": "2", "+5": "5", "5x": None, "abc": None}

    assert {text: shown(key, text) for text in both} == both
    assert shown(key, "1.5") == "1.5", "PgBouncer refuses a fraction"


@pytest.mark.parametrize("key", TEXTS)
def test_a_text_is_taken_as_it_is(key: str) -> None:
    texts = {text: "***" if TABLE[key].secret else text for text in TEXT}

    assert {text: shown(key, text) for text in TEXT} == texts


@pytest.mark.parametrize("key", NAMES)
def test_names_may_be_parted_by_commas_and_blanks(key: str) -> None:
    assert {shown(key, text) for text in ("a,b", "a, b", "a b", " a ,b,")} == {"a, b"}


@pytest.mark.parametrize("key", sorted(CHOICES))
def test_a_choice_is_written_in_any_case(key: str) -> None:
    word, written = CHOICES[key]

    assert (shown(key, written), shown(key, "abc"), shown(key, "1")) == (word, None, None)


def test_every_setting_is_in_one_of_the_tables() -> None:
    assert len(WHOLE) + len(TIMES) + len(TEXTS) + len(CHOICES) + len(NAMES) == len(TABLE)


@pytest.mark.parametrize("text", ["on", "ON", "1", "2"])
def test_a_switch_of_ours_is_on(text: str) -> None:
    assert shown("teaching", text) == "on"


def test_a_switch_of_ours_is_off_or_refused() -> None:
    assert [shown("teaching", text) for text in ("off", "Off", "0", "", "yes")] == [
        *("off", "off", "off", None, None)
    ]
