"""Leave for one call, or the refusal of it."""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Self

from postman.breaker.running import Running, Tick
from postman.breaker.states import State
from postman.breaker.verdicts import LastFailure

__all__ = ["Keeper", "Permit", "RejectedError", "Rejection"]


class Permit:
    """Leave for one call; to be reported once. Whoever loses it loses nothing: it is forgotten in time.

    In a ``with`` statement its body is the call, and is reported as that ends, unless that was done in it.
    """

    __slots__ = ("began", "is_probe", "is_reported", "keeper", "tick")

    def __init__(self, tick: Tick, began: float, keeper: "Keeper | None" = None, *, is_probe: bool = False) -> None:
        self.tick = tick
        self.began = began
        """On the breaker's clock."""
        self.keeper = keeper
        self.is_probe = is_probe
        """Whether how this call ends decides if the breaker closes: give it a short time-out."""
        self.is_reported = False

    @property
    def generation(self) -> int:
        """The breaker's, when it was given."""
        return self.tick.generation

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        if self.is_reported or self.keeper is None:
            return
        if error is None:
            self.keeper.succeeded(self)
        else:
            self.keeper.raised(self, error)

    def __repr__(self) -> str:
        return f"Permit(generation={self.generation}, began={self.began}, is_probe={self.is_probe})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeper:
    """What a guarded call needs of its breaker."""

    running: Running
    clock: Callable[[], float]
    judges_results: bool
    """Whether a call that returned may have failed all the same."""
    acquire: Callable[[], Permit]
    returned: Callable[[Permit, object], None]
    """Reports a call that returned, unless it was reported."""
    succeeded: Callable[[Permit], bool]
    raised: Callable[[Permit, BaseException], None]
    """Reports a call that raised, unless it was reported."""


class Rejection(NamedTuple):
    """What `RejectedError` will say.

    The error itself is made where it is raised: kept in a variable there, it would keep alive the frame that it keeps
    alive, and with it the caller's.
    """

    name: str
    state: State
    retry_after: float
    last: LastFailure | None


class RejectedError(Exception):
    """The breaker lets nobody through now. The call was not made."""

    def __init__(self, name: str, state: State, retry_after: float, last: LastFailure | None = None) -> None:
        super().__init__(name, state, retry_after, last)
        self.name = name
        self.state = state
        self.retry_after = retry_after
        """Seconds until it may let one through; infinite where it is forced open without an end."""
        self.last = last
        """The last failure, in words."""

    def __str__(self) -> str:
        last = f"; last failure: {self.last}" if self.last else ""
        return f"{self.name} is {self.state}, for {self.retry_after:.3g} s at least{last}"
