"""Where does the log go?"""

from __future__ import annotations

import logging
import syslog
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgpool_lite.config import Settings
from pgpool_lite.errors import ConfigError
from pgpool_lite.proxy.logs import LOGGER, SyslogHandler, open_log

Lines = list[tuple[int, str]]


@pytest.fixture(autouse=True)
def restored_logger() -> Iterator[None]:
    """Leave the logger as other tests expect it."""
    before = list(LOGGER.handlers), LOGGER.propagate, LOGGER.level
    LOGGER.handlers.clear()
    yield
    for handler in LOGGER.handlers:
        handler.close()
    LOGGER.handlers[:], LOGGER.propagate = before[0], before[1]
    LOGGER.setLevel(before[2])


@pytest.fixture
def system_log(monkeypatch: pytest.MonkeyPatch) -> Lines:
    """What syslog is told: how it was opened, then priorities and lines."""
    lines: Lines = []
    monkeypatch.setattr(
        syslog, "openlog", lambda ident, option, facility: lines.append((facility, ident))
    )
    monkeypatch.setattr(syslog, "syslog", lambda priority, text: lines.append((priority, text)))
    return lines


def test_syslog_gets_lines_without_time_and_number(system_log: Lines) -> None:
    settings = Settings(syslog=True, syslog_ident="pool", syslog_facility="local3")
    open_log(settings, is_quiet=True)

    LOGGER.info("process %s", "up")
    LOGGER.error("oh")
    LOGGER.debug("not shown")

    assert system_log == [
        (syslog.LOG_LOCAL3, "pool"),
        (syslog.LOG_INFO, "LOG process up"),
        (syslog.LOG_ERR, "ERROR oh"),
    ]


def test_a_strangers_name_neither_forges_a_line_of_syslog_nor_raises() -> None:
    """Story: whoever writes a line is in the middle of a client's read or of the sweep, and syslog
    takes neither bytes that are no text nor a zero byte. The real one is asked here.
    """
    handler = SyslogHandler("pool", "local3")
    name = b"mallory\xff\n\x1b[2J\0".decode("utf-8", "surrogateescape")

    handler.handle(logging.makeLogRecord({"levelno": logging.DEBUG, "msg": f"user {name}"}))


def test_syslog_gets_one_line_each(system_log: Lines) -> None:
    open_log(Settings(syslog=True), is_quiet=True)

    LOGGER.info("user %s", "mallory\udcff\nFATAL")

    assert system_log[-1] == (syslog.LOG_INFO, "LOG user mallory??FATAL")


@pytest.mark.parametrize("facility", ["nonsense", "", "pid", "upto"])
def test_a_facility_that_does_not_exist_is_a_configuration_error(facility: str) -> None:
    with pytest.raises(ConfigError, match="syslog_facility: expected one of auth, "):
        open_log(Settings(syslog=True, syslog_facility=facility), is_quiet=True)


@pytest.mark.parametrize("ident", ["p\udcff", "p\n"])
def test_a_name_that_syslog_cannot_write_is_a_configuration_error(ident: str) -> None:
    with pytest.raises(ConfigError, match="syslog_ident: expected printable text"):
        open_log(Settings(syslog=True, syslog_ident=ident), is_quiet=True)


def test_a_log_that_cannot_be_opened_goes_on_where_it_went(tmp_path: Path) -> None:
    log = tmp_path / "log"
    open_log(Settings(logfile=str(log)), is_quiet=True)

    with pytest.raises(ConfigError, match="logfile: cannot write to it"):
        open_log(Settings(logfile=str(tmp_path / "nowhere" / "log")), is_quiet=True)
    LOGGER.info("still here")

    assert log.read_text().endswith("LOG still here\n")


def test_a_rotated_file_is_let_go_of(tmp_path: Path) -> None:
    log, rotated = tmp_path / "log", tmp_path / "log.1"
    settings = Settings(logfile=str(log))
    open_log(settings, is_quiet=True)
    log.rename(rotated)

    open_log(settings, is_quiet=True)
    LOGGER.info("in the new one")

    assert rotated.read_text() == ""
    assert "in the new one" in log.read_text()


def test_verbose_shows_debug_lines() -> None:
    open_log(Settings(verbose=1), is_quiet=True)

    assert LOGGER.isEnabledFor(logging.DEBUG)
