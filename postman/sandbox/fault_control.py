"""Changes faults while the sandbox runs, and has the ports follow."""

from collections.abc import Iterable, Mapping, Sequence

from postman.sandbox.faults import Fault, FaultBoard, FaultKind
from postman.sandbox.listener import Listener
from postman.sandbox.settings import ProviderName

__all__ = ["FaultControl"]


class FaultControl:
    """The faults of all providers. A change holds from the return of its call on."""

    def __init__(self, board: FaultBoard, listeners: Mapping[ProviderName, Listener]) -> None:
        self._board = board
        self._listeners = listeners

    def of(self, provider: ProviderName | str) -> Sequence[Fault]:
        """Return the faults that are set."""
        return self._board.of(ProviderName(provider))

    async def add(self, provider: ProviderName | str, fault: Fault) -> None:
        """Set *fault* beside others; it replaces one of the same kind for the same traffic."""
        self._board.add(ProviderName(provider), fault)
        await self._follow(ProviderName(provider))

    async def replace(self, provider: ProviderName | str, faults: Iterable[Fault]) -> None:
        """Set exactly *faults*."""
        self._board.replace(ProviderName(provider), faults)
        await self._follow(ProviderName(provider))

    async def clear(self, provider: ProviderName | str | None = None, kind: FaultKind | None = None) -> None:
        """Take away the faults of one provider or all, of one kind or any.

        Raises `ConfigError` if a port that was closed can no longer be had.
        """
        for each in ProviderName if provider is None else (ProviderName(provider),):
            self._board.clear(each, kind)
            await self._follow(each)

    async def _follow(self, provider: ProviderName) -> None:
        await self._listeners[provider].follow_faults()
