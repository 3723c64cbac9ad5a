"""The project's Markdown, cut into what the tests of this folder look at."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\|(?P<cells>.*)\|$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Page:
    """One Markdown file."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        """The file as a message names it."""
        return self.path.relative_to(ROOT).as_posix()

    @property
    def prose(self) -> str:
        """The text without its code blocks."""
        return _FENCE.sub("", self.text)

    def code_blocks(self, language: str) -> list[str]:
        """Return the blocks between fences that name this language."""
        return [
            match["text"] for match in _FENCE.finditer(self.text) if match["language"] == language
        ]

    def section(self, heading: str) -> str:
        """Return what stands between a second-level heading and the next one."""
        _, _, rest = self.text.partition(f"\n## {heading}\n")
        return rest.partition("\n## ")[0]


def page(name: str) -> Page:
    """Return one page, named from the project's root."""
    path = ROOT / name
    return Page(path, path.read_text(encoding="utf-8"))


def pages() -> list[Page]:
    """Return the README and everything below docs/ and bench/, in the order of their paths."""
    paths = [ROOT / "README.md", *(ROOT / "bench").rglob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return [page(path.relative_to(ROOT).as_posix()) for path in sorted(paths)]


def table_rows(text: str) -> list[list[str]]:
    """Return the cells of all table rows in a text, head and rule left out."""
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", match["cells"])]
        for match in _ROW.finditer(text)
    ]
    rules = [index for index, row in enumerate(rows) if set("".join(row)) <= set(":- ")]
    heads = [index - 1 for index in rules]
    return [row for index, row in enumerate(rows) if index not in (*rules, *heads)]
