"""Which pooler is stood in for? A profile: defaults for settings, and sentences of its own.

Each profile is a file of `pgpool_lite/profiles/`, in TOML: data, with a source and a date for every
fact, and with what is not known or cannot be done here said as well. `assign` takes its settings as
defaults, which whatever is set explicitly goes before; `pool/teaching.py` takes its sentences when
an error is sent. Nothing else knows that there are profiles. docs/profiles.md is made of them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Final

from pgpool_lite.errors import PROTOCOL_VIOLATION, ConfigError

FOLDER: Final = Path(__file__).parents[1] / "profiles"
DEFAULT: Final = "pgbouncer-1.26"
NAMES: Final = (
    DEFAULT,
    *("pgbouncer-1.20", "pgbouncer-1.21", "supavisor", "neon", "rds-proxy", "transparent"),
)


@dataclass(frozen=True, slots=True)
class Fact:
    """Something about a pooler, and from where it is known."""

    text: str
    source: str = ""
    date: str = ""


@dataclass(frozen=True, slots=True)
class ProfileSetting:
    """A setting that has another default in this profile."""

    key: str
    value: str
    why: Fact


@dataclass(frozen=True)
class ProfileError:
    """What a client reads there in place of a sentence of ours; `...` stands for what differs."""

    ours: str
    message: str
    sqlstate: str
    source: Fact

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches our sentence; what differs in it is its only group."""
        return re.compile(re.escape(self.ours).replace(r"\.\.\.", "(.*)"), re.DOTALL)

    def replaced(self, sentence: str, values: Mapping[str, str]) -> str | None:
        """Return what is said there in place of our `sentence`, None where it is another one.

        `values` stand for their names in braces, and {...} for what differs in ours.
        """
        match = self.pattern.fullmatch(sentence)
        if match is None:
            return None
        known = {**values, "...": match[1] if match.groups() else ""}
        return re.sub(r"\{([^{}]*)\}", lambda found: known.get(found[1], ""), self.message)


@dataclass(frozen=True, slots=True)
class Profile:
    """One pooler, as far as it can be stood in for."""

    name: str
    summary: str
    #: What the facts have been checked with: "documentation", tests, or a version that was run.
    checked: str
    settings: tuple[ProfileSetting, ...] = ()
    errors: tuple[ProfileError, ...] = ()
    #: What is known of it and cannot be had here, and what is not known.
    beyond: tuple[Fact, ...] = ()
    unknown: tuple[Fact, ...] = ()
    #: The ports of `dev`, None for its own; and how a user's name is written there.
    port: int | None = None
    session_port: int | None = None
    user: str = "{user}"

    def said(self, sentence: str, sqlstate: str, values: Mapping[str, str]) -> tuple[str, str]:
        """Return sentence and SQLSTATE as this pooler has them."""
        for each in self.errors:
            replaced = each.replaced(sentence, values)
            if replaced is not None:
                return replaced, each.sqlstate
        return sentence, sqlstate


@cache
def load_profile(name: str) -> Profile:
    """Return the profile of that name; raises ConfigError where there is none, or it is wrong."""
    if name not in NAMES:
        raise ConfigError(f"expected one of {', '.join(NAMES)}, not {name!r}", key="profile")
    path = FOLDER / f"{name}.toml"
    try:
        return read_profile(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"not a profile: {error!r}", file=path) from None


def read_profile(text: str) -> Profile:
    """Return the profile that a file's text describes.

    Raises ValueError, KeyError or TypeError where it is none: a key that is missing or unknown, a
    fact without a source that the file names.
    """
    data = tomllib.loads(text)
    sources = {
        key: (str(each["text"]), str(each["date"])) for key, each in data.pop("sources").items()
    }

    def fact(table: Mapping[str, str], key: str) -> Fact:
        text, date = sources[table["source"]]
        return Fact(table.get(key, ""), text, date)

    settings = tuple(
        ProfileSetting(key, _only(each, "value", "why", "source")["value"], fact(each, "why"))
        for key, each in data.pop("settings", {}).items()
    )
    errors = tuple(
        ProfileError(
            _only(each, "ours", "message", "sqlstate", "source")["ours"],
            each["message"],
            each.get("sqlstate", PROTOCOL_VIOLATION),
            fact(each, ""),
        )
        for each in data.pop("errors", [])
    )
    beyond = tuple(fact(_only(each, "fact", "source"), "fact") for each in data.pop("beyond", []))
    unknown = tuple(Fact(_only(each, "fact")["fact"]) for each in data.pop("unknown", []))
    dev = _only(data.pop("dev", {}), "port", "session_port", "user")
    head = _only(data, "name", "summary", "checked")
    return Profile(
        name=head["name"],
        summary=head["summary"],
        checked=head["checked"],
        settings=settings,
        errors=errors,
        beyond=beyond,
        unknown=unknown,
        port=int(dev["port"]) if "port" in dev else None,
        session_port=int(dev["session_port"]) if "session_port" in dev else None,
        user=dev.get("user", "{user}"),
    )


def default_values(name: str) -> dict[str, str]:
    """Return the settings that a profile has other defaults for, as they stand in a file."""
    return {each.key: each.value for each in load_profile(name).settings}


def _only(table: dict[str, str], *keys: str) -> dict[str, str]:
    """Return the table; raises ValueError for a key that is none of these."""
    surplus: Iterable[str] = table.keys() - set(keys)
    if surplus:
        raise ValueError(f"unknown keys: {', '.join(sorted(surplus))}")
    return table
