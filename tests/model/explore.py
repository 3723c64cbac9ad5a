"""Every state that a few events can lead to: breadth first, each state once.

A state cannot be copied, so it is reached again by its shortest path of events for each event that
is tried in it.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from tests.model.small import Event, Setting, Small


@dataclass
class Explored:
    """How much there was."""

    states: int = 0
    steps: int = 0
    depth: int = 0


class Broken(AssertionError):
    """A promise does not hold; says on which way."""


def explore(setting: Setting, depth: int, clients: int = 3) -> Explored:
    """Look at every state within `depth` events, and let each end well; raises Broken."""
    seen: set[Hashable] = {Small(setting, clients).key()}
    paths: list[tuple[Event, ...]] = [()]
    explored = Explored(states=1)
    for explored.depth in range(1, depth + 1):
        longer: list[tuple[Event, ...]] = []
        for path in paths:
            for event in _reach(setting, path, clients).events():
                explored.steps += 1
                way = (*path, event)
                small = _reach(setting, way, clients)
                key = small.key()
                if key not in seen:
                    seen.add(key)
                    longer.append(way)
                    _finish(small, way)
        paths = longer
    explored.states = len(seen)
    return explored


def _reach(setting: Setting, path: tuple[Event, ...], clients: int) -> Small:
    """Return the state at the end of a path; the last step is looked at."""
    small = Small(setting, clients)
    for event in path[:-1]:
        small.do(event)
    try:
        for event in path[-1:]:
            small.do(event)
            small.check()
    except Exception as error:
        raise Broken(f"{error!r} after {path}") from error
    return small


def _finish(small: Small, path: tuple[Event, ...]) -> None:
    try:
        small.finish()
    except Exception as error:
        raise Broken(f"{error!r} at the good end after {path}") from error
