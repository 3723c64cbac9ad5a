"""Does the code use the words of docs/glossary.md, and none of those that it rules out?"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from pgpool_lite.config import Settings
from pgpool_lite.config.table import table_of
from tests.architecture.source import Module, modules
from tests.docs.pages import page, table_rows

GLOSSARY = page("docs/glossary.md")

# Where a word that is ruled out is the right one after all: the word, the part of the package, why.
EXCEPTIONS = {
    ("cluster", "dev"): "PostgreSQL's word for one server's data",
    ("free", "dev"): "a port that nobody listens on",
    ("packet", "wire"): "PostgreSQL's word for what has no type byte: start-up packets",
    ("packet", "session"): "the same",
    ("queued", "proxy"): "PgBouncer's words in a notice that clients may look for",
    ("pending", "console"): "a command that is not done yet, where the glossary speaks of clients",
    ("msg", "proxy"): "the standard library's name of the argument",
}

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def test_no_name_is_made_of_a_word_that_the_glossary_rules_out() -> None:
    found = [
        f"{module.place}: {name}"
        for module in modules("pgpool_lite")
        for name in sorted(set(_names_made(module)) - table_of(Settings).keys())
        for word in _words(name) & _ruled_out()
        if (word, module.name.split(".")[1]) not in EXCEPTIONS
    ]

    assert found == []


def test_the_glossary_rules_words_out() -> None:
    assert {"upstream", "handshake", "packet"} <= _ruled_out()


def _ruled_out() -> set[str]:
    """Return the words of the column *never say*."""
    return {word for row in table_rows(GLOSSARY.text) for word in re.findall(r"`(\w+)`", row[2])}


def _words(name: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(name)}


def _names_made(module: Module) -> Iterator[str]:
    """Return every name that a module gives to something, none that it only uses."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
