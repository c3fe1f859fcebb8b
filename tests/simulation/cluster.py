"""The cluster: workers made of the product's own parts, begun again when they end, and those who deal with them."""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, Final

from postman.breaker import CircuitBreaker, Recovery, Trip
from postman.breaker import Event as BreakerEvent
from postman.breaker import State as BreakerState
from postman.core.events import MailEvent
from postman.core.ids import MailId
from postman.core.layout import Layout
from postman.errors import LedgerUnavailableError, PostmanError, QueueUnavailableError
from postman.runtime.courier import Limits
from postman.runtime.deadletters import Choice, DeadLetters
from postman.runtime.failover import Failover, Route
from postman.runtime.following import Following
from postman.runtime.worker import Worker, WorkerSettings
from tests.simulation.layouts import LayoutStore, SimLayouts, change_at_random, settle
from tests.simulation.ledger import LedgerStore, SimLedger
from tests.simulation.mails import Letter
from tests.simulation.process import Process
from tests.simulation.provider import ProviderStore, SimProvider
from tests.simulation.queue import SimShards, Town
from tests.simulation.stage import Stage
from tests.simulation.swarm import Plan
from tests.simulation.watch import Watch

__all__ = ["Cluster", "Seat"]

_MARGIN: Final = 3.0
_CLAIMING: Final = 5.0
_GRACE: Final = 8.0
_PULL_WAIT: Final = 6.0


