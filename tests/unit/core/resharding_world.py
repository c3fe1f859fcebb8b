"""A cluster in steps of a second, whose shards change in number: the model that judges the planner.

It knows nothing of how the planner decides. Workers and producers learn of a
change late, each at its own time; some producers never do. Workers take long,
give back, and die; whoever drives the planner stops anywhere, and another goes
on. The model asserts what must hold at every moment.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Final

from postman.core.fleet.reports import ShardWork, WorkerReport
from postman.core.layout import Layout
from postman.core.resharding import Change, Done, Patience, Sight, Step, next_step

__all__ = ["PATIENCE", "World"]

PATIENCE: Final = Patience()
_WINDOW: Final = 20
_LOOK: Final = 5
_OUTAGE: Final = 50
"""Seconds that a worker's looks may fail; longer, and it cannot reach the ledger either, so it gives nothing back."""
_LONGEST_DELAY: Final = 600
_ON_THE_WAY: Final = 85
_LONG: Final = 800
"""Seconds that a mail rests in a worker's hands while no provider can be used."""
_ROOM: Final = 6


@dataclass(slots=True, eq=False)
class Mail:
    shard: int
    published_at: float
    back_at: float = 0.0
    """Nobody is handed it before."""
    is_seen: bool = False
    is_by_follower: bool = True
    """Whether its producer follows the layout."""
    outlived: bool = False
    """Whether a worker died with it: that happens once to each."""


@dataclass(slots=True, eq=False)
class Worker:
    name: str
    layout: Layout
    looks_at: float
    reports_at: float
    reports: bool
    started: float
    held: dict[Mail, float] = field(default_factory=dict)
    """Until when each is worked on."""
    pulled_at: dict[int, float] = field(default_factory=dict)
    published_at: dict[int, float] = field(default_factory=dict)

    def report(self, now: float) -> WorkerReport:
        shards = {
            str(shard): ShardWork(sum(mail.shard == shard for mail in self.held), at, self.published_at[shard])
            for shard, at in self.pulled_at.items()
        }
        return WorkerReport(
            self.name, "host", 1, "1.0", self.started, now, _ROOM, _WINDOW, layout=self.layout.epoch, shards=shards
        )


@dataclass(slots=True, eq=False)
class Producer:
    layout: Layout
    looks_at: float
    follows: bool = True


