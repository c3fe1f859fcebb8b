"""Faults of a provider, for a while."""

from postman.sandbox import Fault, FaultKind, ProviderName, Traffic
from postman.testing.inbox.stage import Stage

__all__ = ["ProviderFaults"]


class ProviderFaults:
    """What goes wrong at one provider; *times* says for how many requests to send, None for all. They add up."""

    def __init__(self, stage: Stage, name: str) -> None:
        self._stage = stage
        self._name = ProviderName(name)

    def fail(self, *, status: int = 503, times: int | None = None) -> None:
        """It answers with *status*, and takes nothing."""
        self._add(Fault(FaultKind.STATUS, status=status, count=times, only=Traffic.SEND))

    def refuse(self, *, times: int | None = None) -> None:
        """It says that the mail itself is wrong: such a mail is dead-lettered, and no other provider asked."""
        self.fail(status=400, times=times)

    def drop_answer(self, *, times: int = 1) -> None:
        """It takes the mail, and its answer is lost: the mail is in doubt until the provider is asked."""
        self._add(Fault(FaultKind.RESET, count=times, only=Traffic.SEND))

    def delay(self, seconds: float, *, times: int | None = None) -> None:
        """It takes its time."""
        self._add(Fault(FaultKind.SLOW, seconds=seconds, count=times, only=Traffic.SEND))

    def go_down(self) -> None:
        """It answers 503 to everything, also to look-ups."""
        self._add(Fault(FaultKind.DOWN))

    def recover(self) -> None:
        """It works again."""
        self._stage.run(self._stage.sandbox.faults.clear(self._name))

    def _add(self, fault: Fault) -> None:
        self._stage.run(self._stage.sandbox.faults.add(self._name, fault))
