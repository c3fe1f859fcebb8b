"""The meter: what was done, and for how long it lay in hand, to the second."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postman.adapters.memory import MemoryLedger
from postman.core.fleet.reports import ProviderWork, WorkWindow
from postman.core.ids import MailId
from postman.core.protocol import Entry
from postman.errors import LedgerUnavailableError
from postman.runtime.meter import History, Meter, Span
from postman.runtime.watched import WatchedLedger
from postman.testing.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def meter(clock: FakeClock) -> Meter:
    return Meter(clock)


async def test_a_mail_counts_where_it_was_for_as_long_as_it_was_there(meter: Meter, clock: FakeClock) -> None:
    await clock.sleep(1.0)
    with meter.begin("a"):
        await clock.sleep(3.0)
    await clock.sleep(6.0)
    window = meter.close_window()
    assert window.work == {"a": ProviderWork(1.0, 3.0, 3.0, 9.0)}
    assert (window.seconds, window.ends, window.oldest) == (10.0, clock.time(), 0.0)


async def test_mails_in_hand_together_add_their_seconds(meter: Meter, clock: FakeClock) -> None:
    first, second = meter.begin("a"), meter.begin("a")
    await clock.sleep(2.0)
    first.end()
    await clock.sleep(1.0)
    second.end()
    assert meter.close_window().work == {"a": ProviderWork(2.0, 5.0, 5.0, 13.0)}


async def test_a_mail_across_windows_counts_in_each_and_is_done_in_the_last(meter: Meter, clock: FakeClock) -> None:
    """The seconds belong to the window in which they passed; how long it took is known at the end."""
    span = meter.begin("a")
    await clock.sleep(4.0)
    first = meter.close_window()
    await clock.sleep(1.0)
    span.end()
    second = meter.close_window()
    assert first.work == {"a": ProviderWork(0.0, 4.0, 0.0, 0.0)}
    assert second.work == {"a": ProviderWork(1.0, 1.0, 5.0, 25.0)}
    assert meter.close_window().work == {}


async def test_the_oldest_mail_is_known_even_when_younger_ones_end(meter: Meter, clock: FakeClock) -> None:
    """A mail that moves on does not become younger."""
    hanging = meter.begin("a")
    await clock.sleep(5.0)
    meter.begin("a").end()
    hanging.move("b")
    young = meter.begin("a")
    await clock.sleep(2.0)
    young.end()
    assert meter.close_window().oldest == 7.0
    hanging.end()
    assert meter.close_window().oldest == 0.0


async def test_a_mail_that_moves_on_is_done_where_it_ends(meter: Meter, clock: FakeClock) -> None:
    """Where it failed its seconds count, so that a worker that alone fails there shows."""
    span = meter.begin("a")
    await clock.sleep(2.0)
    span.move("b")
    await clock.sleep(3.0)
    span.end()
    assert meter.close_window().work == {"a": ProviderWork(0.0, 2.0, 0.0, 0.0), "b": ProviderWork(1.0, 3.0, 3.0, 9.0)}


async def test_a_mail_that_was_not_ours_leaves_no_trace(meter: Meter, clock: FakeClock) -> None:
    with meter.begin("a") as span:
        await clock.sleep(2.0)
        span.drop()
        await clock.sleep(2.0)
    assert meter.close_window().work == {}


async def test_a_dropped_mail_never_makes_a_sum_negative(meter: Meter, clock: FakeClock) -> None:
    """What an earlier window has told of it is told, and no other mail loses by it."""
    span = meter.begin("a")
    await clock.sleep(3.0)
    assert meter.close_window().work == {"a": ProviderWork(0.0, 3.0, 0.0, 0.0)}
    other = meter.begin("a")
    await clock.sleep(1.0)
    span.drop()
    other.end()
    assert meter.close_window().work == {"a": ProviderWork(1.0, 1.0, 1.0, 1.0)}


async def test_an_error_ends_a_mail_and_ending_twice_counts_once(meter: Meter, clock: FakeClock) -> None:
    span = meter.begin("a")
    await clock.sleep(1.0)
    with pytest.raises(RuntimeError), span:
        raise RuntimeError
    span.end()
    span.drop()
    assert meter.close_window().work == {"a": ProviderWork(1.0, 1.0, 1.0, 1.0)}


async def test_full_is_counted_from_the_last_place_taken_to_the_first_one_free(meter: Meter, clock: FakeClock) -> None:
    """Across windows, and however often it is told."""
    meter.set_full(is_full=True)
    await clock.sleep(2.0)
    meter.set_full(is_full=True)
    meter.set_full(is_full=True)
    assert meter.close_window().full_for == 2.0
    await clock.sleep(3.0)
    meter.set_full(is_full=False)
    meter.set_full(is_full=False)
    await clock.sleep(4.0)
    assert meter.close_window().full_for == 3.0


async def test_a_pause_of_several_shards_is_one_pause(meter: Meter, clock: FakeClock) -> None:
    with meter.pause():
        await clock.sleep(1.0)
        with meter.pause():
            await clock.sleep(1.0)
        await clock.sleep(1.0)
    await clock.sleep(5.0)
    assert meter.close_window().paused_for == 3.0


class _Account:
    """What the meter should say, kept second by second in the plainest way."""

    def __init__(self) -> None:
        self.held: list[tuple[Span, str, float]] = []
        """Mails in hand, where, and for how many seconds there in this window."""
        self.area = dict.fromkeys("abc", 0.0)
        self.done = dict.fromkeys("abc", 0.0)

    def pass_time(self, seconds: float) -> None:
        self.held = [(span, where, so_far + seconds) for span, where, so_far in self.held]
        for _, where, _ in self.held:
            self.area[where] += seconds

    def leave(self, what: str, provider: str) -> None:
        """Take the mail in the middle out of hand; *what* becomes of it may be that it moves to *provider*."""
        span, where, so_far = self.held.pop(len(self.held) // 2)
        match what:
            case "end":
                span.end()
                self.done[where] += 1
            case "drop":
                span.drop()
                self.area[where] -= so_far
            case _:
                span.move(provider)
                self.held.append((span, provider, 0.0))

    def close_window(self) -> None:
        self.held = [(span, where, 0.0) for span, where, _ in self.held]


async def test_calls_to_the_ledger_are_counted_window_by_window_however_they_end() -> None:
    clock = FakeClock()
    meter, ledger = Meter(clock), MemoryLedger(clock)
    watched = WatchedLedger(_Slow(ledger, clock, 0.5), clock, meter.ledger_called)
    await watched.find(MailId("m"))
    with pytest.raises(LedgerUnavailableError):
        await WatchedLedger(_Slow(ledger, clock, 2.0, fails=True), clock, meter.ledger_called).find(MailId("m"))
    window = meter.close_window()
    assert window.ledger_calls == 2
    assert window.ledger_took == pytest.approx(2.5)
    assert (meter.close_window().ledger_calls, meter.close_window().ledger_took) == (0, 0.0)


class _Slow:
    """A ledger whose `find` takes its time."""

    def __init__(self, ledger: MemoryLedger, clock: FakeClock, seconds: float, *, fails: bool = False) -> None:
        self._ledger, self._clock, self._seconds, self._fails = ledger, clock, seconds, fails

    async def find(self, mail_id: MailId) -> Entry | None:
        await self._clock.sleep(self._seconds)
        if self._fails:
            raise LedgerUnavailableError("away")
        return await self._ledger.find(mail_id)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)


_STEP = st.tuples(
    st.sampled_from(["begin", "begin", "end", "move", "drop", "close"]), st.sampled_from("abc"), st.integers(0, 50)
)


@given(st.lists(_STEP, max_size=60))
async def test_the_sums_are_those_of_a_plain_account(steps: list[tuple[str, str, int]]) -> None:
    """However mails overlap, move and cross windows, every second and every mail is counted once."""
    clock = FakeClock()
    meter, account = Meter(clock), _Account()
    windows: list[WorkWindow] = []
    for what, provider, seconds in steps:
        await clock.sleep(seconds)
        account.pass_time(seconds)
        if what == "begin":
            account.held.append((meter.begin(provider), provider, 0.0))
        elif what == "close":
            windows.append(meter.close_window())
            account.close_window()
        elif account.held:
            account.leave(what, provider)
    windows.append(meter.close_window())
    for provider in "abc":
        parts = [window.work.get(provider, ProviderWork()) for window in windows]
        assert sum(part.outstanding for part in parts) == pytest.approx(account.area[provider])
        assert sum(part.done for part in parts) == account.done[provider]


def _window(ends: float, done: float = 30.0) -> WorkWindow:
    return WorkWindow(ends, 30.0, {"a": ProviderWork(done, 60.0, 50.0, 90.0)})


def test_the_history_holds_the_latest_ten_windows_and_folds_the_rest() -> None:
    history = History()
    for number in range(10):
        history.add(_window(30.0 * number))
    assert history.baseline == {}
    history.add(_window(300.0))
    assert [window.ends for window in history.windows] == [30.0 * number for number in range(1, 11)]
    assert history.baseline == {"a": ProviderWork(30.0, 60.0, 50.0, 90.0)}


def test_the_baseline_forgets_half_within_an_hour() -> None:
    """So it levels out at what an hour and a half brings, about 173 windows, and follows a lasting change."""
    history = History()
    for number in range(121 + 9):
        history.add(_window(30.0 * number))
    history._windows.clear()
    first = history.baseline["a"].done
    for number in range(10 + 120):
        history.add(WorkWindow(30.0 * number, 30.0))
    assert history.baseline["a"].done == pytest.approx(first / 2, rel=0.01)
    assert history.baseline["a"].outstanding == pytest.approx(2 * history.baseline["a"].done)


def test_a_retired_provider_is_forgotten_in_the_end() -> None:
    history = History()
    for number in range(11 + 120 * 20):
        history.add(_window(0.0) if number == 0 else WorkWindow(30.0 * number, 30.0))
    assert history.baseline == {}
