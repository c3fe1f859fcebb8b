"""What a log may hold, at a terminal and elsewhere."""

import io
import sys
from collections.abc import Iterator

import orjson
import pytest
import structlog

from postman.entrypoints.logs import set_up_logs

_EVIL = "\x1b[31mred\x9b\nforged"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    before = sys.stderr
    yield
    sys.stderr = before
    structlog.reset_defaults()


def _logged(stderr: io.StringIO, *, level: str = "info") -> str:
    """Return what is written for a failure with a secret in a local variable."""
    sys.stderr = stderr
    set_up_logs(level)
    log = structlog.get_logger("test")
    log.debug("unheard")
    try:
        _fail("SG." + "hidden-in-a-variable")
    except ValueError:
        log.exception("unexpected", mail_id=_EVIL, attempt=1)
    return stderr.getvalue()


def _fail(secret: str) -> None:
    raise ValueError(len(secret))


def test_elsewhere_an_event_is_one_line_of_json() -> None:
    [line] = _logged(io.StringIO()).splitlines()

    event = orjson.loads(line)
    assert (event["event"], event["level"], event["mail_id"], event["attempt"]) == ("unexpected", "error", _EVIL, 1)
    assert "ValueError" in event["exception"]
    assert line.isprintable()


def test_at_a_terminal_control_characters_of_strangers_are_replaced() -> None:
    shown = _logged(_Terminal())

    assert "red" in shown
    assert "\x1b[31mred" not in shown
    assert "\x9b" not in shown
    assert "\nforged" not in shown


def test_a_traceback_shows_no_values_of_variables() -> None:
    for stderr in (io.StringIO(), _Terminal()):
        shown = _logged(stderr)
        assert "ValueError" in shown
        assert "SG.hidden-in-a-variable" not in shown


@pytest.mark.parametrize(("level", "lines"), [("debug", 2), ("INFO", 1), ("critical", 0)])
def test_events_below_the_level_are_left_out(level: str, lines: int) -> None:
    assert len(_logged(io.StringIO(), level=level).splitlines()) == lines
