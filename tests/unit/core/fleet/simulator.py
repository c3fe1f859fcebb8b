"""A fleet that pulls mails from one queue, simulated event by event; its workers report as real ones do.

Arrivals are Poisson, a worker with a free slot takes the next mail, durations are lognormal. Whatever a provider
does, it does to all workers; a fault of a worker multiplies what its mails take. Shares no code with the judgement.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import exp, inf
from random import Random

from postman.core.fleet.reports import ProviderStanding, ProviderWork, WorkerReport, WorkWindow

__all__ = ["EPOCH", "WINDOW", "FleetSimulation", "Setup", "Trouble"]

EPOCH = 1_800_000_000.0
WINDOW = 30.0
_POOL = 1 << 15
_HALF_LIFE = 3600.0
_TIME_OUT = 10.0
_FAILURES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What a provider does to everybody from *begins* to *ends*; seconds since the start."""

    provider: str
    begins: float
    ends: float
    rate: float = 0.0
    """Mails a second that it takes, in all; it throttles the rest. 0: it is down, and lets each wait for 10 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A fleet and its load."""

    homes: tuple[str, ...]
    """Each worker's provider."""
    means: Mapping[str, float] = field(default_factory=lambda: {"sendgrid": 0.3, "mailgun": 0.9})
    """Seconds that a mail takes there on the average."""
    load: float = 0.2
    """Mails that arrive, as a share of what the fleet can do; above 1 the queue grows for ever."""
    sigma: float = 0.8
    slots: int = 10
    staggered: bool = True
    """Whether the windows of the workers end at different moments."""
    late: float = 0.0
    """Seconds after which the last worker starts."""
    trouble: Trouble | None = None


@dataclass(slots=True)
class _Work:
    done: float = 0.0
    area: float = 0.0
    """Outstanding seconds are area + held * now."""
    held: int = 0
    took: float = 0.0
    took_squared: float = 0.0

    def begin(self, now: float) -> None:
        self.held += 1
        self.area -= now

    def end(self, began: float, now: float) -> None:
        self.held -= 1
        self.area += now
        self.done += 1
        took = now - began
        self.took += took
        self.took_squared += took * took

    def close(self, now: float) -> ProviderWork:
        work = ProviderWork(self.done, max(0.0, self.area + self.held * now), self.took, self.took_squared)
        self.done = self.took = self.took_squared = 0.0
        self.area = -self.held * now
        return work


class _Worker:
    """One process: its hands, its measurements, its report."""

    def __init__(self, name: str, home: str, setup: Setup, started: float, first: float) -> None:
        self.name, self.home, self.slots = name, home, setup.slots
        self.started, self.window_began, self.next_window = started, started, first
        self.factor = 1.0
        self.work = {provider: _Work() for provider in setup.means}
        self.hands: dict[int, float] = {}
        self.full_since: float | None = None
        self.full_for = 0.0
        self.paused_until = self.paused_for = 0.0
        self.away_until: float = 0.0
        self.failures = 0
        self.windows: deque[WorkWindow] = deque()
        self.baseline: dict[str, ProviderWork] = {}

    def takes(self, now: float) -> bool:
        return self.full_since is None and now >= self.paused_until and now >= self.started

    def take(self, mail: int, now: float) -> None:
        self.hands[mail] = now
        if len(self.hands) == self.slots:
            self.full_since = now

    def release(self, mail: int, now: float) -> None:
        del self.hands[mail]
        if self.full_since is not None:
            self.full_for += now - self.full_since
            self.full_since = None

    def pause(self, now: float, seconds: float) -> None:
        self.paused_for += max(0.0, now + seconds - max(now, self.paused_until))
        self.paused_until = max(self.paused_until, now + seconds)

    def close_window(self, now: float) -> None:
        if self.full_since is not None:
            self.full_for += now - self.full_since
            self.full_since = now
        seconds = now - self.window_began
        paused = min(self.paused_for, seconds)
        work = {provider: work for provider, own in self.work.items() if _is_used(work := own.close(now))}
        oldest = now - next(iter(self.hands.values())) if self.hands else 0.0
        self.windows.append(WorkWindow(EPOCH + now, seconds, work, oldest, min(self.full_for, seconds), paused))
        self.full_for, self.window_began, self.paused_for = 0.0, now, max(0.0, self.paused_until - now)
        self.next_window = now + WINDOW
        if len(self.windows) > 10:
            self._forget(self.windows.popleft())

    def _forget(self, window: WorkWindow) -> None:
        kept = 0.5 ** (window.seconds / _HALF_LIFE)
        names = {*self.baseline, *window.work}
        empty = ProviderWork()
        self.baseline = {
            name: self.baseline.get(name, empty).times(kept) + window.work.get(name, empty) for name in names
        }

    def report(self) -> WorkerReport:
        return WorkerReport(
            worker=self.name,
            host="host",
            pid=1,
            version="0",
            started=EPOCH + self.started,
            at=EPOCH + self.window_began,
            slots=self.slots,
            window=WINDOW,
            windows=tuple(self.windows),
            baseline=self.baseline,
            providers={name: ProviderStanding("closed", is_home=name == self.home) for name in self.work},
        )


