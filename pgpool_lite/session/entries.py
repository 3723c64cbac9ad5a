"""What can stand in the list of what a client is owed? The one alphabet of `ClientSession.owed`.

Each entry is one byte. A frontend message that was sent as it came stands under its own type. What
the rewriter adds, and what it must be able to undo, has a letter that is no frontend type:

      sent, and its answer swallowed   OWN_PARSE, OWN_BIND, OWN_CLOSE
      not sent, and its answer made up FAKE_PARSE, FAKE_CLOSE
      sent, with something to undo     NAMED_PARSE, DEALLOCATING, EXPLAINED, REFUSED
      no message at all                MARK, only something to undo
      a whole segment with its Sync    SEGMENT
      CopyDone or CopyFail             COPY_END

Entries are taken off from the left, as answers come. A segment, the messages up to a Sync, that
came in one read stands there as SEGMENT if nothing of it needs a list; its ReadyForQuery answers
for all. Else its messages stand there one by one, with the Sync behind them. COPY_END decides which
Syncs a COPY has swallowed (`copying`).
"""

from __future__ import annotations

from typing import Final

from pgpool_lite.wire import backend, codes

NAMED_PARSE: Final = ord("n")  # Parse of a named statement that the server did not have
OWN_PARSE: Final = ord("p")  # put in front of a Bind or Describe
OWN_CLOSE: Final = ord("k")  # makes room on the server
OWN_BIND: Final = ord("b")  # with what is put in place of a DEALLOCATE by simple query
DEALLOCATING: Final = ord("x")  # Execute of a DEALLOCATE that is tracked
FAKE_PARSE: Final = ord("1")
FAKE_CLOSE: Final = ord("3")
REFUSED: Final = ord("!")  # a Bind that is sure to fail, sent in place of what we refuse
EXPLAINED: Final = ord("?")  # a Bind or Describe that will probably fail; we can say why
MARK: Final = ord("m")
SEGMENT: Final = ord("s")
COPY_END: Final = codes.COPY_DONE

_IN_SEGMENT: Final = (
    codes.PARSE,
    codes.BIND,
    codes.DESCRIBE,
    codes.EXECUTE,
    codes.CLOSE,
    NAMED_PARSE,
    OWN_PARSE,
    OWN_CLOSE,
    OWN_BIND,
    DEALLOCATING,
    FAKE_PARSE,
    FAKE_CLOSE,
    REFUSED,
    EXPLAINED,
    MARK,
)


def _table(*entries: int) -> bytes:
    return bytes(entry in entries for entry in range(256))


#: Entries of a segment that is listed message by message; an error clears them up to the Sync.
IS_IN_SEGMENT: Final = _table(*_IN_SEGMENT)
#: Entries that a ReadyForQuery takes off.
IS_REQUEST: Final = _table(codes.QUERY, codes.SYNC, codes.FUNCTION_CALL, SEGMENT)
#: Entries that the server is not asked for: their answers are made up, or there is none.
IS_UNSENT: Final = _table(FAKE_PARSE, FAKE_CLOSE, MARK)
#: Entries to which the server says nothing. They never stay at the head of the list.
IS_SILENT: Final = _table(FAKE_PARSE, FAKE_CLOSE, MARK, COPY_END)
#: Entries that the server answers with something else before it says ReadyForQuery.
HAS_ANSWER: Final = _table(
    codes.QUERY,
    codes.FUNCTION_CALL,
    SEGMENT,
    *(entry for entry in _IN_SEGMENT if not IS_UNSENT[entry]),
)
IS_SWALLOWED: Final = _table(OWN_PARSE, OWN_BIND, OWN_CLOSE)
#: Entries with an item in the rewriter's `undo`, in the same order.
HAS_UNDO: Final = _table(
    codes.PARSE, NAMED_PARSE, OWN_PARSE, OWN_CLOSE, DEALLOCATING, FAKE_PARSE, FAKE_CLOSE, MARK
)
#: Entries with an item in the rewriter's `errors`, in the same order.
HAS_ERROR: Final = _table(REFUSED, EXPLAINED)

#: What is said to the client in place of the server.
FAKE_ANSWERS: Final = {
    FAKE_PARSE: backend.PARSE_COMPLETE,
    FAKE_CLOSE: backend.CLOSE_COMPLETE,
    MARK: b"",
    COPY_END: b"",
}

# Which entries a backend message can be the last answer to. An entry is one of a kind, so a
# message that fits the oldest entry answers it; one that does not belongs to a Query, whose only
# last answer is ReadyForQuery.
_ANSWERED_BY: Final = {
    codes.PARSE_COMPLETE: (codes.PARSE, NAMED_PARSE, OWN_PARSE, EXPLAINED),
    codes.BIND_COMPLETE: (codes.BIND, OWN_BIND, EXPLAINED),
    codes.CLOSE_COMPLETE: (codes.CLOSE, OWN_CLOSE),
    codes.ROW_DESCRIPTION: (codes.DESCRIBE, EXPLAINED),
    codes.NO_DATA: (codes.DESCRIBE, EXPLAINED),
    codes.COMMAND_COMPLETE: (codes.EXECUTE, DEALLOCATING),
    codes.EMPTY_QUERY_RESPONSE: (codes.EXECUTE,),
    codes.PORTAL_SUSPENDED: (codes.EXECUTE,),
}
#: Backend messages that may be the last answer to an entry of a segment.
ANSWERS: Final = tuple(_ANSWERED_BY)
ANSWERED_BY: Final = tuple(bytes(_ANSWERED_BY.get(message_type, ())) for message_type in range(256))
