"""Whose process is it? The user it runs as, and the pidfile by which it is found."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pgpool_lite.errors import ConfigError
from pgpool_lite.proxy.logs import LOGGER


def become(user: str) -> None:
    """Become another user, with that user's groups; raises ConfigError where that cannot be.

    PgBouncer's setting `user` and its option -u.
    """
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(f"there is no user {user!r} on this system", key="user") from None
    if os.geteuid() == entry.pw_uid:
        return
    try:
        os.initgroups(user, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except OSError as error:
        reason = f"cannot become user {user!r}: {error.strerror}"
        raise ConfigError(reason, key="user") from None


def refuse_root(user: str) -> None:
    """Raise ConfigError if root would read strangers' bytes, unless `user` names root itself.

    PgBouncer refuses in any case. A container may have no other user, so who means it may say so.
    """
    if os.geteuid() == 0 and user != "root":
        raise ConfigError(
            "the pooler should not run as root: name another user by -u, or -u root to insist"
        )


@contextmanager
def pidfile(name: str) -> Iterator[None]:
    """Have our process id in the file of that name, "" for none; it is gone at the end.

    Raises ConfigError where it cannot be written. Whatever stands there is replaced: `check` has
    said that it may be, or it is the file of the process that we take over from. For the same
    reason it is removed only while it has our own number.
    """
    path = Path(name)
    if not name:
        yield
        return
    content = f"{os.getpid()}\n"
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        draft.write_text(content)
        draft.replace(path)  # at once, so that nobody reads half a number
    except OSError as error:
        raise ConfigError(f"cannot write {name!r}: {error.strerror}", key="pidfile") from None
    try:
        yield
    finally:
        with suppress(OSError):
            if path.read_text() == content:
                path.unlink()


def check_pidfile(name: str) -> None:
    """Raise ConfigError if the pidfile belongs to a process that lives; remove a stale one."""
    if not name:
        return
    path = Path(name)
    try:
        text = path.read_text()
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {name!r}: {error}", key="pidfile") from None
    if _may_live(text):
        raise ConfigError(f"pidfile {name!r} exists, another instance running?", key="pidfile")
    LOGGER.info("stale pidfile, removing")
    try:
        path.unlink()
    except OSError as error:
        raise ConfigError(f"cannot remove {name!r}: {error.strerror}", key="pidfile") from None


def _may_live(text: str) -> bool:
    """Say whether the process that a pidfile names runs; what is no number may be anything."""
    digits = text.strip()
    if not digits.isdecimal() or not 0 < int(digits) < 2**31:
        return True
    try:
        os.kill(int(digits), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it runs, as somebody else
    return True
