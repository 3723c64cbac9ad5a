"""Which prepared statements are refused, and in which words?

Each refusal names the statement and the client in DETAIL and the driver's switch in HINT. A refusal
that PgBouncer answers by closing the client is raised; one after which the client goes on is
returned, to be said by PostgreSQL's own failure of the segment (`renaming`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pgpool_lite.errors import ClientError
from pgpool_lite.session import advice
from pgpool_lite.session.parameters import APPLICATION_NAME
from pgpool_lite.session.statements import ClientStatements
from pgpool_lite.wire import backend

if TYPE_CHECKING:
    from pgpool_lite.session.client import ClientSession

#: What one client may have prepared at a time: names, and bytes of names and texts.
MAX_CLIENT_STATEMENTS: Final = 10_000
MAX_CLIENT_BYTES: Final = 64 * 1_048_576


@dataclass(frozen=True, slots=True)
class StatementRules:
    """How prepared statements are treated in one pool."""

    #: Named statements are refused (`prepared_statements = reject`).
    rejects: bool = False
    #: Statements kept on one server; PgBouncer's max_prepared_statements.
    limit: int = 200
    #: Answer 42P05 and 26000 and go on, as PostgreSQL does; PgBouncer closes the client.
    answers_like_postgres: bool = False
    #: DEALLOCATE in SQL finds what was prepared by the protocol (sql_prepared_statements = track).
    tracks_sql: bool = False
    #: A segment that meets a stale plan is asked again, where it can be (retry_stale_plans).
    retries_stale: bool = False
    #: Refusals have DETAIL and HINT (teaching).
    teaches: bool = True


def of_parse(
    rules: StatementRules, book: ClientStatements, client: ClientSession, name: bytes, size: int
) -> ClientError | None:
    """Return why a named Parse of `size` bytes is refused, None if it is not."""
    shown = _shown(name)
    if rules.rejects:
        return ClientError(
            f'named prepared statement "{shown}" refused',
            sqlstate="0A000",
            detail="The pooler runs with prepared_statements = reject: in transaction pooling the"
            " next transaction may have another server, which does not know the name.",
            hint=advice.hint(shown, _application(client)),
        )
    if name in book.names:
        return _duplicate(rules, client, shown)
    if len(book.names) >= MAX_CLIENT_STATEMENTS or book.size + size > MAX_CLIENT_BYTES:
        return ClientError(
            "too many prepared statements",
            sqlstate="53400",
            detail=f"One client may have {MAX_CLIENT_STATEMENTS} prepared statements and"
            f" {MAX_CLIENT_BYTES >> 20} MiB of their texts at a time.",
            hint="Close statements that are no longer needed.",
        )
    return None


def _duplicate(rules: StatementRules, client: ClientSession, shown: str) -> ClientError:
    detail = f'This client (C-0x{client.id:x}) has prepared "{shown}" before and not closed it.'
    if rules.answers_like_postgres:
        return ClientError(
            f'prepared statement "{shown}" already exists',
            sqlstate="42P05",
            detail=detail,
            hint=advice.hint(shown, _application(client), is_rewritten=not rules.rejects),
        )
    raise ClientError(
        "prepared statement name is already in use",
        remark=f"prepared statement '{shown}' was already prepared",
        detail=detail,
        hint=advice.hint(shown, _application(client), is_rewritten=not rules.rejects),
    )


def of_unknown(rules: StatementRules, client: ClientSession, name: bytes) -> ClientError:
    """Return what to add to the server's error about a name that the client has not prepared."""
    shown = _shown(name)
    error = ClientError(
        "prepared statement did not exist",
        remark=f"prepared statement '{shown}' not found",
        detail=f'This client (C-0x{client.id:x}) has not prepared "{shown}" through the protocol,'
        " or has closed it.",
        hint=advice.hint(shown, _application(client), is_rewritten=not rules.rejects),
    )
    if not rules.answers_like_postgres and not rules.rejects:
        raise error
    return error


def of_unknown_to_servers(name: bytes, explained: ClientError) -> ClientError:
    """Return PostgreSQL's words for an unknown name that must not be tried on a server."""
    return ClientError(
        f'prepared statement "{_shown(name)}" does not exist',
        sqlstate="26000",
        detail=explained.detail,
        hint=explained.hint,
    )


def of_sql(word: str) -> ClientError:
    """Return why PREPARE or EXECUTE in SQL is refused."""
    return ClientError(
        f"SQL-level {word} refused",
        sqlstate="0A000",
        detail="The pooler runs with sql_prepared_statements = track: in transaction pooling the"
        " next transaction may have another server, which does not know the name.",
        hint="Prepare through the protocol, as drivers do when they are asked to prepare. Or set"
        " sql_prepared_statements = pass in the pooler, and keep PREPARE and EXECUTE in one"
        " transaction.",
    )


def of_reserved_name(name: bytes) -> ClientError:
    """Return why a name that servers know another statement by cannot be deallocated."""
    return ClientError(
        f'DEALLOCATE of "{_shown(name)}" refused',
        sqlstate="0A000",
        detail="By names like this one servers know statements that the pooler shares between"
        " clients.",
        hint=advice.CLOSE_HINT,
    )


def of_unnamed_too_large() -> ClientError:
    """Return why an unnamed statement cannot follow its client to another server."""
    return ClientError(
        "unnamed prepared statement too large to follow its client",
        sqlstate="54000",
        hint="Send Parse and Bind in one batch, or keep them in one transaction.",
    )


def explain_passed(message: bytes, server_id: int, server_pid: int) -> bytes | None:
    """Return a server's 42P05 or 26000 with what is behind it, None for any other error.

    For names that pass as they are: in transaction pooling they belong to the server connection.
    """
    if b"\0C42P05\0" not in message and b"\0C26000\0" not in message:
        return None
    found = re.search(rb'\0M[^\0"]*"([^\0"]*)"', message)
    shown = _shown(found[1]) if found else ""
    return backend.explained(
        message,
        ClientError(
            "",
            detail=f"Names pass as they are (max_prepared_statements = 0), and server connection"
            f" S-0x{server_id:x} (PostgreSQL pid {server_pid}) is shared: what one client prepares"
            " there others find, and another server connection does not have it.",
            hint=advice.hint(shown),
        ),
    )


def explain_deallocate(message: bytes, book: ClientStatements) -> bytes | None:
    """Return a server's 26000 about a name that the client has prepared by protocol, explained.

    It has used that name in SQL, most likely in DEALLOCATE. None for any other error.
    """
    found = re.search(rb'\0M[^\0"]*"([^\0"]*)"', message) if b"\0C26000\0" in message else None
    if found is None or found[1] not in book.names:
        return None
    detail = f'"{_shown(found[1])}" was prepared through the protocol, and named in SQL now.'
    return backend.explained(message, ClientError("", detail=detail, hint=advice.DEALLOCATE_HINT))


def _application(client: ClientSession) -> str:
    return client.parameters[APPLICATION_NAME] or ""


def _shown(name: bytes) -> str:
    return name[:64].decode("utf-8", "replace")