class World:
    """See the module. Where *counts*, the queues can tell how many mails lie in them."""

    def __init__(self, seed: int, shards: int, *, counts: bool, deaf: int) -> None:
        self.dice = Random(seed)
        self.now = 1_000_000.0
        self.layout = Layout.of(shards)
        self.made = set(range(max(shards, deaf)))
        self.mails: list[Mail] = []
        self.done = 0
        self.steps: list[str] = []
        self._counts = counts
        self._on_the_way: list[Mail] = []
        self._reports: dict[str, WorkerReport] = {}
        self._names = 0
        self._ack_deadline = self.dice.choice([30, 300])
        self._workers = [self._worker(reports=True) for _ in range(3)]
        if counts:
            self._workers.append(self._worker(reports=False))
        self._producers = [Producer(self.layout, self.now + number) for number in range(3)]
        if deaf:
            self._producers.append(Producer(Layout.of(deaf), 0.0, follows=False))
        self._planned: Change | None = None

    @property
    def sight(self) -> Sight:
        depths: dict[int, int | None] = dict.fromkeys(range(self.layout.consume))
        if self._counts:
            depths = {shard: sum(mail.shard == shard for mail in self.mails) for shard in depths}
        return Sight(list(self._reports.values()), depths, self.now)

    def reshard(self, target: int, *, crashes: float = 0.1, limit: int = 20_000) -> None:
        """Drive the planner to its end; whoever drives may stop at any moment, and another goes on."""
        for _ in range(limit):
            self.second()
            if self.dice.random() < 0.5:
                continue
            step = self.plan(target)
            if isinstance(step, Change):
                self.carry_out(step, crashes)
            elif isinstance(step, Done):
                return
        raise AssertionError(f"nothing comes to its end: {self.plan(target)}")

    def plan(self, target: int) -> Step:
        return next_step(self.layout, target, sight=self.sight, patience=PATIENCE)

    def second(self) -> None:
        """Let one second pass for everybody."""
        self.now += 1
        for producer in self._producers:
            self._produce(producer)
        for mail in [mail for mail in self._on_the_way if mail.back_at <= self.now]:
            self._on_the_way.remove(mail)
            self._arrive(mail)
        for worker in list(self._workers):
            self._work(worker)
        self._check()

    def settle(self) -> None:
        """Let the deaf fall silent, and everything that is open come to its end."""
        self._producers = []
        while self._on_the_way or self.mails:
            self.second()
            assert self.now < 2_000_000.0, "mails lie where nobody looks"

    def carry_out(self, step: Change, crashes: float) -> None:
        """Make queues, then put the layout in place, unless another was quicker; stop in between now and then."""
        if self.dice.random() < crashes:
            return
        self.made.update(step.makes)
        if self.dice.random() < crashes:
            return
        if self.dice.random() < crashes and self._planned is not None:
            step = self._planned  # of one who looked long ago
        self._planned = step
        if step.layout.epoch != self.layout.epoch + 1:
            return
        gone = range(step.layout.consume, self.layout.consume)
        self.layout = step.layout
        self.steps.append(step.what)
        left = [mail for mail in self.mails if mail.shard in gone]
        assert not [mail for mail in left if mail.is_seen or mail.is_by_follower], f"given up with mails: {step.what}"
        assert set(range(self.layout.consume)) <= self.made, "a shard is read before it is made"
        for worker in self._workers:
            assert worker.layout.consume >= self.layout.publish, "a shard is filled that a worker does not read"
            assert worker.layout.publish <= self.layout.consume, "a shard is given up that a worker puts mails into"

    def _produce(self, producer: Producer) -> None:
        if producer.follows and self.now >= producer.looks_at:
            producer.layout = self.layout
            producer.looks_at = self.now + _LOOK
        if self.dice.random() < 0.3:
            shard = producer.layout.shard_of(f"mail-{self.dice.random()}")
            takes = self.dice.randrange(_ON_THE_WAY) if self.dice.random() < 0.3 else 0
            self._on_the_way.append(Mail(shard, self.now, self.now + takes, is_by_follower=producer.follows))

    def _arrive(self, mail: Mail) -> None:
        assert mail.shard in self.made, "a mail is put where there is no queue"
        assert mail.shard < self.layout.consume or not mail.is_by_follower, "a mail is put where nobody reads"
        mail.back_at, mail.published_at = 0.0, self.now
        self.mails.append(mail)

    def _work(self, worker: Worker) -> None:
        if self.dice.random() < 0.002 and not any(mail.outlived for mail in worker.held):
            self._die(worker)
            return
        if self.now >= worker.looks_at:
            worker.layout = self.layout
            is_cut_off = worker.reports and self.dice.random() < 0.1
            worker.looks_at = self.now + (self.dice.randrange(_OUTAGE) if is_cut_off else _LOOK)
        for mail in [mail for mail, until in worker.held.items() if until <= self.now]:
            del worker.held[mail]
            self._settle(worker, mail)
        self._pull(worker)
        if worker.reports and self.now >= worker.reports_at:
            self._reports[worker.name] = worker.report(self.now)
            worker.reports_at = self.now + _WINDOW

    def _die(self, worker: Worker) -> None:
        for mail in worker.held:
            mail.back_at, mail.outlived = self.now + self._ack_deadline, True
        self._workers.remove(worker)
        self._workers.append(self._worker(reports=worker.reports))

    def _worker(self, *, reports: bool) -> Worker:
        self._names += 1
        first = self.now + self.dice.randrange(_WINDOW)
        return Worker(f"w{self._names}", self.layout, self.now + 1, first, reports, self.now)

    def _settle(self, worker: Worker, mail: Mail) -> None:
        if self.dice.random() < 0.9:
            self.mails.remove(mail)
            self.done += 1
        elif worker.layout.takes(mail.shard):
            mail.back_at = self.now + self.dice.choice([1, _LONGEST_DELAY])
        else:
            self._move(worker, mail)

    def _move(self, worker: Worker, mail: Mail) -> None:
        mail.shard, mail.is_seen = worker.layout.shard_of(f"mail-{self.dice.random()}"), False
        assert mail.shard < self.layout.consume, "a mail is moved to where nobody reads"

    def _pull(self, worker: Worker) -> None:
        """Take what is free where this worker's layout lets it; look into what was given up once a minute."""
        read = set(worker.layout.read)
        if self.now % 60 == 0:
            for mail in [mail for mail in self.mails if mail.shard in worker.layout.retired]:
                if not self._is_held(mail) and mail.back_at <= self.now:
                    self._move(worker, mail)
        for mail in self.mails:
            if len(worker.held) == _ROOM:
                return
            if mail.shard in read and mail.back_at <= self.now and not self._is_held(mail):
                takes = _LONG if self.dice.random() < 0.003 else self.dice.randrange(1, 5)
                worker.held[mail] = self.now + takes
                mail.is_seen = True
                worker.pulled_at[mail.shard] = self.now
                newest = max(worker.published_at.get(mail.shard, 0.0), mail.published_at)
                worker.published_at[mail.shard] = newest

    def _is_held(self, mail: Mail) -> bool:
        return any(mail in worker.held for worker in self._workers)

    def _check(self) -> None:
        """Every mail lies where a worker that knows the latest layout reads, or now and then looks."""
        for mail in self.mails:
            assert mail.shard < self.layout.top, f"nobody ever looks into shard {mail.shard}"
        assert self.layout.consume >= self.layout.publish
