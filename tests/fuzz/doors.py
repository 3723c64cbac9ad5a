"""Where do strangers' bytes come in? One function per door, each fed with one input.

A door returns, whatever it is fed, or raises AssertionError: what a stranger may be told no with is
caught here, by its type, so anything else that comes out is a finding.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from pgpool_lite.config import DatabaseSettings
from pgpool_lite.config.assign import parse_settings
from pgpool_lite.config.databases import parse_database, parse_peer, parse_user
from pgpool_lite.config.hba import Arrival, read_hba
from pgpool_lite.config.ident import read_ident
from pgpool_lite.config.ini import Located, read_ini
from pgpool_lite.config.url import parse_url
from pgpool_lite.config.userlist import scan_userlist
from pgpool_lite.console import grammar
from pgpool_lite.diagnose import leaks, lexer
from pgpool_lite.errors import (
    ClientError,
    ClientProtocolError,
    ConfigError,
    ServerError,
    ServerProtocolError,
)
from pgpool_lite.pool import peering, wishes
from pgpool_lite.proxy.health import HealthPort
from pgpool_lite.session import auth_query, client_login, server_login, sql_heads
from pgpool_lite.session.auth_query import AuthQuery
from pgpool_lite.session.client_login import Challenge, ClientLogin, Encryption, Method, Step
from pgpool_lite.session.parameters import TrackedParameters
from pgpool_lite.session.server_login import ServerCredentials, ServerLogin
from pgpool_lite.wire import backend, channel_binding, frontend, passwords
from pgpool_lite.wire.framing import message_end, scan
from pgpool_lite.wire.guard import MessageGuard
from pgpool_lite.wire.scram import ScramClient, ScramKeys, ScramSecret, ScramServer
from tests.console_client import Console
from tests.fuzz import relay

Door = Callable[[bytes], None]

SECRET: Final = ScramSecret.from_password("secret", b"0123456789abcdef", 1)
_DATABASES: Final = {"app": DatabaseSettings(name="app")}
_FILE: Final = Path("/fuzz.ini")


def pieces_of(data: bytes) -> Iterator[bytes]:
    """Yield an input as reads, cut where FF FE stands: a mutation can cut one anywhere."""
    start = 0
    for cut in re.finditer(rb"\xff\xfe", data):
        yield data[start : cut.start()]
        start = cut.end()
    yield data[start:]


# --- messages ---


def scanner(data: bytes) -> None:
    """`scan` against a walk as the documentation has it."""
    interest = bytes(((kind * 7 + len(data)) % 3 == 0) * (1 + kind % 2 * 75) for kind in range(256))
    expected = 0
    while len(data) - expected >= 5:
        (length,) = struct.unpack_from("!i", data, expected + 1)
        wanted = interest[data[expected]]
        last = data[expected + length - 1 : expected + length]
        is_whole = expected + length < len(data)
        if length < 4 or wanted == 1 or (wanted and (not is_whole or last == bytes([wanted]))):
            break
        expected += 1 + length
    assert scan(data, 0, interest) == expected


def message_guard(data: bytes) -> None:
    """What is let through is the same however it is cut."""
    whole = MessageGuard(300, ord("Q")).find_offence(data)
    guard, found = MessageGuard(300, ord("Q")), b""
    for pos in range(len(data)):
        found = guard.find_offence(data[pos : pos + 1])
        assert len(guard._head) < 5
        if found:
            break
    assert bool(found) is bool(whole)
    assert whole.startswith(found[:5])


def decoders(data: bytes) -> None:
    """Every decoder of one message's body."""
    for decode in (
        frontend.decode_query,
        frontend.decode_sasl_initial,
        lambda body: frontend.text_and_types(body, 0, len(body)),
        lambda body: frontend.startup_size(body[:4].ljust(4, b"\0")),
    ):
        with suppress(ClientProtocolError):
            decode(data)
    for decode_said in (
        backend.decode_authentication,
        backend.decode_sasl_mechanisms,
        backend.decode_backend_key_data,
        backend.decode_parameter_status,
        backend.decode_data_row,
        backend.decode_error,
    ):
        with suppress(ServerProtocolError):
            decode_said(data)
    channel_binding.end_point_binding(data)


