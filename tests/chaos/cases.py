"""The kill matrix: at which step a worker ends or stands still, and what must become of the mails it had."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from signal import SIGKILL, SIGSTOP
from types import MappingProxyType
from typing import Any, Final

from postman.core.mail import OnDoubt
from postman.core.protocol import State
from tests.chaos.traps import Step

__all__ = ["CASES", "Case"]

_SENT: Final = ("claimed", "sent")
_CLEARED: Final = ("claimed", "in doubt", "doubt cleared", "claimed", "sent")
_SETTLED: Final = ("claimed", "in doubt", "sent")
_HELD: Final = ("claimed", "in doubt", "dead-lettered")
_REFUSED: Final = ("claimed", "refused", "dead-lettered")

_UNASKABLE: Final = 0.0
_SILENCE: Final = MappingProxyType({"kind": "hang", "seconds": 20, "only": "send"})
_RESET: Final = MappingProxyType({"kind": "reset_before", "only": "send"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One worker is stopped at *step*, another finds what it left; times in seconds."""

    step: Step
    number: signal.Signals = SIGKILL
    """SIGSTOP is followed by SIGCONT once all leases are over and the second worker has done what it could."""
    history: tuple[str, ...]
    """Of every mail that was at the step."""
    because: str = ""
    """Words that are in that history: by what evidence, or by whose choice."""
    copies: int = 1
    """How often each of them was accepted."""
    state: State = State.SENT
    letters: int = 0
    """How many dead letters there are of each mail; their readers tell them apart by the mail's id."""
    on_doubt: OnDoubt = OnDoubt.ASK
    look_up_after: float = 2.0
    resumes_at: State | None = None
    """The stopped worker goes on when all mails are so; None: when they are sent or dead-lettered."""
    fault: Mapping[str, Any] | None = field(default=None, repr=False)
    """What its provider does to the first worker."""
    is_refused: bool = False
    """Whether the provider refuses the mails."""

    @property
    def is_pause(self) -> bool:
        return self.number is SIGSTOP


_KILLS: Final = {
    "killed when pulled": Case(step=Step.PULLED, history=_SENT),
    "killed when claimed": Case(step=Step.CLAIMED, history=_CLEARED, because="does not have it"),
    "killed before the request leaves": Case(step=Step.SENDING, history=_CLEARED, because="does not have it"),
    "killed when accepted": Case(step=Step.ACCEPTED, history=_SETTLED, because="look-up"),
    "killed when marked": Case(step=Step.MARKED, history=_SENT),
    "killed when acked": Case(step=Step.ACKED, history=_SENT),
    "killed when in doubt": Case(step=Step.DOUBTED, history=_SETTLED, because="look-up", fault=_SILENCE),
    "killed when the doubt is cleared": Case(
        step=Step.CLEARED, history=_CLEARED, because="does not have it", fault=_RESET
    ),
    "killed when the dead letter is published": Case(
        step=Step.BURIED, history=_REFUSED, copies=0, state=State.REFUSED, letters=2, is_refused=True
    ),
    "killed when the dead letter is recorded": Case(
        step=Step.PARKED, history=_REFUSED, copies=0, state=State.REFUSED, letters=1, is_refused=True
    ),
}

_PAUSES: Final = {
    "paused when pulled": Case(step=Step.PULLED, number=SIGSTOP, history=_SENT),
    "paused when claimed": Case(step=Step.CLAIMED, number=SIGSTOP, history=_CLEARED, because="does not have it"),
    "paused before the request leaves": Case(
        step=Step.SENDING,
        number=SIGSTOP,
        history=_SETTLED,
        look_up_after=60.0,
        resumes_at=State.IN_DOUBT,
    ),
    "paused before the request leaves, beyond the look-up's window": Case(
        step=Step.SENDING,
        number=SIGSTOP,
        history=(*_CLEARED, "accepted again"),
        because="does not have it",
        copies=2,
    ),
    "paused when accepted": Case(step=Step.ACCEPTED, number=SIGSTOP, history=_SETTLED, because="look-up"),
    "paused when marked": Case(step=Step.MARKED, number=SIGSTOP, history=_SENT),
    "paused when acked": Case(step=Step.ACKED, number=SIGSTOP, history=_SENT),
    "paused when the dead letter is published": Case(
        step=Step.BURIED,
        number=SIGSTOP,
        history=_REFUSED,
        copies=0,
        state=State.REFUSED,
        letters=2,
        is_refused=True,
    ),
}

_CHOICES: Final = {
    "hold, accepted, the provider can be asked": Case(
        step=Step.ACCEPTED, history=_SETTLED, because="look-up", on_doubt=OnDoubt.HOLD
    ),
    "hold, accepted, nobody can be asked": Case(
        step=Step.ACCEPTED,
        history=_HELD,
        state=State.IN_DOUBT,
        letters=1,
        on_doubt=OnDoubt.HOLD,
        look_up_after=_UNASKABLE,
    ),
    "hold, not sent, nobody can be asked": Case(
        step=Step.SENDING,
        history=_HELD,
        copies=0,
        state=State.IN_DOUBT,
        letters=1,
        on_doubt=OnDoubt.HOLD,
        look_up_after=_UNASKABLE,
    ),
    "hold, killed when the doubt's dead letter is published": Case(
        step=Step.BURIED,
        history=_HELD,
        state=State.IN_DOUBT,
        letters=2,
        on_doubt=OnDoubt.HOLD,
        look_up_after=_UNASKABLE,
        fault=_SILENCE,
    ),
    "resend, accepted": Case(
        step=Step.ACCEPTED, history=_CLEARED, because="chose resend", copies=2, on_doubt=OnDoubt.RESEND
    ),
    "resend, not sent": Case(step=Step.SENDING, history=_CLEARED, because="chose resend", on_doubt=OnDoubt.RESEND),
    "ask, accepted, nobody can be asked": Case(
        step=Step.ACCEPTED, history=_CLEARED, because="nobody gave an answer", copies=2, look_up_after=_UNASKABLE
    ),
    "ask, not sent, nobody can be asked": Case(
        step=Step.SENDING, history=_CLEARED, because="nobody gave an answer", look_up_after=_UNASKABLE
    ),
}

CASES: Final[Mapping[str, Case]] = MappingProxyType({**_KILLS, **_PAUSES, **_CHOICES})
