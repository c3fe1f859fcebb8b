"""What the charts of the last hour show: how much was sent, how long it took, and how each breaker stood."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import groupby

from postman.core.fleet.past import worst
from postman.entrypoints.console.charts import Box, Columns, columns, lane, line, top_of
from postman.entrypoints.console.words import spoken, time_of_day
from postman.entrypoints.hour import FleetMinute, Hour

__all__ = ["Charts", "Lane", "charts_of", "states_of"]

_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Lane:
    """How a provider's breaker stood, at the worst of the workers, minute by minute."""

    provider: str
    boxes: Sequence[Box]
    words: str
    """The same as a sentence."""


@dataclass(frozen=True, slots=True)
class Charts:
    """The shapes of the charts; *minutes* are without the one that has just begun."""

    hour: Hour
    minutes: Sequence[FleetMinute]
    mails: Columns
    half: str
    """The path of the line below which half of the mails are."""
    most: str
    """The path of the line below which 99 of 100 are."""
    took_top: float
    """Seconds at the upper edge of both."""
    lanes: Sequence[Lane]


def charts_of(hour: Hour) -> Charts:
    """Return what is drawn of *hour*."""
    minutes = [minute for minute in hour.minutes if minute.is_whole or minute is not hour.minutes[-1]]
    rates = [_rates(minute) for minute in minutes]
    half, most = ([minute.sums.latency.quantile(share) for minute in minutes] for share in (0.5, 0.99))
    top = top_of(max((each for each in most if each is not None), default=0.0))
    states = states_of(hour)
    return Charts(
        hour=hour,
        minutes=minutes,
        mails=columns(rates, hour.providers),
        half=line(half, top),
        most=line(most, top),
        took_top=top,
        lanes=[Lane(name, lane([state for _, state in each]), _words(each)) for name, each in states.items()],
    )


def states_of(hour: Hour) -> Mapping[str, Sequence[tuple[float, str]]]:
    """Return for each provider when each minute began, and its worst state then; empty where nobody told."""
    names = sorted({name for minute in hour.minutes for name in minute.breakers})
    return {name: [(minute.begins, _state(minute, name)) for minute in hour.minutes] for name in names}


def _rates(minute: FleetMinute) -> Mapping[str, float] | None:
    if not minute.is_known or minute.seconds <= 0:
        return None
    return {name: each.accepted / minute.seconds for name, each in minute.sums.providers.items()}


def _state(minute: FleetMinute, name: str) -> str:
    seen = minute.breakers.get(name, {})
    return reduce(worst, seen) if seen else ""


def _words(states: Sequence[tuple[float, str]]) -> str:
    """Say when it was otherwise than closed."""
    spans = []
    for state, group in groupby(states, key=lambda each: each[1]):
        begins = [each[0] for each in group]
        if state not in ("", "closed"):
            spans.append(f"{spoken(state)} from {time_of_day(begins[0])} to {time_of_day(begins[-1] + _MINUTE)}")
    return ", ".join(spans) or ("closed" if any(state for _, state in states) else "not known")
