"""The layout in this process's memory, for tests and simulations: shared by those who are handed the same object."""

from postman.adapters._layouts import check_follows, dump_layout, load_layout
from postman.core.layout import Layout
from postman.errors import ConfigError
from postman.ports.opening import Cluster

__all__ = ["MemoryLayouts", "open_layouts"]


class MemoryLayouts:
    """See the module. It holds text, as stores do."""

    def __init__(self) -> None:
        self._text = b""

    async def read(self) -> Layout | None:
        return load_layout(self._text, "memory") if self._text else None

    async def change(self, layout: Layout) -> None:
        check_follows(await self.read(), layout)
        self._text = dump_layout(layout)

    async def ensure(self) -> None:
        """Nothing to make."""

    async def aclose(self) -> None:
        """Nothing to close; the layout stays readable."""


def open_layouts(rest: str, cluster: Cluster) -> MemoryLayouts:  # noqa: ARG001 — the shape of an opening
    """Return a new store without a layout. Raises `ConfigError` if *rest*, what follows `memory:`, is not empty."""
    if rest:
        raise ConfigError(f"nothing may follow memory: in the ledger's URL, not {rest!r}")
    return MemoryLayouts()