def sql_head(data: bytes) -> None:
    """The look at the head of an SQL text."""
    text = data + b"\0"
    word = sql_heads.word(text, 0)
    assert word in ("", "PREPARE", "EXECUTE", "DEALLOCATE")
    assert word == "DEALLOCATE" or sql_heads.deallocated(text) is None


def sql_text(data: bytes) -> None:
    """A whole SQL text, as the finder of what breaks in transaction mode reads it."""
    end = 0
    for token in lexer.tokens(data):
        assert end <= token.start < token.end <= len(data)
        end = token.end
    leaks.may_leak(data)
    leaks.effects_of(data, in_transaction=bool(len(data) % 2))
    leaks.leaks_in_script(data)


# --- logins ---

_CHALLENGES: Final = (
    Challenge(Method.CLEARTEXT, "alice", "the secret"),
    Challenge(Method.CLEARTEXT, "alice", SECRET.encode()),
    Challenge(Method.MD5, "alice", passwords.hash_md5("the secret", "alice")),
    Challenge(Method.SCRAM, "alice", scram_secret=SECRET),
    Challenge(Method.CLEARTEXT, "nobody", "made up", is_mock=True),
    Challenge(Method.SCRAM, "nobody", scram_secret=ScramSecret.mock("nobody", b"key", 1)),
)


def client_logins(data: bytes) -> None:
    """A stranger's first bytes, up to what it proves; who knows no secret is never let in."""
    kind, data = (data[0], data[1:]) if data else (0, b"")
    challenge = _CHALLENGES[kind % len(_CHALLENGES)]
    login = ClientLogin((*Encryption, Encryption.OFFERED)[kind >> 3 & 3], b"certificate")
    knows_secret = b"the secret\0" in b"".join(pieces_of(data))
    try:
        for read in pieces_of(data):
            step = login.receive(read)
            if step is Step.TLS:
                login.take_rest()
            elif step is Step.STARTUP:
                _read_startup(login)
                login.challenge(challenge)
                step = login.receive(b"")
            elif step is Step.CANCEL:
                assert login.cancel_key is not None
                peering.peer_of(login.cancel_key)
                peering.one_hop_on(peering.with_all_hops(login.cancel_key))
                frontend.encode_cancel_request(login.cancel_key)
            assert step is not Step.AUTHENTICATED or knows_secret
            assert len(login._data) <= client_login.MAX_LOGIN_MESSAGE + len(read)
    except ClientError as error:
        backend.error_response(error)


def _read_startup(login: ClientLogin) -> None:
    """See what a StartupMessage wants, as admission does."""
    assert login.startup is not None
    settings = Console().registry.config.settings
    wishes.read_wishes(login.startup, settings, TrackedParameters(), ("10.0.0.1", 1))


_CREDENTIALS: Final = (
    ServerCredentials("alice", "app", "secret"),
    ServerCredentials("alice", "app", passwords.hash_md5("secret", "alice")),
    ServerCredentials("alice", "app", None, ScramKeys(b"k" * 32, b"s" * 32)),
    ServerCredentials("alice", "app", SECRET.encode()),
)


def server_logins(data: bytes) -> None:
    """What answers where a server should be."""
    kind, data = (data[0], data[1:]) if data else (0, b"")
    login = ServerLogin(_CREDENTIALS[kind % len(_CREDENTIALS)])
    login.start(b"certificate" if kind & 16 else b"")
    try:
        for read in pieces_of(data):
            login.receive(read)
            assert login.is_ready or len(login._data) <= server_login.MAX_LOGIN_MESSAGE
    except ServerError as error:
        backend.error_response(error)
    assert len(login.parameters) <= len(data) / 7