def _is_used(work: ProviderWork) -> bool:
    return work.done > 0 or work.outstanding > 0


_Event = tuple[float, int, _Worker, str, float]
"""Ends, mail, worker, provider, began there. A negative mail stands for the end of a worker's window."""


class FleetSimulation:
    """The fleet, the queue, and the clock. `advance` moves from report to report."""

    def __init__(self, setup: Setup, random: Random) -> None:
        self._setup, self._random = setup, random
        self._pool = [exp(random.gauss(-(setup.sigma**2) / 2, setup.sigma)) for _ in range(_POOL)]
        self.workers = [self._hire(index, home) for index, home in enumerate(setup.homes)]
        self._rate = setup.load * sum(setup.slots / setup.means[home] for home in setup.homes)
        self.now, self.mails, self._waiting = 0.0, 0, 0
        self._arrival = random.expovariate(self._rate)
        self._events: list[_Event] = []
        self._tokens, self._tokens_at = 0.0, 0.0
        for index, worker in enumerate(self.workers):
            heappush(self._events, (worker.next_window, -1 - index, worker, "", 0.0))

    def reports(self) -> list[WorkerReport]:
        return [worker.report() for worker in self.workers if worker.windows]

    def advance(self) -> _Worker:
        """Run until a worker closed a window, and return that worker."""
        while True:
            if self._arrival < self._events[0][0]:
                self._arrive()
                continue
            ends, mail, worker, provider, began = heappop(self._events)
            self.now = ends
            if mail < 0:
                worker.close_window(ends)
                heappush(self._events, (worker.next_window, mail, worker, "", 0.0))
                self._fill(worker)
                return worker
            self._finish(mail, worker, provider, began)

    def _hire(self, index: int, home: str) -> _Worker:
        last = index == len(self._setup.homes) - 1
        started = self._setup.late if last else 0.0
        first = self._random.uniform(1, WINDOW) if self._setup.staggered else WINDOW
        return _Worker(f"w{index}", home, self._setup, started, started + first)

    def _arrive(self) -> None:
        self.now = self._arrival
        self._arrival += self._random.expovariate(self._rate)
        worker = self._anyone()
        if worker is None:
            self._waiting += 1
        else:
            self._take(worker)

    def _anyone(self) -> _Worker | None:
        for _ in range(4):
            worker = self.workers[int(self._random.random() * len(self.workers))]
            if worker.takes(self.now):
                return worker
        free = [worker for worker in self.workers if worker.takes(self.now)]
        return self._random.choice(free) if free else None

    def _fill(self, worker: _Worker) -> None:
        while self._waiting and worker.takes(self.now):
            self._waiting -= 1
            self._take(worker)

    def _take(self, worker: _Worker) -> None:
        self.mails += 1
        worker.take(self.mails, self.now)
        self._send(self.mails, worker, self._choose(worker))

    def _choose(self, worker: _Worker) -> str:
        if self.now >= worker.away_until:
            return worker.home
        return self._other(worker.home)

    def _other(self, provider: str) -> str:
        return next((name for name in self._setup.means if name != provider), provider)

    def _send(self, mail: int, worker: _Worker, provider: str) -> None:
        worker.work[provider].begin(self.now)
        if worker.factor == inf:
            return
        took = self._setup.means[provider] * self._pool[int(self._random.random() * _POOL)]
        trouble = self._setup.trouble
        if trouble and trouble.provider == provider and trouble.begins <= self.now < trouble.ends:
            took = self._troubled(worker, trouble, took)
        heappush(self._events, (self.now + took * worker.factor, mail, worker, provider, self.now))

    def _troubled(self, worker: _Worker, trouble: Trouble, took: float) -> float:
        """Return what a mail takes at a troubled provider; a negative home of the worker is left for a while."""
        if not trouble.rate:
            worker.failures += 1
            if worker.failures >= _FAILURES:
                worker.away_until = max(worker.away_until, self.now + self._random.uniform(20, 40))
                worker.failures = _FAILURES - 1
            return _TIME_OUT
        self._tokens = min(trouble.rate, self._tokens + (self.now - self._tokens_at) * trouble.rate)
        self._tokens_at = self.now
        if self._tokens >= 1:
            self._tokens -= 1
            return took
        self._hold(worker)
        return 0.05

    def _hold(self, worker: _Worker) -> None:
        """Obey a Retry-After: at the other provider meanwhile, or not at all."""
        seconds = self._random.uniform(1, 10)
        if len(self._setup.means) > 1:
            worker.away_until = max(worker.away_until, self.now + seconds)
        else:
            worker.pause(self.now, seconds)

    def _finish(self, mail: int, worker: _Worker, provider: str, began: float) -> None:
        if worker.factor == inf:
            return
        worker.work[provider].end(began, self.now)
        if self._failed(provider, began) and self._other(provider) != provider:
            self._send(mail, worker, self._other(provider))
            return
        worker.release(mail, self.now)
        self._fill(worker)

    def _failed(self, provider: str, began: float) -> bool:
        """Whether the mail waited for a provider that was down, so that it goes on to the other."""
        trouble = self._setup.trouble
        down = trouble is not None and not trouble.rate and trouble.provider == provider
        return down and trouble is not None and trouble.begins <= began < trouble.ends
