"""`pgpool-lite doctor URL`: what a client meets on its way to a transaction, and what to change.

Works with any pooler, and with PostgreSQL itself. Exit code 0 where all is well, 1 where something
is wrong. What is printed holds no secret: no password, no values of statements.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Final

from pgpool_lite.config import parse_url
from pgpool_lite.operate.doctor_diagnosis import Remark, Verdict, diagnose, found_in
from pgpool_lite.operate.doctor_drivers import Advice, advise
from pgpool_lite.operate.doctor_evidence import Evidence
from pgpool_lite.operate.doctor_examination import examine

_WIDTH: Final = 100
_INDENT: Final = " " * 31


def run_doctor(url: str, direct: str | None, message: str, *, as_json: bool) -> int:
    """Print what was found; return the exit code. Raises ConfigError for what is not a URL."""
    target = parse_url(url)[0]
    past = parse_url(direct)[0] if direct else None
    evidence = examine(target, past, message)
    remarks = diagnose(evidence)
    advice = advise(found_in(evidence)) if evidence.pooled.is_well else ()
    lines = _as_json(evidence, remarks, advice) if as_json else _as_text(remarks, advice)
    print("\n".join(lines))
    return int(any(remark.verdict is Verdict.PROBLEM for remark in remarks))


def _as_json(
    evidence: Evidence, remarks: Sequence[Remark], advice: Sequence[Advice]
) -> Iterator[str]:
    yield json.dumps(
        {
            "remarks": [asdict(remark) for remark in remarks],
            "drivers": [asdict(each) for each in advice],
            "evidence": asdict(evidence),
        },
        indent=2,
    )


def _as_text(remarks: Sequence[Remark], advice: Sequence[Advice]) -> Iterator[str]:
    for remark in remarks:
        head = f"{remark.verdict:<8} {remark.about:<21} "
        yield _wrapped(head, remark.says)
        if remark.change:
            yield _wrapped(_INDENT, f"-> {remark.change}")
    if advice:
        yield "\nWhat fits, by driver:\n"
    for each in advice:
        yield from (
            f"  {each.driver if first else '':<12} {line}"
            for first, line in ((index == 0, line) for index, line in enumerate(each.lines))
        )
        if each.remark:
            yield _wrapped(" " * 15, f"({each.remark})")


def _wrapped(head: str, text: str) -> str:
    lines = textwrap.wrap(
        text,
        _WIDTH - len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"\n{' ' * len(head)}".join([f"{head}{lines[0]}", *lines[1:]])
