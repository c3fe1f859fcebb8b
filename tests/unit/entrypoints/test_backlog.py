"""What waits, put together and said for a person, and how often who counts is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from postman.core.fleet.lags import Lag
from postman.core.fleet.reports import ShardWork, WorkerReport
from postman.entrypoints.backlog import Gauge, Waiting, backlog_document, duration
from postman.errors import ConfigError, QueueUnavailableError
from postman.ports.backlog import Backlog
from postman.testing.clock import FakeClock

NOW = 1_700_000_000.0


@dataclass
class Counter:
    """A `Backlogs` whose answers are *behind* by some seconds."""

    clock: FakeClock
    behind: float = 0.0
    trouble: Exception | None = None
    looks: list[Sequence[int]] = field(default_factory=list)
    is_closed: bool = False

    async def look(self, shards: Sequence[int]) -> Mapping[int, Backlog]:
        self.looks.append(shards)
        if self.trouble:
            raise self.trouble
        return {shard: Backlog(shard, 10.0 * shard, self.clock.time() - self.behind) for shard in shards}

    async def look_dead(self, shards: Sequence[int]) -> Mapping[int, Backlog]:
        if self.trouble:
            raise self.trouble
        return {shard: Backlog(2, 3_600.0, self.clock.time() - self.behind) for shard in shards}

    async def aclose(self) -> None:
        self.is_closed = True


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(wall=NOW)


@pytest.fixture
def counter(clock: FakeClock) -> Counter:
    return Counter(clock)


@pytest.fixture
def gauge(counter: Counter, clock: FakeClock) -> Gauge:
    return Gauge(counter, clock)


def waiting(
    *, counted: bool = True, problem: str = "", lags: Mapping[int, Lag] | None = None, **shards: Backlog
) -> Waiting:
    found = {int(name.removeprefix("s")): each for name, each in shards.items()}
    return Waiting(NOW, counted, found, {}, lags or {}, problem)


async def test_all_that_is_known_is_put_together(gauge: Gauge) -> None:
    shard = ShardWork(1, NOW - 5.0, NOW - 9.0)
    report = WorkerReport("w", "h", 1, "1", started=0.0, at=NOW, slots=5, window=30.0, shards={"1": shard})

    found = await gauge.look([0, 1, 3], [report])

    assert (found.count, found.oldest, found.problem, found.is_counted) == (4, (3, 30.0), "", True)
    assert set(found.dead) == {0, 1, 3}
    assert found.lags == {1: Lag(4.0, NOW - 5.0)}


async def test_who_counts_exactly_is_asked_each_time(gauge: Gauge, counter: Counter) -> None:
    for _ in range(3):
        await gauge.look([0, 1], [])

    assert len(counter.looks) == 3


async def test_who_is_behind_is_asked_every_half_minute(gauge: Gauge, counter: Counter, clock: FakeClock) -> None:
    """But at once for other shards, as after a reshard."""
    counter.behind = 60.0
    for _ in range(15):
        await gauge.look([0, 1], [])
        await clock.sleep(2.0)
    assert len(counter.looks) == 1

    await gauge.look([0, 1], [])
    await gauge.look([0, 1, 2], [])
    assert counter.looks == [[0, 1], [0, 1], [0, 1, 2]]


@pytest.mark.parametrize("trouble", [QueueUnavailableError("away"), ConfigError("away")])
async def test_what_was_known_stays_with_the_problem(
    gauge: Gauge, counter: Counter, clock: FakeClock, trouble: Exception
) -> None:
    """Nobody is asked again and again while he is away; once he answers the problem is gone."""
    await gauge.look([2], [])
    counter.trouble = trouble
    for _ in range(5):
        found = await gauge.look([2], [])
        assert (found.count, found.problem) == (2, "away")
    assert len(counter.looks) == 2

    counter.trouble = None
    await clock.sleep(30.0)
    found = await gauge.look([2], [])
    assert (found.problem, found.age) == ("", 0.0)


async def test_other_s_mistakes_are_not_swallowed(gauge: Gauge, counter: Counter) -> None:
    counter.trouble = KeyError("ours")
    with pytest.raises(BaseExceptionGroup):
        await gauge.look([0], [])


async def test_nobody_to_ask(clock: FakeClock) -> None:
    gauge = Gauge(None, clock)

    assert not (await gauge.look([0], [])).is_counted
    await gauge.aclose()


async def test_closing_closes_who_counts(gauge: Gauge, counter: Counter) -> None:
    await gauge.aclose()
    assert counter.is_closed


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (waiting(s0=Backlog(0, 0.0, NOW)), "0 mails in 1 shard"),
        (
            waiting(s0=Backlog(1, 4.0, NOW), s7=Backlog(0, 0.0, NOW)),
            "1 mail in 2 shards; the oldest waits 4 s (shard 0)",
        ),
        (
            waiting(s0=Backlog(3, 4.0, NOW - 70.0), s7=Backlog(2, 900.0, NOW - 130.0)),
            "5 mails in 2 shards, 2 min ago; the oldest waits 15 min (shard 7)",
        ),
        (waiting(), "nothing is known of what waits"),
        (waiting(problem="away"), "away"),
        (waiting(problem="away", s0=Backlog(0, 0.0, NOW - 60.0)), "0 mails in 1 shard, 60 s ago; away"),
        (waiting(counted=False), "nobody counts what waits here"),
        (
            waiting(counted=False, lags={0: Lag(1.0, NOW), 3: Lag(200.0, NOW - 9.0)}),
            "nobody counts what waits here; of the mails pulled last one had waited 3 min (shard 3)",
        ),
        (waiting(s0=Backlog(0, 0.0, NOW), lags={0: Lag(1.0, NOW)}), "0 mails in 1 shard"),
    ],
)
def test_it_is_said_in_a_line(found: Waiting, text: str) -> None:
    assert str(found) == text


def test_programs_get_numbers() -> None:
    found = waiting(s0=Backlog(3, 4.0, NOW), lags={1: Lag(2.0, NOW)})

    assert backlog_document(found) == {
        "count": 3,
        "oldest_age": 4.0,
        "shards": {"0": {"count": 3, "oldest_age": 4.0, "at": NOW}},
        "dead": {},
        "pulls": {"1": {"waited": 2.0, "at": NOW}},
        "problem": "",
    }
    unknown = backlog_document(waiting(problem="away"))
    assert unknown is not None
    assert (unknown["count"], unknown["oldest_age"], unknown["problem"]) == (None, None, "away")
    assert backlog_document(waiting(counted=False)) is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (119.0, "119 s"), (120.0, "2 min"), (7_199.0, "120 min"), (90_000.0, "25 h")]
)
def test_durations_are_read_at_a_glance(seconds: float, text: str) -> None:
    assert duration(seconds) == text
