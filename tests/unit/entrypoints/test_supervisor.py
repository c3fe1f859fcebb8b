"""What a supervisor does with processes that end, that do not, and that cannot begin: here they are shells."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from postman.adapters.clock import SystemClock
from postman.entrypoints.supervisor import Restarts, Supervisor, usable_processors
from postman.ports.clock import Clock
from postman.testing.clock import FakeClock
from postman.testing.waiting import wait_until

_LIMIT = 5.0
_OBEYING = 'trap "echo >> $0; exit {status}" TERM; echo >> $0; while :; do sleep 0.01; done'
_DEAF = 'trap "" TERM; echo >> $0; exec sleep 60'


class _Marks:
    """A file to which the shells add lines, so that they can be waited for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def count(self) -> int:
        return self.path.read_text().count("\n") if self.path.exists() else 0

    async def reach(self, count: int) -> None:
        await wait_until(lambda: self.count >= count, within=_LIMIT, what=f"{count} marks")


@pytest.fixture
def marks(tmp_path: Path) -> _Marks:
    return _Marks(tmp_path / "marks")


def _shell(script: str, marks: _Marks) -> Callable[[int], Sequence[str]]:
    """Return the command of a shell, to which the file of *marks* is `$0` and its number `$1`."""
    return lambda number: ("/bin/sh", "-c", script, str(marks.path), str(number))


@asynccontextmanager
async def _running(
    command: Callable[[int], Sequence[str]], *, clock: Clock, processes: int = 1, patience: float = _LIMIT
) -> AsyncIterator[tuple[Supervisor, asyncio.Task[int]]]:
    supervisor = Supervisor(command, processes=processes, patience=patience, clock=clock)
    task = asyncio.create_task(supervisor.run())
    yield supervisor, task
    supervisor.stop()
    await asyncio.wait_for(task, 2 * _LIMIT)


def test_each_restart_waits_twice_as_long_up_to_half_a_minute() -> None:
    restarts = Restarts(random=lambda: 1.0)

    assert [restarts.wait_after(lived=1.0) for _ in range(8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_a_process_that_lived_for_a_minute_is_started_again_as_soon_as_the_first_time() -> None:
    restarts = Restarts(random=lambda: 1.0)
    for _ in range(5):
        restarts.wait_after(lived=59.0)

    assert restarts.wait_after(lived=60.0) == 0.5
    assert restarts.wait_after(lived=59.0) == 1.0


def test_processes_that_fail_together_do_not_start_together() -> None:
    assert len({Restarts().wait_after(lived=0.0) for _ in range(20)}) > 1


def test_there_is_a_usable_processor_for_each_that_this_process_may_run_on() -> None:
    assert 1 <= usable_processors() <= (os.cpu_count() or 1)


class _Timed:
    """A clock that jumps, and remembers when each process was started."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.starts: list[float] = []

    def command(self, number: int) -> Sequence[str]:
        self.starts.append(self._clock.now())
        return ("/bin/sh", "-c", "exit 1")


async def test_a_process_that_fails_at_once_is_started_again_and_ever_more_rarely() -> None:
    clock = FakeClock()
    timed = _Timed(clock)
    async with _running(timed.command, clock=clock):
        await wait_until(lambda: len(timed.starts) >= 8, within=_LIMIT, what="eight starts")

    waits = [later - earlier for earlier, later in pairwise(timed.starts[:8])]
    longest = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    assert all(most / 2 <= wait <= most for wait, most in zip(waits, longest, strict=True)), waits


async def test_what_cannot_be_started_is_tried_again_and_ever_more_rarely() -> None:
    clock = FakeClock()
    starts: list[float] = []

    def command(number: int) -> Sequence[str]:
        starts.append(clock.now())
        return ("/nowhere/at-all",)

    async with _running(command, clock=clock) as (supervisor, task):
        await wait_until(lambda: len(starts) >= 5, within=_LIMIT, what="five tries")
        supervisor.stop()
        assert await task == 0
    assert starts[4] - starts[0] >= 0.5 * (0.5 + 1.0 + 2.0 + 4.0)


@pytest.mark.parametrize(
    ("ends_with", "status"),
    [(0, 0), (3, 0), (1, 1), (4, 1)],
    ids=["drained", "unfit and drained", "broken off", "something else"],
)
async def test_the_exit_status_says_whether_all_drained(marks: _Marks, ends_with: int, status: int) -> None:
    script = f'[ "$1" = 1 ] && status={ends_with} || status=0; ' + _OBEYING.format(status="$status")
    async with _running(_shell(script, marks), clock=SystemClock(), processes=2) as (supervisor, task):
        await marks.reach(2)
        supervisor.stop()
        assert await task == status
    assert marks.count == 4, "each began once, was told once, and was not started again"


async def test_one_with_wrong_settings_ends_all(marks: _Marks) -> None:
    script = '[ "$1" = 2 ] && exit 2; ' + _OBEYING.format(status=0)
    async with _running(_shell(script, marks), clock=SystemClock(), processes=3) as (_, task):
        assert await asyncio.wait_for(task, _LIMIT) == 2


async def test_what_does_not_end_in_time_is_killed_and_not_before(marks: _Marks) -> None:
    clock = FakeClock(auto=False)
    async with _running(_shell(_DEAF, marks), clock=clock, patience=9.0) as (supervisor, task):
        await marks.reach(1)
        supervisor.stop()
        await clock.advance(8.9)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(task), 0.1)
        await clock.advance(0.2)
        assert await asyncio.wait_for(task, _LIMIT) == 1


async def test_a_second_stop_tells_them_again_and_counts_as_broken_off(marks: _Marks) -> None:
    script = "trap \"echo >> $0; trap 'exit 0' TERM\" TERM; echo >> $0; while :; do sleep 0.01; done"
    async with _running(_shell(script, marks), clock=SystemClock(), patience=60.0) as (supervisor, task):
        await marks.reach(1)
        supervisor.stop()
        await marks.reach(2)
        supervisor.stop()
        assert await asyncio.wait_for(task, _LIMIT) == 1


async def test_stopped_before_it_runs_it_starts_nothing(marks: _Marks) -> None:
    supervisor = Supervisor(_shell(_DEAF, marks), processes=2, patience=_LIMIT, clock=SystemClock())
    supervisor.stop()

    assert await supervisor.run() == 0
    assert marks.count == 0


@pytest.mark.parametrize("steps", range(8))
async def test_stopped_while_it_starts_processes_it_ends_them(steps: int) -> None:
    async with _running(lambda _: ("sleep", "60"), clock=SystemClock(), processes=2, patience=60.0) as (
        supervisor,
        task,
    ):
        for _ in range(steps):
            await asyncio.sleep(0)
        supervisor.stop()
        assert await asyncio.wait_for(task, _LIMIT) == 0


async def test_stopped_while_it_waits_to_start_one_again_it_ends_at_once(marks: _Marks) -> None:
    clock = FakeClock(auto=False)
    async with _running(_shell("echo >> $0; exit 1", marks), clock=clock) as (supervisor, task):
        await marks.reach(1)
        await wait_until(lambda: clock._sleepers, within=_LIMIT, what="the wait")
        supervisor.stop()
        assert await asyncio.wait_for(task, _LIMIT) == 0
    assert marks.count == 1
