"""One seed from its beginning to its end: chaos, healing, waiting, draining, judgement."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from tests.simulation.cluster import Cluster, Seat
from tests.simulation.loop import DeadlockError
from tests.simulation.provider import MODES, ProviderStore
from tests.simulation.quiet import SURPRISES
from tests.simulation.stage import Stage
from tests.simulation.swarm import NOTHING, Plan, draw_plan
from tests.simulation.verdict import judge, unfinished

__all__ = ["Outcome", "simulate"]

_LIVENESS: Final = 600.0
"""Seconds after healing within which every mail must be finished."""
_DRAINING: Final = 20.0
_AFTERMATH: Final = 60.0
"""Seconds in which the last late requests and events arrive."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one seed."""

    seed: int
    wrongs: tuple[str, ...]
    marks: Counter[str]
    lasted: float
    """Virtual seconds."""
    healing: float
    """Of these, how many after all was well again, until every mail was finished."""
    lines: tuple[str, ...] = field(default=(), repr=False)


def simulate(seed: int, *, traces: bool = False, emphasis: Mapping[str, float] = NOTHING) -> Outcome:
    """Run *seed*; its course is the same each time."""
    plan = draw_plan(seed, emphasis)
    stage = Stage(seed, plan.rates, shuffles=plan.shuffles, traces=traces)
    world = _World(stage, plan)
    try:
        stage.loop.run(world.run(), stage.lane)
    except DeadlockError as error:
        stage.wrong(f"deadlock: {error}")
    for complaint in (*stage.loop.complaints, *SURPRISES):
        stage.wrong(f"surprise: {complaint}")
    SURPRISES.clear()
    return Outcome(seed, tuple(stage.wrongs), stage.marks, stage.loop.time(), world.healing, tuple(stage.lines))


class _World:
    def __init__(self, stage: Stage, plan: Plan) -> None:
        self._stage = stage
        self._plan = plan
        self._random = stage.random("world")
        self._cluster = Cluster(stage, plan)
        self.healing = 0.0

    async def run(self) -> None:
        stage = self._stage
        self._cluster.start()
        stage.is_chaotic = True
        weather = [asyncio.ensure_future(self._weather(fault, act)) for fault, act in self._acts()]
        await asyncio.sleep(self._plan.chaos)
        for task in weather:
            task.cancel()
        self._heal()
        if await self._wait_until_finished():
            await self._drain()
            await asyncio.sleep(_AFTERMATH)
            self._judge()

    def _acts(self) -> list[tuple[str, Callable[[], None]]]:
        acts: list[tuple[str, Callable[[], None]]] = []
        for seat in self._cluster.seats:
            acts += [
                ("second.crash", partial(self._crash, seat)),
                ("second.pause", partial(self._pause, seat)),
                ("second.stop", partial(self._stop, seat)),
                ("second.skew", partial(self._skew, seat)),
                ("second.cut", partial(self._cut, seat.name)),
            ]
        for provider in self._cluster.providers:
            acts.append(("second.outage", partial(self._outage, provider)))
        acts.append(("second.ledger_away", partial(self._cut_for, "", "ledger", 20.0)))
        acts.append(("second.queue_away", partial(self._cut_for, "", "queue", 20.0)))
        acts.append(("second.replay", self._cluster.replay))
        acts.append(("second.layout", self._cluster.change_layout))
        return [(fault, act) for fault, act in acts if fault in self._stage.rates]

    async def _weather(self, fault: str, act: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(self._random.expovariate(self._stage.rates[fault]))
            act()

    def _crash(self, seat: Seat) -> None:
        if seat.process is not None:
            self._stage.tell(f"{seat.process.label} crashes")
            self._stage.reached("crash")
            seat.process.crash()

    def _pause(self, seat: Seat) -> None:
        process = seat.process
        if process is None or process.is_paused:
            return
        seconds = self._random.choice((1.0, 10.0, 40.0)) * self._random.random()
        self._stage.tell(f"{process.label} stands still for {seconds:.1f} s")
        self._stage.reached("pause")
        process.pause()
        self._stage.after(seconds, process.resume)

    def _stop(self, seat: Seat) -> None:
        if seat.worker is not None and seat.process is not None:
            self._stage.tell(f"{seat.process.label} is told to stop")
            self._stage.reached("stop")
            seat.process.start(_call(seat.worker.stop))

    def _skew(self, seat: Seat) -> None:
        if seat.process is not None:
            seat.process.clock.skew = self._cluster.skew()

    def _cut(self, name: str) -> None:
        self._cut_for(name, self._random.choice(("ledger", "queue")), 40.0)

    def _cut_for(self, name: str, service: str, longest: float) -> None:
        seconds = longest * self._random.random()
        self._stage.tell(f"{name or 'everybody'} cannot reach the {service} for {seconds:.1f} s")
        self._stage.cut(name, service)
        self._stage.after(seconds, self._stage.mend, name, service)

    def _outage(self, provider: ProviderStore) -> None:
        seconds = 40.0 * self._random.random()
        mode = self._random.choice(MODES)
        self._stage.tell(f"{provider.plan.name} is {mode} for {seconds:.1f} s")
        provider.mode = mode

        def over() -> None:
            provider.mode = ""

        self._stage.after(seconds, over)

    def _heal(self) -> None:
        self._stage.tell("all is well again")
        self._stage.is_chaotic = False
        self._stage.mend_all()
        self._cluster.settle_layout()
        for provider in self._cluster.providers:
            provider.mode = ""
        for seat in self._cluster.seats:
            if seat.process is not None and seat.process.is_paused:
                seat.process.resume()

    async def _wait_until_finished(self) -> bool:
        healed_at = self._stage.loop.time()
        while self._stage.loop.time() < healed_at + _LIVENESS:
            if self._cluster.is_at_rest:
                self.healing = self._stage.loop.time() - healed_at
                return True
            await asyncio.sleep(1.0)
        self._stage.wrong(f"liveness: not finished {_LIVENESS:.0f} s after all was well: {unfinished(self._cluster)}")
        return False

    async def _drain(self) -> None:
        self._cluster.close()
        await asyncio.sleep(_DRAINING)
        for seat in self._cluster.seats:
            if seat.process is not None:
                self._stage.wrong(f"liveness: {seat.process.label} did not drain within {_DRAINING:.0f} s")

    def _judge(self) -> None:
        judge(self._cluster)


async def _call(act: Callable[[], None]) -> None:
    act()
