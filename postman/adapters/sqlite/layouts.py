"""The layout in a SQLite file: one row for each cluster."""

from postman.adapters._layouts import check_follows, dump_layout, load_layout
from postman.adapters.sqlite._single import SingleText
from postman.core.layout import Layout
from postman.ports.opening import Cluster

__all__ = ["SqliteLayouts", "open_layouts"]


def open_layouts(path: str, cluster: Cluster) -> "SqliteLayouts":
    """Open the layout in the file at *path*, or in the default one where it is empty."""
    return SqliteLayouts(path, cluster.prefix)


class SqliteLayouts:
    """See the module. What stands under another *prefix* in the same file is another cluster's."""

    def __init__(self, path: str, prefix: str) -> None:
        self._stored = SingleText(path, "layouts", "layout", prefix)

    async def read(self) -> Layout | None:
        return self._layout_in(await self._stored.read())

    async def change(self, layout: Layout) -> None:
        def follow(latest: bytes | None) -> bytes:
            check_follows(self._layout_in(latest), layout)
            return dump_layout(layout)

        await self._stored.change(follow)

    async def ensure(self) -> None:
        await self._stored.ensure()

    async def aclose(self) -> None:
        await self._stored.aclose()

    def _layout_in(self, text: bytes | None) -> Layout | None:
        return None if text is None else load_layout(text, self._stored.place)