class Seat:
    """A place in which a worker runs; when it ends, another takes it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lives = 0
        self.process: Process | None = None
        self.worker: Worker | None = None


class Cluster:
    """See the module."""

    def __init__(self, stage: Stage, plan: Plan) -> None:
        self.stage = stage
        self.plan = plan
        by_id: dict[MailId, Letter] = {}
        for letter in plan.letters:
            by_id.setdefault(letter.mail_id, letter)
        self.watch = Watch(stage, plan.letters, {provider.name: provider for provider in plan.providers})
        self.store = LedgerStore(stage, self.watch)
        self.watch.entries = self.store.entries
        self.town = Town(stage, self.watch, count=plan.shards, ack_deadline=plan.ack_deadline)
        self.layouts = LayoutStore(stage, Layout.of(plan.shards))
        self.watch.epochs = self.layouts.epochs
        self.providers = [
            ProviderStore(stage, provider, self.watch, by_id, self.receive) for provider in plan.providers
        ]
        self.seats = [Seat(f"w{number}") for number in range(plan.workers)]
        self._errands: list[tuple[Process, asyncio.Task[None]]] = []
        self.dead: list[Process] = []
        """Ended processes; referred to, so that nothing of theirs is collected and run to its end."""
        self._is_open = True
        self._random = stage.random("cluster")
        self._layout_random = stage.random("layout")
        self._outside = Process(stage.loop, "outside")
        self._outside_ledger = self._ledger_for(self._outside)
        self._outside_shards = SimShards(stage, self._outside, self.town)

    def start(self) -> None:
        """Begin all that is not the world's."""
        for seat in self.seats:
            self.begin(seat)
        for letter in self.plan.letters:
            for copy in range(letter.copies):
                self._errand(self._outside, self._publish(letter, letter.publish_at + 3.0 * copy))

    def begin(self, seat: Seat) -> None:
        """Start a worker in *seat*."""
        process = Process(self.stage.loop, seat.name, seat.lives, skew=self.skew())
        seat.lives += 1
        seat.process, seat.worker = process, None
        process.on_death = lambda: self._end(seat, pause=self._random.uniform(0.5, 10.0))
        process.start(self._work(seat, process))

    def skew(self) -> float:
        return self._random.uniform(-1.0, 1.0) * self.plan.longest_skew

    def change_layout(self) -> None:
        """Let an operator change which shards are read and filled; workers learn of it one after the other."""
        self.layouts.change(change_at_random(self.layouts.layout, self._layout_random, self.stage.time()))
        self.stage.reached("a change of the layout")

    def settle_layout(self) -> None:
        """Let every shard that is filled be read."""
        for layout in settle(self.layouts.layout, self.stage.time()):
            self.layouts.change(layout)

    def receive(self, event: MailEvent) -> None:
        """Let the one who receives events record *event*, however long it takes."""
        self._outside.start(self._record(event))

    def replay(self) -> None:
        """Let an operator replay what is dead now; he may be gone before it is done."""
        process = Process(self.stage.loop, "operator", len(self.dead))
        self.dead.append(process)
        self._errand(process, self._replay(process))
        if self._random.random() < 0.3:
            self.stage.after(self._random.random(), process.crash)

    @property
    def is_at_rest(self) -> bool:
        """Whether nobody publishes or replays any more, and no mail waits or is handed out."""
        return self.town.is_empty and all(task.done() or process.is_dead for process, task in self._errands)

    def _errand(self, process: Process, work: Coroutine[Any, Any, None]) -> None:
        self._errands.append((process, process.start(work)))

    def close(self) -> None:
        """Tell all workers to stop, and let none take their seats."""
        self._is_open = False
        for seat in self.seats:
            if seat.worker is not None and seat.process is not None:
                seat.process.start(_call(seat.worker.stop))

    def _end(self, seat: Seat, *, pause: float) -> None:
        if seat.process is not None:
            self.dead.append(seat.process)
        seat.process = seat.worker = None
        self.stage.after(pause, self._begin_again, seat)

    def _begin_again(self, seat: Seat) -> None:
        if seat.process is None and self._is_open:
            self.begin(seat)

    async def _work(self, seat: Seat, process: Process) -> None:
        worker = self._worker(process)
        seat.worker = worker
        await worker.run()
        self.stage.tell(f"{process.label} has stopped")
        self.watch.stopped(process)
        self._end(seat, pause=1.0)

    def _worker(self, process: Process) -> Worker:
        stage = self.stage
        random = stage.random(f"worker {process.label}")
        numbers = iter(range(1, 1_000_000))
        failover = Failover(
            [self._route(process, provider, random) for provider in self.providers],
            clock=process.clock,
            random=random,
            rehome_after=30.0,
        )
        budget = 2 * failover.longest_timeout + _MARGIN
        return Worker(
            shards=SimShards(stage, process, self.town),
            ledger=self._ledger_for(process),
            failover=failover,
            clock=process.clock,
            settings=WorkerSettings(
                limits=Limits(lease=budget + _MARGIN, budget=budget),
                concurrency=self.plan.concurrency,
                ack_deadline=self.plan.ack_deadline,
                grace=_GRACE,
                doubt_window=self.plan.window,
                pull_wait=_PULL_WAIT,
            ),
            new_claim_id=lambda: f"{process.name}-{process.life}.{next(numbers)}",
            random=random,
            following=self._following(process),
        )

    def _following(self, process: Process) -> Following:
        random = self.stage.random(f"layouts of {process.label}")
        layouts = SimLayouts(self.stage, process, self.layouts, random)
        return Following(Layout.of(self.plan.shards), clock=process.clock, store=layouts)

    def _route(self, process: Process, store: ProviderStore, random: Random) -> Route:
        provider = SimProvider(self.stage, process, store, self.watch)

        def on_event(event: BreakerEvent) -> None:
            if event.new is BreakerState.OPEN and event.old is not BreakerState.OPEN:
                self.watch.opened(process, store.plan.name)

        breaker = CircuitBreaker(
            provider.name,
            Trip(slow_after=provider.timeout / 2),
            Recovery(max_open=20.0, lease=provider.timeout + _CLAIMING, locked_for=30.0),
            clock=process.clock.now,
            random=random.random,
            on_event=on_event,
        )
        return Route(provider, breaker)

    def _ledger_for(self, process: Process) -> SimLedger:
        return SimLedger(self.stage, process, self.store, self.stage.random(f"ledger of {process.label}"))

    async def _publish(self, letter: Letter, at: float) -> None:
        await asyncio.sleep(at)
        shard = self._random.randrange(self.plan.shards)
        if self.layouts.layout.epoch:
            shard = self._layout_random.choice(self.layouts.epochs[-3:]).shard_of(letter.mail_id)
        queue = self._outside_shards.queue(shard)
        while True:
            try:
                return await queue.publish(letter.message)
            except QueueUnavailableError:
                await asyncio.sleep(1.0)

    async def _record(self, event: MailEvent) -> None:
        while True:
            try:
                entry = await self._outside_ledger.record_event(MailId(event.mail_id), event)
            except LedgerUnavailableError:
                await asyncio.sleep(2.0)
            else:
                if entry is None:
                    self.stage.wrong(f"S3 {event.mail_id}: the ledger does not know that {event.provider} ever had it")
                return

    async def _replay(self, process: Process) -> None:
        shards, ledger = SimShards(self.stage, process, self.town), self._ledger_for(process)
        letters = DeadLetters(shards=shards, ledger=ledger, layout=self.layouts.layout)
        try:
            replayed = await letters.replay(Choice(), reason="an operator's")
        except PostmanError:
            self.stage.reached("a replay was broken off")
        else:
            self.stage.reached("a replay")
            self.stage.tell(f"{process.label}: {replayed}")


async def _call(act: Callable[[], None]) -> None:
    act()
