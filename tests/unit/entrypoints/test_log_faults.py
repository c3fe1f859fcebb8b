"""A log whose reader stands still, is gone, or has no room: whoever logs neither waits nor fails."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress

import orjson
import pytest

from postman.entrypoints.logsink import LogSink
from postman.testing.waiting import wait_until_blocking

_LINE = "x" * 99 + "\n"


class Pipe:
    """A small pipe, and what was read from it."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.size = fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 8_192)
        self.text = b""
        os.set_blocking(self.reader, False)

    def read(self) -> bytes:
        """Return all that came until now."""
        with suppress(BlockingIOError):
            self.text += os.read(self.reader, 1 << 20)
        return self.text

    @property
    def told(self) -> tuple[int, int]:
        """How many lines came, and how many are said to be lost."""
        lines = self.read().splitlines()
        notices = [orjson.loads(line)["count"] for line in lines if line.startswith(b"{")]
        return len(lines) - len(notices), sum(notices)

    def close(self) -> None:
        for descriptor in (self.reader, self.writer):
            os.close(descriptor)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_a_line_is_there_when_it_was_written(pipe: Pipe) -> None:
    """So the last words of a process that is killed are not lost."""
    sink = LogSink(pipe.writer)
    sink.write("one\n")
    sink.write("two\n")
    assert pipe.read() == b"one\ntwo\n"


def test_a_reader_that_stands_still_is_not_waited_for_and_gets_all_in_order_later(pipe: Pipe) -> None:
    sink = LogSink(pipe.writer)
    lines = [f"{number:<98}\n" for number in range(500)]
    for line in lines:
        sink.write(line)
    wait_until_blocking(lambda: len(pipe.read()) == 99 * 500, within=5.0, what="all lines")
    assert pipe.text.decode() == "".join(lines)


def test_what_finds_no_room_is_counted_and_told_of(pipe: Pipe) -> None:
    sink = LogSink(pipe.writer, room=10_000)
    for _ in range(1_000):
        sink.write(_LINE)
    wait_until_blocking(lambda: sum(pipe.told) == 1_000, within=5.0, what="the lines and the notice")
    arrived, lost = pipe.told
    assert 100 < arrived < 250
    assert lost == 1_000 - arrived


def test_a_long_line_arrives_whole(pipe: Pipe) -> None:
    """Also where it is larger than the pipe."""
    sink = LogSink(pipe.writer)
    sink.write("y" * 20_000 + "\n")
    sink.write("z\n")
    wait_until_blocking(lambda: pipe.read().endswith(b"z\n"), within=5.0, what="both lines")
    assert pipe.text == b"y" * 20_000 + b"\nz\n"


def test_a_reader_that_is_gone_is_no_error(pipe: Pipe) -> None:
    sink = LogSink(pipe.writer)
    os.close(pipe.reader)
    for _ in range(100):
        assert sink.write(_LINE) == len(_LINE)
    pipe.reader = os.open(os.devnull, os.O_RDONLY)


def test_a_full_disk_is_no_error() -> None:
    with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123 — a device, not a path of ours
        sink = LogSink(full.fileno())
        for _ in range(100):
            assert sink.write(_LINE) == len(_LINE)
        sink.close(1.0)


def test_closing_waits_only_so_long_for_a_reader_that_stands_still(pipe: Pipe) -> None:
    sink = LogSink(pipe.writer)
    for _ in range(100):
        sink.write(_LINE)
    sink.close(0.05)
    wait_until_blocking(lambda: len(pipe.read()) == 100 * len(_LINE), within=5.0, what="all lines")
