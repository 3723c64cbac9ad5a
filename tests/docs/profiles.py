"""Writes docs/profiles.md out of the profiles: `python -m tests.docs.profiles`."""

from __future__ import annotations

from collections.abc import Iterator

from pgpool_lite.config.profiles import NAMES, Fact, Profile, load_profile
from tests.docs.pages import ROOT

TARGET = ROOT / "docs" / "profiles.md"

_HEAD = """\
# Profiles

```sh
pgpool-lite dev --profile supavisor
```

`profile = NAME` in [pgbouncer] (or `--set profile=NAME`, or `Pooler(url, profile=NAME)`) has the
pooler stand in for another one: its limits, its timeouts, what it does with prepared statements,
and the sentences and SQLSTATEs of its errors. A profile is nothing but other defaults for settings
and a table of sentences: whatever is set explicitly goes before it, and DETAIL and HINT [say
what is behind](errors.md) all the same. `dev --profile` also takes over the ports, and how a
user's name is written. The log keeps PgBouncer's sentences.

**Profiles are built from documentation and source code; only PgBouncer 1.26.1 is compared with the
program itself.** Each fact below has its source and the date of that source. What is known and
cannot be had here, and what is not known, is listed too: whoever needs it to be certain asks the
service itself.

This page is generated from `pgpool_lite/profiles/*.toml` by `python -m tests.docs.profiles`.
"""


def render() -> str:
    """Return the whole page."""
    lines = [_HEAD.rstrip()]
    for name in NAMES:
        lines += _profile(load_profile(name))
    return "\n".join(lines) + "\n"


def _profile(profile: Profile) -> Iterator[str]:
    yield f"\n## {profile.name}\n"
    yield f"{profile.summary} Checked with: {profile.checked}."
    if profile.settings:
        yield "\n| setting | default | why | source |\n|---|---|---|---|"
        for each in profile.settings:
            yield f"| `{each.key}` | `{each.value}` | {each.why.text} | {_source(each.why)} |"
    if profile.errors:
        yield "\n| in place of | a client reads | SQLSTATE | source |\n|---|---|---|---|"
        for error in profile.errors:
            source = _source(error.source)
            yield f"| `{error.ours}` | `{error.message}` | {error.sqlstate} | {source} |"
    if profile.beyond:
        yield "\nKnown, and not so here:\n"
        yield from (f"- {fact.text} ({_source(fact)})" for fact in profile.beyond)
    if profile.unknown:
        yield "\nNot known:\n"
        yield from (f"- {fact.text}" for fact in profile.unknown)


def _source(fact: Fact) -> str:
    return f"{fact.source}, {fact.date}"


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
