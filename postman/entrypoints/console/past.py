"""The last minutes of the whole fleet, put together from the workers' windows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from postman.core.fleet.reports import ProviderWork, WorkerReport, WorkWindow

__all__ = ["Past", "Slot", "past_of"]

_SLOT: Final = 30.0
_SLOTS: Final = 10


@dataclass(frozen=True, slots=True)
class Slot:
    """Half a minute of all workers together."""

    begins: float
    """Seconds since 1970."""
    seconds: float = _SLOT
    done: Mapping[str, float] = field(default_factory=dict)
    """Mails that ended, by provider."""
    took: float | None = None
    """Mean seconds for which they lay in workers' hands; None where none ended."""
    is_known: bool = False
    """Whether any worker told of it: unknown is not the same as nothing."""

    @property
    def rate(self) -> float:
        """Mails that ended a second."""
        return sum(self.done.values()) / self.seconds


@dataclass(frozen=True, slots=True)
class Past:
    """What the charts show, oldest first."""

    slots: Sequence[Slot]
    providers: Sequence[str]

    @property
    def minutes(self) -> int:
        """How much it is."""
        return round(sum(slot.seconds for slot in self.slots) / 60)


def past_of(reports: Sequence[WorkerReport], now: float) -> Past:
    """Return the last five minutes at *now*, without the half minute of which not all workers have told.

    A window that lies in two slots is shared out by its time, since workers report at different moments.
    """
    ends = (now - max((report.window for report in reports), default=_SLOT)) // _SLOT * _SLOT
    begins = [ends - _SLOT * number for number in range(_SLOTS, 0, -1)]
    windows = [window for report in reports for window in report.windows]
    slots = [_slot(begin, windows) for begin in begins]
    return Past(slots, sorted({provider for slot in slots for provider in slot.done}))


def _slot(begins: float, windows: Sequence[WorkWindow]) -> Slot:
    shares = [(window, share) for window in windows if (share := _share(window, begins)) > 0]
    work: dict[str, ProviderWork] = {}
    for window, share in shares:
        for provider, each in window.work.items():
            work[provider] = work.get(provider, ProviderWork()) + each.times(share)
    done = sum(each.done for each in work.values())
    return Slot(
        begins=begins,
        done={provider: each.done for provider, each in work.items() if each.done},
        took=sum(each.took for each in work.values()) / done if done else None,
        is_known=_is_covered(windows, begins),
    )


def _is_covered(windows: Iterable[WorkWindow], begins: float) -> bool:
    """Whether the workers' windows reach over the whole slot, give or take a tenth."""
    begun = min((window.ends - window.seconds for window in windows), default=begins + _SLOT)
    ended = max((window.ends for window in windows), default=begins)
    return begun <= begins + _SLOT / 10 and ended >= begins + _SLOT * 0.9


def _share(window: WorkWindow, begins: float) -> float:
    """Return which part of *window* lies in the slot."""
    if window.seconds <= 0:
        return 0.0
    common = min(window.ends, begins + _SLOT) - max(window.ends - window.seconds, begins)
    return max(0.0, common) / window.seconds
