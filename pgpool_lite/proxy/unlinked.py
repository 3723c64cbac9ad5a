"""What is never asked of a client that is not linked to a server, or is no matter.

A client in LOGIN has a socket, but no query under way: those who pair clients with servers have
nothing to say to it but that it may go on, or that it may not.
"""

from __future__ import annotations

from pgpool_lite.session.server import ServerSession


class Unlinked:
    """The part of a `ClientSide` that only linked clients need."""

    def send_held(self, server: ServerSession) -> None:
        """Never called: nothing is held back for the sake of parameters."""
        raise AssertionError("a client in LOGIN is not linked")

    def look_again(self) -> None:
        """Never called: nothing waits for the rewriter."""
        raise AssertionError("a client in LOGIN is not linked")

    def follow_rules(self) -> bool:
        """Never called: prepared statements come after the login."""
        raise AssertionError("a client in LOGIN has no rules yet")

    def pause_reading(self) -> None:
        """Never called: no server can be too slow for it."""
        raise AssertionError("a client in LOGIN is not linked")

    def resume_reading(self) -> None:
        """Never called: it was never stopped."""
        raise AssertionError("a client in LOGIN is not linked")

    def pause_writing(self) -> None:
        """Go on: what a login says is short, and who does not read it is closed in time."""

    def resume_writing(self) -> None:
        """Go on, as ever."""
