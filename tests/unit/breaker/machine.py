"""Hypothesis plays at being everybody who uses a breaker, and compares it with its model all the while."""

from math import inf

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.breaker.kit import Kit, Time
from tests.unit.breaker.model import Rules
from tests.unit.breaker.pair import AT_ONCE, OVERLAPPING, Ending, Pair

__all__ = ["machine_for", "rules"]

Act = tuple[str, float | None]

# All times are sums of powers of two, so that no sum is rounded.


@st.composite
def rules(draw: st.DrawFn) -> Rules:
    """Settings in which much happens in few steps."""
    return Rules(
        consecutive=draw(st.sampled_from([2, 1, 3, None])),
        rate=draw(st.sampled_from([0.5, None, 0.25, 1.0])),
        slow_after=draw(st.sampled_from([0.5, 2.0, None])),
        slow_rate=draw(st.sampled_from([0.5, 1.0])),
        minimum=draw(st.integers(1, 5)),
        window=draw(st.sampled_from([10.0, 1.25, 80.0])),
        open_for=draw(st.sampled_from([2.0, 0.5, 8.0])),
        factor=draw(st.sampled_from([2.0, 1.0, 3.0])),
        max_open=draw(st.sampled_from([16.0, 4.0])),
        jitter=draw(st.sampled_from([0.0, 0.5])),
        probes=draw(st.integers(1, 3)),
        successes=draw(st.integers(1, 3)),
        lease=draw(st.sampled_from([4.0, 1.0])),
        locked_for=draw(st.sampled_from([16.0, 2.0**17])),
        max_retry_after=16.0,
    )


_ASKED = st.sampled_from([None, 4.0, 1.0, 2.0**20, 0.0, -1.0])
_ENDINGS = st.one_of(
    st.just(Ending("none")),
    st.builds(Ending, st.sampled_from(["service", "throttled", "account"]), _ASKED),
    st.sampled_from([Ending("service"), Ending("call"), Ending("local"), Ending("broken")]),
    st.builds(Ending, st.just("cancelled"), by=st.sampled_from(["cancel", "close", "interrupt"])),
)
_FINE = (0.015625, 0.0625, 0.5, 1.0)
_COARSE = (0.125, 0.5, -0.125, -4.0, -1000.0)
_SECONDS = st.sampled_from([1.0, 8.0, 64.0])

_FORCED = st.tuples(st.sampled_from(["open", "closed", "disabled"]), st.none() | _SECONDS)
_ACTS: st.SearchStrategy[Act] = st.one_of(
    _FORCED,
    st.tuples(st.sampled_from(["release", "reset"]), st.none()),
    st.tuples(st.sampled_from(["lock out", "pause"]), _SECONDS),
    st.tuples(st.just("take over"), st.sampled_from([0.0, 1.0, 64.0])),
)


class _Machine(RuleBasedStateMachine):
    """The rules; a subclass says whom they judge."""

    kit: Kit
    pair: Pair

    @initialize(settings=rules(), luck=st.sampled_from([0.0, 0.5]), goes_back=st.booleans(), looks=st.booleans())
    def make(self, settings: Rules, luck: float, goes_back: bool, looks: bool) -> None:
        """Half of the runs look at the breaker after each act; looking makes it count what it has put off.

        A clock that goes back makes no step so short that only the lock-free path would see where it had been."""
        steps = _COARSE if goes_back else _FINE
        self.steps = st.sampled_from(
            (
                *steps,
                settings.window / 10,
                settings.window,
                settings.lease,
                settings.open_for,
                settings.slow_after or 4.0,
            )
        )
        self.looks = looks
        self.pair = Pair(self.kit, settings, Time())
        self.pair.set_luck(luck)

    @rule(way=st.sampled_from(OVERLAPPING), count=st.integers(1, 3))
    def begin(self, way: str, count: int) -> None:
        for _ in range(count):
            self.pair.begin(way)

    @precondition(lambda self: self.pair.held)
    @rule(data=st.data(), ending=_ENDINGS, keep=st.booleans())
    def end(self, data: st.DataObject, ending: Ending, keep: bool) -> None:
        self.pair.end(data.draw(st.integers(0, len(self.pair.held) - 1)), ending, keep=keep)

    @rule(way=st.sampled_from(AT_ONCE), ending=_ENDINGS, count=st.integers(1, 3))
    def call(self, way: str, ending: Ending, count: int) -> None:
        for _ in range(count):
            self.pair.at_once(way, ending, lambda: None)

    @rule(way=st.sampled_from(AT_ONCE), ending=_ENDINGS, data=st.data(), other=_ENDINGS)
    def call_for_a_while(self, way: str, ending: Ending, data: st.DataObject, other: Ending) -> None:
        """While the call runs, time passes and another call is made."""
        step = data.draw(self.steps)

        def inside() -> None:
            self.pair.time.now += step
            self.pair.at_once("call", other, lambda: None)

        self.pair.at_once(way, ending, inside)

    @rule(data=st.data())
    def wait(self, data: st.DataObject) -> None:
        """Before the clock goes back a call is made, so that the breaker has seen from where."""
        step = data.draw(self.steps)
        if step < 0:
            self.pair.at_once("call", Ending("local"), lambda: None)
        self.pair.time.now += step

    @rule()
    def wait_for_leave(self) -> None:
        """As a patient caller does."""
        wait = self.pair.model.wait(self.pair.time.now)
        if 0 < wait < inf:
            self.pair.time.now = self.pair.model.now + wait
        self.pair.begin("acall")

    @rule(policy=st.sampled_from(["yes", "no", "raise"]), luck=st.sampled_from([0.0, 0.5]))
    def change_what_it_is_given(self, policy: str, luck: float) -> None:
        self.pair.policy = policy
        self.pair.set_luck(luck)

    @rule(act=_ACTS)
    def operate(self, act: Act) -> None:
        match act:
            case ("take over", float(elapsed)):
                self.pair.take_over(elapsed)
            case _:
                self.pair.operate(*act)

    @rule()
    def look(self) -> None:
        self.pair.look()

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "pair"):
            self.pair.look() if self.looks else self.pair.check()

    def teardown(self) -> None:
        if hasattr(self, "pair"):
            self.pair.drop()


def machine_for(package: Kit) -> type[RuleBasedStateMachine]:
    """Return the machine that judges *package*."""

    class Judge(_Machine):
        kit = package

    return Judge
