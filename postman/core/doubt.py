"""What to do with a mail that may have been sent.

Positive evidence always settles it. Absence is evidence only after the
provider's own consistency window. Where nobody can be asked, time is all there
is: then the mail's owner has chosen, by `on_doubt`, between a possible second
copy and a possible loss.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, assert_never

from postman.core.mail import OnDoubt

__all__ = ["Clear", "Found", "Hold", "Settle", "Situation", "Wait", "next_step"]

_LONGEST_WAIT: Final = 300.0
_SHORTEST_WAIT: Final = 0.5


class Found(Enum):
    """What the provider's look-up said."""

    YES = "yes"
    NO = "no"
    NO_ANSWER = "no answer"
    UNASKABLE = "cannot be asked"


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the decision rests on; times in seconds."""

    on_doubt: OnDoubt
    age: float
    """Since the mail may have been sent."""
    found: Found
    look_up_after: float
    """When "not found" becomes evidence."""
    window: float
    """How long to wait for word where the provider cannot be asked."""
    expires_in: float | None = None


@dataclass(frozen=True, slots=True)
class Settle:
    """It was sent."""


@dataclass(frozen=True, slots=True)
class Clear:
    """Send it (again)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Ask again after *seconds*."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hold:
    """Leave it to a person."""


def next_step(case: Situation) -> Settle | Clear | Wait | Hold:
    """Decide about one doubtful mail."""
    if case.found is Found.YES:
        return Settle()
    match case.on_doubt:
        case OnDoubt.RESEND:
            return Clear("its owner chose resend")
        case OnDoubt.HOLD:
            return Hold() if case.age >= _patience(case) else Wait(_pause(case, _patience(case)))
        case OnDoubt.ASK:
            return _ask(case)
    assert_never(case.on_doubt)


def _ask(case: Situation) -> Clear | Wait:
    if case.found is Found.NO and case.age >= case.look_up_after:
        return Clear("the provider does not have it")
    end = case.window if case.found is Found.UNASKABLE else _patience(case)
    if case.found is Found.NO:
        end = case.look_up_after
    if case.age >= end:
        return Clear("nobody gave an answer that decides")
    if case.expires_in is not None and 0 < case.expires_in < end - case.age:
        return Clear("it expires before there can be evidence")
    return Wait(_pause(case, end))


def _patience(case: Situation) -> float:
    """How long to wait for word at all: the provider's window, and ours after it."""
    return case.window if case.found is Found.UNASKABLE else case.look_up_after + case.window


def _pause(case: Situation, end: float) -> float:
    """Ask often at first, then ever more seldom, and once more when the window closes."""
    return max(_SHORTEST_WAIT, min(end - case.age, case.age, _LONGEST_WAIT))
