"""What the workers' reports tell of how long mails wait."""

from dataclasses import replace

import pytest

from postman.core.fleet.lags import Lag, lag_of
from postman.core.fleet.reports import ShardWork, WorkerReport

NOW = 1_700_000_000.0


def report(worker: str, **shards: ShardWork) -> WorkerReport:
    plain = WorkerReport(worker, "host", 1, "1.0", started=NOW - 900.0, at=NOW, slots=50, window=30.0)
    return replace(plain, shards={name.removeprefix("shard_"): work for name, work in shards.items()})


def pulled(ago: float, waited: float) -> ShardWork:
    return ShardWork(1, NOW - ago, NOW - ago - waited)


def test_the_latest_pull_of_any_worker_counts() -> None:
    reports = [report("a", shard_3=pulled(60.0, 1.0)), report("b", shard_3=pulled(20.0, 45.0))]

    assert lag_of(reports, 3, NOW) == Lag(45.0, NOW - 20.0)
    assert lag_of(reversed(reports), 3, NOW) == Lag(45.0, NOW - 20.0)


def test_other_shards_do_not_count() -> None:
    reports = [report("a", shard_1=pulled(20.0, 1.0), shard_11=pulled(5.0, 90.0))]

    assert lag_of(reports, 1, NOW) == Lag(1.0, NOW - 20.0)
    assert lag_of(reports, 2, NOW) is None


@pytest.mark.parametrize(
    "work", [ShardWork(problem="out of reach"), ShardWork(2), ShardWork(1, pulled_at=NOW), ShardWork(1, 0.0, NOW)]
)
def test_who_has_pulled_nothing_tells_nothing(work: ShardWork) -> None:
    assert lag_of([report("a", shard_0=work)], 0, NOW) is None


def test_an_old_pull_tells_nothing_of_now() -> None:
    assert lag_of([report("a", shard_0=pulled(600.0, 4.0))], 0, NOW) == Lag(4.0, NOW - 600.0)
    assert lag_of([report("a", shard_0=pulled(601.0, 4.0))], 0, NOW) is None


def test_clocks_that_differ_make_no_negative_wait() -> None:
    """The queue's machine may be ahead of the worker's."""
    assert lag_of([report("a", shard_0=pulled(5.0, -2.0))], 0, NOW) == Lag(0.0, NOW - 5.0)


def test_nobody_reports() -> None:
    assert lag_of([], 0, NOW) is None
