"""What `pgpool-lite lint` found, as text, JSON, or SARIF 2.1.0 (OASIS standard) for code hosts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from pgpool_lite.diagnose.leaks import Leak
from pgpool_lite.diagnose.rules import RULES, Rule
from pgpool_lite.version import __version__


@dataclass(frozen=True, slots=True)
class Finding:
    """One statement in a file that breaks a rule."""

    file: str
    line: int
    column: int
    leak: Leak

    @property
    def subject(self) -> str:
        """What it is about, as far as that is known: `search_path = tenant_42`."""
        value = f" = {self.leak.value}" if self.leak.value else ""
        return f"{self.leak.name}{value}"

    @property
    def message(self) -> str:
        """The rule's story, with the subject in front."""
        subject = f"{self.subject}: " if self.subject else ""
        return f"{subject}{self.leak.rule.story}"


def as_text(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield two lines per finding: where and what, and what to do."""
    for each in findings:
        rule = each.leak.rule
        place = f"{each.file}:{each.line}:{each.column}"
        yield f"{place}: {rule.severity.value} {rule.id} {rule.name}: {each.message}"
        yield f"    {rule.advice} ({rule.page})"


def as_json(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield one array with an object per finding."""
    found = [
        {
            "file": each.file,
            "line": each.line,
            "column": each.column,
            "rule": each.leak.rule.id,
            "rule_name": each.leak.rule.name,
            "severity": each.leak.rule.severity.value,
            "name": each.leak.name,
            "value": each.leak.value,
            "story": each.leak.rule.story,
            "advice": each.leak.rule.advice,
            "page": each.leak.rule.page,
        }
        for each in findings
    ]
    yield json.dumps(found, indent=2)


SARIF_SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def as_sarif(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield one SARIF log with one run, in which all rules are described."""
    run = {
        "tool": {
            "driver": {
                "name": "pgpool-lite",
                "version": __version__,
                "rules": [_described(each) for each in RULES],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [_result(each) for each in findings],
    }
    yield json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _described(rule: Rule) -> dict[str, object]:
    return {
        "id": rule.id,
        "name": "".join(word.capitalize() for word in rule.name.split("-")),
        "shortDescription": {"text": rule.story},
        "help": {"text": f"{rule.advice} See {rule.page}."},
        "defaultConfiguration": {"level": rule.severity.value},
    }


def _result(finding: Finding) -> dict[str, object]:
    rule = finding.leak.rule
    return {
        "ruleId": rule.id,
        "ruleIndex": RULES.index(rule),
        "level": rule.severity.value,
        "message": {"text": f"{finding.message} {rule.advice}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(finding.file)},
                    "region": {"startLine": finding.line, "startColumn": finding.column},
                }
            }
        ],
    }


def _uri(file: str) -> str:
    """Return a relative reference, or a file URI where the path is absolute."""
    path = PurePath(file)
    if path.is_absolute():
        return path.as_uri()
    # Made absolute for a moment, since only such paths can be quoted.
    return (PurePath("/") / path).as_uri().removeprefix("file:///")


REPORTS: Final[dict[str, Callable[[Sequence[Finding]], Iterator[str]]]] = {
    "text": as_text,
    "json": as_json,
    "sarif": as_sarif,
}
