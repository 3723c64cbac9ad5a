"""Which of a client's messages does a COPY swallow? What COPY FROM STDIN takes off `owed`.

What PostgreSQL does (its documentation, "COPY Operations"; `tests/integration/test_model.py` holds
our model of it against the real one):

  - From CopyInResponse on it reads CopyData, and *ignores Flush and Sync*, up to a CopyDone, a
    CopyFail or an error. Any other message is an error that costs the connection.
  - After an error a simple query is over: ReadyForQuery follows. A segment is not: everything up
    to the next Sync is discarded, and that Sync is answered.
  - Copy messages that come when no COPY is open are ignored, wherever they stand.

In `owed`, CopyDone and CopyFail therefore stand in their place as COPY_END, in a segment that is
listed message by message. At the head of the list a COPY_END is nothing: what stood before it has
been answered, so no COPY is open.

When a COPY ends well, the server has read up to its COPY_END: the Syncs before that are gone. When
it fails, they are in doubt, for the error may have struck before the server came to them. Those
that it had not read will be answered, at once and by ReadyForQuery alone. We go on as if it had
read them all, which is what drivers count on too, and recognise one that is answered after all:
a ReadyForQuery that comes where a request's answer must begin, and every entry but a plain Sync
has such an answer, is that of a Sync in doubt. Where nothing more is owed, the pair parts and the
server is closed, so what it may still say reaches nobody.

One case cannot be told apart: a segment's COPY fails with a Sync in doubt, and before the Sync that
ends the segment for certain stands something that PostgreSQL has either discarded or run. No driver
sends that. Both sides are closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgpool_lite.errors import ClientProtocolError, ServerError, ServerProtocolError
from pgpool_lite.session.entries import COPY_END, SEGMENT
from pgpool_lite.session.interest import unexpected
from pgpool_lite.wire import codes

if TYPE_CHECKING:
    from pgpool_lite.session.client import ClientSession

#: What a server is doing, as `ServerSession.copying` has it; an index of `interest.TABLES`.
NOT: Final = 0
OPEN: Final = 1  # it sent CopyInResponse, and neither end nor error since
IN_DOUBT: Final = 2  # it may answer a Sync that we took off the list
BOTH: Final = 3  # it sent CopyBothResponse: replication streams in both directions

#: What the server does with an open segment's messages, as `ClientSession.skipping` has it.
RUNS: Final = 0
DISCARDS: Final = 1  # the segment has failed: everything up to the next Sync
MAY_DISCARD: Final = 2  # the same, unless it answers a Sync that is in doubt

_OPENS: Final = (codes.QUERY, codes.EXECUTE, SEGMENT)
_SENTENCE: Final = "COPY failed with more requests in flight behind it"
_DETAIL: Final = "PostgreSQL may or may not have run what was sent behind the Sync before CopyDone."
_HINT: Final = "Behind COPY, send a Sync straight after CopyDone or CopyFail."


def begin(client: ClientSession) -> None:
    """Take note of CopyInResponse; raise ServerProtocolError where no COPY can have begun."""
    if not client.owed or client.owed[0] not in _OPENS:
        raise unexpected(codes.COPY_IN_RESPONSE)


def end(client: ClientSession) -> None:
    """Take off what the server has read during a COPY that it completed.

    Raises ServerProtocolError if its client had not ended it.
    """
    owed = client.owed
    first, after = _syncs(owed)
    if owed[after : after + 1] != bytes([COPY_END]):
        raise ServerProtocolError("server completed a COPY that its client had not ended")
    is_simple = owed[0] == codes.QUERY
    del owed[first : after + 1]
    if not (is_simple or owed[first:].strip(bytes([COPY_END]))):
        client.unsynced = True  # the segment's own Sync is among those that were ignored


def end_both(client: ClientSession) -> None:
    """Take off the CopyDone that ended a stream in both directions.

    A server that shuts down completes the stream although its client has not ended it.
    """
    owed = client.owed
    if owed[1:2] == bytes([COPY_END]):
        del owed[1]


def fail(client: ClientSession) -> bool:
    """Take off what the server has read, or discards, because of an error in an open COPY.

    Return True if Syncs are in doubt. Raise ServerError where it can no longer be told what
    is answered.
    """
    owed = client.owed
    first, after = _syncs(owed)
    is_simple = owed[0] == codes.QUERY
    if first == after:
        if not is_simple:
            client.fail_segment()
        return False
    if is_simple:
        del owed[first:after]
        return True
    behind = owed[after:].lstrip(bytes([COPY_END]))
    if behind and behind[0] != codes.SYNC:
        raise ServerError(_SENTENCE, detail=_DETAIL, hint=_HINT)
    owed[:] = behind
    if not behind:
        client.unsynced = True
        client.skipping = MAY_DISCARD
    return True


def is_in_doubt(state: int) -> bool:
    """Say whether a ReadyForQuery may be that of a Sync in doubt.

    Raise ServerProtocolError in an open COPY: CommandComplete or an error ends that first.
    """
    if state == OPEN:
        raise ServerProtocolError("server sent ReadyForQuery in the middle of a COPY")
    return state == IN_DOUBT


def take_doubtful_sync(client: ClientSession) -> None:
    """Note that a Sync is answered that was in doubt: the server had not read it in its COPY."""
    if client.skipping == MAY_DISCARD:
        client.unsynced = False
        client.skipping = RUNS


def check_skipped(client: ClientSession) -> None:
    """Raise ClientProtocolError if it cannot be told what becomes of a message without Sync."""
    if client.skipping == MAY_DISCARD:
        raise ClientProtocolError(_SENTENCE, detail=_DETAIL, hint=_HINT)


def _syncs(owed: bytearray) -> tuple[int, int]:
    """Return where the Syncs begin and end that the server may read during the COPY at the head.

    The one that ends the COPY's own segment is among them, if all of that stands there as one.
    """
    after = 1
    while owed[after : after + 1] == bytes([codes.SYNC]):
        after += 1
    return (0 if owed[0] == SEGMENT else 1), after
