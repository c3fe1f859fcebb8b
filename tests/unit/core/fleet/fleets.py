"""Reports made by hand: workers that do the same in each of their windows."""

from collections.abc import Mapping, Sequence

from postman.core.fleet import ProviderStanding, ProviderWork, WorkerReport, WorkWindow

__all__ = ["NOW", "hung_windows", "report", "window", "windows", "work"]

NOW = 1_800_000_000.0
WINDOW = 30.0


def work(
    done: float, held: float, seconds: float = WINDOW, *, mean: float = 0.3, variation: float = 1.0
) -> ProviderWork:
    """Return work with *held* mails in hand on the average, and durations of this mean and spread."""
    return ProviderWork(done, held * seconds, done * mean, done * mean * mean * (1 + variation))


def window(
    done: float = 100.0,
    held: float = 1.0,
    *,
    ago: int = 0,
    at: float = NOW,
    provider: str = "sendgrid",
    seconds: float = WINDOW,
    oldest: float = 0.0,
    full_for: float = 0.0,
    paused_for: float = 0.0,
) -> WorkWindow:
    """Return the window that ended *ago* windows before *at*."""
    doing = {provider: work(done, held, seconds)} if done or held else {}
    return WorkWindow(at - ago * WINDOW, seconds, doing, oldest, full_for, paused_for)


def windows(
    *dones: float, held: float = 1.0, at: float = NOW, provider: str = "sendgrid", **more: float
) -> tuple[WorkWindow, ...]:
    """Return one window for each of *dones*, the last of which ended at *at*."""
    last = len(dones) - 1
    return tuple(
        window(done, held, ago=last - index, at=at, provider=provider, **more) for index, done in enumerate(dones)
    )


def hung_windows(*, working: int = 7, hung: int = 3, at: float = NOW, held: float = 10.0) -> tuple[WorkWindow, ...]:
    """Return windows of a worker that worked, and then finished nothing."""
    before = windows(*[100.0] * working, at=at - hung * WINDOW)
    after = [window(0.0, held, ago=ago, at=at, oldest=(hung - ago) * WINDOW + 5.0) for ago in reversed(range(hung))]
    return (*before, *after)


def report(
    worker: str,
    past: Sequence[WorkWindow] | None = None,
    *,
    at: float = NOW,
    provider: str = "sendgrid",
    breaker: str = "closed",
    leaving: str = "",
    local_fault: str = "",
    slots: int = 10,
    period: float = WINDOW,
    baseline: Mapping[str, ProviderWork] | None = None,
) -> WorkerReport:
    """Return the report of a worker that does as all others do, unless told otherwise."""
    return WorkerReport(
        worker=worker,
        host="host",
        pid=1,
        version="0.1.0",
        started=at - 3600.0,
        at=at,
        slots=slots,
        window=period,
        windows=windows(*[100.0] * 10, at=at, provider=provider) if past is None else tuple(past),
        baseline=baseline or {},
        providers={provider: ProviderStanding(breaker, is_home=True)},
        local_fault=local_fault,
        leaving=leaving,
    )