def scram_exchange(data: bytes) -> None:
    """Both halves of SCRAM, each fed what the other would never say."""
    first, _, final = data.partition(b"\n")
    server = ScramServer(SECRET, lambda: "nonce", channel_binding=b"c" if len(data) % 2 else None)
    with suppress(ClientError):
        server.first(first)
        server.final(final)
    assert not server.client_key
    client = ScramClient(ScramKeys(b"k" * 32, b"s" * 32), lambda: "nonce")
    client.first()
    with suppress(ServerError):
        client.final(first)
        client.verify(final)
    assert not client.is_verified
    with suppress(ConfigError):
        ScramSecret.parse(data.decode("utf-8", "surrogateescape"))
    passwords.classify_secret(data.decode("utf-8", "surrogateescape"))


def auth_query_answers(data: bytes) -> None:
    """What PostgreSQL answers to auth_query."""
    query = AuthQuery("SELECT 1", "alice")
    with suppress(ServerProtocolError):
        for read in pieces_of(data):
            query.receive(read)
            assert query.is_done or len(query._data) <= auth_query.MAX_MESSAGE


# --- files ---


def _text(data: bytes) -> str:
    return data.replace(b"\0", b"").decode("utf-8", "surrogateescape")


def ini_file(data: bytes) -> None:
    """A configuration file, which may include itself."""
    text = _text(data)
    with suppress(ConfigError):
        sections = read_ini(_FILE, lambda path: text if len(str(path)) < 50 else "")
        for section in sections:
            for entry in section.entries:
                with suppress(ConfigError):
                    parse_settings({entry.key: entry})
                for parse in (parse_database, parse_user, parse_peer):
                    with suppress(ConfigError):
                        parse(entry)


def connection_string(data: bytes) -> None:
    """A line of [databases], and a URL."""
    text = _text(data)
    with suppress(ConfigError):
        parse_database(Located("app", text, _FILE, 1))
    with suppress(ConfigError):
        parse_url(text)
    with suppress(ConfigError):
        parse_url("postgresql://" + text)


def access_files(data: bytes) -> None:
    """HBA, ident and user list files."""
    text = _text(data)
    with suppress(ConfigError):
        scan_userlist(text)
    maps = {}
    with suppress(ConfigError):
        maps = dict(read_ident(_FILE, lambda path: text))
    with suppress(ConfigError):
        rules = read_hba(_FILE, maps, lambda path: text)
        for host in (None, "10.0.0.1", "::1", "fe80::1%eth0", text[:50]):
            rules.find(Arrival("app", "alice", host))


# --- the console, and the port for probes ---


def console_command(data: bytes) -> None:
    """One query of the console."""
    grammar.parse(_text(data))
    grammar.parse("SET " + _text(data))


def console_session(data: bytes) -> None:
    """A console client's reads."""
    kind, data = (data[0], data[1:]) if data else (0, b"")
    session = Console(databases=_DATABASES, is_admin=bool(kind & 1)).session
    with suppress(ClientError):
        for read in pieces_of(data):
            session.receive(read)
            while session.answer() is not None:
                pass
            assert len(session._data) - session._pos <= 65_536 + 5 + len(read)


class _Condition:
    is_shutting_down = False
    is_globally_paused = False


def health_request(data: bytes) -> None:
    """A request to the port for probes."""
    answer = HealthPort(_Condition()).answer(data)
    assert re.match(rb"HTTP/1\.1 (200|400|404|405) ", answer)


def framing_ends(data: bytes) -> None:
    """Where a message ends."""
    if len(data) >= 5:
        end = message_end(data, 0)
        assert end == -1 or end >= 5


DOORS: Final[dict[str, Door]] = {
    "relay": relay.run,
    "client_logins": client_logins,
    "server_logins": server_logins,
    "scram_exchange": scram_exchange,
    "auth_query_answers": auth_query_answers,
    "console_session": console_session,
    "console_command": console_command,
    "ini_file": ini_file,
    "connection_string": connection_string,
    "access_files": access_files,
    "scanner": scanner,
    "message_guard": message_guard,
    "decoders": decoders,
    "sql_head": sql_head,
    "sql_text": sql_text,
    "health_request": health_request,
    "framing_ends": framing_ends,
}
